use orderwire_store::{Arrow, Compare, Expr, Filter, Nulls, Operand, Value};
use orderwire_types::dataset::DatasetDef;

use super::logic::{Budget, group};
use super::*;
use crate::error::{Error, ErrorKind};
use crate::options::Options;

mod properties;

fn parse(text: &str) -> Result<Query, Error> {
    Query::parse(text, (&Options::for_testing()).into(), Allowed::Everything)
}

fn columns() -> Columns {
    let def: DatasetDef = serde_json::from_str(
        r#"{"fields":[{"name":"name","type":"text"},{"name":"n","type":"integer"},{"name":"x","type":"float"},
            {"name":"ok","type":"boolean"},{"name":"at","type":"timestamp"},{"name":"raw","type":"json"},
            {"name":"a.b","type":"integer"},{"name":"d","type":"decimal"},{"name":"day","type":"date"},
            {"name":"id","type":"uuid"},{"name":"tags","type":"text[]"}]}"#,
    )
    .unwrap();
    Columns::of_dataset("air", &def)
}

fn filter(text: &str) -> Result<Filter, Error> {
    columns().filter(&parse(text)?.conditions)
}

fn only(text: &str) -> Filter {
    match filter(text).unwrap_or_else(|error| panic!("{text}: {error}")) {
        Filter::And(mut all) if all.len() == 1 => all.remove(0),
        other => panic!("{text}: {other:?}"),
    }
}

fn compare(column: &str, compare: Compare) -> Filter {
    Filter::Compare { column: column.into(), compare }
}

fn message(text: &str) -> String {
    let error = filter(text).expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
    error.to_string()
}

