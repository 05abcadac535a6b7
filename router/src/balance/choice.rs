//! Which split to take.

use std::cmp::Ordering;

use super::{Balance, EVEN, Evaluation, Measure};
use crate::Hash;

/// How much above the lowest imbalance is as good as the lowest: what was counted is not what will come.
const NEAR: f64 = 0.02;

/// The split to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its index among the evaluations.
    pub index: usize,
    /// Why it.
    pub reason: Reason,
}

/// Why a split is the one to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No other has a lower imbalance.
    Lowest,
    /// The split at this index has a lower imbalance, but hardly, and the chosen one has other merits: a prime number of
    /// shards, fewer exporters that move, less in the worst second.
    NearLowest(usize),
    /// It has the most shards of those that are even: there are no collectors whose number would decide.
    MostShards,
}

impl Balance {
    /// The split to take; `None` where nothing was counted, or no split has enough shards for the collectors.
    ///
    /// Where there are collectors: the one with the lowest imbalance of what they have to take, or of those within 0.02
    /// of it a prime one, then the one that moves the fewest exporters, then the one with the least in the worst second.
    /// Where there are none: of those whose imbalance is at most [`EVEN`] the one with the most shards, prime if there is
    /// a prime one; and if none is even, the one with the lowest imbalance.
    #[must_use]
    pub fn choose(&self, measure: Measure) -> Option<Choice> {
        let eligible = || {
            self.evaluations
                .iter()
                .enumerate()
                .filter_map(|(index, e)| Some((index, e, e.imbalance(measure)?)))
        };
        let (lowest, _, least) = eligible().min_by(|a, b| a.2.total_cmp(&b.2))?;
        if self.weights.is_empty() {
            let most = eligible()
                .filter(|(_, _, imbalance)| *imbalance <= EVEN)
                .max_by(|a, b| {
                    let key = |e: &Evaluation| (e.prime, e.split.shards);
                    let is_cheap = |e: &Evaluation| e.split.hash == Hash::Address;
                    key(a.1)
                        .cmp(&key(b.1))
                        .then(b.2.total_cmp(&a.2))
                        .then(is_cheap(a.1).cmp(&is_cheap(b.1)))
                });
            return Some(match most {
                Some((index, ..)) => Choice {
                    index,
                    reason: Reason::MostShards,
                },
                None => Choice {
                    index: lowest,
                    reason: Reason::Lowest,
                },
            });
        }
        let near = eligible().filter(|(_, _, imbalance)| *imbalance <= least + NEAR);
        let (index, ..) = near.min_by(|a, b| by_merit(a.1, b.1, measure))?;
        Some(Choice {
            index,
            reason: if index == lowest {
                Reason::Lowest
            } else {
                Reason::NearLowest(lowest)
            },
        })
    }
}

/// The better of two that are about as even comes first.
fn by_merit(a: &Evaluation, b: &Evaluation, measure: Measure) -> Ordering {
    let merit = |e: &Evaluation| {
        (
            !e.prime,
            e.moved,
            e.peak(measure).map(|peak| peak.largest),
            e.split.shards,
            e.split.hash == Hash::Xxh3,
        )
    };
    merit(a).cmp(&merit(b))
}
