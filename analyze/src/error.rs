//! What can go wrong when flow files are analyzed.

use std::io;
use std::path::PathBuf;

use forebay_store::StoreError;

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
    /// Texts are kept in memory whatever comes, and there are too many.
    #[error(
        "more than {bytes} bytes of different texts in the columns asked for: allow more memory, or leave such columns out"
    )]
    Texts {
        /// What they may take.
        bytes: usize,
    },
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}
