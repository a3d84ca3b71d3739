//! Operators, in stricter words than the engine's: numbers are compared and computed with
//! numbers, texts with texts, and what does not exist is neither.

use std::cmp::Ordering;

use minijinja::machinery::Instruction;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::decimal::Decimal;
use super::numbers::{Operand, is_number, number_text, plain, wrong};
use super::print::text_of;
use super::work::Work;

/// The function that takes the place of an operator's instruction, with the number of its operands.
/// No expression can name it.
pub(super) fn function_of(instruction: &Instruction<'_>) -> Option<(&'static str, u16)> {
    Some(match instruction {
        Instruction::Add => ("+", 2),
        Instruction::Sub => ("-", 2),
        Instruction::Mul => ("*", 2),
        Instruction::Div => ("/", 2),
        Instruction::IntDiv => ("//", 2),
        Instruction::Rem => ("%", 2),
        Instruction::Pow => ("**", 2),
        Instruction::Neg => ("negative", 1),
        Instruction::Eq => ("==", 2),
        Instruction::Ne => ("!=", 2),
        Instruction::Lt => ("<", 2),
        Instruction::Lte => ("<=", 2),
        Instruction::Gt => (">", 2),
        Instruction::Gte => (">=", 2),
        Instruction::In => ("in", 2),
        Instruction::StringConcat => ("~", 2),
        _ => return None,
    })
}

/// Gives an environment the functions of operators.
pub(super) fn install(environment: &mut Environment<'_>, work: &Work) {
    environment.add_function("+", |a: Value, b: Value| compute(&a, &b, i128::checked_add, |a, b| a + b));
    environment.add_function("-", |a: Value, b: Value| compute(&a, &b, i128::checked_sub, |a, b| a - b));
    environment.add_function("*", |a: Value, b: Value| compute(&a, &b, i128::checked_mul, |a, b| a * b));
    environment.add_function("/", |a: Value, b: Value| compute(&a, &b, |_, _| None, |a, b| a / b));
    environment
        .add_function("//", |a: Value, b: Value| compute(&a, &b, i128::checked_div_euclid, f64::div_euclid));
    environment
        .add_function("%", |a: Value, b: Value| compute(&a, &b, i128::checked_rem_euclid, f64::rem_euclid));
    environment.add_function("**", |a: Value, b: Value| {
        let whole = |a: i128, b: i128| u32::try_from(b).ok().and_then(|b| a.checked_pow(b));
        compute(&a, &b, whole, f64::powf)
    });
    environment.add_function("negative", |a: Value| {
        compute(&Value::from(0), &a, i128::checked_sub, |_, number| -number)
    });
    environment.add_function("==", |a: Value, b: Value| equal(&a, &b));
    environment.add_function("!=", |a: Value, b: Value| equal(&a, &b).map(|equal| !equal));
    environment.add_function("<", |a: Value, b: Value| order(&a, &b).map(Ordering::is_lt));
    environment.add_function("<=", |a: Value, b: Value| order(&a, &b).map(Ordering::is_le));
    environment.add_function(">", |a: Value, b: Value| order(&a, &b).map(Ordering::is_gt));
    environment.add_function(">=", |a: Value, b: Value| order(&a, &b).map(Ordering::is_ge));
    let reads = work.clone();
    environment.add_function("in", move |a: Value, b: Value| {
        reads.read([&a, &b])?;
        contains(&b, &a)
    });
    let makes = work.clone();
    environment.add_function("~", move |a: Value, b: Value| {
        exist([&a, &b])?;
        let (a, b) = (text_of(&a)?, text_of(&b)?);
        makes.make(a.len().checked_add(b.len()))?;
        Ok::<_, Error>(a + &b)
    });
}

/// What a value is, in the words of people.
pub(super) fn kind(value: &Value) -> &'static str {
    match value.kind() {
        _ if is_number(value) => "a number",
        ValueKind::Undefined => "what does not exist",
        ValueKind::None => "null",
        ValueKind::Bool => "true or false",
        ValueKind::String => "a text",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "an object",
        _ => "something that is no value of JSON",
    }
}

/// Computes with whole numbers as long as the result is one that fits, else with fractions.
fn compute(
    a: &Value,
    b: &Value,
    whole: impl Fn(i128, i128) -> Option<i128>,
    float: impl Fn(f64, f64) -> f64,
) -> Result<Value, Error> {
    given([a, b])?;
    let (a, b) = (Operand::of(a)?, Operand::of(b)?);
    if let (Operand::Whole(a), Operand::Whole(b)) = (a, b)
        && let Some(made) = whole(a, b)
    {
        return Ok(Value::from(made));
    }
    let made = float(a.float(), b.float());
    if made.is_finite() {
        Ok(Value::from(made))
    } else {
        Err(wrong(format!("the result is {made}, no number")))
    }
}

/// Whether two values are equal: numbers by what they are worth, values of different kinds never.
///
/// # Errors
/// When one of them does not exist.
pub(super) fn equal(a: &Value, b: &Value) -> Result<bool, Error> {
    exist([a, b])?;
    if is_number(a) && is_number(b) {
        return Ok(Decimal::of(&number_text(a)?) == Decimal::of(&number_text(b)?));
    }
    let is_other = a.kind() != b.kind();
    Ok(!is_other && plain(a) == plain(b))
}

/// The order of two numbers or two texts.
///
/// # Errors
/// When one of them does not exist or is null, and for everything else.
pub(super) fn order(a: &Value, b: &Value) -> Result<Ordering, Error> {
    given([a, b])?;
    if is_number(a) && is_number(b) {
        return Ok(Decimal::of(&number_text(a)?).cmp(&Decimal::of(&number_text(b)?)));
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(a.cmp(b));
    }
    Err(wrong(format!(
        "{} cannot be compared with {}: only numbers with numbers, and texts with texts; the filters float and \
         string make one of the other",
        kind(a),
        kind(b)
    )))
}

/// Whether a text holds a text, a list a value, an object a member of this name.
///
/// # Errors
/// When one of them does not exist, and for everything else.
pub(super) fn contains(container: &Value, value: &Value) -> Result<bool, Error> {
    exist([container, value])?;
    match (container.kind(), value.as_str()) {
        (ValueKind::String, Some(part)) => Ok(container.as_str().unwrap_or_default().contains(part)),
        (ValueKind::Seq | ValueKind::Iterable, _) => {
            for item in container.try_iter()? {
                if equal(&item, value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (ValueKind::Map, Some(name)) => Ok(!container.get_item(&Value::from(name))?.is_undefined()),
        _ => Err(wrong(format!("{} cannot be in {}", kind(value), kind(container)))),
    }
}

fn exist<'v>(values: impl IntoIterator<Item = &'v Value>) -> Result<(), Error> {
    if values.into_iter().any(Value::is_undefined) {
        Err(Error::from(ErrorKind::UndefinedError))
    } else {
        Ok(())
    }
}

/// For what needs a value: null is none.
fn given<'v>(values: impl IntoIterator<Item = &'v Value>) -> Result<(), Error> {
    let is_none = |value: &Value| value.is_undefined() || value.is_none();
    if values.into_iter().any(is_none) { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(()) }
}
