//! The filters that expressions have: these and no others.
//!
//! Whoever sends an event chooses the values, so nothing here may make much of little: a
//! filter takes what it reads from an allowance of the event, and one that can make more than
//! it reads computes how much before it makes it.

use minijinja::value::{Rest, Value, ValueOrKwargs};
use minijinja::{Environment, Error, State, filters};

use super::numbers::plain;
use super::print::{self, text_of};
use super::work::{MADE_BYTES_MAX, Work, size};

/// Every filter by its name.
pub(super) const NAMES: [&str; 36] = [
    "abs",
    "attr",
    "bool",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
];

/// Those that read their arguments again for each item of a list.
const EACH: [&str; 8] = ["map", "reject", "rejectattr", "select", "selectattr", "sort", "sum", "unique"];

/// The most digits to which `round` rounds: more make nothing else of a number.
const ROUND_MAX: i64 = 30;

/// The most bytes that a filter makes of these arguments beyond those that it reads.
type Grown = fn(&[Value]) -> Option<usize>;

/// How a filter takes its arguments.
#[derive(Clone, Copy)]
enum Take {
    /// As they are: what it hands on keeps its digits.
    Kept,
    /// For computing with.
    Plain,
}

/// Gives an environment its filters.
pub(super) fn install(environment: &mut Environment<'_>, work: &Work) {
    let mut add = |name: &'static str, filter: Value, take: Take, grown: Grown| {
        let work = work.clone();
        let guarded = move |state: &mut State, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
            let mut args = args.into_values();
            work.read(&args)?;
            if EACH.contains(&name) {
                work.read_each(&args)?;
            }
            work.make(grown(&args))?;
            if matches!(take, Take::Plain) {
                for arg in args.iter_mut().filter(|arg| !arg.is_kwargs()) {
                    *arg = plain(arg);
                }
            }
            filter.call(state, &args)
        };
        environment.add_filter(name, guarded);
    };
    /// Of what makes no more than it reads.
    const SAME: Grown = |_| Some(0);
    macro_rules! same {
        ($take:expr; $($name:literal = $filter:ident),* $(,)?) => {
            $(add($name, Value::from_function(filters::$filter), $take, SAME);)*
        };
    }
    same! { Take::Kept;
        "attr" = attr, "bool" = bool, "capitalize" = capitalize, "count" = length, "d" = default,
        "default" = default, "first" = first, "items" = items, "last" = last,
        "length" = length, "list" = list, "lower" = lower, "map" = map, "reject" = reject,
        "rejectattr" = rejectattr, "reverse" = reverse, "select" = select, "selectattr" = selectattr,
        "split" = split, "title" = title, "trim" = trim, "upper" = upper,
    }
    same! { Take::Plain;
        "abs" = abs, "dictsort" = dictsort, "float" = float, "int" = int, "max" = max, "min" = min,
        "sort" = sort, "sum" = sum, "unique" = unique,
    }
    add("string", Value::from_function(|value: Value| text_of(&value)), Take::Kept, SAME);
    add("tojson", Value::from_function(tojson), Take::Kept, SAME);
    add("join", Value::from_function(filters::join), Take::Kept, join);
    add("replace", Value::from_function(filters::replace), Take::Kept, replace);
    add("round", Value::from_function(filters::round), Take::Plain, round);
}

fn tojson(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    print::write(value, &mut text)?;
    Ok(text)
}

/// Every argument behind the value itself, named ones included.
fn arguments(args: &[Value]) -> Vec<Value> {
    let mut all = Vec::new();
    for arg in args.iter().skip(1) {
        match arg.try_iter() {
            Ok(names) if arg.is_kwargs() => all.extend(names.filter_map(|name| arg.get_item(&name).ok())),
            _ => all.push(arg.clone()),
        }
    }
    all
}

fn join(args: &[Value]) -> Option<usize> {
    let items = args.first()?;
    let glue = arguments(args).iter().filter_map(Value::as_str).map(str::len).max();
    let count = items.try_iter().map_or(0, |items| items.take(MADE_BYTES_MAX).count());
    count.checked_mul(glue.unwrap_or(0))?.checked_add(size(items).ok()?)
}

fn replace(args: &[Value]) -> Option<usize> {
    let text = |index: usize| args.get(index).map_or(Ok(String::new()), text_of);
    let (Ok(text), Ok(from), Ok(to)) = (text(0), text(1), text(2)) else {
        // The filter says what is wrong with them.
        return Some(0);
    };
    text.matches(from.as_str()).count().checked_mul(to.len())?.checked_add(text.len())
}

fn round(args: &[Value]) -> Option<usize> {
    let numbers = arguments(args);
    let mut numbers = numbers.iter().filter(|arg| arg.is_number());
    numbers
        .all(|number| {
            i64::try_from(number.clone()).is_ok_and(|number| (-ROUND_MAX..=ROUND_MAX).contains(&number))
        })
        .then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_that_is_named_is_there() {
        let mut environment = Environment::empty();
        install(&mut environment, &Work::default());
        for name in NAMES {
            let made =
                environment.compile_expression_owned(format!("'x' | {name}")).and_then(|made| made.eval(()));
            let is_unknown = made.is_err_and(|error| error.kind() == minijinja::ErrorKind::UnknownFilter);
            assert!(!is_unknown, "{name}");
        }
    }
}
