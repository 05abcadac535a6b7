//! Export datagrams into capture files, whole, rotated, and no more of them than wanted.
//!
//! ```text
//! datagrams ─► templates that the file lacks (primer) ─► open file, under a hidden name
//!                                                 │ full, or its time is up, or the end
//!                                                 ▼
//!              closer, a thread of its own: statistics, sync, final name, retention
//! ```
//!
//! Whoever receives calls [`Recorder::record`] for each datagram, and [`Recorder::turn`] once for each batch. Neither
//! waits for a file to be on disk: that is the closer's.

use std::path::PathBuf;
use std::time::Duration;

use forebay_udp::Datagram;
use forebay_udp::capture::CaptureFormat;

mod closer;
mod error;
mod file;
mod names;
mod primer;

use closer::Closer;
pub use error::RecordError;
use file::RecordFile;
use names::Names;
pub use primer::Primer;

/// What to write, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordConfig {
    /// The file. With rotation, each file has the time of its beginning in its name, before the ending.
    pub output: PathBuf,
    /// The kind of file; `None` is by the name's ending, and pcap where that says nothing.
    pub format: Option<CaptureFormat>,
    /// Whether it is compressed by zstd, as it is too if the name ends in `.zst`.
    pub compressed: bool,
    /// When another file begins.
    pub rotation: Rotation,
    /// How many whole files there may be, with those of earlier runs: the oldest are removed. Only with rotation.
    pub retain: Option<usize>,
}

/// When a file is closed and another begins: whatever comes first, or never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Once it has so many bytes on disk. One datagram more may be in it, and of a compressed one what is being
    /// compressed.
    pub bytes: Option<u64>,
    /// Once it has been open for so long, if it holds a datagram.
    pub period: Option<Duration>,
    /// Once it has so many datagrams; templates from elsewhere do not count.
    pub datagrams: Option<u64>,
}

impl Rotation {
    const fn is_never(&self) -> bool {
        self.bytes.is_none() && self.period.is_none() && self.datagrams.is_none()
    }
}

/// What became of the datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// In a file, or about to be.
    pub recorded: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// Dropped by the kernel, for there was no room for them.
    pub dropped: u64,
    /// Messages that tell templates, put in besides.
    pub primed: u64,
    /// Templates that later files may lack, for there were too many to keep.
    pub forgotten: u64,
    /// Whole files.
    pub files: u64,
    /// Files that were removed, for there were more than wanted.
    pub removed: u64,
}

impl RecordCounts {
    /// All that came.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.recorded + self.dropped
    }
}

/// Writes datagrams to capture files.
///
/// ```
/// use forebay_replay::record::{RecordConfig, Recorder, Rotation};
/// use forebay_udp::Datagram;
///
/// # let folder = tempfile::tempdir()?;
/// let config = RecordConfig {
///     output: folder.path().join("exports.pcapng"),
///     format: None,
///     compressed: false,
///     rotation: Rotation::default(),
///     retain: None,
/// };
/// let now_ns = 1_700_000_000_000_000_000;
/// let mut recorder = Recorder::new(config, None, now_ns)?;
/// recorder.record(&Datagram {
///     source: "192.0.2.1:50000".parse()?,
///     destination: "198.51.100.1:2055".parse()?,
///     received_ns: now_ns,
///     payload: b"flows",
/// })?;
/// let counts = recorder.finish(now_ns + 1, 0)?;
/// assert_eq!((counts.recorded, counts.files), (1, 1));
/// assert!(folder.path().join("exports.pcapng").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Recorder {
    names: Names,
    rotation: Rotation,
    primer: Option<Primer>,
    open: Option<RecordFile>,
    closer: Closer,
    counts: RecordCounts,
    /// Of the drops, those that a file's statistics have.
    drops_written: u64,
    /// Until when they are in a file.
    written_until_ns: u64,
}

impl Recorder {
    /// Opens the first file. It stands under a hidden name, `.NAME.tmp`, until it is whole. With a primer, each file has
    /// the templates of those who send in it, as far as that or an earlier file told them.
    ///
    /// # Errors
    ///
    /// The file cannot be made, or something has its name.
    pub fn new(
        config: RecordConfig,
        primer: Option<Primer>,
        now_ns: u64,
    ) -> Result<Self, RecordError> {
        let rotates = !config.rotation.is_never();
        let names = Names::new(&config, rotates)?;
        let retain = config.retain.filter(|_| rotates);
        let mut recorder = Self {
            closer: Closer::start(&names, retain)?,
            names,
            rotation: config.rotation,
            primer,
            open: None,
            counts: RecordCounts::default(),
            drops_written: 0,
            written_until_ns: now_ns,
        };
        recorder.open(now_ns)?;
        Ok(recorder)
    }

