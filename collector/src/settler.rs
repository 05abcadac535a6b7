//! The settler thread: segments to flow files, the ledger, saved templates, retention. It is behind
//! the disk's queue, so nothing waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_store::{
    ClosedSegment, Compression, Dataset, LedgerRow, ReasonCount, Retention, SettleOptions,
    StoreError, free_bytes, keep, keep_closed, retain, settle, write_ledger,
};

use crate::counters::{Counters, Scope};
use crate::run::Clock;
use crate::saved::{Saved, ToldSaved};
use crate::status::{DomainKey, Status};
use crate::writer::{SharedFiles, TURN, with};

/// What flow files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Parquet, settled from segments.
    Parquet(Compression),
    /// The segments themselves: Arrow IPC streams.
    Arrow,
}

/// How often retention looks around, in microseconds.
const RETENTION_US: i64 = 60_000_000;

/// A segment that is to be settled.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// This run closed it.
    Closed(ClosedSegment),
    /// An earlier run left it, perhaps with a torn tail.
    LeftBehind(PathBuf),
}

impl Waiting {
    fn path(&self) -> &Path {
        match self {
            Self::Closed(segment) => &segment.path,
            Self::LeftBehind(path) => path,
        }
    }
}

/// What settles, and what it needs to know.
pub(crate) struct Settler {
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) format: Format,
    pub(crate) min_free_bytes: u64,
    pub(crate) retention: Retention,
    pub(crate) interval_us: i64,
    pub(crate) files: SharedFiles,
    pub(crate) saved: Vec<Arc<Mutex<ToldSaved>>>,
    pub(crate) clock: Clock,
    pub(crate) waiting: VecDeque<Waiting>,
    pub(crate) ledger: Ledger,
}

