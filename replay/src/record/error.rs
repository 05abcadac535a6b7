//! Why nothing is recorded, or no more.

use std::io;
use std::path::PathBuf;

use forebay_udp::capture::{CaptureError, CaptureWriteError};
use thiserror::Error;

/// A recording that cannot be begun, written or closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The output has no name that a file could have.
    #[error("{} names no file: give a name such as exports.pcap", path.display())]
    NoName {
        /// What was asked for.
        path: PathBuf,
    },
    /// Something has the name: an earlier recording, a device, a folder. The file would take its place.
    #[error(
        "{} is there: choose another name, or rotate, so that each file has its time in its name", path.display()
    )]
    Taken {
        /// What has the name.
        path: PathBuf,
    },
    /// Where the file stands until it is whole, another is.
    #[error(
        "{} is there: another recording writes it, or one was ended by force; then read it or remove it", path.display()
    )]
    Unfinished {
        /// The hidden file.
        path: PathBuf,
    },
    /// A datagram cannot be written.
    #[error(transparent)]
    Write(#[from] CaptureWriteError),
    /// The system refuses something on the files.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no thread for closing files.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// Files are closed no more.
    #[error("the thread that closes files has ended: this is a bug")]
    Closer,
    /// The capture with templates cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// It has none.
    #[error("{} tells no templates: nothing to begin with{}", path.display(), torn(*.is_torn))]
    NoTemplates {
        /// The capture.
        path: PathBuf,
        /// Whether it was damaged before its end.
        is_torn: bool,
    },
}

impl RecordError {
    /// Names what the system refused.
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

fn torn(is_torn: bool) -> &'static str {
    if is_torn {
        " (it ends before its end)"
    } else {
        ""
    }
}
