//! Rows to and from Parquet files.
//!
//! Flat columns of six kinds go out, a group of rows at a time, so that what is held is
//! bounded whatever the file's size. What other people wrote comes in row by row, as JSON
//! with every digit of its numbers; nested columns become JSON.
//!
//! Invariant: nobody else knows the library. What of a file cannot be read is an error with the
//! number of its row, never a panic.

mod read;
mod write;

pub use read::Rows;
pub use write::{Column, Kind, Value, Writer};

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file itself.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// What is in it.
    #[error("{0}")]
    Invalid(String),
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        use parquet::errors::ParquetError;
        match error {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(inner) => Self::Invalid(inner.to_string()),
            },
            other => Self::Invalid(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
