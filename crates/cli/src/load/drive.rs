//! One run: keeps the connections busy and takes their times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

use super::http::Connection;
use super::measured::{Measured, Success};
use super::pace::{Pacer, Schedule};
use super::progress::Progress;
use super::scenario::{Failure, Plan, Round};
use crate::args::Arrivals;
use crate::error::Error;
use crate::stop::Stop;

/// After a refusal or a broken connection: failing fast is no load.
const PAUSE: Duration = Duration::from_millis(10);

/// What one run is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) connections: usize,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    /// Requests a second and how they are spread; none in a closed loop.
    pub(super) pace: Option<(f64, Arrivals)>,
    pub(super) seed: u32,
}

/// The moments of a run.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// From here on it counts.
    measure: Instant,
    end: Instant,
}

/// Measures once.
///
/// # Errors
/// When it is stopped a second time, before what was under way had ended.
pub(super) async fn drive(
    plan: &Arc<Plan>,
    run: &Run,
    stop: &mut Stop,
    progress: &Progress,
) -> Result<Measured, Error> {
    let start = Instant::now();
    let measure = start + run.warm_up;
    let times = Times { measure, end: measure + run.duration };
    let pacer = run.pace.map(|(rate, arrivals)| {
        Arc::new(Pacer::new(Schedule::new(start, rate, arrivals, run.seed), times.end))
    });
    let measured = Arc::new(Mutex::new(Measured::new(run.duration, plan.stages())));
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..run.connections {
        let worker = Worker {
            connection: plan.connect(),
            plan: plan.clone(),
            pacer: pacer.clone(),
            measured: measured.clone(),
            over: over.clone(),
            times,
        };
        tasks.spawn(worker.run());
    }
    if let Some(pacer) = pacer.clone() {
        std::thread::spawn(move || pacer.run());
    }
    let busy_before = busy();
    let end = |stopped: bool| {
        over.store(true, Ordering::Relaxed);
        if let Some(pacer) = &pacer {
            pacer.close();
        }
        lock(&measured).stopped |= stopped;
    };
    let mut ticks = tokio::time::interval(Progress::EVERY);
    let mut stopped_at = None;
    loop {
        tokio::select! {
            task = tasks.join_next() => match task {
                None => break,
                // The first that finds nothing left ends it for all.
                Some(Ok(Ended::Drained)) => end(false),
                Some(Ok(Ended::Over)) => {}
                Some(Err(error)) => return Err(Error::failed(format!("a connection's task failed: {error}"))),
            },
            () = stop.next() => {
                if stopped_at.is_some() {
                    return Err(Error::failed("stopped before what was under way had ended"));
                }
                stopped_at = Some(Instant::now());
                end(true);
            }
            _ = ticks.tick() => progress.show(&lock(&measured), measure.elapsed(), run),
        }
    }
    let mut measured = lock(&measured).clone();
    let ended = Instant::now();
    measured.cores = (busy() - busy_before).as_secs_f64() / (ended - start).as_secs_f64();
    finish(&mut measured, times, ended, stopped_at, pacer.as_deref());
    Ok(measured)
}

/// The figures that need the end.
fn finish(
    measured: &mut Measured,
    times: Times,
    ended: Instant,
    stopped_at: Option<Instant>,
    pacer: Option<&Pacer>,
) {
    // The last delivery ends it, not the wait for another.
    let drained_at = measured.drained.then(|| times.measure + measured.last_at);
    let early = drained_at.or(stopped_at).filter(|at| *at < times.end);
    // What was still under way at the end counts, and so does its time.
    let until = match (early, pacer) {
        (Some(early), _) => early,
        (None, Some(_)) => ended.min(times.end),
        (None, None) => ended,
    };
    let lasted = until.saturating_duration_since(times.measure);
    measured.seconds = lasted.as_secs_f64().max(0.001);
    measured.samples.end(lasted);
    if let Some(pacer) = pacer {
        measured.not_sent = pacer.not_taken(times.measure, early.unwrap_or(times.end));
        measured.late_max = pacer.late_max();
    }
}

fn lock(measured: &Mutex<Measured>) -> std::sync::MutexGuard<'_, Measured> {
    measured.lock().expect("nobody panics while holding it")
}

/// For how long this process kept a core busy.
fn busy() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("a process has run for some time")
}

/// Why a connection stopped asking.
enum Ended {
    Over,
    Drained,
}

struct Worker {
    connection: Connection,
    plan: Arc<Plan>,
    pacer: Option<Arc<Pacer>>,
    measured: Arc<Mutex<Measured>>,
    over: Arc<AtomicBool>,
    times: Times,
}

impl Worker {
    async fn run(mut self) -> Ended {
        let Times { measure, end } = self.times;
        loop {
            let begun = match &self.pacer {
                Some(pacer) => match pacer.next().await {
                    Some(due) => due,
                    None => return Ended::Over,
                },
                None => Instant::now(),
            };
            if begun >= end || self.over.load(Ordering::Relaxed) {
                return Ended::Over;
            }
            let round = self.plan.round(&mut self.connection).await;
            let counts = begun >= measure;
            let failure = match round {
                Ok(Round::Idle) if self.pacer.is_none() => continue,
                // It was due and did nothing.
                Ok(Round::Idle) => Failure::new("idle", "others held all that there was to do"),
                Ok(Round::Drained) => {
                    lock(&self.measured).drained = true;
                    return Ended::Drained;
                }
                Ok(Round::Done(done)) => {
                    if counts {
                        lock(&self.measured).success(&Success {
                            at: done.ended - measure,
                            latency: done.ended - begun,
                            units: done.units,
                            stages: done.stages,
                        });
                    }
                    continue;
                }
                Err(failure) => failure,
            };
            {
                let mut measured = lock(&self.measured);
                if counts {
                    measured.failure(measure.elapsed(), &failure.error);
                }
                measured.last_error = Some(failure.reason);
            }
            if self.pacer.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::measured::Stages;

    fn measured(at: u64) -> Measured {
        let mut measured = Measured::new(Duration::from_secs(10), &[]);
        let latency = Duration::from_millis(1);
        measured.success(&Success {
            at: Duration::from_secs(at),
            latency,
            units: 1,
            stages: Stages::default(),
        });
        measured
    }

    fn times() -> Times {
        let measure = Instant::now();
        Times { measure, end: measure + Duration::from_secs(10) }
    }

    #[test]
    fn a_run_lasts_until_the_last_answer_and_one_of_a_rate_until_its_end() {
        let (times, mut measured) = (times(), measured(9));
        finish(&mut measured, times, times.end + Duration::from_secs(2), None, None);
        assert_eq!(measured.seconds, 12.0);
        let pacer = Pacer::new(Schedule::new(times.measure, 1.0, Arrivals::Uniform, 0), times.end);
        finish(&mut measured, times, times.end + Duration::from_secs(2), None, Some(&pacer));
        assert_eq!((measured.seconds, measured.not_sent), (10.0, 10));
    }

    #[test]
    fn a_drained_queue_ends_with_its_last_delivery_and_a_stop_at_its_moment() {
        let (times, mut measured) = (times(), measured(4));
        let pacer = Pacer::new(Schedule::new(times.measure, 1.0, Arrivals::Uniform, 0), times.end);
        let stopped = times.measure + Duration::from_secs(6);
        finish(&mut measured, times, stopped + Duration::from_secs(1), Some(stopped), Some(&pacer));
        assert_eq!((measured.seconds, measured.not_sent), (6.0, 6));
        measured.drained = true;
        finish(&mut measured, times, times.end, None, None);
        assert_eq!(measured.seconds, 4.0);
    }
}
