//! The sample data of `examples/air-quality`: ten stations, five days, one row
//! an hour, in the columns of a public air-quality feed.
//!
//! Whole numbers only, so that every machine makes the same bytes: sine and
//! its kin differ in the last digit from one C library to the next.

use std::fmt::Write as _;

const STATIONS: usize = 10;
const DAYS: usize = 5;
const SEED: u64 = 0x6f72_6465_7277_6972;

/// The share of the daily mean at each hour, in percent: two rush hours.
const TRAFFIC: [i64; 24] = [
    62, 52, 46, 44, 50, 72, 110, 152, 164, 136, 108, 96, 92, 90, 92, 100, 118, 146, 160, 150, 126, 104, 86,
    72,
];
/// Chimneys and heating: flat, a little more in the working day.
const INDUSTRY: [i64; 24] = [
    82, 80, 78, 78, 80, 86, 94, 104, 114, 120, 122, 120, 118, 116, 116, 114, 110, 106, 104, 100, 96, 92, 88,
    84,
];
/// Ozone: made by the sun, eaten by the morning's traffic.
const SUN: [i64; 24] =
    [72, 70, 68, 64, 58, 48, 38, 36, 46, 66, 92, 120, 144, 162, 170, 166, 152, 132, 112, 98, 88, 82, 78, 74];
/// Dust: rush hours, and calm evenings that hold it down.
const DUST: [i64; 24] = [
    96, 90, 84, 80, 80, 88, 102, 120, 126, 114, 100, 90, 84, 80, 80, 84, 94, 110, 126, 134, 132, 124, 114,
    104,
];

struct Pollutant {
    name: &'static str,
    /// The mean at a town station, in units of the last digit shown.
    mean: i64,
    digits: usize,
    hours: &'static [i64; 24],
}

/// In µg/m³ with one digit, carbon monoxide in mg/m³ with three. Fine dust is a
/// share of all dust and follows from it.
const POLLUTANTS: [Pollutant; 5] = [
    Pollutant { name: "so2", mean: 48, digits: 1, hours: &INDUSTRY },
    Pollutant { name: "no2", mean: 312, digits: 1, hours: &TRAFFIC },
    Pollutant { name: "co", mean: 410, digits: 3, hours: &TRAFFIC },
    Pollutant { name: "o3", mean: 524, digits: 1, hours: &SUN },
    Pollutant { name: "pm10", mean: 226, digits: 1, hours: &DUST },
];

/// How much of the town's mean a station sees, in percent, by pollutant: a
/// crossing, a works, a park and the open country, taken in turn.
const SURROUNDINGS: [[i64; 5]; 4] =
    [[90, 158, 150, 70, 132], [210, 108, 112, 88, 140], [76, 78, 82, 112, 84], [58, 40, 60, 126, 66]];

/// The weather of each day, in percent of the mean: wind clears, calm gathers.
const WEATHER: [i64; DAYS] = [104, 88, 72, 118, 134];

/// Stations (from 0) without a sensor for a pollutant.
const NO_SENSOR: [(usize, &str); 3] = [(3, "so2"), (8, "pm2_5"), (9, "co")];

/// The whole file, header included.
pub(crate) fn measures() -> String {
    let mut random = Random(SEED);
    let mut csv = String::from("TimeInstant,id_entity,so2,no2,co,o3,pm10,pm2_5\n");
    for (day, weather) in WEATHER.iter().enumerate() {
        for hour in 0..24 {
            for station in 0..STATIONS {
                let day = day + 1;
                write!(csv, "2026-11-{day:02}T{hour:02}:00:00Z,air-station-{:02}", station + 1)
                    .expect("writing to a string cannot fail");
                row(&mut csv, &mut random, station, hour, *weather);
            }
        }
    }
    csv
}

