//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The most faults that one load reports.
pub(crate) const FAULTS_MAX: usize = 100;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The file's path, the environment variable, or the flag.
    #[serde(serialize_with = "text")]
    pub source: Arc<str>,
    /// The line in the file, from 1; none outside files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in the line, in characters, from 1; none outside files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl Position {
    /// A source as a whole: an environment variable, a flag, a file that cannot be read.
    pub(crate) fn whole(source: &str) -> Self {
        Self { source: source.into(), line: None, column: None }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where, if the value was given anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The key, for example `views.air.path`; empty for the configuration as a whole.
    pub key: String,
    /// What is wrong and what to do, as one sentence fragment.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.detail)
    }
}

/// Every fault of a configuration, at least one; those of the
/// file first, in its order. `Display` prints one line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// These faults, sorted by place; `Ok` when there is none.
    ///
    /// # Errors
    /// When there is one.
    pub fn none_or(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self::of(faults)) }
    }

    /// These faults, of which there is one at least, sorted by place.
    pub(crate) fn of(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| match &fault.position {
            Some(position) => (position.line.is_none(), Some(position.clone())),
            None => (true, None),
        });
        if faults.len() > FAULTS_MAX {
            faults.truncate(FAULTS_MAX);
            let detail = format!("there are more than {FAULTS_MAX} faults; mend these first");
            faults.push(Fault { position: None, key: String::new(), detail });
        }
        Self(faults)
    }

    /// The faults one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The name of a key as people read it: `datasets.air.fields[2].type`.
#[derive(Clone, Default)]
pub(crate) struct PathName(pub(crate) String);

impl PathName {
    pub(crate) fn key(&mut self, key: &str) {
        if !self.0.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(key);
    }

    pub(crate) fn index(&mut self, index: usize) {
        self.0.push_str(&format!("[{index}]"));
    }
}

fn text<S: Serializer>(source: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(source)
}
