//! How large payloads are: `512`, `200..2000`, `512:80,4096:15,65536:5`.

use std::fmt;
use std::str::FromStr;

/// The smallest payload is an object with an empty text.
pub(super) const BYTES_MIN: usize = 10;
const BYTES_MAX: usize = 8 << 20;
/// A range is sent in so many sizes, so that each can be prepared.
const RANGE_SIZES: usize = 32;
const WEIGHTS_MAX: usize = 32;

/// Sizes in bytes, each with its weight. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    text: String,
    all: Vec<(usize, f64)>,
}

impl Sizes {
    pub(super) fn bytes(&self) -> impl Iterator<Item = usize> {
        self.all.iter().map(|(bytes, _)| *bytes)
    }

    pub(super) fn weights(&self) -> impl Iterator<Item = f64> {
        self.all.iter().map(|(_, weight)| *weight)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Sizes {
    /// A sentence for people.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = if let Some((low, high)) = text.split_once("..") {
            range(size(low)?, size(high)?)?
        } else if text.contains([',', ':']) {
            text.split(',').map(weighted).collect::<Result<_, _>>()?
        } else {
            vec![(size(text)?, 1.0)]
        };
        if all.len() > WEIGHTS_MAX.max(RANGE_SIZES) {
            return Err(format!("there are more than {WEIGHTS_MAX} sizes"));
        }
        Ok(Self { text: text.to_owned(), all })
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(bytes) if (BYTES_MIN..=BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("{text:?} is no size from {BYTES_MIN} to {BYTES_MAX} bytes")),
    }
}

fn weighted(text: &str) -> Result<(usize, f64), String> {
    let (bytes, weight) =
        text.split_once(':').ok_or_else(|| format!("{text:?} has no weight, as in 512:80"))?;
    match weight.trim().parse() {
        Ok(weight) if weight > 0.0 && weight <= 1e9 => Ok((size(bytes)?, weight)),
        _ => Err(format!("{weight:?} is no weight above 0")),
    }
}

/// Evenly spaced sizes, both ends included.
fn range(low: usize, high: usize) -> Result<Vec<(usize, f64)>, String> {
    if low > high {
        return Err(format!("the range {low}..{high} is empty"));
    }
    let count = RANGE_SIZES.min(high - low + 1);
    let size = |i: usize| if count == 1 { low } else { low + (high - low) * i / (count - 1) };
    Ok((0..count).map(|i| (size(i), 1.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Sizes {
        text.parse().unwrap()
    }

    #[test]
    fn a_size_a_range_and_weights_are_read() {
        assert_eq!(parsed("512").all, [(512, 1.0)]);
        assert_eq!(parsed("512:80,4096:15,65536:5").all, [(512, 80.0), (4_096, 15.0), (65_536, 5.0)]);
        assert_eq!(parsed("10..12").all, [(10, 1.0), (11, 1.0), (12, 1.0)]);
        assert_eq!(parsed("512:80, 4096:15").to_string(), "512:80, 4096:15");
    }

    #[test]
    fn a_wide_range_keeps_its_ends_and_its_mean() {
        let sizes: Vec<usize> = parsed("200..2000").bytes().collect();
        assert_eq!((sizes.len(), sizes[0], sizes[31]), (32, 200, 2_000));
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((1_095..=1_105).contains(&mean), "{mean}");
    }

    #[test]
    fn what_is_no_size_is_named() {
        for (wrong, named) in [
            ("", "\"\""),
            ("9", "\"9\""),
            ("8388609", "8388609"),
            ("2000..200", "2000..200"),
            ("512:80,4096", "\"4096\""),
            ("512:0", "\"0\""),
            ("512:NaN", "NaN"),
            ("x..9", "\"x\""),
        ] {
            let error = wrong.parse::<Sizes>().unwrap_err();
            assert!(error.contains(named), "{wrong}: {error}");
        }
        let many = vec!["512:1"; WEIGHTS_MAX + 1].join(",");
        assert!(many.parse::<Sizes>().is_err());
    }
}
