//! Exact numbers as the wire has them: groups of four decimal digits.

use bytes::{BufMut as _, BytesMut};
use orderwire_types::Decimal;

/// What one group counts to.
const GROUP: u128 = 10_000;

const NEGATIVE: u16 = 0x4000;

/// Writes a number.
pub(super) fn write(number: Decimal, out: &mut BytesMut) {
    let scale = u32::from(number.scale());
    let digits = number.unscaled().unsigned_abs();
    let unit = 10u128.pow(scale);
    let (mut whole, fraction) = (digits / unit, digits % unit);
    let mut groups: Vec<u16> = Vec::with_capacity(12);
    let group = |digits: u128| u16::try_from(digits % GROUP).expect("below the count of a group");
    while whole > 0 {
        groups.insert(0, group(whole));
        whole /= GROUP;
    }
    // The power of the first group.
    let mut weight = i16::try_from(groups.len()).unwrap_or(i16::MAX) - 1;
    let mut left = scale;
    while left > 0 {
        groups.push(match left {
            4.. => group(fraction / 10u128.pow(left - 4)),
            _ => group(fraction % 10u128.pow(left) * 10u128.pow(4 - left)),
        });
        left = left.saturating_sub(4);
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    weight -= i16::try_from(leading).unwrap_or(i16::MAX);
    groups.drain(..leading);
    out.put_u16(u16::try_from(groups.len()).unwrap_or(u16::MAX));
    out.put_i16(if groups.is_empty() { 0 } else { weight });
    out.put_u16(if number.unscaled() < 0 { NEGATIVE } else { 0 });
    out.put_u16(number.scale().into());
    groups.into_iter().for_each(|group| out.put_u16(group));
}

/// Reads a number; `None` for one that we do not write.
pub(super) fn read(raw: &[u8]) -> Option<Decimal> {
    let word = |i: usize| Some(u16::from_be_bytes(raw.get(2 * i..2 * i + 2)?.try_into().ok()?));
    let (count, weight, sign, scale) = (word(0)?, word(1)?.cast_signed(), word(2)?, word(3)?);
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    let group = |power: i32| match usize::try_from(i32::from(weight) - power) {
        Ok(i) if i < usize::from(count) => word(4 + i).map(i128::from),
        _ => Some(0),
    };
    let mut digits: i128 = 0;
    for power in (0..=i32::from(weight)).rev() {
        digits = digits.checked_mul(10_000)?.checked_add(group(power)?)?;
    }
    let mut left = u32::from(scale);
    let mut power = -1;
    while left > 0 {
        let taken = left.min(4);
        let group = group(power)? / 10i128.pow(4 - taken);
        digits = digits.checked_mul(10i128.pow(taken))?.checked_add(group)?;
        left -= taken;
        power -= 1;
    }
    Decimal::new(if sign == NEGATIVE { -digits } else { digits }, u8::try_from(scale).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through(text: &str) -> String {
        let mut raw = BytesMut::new();
        write(text.parse().unwrap(), &mut raw);
        read(&raw).unwrap().to_string()
    }

    #[test]
    fn numbers_are_written_as_postgresql_has_them() {
        for (text, words) in [
            ("0", &[0u16, 0, 0, 0][..]),
            ("0.00", &[0, 0, 0, 2]),
            ("1", &[1, 0, 0, 0, 1]),
            ("-12345.6", &[3, 1, 0x4000, 1, 1, 2345, 6000]),
            ("0.00001", &[1, 0xfffe, 0, 5, 1000]),
            ("10000", &[1, 1, 0, 0, 1]),
        ] {
            let mut raw = BytesMut::new();
            write(text.parse().unwrap(), &mut raw);
            let expected: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            assert_eq!(raw, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_number_comes_back(unscaled in -10i128.pow(38) + 1..10i128.pow(38), shift in 0u32..38, scale in 0u8..=38) {
            let number = Decimal::new(unscaled / 10i128.pow(shift), scale).unwrap();
            prop_assert_eq!(through(&number.to_string()), number.to_string());
        }
    }
}
