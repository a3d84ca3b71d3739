//! What a scalar means where no type says so: the core schema of YAML 1.2, without
//! the spellings that readers of YAML disagree about.

/// The value of a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'t> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'t str),
}

/// Resolves a scalar. What is quoted is text, and so is what no rule of the core schema
/// matches: `no`, `on`, `1e3x`, `1_000`, `1:30`.
///
/// # Errors
/// For numbers that would not arrive as they were meant: with a leading zero (`0644` is
/// 644 here and 420 for a reader of YAML 1.1), too large for 64 bits, and those that
/// JSON has not.
pub(crate) fn resolve(text: &str, plain: bool) -> Result<Scalar<'_>, String> {
    if !plain {
        return Ok(Scalar::Text(text));
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Scalar::Null),
        "true" | "True" | "TRUE" => return Ok(Scalar::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Scalar::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if is_special(unsigned) {
        return Err(format!("JSON has no number {text}; put it in quotes if it is text"));
    }
    if let Some(number) = integer(text, unsigned)? {
        return Ok(number);
    }
    if !is_float(unsigned) {
        return Ok(Scalar::Text(text));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Scalar::Float(number)),
        _ => Err(too_large(text)),
    }
}

fn is_special(unsigned: &str) -> bool {
    matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
}

/// `[-+]?[0-9]+`, `0o[0-7]+` or `0x[0-9a-fA-F]+`; nothing for anything else.
fn integer<'t>(text: &str, unsigned: &str) -> Result<Option<Scalar<'t>>, String> {
    let (digits, radix) = match (text.strip_prefix("0o"), text.strip_prefix("0x")) {
        (Some(octal), _) => (octal, 8),
        (_, Some(hex)) => (hex, 16),
        _ => (unsigned, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Ok(None);
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Err(format!(
            "readers of YAML disagree about {text}; put it in quotes, or write it without a leading zero"
        ));
    }
    let magnitude = u64::from_str_radix(digits, radix).map_err(|_| too_large(text))?;
    if text.starts_with('-') {
        let number = 0_i64.checked_sub_unsigned(magnitude).ok_or_else(|| too_large(text))?;
        return Ok(Some(Scalar::Signed(number)));
    }
    Ok(Some(Scalar::Unsigned(magnitude)))
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, a sign already taken off.
fn is_float(unsigned: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let mantissa_fits = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    let exponent_fits = exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)));
    mantissa_fits && exponent_fits
}

fn too_large(text: &str) -> String {
    let shown: String = text.chars().take(64).collect();
    format!("the number {shown} does not fit into 64 bits; put it in quotes if it is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_has_the_type_of_the_core_schema() {
        let rows = [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("NULL", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("FALSE", Scalar::Bool(false)),
            ("0", Scalar::Unsigned(0)),
            ("+12", Scalar::Unsigned(12)),
            ("-12", Scalar::Signed(-12)),
            ("0o17", Scalar::Unsigned(15)),
            ("0xfF", Scalar::Unsigned(255)),
            ("18446744073709551615", Scalar::Unsigned(u64::MAX)),
            ("-9223372036854775808", Scalar::Signed(i64::MIN)),
            ("1.5", Scalar::Float(1.5)),
            ("-.5", Scalar::Float(-0.5)),
            ("1.", Scalar::Float(1.0)),
            ("1e3", Scalar::Float(1000.0)),
            ("6.02E+23", Scalar::Float(6.02e23)),
        ];
        for (text, value) in rows {
            assert_eq!(resolve(text, true), Ok(value), "{text}");
            assert_eq!(resolve(text, false), Ok(Scalar::Text(text)), "{text}");
        }
    }

    #[test]
    fn what_only_resembles_a_type_is_text() {
        for text in [
            "no",
            "on",
            "yes",
            "y",
            "tRue",
            "nULL",
            "1e3x",
            "1_000",
            "1:30",
            "2026-11-20",
            "0b1",
            "0o8",
            "0x",
            "-0x1",
            "+",
            "-",
            ".",
            "..",
            "1.2.3",
            "e3",
            ".e3",
            "1e",
            "1e+",
            "--1",
            "inf",
            "nan",
            "Infinity",
            "- 1",
            "1 ",
            "٣",
        ] {
            assert_eq!(resolve(text, true), Ok(Scalar::Text(text)), "{text}");
        }
    }

    #[test]
    fn a_number_that_would_arrive_as_another_is_refused() {
        for text in ["0644", "-01", "+007", "08", "00"] {
            assert!(resolve(text, true).unwrap_err().contains("readers of YAML disagree"), "{text}");
        }
        for text in ["18446744073709551616", "-9223372036854775809", "0x1ffffffffffffffff", "1e400"] {
            assert!(resolve(text, true).unwrap_err().contains("does not fit into 64 bits"), "{text}");
        }
        for text in [".inf", "-.INF", ".NaN"] {
            assert!(resolve(text, true).unwrap_err().contains("JSON has no number"), "{text}");
        }
    }
}
