//! The flags, checked and with the defaults of the scenario.

use std::time::Duration;

use clap::ValueEnum as _;
use hyper::Uri;

use super::draw::Draw;
use super::ramp::{Course, Growth, Objective};
use super::sizes::Sizes;
use crate::args::{Arrivals, Load, Scenario};
use crate::error::Error;

/// Bounds of the flags: what is beyond measures the generator.
const CONNECTIONS_MAX: usize = 10_000;
const SECONDS_MAX: f64 = 86_400.0;
pub(super) const RATE_MAX: f64 = 1_000_000.0;
const BATCH_MAX: usize = 10_000;
/// A prepared request, in bytes.
const REQUEST_MAX: usize = 64 << 20;
const CLIENTS_MAX: usize = 1_000_000;
const KEYS_MAX: usize = 1_000_000;
const RUNS_MAX: usize = 100;
const PREFILL_MAX: u64 = 100_000_000;
const SKEW_MAX: f64 = 10.0;
const REFINE_MAX: u32 = 20;

/// Stands in a path for another number each time.
pub(super) const NUMBER: &str = "{i}";

/// What is measured, and how.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) scenario: Scenario,
    pub(super) connections: usize,
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
    pub(super) runs: usize,
    pub(super) rate: Option<f64>,
    pub(super) arrivals: Arrivals,
    pub(super) seed: u32,
    pub(super) payload: Sizes,
    pub(super) batch: usize,
    pub(super) clients: usize,
    pub(super) keys: usize,
    pub(super) skew: f64,
    pub(super) cloudevents: bool,
    pub(super) prefill: u64,
    pub(super) path: Option<String>,
    pub(super) ramp: Option<Course>,
}

impl Settings {
    /// # Errors
    /// `Usage`, naming the flag.
    pub(super) fn new(args: &Load, client: Option<&str>) -> Result<Self, Error> {
        let scenario = args.scenario;
        used(args)?;
        let connections = args.connections.unwrap_or(if scenario == Scenario::Order { 8 } else { 64 });
        let keys = args.work.keys.unwrap_or(if scenario == Scenario::Consume { connections } else { 1 });
        let payload = args.work.payload.as_deref().unwrap_or("512").parse();
        let ramp = if args.course.ramp { Some(course(args)?) } else { None };
        let settings = Self {
            scenario,
            connections,
            duration: match &ramp {
                Some(course) => course.step_lasts,
                None => seconds("duration", args.duration, 0.1)?,
            },
            // What `consume` takes is gone: warming up would take it unmeasured.
            warm_up: match scenario {
                Scenario::Consume => Duration::ZERO,
                _ => seconds("warm-up", args.warm_up, 0.0)?,
            },
            runs: args.runs,
            rate: args.rate,
            arrivals: args.arrivals.unwrap_or_default(),
            seed: args.seed.unwrap_or_else(|| fastrand::u32(..)),
            payload: payload.map_err(|why| Error::usage(format!("--payload: {why}")))?,
            batch: args.work.batch.unwrap_or(500),
            clients: args.work.clients.unwrap_or(1),
            keys,
            skew: args.work.skew.unwrap_or_default(),
            cloudevents: args.work.cloudevents || keys > 1,
            prefill: args.work.prefill.unwrap_or(100_000),
            path: args.work.path.clone(),
            ramp,
        };
        settings.check(client)?;
        Ok(settings)
    }

    fn check(&self, client: Option<&str>) -> Result<(), Error> {
        bounded("connections", self.connections, 1, CONNECTIONS_MAX)?;
        bounded("runs", self.runs, 1, RUNS_MAX)?;
        bounded("batch", self.batch, 1, BATCH_MAX)?;
        bounded("clients", self.clients, 1, CLIENTS_MAX)?;
        bounded("keys", self.keys, 1, KEYS_MAX)?;
        bounded("prefill", self.prefill, 0, PREFILL_MAX)?;
        bounded("skew", self.skew, 0.0, SKEW_MAX)?;
        if let Some(rate) = self.rate {
            above_zero("rate", rate, RATE_MAX)?;
        }
        let largest = self.payload.bytes().max().expect("there is a size");
        if self.scenario == Scenario::Batch && largest * self.batch > REQUEST_MAX {
            return Err(Error::usage(format!(
                "--batch {} of up to {largest} bytes is more than {} MiB a request",
                self.batch,
                REQUEST_MAX >> 20
            )));
        }
        if let (Some(client), true) = (client, self.clients > 1) {
            return Err(Error::usage(format!(
                "--clients spreads over clients and --client names {client}; say one"
            )));
        }
        self.check_path()
    }

