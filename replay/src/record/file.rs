//! The file that is being written, and how it ends.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureFormat, CaptureStatistics, CaptureWriter};

use super::RecordError;
use super::names::hidden;
use crate::output::Output;

/// Each datagram takes several writes.
const BUFFER_BYTES: usize = 1 << 18;

/// A file under its hidden name.
#[derive(Debug)]
pub(super) struct RecordFile {
    writer: CaptureWriter<BufWriter<Output>>,
    target: PathBuf,
    hidden: PathBuf,
    began_ns: u64,
    datagrams: u64,
}

/// A file that nothing more comes into.
#[derive(Debug)]
pub(super) struct EndedFile {
    file: RecordFile,
    statistics: CaptureStatistics,
}

impl RecordFile {
    pub(super) fn create(
        target: PathBuf,
        format: CaptureFormat,
        compressed: bool,
        began_ns: u64,
    ) -> Result<Self, RecordError> {
        let hidden = hidden(&target);
        // Two recordings must not write one file, nor one take the place of another that was ended by force.
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&hidden);
        let file = created.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => RecordError::Unfinished {
                path: hidden.clone(),
            },
            _ => RecordError::file("make", &hidden)(source),
        })?;
        let output = Output::new(file, compressed).map_err(RecordError::file("write", &hidden))?;
        let output = BufWriter::with_capacity(BUFFER_BYTES, output);
        Ok(Self {
            writer: CaptureWriter::with_format(&hidden, output, format)?,
            target,
            hidden,
            began_ns,
            datagrams: 0,
        })
    }

    pub(super) fn write(&mut self, datagram: &Datagram<'_>) -> Result<(), RecordError> {
        self.put(datagram)?;
        self.datagrams += 1;
        Ok(())
    }

    /// Writes what is no datagram that came.
    pub(super) fn put(&mut self, datagram: &Datagram<'_>) -> Result<(), RecordError> {
        Ok(self.writer.write(datagram)?)
    }

    pub(super) const fn began_ns(&self) -> u64 {
        self.began_ns
    }

    pub(super) const fn datagrams(&self) -> u64 {
        self.datagrams
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// How long it is, but for what is being compressed.
    pub(super) fn bytes(&self) -> u64 {
        let compressed = self.writer.output().get_ref().compressed_bytes();
        compressed.unwrap_or_else(|| self.writer.bytes())
    }

    pub(super) const fn end(self, began_ns: u64, ended_ns: u64, dropped: u64) -> EndedFile {
        EndedFile {
            statistics: CaptureStatistics {
                began_ns,
                ended_ns,
                received: self.datagrams + dropped,
                dropped,
            },
            file: self,
        }
    }

    /// Removes it.
    pub(super) fn discard(self) -> Result<(), RecordError> {
        fs::remove_file(&self.hidden).map_err(RecordError::file("remove", &self.hidden))
    }
}

impl EndedFile {
    /// Makes it whole, puts it on disk and gives it its name: which one.
    pub(super) fn close(self) -> Result<PathBuf, RecordError> {
        let RecordFile {
            mut writer,
            target,
            hidden,
            ..
        } = self.file;
        writer.write_statistics(&self.statistics)?;
        let output = writer.finish()?.into_inner();
        let whole = output
            .map_err(io::IntoInnerError::into_error)
            .and_then(Output::finish)
            .and_then(|file| file.sync_all());
        whole.map_err(RecordError::file("write", &hidden))?;
        fs::rename(&hidden, &target).map_err(RecordError::file("rename to", &target))?;
        Ok(target)
    }
}
