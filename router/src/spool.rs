//! What waits for a collector that is down: capture files, written at one end and read at the other.
//!
//! ```text
//! new messages ─▶ open file ─▶ closed files … ─▶ the file that is read ─▶ collector
//! ```
//!
//! Each thread has its own for each collector, so that an exporter's messages stay in order without a lock. A file is
//! removed when all of it was read: what an earlier run left is found at the next start.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureReader, CaptureWriteError, CaptureWriter};
use thiserror::Error;

use crate::counters::Tally;

mod files;

pub use files::SpoolError;
pub(crate) use files::{Leftover, SpoolLock, leftovers, sync_folder};

/// So many files share the space, so that what was read is soon free again.
const FILES: u64 = 16;
/// Headers of a record: pcap's, IPv6's and UDP's.
const RECORD_HEADERS: u64 = 16 + 40 + 8;

/// Where a thread keeps what waits.
#[derive(Debug, Clone)]
pub(crate) struct SpoolOptions {
    pub(crate) folder: PathBuf,
    /// Bytes for each collector, of all threads.
    pub(crate) bytes: u64,
    pub(crate) used: Arc<Used>,
    pub(crate) thread: usize,
    /// How many threads there are.
    pub(crate) threads: usize,
    /// The number of the next file: above those that are there, and no two files'.
    pub(crate) next: Arc<AtomicU64>,
}

/// Bytes that the files of all threads take, by collector: as exporters are spread over threads, so unevenly is what is
/// kept.
#[derive(Debug, Default)]
pub(crate) struct Used(Mutex<BTreeMap<SocketAddr, Arc<AtomicU64>>>);

impl Used {
    fn of(&self, collector: SocketAddr) -> Arc<AtomicU64> {
        // A panic elsewhere leaves a map that is whole.
        let mut by_collector = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_collector.entry(collector).or_default())
    }
}

/// Where a message that is to be kept comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The network.
    Received,
    /// An earlier run's files, in which it had its room: it is kept even if there is less now.
    Recovered,
}

/// A thread's messages for one collector.
pub(crate) struct Spool {
    options: SpoolOptions,
    collector: SocketAddr,
    open: Option<(CaptureWriter<BufWriter<File>>, Segment)>,
    closed: VecDeque<Segment>,
    reading: Option<(CaptureReader, Segment)>,
    /// Bytes of this collector's files, of all threads.
    used: Arc<AtomicU64>,
    /// What was put in and did not reach the disk, and is not counted yet.
    lost: Tally,
    /// The last write to the disk failed, and that was logged.
    complained: bool,
}

/// A file.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    bytes: u64,
    /// What was put in and not taken out yet.
    left: Tally,
}

/// Why a message cannot be kept.
#[derive(Debug)]
pub(crate) enum NotKept {
    Full,
    /// It was logged.
    Failed,
}

impl NotKept {
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Full => "spool_full",
            Self::Failed => "spool_failed",
        }
    }
}

/// Why it is not known that a file is on the disk.
#[derive(Debug, Error)]
pub(crate) enum SyncError {
    #[error(transparent)]
    Write(#[from] CaptureWriteError),
    #[error("cannot put {} on the disk: {source}", path.display())]
    Sync { path: PathBuf, source: io::Error },
}

/// Messages out of a spool, copied so that many can be sent at once.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    bytes: Vec<u8>,
    datagrams: Vec<(SocketAddr, SocketAddr, u64, Range<usize>)>,
    /// What had been put in and could not be read.
    pub(crate) lost: Tally,
}

impl Taken {
    fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.lost = Tally::default();
    }

    fn push(&mut self, datagram: &Datagram<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram.payload);
        let payload = start..self.bytes.len();
        self.datagrams.push((
            datagram.source,
            datagram.destination,
            datagram.received_ns,
            payload,
        ));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.datagrams
            .iter()
            .map(|(source, destination, received_ns, payload)| Datagram {
                source: *source,
                destination: *destination,
                received_ns: *received_ns,
                payload: self.bytes.get(payload.clone()).unwrap_or_default(),
            })
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("collector", &self.collector)
            .finish_non_exhaustive()
    }
}

