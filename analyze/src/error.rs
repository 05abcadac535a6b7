//! What can go wrong when flow files are analyzed.

use std::io;
use std::path::PathBuf;

use arrow_schema::ArrowError;
use forebay_store::StoreError;

use crate::filter::FilterError;
use crate::summarize::SummaryError;

/// Why an analysis failed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// A file of flows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was asked to stop.
    #[error("it was interrupted: there is no answer")]
    Stopped,
    /// A column is not what flow files have under its name.
    #[error("{}: column \"{column}\" is {found}, and no flow's: leave the file out", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
    },
    /// What does not fit in memory could not be put aside.
    #[error("cannot {action} a temporary file in {}: {source}: make room there, name another folder, or allow more memory", dir.display())]
    Spill {
        /// What was tried, as a verb: "write".
        action: &'static str,
        /// The folder.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Rows that may be of one key are looked at together.
    #[error(
        "{rows} rows may be of one key, and so many cannot be compared: add columns to the key"
    )]
    OneKey {
        /// How many there are.
        rows: usize,
    },
    /// Texts are kept in memory whatever comes, and there are too many.
    #[error(
        "more than {bytes} bytes of different texts in the columns asked for: allow more memory, or leave such columns out"
    )]
    Texts {
        /// What they may take.
        bytes: usize,
    },
    /// A counter does not hold the number.
    #[error(
        "{value} of {key} is more than a counter holds: group or filter so that less comes together"
    )]
    Overflow {
        /// The value's name.
        value: &'static str,
        /// The group, in words.
        key: String,
    },
    /// What was asked for cannot be told.
    #[error(transparent)]
    Summary(#[from] SummaryError),
    /// The filter does not fit a file.
    #[error("{}: {source}", path.display())]
    Filter {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FilterError,
    },
    /// Arrow refused the answer's columns, which would be a bug of this crate.
    #[error("the answer's columns do not fit: {0}")]
    Arrow(#[from] ArrowError),
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}
