//! The table: which collector has which shard.

use std::num::NonZero;

use thiserror::Error;

/// The most shards that a route may have. More would gain nothing: with twenty per collector the shares differ by no
/// more than a twentieth.
pub const MAX_SHARDS: u32 = 65_536;

/// Why there is no such table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TableError {
    /// No collector has a weight above 0.
    #[error("there is no collector with a weight above 0")]
    NoCollectors,
    /// More shards than [`MAX_SHARDS`].
    #[error("{shards} shards are more than {MAX_SHARDS}")]
    TooManyShards {
        /// The number asked for.
        shards: u32,
    },
    /// A collector with a weight above 0 would have no shard.
    #[error(
        "of {shards} shards none falls to collector {}: give more shards, or the collector more weight",
        collector + 1
    )]
    Idle {
        /// Its index, from 0.
        collector: usize,
        /// The number of shards.
        shards: u32,
    },
}

/// Maps shards to collectors, so that there may be more shards than collectors.
///
/// Filled by smooth weighted round robin: the shards of a collector are as far apart as its weight allows, and of
/// collectors that are equally due the first comes first. Only integers are computed with, so that every router with the
/// same weights has the same table.
///
/// ```
/// use std::num::NonZero;
/// use forebay_router::Table;
///
/// let table = Table::new(NonZero::new(7).unwrap(), &[2, 1]).unwrap();
/// let collectors: Vec<usize> = (0..7).map(|shard| table.collector(shard)).collect();
/// assert_eq!(collectors, [0, 1, 0, 0, 1, 0, 0]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The collector of each shard; never empty.
    collectors: Box<[usize]>,
    /// How many shards each collector has.
    shares: Box<[u32]>,
}

impl Table {
    /// Fills a table of `shards` for collectors with these weights; one of weight 0 gets nothing.
    ///
    /// # Errors
    ///
    /// No weight is above 0, there are too many shards, or too few for every collector that has a weight.
    pub fn new(shards: NonZero<u32>, weights: &[u32]) -> Result<Self, TableError> {
        let table = Self::fill(shards, weights)?;
        let mut shares = weights.iter().zip(&table.shares);
        match shares.position(|(weight, share)| *weight > 0 && *share == 0) {
            Some(collector) => Err(TableError::Idle {
                collector,
                shards: shards.get(),
            }),
            None => Ok(table),
        }
    }

    /// As [`new`](Self::new), but a collector may get nothing also where there are too few shards.
    pub(crate) fn fill(shards: NonZero<u32>, weights: &[u32]) -> Result<Self, TableError> {
        let shards = shards.get();
        if shards > MAX_SHARDS {
            return Err(TableError::TooManyShards { shards });
        }
        let total: i64 = weights.iter().copied().map(i64::from).sum();
        if total == 0 {
            return Err(TableError::NoCollectors);
        }
        let mut due: Vec<i64> = vec![0; weights.len()];
        let mut shares: Box<[u32]> = vec![0; weights.len()].into();
        let mut collectors = Vec::with_capacity(shards as usize);
        for _ in 0..shards {
            for (due, weight) in due.iter_mut().zip(weights) {
                *due += i64::from(*weight);
            }
            // Of equals, `max_by_key` takes the last: hence backwards.
            let next = due
                .iter_mut()
                .enumerate()
                .rev()
                .max_by_key(|(_, due)| **due);
            if let Some((collector, due)) = next {
                *due -= total;
                collectors.push(collector);
                if let Some(share) = shares.get_mut(collector) {
                    *share += 1;
                }
            }
        }
        Ok(Self {
            collectors: collectors.into(),
            shares,
        })
    }

    /// The collector of a shard, by its index among the weights. A shard beyond the table counts as its remainder by the
    /// number of shards.
    #[inline]
    #[must_use]
    pub fn collector(&self, shard: u32) -> usize {
        let index = shard as usize;
        match self.collectors.get(index) {
            Some(collector) => *collector,
            None => self
                .collectors
                .get(index % self.collectors.len())
                .copied()
                .unwrap_or(0),
        }
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u32 {
        // Checked to be no more than MAX_SHARDS.
        self.collectors.len() as u32
    }

    /// How many shards each collector has.
    #[must_use]
    pub fn shares(&self) -> &[u32] {
        &self.shares
    }
}

#[cfg(test)]
mod tests;
