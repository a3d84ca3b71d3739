//! `orderwire load`: puts load on a server and measures it.
//!
//! Closed loop: every connection asks again as soon as it is answered. With
//! `--rate` requests are due at moments that do not depend on the server, and
//! latency counts from when a request was due: a server that stalls cannot
//! hide what it kept waiting (no coordinated omission). `--ramp` raises that
//! rate until an objective breaks.
//!
//! One task and one keep-alive connection each, straight on hyper: the
//! generator shares its machine with what it measures.
//!
//! `settings` are the checked flags, `scenario` what is asked, `drive` one run,
//! `measured` its counts, `ramp` the search for the breaking point, `report` and
//! `html` what comes out.

mod draw;
mod drive;
mod html;
mod http;
mod machine;
mod measured;
mod pace;
mod progress;
mod ramp;
mod report;
mod scenario;
mod settings;
mod sizes;

use std::sync::Arc;

use jiff::Timestamp;

use crate::args::{Arrivals, Global, Load, Scenario};
use crate::error::{Error, ErrorKind};
use crate::out::Out;
use crate::server::{Server, address};
use crate::stop::Stop;
use drive::Run;
use machine::{Machine, Measurand};
use measured::Measured;
use progress::Progress;
use ramp::{Climb, Course, Objective, Seen, climb};
use report::{Report, Surroundings};
use scenario::Plan;
use settings::Settings;

pub(crate) async fn run(args: &Load, global: &Global, out: Out) -> Result<(), Error> {
    let settings = Settings::new(args, global.client.as_deref())?;
    let server = server(args, global)?;
    if let Some(path) = &args.html {
        // Before anything is measured, since it would have to be measured again.
        let opened = std::fs::File::options().append(true).create(true).open(path);
        opened.map_err(|error| cannot_write(path, &error))?;
    }
    let progress = Progress::new(report::unit(settings.scenario));
    progress.now("preparing".to_owned());
    let around = Surroundings {
        begun_at: Timestamp::now(),
        server: Measurand::of(&server).await?,
        machine: Machine::here(),
    };
    let plan = Arc::new(Plan::prepare(&settings, &server, global.client.as_deref()).await?);
    let mut stop = Stop::listen()?;
    let mut load = Running { settings: &settings, plan: &plan, stop: &mut stop, progress: &progress };
    let measured = match &settings.ramp {
        Some(course) => Box::pin(load.ramp(course)).await,
        None => load.runs().await,
    };
    // Whatever happened, what was made for it goes.
    let finished = tokio::select! {
        finished = plan.finish() => finished,
        () = stop.next() => Err(Error::failed("stopped before the releases that are left were removed")),
    };
    progress.end();
    let outcome = measured?;
    let failure = outcome.failure();
    let report = match outcome {
        Outcome::Runs(runs) => Report::of_runs(&settings, &runs, around),
        Outcome::Ramp { objective, climb, .. } => Report::of_ramp(&settings, objective, &climb, around),
    };
    if out.json {
        out.json(&report)?;
    } else {
        out.bytes(report.table().as_bytes())?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, html::page(&report)).map_err(|error| cannot_write(path, &error))?;
    }
    finished?;
    failure.map_or(Ok(()), Err)
}

fn cannot_write(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::usage(format!("--html {}: cannot be written: {error}", path.display()))
}

/// The server, with a key unless none is wanted or, of a view, found.
fn server(args: &Load, global: &Global) -> Result<Server, Error> {
    let keyless = || Server::with(address(&global.server)?, None, global.client.as_deref());
    if args.no_key {
        return keyless();
    }
    let reads = matches!(args.scenario, Scenario::Read | Scenario::ReadCached | Scenario::ReadUncached);
    match Server::new(global) {
        Err(error) if error.kind() == ErrorKind::NotAllowed && reads && args.work.path.is_some() => keyless(),
        server => server,
    }
}

