//! From the text of an expression or template to instructions that are fit for a rule.

use std::borrow::Cow;

use minijinja::machinery::ast::{Expr, Stmt};
use minijinja::machinery::{CodeGenerator, Instruction, Instructions, parse, parse_expr, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

use super::operations::function_of;
use super::{filters, predicates};

/// The one variable.
pub(super) const EVENT: &str = "event";

/// What an expression is called in the engine's own messages.
const NAME: &str = "expression";
/// The most words and signs of one source: parsers go one level deeper with each.
const TOKENS_MAX: usize = 1_000;

/// What is wrong with an expression, or with what it does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Whether it is only that the event has not what it asks for.
    pub(crate) is_missing: bool,
    /// In plain words.
    pub(crate) detail: String,
}

impl Wrong {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self { is_missing: false, detail: detail.into() }
    }

    /// What the engine says about a source.
    pub(super) fn of(error: &Error, source: &str) -> Self {
        let detail = match (error.kind(), error.detail()) {
            (ErrorKind::UndefinedError, _) => "something that is asked for does not exist".to_owned(),
            (ErrorKind::SyntaxError, Some(detail)) => format!("this cannot be read: {detail}"),
            (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
            (kind, Some(detail)) => format!("{kind}: {detail}"),
            (kind, None) => kind.to_string(),
        };
        let is_missing = error.kind() == ErrorKind::UndefinedError;
        Self { is_missing, detail: at_line(error.line(), source, detail) }
    }
}

/// Tells the line where there are several.
fn at_line(line: Option<usize>, source: &str, detail: String) -> String {
    match line {
        Some(line) if source.trim_end().contains('\n') => format!("line {line}: {detail}"),
        _ => detail,
    }
}

/// A piece of a template.
pub(crate) enum Piece<'t, 's> {
    /// Text as it stands.
    Text(&'s str),
    /// What stands in `{{ … }}`.
    Expression(&'t Expr<'s>),
}

/// Whether a text is a template at all.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// Reads a template.
///
/// # Errors
/// When its syntax is wrong.
pub(crate) fn read_template(source: &str) -> Result<Stmt<'_>, Wrong> {
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    let syntax = syntax.map_err(|error| Wrong::of(&error, source))?;
    overseen(source, false, syntax.clone())?;
    parse(source, NAME, syntax).map_err(|error| Wrong::of(&error, source))
}

/// The pieces of a template.
///
/// # Errors
/// For blocks: texts and expressions are all that a template of a rule has.
pub(crate) fn pieces<'t, 's>(template: &'t Stmt<'s>) -> Result<Vec<Piece<'t, 's>>, Wrong> {
    let Stmt::Template(template) = template else { return Err(no_block()) };
    let piece = |statement: &'t Stmt<'s>| match statement {
        Stmt::EmitRaw(text) => Ok(Piece::Text(text.raw)),
        Stmt::EmitExpr(expression) => Ok(Piece::Expression(&expression.expr)),
        _ => Err(no_block()),
    };
    template.children.iter().map(piece).collect()
}

fn no_block() -> Wrong {
    Wrong::new(
        "blocks ({% … %}) are not taken; use an expression, such as {{ 'hot' if event.data.value > 90 else 'fine' }}",
    )
}

/// Checks a condition.
///
/// # Errors
/// When it cannot be read, or asks for what no rule has.
pub(crate) fn check_expression(source: &str) -> Result<(), Wrong> {
    instructions(&read_expression(source)?, source).map(drop)
}

/// Checks an expression of a template.
///
/// # Errors
/// When it asks for what no rule has.
pub(crate) fn check_piece<'s>(expression: &Expr<'s>, source: &'s str) -> Result<(), Wrong> {
    instructions(expression, source).map(drop)
}

/// Reads a condition.
pub(super) fn read_expression(source: &str) -> Result<Expr<'_>, Wrong> {
    if source.trim_start().starts_with("{{") {
        return Err(Wrong::new("a condition is an expression as it is; write it without {{ and }}"));
    }
    overseen(source, true, SyntaxConfig::default())?;
    parse_expr(source).map_err(|error| Wrong::of(&error, source))
}

/// That a source is no longer than can be read without going too deep.
fn overseen(source: &str, is_expression: bool, syntax: SyntaxConfig) -> Result<(), Wrong> {
    let tokens = tokenize(source, is_expression, syntax).map_while(Result::ok);
    if tokens.take(TOKENS_MAX + 1).count() <= TOKENS_MAX {
        return Ok(());
    }
    Err(Wrong::new(format!("this has more than {TOKENS_MAX} words and signs; make several of it")))
}

/// The instructions of an expression, with functions of our own in place of operators.
///
/// # Errors
/// For what has no place in a rule.
pub(super) fn instructions<'s>(expression: &Expr<'s>, source: &'s str) -> Result<Instructions<'s>, Wrong> {
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_expr(expression);
    let (mut instructions, _) = generator.finish();
    let mut at = 0;
    while let Some(instruction) = instructions.get_mut(at) {
        if let Some((function, operands)) = function_of(instruction) {
            *instruction = Instruction::CallFunction(function, Some(operands));
        } else if let Some(detail) = refused(instruction) {
            return Err(Wrong::new(at_line(instructions.get_line(at), source, detail)));
        }
        at += 1;
    }
    Ok(instructions)
}

/// Why an instruction has no place in a rule.
fn refused(instruction: &Instruction<'_>) -> Option<String> {
    Some(match instruction {
        Instruction::Lookup(name) if *name != EVENT => {
            format!("{name} is not known; expressions speak of {EVENT}, for example {EVENT}.data.value")
        }
        Instruction::ApplyFilter(name, _, _) => return unknown("filter", name, &filters::NAMES),
        Instruction::PerformTest(name, _, _) => return unknown("test", name, &predicates::NAMES),
        Instruction::CompareAndPreserve(_) => {
            "comparisons are not chained; write a < b and b < c in place of a < b < c".to_owned()
        }
        Instruction::CallFunction(name, _) => {
            format!("{name} is a function, and rules have none; use a filter")
        }
        Instruction::CallMethod(name, _) => format!("{name} is a method, and values have none; use a filter"),
        Instruction::Lookup(_)
        | Instruction::GetAttr(_)
        | Instruction::GetItem
        | Instruction::Slice
        | Instruction::LoadConst(_)
        | Instruction::BuildMap(_)
        | Instruction::BuildKwargs(_)
        | Instruction::BuildList(Some(_))
        | Instruction::BuildTuple(Some(_))
        | Instruction::Not
        | Instruction::Jump(_)
        | Instruction::JumpIfFalse(_)
        | Instruction::JumpIfFalseOrPop(_)
        | Instruction::JumpIfTrueOrPop(_)
        | Instruction::DupTop
        | Instruction::DiscardTop
        | Instruction::Swap => return None,
        _ => "this has no place in an expression of a rule".to_owned(),
    })
}

fn unknown(what: &str, name: &str, names: &[&str]) -> Option<String> {
    // As the engine does it: `divisible by` is `divisibleby`.
    let name: Cow<'_, str> = if name.contains(char::is_whitespace) {
        name.chars().filter(|c| !c.is_whitespace()).collect::<String>().into()
    } else {
        name.into()
    };
    (!names.contains(&&*name)).then(|| format!("there is no {what} {name}; there are {}", names.join(", ")))
}