    /// Writes a datagram.
    ///
    /// # Errors
    ///
    /// The file cannot be written: there is no going on.
    pub fn record(&mut self, datagram: &Datagram<'_>) -> Result<(), RecordError> {
        if self.open.as_ref().is_some_and(|file| self.is_full(file)) {
            // What is dropped since is told by a later file.
            self.close(datagram.received_ns, self.counts.dropped)?;
        }
        if self.open.is_none() {
            self.open(datagram.received_ns)?;
        }
        let Some(file) = &mut self.open else {
            return Ok(());
        };
        if let Some(primer) = &mut self.primer {
            self.counts.primed += primer.prime(datagram, |made| file.put(made))?;
            self.counts.forgotten = primer.forgotten();
        }
        file.write(datagram)?;
        self.counts.recorded += 1;
        self.counts.bytes += datagram.payload.len() as u64;
        Ok(())
    }

    /// Closes the open file if it is full or its time is up. `drops` is asked for how many datagrams the kernel has
    /// dropped in all, if that is to be known.
    ///
    /// # Errors
    ///
    /// A file cannot be closed, this one or one before.
    pub fn turn(&mut self, now_ns: u64, drops: impl FnOnce() -> u64) -> Result<(), RecordError> {
        self.heed()?;
        let is_due = |file: &RecordFile| {
            let age_ns = now_ns.saturating_sub(file.began_ns());
            let period = self.rotation.period;
            period.is_some_and(|period| u128::from(age_ns) >= period.as_nanos())
        };
        let due = self
            .open
            .as_ref()
            .is_some_and(|file| file.datagrams() > 0 && (self.is_full(file) || is_due(file)));
        if due {
            self.close(now_ns, drops())?;
        }
        Ok(())
    }

    /// Closes the open file, if it holds anything and another would follow: with rotation only.
    ///
    /// # Errors
    ///
    /// A file cannot be closed, this one or one before.
    pub fn rotate(&mut self, now_ns: u64, drops: u64) -> Result<(), RecordError> {
        let holds = self.open.as_ref().is_some_and(|file| file.datagrams() > 0);
        if holds && !self.rotation.is_never() {
            self.close(now_ns, drops)?;
        }
        self.heed()
    }

    /// How many datagrams the kernel has dropped in all, for [`counts`](Self::counts) to tell.
    pub fn set_dropped(&mut self, drops: u64) {
        self.counts.dropped = drops;
    }

    /// What became of the datagrams so far.
    #[must_use]
    pub const fn counts(&self) -> &RecordCounts {
        &self.counts
    }

    /// The file that is open, by the name that it will have.
    #[must_use]
    pub fn open_file(&self) -> Option<&std::path::Path> {
        self.open.as_ref().map(RecordFile::target)
    }

    /// Closes the open file, and waits for all to be on disk. A file without datagrams is kept only where there is no
    /// rotation.
    ///
    /// # Errors
    ///
    /// A file cannot be closed.
    pub fn finish(mut self, now_ns: u64, drops: u64) -> Result<RecordCounts, RecordError> {
        self.counts.dropped = drops;
        let empty = self.open.as_ref().is_some_and(|file| file.datagrams() == 0);
        if empty && !self.rotation.is_never() {
            if let Some(file) = self.open.take() {
                file.discard()?;
            }
        } else {
            self.close(now_ns, drops)?;
        }
        let closed = self.closer.finish()?;
        self.counts.files += closed.files;
        self.counts.removed += closed.removed;
        Ok(self.counts)
    }

    fn is_full(&self, file: &RecordFile) -> bool {
        let Rotation {
            bytes, datagrams, ..
        } = self.rotation;
        datagrams.is_some_and(|most| file.datagrams() >= most)
            || bytes.is_some_and(|most| file.datagrams() > 0 && file.bytes() >= most)
    }

    fn open(&mut self, now_ns: u64) -> Result<(), RecordError> {
        let target = self.names.next(now_ns);
        let file = RecordFile::create(
            target,
            self.names.format(),
            self.names.is_compressed(),
            now_ns,
        )?;
        self.open = Some(file);
        if let Some(primer) = &mut self.primer {
            primer.begin_file();
        }
        Ok(())
    }

    fn close(&mut self, now_ns: u64, drops: u64) -> Result<(), RecordError> {
        self.counts.dropped = drops;
        if let Some(file) = self.open.take() {
            // Each drop is in one file's statistics.
            let dropped = drops.saturating_sub(self.drops_written);
            self.drops_written = drops;
            let began_ns = std::mem::replace(&mut self.written_until_ns, now_ns);
            self.closer.close(file.end(began_ns, now_ns, dropped))?;
        }
        self.heed()
    }

    /// Hears what the closer has to say.
    fn heed(&mut self) -> Result<(), RecordError> {
        let closed = self.closer.heard()?;
        self.counts.files += closed.files;
        self.counts.removed += closed.removed;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