/// What is under way.
struct Running<'a> {
    settings: &'a Settings,
    plan: &'a Arc<Plan>,
    stop: &'a mut Stop,
    progress: &'a Progress,
}

enum Outcome {
    Runs(Vec<Measured>),
    Ramp {
        objective: Objective,
        climb: Climb<Measured>,
        /// The rate at which there was nothing left to consume.
        drained_at: Option<f64>,
    },
}

impl Outcome {
    /// What makes the figures worth nothing.
    fn failure(&self) -> Option<Error> {
        match self {
            Self::Runs(runs) if runs.iter().all(|run| run.latencies.is_empty()) => {
                let stopped = runs.iter().any(|run| run.stopped);
                Some(Error::failed(match runs.iter().find_map(|run| run.last_error.as_deref()) {
                    Some(error) => format!("no request succeeded; the last failed so: {error}"),
                    None if stopped => "stopped before a request succeeded".to_owned(),
                    None => "no request succeeded; is the queue empty, or the time too short?".to_owned(),
                }))
            }
            Self::Ramp { drained_at: Some(rate), .. } => Some(Error::failed(format!(
                "the queue was empty before a step at {rate:.0} requests/s had ended; raise --prefill"
            ))),
            Self::Ramp { climb: Climb { knee: None, broke: true, steps, .. }, .. } => {
                let why = steps.first().and_then(|step| step.broken.as_deref()).unwrap_or_default();
                Some(Error::failed(format!(
                    "no rate kept the objective: {why} at the first rate; begin lower with --from, or allow more"
                )))
            }
            Self::Runs(_) | Self::Ramp { .. } => None,
        }
    }
}

impl Running<'_> {
    async fn runs(&mut self) -> Result<Outcome, Error> {
        let mut runs: Vec<Measured> = Vec::new();
        let settings = self.settings;
        for number in 1..=settings.runs {
            let what = if settings.runs == 1 {
                settings::name_of(&settings.scenario)
            } else {
                format!("run {number} of {}", settings.runs)
            };
            let number = u32::try_from(number).expect("there are few runs");
            let pace = settings.rate.map(|rate| (rate, settings.arrivals));
            let measured = self.measure(what, pace, settings.seed.wrapping_add(number)).await?;
            let stopped = measured.stopped;
            // One that was stopped before it began says nothing beside others.
            if runs.is_empty() || !measured.latencies.is_empty() {
                runs.push(measured);
            }
            if stopped {
                break;
            }
        }
        Ok(Outcome::Runs(runs))
    }

    async fn ramp(&mut self, course: &Course) -> Result<Outcome, Error> {
        let settings = self.settings;
        let mut drained_at = None;
        let climb = climb(course, async |rate| {
            let what = format!("{rate:.0} requests/s");
            let measured = self.measure(what, Some((rate, settings.arrivals)), settings.seed).await?;
            // A step that had nothing to do for a while says nothing, nor would the next.
            drained_at = measured.drained.then_some(rate);
            let broken = course.objective.broken_by(&measured);
            Ok(Seen { stopped: measured.stopped || measured.drained, measured, broken })
        })
        .await?;
        Ok(Outcome::Ramp { objective: course.objective, climb, drained_at })
    }

    async fn measure(
        &mut self,
        what: String,
        pace: Option<(f64, Arrivals)>,
        seed: u32,
    ) -> Result<Measured, Error> {
        self.progress.now(format!("{what}: preparing"));
        let Settings { connections, warm_up, duration, .. } = *self.settings;
        tokio::select! {
            ready = self.plan.before_run() => ready?,
            () = self.stop.next() => {
                let nothing = Measured::new(duration, self.plan.stages());
                return Ok(Measured { stopped: true, ..nothing });
            }
        }
        self.progress.now(what);
        let run = Run { connections, warm_up, duration, pace, seed };
        drive::drive(self.plan, &run, self.stop, self.progress).await
    }
}