impl Settler {
    /// Settles until no writer is left and all is done, or `deadline` (in microseconds since 1970)
    /// has passed.
    pub(crate) fn run(
        mut self,
        segments: &Receiver<ClosedSegment>,
        status: impl Fn() -> Status,
        deadline_us: impl Fn() -> i64,
    ) {
        let mut next_ledger = self.next_interval();
        let mut next_retention = 0;
        let mut writers_left = true;
        loop {
            // Where segments wait already, the next one is no reason to wait.
            let wait = if self.waiting.is_empty() {
                TURN
            } else {
                Duration::ZERO
            };
            match segments.recv_timeout(wait) {
                Ok(segment) => self.waiting.push_back(Waiting::Closed(segment)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => writers_left = false,
            }
            let settled = self.waiting.is_empty() || self.has_space() && self.settle_next();
            let now = (self.clock)();
            if now >= next_ledger {
                next_ledger = self.next_interval();
                self.ledger.write(&self.dataset, &status(), now);
                self.save_templates();
            }
            if now >= next_retention {
                next_retention = now + RETENTION_US;
                self.retain(now);
            }
            match (settled, writers_left) {
                // The next start settles what there is no space for.
                (false, false) => break,
                (false, true) => std::thread::sleep(TURN),
                (true, false) if self.waiting.is_empty() || now >= deadline_us() => break,
                _ => {}
            }
        }
        self.ledger.write(&self.dataset, &status(), (self.clock)());
        self.save_templates();
    }

    fn next_interval(&self) -> i64 {
        let now = (self.clock)();
        now - now.rem_euclid(self.interval_us) + self.interval_us
    }

    /// Whether there is space to settle in. Says so once when that changes.
    fn has_space(&self) -> bool {
        let paused = free_bytes(self.dataset.root()).is_ok_and(|free| free < self.min_free_bytes);
        let was = with(&self.files, |files| {
            std::mem::replace(&mut files.paused, paused)
        });
        match (was, paused) {
            (false, true) => tracing::warn!(
                "less than {} bytes are free at {}: segments wait in staging until there is space",
                self.min_free_bytes,
                self.dataset.root().display()
            ),
            (true, false) => tracing::info!("there is space again: settling goes on"),
            _ => {}
        }
        !paused
    }

    /// Settles the first segment. `false` where there is no space for it.
    fn settle_next(&mut self) -> bool {
        let Some(segment) = self.waiting.front() else {
            return true;
        };
        let result = match (self.format, segment) {
            (Format::Parquet(compression), segment) => {
                let options = SettleOptions { compression };
                settle(&self.dataset, segment.path(), &options)
            }
            (Format::Arrow, Waiting::Closed(segment)) => keep_closed(&self.dataset, segment),
            (Format::Arrow, Waiting::LeftBehind(path)) => keep(&self.dataset, path),
        };
        match result {
            Err(error) if error.is_disk_full() => {
                tracing::warn!("{error}; it will be tried again");
                return false;
            }
            Err(error) => {
                tracing::error!("{error}; the segment is left where it is");
                with(&self.files, |files| files.segments_failed += 1);
            }
            Ok(settled) => {
                if settled.torn_bytes > 0 {
                    tracing::warn!(
                        "{}: {} bytes behind the last whole batch are lost",
                        segment.path().display(),
                        settled.torn_bytes
                    );
                }
                with(&self.files, |files| {
                    files.files += u64::from(settled.path.is_some());
                    files.file_bytes += settled.bytes;
                    files.file_flows += settled.rows;
                    files.torn_bytes += settled.torn_bytes;
                    if matches!(segment, Waiting::LeftBehind(_)) {
                        files.recovered_flows += settled.rows;
                    }
                });
            }
        }
        self.waiting.pop_front();
        with(&self.files, |files| {
            files.segments_waiting = files.segments_waiting.saturating_sub(1);
        });
        true
    }

    fn retain(&self, now_us: i64) {
        match retain(&self.dataset, self.retention, now_us) {
            Ok(removed) => with(&self.files, |files| files.files_removed += removed.files),
            Err(error) => tracing::warn!("{error}"),
        }
    }

    fn save_templates(&self) {
        if !self
            .saved
            .iter()
            .any(|shard| with(shard, |told| told.changed))
        {
            return;
        }
        let told = self.saved.iter().map(|shard| {
            with(shard, |told| {
                told.changed = false;
                told.saved.clone()
            })
        });
        let told: Vec<Saved> = told.collect();
        let mut all = Saved::default();
        told.into_iter().for_each(|saved| all.merge(saved));
        let path = self.dataset.templates();
        if let Err(error) = all.save(&path) {
            tracing::warn!("cannot save templates to {}: {error}", path.display());
            // At the next interval again.
            let shards = self.saved.iter();
            shards.for_each(|shard| with(shard, |told| told.changed = true));
        }
    }
}

/// Writes what was counted since it last did.
#[derive(Debug)]
pub(crate) struct Ledger {
    since_us: i64,
    /// What each domain had counted, and which one of that name it was.
    domains: BTreeMap<DomainKey, (u64, Counters)>,
    unassigned: Counters,
    kernel_drops: u64,
}

impl Ledger {
    pub(crate) fn new(now_us: i64) -> Self {
        Self {
            since_us: now_us,
            domains: BTreeMap::new(),
            unassigned: Counters::default(),
            kernel_drops: 0,
        }
    }

    fn write(&mut self, dataset: &Dataset, status: &Status, now_us: i64) {
        let rows = self.rows(status, now_us);
        if rows.is_empty() {
            return;
        }
        match write_ledger(dataset, self.since_us, &rows) {
            Ok(_) => self.commit(status, now_us),
            // What could not be written is in the next interval's rows.
            Err(error) => tracing::warn!("the ledger is not written: {error}"),
        }
    }

    fn rows(&self, status: &Status, now_us: i64) -> Vec<LedgerRow> {
        let mut rows = Vec::new();
        let interval = (self.since_us, now_us);
        let domains = status.domains();
        for (key, domain) in &domains {
            let since = match self.domains.get(key) {
                Some((serial, earlier)) if *serial == domain.serial => {
                    domain.counters.since(earlier)
                }
                _ => domain.counters.clone(),
            };
            if since != Counters::default() {
                rows.push(row(interval, Some(key), &since, 0));
            }
        }
        let mut unassigned = unassigned(status).since(&self.unassigned);
        // What limits put out has all its counts there, those that were told before too.
        for (key, (serial, earlier)) in &self.domains {
            if domains
                .get(key)
                .is_none_or(|domain| domain.serial != *serial)
            {
                unassigned = unassigned.since(earlier);
            }
        }
        let drops = status.kernel_drops() - self.kernel_drops;
        if unassigned != Counters::default() || drops > 0 {
            rows.push(row(interval, None, &unassigned, drops));
        }
        rows
    }

