//! An Arrow IPC stream in a file: what a segment is made of, whoever writes it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamEncoder;
use arrow_schema::Schema;

use crate::error::StoreError;
use crate::schema::{FAMILY_KEY, Family};
use crate::zeros::is_zeros;

/// A stream that batches are appended to.
pub(crate) struct StreamFile {
    path: PathBuf,
    file: File,
    encoder: StreamEncoder,
    rows: u64,
    /// The file's length up to the last whole batch.
    bytes: u64,
}

impl StreamFile {
    /// A stream of batches of `schema`, to `file`, which is empty and which errors call `path`.
    ///
    /// # Errors
    /// Arrow has no form for the schema.
    pub(crate) fn new(
        file: File,
        path: &Path,
        family: Family,
        schema: &Schema,
    ) -> Result<Self, StoreError> {
        let told = HashMap::from([(FAMILY_KEY.to_owned(), family.name().to_owned())]);
        let fields = schema.clone().with_metadata(told);
        Ok(Self {
            path: path.to_owned(),
            file,
            encoder: StreamEncoder::try_new(&fields).map_err(StoreError::arrow(path))?,
            rows: 0,
            bytes: 0,
        })
    }

    /// Appends a batch: the bytes written.
    ///
    /// # Errors
    /// The batch could not be written whole. What was written of it is taken
    /// back; nothing more can be appended then.
    pub(crate) fn append(&mut self, batch: &RecordBatch) -> Result<u64, StoreError> {
        let message = self.encoder.encode(batch);
        let message = message.map_err(StoreError::arrow(&self.path))?;
        match append_all(&self.file, self.bytes, &message) {
            Ok(written) => {
                self.bytes += written;
                self.rows += batch.num_rows() as u64;
                Ok(written)
            }
            Err(error) => {
                // Where even this fails, readers stop at the torn tail all the same.
                let _torn = self.file.set_len(self.bytes);
                Err(StoreError::io("write", &self.path)(error))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The rows in it.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The file's length.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes to another file, which may fail.
    #[cfg(test)]
    pub(crate) fn replace_file(&mut self, file: File) {
        self.file = file;
    }

    /// The file, which ends with the last batch.
    pub(crate) fn into_file(self) -> File {
        self.file
    }
}

/// Appends the buffers one behind the other, from where they are. Returns their length, of which
/// zeros are passed over: the file has holes there.
///
/// The file has its new length only when all is written.
fn append_all(mut file: &File, start: u64, buffers: &[Buffer]) -> io::Result<u64> {
    let mut end = start;
    let mut written = start;
    let parts = buffers.chunk_by(|one, next| is_zeros(one) == is_zeros(next));
    for part in parts {
        end += part.iter().map(|buffer| buffer.len() as u64).sum::<u64>();
        if part.first().is_some_and(is_zeros) {
            file.seek(SeekFrom::Start(end))?;
        } else {
            write_all(file, part)?;
            written = end;
        }
    }
    if written < end {
        file.set_len(end)?;
    }
    Ok(end - start)
}

fn write_all(mut file: &File, buffers: &[Buffer]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|b| IoSlice::new(b)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
