//! What a collector is doing, for those who watch it: read between batches, never on the hot path.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::counters::{Counters, Scope};

/// An exporter's observation domain in one export version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DomainKey {
    /// The exporter's address.
    pub exporter: Arc<str>,
    /// The export version.
    pub version: u8,
    /// The observation domain.
    pub observation_domain: u32,
}

/// What is known of an exporter's observation domain in one export version.
#[derive(Debug, Clone)]
pub struct DomainStatus {
    /// The exporter's address.
    pub exporter: Arc<str>,
    /// The export version: 1, 5, 7, 9 or 10.
    pub version: u8,
    /// The observation domain.
    pub observation_domain: u32,
    /// When it was last heard, in microseconds since 1970.
    pub last_us: i64,
    /// Tells it from one of the same name that limits put out before.
    pub serial: u64,
    /// Data sets that wait for their template now.
    pub sets_waiting: u64,
    /// What was counted of it.
    pub counters: Counters,
}

/// How full a shard's tables are: see [`Limits`](crate::Limits).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tables {
    /// Exporter addresses.
    pub exporters: usize,
    /// Templates, of all sessions.
    pub templates: usize,
    /// Bytes of data sets that wait for their template.
    pub pending_bytes: usize,
}

/// What one shard last told.
#[derive(Debug, Clone, Default)]
pub struct ShardStatus {
    /// Its exporters' domains.
    pub domains: Vec<DomainStatus>,
    /// Counts that belong to none of them.
    pub unassigned: Counters,
    /// Datagrams that the kernel dropped because the shard's socket was full.
    pub kernel_drops: u64,
    /// Datagrams that were cut off. Buffers hold the longest there can be, so this stays 0.
    pub truncated: u64,
    /// How full its tables are.
    pub tables: Tables,
}

/// What the files take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileStatus {
    /// Flows that are in a segment or flow file.
    pub stored: u64,
    /// Flows that could not be written, by domain and reason.
    pub not_written: BTreeMap<(DomainKey, &'static str), u64>,
    /// Bytes appended to segments.
    pub segment_bytes: u64,
    /// Closed segments that wait to be settled.
    pub segments_waiting: usize,
    /// Flow files made.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Flows in them.
    pub file_flows: u64,
    /// Flows of an earlier run that were in segments left behind.
    pub recovered_flows: u64,
    /// Bytes behind the last whole batch of such segments.
    pub torn_bytes: u64,
    /// Segments that could not be settled and were left.
    pub segments_failed: u64,
    /// Files that retention removed.
    pub files_removed: u64,
    /// Why settling waits: too little space.
    pub paused: bool,
    /// Writers whose last batch could not be written.
    pub failing_writers: usize,
}

/// Domains that are told apart in what could not be written: as many as a shard knows by default.
const NOT_WRITTEN_MAX: usize = 131_072;

impl FileStatus {
    /// Counts flows that could not be written. Beyond a number of domains, which forged exporters on
    /// a full disk reach, the rest is counted together.
    pub(crate) fn add_not_written(&mut self, key: DomainKey, reason: &'static str, rows: u64) {
        let known = self.not_written.contains_key(&(key.clone(), reason));
        let key = if known || self.not_written.len() < NOT_WRITTEN_MAX {
            key
        } else {
            DomainKey {
                exporter: "others".into(),
                version: 0,
                observation_domain: 0,
            }
        };
        *self.not_written.entry((key, reason)).or_default() += rows;
    }
}

/// What a collector is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The shards.
    pub shards: Vec<ShardStatus>,
    /// The files.
    pub files: FileStatus,
    /// Bytes of batches that wait to be written.
    pub queue_bytes: usize,
}

impl Status {
    /// Counters by domain, with what was not written.
    pub fn domains(&self) -> BTreeMap<DomainKey, DomainStatus> {
        let mut domains = BTreeMap::new();
        for status in self.shards.iter().flat_map(|shard| &shard.domains) {
            let key = DomainKey {
                exporter: Arc::clone(&status.exporter),
                version: status.version,
                observation_domain: status.observation_domain,
            };
            domains.insert(key, status.clone());
        }
        for ((key, reason), &count) in &self.files.not_written {
            if let Some(status) = domains.get_mut(key) {
                status.counters.reasons.add(Scope::Record, reason, count);
            }
        }
        domains
    }

    /// All counters added up.
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        for shard in &self.shards {
            total.add(&shard.unassigned);
            for domain in &shard.domains {
                total.add(&domain.counters);
            }
        }
        for ((_, reason), &count) in &self.files.not_written {
            total.reasons.add(Scope::Record, reason, count);
        }
        total
    }

    /// Datagrams that the kernel dropped.
    pub fn kernel_drops(&self) -> u64 {
        self.shards.iter().map(|shard| shard.kernel_drops).sum()
    }

    /// How many exporters are known.
    pub fn exporters(&self) -> usize {
        self.shards.iter().map(|shard| shard.tables.exporters).sum()
    }

    /// Whether anything that was exported is not in the files.
    pub fn has_losses(&self) -> bool {
        let total = self.total();
        let lost = [Scope::Datagram, Scope::Set, Scope::Record].map(|s| total.reasons.total(s));
        self.kernel_drops() + total.sequence_lost + lost.iter().sum::<u64>() > 0
    }
}
