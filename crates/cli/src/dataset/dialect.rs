//! How a file of text is written: what flags say of it, and what its beginning tells.

use encoding_rs::Encoding;

use crate::args::ImportFile;
use crate::error::Error;

/// The form of a file of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// What separates values of CSV; found by the first line when absent.
    pub(super) delimiter: Option<u8>,
    /// What quotes values of CSV.
    pub(super) quote: Quote,
    /// Where the names of the columns of CSV stand.
    pub(super) header: Header,
    /// How its characters are bytes; a byte order mark has the last word.
    pub(super) encoding: Option<&'static Encoding>,
}

/// What quotes values of CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    /// Nothing.
    None,
    /// This, twice inside a value.
    Byte(u8),
}

impl Default for Quote {
    fn default() -> Self {
        Self::Byte(b'"')
    }
}

/// Where the names of the columns of CSV stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Header {
    /// In the first record.
    #[default]
    First,
    /// Nowhere: they are those of the dataset, else `column_1` and so on.
    Nowhere,
    /// On the command line; the first record is a row.
    Given(Vec<String>),
}

impl Dialect {
    /// What the flags say.
    ///
    /// # Errors
    /// `Usage` for what nothing can be, and for what belongs to CSV when the file is none.
    pub(super) fn of(file: &ImportFile, csv: bool) -> Result<Self, Error> {
        let of_csv =
            file.delimiter.is_some() || file.quote.is_some() || file.no_header || !file.columns.is_empty();
        if of_csv && !csv {
            return Err(Error::usage("--delimiter, --quote, --no-header and --columns are for CSV"));
        }
        let quote = match file.quote.as_deref() {
            None => Quote::default(),
            Some("none") => Quote::None,
            Some(text) => Quote::Byte(byte("--quote", text)?),
        };
        let delimiter = match file.delimiter.as_deref() {
            None => None,
            Some("tab") => Some(b'\t'),
            Some(text) => Some(byte("--delimiter", text)?),
        };
        if let (Some(delimiter), Quote::Byte(quote)) = (delimiter, quote)
            && delimiter == quote
        {
            return Err(Error::usage("--delimiter and --quote cannot be the same"));
        }
        let header = match (file.columns.is_empty(), file.no_header) {
            (false, _) => Header::Given(file.columns.clone()),
            (true, true) => Header::Nowhere,
            (true, false) => Header::First,
        };
        let encoding = file.encoding.as_deref().map(encoding).transpose()?;
        Ok(Self { delimiter, quote, header, encoding })
    }

    /// What separates the values of a file that begins like this: a comma, unless its first
    /// line has none of them but semicolons or tabs.
    pub(super) fn delimiter(&self, start: &[u8]) -> u8 {
        if let Some(delimiter) = self.delimiter {
            return delimiter;
        }
        let header = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
        let mut quoted = false;
        for byte in header {
            quoted ^= Quote::Byte(*byte) == self.quote;
            for (delimiter, count) in &mut counts {
                *count += usize::from(!quoted && byte == delimiter);
            }
        }
        let [comma, semicolon, tab] = counts;
        if comma.1 > 0 || semicolon.1 + tab.1 == 0 {
            return b',';
        }
        if semicolon.1 >= tab.1 { semicolon.0 } else { tab.0 }
    }
}

/// One ASCII character that can stand between values or around them.
fn byte(flag: &str, text: &str) -> Result<u8, Error> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Ok(*byte),
        _ => Err(Error::usage(format!("{flag} {text:?} is not one ASCII character"))),
    }
}

/// An encoding by any of its usual names.
fn encoding(label: &str) -> Result<&'static Encoding, Error> {
    Encoding::for_label(label.as_bytes()).ok_or_else(|| {
        Error::usage(format!(
            "--encoding {label:?} is no known encoding; say for example utf-8, utf-16le, utf-16be, latin1 or windows-1252"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ImportFile {
        ImportFile::default()
    }

    #[test]
    fn flags_say_how_a_file_is_written() {
        let flags = ImportFile {
            delimiter: Some("tab".into()),
            quote: Some("none".into()),
            columns: vec!["a".into(), "b".into()],
            encoding: Some("Latin1".into()),
            ..file()
        };
        let dialect = Dialect::of(&flags, true).unwrap();
        assert_eq!(dialect.delimiter, Some(b'\t'));
        assert_eq!(dialect.quote, Quote::None);
        assert_eq!(dialect.header, Header::Given(vec!["a".into(), "b".into()]));
        assert_eq!(dialect.encoding, Some(encoding_rs::WINDOWS_1252));
    }

    #[test]
    fn what_nothing_can_be_is_refused() {
        for (flags, csv) in [
            (ImportFile { delimiter: Some("ab".into()), ..file() }, true),
            (ImportFile { delimiter: Some("ä".into()), ..file() }, true),
            (ImportFile { quote: Some("\n".into()), ..file() }, true),
            (ImportFile { delimiter: Some("|".into()), quote: Some("|".into()), ..file() }, true),
            (ImportFile { encoding: Some("klingon".into()), ..file() }, true),
            (ImportFile { no_header: true, ..file() }, false),
        ] {
            assert!(Dialect::of(&flags, csv).is_err(), "{flags:?}");
        }
    }
}