impl Spool {
    pub(crate) fn new(options: SpoolOptions, collector: SocketAddr) -> Self {
        Self {
            used: options.used.of(collector),
            options,
            collector,
            open: None,
            closed: VecDeque::new(),
            reading: None,
            lost: Tally::default(),
            complained: false,
        }
    }

    /// Whom it is for.
    pub(crate) const fn collector(&self) -> SocketAddr {
        self.collector
    }

    /// What is in it.
    pub(crate) fn waiting(&self) -> Tally {
        let open = self.open.iter().map(|(_, segment)| segment);
        let reading = self.reading.iter().map(|(_, segment)| segment);
        let mut sum = Tally::default();
        for segment in reading.chain(&self.closed).chain(open) {
            sum.add(segment.left);
        }
        sum
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.closed.is_empty() && self.reading.is_none()
    }

    /// Puts a message behind all others.
    pub(crate) fn push(
        &mut self,
        datagram: &Datagram<'_>,
        tally: Tally,
        origin: Origin,
    ) -> Result<(), NotKept> {
        let bytes = RECORD_HEADERS + datagram.payload.len() as u64;
        let limit = match origin {
            Origin::Received => self.options.bytes,
            Origin::Recovered => u64::MAX,
        };
        let reserved = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit);
        let order = Ordering::Relaxed;
        if self.used.fetch_update(order, order, reserved).is_err() {
            return Err(NotKept::Full);
        }
        let written = self.write(datagram, tally, bytes);
        if let Err(error) = &written {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.complain(error);
            return Err(NotKept::Failed);
        }
        Ok(())
    }

    /// What was put in and turned out not to have reached the disk since the last call.
    pub(crate) fn take_lost(&mut self) -> Tally {
        std::mem::take(&mut self.lost)
    }

    /// Ends the open file; returns what of it is lost.
    pub(crate) fn close_and_count(&mut self) -> Tally {
        self.close();
        self.take_lost()
    }

    fn write(
        &mut self,
        datagram: &Datagram<'_>,
        tally: Tally,
        bytes: u64,
    ) -> Result<(), CaptureWriteError> {
        let full = self.options.bytes / FILES / self.options.threads.max(1) as u64;
        let is_full = |segment: &Segment| segment.bytes + bytes > full;
        if self.open.as_ref().is_some_and(|(_, of)| is_full(of)) {
            self.close();
        }
        let (writer, segment) = match &mut self.open {
            Some(open) => open,
            None => {
                let number = self.options.next.fetch_add(1, Ordering::Relaxed);
                let path = files::path(&self.options, self.collector, number);
                let writer = CaptureWriter::create(&path)?;
                let (bytes, left) = (0, Tally::default());
                self.open.insert((writer, Segment { path, bytes, left }))
            }
        };
        let written = writer.write(datagram);
        match &written {
            Ok(()) => {
                segment.bytes += bytes;
                segment.left.add(tally);
            }
            // What follows a torn record would not be found.
            Err(CaptureWriteError::Write { .. }) => self.close(),
            Err(_) => {}
        }
        written
    }

    /// Ends the open file once all of it is on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), SyncError> {
        let Some((writer, segment)) = self.open.take() else {
            return Ok(());
        };
        let synced = sync(writer, &segment.path);
        self.closed.push_back(segment);
        synced
    }

    /// Takes over a file that an earlier run left, behind all others.
    pub(crate) fn take_over(&mut self, path: PathBuf, left: Tally) {
        self.close();
        let bytes = left.bytes + left.datagrams * RECORD_HEADERS;
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.closed.push_back(Segment { path, bytes, left });
    }

    /// Puts what is in another in front: nothing was taken out of either yet.
    pub(crate) fn prepend(&mut self, mut other: Self) {
        other.close();
        for segment in other.closed.drain(..).rev() {
            self.closed.push_front(segment);
        }
    }

    /// Logs an error, but not again before something succeeded.
    fn complain(&mut self, error: &CaptureWriteError) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!("messages for {} cannot be kept: {error}", self.collector);
        }
    }

    /// Takes up to `most` messages out, the oldest first.
    pub(crate) fn take(&mut self, most: usize, taken: &mut Taken) {
        taken.clear();
        self.take_out(most, taken);
        taken.lost.add(self.take_lost());
    }

    fn take_out(&mut self, most: usize, taken: &mut Taken) {
        while taken.datagrams.len() < most {
            if self.reading.is_none() {
                if self.closed.is_empty() {
                    self.close();
                }
                let Some(segment) = self.closed.pop_front() else {
                    return;
                };
                match CaptureReader::open(&segment.path) {
                    Ok(reader) => self.reading = Some((reader, segment)),
                    Err(error) => {
                        tracing::warn!("{error}");
                        self.drop_segment(&segment, taken);
                        continue;
                    }
                }
            }
            let Some((reader, segment)) = &mut self.reading else {
                return;
            };
            match reader.next() {
                Ok(Some(datagram)) => {
                    let is_message = forebay_wire::Message::parse(datagram.payload).is_ok();
                    segment
                        .left
                        .take_saturating(Tally::of(datagram.payload, is_message));
                    taken.push(&datagram);
                }
                end => {
                    if let Err(error) = end {
                        tracing::warn!("{error}");
                    }
                    if let Some((_, segment)) = self.reading.take() {
                        self.drop_segment(&segment, taken);
                    }
                }
            }
        }
    }

    fn drop_segment(&mut self, segment: &Segment, taken: &mut Taken) {
        taken.lost.add(segment.left);
        self.used.fetch_sub(segment.bytes, Ordering::Relaxed);
        remove(&segment.path);
    }

    /// Ends the open file, so that it can be read.
    fn close(&mut self) {
        let Some((writer, segment)) = self.open.take() else {
            return;
        };
        match writer.finish() {
            Ok(_) => {
                self.complained = false;
                self.closed.push_back(segment);
            }
            Err(error) => {
                self.complain(&error);
                self.salvage(segment);
            }
        }
    }

    /// Of a file that could not be written to its end, as where the disk is full, what is there waits on.
    fn salvage(&mut self, mut segment: Segment) {
        let found = readable(&segment.path);
        let mut lost = segment.left;
        lost.take_saturating(found);
        self.lost.add(lost);
        let bytes = found.bytes + found.datagrams * RECORD_HEADERS;
        let freed = segment.bytes.saturating_sub(bytes);
        self.used.fetch_sub(freed, Ordering::Relaxed);
        segment.bytes -= freed;
        segment.left = found;
        if found.datagrams > 0 {
            self.closed.push_back(segment);
        } else {
            remove(&segment.path);
        }
    }
}

