//! Groups that one worker makes before it hands rows over: where a few keys have most of the rows, few rows
//! are left to hand over, and workers do not wait for each other at the partitions of those keys.

use super::table::{Merge, Overflowed, Table};

/// More groups than these are handed over: they would not fit in the cache beside the batch.
const GROUPS_MAX: usize = 2048;
/// It pays where groups have so many rows.
const ROWS_PER_GROUP: usize = 4;
/// After so many batches that were not tried, it is tried once more.
const PAUSE_BATCHES: u32 = 64;

/// A small table of groups, as long as it pays.
pub(super) struct Ahead {
    table: Table,
    rows: Vec<u64>,
    merged: usize,
    pause: u32,
}

/// What becomes of a batch.
pub(super) enum Fate {
    /// It is in the table.
    Taken,
    /// It is, and what is in the table is to be handed over with [`Ahead::take`].
    Full,
    /// It is to be handed over as it is.
    Passed,
}

impl Ahead {
    pub(super) fn new(merge: Merge, seed: u64) -> Self {
        Self {
            table: Table::new(merge, seed),
            rows: Vec::new(),
            merged: 0,
            pause: 0,
        }
    }

    /// Adds the rows of a batch, column by column, if that pays.
    pub(super) fn add(&mut self, columns: &[&[u64]]) -> Result<Fate, Overflowed> {
        if self.pause > 0 {
            self.pause -= 1;
            return Ok(Fate::Passed);
        }
        let count = columns.first().map_or(0, |column| column.len());
        self.rows.clear();
        for row in 0..count {
            self.rows.extend(columns.iter().map(|column| column[row]));
        }
        self.table.merge(&self.rows)?;
        self.merged += count;
        Ok(match self.table.groups() {
            groups if groups > GROUPS_MAX => Fate::Full,
            _ => Fate::Taken,
        })
    }

    /// Takes all groups.
    pub(super) fn take(&mut self) -> Vec<u64> {
        if self.table.groups() * ROWS_PER_GROUP > self.merged {
            self.pause = PAUSE_BATCHES;
        }
        self.merged = 0;
        let groups = self.table.rows().to_vec();
        self.table.clear();
        groups
    }
}