    fn check_path(&self) -> Result<(), Error> {
        let Some(path) = self.path.as_deref() else {
            if self.scenario == Scenario::Read {
                return Err(Error::usage("read what? name it with --path, for example --path /rest/air"));
            }
            return Ok(());
        };
        let uri: Option<Uri> = path.replace(NUMBER, "1").parse().ok();
        if uri.filter(|uri| uri.path().starts_with('/') && uri.host().is_none()).is_none() {
            return Err(Error::usage(format!("--path {path:?} is no path such as /rest/air")));
        }
        if path.contains(NUMBER) != (self.scenario == Scenario::ReadUncached) {
            return Err(Error::usage(format!(
                "--path {path:?}: the path of read-uncached, and of no other, needs {NUMBER}, which is another number each time"
            )));
        }
        Ok(())
    }

    pub(super) fn draw(&self) -> Draw {
        Draw::new(self.seed, self.clients, self.keys, self.skew, &self.payload)
    }

    /// Names and values of what was set, for people and for scripts.
    pub(super) fn shown(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        let mut add = |name, value: String| all.push((name, value));
        let of = |flag| uses(self.scenario, flag);
        add("connections", self.connections.to_string());
        match (self.rate, &self.ramp) {
            (Some(rate), _) => {
                add("loop", format!("open, {rate} requests/s, {} arrivals", name_of(&self.arrivals)));
            }
            (None, Some(_)) => add("loop", format!("open, ramp, {} arrivals", name_of(&self.arrivals))),
            (None, None) => add("loop", "closed".to_owned()),
        }
        add("duration", format!("{} s", self.duration.as_secs_f64()));
        add("warm-up", format!("{} s", self.warm_up.as_secs_f64()));
        add("runs", self.runs.to_string());
        add("seed", self.seed.to_string());
        if of("payload") {
            add("payload", format!("{} bytes", self.payload));
            add("form", if self.cloudevents { "CloudEvents" } else { "plain JSON" }.to_owned());
            add("keys of a client", self.keys.to_string());
        }
        if of("batch") {
            add("batch", self.batch.to_string());
        }
        if of("clients") {
            add("clients", self.clients.to_string());
            add("skew", self.skew.to_string());
        }
        if of("prefill") {
            add("prefill", self.prefill.to_string());
        }
        if let Some(path) = &self.path {
            add("path", path.clone());
        }
        all
    }
}

/// A word as it is written on the command line.
pub(super) fn name_of<T: clap::ValueEnum>(value: &T) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Which scenarios a flag says something to.
fn uses(scenario: Scenario, flag: &str) -> bool {
    use Scenario::{Batch, Consume, Order, Read, ReadCached, ReadUncached, Row, Rows, Single};
    match flag {
        "payload" | "keys" | "cloudevents" => matches!(scenario, Single | Batch | Consume),
        "batch" => matches!(scenario, Batch | Rows | Consume),
        "clients" | "skew" => matches!(scenario, Single | Batch | Row | Rows | Consume | Order),
        "prefill" => scenario == Consume,
        "path" => matches!(scenario, Read | ReadCached | ReadUncached),
        _ => true,
    }
}

/// Refuses a flag that would say nothing: the figures would be taken for those of something else.
fn used(args: &Load) -> Result<(), Error> {
    let work = &args.work;
    let given = [
        ("payload", work.payload.is_some()),
        ("batch", work.batch.is_some()),
        ("clients", work.clients.is_some()),
        ("keys", work.keys.is_some()),
        ("skew", work.skew.is_some()),
        ("cloudevents", work.cloudevents),
        ("prefill", work.prefill.is_some()),
        ("path", work.path.is_some()),
    ];
    let idle = given.iter().find(|(flag, given)| *given && !uses(args.scenario, flag));
    if let Some((flag, _)) = idle {
        let (scenario, others) = (name_of(&args.scenario), Scenario::value_variants());
        let others: Vec<_> = others.iter().filter(|other| uses(**other, flag)).map(name_of).collect();
        return Err(Error::usage(format!(
            "--{flag} says nothing to {scenario}, only to {}",
            others.join(", ")
        )));
    }
    if args.arrivals.is_some() && args.rate.is_none() && !args.course.ramp {
        return Err(Error::usage("--arrivals says nothing without --rate or --ramp"));
    }
    Ok(())
}