    fn commit(&mut self, status: &Status, now_us: i64) {
        self.since_us = now_us;
        let domains = status.domains().into_iter();
        self.domains = domains
            .map(|(key, d)| (key, (d.serial, d.counters)))
            .collect();
        self.unassigned = unassigned(status);
        self.kernel_drops = status.kernel_drops();
    }
}

fn unassigned(status: &Status) -> Counters {
    let mut all = Counters::default();
    status
        .shards
        .iter()
        .for_each(|shard| all.add(&shard.unassigned));
    all
}

fn row(
    (interval_start_us, interval_end_us): (i64, i64),
    key: Option<&DomainKey>,
    counters: &Counters,
    kernel_drops: u64,
) -> LedgerRow {
    LedgerRow {
        interval_start_us,
        interval_end_us,
        exporter: key.map(|key| key.exporter.to_string()),
        observation_domain: key.map(|key| key.observation_domain),
        export_version: key.map(|key| key.version),
        datagrams: counters.datagrams,
        octets: counters.octets,
        datagrams_decoded: counters.messages,
        records: counters.records,
        records_stored: counters
            .records
            .wrapping_sub(counters.reasons.total(Scope::Record))
            .cast_signed(),
        options_records: counters.options_records,
        template_records: counters.templates,
        sequence_lost: counters.sequence_lost.cast_signed(),
        sequence_reordered: counters.sequence_late,
        kernel_drops,
        pending_sets_lost: counters
            .reasons
            .iter()
            .filter(|(_, reason, _)| reason.starts_with("template_missing"))
            .map(|(_, _, count)| count)
            .sum(),
        reasons: counters
            .reasons
            .iter()
            .map(|(scope, reason, count)| ReasonCount {
                scope,
                reason: reason.to_owned(),
                count,
            })
            .collect(),
    }
}

/// Settles what an earlier run left, in the order of its time.
pub(crate) fn left_behind(dataset: &Dataset) -> Result<VecDeque<Waiting>, StoreError> {
    let segments = forebay_store::recover(dataset)?;
    Ok(segments.into_iter().map(Waiting::LeftBehind).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{DomainStatus, ShardStatus};

    /// An exporter with a record in each datagram, of which some could not be written.
    fn status(records: u64, not_written: u64) -> Status {
        let mut status = Status::default();
        let counters = Counters {
            datagrams: records,
            records,
            ..Counters::default()
        };
        let domain = DomainStatus {
            exporter: "192.0.2.1".into(),
            version: 9,
            observation_domain: 7,
            last_us: 0,
            serial: 1,
            sets_waiting: 0,
            counters,
        };
        let key = DomainKey {
            exporter: Arc::clone(&domain.exporter),
            version: domain.version,
            observation_domain: domain.observation_domain,
        };
        status.shards.push(ShardStatus {
            domains: vec![domain],
            ..ShardStatus::default()
        });
        let lost = (key, "disk_full");
        status.files.not_written.insert(lost, not_written);
        status
    }

    #[test]
    fn what_is_not_written_later_is_taken_back() {
        let mut ledger = Ledger::new(0);
        ledger.commit(&status(10, 0), 1);
        let rows = ledger.rows(&status(12, 5), 2);
        assert_eq!((rows[0].records, rows[0].records_stored), (2, -3));
        assert_eq!(rows[0].reasons[0].count, 5);
    }

    #[test]
    fn a_domain_that_was_put_out_is_not_told_twice() {
        let mut ledger = Ledger::new(0);
        ledger.commit(&status(10, 0), 1);
        // It had two more when limits put it out, and is back with as many as before.
        let mut later = status(10, 0);
        later.shards[0].domains[0].serial = 2;
        later.shards[0].unassigned.datagrams = 12;
        later.shards[0].unassigned.records = 12;
        let rows = ledger.rows(&later, 2);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.exporter.is_some(), row.records))
            .collect();
        assert_eq!(told, [(true, 10), (false, 2)]);
    }
}
