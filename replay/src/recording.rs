//! A capture's export messages, in memory, ready to be sent again and again.
//!
//! ```text
//! capture ─► export messages that the filter takes ─► payloads
//!              templates ─► flows of each, and where its times and its sequence number are
//! ```
//!
//! What is counted and what advances is found when the capture is read, so that sending looks into no payload.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_udp::capture::{CaptureError, CaptureReader};
use forebay_wire::Message;

use crate::error::ReplayError;
use crate::filter::Filter;

mod layout;
mod message;
mod prime;
mod sequence;
mod shift;

use message::Templates;
use sequence::Sequence;
use shift::{Patch, Shift};

/// Which part of the memory that is free a recording may take.
const MEMORY_PART: f64 = 0.75;
/// What of a header advances at most.
const HEADER_PATCHES: usize = 3;
/// What a datagram has in the mean that advances, as far as that is not known.
const PATCHES: usize = 8;

/// A capture's export messages, in memory, with the number of flows of each.
///
/// ```no_run
/// use forebay_replay::{Filter, Recording};
///
/// let recording = Recording::open("exports.pcap".as_ref(), &Filter::default())?;
/// println!("{} flows in {} datagrams", recording.flows(), recording.datagrams());
/// # Ok::<(), forebay_replay::ReplayError>(())
/// ```
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    payloads: Vec<u8>,
    entries: Vec<Entry>,
    patches: Vec<Patch>,
    streams: Vec<Stream>,
    sources: Vec<SocketAddr>,
    flows: u64,
    bytes: u64,
    /// The first datagram's time, in nanoseconds since 1970.
    began_ns: u64,
    left_out: LeftOut,
    torn: Option<CaptureError>,
}

/// Datagrams of a capture that are not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// They are no export messages.
    pub no_messages: u64,
    /// The filter does not take them.
    pub filtered: u64,
    /// Data sets that are sent, but whose flows nobody can count, since no template in the capture fits.
    pub uncounted_sets: u64,
}

/// One datagram.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where its payload is.
    start: usize,
    bytes: u16,
    /// Where its fields that advance begin; they end where the next one's begin.
    patches: usize,
    patch_count: u32,
    stream: u32,
    flows: u32,
    /// Since the first datagram.
    at_ns: u64,
}

/// The messages of one version that one exporter sends about one observation domain.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// Which of the sources.
    source: u32,
    version: u8,
    domain: u32,
    /// `None` in v1, which has no sequence numbers.
    sequence: Option<Sequence>,
}

/// A datagram as it is to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepared<'a> {
    pub(crate) source: SocketAddr,
    /// Which of [`Recording::sources`] that is.
    pub(crate) source_index: usize,
    pub(crate) payload: &'a [u8],
}

impl Prepared<'_> {
    /// A place in a batch that is not used.
    pub(crate) const NONE: Self = Self {
        source: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        source_index: 0,
        payload: &[],
    };
}

impl Recording {
    /// Reads a capture file; `-` is standard input. Of one that is torn or damaged, what comes before that is used:
    /// [`torn`](Self::torn) says so.
    ///
    /// # Errors
    ///
    /// The capture cannot be read, holds no export messages that the filter takes, or more than the memory.
    pub fn open(path: &Path, filter: &Filter) -> Result<Self, ReplayError> {
        Self::read(CaptureReader::open(path)?, path, filter)
    }