#[test]
fn every_operator_is_read_in_the_type_of_its_column() {
    let text = |text: &str| Operand::Text(text.to_owned());
    let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    for (query, expected) in [
        ("name=eq.a,b\"(c)", compare("name", Compare::Eq(text("a,b\"(c)")))),
        ("name=eq.", compare("name", Compare::Eq(text("")))),
        ("name=neq.%C3%A4+b", compare("name", Compare::Neq(text("ä b")))),
        ("n=gt.-5", compare("n", Compare::Gt(Operand::Integer(-5)))),
        ("n=gte.9223372036854775807", compare("n", Compare::Gte(Operand::Integer(i64::MAX)))),
        ("x=lt.1.5", compare("x", Compare::Lt(Operand::Float(1.5)))),
        ("ok=lte.true", compare("ok", Compare::Lte(Operand::Boolean(true)))),
        ("a.b=eq.1", compare("a.b", Compare::Eq(Operand::Integer(1)))),
        ("%22a.b%22=eq.1", compare("a.b", Compare::Eq(Operand::Integer(1)))),
        ("n=in.(1,2)", compare("n", Compare::In(vec![Operand::Integer(1), Operand::Integer(2)]))),
        (
            "name=in.(a,\"b,c\",\"d\\\"e\\\\\",\"f\"g)",
            compare("name", Compare::In(vec![text("a"), text("b,c"), text("d\"e\\"), text("\"f\"g")])),
        ),
        ("name=in.(\"\")", compare("name", Compare::In(vec![text("")]))),
        ("name=in.()", Filter::Or(vec![])),
        (
            "name=like.a*b_%25",
            compare("name", Compare::Like { pattern: "a%b_%".to_owned(), ignore_case: false }),
        ),
        // A quoted star is a star; other quoted characters stay quoted.
        (
            "name=like.a\\**\\%25\\\\*",
            compare("name", Compare::Like { pattern: "a*%\\%\\\\%".to_owned(), ignore_case: false }),
        ),
        ("name=ilike.*x*", compare("name", Compare::Like { pattern: "%x%".to_owned(), ignore_case: true })),
        (
            "name=match.%5Ea.b",
            compare("name", Compare::Match { pattern: "^a.b".to_owned(), ignore_case: false }),
        ),
        (
            "name=imatch.(a|b)",
            compare("name", Compare::Match { pattern: "(a|b)".to_owned(), ignore_case: true }),
        ),
        ("n=isdistinct.5", compare("n", Compare::Distinct(Operand::Integer(5)))),
        ("d=eq.1.10", compare("d", Compare::Eq(Operand::Decimal("1.10".parse().unwrap())))),
        ("d=gt.-1e2", compare("d", Compare::Gt(Operand::Decimal("-100".parse().unwrap())))),
        ("day=lte.2026-01-31", compare("day", Compare::Lte(Operand::Date("2026-01-31".parse().unwrap())))),
        (
            "id=eq.9A2AE9DE-3f82-4f55-966b-47df50ff51ff",
            compare(
                "id",
                Compare::Eq(Operand::Uuid("9a2ae9de-3f82-4f55-966b-47df50ff51ff".parse().unwrap())),
            ),
        ),
        ("tags=eq.{a,b}", compare("tags", Compare::Eq(Operand::Texts(list(&["a", "b"]))))),
        ("tags=cs.{\"a,b\",c}", compare("tags", Compare::Contains(list(&["a,b", "c"])))),
        ("tags=cd.{}", compare("tags", Compare::ContainedBy(list(&[])))),
        ("tags=ov.{\"}\"}", compare("tags", Compare::Overlaps(list(&["}"])))),
        ("raw=cs.{\"a\": 1}", compare("raw", Compare::ContainsJson("{\"a\": 1}".to_owned()))),
        (
            "raw=not.cd.[1,2]",
            Filter::Not(Box::new(compare("raw", Compare::ContainedByJson("[1,2]".to_owned())))),
        ),
        ("n=eq(any).{1,2}", compare("n", Compare::In(vec![Operand::Integer(1), Operand::Integer(2)]))),
        ("n=eq(any).{}", Filter::Or(vec![])),
        ("n=gt(all).{}", Filter::And(vec![])),
        (
            "n=gte(all).{1,2}",
            Filter::And(vec![
                compare("n", Compare::Gte(Operand::Integer(1))),
                compare("n", Compare::Gte(Operand::Integer(2))),
            ]),
        ),
        (
            "name=not.ilike(any).{*a,\"b,*\"}",
            Filter::Not(Box::new(Filter::Or(vec![
                compare("name", Compare::Like { pattern: "%a".to_owned(), ignore_case: true }),
                compare("name", Compare::Like { pattern: "b,%".to_owned(), ignore_case: true }),
            ]))),
        ),
        ("n=is.null", compare("n", Compare::IsNull)),
        ("n=is.not_null", Filter::Not(Box::new(compare("n", Compare::IsNull)))),
        ("ok=is.TRUE", compare("ok", Compare::Is(true))),
        ("ok=not.is.false", Filter::Not(Box::new(compare("ok", Compare::Is(false))))),
        ("ok=is.unknown", compare("ok", Compare::IsNull)),
        ("raw=eq.{\"a\":1}", compare("raw", Compare::Eq(text("{\"a\":1}")))),
        ("raw->a->>0=gte.x", {
            let path = vec![Arrow::Member("a".to_owned()), Arrow::Element(0)];
            let column = Expr::Part { column: "raw".to_owned(), path, as_text: true };
            Filter::Compare { column, compare: Compare::Gte(text("x")) }
        }),
        ("and=(raw->\"b.c\".eq.1)", {
            let path = vec![Arrow::Member("b.c".to_owned())];
            let column = Expr::Part { column: "raw".to_owned(), path, as_text: false };
            Filter::And(vec![Filter::Compare { column, compare: Compare::Eq(text("1")) }])
        }),
        ("_client=eq.acme", compare("_client", Compare::Eq(text("acme")))),
        ("_seq=gt.10", compare("_seq", Compare::Gt(Operand::Integer(10)))),
    ] {
        assert_eq!(only(query), expected, "{query}");
    }
}