fn row(csv: &mut String, random: &mut Random, station: usize, hour: usize, weather: i64) {
    let surroundings = &SURROUNDINGS[station % SURROUNDINGS.len()];
    let mut pm10 = 0;
    for (pollutant, share) in POLLUTANTS.iter().zip(surroundings) {
        // The sun does not mind the wind that clears the rest.
        let weather = if pollutant.name == "o3" { 200 - weather } else { weather };
        let mut value = pollutant.mean * share * pollutant.hours[hour] * weather / 1_000_000;
        value = value * random.between(86, 115) / 100;
        if random.one_in(400) {
            // A bonfire, a passing truck, a sensor that jumps.
            value *= random.between(4, 9);
        }
        pm10 = value;
        write_value(csv, random, station, pollutant.name, value, pollutant.digits);
    }
    let pm2_5 = pm10 * random.between(48, 72) / 100;
    write_value(csv, random, station, "pm2_5", pm2_5, 1);
    csv.push('\n');
}

/// One field; empty where there is no sensor, and now and then where there is.
fn write_value(csv: &mut String, random: &mut Random, station: usize, name: &str, value: i64, digits: usize) {
    csv.push(',');
    let dropped = random.one_in(90);
    if !dropped && !NO_SENSOR.contains(&(station, name)) {
        let unit = 10_i64.pow(u32::try_from(digits).expect("a handful of digits"));
        write!(csv, "{}.{:0digits$}", value / unit, value % unit).expect("writing to a string cannot fail");
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from `low` to `high`, both included.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low + 1).expect("low is not above high");
        low + i64::try_from(self.next() % width).expect("less than the width")
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(csv: &str) -> Vec<Vec<&str>> {
        csv.lines().skip(1).map(|line| line.split(',').collect()).collect()
    }

    fn mean(rows: &[Vec<&str>], column: usize, hour: &str) -> f64 {
        let at_hour = rows.iter().filter(|row| row[0].ends_with(&format!("T{hour}:00:00Z")));
        let values: Vec<f64> = at_hour.filter_map(|row| row[column].parse().ok()).collect();
        values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap())
    }

    #[test]
    fn every_station_has_every_hour_once() {
        let csv = measures();
        let rows = rows(&csv);
        assert_eq!(rows.len(), STATIONS * DAYS * 24);
        assert!(rows.iter().all(|row| row.len() == 8), "eight columns each");
        let mut keys: Vec<_> = rows.iter().map(|row| (row[1], row[0])).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), rows.len());
    }

    #[test]
    fn the_day_shows_in_the_figures() {
        let csv = measures();
        let rows = rows(&csv);
        assert!(mean(&rows, 3, "08") > 2.0 * mean(&rows, 3, "03"), "no2 has a rush hour");
        assert!(mean(&rows, 5, "14") > 2.0 * mean(&rows, 5, "07"), "o3 follows the sun");
    }

    #[test]
    fn some_values_are_missing_and_some_stand_out() {
        let csv = measures();
        let rows = rows(&csv);
        let empty = |column: usize| rows.iter().filter(|row| row[column].is_empty()).count();
        assert!((2..=7).all(|column| empty(column) > 0), "each column has a gap");
        let of_station_4: Vec<&str> =
            rows.iter().filter(|r| r[1] == "air-station-04").map(|r| r[2]).collect();
        assert!(of_station_4.iter().all(|so2| so2.is_empty()), "a station without a sensor");
        let so2: Vec<f64> = rows.iter().filter_map(|row| row[2].parse().ok()).collect();
        let most = so2.iter().copied().fold(0.0, f64::max);
        assert!(
            most > 20.0 && so2.iter().filter(|value| **value > 20.0).count() < 40,
            "few outliers, up to {most}"
        );
    }

    #[test]
    fn fine_dust_is_never_more_than_dust() {
        for row in rows(&measures()) {
            if let (Ok(pm10), Ok(pm2_5)) = (row[6].parse::<f64>(), row[7].parse::<f64>()) {
                assert!(pm2_5 <= pm10, "{row:?}");
            }
        }
    }
}
