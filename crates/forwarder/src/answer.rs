//! What became of one attempt, and what follows from it.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use orderwire_store::log::AttemptOutcome;
use orderwire_worker::Verdict;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::breaker::RETRY_AFTER_MAX;

/// The shortest pause that an endpoint can ask for: it must not use up attempts in no
/// time.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// The most characters of an answer that are kept with a failure.
const SAID_MAX: usize = 500;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// When it began.
    pub(crate) at: Timestamp,
    pub(crate) duration: Duration,
    pub(crate) outcome: AttemptOutcome,
    /// The status, if the endpoint answered.
    pub(crate) status: Option<StatusCode>,
    /// Why it failed, in plain words.
    pub(crate) error: Option<String>,
    /// The beginning of the answer's body.
    pub(crate) body: String,
    /// The pause that the endpoint asked for.
    pub(crate) retry_after: Option<Duration>,
}

impl Answer {
    /// The endpoint answered. The specification takes 2xx for success and everything else
    /// for a failure that is tried again; 410 says that nothing is wanted any more.
    pub(crate) fn of_status(
        status: StatusCode,
        retry_after: Option<Duration>,
        at: Timestamp,
        duration: Duration,
        body: String,
    ) -> Self {
        let (outcome, error) = match status.as_u16() {
            200..=299 => (AttemptOutcome::Delivered, None),
            300..=399 => (
                AttemptOutcome::Retry,
                Some(format!("the endpoint answered {status}; redirects are not followed")),
            ),
            410 => (
                AttemptOutcome::Failed,
                Some(format!(
                    "the endpoint answered {status}: it wants no events any more; remove it from forwards"
                )),
            ),
            _ => (AttemptOutcome::Retry, Some(format!("the endpoint answered {status}"))),
        };
        Self { at, duration, outcome, status: Some(status), error, body, retry_after }
    }

    /// The endpoint did not answer.
    pub(crate) fn broken(error: String, at: Timestamp, duration: Duration) -> Self {
        Self {
            at,
            duration,
            outcome: AttemptOutcome::Retry,
            status: None,
            error: Some(error),
            body: String::new(),
            retry_after: None,
        }
    }

    /// The pause that all events of the endpoint take, where it asks for one because of
    /// load (429, 503).
    pub(crate) fn hold(&self) -> Option<Duration> {
        let loaded =
            matches!(self.status, Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE));
        self.retry_after.filter(|_| loaded)
    }

    /// What becomes of the delivery.
    pub(crate) fn verdict(&self) -> Verdict {
        let cause = self.error.clone().unwrap_or_default();
        match self.outcome {
            AttemptOutcome::Delivered => Verdict::Ack,
            AttemptOutcome::Retry => Verdict::Retry { after: self.retry_after, cause },
            AttemptOutcome::Failed => Verdict::Fail { cause },
        }
    }

    /// Why it failed, and what the endpoint said of it.
    pub(crate) fn detail(&self) -> Option<String> {
        let error = self.error.as_deref()?;
        let said: String = self.body.trim().chars().take(SAID_MAX).collect();
        Some(if said.is_empty() { error.to_owned() } else { format!("{error}: {said}") })
    }
}

/// The pause that an answer asks for: a number of seconds or a date; bounded.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(date.duration_since(now)).unwrap_or_default()
        }
    };
    Some(pause.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer::of_status(status, None, Timestamp::UNIX_EPOCH, Duration::ZERO, "  no\u{1b}  ".to_owned())
    }

    #[test]
    fn only_2xx_is_success_and_only_410_is_for_good() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(answer(status).verdict(), Verdict::Ack, "{status}");
        }
        for status in [300, 302, 307, 308, 400, 401, 404, 408, 409, 422, 425, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(answer(status).verdict(), Verdict::Retry { after: None, .. }), "{status}");
        }
        assert!(matches!(answer(410).verdict(), Verdict::Fail { cause } if cause.contains("410 Gone")));
        assert!(answer(302).detail().unwrap().contains("redirects are not followed"));
        assert_eq!(
            answer(500).detail().unwrap(),
            "the endpoint answered 500 Internal Server Error: no\u{1b}"
        );
        assert_eq!(answer(200).detail(), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(of("7"), seconds(7));
        assert_eq!(of("0"), seconds(1));
        assert_eq!(of("Thu, 01 Jan 2026 00:01:30 GMT"), seconds(90));
        assert_eq!(of("Wed, 31 Dec 2025 23:00:00 GMT"), seconds(1));
        assert_eq!(of("99999999999"), seconds(3_600));
        assert_eq!(of("-1"), None);
        assert_eq!(of("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn only_load_holds_all_events_of_an_endpoint() {
        let asked = |status| Answer { retry_after: Some(Duration::from_secs(7)), ..answer(status) };
        assert_eq!(asked(429).hold(), Some(Duration::from_secs(7)));
        assert_eq!(asked(503).hold(), Some(Duration::from_secs(7)));
        assert_eq!((asked(500).hold(), answer(429).hold()), (None, None));
        assert!(matches!(asked(500).verdict(), Verdict::Retry { after: Some(_), .. }));
    }
}
