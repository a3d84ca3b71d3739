//! Reports of every kind are parsed as XML: what is not well-formed is found.

use std::time::Duration;

use clap::Parser as _;
use jiff::Timestamp;
use roxmltree::{Document, Node, ParsingOptions};

use super::page;
use crate::args::{Cli, Command};
use crate::load::machine::{Machine, Measurand};
use crate::load::measured::{Measured, Stages, Success};
use crate::load::ramp::{Climb, Step};
use crate::load::report::{Report, Surroundings};
use crate::load::settings::Settings;

/// What must not become markup.
const HOSTILE: &str = "<script>alert(1)</script>\u{1b}&\"'";

fn settings(line: &str) -> Settings {
    let words = ["orderwire", "load"].into_iter().chain(line.split_whitespace());
    let Command::Load(args) = Cli::try_parse_from(words).unwrap().command else { panic!("it is load") };
    Settings::new(&args, None).unwrap()
}

fn around() -> Surroundings {
    Surroundings {
        begun_at: Timestamp::UNIX_EPOCH,
        server: Measurand { url: "http://127.0.0.1:8080/".to_owned(), version: Some(HOSTILE.to_owned()) },
        machine: Machine::here(),
    }
}

/// A run of three seconds; nothing happens in the second one.
fn measured(stages: &[&'static str]) -> Measured {
    let mut measured = Measured::new(Duration::from_secs(3), stages);
    for number in 0..2_000 {
        let at = Duration::from_millis(if number < 1_000 { number } else { number + 1_000 });
        let mut times = Stages::default();
        times.set(0, Duration::from_micros(100 + number));
        let latency = Duration::from_micros(500 + number * 5);
        measured.success(&Success { at, latency, units: 2, stages: times });
    }
    measured.seconds = 3.0;
    measured
}

/// The page and its text, which it has when it is well-formed.
fn shown(report: &Report) -> (String, String) {
    let page = page(report);
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document =
        Document::parse_with_options(&page, options).unwrap_or_else(|error| panic!("{error}: {page}"));
    let elements = document.descendants().filter(Node::is_element);
    assert!(elements.into_iter().all(|node| node.tag_name().name() != "script"), "{page}");
    let text: Vec<_> = document.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect();
    let text = text.join("|");
    (page, text)
}

#[test]
fn runs_with_failures_are_shown_and_nothing_becomes_markup() {
    let mut second = measured(&["lease"]);
    (0..40).for_each(|_| second.failure(Duration::ZERO, "503"));
    (0..10).for_each(|_| second.failure(Duration::ZERO, HOSTILE));
    second.not_sent = 7;
    let settings = settings("consume --runs 2 --seed 42");
    let report = Report::of_runs(&settings, &[measured(&["lease"]), second], around());
    let (page, text) = shown(&report);
    for wanted in [
        "<script>alert(1)</script>\\u{1b}&\"'",
        "2 runs",
        "run 2",
        "lease",
        "deliveries/s",
        "7 requests were due and not sent",
        "4,000 requests in 6 s",
        "42",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing: {text}");
    }
    assert_eq!(page.matches("<svg").count(), 4, "three charts and the errors");
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn nothing_from_elsewhere_is_loaded() {
    let report = Report::of_runs(&settings("single"), &[measured(&[])], around());
    let (page, text) = shown(&report);
    for from_elsewhere in ["src=", "href=", "url(", "@import", "<link"] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
    }
    assert!(text.contains("No request failed."), "{text}");
}

#[test]
fn a_ramp_has_its_knee_and_its_reasons() {
    let settings = settings("single --ramp --p99 50");
    let objective = settings.ramp.as_ref().unwrap().objective;
    let step = |rate, broken: Option<&str>| Step {
        rate,
        measured: measured(&[]),
        broken: broken.map(str::to_owned),
    };
    let steps =
        vec![step(100.0, None), step(200.0, Some("noise")), step(200.0, None), step(400.0, Some(HOSTILE))];
    let climb = Climb { steps, knee: Some(2), broke: true, stopped: false };
    let (page, text) = shown(&Report::of_ramp(&settings, objective, &climb, around()));
    for wanted in ["knee 200 requests/s", "objective 50 ms", "noise", "200 requests/s"] {
        assert!(text.contains(wanted), "{wanted:?} is missing: {text}");
    }
    assert_eq!((page.matches("class=\"good\"").count(), page.matches("class=\"bad\"").count()), (2, 2));
    assert_eq!(page.matches("<svg").count(), 4);
}

#[test]
fn a_ramp_without_a_knee_and_a_run_without_an_answer_are_shown() {
    let settings = settings("single --ramp");
    let objective = settings.ramp.as_ref().unwrap().objective;
    let empty = || Measured { seconds: 1.0, ..Measured::new(Duration::from_secs(1), &[]) };
    let steps =
        vec![Step { rate: 100.0, measured: empty(), broken: Some("no request succeeded".to_owned()) }];
    let climb = Climb { steps, knee: None, broke: true, stopped: false };
    let (page, text) = shown(&Report::of_ramp(&settings, objective, &climb, around()));
    assert!(text.contains("No rate kept"), "{text}");
    assert_eq!(page.matches("<svg").count(), 1);
    let (page, _) = shown(&Report::of_runs(&settings, &[empty()], around()));
    assert_eq!(page.matches("<svg").count(), 1, "nothing has a latency");
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}
