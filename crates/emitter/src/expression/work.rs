//! How much the expressions over one event may read and make.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::json::Json;
use super::numbers::{Digits, wrong};

/// What filters and operators may read and make for one event, in bytes.
const WORK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest text that one of them makes, in bytes.
pub(super) const MADE_BYTES_MAX: usize = 1024 * 1024;
/// The most parts of a value that one of them takes, and how deep it may be.
const PARTS_MAX: usize = 100_000;
const DEPTH_MAX: usize = 130;
/// What a part of a value takes beside its text.
const PART_BYTES: usize = 16;

/// What is left to be read and made.
#[derive(Clone, Default)]
pub(super) struct Work(Arc<AtomicUsize>);

impl Work {
    /// Notes that these values are read.
    ///
    /// # Errors
    /// When that is more than an event may cost.
    pub(super) fn read<'v>(&self, values: impl IntoIterator<Item = &'v Value>) -> Result<(), Error> {
        for value in values {
            self.take(size(value)?)?;
        }
        Ok(())
    }

    /// Notes that the values behind the first are read once for each item of the first.
    ///
    /// # Errors
    /// As [`Work::read`].
    pub(super) fn read_each(&self, values: &[Value]) -> Result<(), Error> {
        let Some((list, others)) = values.split_first() else { return Ok(()) };
        let mut bytes = 0_usize;
        for value in others {
            bytes = bytes.saturating_add(size(value)?);
        }
        self.take(bytes.saturating_mul(list.len().unwrap_or(0)))
    }

    /// Notes that so much text is made.
    ///
    /// # Errors
    /// When it is more than a text may be, or than an event may cost.
    pub(super) fn make(&self, bytes: Option<usize>) -> Result<(), Error> {
        match bytes {
            Some(bytes) if bytes <= MADE_BYTES_MAX => self.take(bytes),
            _ => Err(wrong("this would make more than 1 MiB".to_owned())),
        }
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > WORK_BYTES_MAX {
            return Err(wrong("the rules read and make more than 16 MiB for this event; do less".to_owned()));
        }
        Ok(())
    }
}

/// About how much a value takes as text.
pub(super) fn size(value: &Value) -> Result<usize, Error> {
    let mut parts = 0;
    measure(value, &mut parts, 0)
}

fn measure(value: &Value, parts: &mut usize, depth: usize) -> Result<usize, Error> {
    *parts += 1;
    if *parts > PARTS_MAX || depth > DEPTH_MAX {
        return Err(wrong(format!(
            "a filter takes values of at most {PARTS_MAX} parts and {DEPTH_MAX} levels"
        )));
    }
    // Of the event itself the text is there already.
    if let Some(json) = value.downcast_object_ref::<Json>() {
        return Ok(PART_BYTES + json.text().len());
    }
    if let Some(digits) = value.downcast_object_ref::<Digits>() {
        return Ok(PART_BYTES + digits.0.len());
    }
    let mut bytes = PART_BYTES + value.as_str().map_or(0, str::len);
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
        for item in value.try_iter()? {
            bytes += measure(&item, parts, depth + 1)?;
            if value.kind() == ValueKind::Map {
                bytes += measure(&value.get_item(&item)?, parts, depth + 1)?;
            }
        }
    }
    Ok(bytes)
}