#[test]
fn moments_are_read_in_the_spellings_that_callers_use() {
    for text in [
        "2026-01-31T12:00:00.5Z",
        "2026-01-31T12:00:00.5%2B00:00",
        "2026-01-31T14:00:00.5+02:00",
        "2026-01-31T12:00:00.5",
        "2026-01-31+12:00:00.5",
        "2026-01-31T12:00:00.5000009Z",
    ] {
        let moment = "2026-01-31T12:00:00.5Z".parse().unwrap();
        assert_eq!(
            only(&format!("at=eq.{text}")),
            compare("at", Compare::Eq(Operand::Timestamp(moment))),
            "{text}"
        );
    }
    let day = "2026-01-31T00:00:00Z".parse().unwrap();
    assert_eq!(only("at=gte.2026-01-31"), compare("at", Compare::Gte(Operand::Timestamp(day))));
}

#[test]
fn trees_follow_the_quoting_rules() {
    let one = |n: i64| compare("n", Compare::Eq(Operand::Integer(n)));
    let name = |text: &str| compare("name", Compare::Eq(Operand::Text(text.to_owned())));
    for (query, expected) in [
        ("or=(n.eq.1,n.eq.2)", Filter::Or(vec![one(1), one(2)])),
        (
            "not.and=( n.eq.1 , not.or(n.eq.2,name.not.eq.x) )",
            Filter::Not(Box::new(Filter::And(vec![
                compare("n", Compare::Eq(Operand::Integer(1))),
                Filter::Not(Box::new(Filter::Or(vec![one(2), Filter::Not(Box::new(name("x")))]))),
            ]))),
        ),
        ("and=(name.eq.\"a,(b)\\\"\",n.in.(1,2))", {
            let list = Compare::In(vec![Operand::Integer(1), Operand::Integer(2)]);
            Filter::And(vec![name("a,(b)\""), compare("n", list)])
        }),
        ("or=(\"a.b\".eq.1)", Filter::Or(vec![compare("a.b", Compare::Eq(Operand::Integer(1)))])),
        ("or=(name.eq.a.b)", Filter::Or(vec![name("a.b")])),
        ("or=(name.eq.{a,b},n.eq.1)", Filter::Or(vec![name("{a,b}"), one(1)])),
        ("or=(name.eq.{a}b,n.eq.1)", Filter::Or(vec![name("{a}b"), one(1)])),
        (
            "and=(raw.cs.{\"a\":{\"}\":[1]}},raw.cd.\"[1,2]\")",
            Filter::And(vec![
                compare("raw", Compare::ContainsJson("{\"a\":{\"}\":[1]}}".to_owned())),
                compare("raw", Compare::ContainedByJson("[1,2]".to_owned())),
            ]),
        ),
        (
            "or=(tags.cs.{a,\"}\"},n.eq(any).{1,2})",
            Filter::Or(vec![
                compare("tags", Compare::Contains(vec!["a".to_owned(), "}".to_owned()])),
                compare("n", Compare::In(vec![Operand::Integer(1), Operand::Integer(2)])),
            ]),
        ),
    ] {
        assert_eq!(only(query), expected, "{query}");
    }
    let both = filter("n=gt.1&n=lt.5").unwrap();
    let Filter::And(both) = both else { panic!("{both:?}") };
    assert_eq!(both.len(), 2);
}

