//! The search for the breaking point: the rate rises until the objective
//! breaks, then the gap between the last good and the first bad rate is halved.

use std::time::Duration;

use super::measured::Measured;
use super::settings::RATE_MAX;
use crate::error::Error;

/// At most so many of 100 due requests may be left out, which is about what is
/// under way when a step ends.
const NOT_SENT_PERCENT_MAX: f64 = 1.0;
/// A gap of less is noise.
const GAP_MIN: f64 = 0.02;

/// How the rate rises.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) from: f64,
    pub(super) growth: Growth,
    pub(super) step_lasts: Duration,
    /// How often the gap is halved.
    pub(super) refine: u32,
    pub(super) objective: Objective,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Growth {
    Factor(f64),
    Step(f64),
}

impl Growth {
    fn after(self, rate: f64) -> f64 {
        match self {
            Self::Factor(factor) => rate * factor,
            Self::Step(step) => rate + step,
        }
    }
}

/// What a server has to keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objective {
    pub(super) p99_ms: f64,
    pub(super) error_percent: f64,
}

impl Objective {
    /// What is broken, in a few words.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn broken_by(&self, measured: &Measured) -> Option<String> {
        let answered = measured.latencies.len();
        let errors = measured.error_percent();
        if answered == 0 {
            let why = measured.last_error.as_deref().unwrap_or("none was answered in time");
            return Some(format!("no request succeeded ({why})"));
        }
        if errors > self.error_percent {
            return Some(format!("{errors:.2} % errors, more than {}", self.error_percent));
        }
        let due = answered + measured.failed() + measured.not_sent;
        let not_sent = 100.0 * measured.not_sent as f64 / due as f64;
        if not_sent > NOT_SENT_PERCENT_MAX {
            return Some(format!("{not_sent:.1} % of what was due was not sent: no connection was free"));
        }
        let p99_ms = measured.latencies.value_at_quantile(0.99) as f64 / 1_000.0;
        (p99_ms > self.p99_ms).then(|| format!("p99 {p99_ms:.1} ms, more than {}", self.p99_ms))
    }
}

/// One measured rate.
#[derive(Debug)]
pub(super) struct Step<M> {
    /// Requests a second that were due.
    pub(super) rate: f64,
    pub(super) measured: M,
    /// Why it broke; nothing when the objective was kept.
    pub(super) broken: Option<String>,
}

/// What a step showed.
pub(super) struct Seen<M> {
    pub(super) measured: M,
    pub(super) broken: Option<String>,
    /// Somebody asked to stop.
    pub(super) stopped: bool,
}

/// All steps in the order in which they were measured.
#[derive(Debug)]
pub(super) struct Climb<M> {
    pub(super) steps: Vec<Step<M>>,
    /// The step of the highest rate that kept the objective.
    pub(super) knee: Option<usize>,
    /// Whether some rate broke it.
    pub(super) broke: bool,
    pub(super) stopped: bool,
}

/// Climbs until the objective breaks. A rate is broken when it broke twice in a
/// row: a moment's noise ends no climb.
///
/// # Errors
/// Those of `measure`.
pub(super) async fn climb<M>(
    course: &Course,
    measure: impl AsyncFnMut(f64) -> Result<Seen<M>, Error>,
) -> Result<Climb<M>, Error> {
    let climb = Climb { steps: Vec::new(), knee: None, broke: false, stopped: false };
    let mut climber = Climber { climb, measure };
    let (mut good, mut rate) = (None, course.from);
    let mut bad = loop {
        match climber.holds(rate).await? {
            None => return Ok(climber.climb),
            Some(false) => break rate,
            Some(true) if rate >= RATE_MAX => return Ok(climber.climb),
            Some(true) => good = Some(rate),
        }
        rate = course.growth.after(rate).min(RATE_MAX);
    };
    climber.climb.broke = true;
    let Some(mut good) = good else { return Ok(climber.climb) };
    for _ in 0..course.refine {
        if bad - good < GAP_MIN * good {
            break;
        }
        let middle = f64::midpoint(good, bad);
        match climber.holds(middle).await? {
            None => break,
            Some(true) => good = middle,
            Some(false) => bad = middle,
        }
    }
    Ok(climber.climb)
}

struct Climber<M, F> {
    climb: Climb<M>,
    measure: F,
}

