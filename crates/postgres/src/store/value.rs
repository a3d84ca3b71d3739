//! Values on their way in and out, as the wire has them.

use std::error::Error as StdError;

use bytes::{BufMut as _, BytesMut};
use jiff::civil::{self, Date};
use jiff::{Span, Timestamp};
use orderwire_store::typed::Kind;
use orderwire_store::{Cell, Error};
use orderwire_types::row::Value;
use orderwire_types::{Decimal, array};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::error::damaged;
use super::numeric;

type Wrong = Box<dyn StdError + Sync + Send>;

/// A value that is bound to a statement.
pub(super) type Bound = Box<dyn ToSql + Sync + Send>;

/// 2000-01-01, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// The first moment that PostgreSQL knows, in its own count: in the year 4714 before Christ.
const EARLIEST: i64 = -211_813_488_000_000_000;

/// A moment, cut to the microsecond. One from before all that PostgreSQL knows becomes the
/// first of these: no row is older, so that it compares the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

impl ToSql for Moment {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        out.put_i64((self.0.as_microsecond() - EPOCH).max(EARLIEST));
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

/// A moment before all that is stored, from which buckets of this length are counted: it is a
/// whole number of them before 1970.
pub(super) fn earliest(micros: i64) -> Timestamp {
    let first = EARLIEST + EPOCH;
    let aligned = first - first.rem_euclid(micros);
    let begin = if aligned < first { aligned + micros } else { aligned };
    Timestamp::from_microsecond(begin).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Wrong> {
        Ok(Self(moment(raw).ok_or("not a moment")?))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }
}

fn moment(raw: &[u8]) -> Option<Timestamp> {
    let micros = i64::from_be_bytes(raw.try_into().ok()?).checked_add(EPOCH)?;
    Timestamp::from_microsecond(micros).ok()
}

/// A day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day(pub(super) Date);

/// The day from which PostgreSQL counts.
const FIRST: Date = civil::date(2000, 1, 1);

impl ToSql for Day {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        out.put_i32((self.0 - FIRST).get_days());
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::DATE
    }

    to_sql_checked!();
}

fn day(raw: &[u8]) -> Option<Date> {
    let days = i32::from_be_bytes(raw.try_into().ok()?);
    FIRST.checked_add(Span::new().try_days(days).ok()?).ok()
}

/// An exact number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact(pub(super) Decimal);

impl ToSql for Exact {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        numeric::write(self.0, out);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::NUMERIC
    }

    to_sql_checked!();
}

/// A text of any kind as PostgreSQL takes it, which does not take NUL: what a process, an
/// endpoint or a target said may hold it. Then, and where a backslash is, `\\0` is a NUL and
/// `\\\\` a backslash.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\0', "\\0")
}

/// The text that was given.
pub(super) fn unescaped(text: &str) -> String {
    let mut given = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        given.push(match c {
            '\\' => match chars.next() {
                Some('0') => '\0',
                other => other.unwrap_or('\\'),
            },
            c => c,
        });
    }
    given
}

/// A value of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'v, 'a>(pub(super) &'v Value<'a>);

impl ToSql for Field<'_, '_> {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Text(text) => text.to_sql(of, out),
            // The type keeps the text.
            Value::Json(text) => text.to_sql(&Type::TEXT, out),
            Value::Texts(texts) => array::to_literal(texts).to_sql(&Type::TEXT, out),
            Value::Decimal(decimal) => {
                numeric::write(*decimal, out);
                Ok(IsNull::No)
            }
            Value::Date(date) => Day(*date).to_sql(of, out),
            Value::Uuid(id) => id.to_sql(of, out),
            Value::Integer(integer) => integer.to_sql(of, out),
            Value::Float(float) => float.to_sql(of, out),
            Value::Boolean(boolean) => boolean.to_sql(of, out),
            Value::Timestamp(at) => Moment(*at).to_sql(of, out),
        }
    }

    /// The table was made from the definition that read the value.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The bytes of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Wrong> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl<'a> Raw<'a> {
    /// The value of a column of this kind.
    pub(super) fn cell(self, kind: Kind) -> Result<Cell<'a>, Error> {
        self.decoded(kind).ok_or_else(|| damaged("value of a row"))
    }

    fn decoded(self, kind: Kind) -> Option<Cell<'a>> {
        let raw = self.0;
        let text = || std::str::from_utf8(raw).ok();
        Some(match kind {
            Kind::Text => Cell::Text(text()?),
            Kind::Json => Cell::Json(text()?),
            Kind::Integer => Cell::Integer(i64::from_be_bytes(raw.try_into().ok()?)),
            Kind::Float => Cell::Float(f64::from_be_bytes(raw.try_into().ok()?)),
            Kind::Boolean => Cell::Boolean(*raw.first()? != 0),
            Kind::Timestamp => Cell::Timestamp(moment(raw)?),
            Kind::Uuid => Cell::Uuid(Uuid::from_slice(raw).ok()?),
            Kind::Decimal => Cell::Decimal(numeric::read(raw)?),
            Kind::Date => Cell::Date(day(raw)?),
            Kind::Texts => Cell::Texts(text()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back(text in "[a0\0\\\\]{0,8}") {
            prop_assert!(!escaped(&text).contains('\0'));
            prop_assert_eq!(unescaped(&escaped(&text)), text);
        }
    }
}
