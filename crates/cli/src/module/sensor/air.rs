//! What a station measures: curves of a day with noise that follows from its
//! name.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A row, with the columns of `examples/air-quality/orderwire.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    #[serde(rename = "TimeInstant")]
    pub(super) time: String,
    id_entity: String,
    so2: f64,
    no2: f64,
    co: f64,
    o3: f64,
    pm10: f64,
    pm2_5: f64,
}

/// Random numbers that a text decides (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut seed = [0; 8];
        seed.copy_from_slice(&digest[..8]);
        Self(u64::from_le_bytes(seed))
    }

    /// From 0 to 1.
    pub(super) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        (x >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Around 1, by up to `part`.
    fn around(&mut self, part: f64) -> f64 {
        1.0 + part * (2.0 * self.unit() - 1.0)
    }
}

/// One measurement.
pub(super) fn measure(station: &str, at: Timestamp, noise: &mut Noise) -> Row {
    let hour = (at.as_millisecond().rem_euclid(86_400_000)) as f64 / 3_600_000.0;
    // How busy the place is: the same for a station every time.
    let place = 0.6 + 0.8 * Noise::new(station).unit();
    let traffic = place * (0.25 + bump(hour, 8.0, 1.8) + 0.9 * bump(hour, 18.0, 2.2));
    let sun = bump(hour, 14.0, 3.5);
    let no2 = 38.0 * traffic * noise.around(0.15);
    let pm10 = (8.0 + 22.0 * traffic) * noise.around(0.2);
    Row {
        time: at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        id_entity: station.to_owned(),
        so2: round((2.5 + 3.0 * traffic) * noise.around(0.25), 1),
        no2: round(no2, 1),
        co: round((0.2 + 0.5 * traffic) * noise.around(0.15), 2),
        // Made by the sun, used up by traffic.
        o3: round((25.0 + 70.0 * sun) * noise.around(0.1) / (1.0 + no2 / 150.0), 1),
        pm10: round(pm10, 1),
        pm2_5: round(pm10 * (0.5 + 0.2 * noise.unit()), 1),
    }
}

/// A hill around an hour of the day, on a clock that goes round.
fn bump(hour: f64, middle: f64, width: f64) -> f64 {
    let apart = (hour - middle).abs();
    let apart = apart.min(24.0 - apart);
    (-(apart / width).powi(2) / 2.0).exp()
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_station_measures_the_same() {
        let row = || measure("roof", at("2026-11-01T08:00:00Z"), &mut Noise::new("roof"));
        assert_eq!(row(), row());
        let other = measure("yard", at("2026-11-01T08:00:00Z"), &mut Noise::new("yard"));
        assert_ne!(row().no2, other.no2);
    }

    #[test]
    fn values_are_plausible_at_every_hour() {
        let mut noise = Noise::new("roof");
        let begin = at("2026-11-01T00:00:00Z").as_millisecond();
        let rows: Vec<Row> = (0..24 * 60)
            .map(|minute| Timestamp::from_millisecond(begin + minute * 60_000).unwrap())
            .map(|at| measure("roof", at, &mut noise))
            .collect();
        for row in &rows {
            assert!(row.pm2_5 <= row.pm10 && row.pm2_5 > 0.0, "{row:?}");
            assert!((0.0..200.0).contains(&row.no2) && (0.0..200.0).contains(&row.o3), "{row:?}");
            assert!((0.0..5.0).contains(&row.co) && (0.0..50.0).contains(&row.so2), "{row:?}");
        }
        assert!(rows[8 * 60].no2 > rows[3 * 60].no2, "the morning has traffic");
        assert!(rows[14 * 60].o3 > rows[2 * 60].o3, "noon has sun");
    }

    #[test]
    fn times_have_a_fraction_in_utc() {
        let row = measure("roof", at("2026-11-01T08:00:00Z"), &mut Noise::new("roof"));
        assert_eq!(row.time, "2026-11-01T08:00:00.000000Z");
    }
}