#[test]
fn what_is_wrong_is_said_clearly() {
    for (query, part) in [
        ("nme=eq.1", "column \"nme\" does not exist in dataset air"),
        ("name=equals.1", "no known operator (\"equals\")"),
        ("name=5", "no known operator (\"5\")"),
        ("name=eq", "operator eq of column \"name\" has no value"),
        ("n=eq.abc", "invalid input syntax for column n of type integer: \"abc\""),
        ("n=eq.1.0", "of type integer"),
        ("n=eq.9223372036854775808", "of type integer"),
        ("x=eq.NaN", "of type float"),
        ("x=gt.1e999", "of type float"),
        ("ok=eq.maybe", "of type boolean"),
        ("at=eq.yesterday", "of type timestamp"),
        ("at=eq.1.2.3.4.5.6", "of type timestamp"),
        ("_event_id=eq.7", "of type uuid"),
        ("n=like.1*", "operator like needs a text column; n is integer"),
        ("raw=gt.1", "raw is json"),
        ("n=is.true", "needs a boolean column; n is integer"),
        ("n=is.5", "is takes null"),
        ("n=in.1,2", "expected a list such as in.(a,b)"),
        ("n=in.(1,2", "expected ',' or ')'"),
        ("n=in.(1,2)x", "expected the end"),
        ("n=neq(any).{1,2}", "takes no modifier"),
        ("n=in(any).{1,2}", "takes no modifier"),
        ("n=eq(some).{1,2}", "the modifiers are any and all"),
        ("n=eq(any)", "has no value"),
        ("n=eq(any).1", "is no list of values"),
        ("n=eq(any).{1,null}", "is no list of values"),
        ("n=eq(any).{1,a}", "of type integer"),
        ("tags=eq(any).{a}", "operator eq(any) needs a column that is no list"),
        ("tags=gt.{a}", "needs a column that has an order"),
        ("tags=cs.a", "malformed list for column tags"),
        ("name=cs.{a}", "needs a text[] or json column"),
        ("name=ov.{a}", "needs a text[] column"),
        ("raw=ov.{\"a\":1}", "needs a text[] column"),
        ("raw=cs.{a}", "invalid input syntax for column raw of type json"),
        ("raw=cd.\"\\u0000\"", "invalid input syntax for column raw of type json"),
        ("raw->a=cs.1e200000", "invalid input syntax"),
        ("raw->>a=cs.1", "needs a text[] or json column"),
        ("n=match.1", "operator match needs a text column"),
        ("name=match.(?i)a", "flags such as (?i) are not supported"),
        ("name=imatch.\\bword", "of assertions there are ^ and $"),
        ("name=match.(", "unclosed group"),
        ("d=eq.1,5", "of type decimal"),
        ("d=eq.1e40", "of type decimal"),
        ("day=eq.2026-02-30", "of type date"),
        ("day=eq.2026-01-31T00:00:00Z", "of type date"),
        ("id=eq.7", "of type uuid"),
        ("name=fts.cat", "no known operator (\"fts\")"),
        ("name->a=eq.1", "only json has parts"),
        ("raw->a=gt.1", "raw\"->\"a\" is json"),
        ("name::text=eq.1", "casts are for select alone"),
        ("order=name::text", "cannot be read"),
        ("name=like.a\\", "ends with a lone backslash"),
        ("name=like.%fo", "% is not followed by two hex digits"),
        ("name=eq.%ff", "is not UTF-8"),
        ("name=eq.%00", "contains a NUL"),
        ("name", "has no value"),
        ("and=(n.eq.1", "expected ',' or ')'"),
        ("and=()", "expected a condition"),
        ("and=n.eq.1", "expected '('"),
        ("and=(n.eq.1))", "expected the end"),
        ("and=(n.eq.1,)", "expected a condition"),
        ("limit=-1", "expected a whole number"),
        ("limit=1&limit=2", "given twice"),
        ("offset=9223372036854775808", "expected a whole number"),
        ("select=", "expected the name of a column"),
        ("select=n,other(*)", "embedding of other datasets is not supported"),
        ("order=n.down(", "cannot be read"),
        ("order=", "cannot be read"),
        ("latest=", "latest names no column"),
        ("latest=n,", "expected"),
        ("latest=n(x", "',' or the end"),
        ("latest=n,n", "twice"),
        ("latest=raw->a", "a part of a column"),
        ("latest=n&latest=x", "given twice"),
    ] {
        let message = message(query);
        assert!(message.contains(part), "{query}: {message}");
    }
    let error = filter("Name=eq.1").unwrap_err();
    assert_eq!(error.code(), "42703");
}