fn course(args: &Load) -> Result<Course, Error> {
    let ramp = &args.course;
    above_zero("from", ramp.from, RATE_MAX)?;
    above_zero("p99", ramp.p99, 120_000.0)?;
    bounded("error-rate", ramp.error_rate, 0.0, 100.0)?;
    bounded("refine", ramp.refine, 0, REFINE_MAX)?;
    let growth = match ramp.step {
        Some(step) => {
            above_zero("step", step, RATE_MAX)?;
            Growth::Step(step)
        }
        None => {
            bounded("factor", ramp.factor, 1.01, 100.0)?;
            Growth::Factor(ramp.factor)
        }
    };
    Ok(Course {
        from: ramp.from,
        growth,
        step_lasts: seconds("step-seconds", ramp.step_seconds, 0.1)?,
        refine: ramp.refine,
        objective: Objective { p99_ms: ramp.p99, error_percent: ramp.error_rate },
    })
}

fn bounded<T: Copy + PartialOrd + std::fmt::Display>(
    flag: &str,
    value: T,
    min: T,
    max: T,
) -> Result<(), Error> {
    // Not a number is in no range.
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::usage(format!("--{flag} {value} is not from {min} to {max}")))
}

fn above_zero(flag: &str, value: f64, max: f64) -> Result<(), Error> {
    if value > 0.0 && value <= max {
        return Ok(());
    }
    Err(Error::usage(format!("--{flag} {value} is not above 0 and at most {max}")))
}

fn seconds(flag: &str, value: f64, min: f64) -> Result<Duration, Error> {
    bounded(flag, value, min, SECONDS_MAX)?;
    Ok(Duration::from_secs_f64(value))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::error::ErrorKind;

    fn settings(line: &str) -> Result<Settings, Error> {
        let words = ["orderwire", "load"].into_iter().chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Load(args) = cli.command else { panic!("it is load") };
        Settings::new(&args, cli.global.client.as_deref())
    }

    fn refused(line: &str) -> String {
        let error = settings(line).expect_err(line);
        assert_eq!(error.kind(), ErrorKind::Usage, "{line}");
        error.to_string()
    }

    #[test]
    fn defaults_are_those_of_the_scenario() {
        let single = settings("single").unwrap();
        assert_eq!((single.connections, single.keys, single.cloudevents), (64, 1, false));
        let consume = settings("consume --connections 3").unwrap();
        assert_eq!((consume.keys, consume.cloudevents, consume.warm_up), (3, true, Duration::ZERO));
        assert_eq!(settings("order").unwrap().connections, 8);
        assert!(settings("single --keys 2").unwrap().cloudevents);
        let ramp = settings("single --ramp --step 50 --step-seconds 3").unwrap();
        assert_eq!(ramp.duration, Duration::from_secs(3));
        assert!(matches!(ramp.ramp.unwrap().growth, Growth::Step(step) if step == 50.0));
    }

    #[test]
    fn a_flag_that_would_say_nothing_is_refused() {
        for (line, others) in [
            ("row --payload 512", "single, batch, consume"),
            ("single --batch 10", "batch, rows, consume"),
            ("read --path /x --clients 3", "single, batch, row, rows, consume, order"),
            ("batch --prefill 3", "consume"),
            ("rows --path /x", "read, read-cached, read-uncached"),
            ("order --cloudevents", "single, batch, consume"),
            ("single --arrivals poisson", "--rate or --ramp"),
        ] {
            let said = refused(line);
            assert!(said.contains(others), "{line}: {said}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (line, flag) in [
            ("single --connections 0", "--connections 0"),
            ("single --runs 0", "--runs 0"),
            ("single --rate 0", "--rate 0"),
            ("single --rate NaN", "--rate NaN"),
            ("single --duration 0", "--duration 0"),
            ("single --warm-up=-1", "--warm-up -1"),
            ("single --payload 9", "--payload"),
            ("batch --batch 10001", "--batch 10001"),
            ("batch --batch 10000 --payload 100000", "64 MiB"),
            ("single --skew=-1", "--skew -1"),
            ("single --clients 2 --client acme", "--clients"),
            ("single --ramp --factor 1", "--factor 1"),
            ("single --ramp --from 0", "--from 0"),
            ("single --ramp --error-rate 101", "--error-rate 101"),
        ] {
            let said = refused(line);
            assert!(said.contains(flag), "{line}: {said}");
        }
    }

    #[test]
    fn a_path_fits_its_scenario() {
        for line in [
            "read",
            "read --path x",
            "read --path http://x/y",
            "read --path /x?n={i}",
            "read-uncached --path /x",
        ] {
            assert!(refused(line).contains("--path"), "{line}");
        }
        for line in
            ["read --path /x?a=b", "read-cached", "read-cached --path /x", "read-uncached --path /x?n={i}"]
        {
            settings(line).unwrap();
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for line in [
            "single --ramp --rate 5",
            "single --ramp --runs 2",
            "single --ramp --factor 2 --step 5",
            "single --from 5",
        ] {
            let words = ["orderwire", "load"].into_iter().chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