impl<M, F: AsyncFnMut(f64) -> Result<Seen<M>, Error>> Climber<M, F> {
    /// Whether a rate keeps the objective; `None` when somebody asked to stop.
    async fn holds(&mut self, rate: f64) -> Result<Option<bool>, Error> {
        for _ in 0..2 {
            let Seen { measured, broken, stopped } = (self.measure)(rate).await?;
            if stopped {
                // What was cut short says nothing.
                self.climb.stopped = true;
                return Ok(None);
            }
            let holds = broken.is_none();
            self.climb.steps.push(Step { rate, measured, broken });
            if holds {
                // Rates that hold only rise.
                self.climb.knee = Some(self.climb.steps.len() - 1);
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::measured::{Stages, Success};

    fn course(growth: Growth, refine: u32) -> Course {
        let objective = Objective { p99_ms: 50.0, error_percent: 1.0 };
        Course { from: 100.0, growth, step_lasts: Duration::from_secs(1), refine, objective }
    }

    /// A server that keeps the objective up to a rate, but for these measurements.
    async fn climbed(course: &Course, capacity: f64, noise: &[usize]) -> Climb<()> {
        let mut count = 0;
        let climb = climb(course, async |rate| {
            let noisy = noise.contains(&count);
            count += 1;
            let broken = (rate > capacity || noisy).then(|| "slow".to_owned());
            Ok(Seen { measured: (), broken, stopped: false })
        });
        climb.await.unwrap()
    }

    fn rates(climb: &Climb<()>) -> Vec<f64> {
        climb.steps.iter().map(|step| step.rate).collect()
    }

    fn knee(climb: &Climb<()>) -> Option<f64> {
        climb.knee.map(|at| climb.steps[at].rate)
    }

    #[tokio::test]
    async fn the_knee_is_the_highest_rate_that_held() {
        let climb = climbed(&course(Growth::Factor(2.0), 3), 560.0, &[]).await;
        assert_eq!(rates(&climb), [100.0, 200.0, 400.0, 800.0, 800.0, 600.0, 600.0, 500.0, 550.0]);
        assert_eq!((knee(&climb), climb.broke), (Some(550.0), true));
    }

    #[tokio::test]
    async fn steps_may_be_even() {
        let climb = climbed(&course(Growth::Step(50.0), 0), 210.0, &[]).await;
        assert_eq!(rates(&climb), [100.0, 150.0, 200.0, 250.0, 250.0]);
        assert_eq!(knee(&climb), Some(200.0));
    }

    #[tokio::test]
    async fn noise_does_not_end_a_climb() {
        let climb = climbed(&course(Growth::Factor(2.0), 0), 460.0, &[0, 2]).await;
        assert_eq!(rates(&climb), [100.0, 100.0, 200.0, 200.0, 400.0, 800.0, 800.0]);
        assert_eq!(knee(&climb), Some(400.0));
    }

    #[tokio::test]
    async fn without_a_rate_that_holds_there_is_no_knee() {
        let climb = climbed(&course(Growth::Factor(2.0), 3), 1.0, &[]).await;
        assert_eq!((rates(&climb), knee(&climb), climb.broke), (vec![100.0, 100.0], None, true));
    }

    #[tokio::test]
    async fn a_server_that_never_breaks_ends_at_the_highest_rate() {
        let climb = climbed(&course(Growth::Factor(100.0), 3), f64::MAX, &[]).await;
        assert_eq!(rates(&climb), [100.0, 10_000.0, RATE_MAX]);
        assert_eq!((knee(&climb), climb.broke), (Some(RATE_MAX), false));
    }

    #[tokio::test]
    async fn a_small_gap_is_not_halved() {
        let climb = climbed(&course(Growth::Factor(1.03), 9), 101.0, &[]).await;
        assert_eq!(rates(&climb), [100.0, 103.0, 103.0, 101.5, 101.5]);
    }

    #[tokio::test]
    async fn a_stop_keeps_what_is_known() {
        let mut count = 0;
        let course = course(Growth::Factor(2.0), 3);
        let climb = climb(&course, async |_| {
            count += 1;
            Ok(Seen { measured: (), broken: None, stopped: count == 3 })
        });
        let climb = climb.await.unwrap();
        assert_eq!((rates(&climb), knee(&climb), climb.stopped), (vec![100.0, 200.0], Some(200.0), true));
    }

    #[test]
    fn an_objective_is_broken_by_time_errors_and_requests_that_were_not_sent() {
        let objective = Objective { p99_ms: 50.0, error_percent: 1.0 };
        let measured = |slow: u64, errors: u64, not_sent: u64| {
            let mut measured = Measured::new(Duration::from_secs(1), &[]);
            for number in 0..1_000 {
                let latency = Duration::from_millis(if number < slow { 60 } else { 40 });
                let stages = Stages::default();
                measured.success(&Success { at: Duration::ZERO, latency, units: 1, stages });
            }
            (0..errors).for_each(|_| measured.failure(Duration::ZERO, "503"));
            measured.not_sent = not_sent;
            objective.broken_by(&measured)
        };
        assert_eq!(measured(9, 10, 10), None);
        assert!(measured(20, 0, 0).unwrap().contains("p99 60.0 ms"));
        assert!(measured(0, 11, 0).unwrap().contains("1.09 % errors"));
        assert!(measured(0, 0, 11).unwrap().contains("not sent"));
        let nothing = Measured::new(Duration::from_secs(1), &[]);
        assert!(objective.broken_by(&nothing).unwrap().contains("no request succeeded"));
    }
}