#[test]
fn size_is_bounded() {
    for (query, part) in [
        (format!("or={}n.eq.1{}", "(or".repeat(5), ")".repeat(5)), "nest deeper than 4 levels"),
        (format!("or=({}n.eq.1)", "n.eq.1,".repeat(20)), "too many conditions"),
        (format!("n=in.({}1)", "1,".repeat(60)), "too many values"),
        (format!("n=eq(any).{{{}1}}", "1,".repeat(60)), "too many values"),
        (format!("n=gt(any).{{{}1}}", "1,".repeat(20)), "too many conditions"),
        (format!("order=n{}", ",n".repeat(20)), "more than 16 columns"),
        (format!("select=n{}", ",n".repeat(600)), "more than 600 columns"),
        (format!("name=eq.{}", "x".repeat(5_000)), "at most 4096"),
    ] {
        let message = message(&query);
        assert!(message.contains(part), "{query}: {message}");
    }
}

#[test]
fn select_and_order_are_resolved() {
    let columns = columns();
    let select = |text: &str| {
        let select = parse(text)?.select;
        let picked = columns.select(select.as_deref())?;
        Ok::<_, Error>(
            picked
                .columns
                .into_iter()
                .zip(picked.casts)
                .map(|(column, cast)| {
                    let value = match column.value {
                        Value::Row(Expr::Column(name)) => name,
                        Value::Row(Expr::Part { column, path, as_text }) => {
                            format!("{column}{path:?}{}", if as_text { ">>" } else { "" })
                        }
                        Value::Row(Expr::Bucket { column, micros }) => format!("{column}/{micros}"),
                        Value::Rows => "rows".to_owned(),
                        Value::Of(aggregate, expr) => format!("{}({})", aggregate.name(), expr.column()),
                    };
                    let cast = cast.map(|cast| format!("::{}", cast.name())).unwrap_or_default();
                    format!("{}={value}{cast}", column.alias)
                })
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    let own = "name=name n=n x=x ok=ok at=at raw=raw a.b=a.b d=d day=day id=id tags=tags";
    assert_eq!(select("").unwrap(), own);
    assert_eq!(select("select=*,_client").unwrap(), format!("{own} _client=_client"));
    assert_eq!(select("select=m:n, \"a.b\",a.b2:a.b").unwrap(), "m=n a.b=a.b a.b2=a.b");
    for (query, expected) in [
        ("raw->a->0->>b", "b=raw[Member(\"a\"), Element(0), Member(\"b\")]>>"),
        ("x:raw->\"a.b\"->-1", "x=raw[Member(\"a.b\"), Element(-1)]"),
        ("raw->\"0\"", "0=raw[Member(\"0\")]"),
        ("raw->0", "raw=raw[Element(0)]"),
        ("n::text,f:n::float8", "n=n::text f=n::float"),
        ("raw->>a::integer", "a=raw[Member(\"a\")]>>::integer"),
        (
            "name,count(),n.sum(),top:x.max(),n.avg()::text,many:raw.count()",
            "name=name count=rows sum=sum(n) top=max(x) avg=avg(n)::text many=count(raw)",
        ),
        ("a.b.min(),\"a.b\".max()", "min=min(a.b) max=max(a.b)"),
        ("raw->>a.max(),raw->>\"b\".min()", "max=max(raw) min=min(raw)"),
        ("d,tags,total:d.sum(),d.avg(),d.min()", "d=d tags=tags total=sum(d) avg=avg(d) min=min(d)"),
        ("at.bucket(15m),hour:at.bucket(1h),n.sum()", "bucket=at/900000000 hour=at/3600000000 sum=sum(n)"),
    ] {
        let encoded = query.replace('"', "%22");
        assert_eq!(select(&format!("select={encoded}")).unwrap(), expected, "{query}");
        // What is shown is read back.
        let shown = parse(&format!("select={encoded}")).unwrap().select.unwrap();
        let again: Vec<String> = shown.iter().map(ToString::to_string).collect();
        let again = again.join(",").replace('"', "%22");
        assert_eq!(parse(&format!("select={again}")).unwrap().select.unwrap(), shown, "{query}");
    }
    for (query, part) in [
        ("n->a", "only json has parts"),
        ("raw->>a->b", "expected ',' or the end"),
        ("raw->", "expected the name of a column"),
        ("raw->99999999999", "a place of 32 bits"),
        ("n::money", "there is no cast to"),
        ("ok::date", "cannot cast ok of type boolean to date"),
        ("n::float.sum()", "a cast before an aggregate is not supported"),
        ("n.median()", "there is no function"),
        ("n.sum(1)", "takes nothing between its brackets"),
        ("name.sum()", "operator sum() needs a column of numbers"),
        ("ok.max()", "operator max() needs"),
        ("n.bucket(1h)", "operator bucket() needs a timestamp column"),
        ("at.bucket(0s)", "of no length"),
        ("at.bucket(1month)", "is not a length of time"),
        ("raw,count()", "is json, which cannot group rows"),
        ("raw->a,count()", "is json, which cannot group rows"),
        ("at::date,count()", "is cast to text alone"),
        ("count(),count()", "twice"),
    ] {
        let error = select(&format!("select={query}")).unwrap_err();
        assert!(error.to_string().contains(part), "{query}: {error}");
    }
    assert!(select("select=n,m:n,n").unwrap_err().to_string().contains("twice"));
    assert!(select("select=nope").unwrap_err().to_string().contains("does not exist"));

    let order = |text: &str| columns.order(&parse(text)?.order);
    let terms: Vec<_> = order("order=n.desc,x,a.b.asc.nullsfirst,\"a.b\".desc.nullslast")
        .unwrap()
        .into_iter()
        .map(|by| (by.column, by.descending, by.nulls))
        .collect();
    assert_eq!(
        terms,
        [
            ("n".into(), true, Nulls::First),
            ("x".into(), false, Nulls::Last),
            ("a.b".into(), false, Nulls::First),
            ("a.b".into(), true, Nulls::Last),
        ]
    );
    assert!(order("order=raw").unwrap_err().to_string().contains("json"));
    assert!(order("order=tags").unwrap_err().to_string().contains("text[]"));
}

#[test]
fn a_view_leaves_only_conditions_and_pages_to_its_callers() {
    let bounds = (&Options::for_testing()).into();
    assert!(Query::parse("n=eq.1&limit=5&offset=2", bounds, Allowed::Page).is_ok());
    assert!(Query::parse("select=n", bounds, Allowed::Page).is_err());
    assert!(Query::parse("limit=5", bounds, Allowed::Conditions).is_err());
    assert!(Query::parse("or=(n.eq.1)", bounds, Allowed::Conditions).is_ok());
}

#[test]
fn queries_that_mean_the_same_have_one_canonical_text() {
    let canonical = |text: &str| parse(text).unwrap().canonical();
    assert_eq!(canonical("n=eq.1&x=gt.2&n=eq.1"), canonical("x=gt.2&n=eq.1"));
    assert_eq!(canonical("select=*"), canonical(""));
    assert_eq!(canonical("or=( n.eq.1, x.gt.\"2\") "), canonical("or=(n.eq.1,x.gt.2)"));
    for (a, b) in [
        ("n=eq.1", "n=eq.1&x=gt.2"),
        ("n=eq.1", "n=not.eq.1"),
        ("name=eq.a", "name=eq.\"a\""),
        ("name=in.(a,b)", "name=in.(\"a,b\")"),
        ("limit=1", "offset=1"),
        ("limit=1", ""),
        ("select=a,b", "select=b,a"),
        ("select=a:b", "select=\"a:b\""),
        ("order=n.desc", "order=n.desc.nullsfirst"),
        ("latest=n,x", "latest=\"n,x\""),
        ("latest=n", ""),
        ("and=(n.eq.1)", "or=(n.eq.1)"),
    ] {
        assert_ne!(canonical(a), canonical(b), "{a} {b}");
    }
}
