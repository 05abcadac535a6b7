//! Reads a segment's whole batches, and counts what lies behind the last one.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, SchemaRef};

use crate::error::StoreError;

/// The mark that may end a stream: a message of length 0.
const END_MARK_BYTES: u64 = 8;

/// A segment, batch by batch. A torn tail (a message that was cut off, or
/// anything else that is no message) ends it without an error.
pub struct SegmentReader {
    path: PathBuf,
    /// `None` where not even the schema is whole.
    stream: Option<StreamReader<Counted>>,
    length: u64,
    whole: u64,
}

impl SegmentReader {
    /// Opens the segment at `path`, for its columns at `projection` or all.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn open(path: &Path, projection: Option<Vec<usize>>) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let length = file
            .metadata()
            .map_err(StoreError::io("look at", path))?
            .len();
        // Never further than the file was then: its writer may be at work.
        let counted = Counted {
            inner: BufReader::with_capacity(1 << 16, file).take(length),
            position: 0,
        };
        let stream = match unless_damaged(|| StreamReader::try_new(counted, projection)) {
            Ok(stream) => Some(stream),
            Err(error) => {
                torn(path, error)?;
                None
            }
        };
        let whole = stream.as_ref().map_or(0, |s| s.get_ref().position);
        Ok(Self {
            path: path.to_owned(),
            stream,
            length,
            whole,
        })
    }

    /// The segment's columns; `None` where there is no whole schema.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.stream.as_ref().map(StreamReader::schema)
    }

    /// The next whole batch.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        match unless_damaged(|| stream.next().transpose()).transpose() {
            Some(Ok(batch)) => {
                self.whole = stream.get_ref().position;
                Ok(Some(batch))
            }
            None => {
                // The reader takes the end of the file for an end, and the mark of one.
                let position = stream.get_ref().position;
                if position == self.whole + END_MARK_BYTES && position == self.length {
                    self.whole = position;
                }
                self.stream = None;
                Ok(None)
            }
            Some(Err(error)) => {
                self.stream = None;
                torn(&self.path, error)?;
                Ok(None)
            }
        }
    }

    /// The length up to the last whole batch that was read.
    pub fn whole_bytes(&self) -> u64 {
        self.whole
    }

    /// The bytes behind it: those that are torn, once all batches are read.
    pub fn torn_bytes(&self) -> u64 {
        self.length - self.whole
    }
}

/// Where a message is damaged, Arrow's reader may find out by an assertion, after which it is not used
/// again.
fn unless_damaged<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ArrowError::IpcError("a message is damaged".to_owned())))
}

/// What the reader stumbled over is a torn tail, unless the system failed.
fn torn(path: &Path, error: ArrowError) -> Result<(), StoreError> {
    match error {
        ArrowError::IoError(_, ref source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            Err(StoreError::arrow(path)(error))
        }
        _ => Ok(()),
    }
}

/// A reader that knows how far it is.
struct Counted {
    inner: io::Take<BufReader<File>>,
    position: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}
