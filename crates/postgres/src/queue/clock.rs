//! Whether this machine's clock goes with the database's.
//!
//! Leases, delays and ages are told by the clock of the process that asks, and looked at by
//! those of all others: a node whose clock is ahead ends the leases of others before their time.
//! All of them have the database in common, so each compares itself with it.

use jiff::{SignedDuration, Timestamp};

use crate::db::Database;
use crate::error::{Error, ErrorKind};

/// What the database's clock says, in microseconds.
pub(super) const CLOCK: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// From here on operators are told. Leases last a minute where nobody says otherwise.
pub(super) const TOLD: SignedDuration = SignedDuration::from_secs(2);

/// From here on no queue is opened.
const REFUSED: SignedDuration = SignedDuration::from_secs(15);

/// By how much this machine is ahead of the database, or behind it, at the least: it was asked
/// between these moments.
pub(super) fn skew(before: Timestamp, database_us: i64, after: Timestamp) -> SignedDuration {
    let (before, after) = (before.as_microsecond(), after.as_microsecond());
    let ahead = before.saturating_sub(database_us).max(0);
    let behind = database_us.saturating_sub(after).max(0);
    SignedDuration::from_micros(ahead.saturating_sub(behind))
}

/// The same for people.
pub(super) fn told(skew: SignedDuration) -> String {
    let side = if skew.is_negative() { "behind" } else { "ahead of" };
    let seconds = skew.abs().as_secs_f64();
    format!("the clock of this machine is {seconds:.1} s {side} the database's; have both set by NTP")
}

/// Compares the clocks before the queue is used.
///
/// # Errors
/// `Refused` where they are too far apart for leases to mean anything.
pub(super) async fn check(database: &Database, now: impl Fn() -> Timestamp) -> Result<(), Error> {
    let before = now();
    let rows = database.query("comparing the clocks", &format!("SELECT {CLOCK}"), &[]).await?;
    let database_us = rows.first().ok_or_else(|| Error::damaged("the database tells no time"))?.get(0);
    let skew = skew(before, database_us, now());
    if skew.abs() < REFUSED {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, format!("opening the queue: {}", told(skew))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Options;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn how_long_the_answer_took_is_not_taken_for_a_difference() {
        let us = 1_000_000;
        assert_eq!(skew(at(10), 12 * us, at(15)), SignedDuration::ZERO);
        assert_eq!(skew(at(10), 7 * us, at(15)), SignedDuration::from_secs(3));
        assert_eq!(skew(at(10), 19 * us, at(15)), SignedDuration::from_secs(-4));
        assert!(told(SignedDuration::from_secs(-4)).contains("4.0 s behind the database's"));
    }

    #[tokio::test]
    async fn a_clock_that_is_far_from_the_databases_is_refused_with_what_to_do() {
        let Some(url) = crate::db::url_for_testing() else { return };
        let database = Database::open(&Options::for_testing(url)).await.unwrap();
        check(&database, Timestamp::now).await.unwrap();
        for (off, side) in [(20, "ahead of"), (-20, "behind")] {
            let now = || Timestamp::now() + SignedDuration::from_secs(off);
            let error = check(&database, now).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            let text = error.to_string();
            assert!(text.contains(side) && text.contains("have both set by NTP"), "{text}");
        }
    }
}
