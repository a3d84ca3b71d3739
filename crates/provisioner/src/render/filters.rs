//! The filters, functions and tests that templates have: these and no others.
//!
//! Whoever orders chooses the values, so nothing here may make much of little. Every
//! filter takes what it reads from an allowance of the rendering; one that can make
//! more than it reads computes how much before it makes it, and takes that as well.
//! What could grow without a filter is not there at all: `*` would repeat a text or
//! list as often as a value says, and the function `namespace`, whose name is that of
//! the release's namespace, would let a loop collect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, filters, functions, tests};

use super::{OUTPUT_BYTES_MAX, RenderError};

/// What the filters of a rendering may read and make, in bytes.
const WORK_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most parts of a value that a filter takes.
const PARTS_MAX: usize = 100_000;
/// How deep a value may be that a filter takes.
const DEPTH_MAX: usize = 40;
/// What a part of a value takes beside its text.
const PART_BYTES: usize = 16;
/// The largest number that filters and functions take to count with.
const NUMBER_MAX: i64 = 1_000_000;

/// The most bytes that a filter makes of these arguments.
type Grown = fn(&[Value]) -> Option<usize>;

/// Makes an environment's filters, functions and tests those of templates.
pub(super) fn install(environment: &mut Environment<'_>) {
    let work = Work::default();
    let mut add = |name: &'static str, filter: Value, grown: Grown| {
        let work = work.clone();
        let guarded = move |state: &mut State, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
            let args = args.into_values();
            let read = args.iter().try_fold(0, |sum: usize, arg| Ok::<_, Error>(sum + size(arg)?))?;
            work.take(read)?;
            match grown(&args) {
                Some(made) if made <= OUTPUT_BYTES_MAX => work.take(made)?,
                _ => return Err(wrong(format!("the filter {name} would make more than 1 MiB"))),
            }
            filter.call(state, &args)
        };
        environment.add_filter(name, guarded);
    };
    /// Of what makes no more than it reads, or little more.
    const SAME: Grown = |_| Some(0);
    macro_rules! same {
        ($($name:literal = $filter:ident),* $(,)?) => {
            $(add($name, Value::from_function(filters::$filter), SAME);)*
        };
    }
    same! {
        "abs" = abs, "attr" = attr, "bool" = bool, "chain" = chain, "count" = length, "d" = default,
        "default" = default, "dictsort" = dictsort, "first" = first, "float" = float,
        "groupby" = groupby, "int" = int, "items" = items, "last" = last, "length" = length,
        "lines" = lines, "list" = list, "lower" = lower, "map" = map, "max" = max, "min" = min,
        "reject" = reject, "rejectattr" = rejectattr, "reverse" = reverse, "select" = select,
        "selectattr" = selectattr, "sort" = sort, "split" = split, "string" = string, "sum" = sum, "title" = title,
        "trim" = trim, "unique" = unique, "upper" = upper, "zip" = zip, "capitalize" = capitalize,
    }
    add("round", Value::from_function(filters::round), round);
    add("indent", Value::from_function(filters::indent), indent);
    add("join", Value::from_function(filters::join), join);
    add("replace", Value::from_function(filters::replace), replace);
    add("times", Value::from_function(times), SAME);

    environment.add_function("dict", functions::dict);
    environment.add_function("range", range);

    macro_rules! test {
        ($($name:literal = $test:ident),* $(,)?) => { $(environment.add_test($name, tests::$test);)* };
    }
    test! {
        "boolean" = is_boolean, "defined" = is_defined, "divisibleby" = is_divisibleby,
        "endingwith" = is_endingwith, "eq" = is_eq, "equalto" = is_eq, "==" = is_eq, "even" = is_even,
        "false" = is_false, "float" = is_float, "ge" = is_ge, ">=" = is_ge, "greaterthan" = is_gt,
        "gt" = is_gt, ">" = is_gt, "in" = is_in, "int" = is_integer, "integer" = is_integer,
        "iterable" = is_iterable, "le" = is_le, "<=" = is_le, "lessthan" = is_lt, "lower" = is_lower,
        "lt" = is_lt, "<" = is_lt, "mapping" = is_mapping, "ne" = is_ne, "!=" = is_ne, "none" = is_none,
        "number" = is_number, "odd" = is_odd, "sameas" = is_sameas, "sequence" = is_sequence,
        "startingwith" = is_startingwith, "string" = is_string, "true" = is_true,
        "undefined" = is_undefined, "upper" = is_upper,
    }
}

/// That a template does not multiply: what `*` makes of a text or list cannot be
/// bounded.
///
/// # Errors
/// With the line.
pub(super) fn check(name: &str, source: &str, syntax: SyntaxConfig) -> Result<(), RenderError> {
    let mut tokens = tokenize(source, false, syntax).map_while(Result::ok);
    match tokens.find(|(token, _)| matches!(token, Token::Mul)) {
        Some((_, span)) => {
            let detail = "templates have no `*`; multiply numbers with the filter times: {{ n | times(2) }}";
            Err(RenderError::at(name, usize::from(span.start_line), detail))
        }
        None => Ok(()),
    }
}