    /// Reads a capture that is open already.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(capture: CaptureReader, path: &Path, filter: &Filter) -> Result<Self, ReplayError> {
        Self::read_within(memory_limit(), capture, path, filter)
    }

    /// Reads what takes no more memory than so many bytes.
    fn read_within(
        limit: u64,
        mut capture: CaptureReader,
        path: &Path,
        filter: &Filter,
    ) -> Result<Self, ReplayError> {
        let mut recording = Self {
            path: path.to_owned(),
            payloads: Vec::new(),
            entries: Vec::new(),
            patches: Vec::new(),
            streams: Vec::new(),
            sources: Vec::new(),
            flows: 0,
            bytes: 0,
            began_ns: 0,
            left_out: LeftOut::default(),
            torn: None,
        };
        let mut streams = HashMap::new();
        let mut sources = HashMap::new();
        let mut datagrams: u64 = 0;
        loop {
            let datagram = match capture.next() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => break,
                Err(error @ (CaptureError::TornTail { .. } | CaptureError::Damaged { .. })) => {
                    recording.torn = Some(error);
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            datagrams += 1;
            let Some(message) = export_message(datagram.payload) else {
                recording.left_out.no_messages += 1;
                continue;
            };
            if !filter.takes(datagram.source.ip(), message.version()) {
                recording.left_out.filtered += 1;
                continue;
            }
            let key = (
                datagram.source,
                message.version(),
                message.observation_domain(),
            );
            let stream = *streams.entry(key).or_insert_with(|| {
                let source = *sources.entry(key.0).or_insert_with(|| {
                    recording.sources.push(key.0);
                    recording.sources.len() - 1
                });
                recording.streams.push(Stream {
                    source: source as u32,
                    version: key.1,
                    domain: key.2,
                    sequence: None,
                });
                recording.streams.len() - 1
            });
            let fits = recording.push(stream as u32, datagram.received_ns, datagram.payload);
            if !fits || recording.memory() > limit {
                return Err(recording.too_large());
            }
        }
        if recording.entries.is_empty() {
            return Err(ReplayError::NoMessages {
                path: recording.path,
                datagrams,
                filtered: recording.left_out.filtered,
                torn: recording.torn.map(Box::new),
            });
        }
        if !recording.look_into(limit) {
            return Err(recording.too_large());
        }
        Ok(recording)
    }

    /// Adds a datagram that nothing is known of yet; whether the system had memory for it.
    fn push(&mut self, stream: u32, received_ns: u64, payload: &[u8]) -> bool {
        let room = self.payloads.try_reserve(payload.len());
        if room.and_then(|()| self.entries.try_reserve(1)).is_err() {
            return false;
        }
        if self.entries.is_empty() {
            self.began_ns = received_ns;
        }
        // Sent in the order of the file: a clock that was set back does not hold it up.
        let at_ns = received_ns.saturating_sub(self.began_ns);
        let last_ns = self.entries.last().map_or(0, |entry| entry.at_ns);
        self.entries.push(Entry {
            start: self.payloads.len(),
            // No UDP datagram is longer.
            bytes: payload.len() as u16,
            patches: 0,
            patch_count: 0,
            stream,
            flows: 0,
            at_ns: at_ns.max(last_ns),
        });
        self.bytes += payload.len() as u64;
        self.payloads.extend_from_slice(payload);
        true
    }

    /// Counts flows, and finds what advances; whether that fits into the memory.
    fn look_into(&mut self, limit: u64) -> bool {
        let mut templates = Templates::new(self.streams.iter().map(|stream| {
            let ip = self.source_of(stream).ip();
            (ip, stream.version, stream.domain)
        }));
        // Sets that came before their template are counted as the collector will that keeps them until it comes.
        for entry in &self.entries {
            if let Some(message) = export_message(payload_of(&self.payloads, entry)) {
                templates.learn_first(entry.stream, &message);
            }
        }
        let entries = self.entries.len();
        for entry in &mut self.entries {
            let payload = payload_of(&self.payloads, entry);
            let Some(message) = export_message(payload) else {
                continue;
            };
            // No field that advances is shorter than four bytes.
            let most = HEADER_PATCHES + payload.len() / 4;
            if self.patches.try_reserve(most).is_err() {
                return false;
            }
            entry.patches = self.patches.len();
            let content = templates.look_into(entry.stream, &message, &mut self.patches);
            entry.patch_count = (self.patches.len() - entry.patches) as u32;
            entry.flows = content.flows;
            self.flows += u64::from(content.flows);
            self.left_out.uncounted_sets += content.uncounted_sets;
            if let Some((number, units)) = content.sequence
                && let Some(stream) = self.streams.get_mut(entry.stream as usize)
            {
                let sequence = stream.sequence.get_or_insert(Sequence::new(number));
                sequence.follow(number, units);
            }
            if memory_of(&self.payloads, entries, self.patches.len()) > limit {
                return false;
            }
        }
        true
    }

    /// Puts messages in front that tell all templates, as they are first in the recording, so that a collector knows
    /// them before the first flow comes.
    pub(crate) fn prime(&mut self) {
        prime::prime(self);
    }

    /// The capture.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many datagrams there are.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.entries.len() as u64
    }

    /// How many flows they hold: data records, but for those that describe the exporter.
    #[must_use]
    pub const fn flows(&self) -> u64 {
        self.flows
    }

    /// How many bytes the payloads have.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The time from the first datagram to the last.
    #[must_use]
    pub fn span(&self) -> Duration {
        Duration::from_nanos(self.entries.last().map_or(0, |entry| entry.at_ns))
    }

    /// The addresses and ports that the datagrams come from.
    #[must_use]
    pub fn sources(&self) -> &[SocketAddr] {
        &self.sources
    }

    /// What else the capture has.
    #[must_use]
    pub const fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Why the capture ended before its end, if it did: everything before is here.
    #[must_use]
    pub const fn torn(&self) -> Option<&CaptureError> {
        self.torn.as_ref()
    }

    /// From one loop's first datagram to the next one's: the last datagram takes as long as one does in the mean.
    pub(crate) fn period_ns(&self) -> u64 {
        let span = self.entries.last().map_or(0, |entry| entry.at_ns);
        let intervals = self.entries.len().saturating_sub(1) as u64;
        span + span.checked_div(intervals).unwrap_or(0)
    }

    /// By how many seconds times advance with each loop: so many that none goes back.
    pub(crate) const fn period_seconds(&self, period_ns: u64) -> u64 {
        match period_ns.div_ceil(1_000_000_000) {
            0 => 1,
            seconds => seconds,
        }
    }

    /// By how many seconds the recording is older than `now_ns`.
    pub(crate) const fn age_seconds(&self, now_ns: u64) -> i64 {
        // Both fit, for nanoseconds since 1970 in 64 bits end in 2554.
        (now_ns / 1_000_000_000) as i64 - (self.began_ns / 1_000_000_000) as i64
    }

    /// When a datagram comes, since the first.
    #[inline]
    pub(crate) fn at_ns(&self, index: usize) -> Option<u64> {
        self.entries.get(index).map(|entry| entry.at_ns)
    }

    /// What a datagram holds: flows and bytes.
    #[inline]
    pub(crate) fn size(&self, index: usize) -> (u64, u64) {
        self.entries
            .get(index)
            .map_or((0, 0), |entry| (entry.flows.into(), entry.bytes.into()))
    }

    /// A datagram as it is now.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Prepared<'_>> {
        let entry = self.entries.get(index)?;
        let stream = self.streams.get(entry.stream as usize)?;
        Some(Prepared {
            source: self.source_of(stream),
            source_index: stream.source as usize,
            payload: payload_of(&self.payloads, entry),
        })
    }

    /// Advances a datagram: before the first loop by `seconds` to the present, and before each other by `seconds` and by
    /// what its sequence numbers advance in a loop.
    #[inline]
    pub(crate) fn advance(&mut self, index: usize, first: bool, seconds: i64) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        let sequence = self.streams.get(entry.stream as usize);
        let sequence = sequence.and_then(|stream| stream.sequence);
        let shift = Shift {
            seconds,
            boot_seconds: if first { seconds } else { 0 },
            sequence: match sequence {
                Some(sequence) if !first => sequence.advance(),
                _ => 0,
            },
        };
        let patches = entry.patches..entry.patches + entry.patch_count as usize;
        let payload = entry.start..entry.start + usize::from(entry.bytes);
        if let (Some(patches), Some(payload)) =
            (self.patches.get(patches), self.payloads.get_mut(payload))
        {
            shift.apply(patches, payload);
        }
    }

    fn source_of(&self, stream: &Stream) -> SocketAddr {
        // Every stream has one.
        let source = self.sources.get(stream.source as usize);
        source.copied().unwrap_or(Prepared::NONE.source)
    }

    /// About how much memory it takes, while it is not known what advances.
    fn memory(&self) -> u64 {
        let entries = self.entries.len();
        memory_of(&self.payloads, entries, PATCHES * entries)
    }

    fn too_large(self) -> ReplayError {
        ReplayError::TooLarge {
            bytes: self.memory(),
            datagrams: self.entries.len(),
            path: self.path,
        }
    }
}

fn memory_of(payloads: &[u8], entries: usize, patches: usize) -> u64 {
    (payloads.len() + entries * size_of::<Entry>() + patches * size_of::<Patch>()) as u64
}

fn payload_of<'a>(payloads: &'a [u8], entry: &Entry) -> &'a [u8] {
    payloads
        .get(entry.start..entry.start + usize::from(entry.bytes))
        .unwrap_or_default()
}

/// The message that a payload is, if its header says so.
fn export_message(payload: &[u8]) -> Option<Message<'_>> {
    Message::parse(payload).ok()
}

/// How many bytes a recording may take: a part of what the machine has free, or of what a container may have.
fn memory_limit() -> u64 {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    });
    // Not a number where there is no limit (cgroups(7)).
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max");
    let container = container.ok().and_then(|text| text.trim().parse().ok());
    let least = available.into_iter().chain(container).min();
    least.map_or(u64::MAX, |bytes: u64| (bytes as f64 * MEMORY_PART) as u64)
}

#[cfg(test)]
mod tests;
