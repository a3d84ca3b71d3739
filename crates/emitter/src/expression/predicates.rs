//! The tests that expressions have (`is defined`): these and no others.

use std::cmp::Ordering;

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, tests};

use super::numbers::{Operand, is_number, plain, wrong};
use super::operations::{contains, equal, order};

/// Every test by its name.
pub(super) const NAMES: [&str; 38] = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
    "int",
    "sameas",
];

/// What an order of two values has to be.
type Holds = fn(Ordering) -> bool;

/// Gives an environment its tests.
pub(super) fn install(environment: &mut Environment<'_>) {
    macro_rules! same {
        ($($name:literal = $test:ident),* $(,)?) => { $(environment.add_test($name, tests::$test);)* };
    }
    same! {
        "boolean" = is_boolean, "defined" = is_defined, "endingwith" = is_endingwith,
        "false" = is_false, "iterable" = is_iterable, "lower" = is_lower, "mapping" = is_mapping,
        "none" = is_none, "sequence" = is_sequence, "startingwith" = is_startingwith,
        "string" = is_string, "true" = is_true, "undefined" = is_undefined, "upper" = is_upper,
    }
    environment.add_test("number", |value: &Value| is_number(value));
    environment.add_test("divisibleby", |value: Value, by: Value| divides(&value, &by));
    for name in ["even", "odd"] {
        environment.add_test(name, move |value: Value| {
            divides(&value, &Value::from(2)).map(|is_even| is_even == (name == "even"))
        });
    }
    for name in ["int", "integer"] {
        environment.add_test(name, |value: &Value| plain(value).is_integer());
    }
    environment.add_test("float", |value: &Value| is_number(value) && !plain(value).is_integer());
    for name in ["==", "eq", "equalto", "sameas"] {
        environment.add_test(name, |a: Value, b: Value| asked(equal(&a, &b)));
    }
    for name in ["!=", "ne"] {
        environment.add_test(name, |a: Value, b: Value| asked(equal(&a, &b).map(|equal| !equal)));
    }
    let orders: [(&'static str, Holds); 10] = [
        ("<", Ordering::is_lt),
        ("lt", Ordering::is_lt),
        ("lessthan", Ordering::is_lt),
        ("<=", Ordering::is_le),
        ("le", Ordering::is_le),
        (">", Ordering::is_gt),
        ("gt", Ordering::is_gt),
        ("greaterthan", Ordering::is_gt),
        (">=", Ordering::is_ge),
        ("ge", Ordering::is_ge),
    ];
    for (name, holds) in orders {
        environment.add_test(name, move |a: Value, b: Value| asked(order(&a, &b).map(holds)));
    }
    environment.add_test("in", |value: Value, container: Value| asked(contains(&container, &value)));
}

/// A test is a question: of what does not exist the answer is no, so that one row of many that lacks a
/// value hides nothing of the others.
fn asked(answer: Result<bool, Error>) -> Result<bool, Error> {
    match answer {
        Err(error) if error.kind() == ErrorKind::UndefinedError => Ok(false),
        answer => answer,
    }
}

/// Whether a whole number is a multiple of another one.
///
/// # Errors
/// For everything else.
fn divides(value: &Value, by: &Value) -> Result<bool, Error> {
    match (Operand::of(value)?, Operand::of(by)?) {
        (Operand::Whole(_), Operand::Whole(0)) => Err(wrong("no number is divisible by 0".to_owned())),
        // Only -1 makes a remainder that does not fit, and divides everything.
        (Operand::Whole(value), Operand::Whole(by)) => Ok(value.checked_rem(by).unwrap_or(0) == 0),
        _ => Err(wrong("only whole numbers are even, odd or divisible".to_owned())),
    }
}

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn every_test_that_is_named_is_there() {
        let mut environment = Environment::empty();
        install(&mut environment);
        for name in NAMES {
            // Operators are tests of `select` alone, which takes any name.
            environment.add_filter("select", minijinja::filters::select);
            let source = format!("[1] | select('{name}', 1)");
            let made = environment.compile_expression_owned(source).and_then(|made| made.eval(()));
            let is_unknown = made.is_err_and(|error| error.kind() == ErrorKind::UnknownTest);
            assert!(!is_unknown, "{name}");
        }
    }
}