/// What the filters of a rendering may still read and make.
#[derive(Clone, Default)]
struct Work(Arc<AtomicUsize>);

impl Work {
    fn take(&self, bytes: usize) -> Result<(), Error> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > WORK_BYTES_MAX {
            return Err(wrong(
                "the filters of the templates read and make more than 32 MiB; do less".to_owned(),
            ));
        }
        Ok(())
    }
}

/// About how much a value takes as text.
fn size(value: &Value) -> Result<usize, Error> {
    let mut parts = 0;
    measure(value, &mut parts, 0)
}

fn measure(value: &Value, parts: &mut usize, depth: usize) -> Result<usize, Error> {
    *parts += 1;
    if *parts > PARTS_MAX || depth > DEPTH_MAX {
        return Err(wrong(format!(
            "a filter takes values of at most {PARTS_MAX} parts and {DEPTH_MAX} levels"
        )));
    }
    let mut bytes = PART_BYTES + value.as_str().map_or(0, str::len);
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
        for item in value.try_iter()? {
            bytes += measure(&item, parts, depth + 1)?;
            if value.kind() == ValueKind::Map {
                bytes += measure(&value.get_item(&item)?, parts, depth + 1)?;
            }
        }
    }
    Ok(bytes)
}

/// Every argument behind the value itself, named ones included.
fn arguments(args: &[Value]) -> impl Iterator<Item = Value> + '_ {
    args.iter().skip(1).flat_map(|arg| {
        let named: Vec<Value> = match arg.kind() {
            ValueKind::Map => arg
                .try_iter()
                .map(|keys| keys.filter_map(|key| arg.get_item(&key).ok()).collect())
                .unwrap_or_default(),
            _ => vec![arg.clone()],
        };
        named
    })
}

/// The largest number among the arguments; `None` when one is beyond every bound.
fn largest(args: &[Value]) -> Option<usize> {
    let numbers = arguments(args).filter(Value::is_number);
    numbers.map(|number| usize::try_from(number).ok()).try_fold(0, |max, number| Some(max.max(number?)))
}

fn indent(args: &[Value]) -> Option<usize> {
    let text = args.first()?.as_str().unwrap_or_default();
    let lines = text.split('\n').count();
    // Without a number it is 4.
    lines.checked_mul(largest(args)?.max(4))?.checked_add(text.len() + lines)
}

fn replace(args: &[Value]) -> Option<usize> {
    let text = |index: usize| args.get(index).map_or(Ok(String::new()), text_of);
    let (text, from, to) = (text(0).ok()?, text(1).ok()?, text(2).ok()?);
    text.matches(from.as_str()).count().checked_mul(to.len())?.checked_add(text.len())
}

fn join(args: &[Value]) -> Option<usize> {
    let items = args.first()?;
    let glue = arguments(args).filter_map(|arg| text_of(&arg).ok()).map(|text| text.len()).max();
    let count = items.try_iter().map_or(0, Iterator::count);
    count.checked_mul(glue.unwrap_or(0))?.checked_add(size(items).ok()?)
}

/// More digits than a number has make nothing else of it.
fn round(args: &[Value]) -> Option<usize> {
    const DIGITS_MAX: i64 = 30;
    let mut numbers = arguments(args).filter(Value::is_number);
    numbers
        .all(|number| i64::try_from(number).is_ok_and(|number| (-DIGITS_MAX..=DIGITS_MAX).contains(&number)))
        .then_some(0)
}

fn text_of(value: &Value) -> Result<String, Error> {
    size(value).map(|_| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Numbers alone are multiplied.
fn times(value: &Value, by: &Value) -> Result<Value, Error> {
    let whole = |value: &Value| i64::try_from(value.clone()).ok().filter(|_| value.is_integer());
    if !value.is_number() || !by.is_number() {
        return Err(wrong("only numbers can be multiplied".to_owned()));
    }
    match (whole(value), whole(by)) {
        (Some(a), Some(b)) => a
            .checked_mul(b)
            .map(Value::from)
            .ok_or_else(|| wrong(format!("{a} times {b} does not fit into 64 bits"))),
        _ => Ok(Value::from(f64::try_from(value.clone())? * f64::try_from(by.clone())?)),
    }
}

/// As many numbers as a loop has steps for; each bounded.
fn range(first: i64, second: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    let bounded = |number: i64| {
        let is_in = (-NUMBER_MAX..=NUMBER_MAX).contains(&number);
        let number = isize::try_from(number).ok().filter(|_| is_in);
        number.ok_or_else(|| wrong(format!("range takes numbers of at most {NUMBER_MAX}")))
    };
    functions::range(bounded(first)?, second.map(bounded).transpose()?, step.map(bounded).transpose()?)
}

fn wrong(detail: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}
