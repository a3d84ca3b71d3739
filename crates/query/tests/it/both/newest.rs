//! The newest row of each value of a column, with an index that leads to it and without.

use std::fmt::Write as _;

use axum::http::StatusCode;
use fastrand::Rng;

use super::computed::direction;
use super::engines::{Both, encoded};
use super::generated::chance;

const NAMES: [&str; 6] = ["a", "b", "ä", "Z", "", "世界"];

/// Rows of which no two are of one moment.
fn rows(random: &mut Rng) -> String {
    let mut moments: Vec<u32> = (0..500).collect();
    random.shuffle(&mut moments);
    let row = |moment: u32| {
        let (t, n, ok) = (*random.choice(&NAMES).unwrap(), random.u8(..40), random.bool());
        let (minute, second) = (moment / 60, moment % 60);
        format!(r#"{{"t":"{t}","at":"2026-01-01T00:{minute:02}:{second:02}Z","n":{n},"ok":{ok}}}"#)
    };
    format!("[{}]", moments.into_iter().map(row).collect::<Vec<_>>().join(","))
}

fn condition(random: &mut Rng) -> String {
    let name = *random.choice(&NAMES).unwrap();
    let n = random.u8(..40);
    let minute = random.u8(..9);
    match random.u8(..9) {
        0 => format!("t={}", encoded(&format!("eq.{name}"))),
        1 => format!("t={}", encoded(&format!("gte.{name}"))),
        2 => format!("t={}", encoded(&format!("not.in.(\"{name}\",b)"))),
        3 => format!("at=lt.2026-01-01T00:{minute:02}:30Z"),
        4 => format!("at=gte.2026-01-01T00:{minute:02}:10Z"),
        5 => format!("n=eq.{n}"),
        6 => format!("or={}", encoded(&format!("(t.eq.\"{name}\",n.gt.{n})"))),
        7 => "_client=eq.acme".to_owned(),
        _ => format!("and={}", encoded(&format!("(t.lte.\"{name}\",not.or(n.lt.{n},ok.is.true))"))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_makes_no_difference_to_the_newest_rows() {
    let mut random = chance();
    let rows = rows(&mut random);
    let definition = |key: &str| {
        format!(
            r#"{{"fields":[{{"name":"t","type":"text","required":true}},{{"name":"at","type":"timestamp","required":true}},
                {{"name":"n","type":"integer"}},{{"name":"ok","type":"boolean"}}],"time":"at"{key}}}"#
        )
    };
    let keyed = Both::with("d", &definition(r#","key":["t","at"]"#), &rows).await;
    let plain = Both::with("d", &definition(""), &rows).await;
    let mut filled = 0;
    for _ in 0..200 {
        let mut query = "latest=t".to_owned();
        for _ in 0..random.u8(..3) {
            write!(query, "&{}", condition(&mut random)).unwrap();
        }
        if random.bool() {
            write!(query, "&order=n{},t", direction(&mut random)).unwrap();
        }
        if random.u8(..4) == 0 {
            query.push_str("&limit=2&offset=1");
        }
        let headers: &[_] = if random.bool() { &[("prefer", "count=exact")] } else { &[] };
        let path = format!("/rest/d?{query}");
        let (found, expected) = (keyed.ask(&path, headers).await, plain.ask(&path, headers).await);
        assert_eq!((found.status, &found.text), (expected.status, &expected.text), "{query}");
        filled +=
            u32::from(found.status != StatusCode::RANGE_NOT_SATISFIABLE && !found.range.starts_with('*'));
    }
    assert!(filled >= 80, "{filled} with rows");
}
