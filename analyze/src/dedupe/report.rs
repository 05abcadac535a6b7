//! What was found, and what became of it.

use super::matching::Found;
use super::origins::Origins;
use crate::scan::Skipped;

/// What came in, what is kept, and what was removed for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DedupeReport {
    /// The rows of the input, without those of files that were passed over.
    pub rows_in: u64,
    /// The rows that are duplicates of others.
    pub rows_removed: u64,
    /// The flows of which there were several rows.
    pub flows_seen_again: u64,
    /// Rows that were not compared: events without counters, and rows without a key.
    pub rows_not_compared: u64,
    /// Rows that were compared only with the nearest of very many of the same key and time.
    pub rows_compared_in_part: u64,
    /// The removed rows, by the exporters of the one that is kept and of the one that is removed: most
    /// rows first.
    pub pairs: Vec<Pair>,
    /// Files that were passed over.
    pub skipped: Vec<Skipped>,
    /// The flow files written.
    pub files_written: u64,
    /// Their length.
    pub bytes_written: u64,
    /// What was put aside while rows were compared, in bytes.
    pub spilled_bytes: u64,
    /// The most memory that rows took while they were compared.
    pub peak_memory: u64,
}

/// How many rows of one exporter were removed as duplicates of another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Whose row is kept.
    pub kept: String,
    /// Whose row is removed.
    pub removed: String,
    /// How many.
    pub rows: u64,
}

impl DedupeReport {
    /// The rows that stay.
    pub fn rows_kept(&self) -> u64 {
        self.rows_in - self.rows_removed
    }

    pub(super) fn tell(&mut self, found: Found, origins: &Origins) {
        self.flows_seen_again = found.groups;
        self.rows_compared_in_part = found.cut;
        self.rows_removed = found.removed.values().sum();
        let text = |exporter| origins.text(exporter).to_owned();
        let pair = |((kept, removed), rows)| Pair {
            kept: text(kept),
            removed: text(removed),
            rows,
        };
        self.pairs = found.removed.into_iter().map(pair).collect();
        self.pairs.sort_by(|one, other| {
            let names = |pair: &Pair| (pair.kept.clone(), pair.removed.clone());
            (other.rows.cmp(&one.rows)).then_with(|| names(one).cmp(&names(other)))
        });
    }
}
