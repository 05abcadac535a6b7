//! Balance: how evenly a split shares out what the exporters send, and which split is the most even.
//!
//! ```text
//! samples → exporters' loads ┬ of all time ┬ × shard counts × hashes → evaluations → choice → advice
//!                            └ of a second ┘
//! ```
//!
//! A [`Counter`] takes samples: an exporter, a load and, where known, a second. It ends as a [`Balance`], which holds for
//! each [`Split`] what every shard and collector would have had to take. [`Balance::choose`] takes the best of them, and
//! [`Balance::advise`] says what to do where no hash can help.
//!
//! Memory is bounded by the number of exporters and splits; time takes none, because of each second only the loads are
//! kept until the next begins.

mod advice;
mod choice;
mod count;
mod evaluation;
mod records;

use std::fmt;
use std::num::NonZero;

use crate::Hash;

pub use advice::{Advice, Pinned};
pub use choice::{Choice, Reason};
pub use count::{Counter, Setup};
pub use evaluation::{Balance, Evaluation, ExporterLoad, Floor, FloorCause, PeakSecond};
pub use records::{RecordCount, RecordCounter};

/// The imbalance that passes for even: a tenth above the mean.
pub const EVEN: f64 = 1.1;

/// What is counted of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Datagrams: what receiving and forwarding costs.
    Datagrams,
    /// Data records: what decoding and storing costs.
    Records,
    /// Bytes of UDP payload: what the network carries.
    Bytes,
}

impl Measure {
    /// All of them, as they are shown.
    pub const ALL: [Self; 3] = [Self::Datagrams, Self::Records, Self::Bytes];

    /// Its name, in the plural.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Datagrams => "datagrams",
            Self::Records => "records",
            Self::Bytes => "bytes",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was sent: by an exporter, or to a shard or collector. What is not known is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Datagrams.
    pub datagrams: u64,
    /// Data records.
    pub records: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
}

impl Load {
    /// One of the three.
    #[must_use]
    pub const fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Datagrams => self.datagrams,
            Measure::Records => self.records,
            Measure::Bytes => self.bytes,
        }
    }

    /// Adds another load; stays at the most that can be counted.
    pub const fn add(&mut self, other: &Self) {
        self.datagrams = self.datagrams.saturating_add(other.datagrams);
        self.records = self.records.saturating_add(other.records);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A number of shards and a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// How many shards.
    pub shards: NonZero<u32>,
    /// How an exporter's address becomes a number.
    pub hash: Hash,
}

#[cfg(test)]
mod tests;