impl Drop for Spool {
    /// What waits is found at the next start. The file that is read keeps what was taken out: it is written anew
    /// without that.
    fn drop(&mut self) {
        self.close();
        let Some((mut reader, segment)) = self.reading.take() else {
            return;
        };
        if segment.left.datagrams == 0 {
            remove(&segment.path);
            return;
        }
        let rest = segment.path.with_extension("rest");
        let copied = copy_rest(&mut reader, &rest).map_err(|error| error.to_string());
        let renamed = copied.and_then(|()| {
            fs::rename(&rest, &segment.path).map_err(|error| format!("{}: {error}", rest.display()))
        });
        if let Err(error) = renamed {
            tracing::warn!("messages that were sent will be sent again at the next start: {error}");
        }
    }
}

/// What can be read of a file.
fn readable(path: &Path) -> Tally {
    let mut sum = Tally::default();
    let Ok(mut reader) = CaptureReader::open(path) else {
        return sum;
    };
    while let Ok(Some(datagram)) = reader.next() {
        let is_message = forebay_wire::Message::parse(datagram.payload).is_ok();
        sum.add(Tally::of(datagram.payload, is_message));
    }
    sum
}

fn copy_rest(reader: &mut CaptureReader, rest: &Path) -> Result<(), SyncError> {
    let mut writer = CaptureWriter::create(rest)?;
    while let Ok(Some(datagram)) = reader.next() {
        writer.write(&datagram)?;
    }
    sync(writer, rest)
}

/// Ends a file, all of which is on the disk then.
fn sync(writer: CaptureWriter<BufWriter<File>>, path: &Path) -> Result<(), SyncError> {
    let file = writer.finish()?;
    file.get_ref().sync_all().map_err(|source| SyncError::Sync {
        path: path.to_owned(),
        source,
    })
}

/// Removes a file of which all was read.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!("cannot remove {}: {error}", path.display());
    }
}

#[cfg(test)]
pub(crate) mod tests;
