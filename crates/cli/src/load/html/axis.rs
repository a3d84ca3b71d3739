//! Where a value stands on an axis, and what is written there.

use crate::out::count;

/// Ticks of an even axis, about.
const TICKS: f64 = 5.0;
/// A logarithmic axis of more decades shows only these.
const DECADES_IN_DETAIL: f64 = 3.0;

/// An axis from `low` to `high`.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    pub(super) label: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Even,
    Log,
    /// Of percentiles, as `1 / (1 - quantile)`: each decade is another nine.
    Nines,
}

impl Axis {
    /// From 0 to a round number that is not below any value.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>, label: impl Into<String>) -> Self {
        let max = values.fold(0.0, f64::max);
        let max = if max > 0.0 { max } else { 1.0 };
        let step = step(max);
        Self { scale: Scale::Even, low: 0.0, high: (max / step).ceil() * step, label: label.into() }
    }

    /// From 0 to exactly this.
    pub(super) fn up_to(high: f64, label: impl Into<String>) -> Self {
        Self { scale: Scale::Even, low: 0.0, high, label: label.into() }
    }

    /// Between round numbers around the values above 0.
    pub(super) fn log(values: impl Iterator<Item = f64>, label: impl Into<String>) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if high > 0.0 { (round_down(low), round_up(high)) } else { (1.0, 10.0) };
        let high = if high > low { high } else { low * 10.0 };
        Self { scale: Scale::Log, low, high, label: label.into() }
    }

    /// Percentiles of so many requests.
    pub(super) fn nines(requests: f64, label: impl Into<String>) -> Self {
        Self { scale: Scale::Nines, low: 1.0, high: requests.max(100.0), label: label.into() }
    }

    /// The place of a value, from 0 to 1; none of what the axis cannot show.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Even => (value - self.low) / (self.high - self.low),
            _ if value <= 0.0 => return None,
            Scale::Log | Scale::Nines => (value / self.low).log10() / (self.high / self.low).log10(),
        };
        (-1e-9..=1.0 + 1e-9).contains(&place).then_some(place)
    }

    /// Values with their labels, within the axis.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self.scale {
            Scale::Even => {
                let step = step(self.high - self.low);
                multiples(self.low, step, self.high)
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10();
                let all: &[f64] = if decades > DECADES_IN_DETAIL { &[1.0] } else { &[1.0, 2.0, 5.0] };
                powers(self.low, self.high).flat_map(|power| all.iter().map(move |n| n * power)).collect()
            }
            Scale::Nines => [1.0, 2.0].into_iter().chain(powers(10.0, self.high)).collect(),
        };
        let label = |value| if self.scale == Scale::Nines { percent(value) } else { number(value) };
        let inside = values.into_iter().filter(|value| self.at(*value).is_some());
        inside.map(|value| (value, label(value))).collect()
    }
}

/// A round step: 1, 2 or 5 times a power of ten.
fn step(range: f64) -> f64 {
    round_up(range / TICKS / 1.5)
}

fn multiples(low: f64, step: f64, high: f64) -> Vec<f64> {
    let count = ((high - low) / step + 1e-9).floor();
    (0..=100).map(f64::from).take_while(|n| *n <= count).map(|n| low + n * step).collect()
}

/// The powers of ten from the one at or below `low` to the one at or below `high`.
fn powers(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let first = (low.log10() + 1e-9).floor();
    let count = ((high.log10() + 1e-9).floor() - first).max(0.0);
    (0..=100).map(f64::from).take_while(move |n| *n <= count).map(move |n| 10_f64.powf(first + n))
}

fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let rest = value / power;
    power
        * if rest >= 5.0 {
            5.0
        } else if rest >= 2.0 {
            2.0
        } else {
            1.0
        }
}

fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let rest = value / power;
    let up = [1.0, 2.0, 5.0].into_iter().find(|n| rest <= n * (1.0 + 1e-9));
    power * up.unwrap_or(10.0)
}

/// A number for people: `0.05`, `2.5`, `1,500`, `20k`, `1.5M`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is rounded and not negative")]
pub(super) fn number(value: f64) -> String {
    match value {
        10_000_000.0.. => format!("{}M", short(value / 1e6)),
        1_000_000.0.. => format!("{}M", short(value / 1e6)),
        10_000.0.. => format!("{}k", short(value / 1e3)),
        100.0.. => count(value.round() as u64),
        _ => short(value),
    }
}

/// Three digits that matter, without zeros at the end.
fn short(value: f64) -> String {
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `99.9` of 1,000: of so many one is worse.
fn percent(one_of: f64) -> String {
    if one_of < 10.0 {
        return short(100.0 - 100.0 / one_of);
    }
    let nines = one_of.log10().round();
    let digits = (nines - 2.0).max(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few digits")]
    let digits = digits as usize;
    format!("{:.digits$}", 100.0 - 100.0 / one_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Axis::from_zero([21_300.0].into_iter(), "")), "0 5,000 10k 15k 20k 25k");
        assert_eq!(labels(&Axis::from_zero([0.7].into_iter(), "")), "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7");
        assert_eq!(labels(&Axis::up_to(10.0, "")), "0 2 4 6 8 10");
        assert_eq!(labels(&Axis::up_to(7.5, "")), "0 1 2 3 4 5 6 7");
        assert_eq!(labels(&Axis::log([0.7, 38.0].into_iter(), "")), "0.5 1 2 5 10 20 50");
        assert_eq!(labels(&Axis::log([0.06, 2_100.0].into_iter(), "")), "0.1 1 10 100 1,000");
        assert_eq!(labels(&Axis::nines(20_000.0, "")), "0 50 90 99 99.9 99.99");
    }

    #[test]
    fn places_are_within_the_axis() {
        let even = Axis::up_to(10.0, "");
        assert_eq!(
            [0.0, 5.0, 10.0, 11.0].map(|value| even.at(value)),
            [Some(0.0), Some(0.5), Some(1.0), None]
        );
        let log = Axis::log([1.0, 100.0].into_iter(), "");
        assert_eq!(
            [1.0, 10.0, 100.0, 0.0].map(|value| log.at(value)),
            [Some(0.0), Some(0.5), Some(1.0), None]
        );
    }

    #[test]
    fn an_axis_of_nothing_or_of_one_value_has_a_length() {
        for axis in [
            Axis::log(std::iter::empty(), ""),
            Axis::log([5.0].into_iter(), ""),
            Axis::from_zero(std::iter::empty(), ""),
        ] {
            assert!(axis.high > axis.low && axis.ticks().len() > 1, "{axis:?}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.05, 2.5, 99.94, 1_500.0, 20_000.0, 123_456.0, 1_500_000.0].map(number);
        assert_eq!(shown, ["0", "0.05", "2.5", "99.9", "1,500", "20k", "123k", "1.5M"]);
    }
}
