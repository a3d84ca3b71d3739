//! What expressions make of one event.

use std::collections::BTreeMap;

use minijinja::machinery::{self, Instruction, Instructions, ast::Expr, make_string_output};
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use orderwire_types::Event;
use orderwire_types::envelope::to_cloudevent;

use super::compile::{EVENT, Piece, Wrong, instructions, pieces, read_expression, read_template};
use super::json::Json;
use super::print::{self, text_of, write_text};
use super::work::{MADE_BYTES_MAX, Work};
use super::{filters, operations, predicates};

/// The most steps of one expression. None has a loop, so that none needs more than it is long.
const FUEL: u64 = 10_000;

/// Runs the expressions of rules over one event, within one allowance.
pub(crate) struct Engine {
    environment: Environment<'static>,
    event: Value,
    work: Work,
}

/// What a condition says of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It holds.
    Holds,
    /// It does not; why, where that is not plain.
    Fails(Option<String>),
}

impl Engine {
    /// For this event, which expressions see in its form as a CloudEvent.
    pub(crate) fn new(event: &Event) -> Self {
        let mut environment = Environment::empty();
        // What does not exist is neither compared nor printed, but may be asked for.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        let work = Work::default();
        operations::install(&mut environment, &work);
        filters::install(&mut environment, &work);
        predicates::install(&mut environment);
        Self { environment, event: Json::document(&to_cloudevent(event)), work }
    }

    /// Whether a condition holds. One that needs what the event has not does not.
    ///
    /// # Errors
    /// Anything else that is wrong.
    pub(crate) fn condition(&self, source: &str) -> Result<Condition, Wrong> {
        match self.value(&read_expression(source)?, source) {
            Ok(value) if value.is_true() => Ok(Condition::Holds),
            Ok(_) => Ok(Condition::Fails(None)),
            Err(wrong) if wrong.is_missing => Ok(Condition::Fails(Some(wrong.detail))),
            Err(wrong) => Err(wrong),
        }
    }

    /// Appends what a template makes, as JSON: the value of an expression that stands alone, else
    /// a text.
    ///
    /// # Errors
    /// When the template is wrong, or asks for what the event has not.
    pub(crate) fn write(&self, source: &str, out: &mut String) -> Result<(), Wrong> {
        let template = read_template(source)?;
        let pieces = pieces(&template)?;
        if let [Piece::Expression(expression)] = pieces.as_slice() {
            let value = self.value(expression, source)?;
            let before = out.len();
            return print::write(&value, out)
                .and_then(|()| self.work.make(Some(out.len() - before)))
                .map_err(|error| self.wrong(&error, None, source));
        }
        write_text(&self.joined(&pieces, source)?, out);
        Ok(())
    }

    /// The text that a template makes.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub(crate) fn text(&self, source: &str) -> Result<String, Wrong> {
        let template = read_template(source)?;
        self.joined(&pieces(&template)?, source)
    }

    fn joined<'s>(&self, pieces: &[Piece<'_, 's>], source: &'s str) -> Result<String, Wrong> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Expression(expression) => {
                    let value = self.value(expression, source)?;
                    let part = text_of(&value).map_err(|error| self.wrong(&error, None, source))?;
                    text.push_str(&part);
                }
            }
            if text.len() > MADE_BYTES_MAX {
                return Err(Wrong::new("the text would be larger than 1 MiB"));
            }
        }
        self.work.make(Some(text.len())).map_err(|error| self.wrong(&error, None, source))?;
        Ok(text)
    }

    fn value<'s>(&self, expression: &Expr<'s>, source: &'s str) -> Result<Value, Wrong> {
        let instructions = instructions(expression, source)?;
        let root = Value::from_pairs([(EVENT, self.event.clone())]);
        let blocks = BTreeMap::new();
        let mut printed = String::new();
        let mut output = make_string_output(&mut printed);
        let made =
            machinery::eval(&self.environment, &instructions, root, &blocks, &mut output, AutoEscape::None);
        let value = match made {
            Ok((value, _)) => value.ok_or_else(|| Wrong::new("the expression has no value"))?,
            Err(error) => return Err(self.wrong(&error, Some(&instructions), source)),
        };
        if value.is_undefined() { Err(self.missing(Some(&instructions))) } else { Ok(value) }
    }

    fn wrong(&self, error: &Error, instructions: Option<&Instructions<'_>>, source: &str) -> Wrong {
        if error.kind() == ErrorKind::UndefinedError {
            return self.missing(instructions);
        }
        Wrong::of(error, source)
    }

    /// Says what does not exist, as far as the instructions tell.
    fn missing(&self, instructions: Option<&Instructions<'_>>) -> Wrong {
        let found = instructions.and_then(|instructions| self.first_missing(instructions));
        let detail =
            found.unwrap_or_else(|| "something that is asked for does not exist or is null".to_owned());
        Wrong { is_missing: true, detail }
    }

    /// The first path into the event that leads nowhere and is not merely asked for, else the first
    /// that leads to null.
    fn first_missing(&self, instructions: &Instructions<'_>) -> Option<String> {
        let mut null = None;
        let mut at = 0;
        while let Some(instruction) = instructions.get(at) {
            at += 1;
            if !matches!(instruction, Instruction::Lookup(name) if *name == EVENT) {
                continue;
            }
            let (mut path, mut value) = (EVENT.to_owned(), self.event.clone());
            loop {
                let (key, steps) = match (instructions.get(at), instructions.get(at + 1)) {
                    (Some(Instruction::GetAttr(name)), _) => {
                        path.push('.');
                        path.push_str(name);
                        (Value::from(*name), 1)
                    }
                    (Some(Instruction::LoadConst(key)), Some(Instruction::GetItem)) => {
                        path.push_str(&format!("[{key:?}]"));
                        (key.clone(), 2)
                    }
                    _ => break,
                };
                at += steps;
                value = value.get_item(&key).unwrap_or_default();
                if value.is_undefined() {
                    break;
                }
            }
            if value.is_undefined() && !is_asked_for(instructions, at) {
                return Some(format!("{path} does not exist"));
            }
            if value.is_none() {
                null.get_or_insert(format!("{path} is null"));
            }
        }
        null
    }
}

/// Whether what an expression has just looked up may be missing: a test or the filter `default` follows.
fn is_asked_for(instructions: &Instructions<'_>, at: u32) -> bool {
    let is_default =
        |at| matches!(instructions.get(at), Some(Instruction::ApplyFilter("d" | "default", _, _)));
    let is_test =
        matches!(instructions.get(at), Some(Instruction::PerformTest("defined" | "undefined", _, _)));
    is_test || is_default(at) || is_default(at + 1)
}
