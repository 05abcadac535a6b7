//! Finds the duplicates among the rows of a partition: its keys, the groups of each, and which row stays.

use std::ops::Range;

use super::fates::{Fate, Fates};
use super::group::Groups;
use super::lists::{Lists, OpenChunk};
use super::numbers::NumberMap;
use super::origins::Origins;
use super::pack::{same_nulls, unpack};
use super::rules::{Flow, Preference, Rules};
use crate::error::AnalyzeError;
use crate::rows::{Shape, hash, secret};

/// What rows are matched by.
pub(super) struct Matching<'a> {
    pub(super) rules: &'a Rules,
    pub(super) preference: &'a Preference,
    pub(super) origins: &'a Origins,
    pub(super) lists: &'a Lists,
    pub(super) fates: &'a Fates,
    /// The words of a row, and how many of them must be the same.
    pub(super) shape: Shape,
    /// The words of the key alone.
    pub(super) key_words: usize,
    /// The rows of files that turned out to be damaged: they are none.
    pub(super) bad: &'a [Range<u64>],
}

/// One worker's findings, and its tools.
#[derive(Default)]
pub(super) struct Matcher {
    order: Vec<u64>,
    run: Vec<u32>,
    flows: Vec<Flow>,
    groups: Groups,
    seen: Vec<u32>,
    pub(super) open: OpenChunk,
    pub(super) found: Found,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Rows removed, by the exporters of the one that stays and of the one that goes.
    pub(super) removed: NumberMap<(u32, u32), u64>,
    /// Groups of several rows.
    pub(super) groups: u64,
    /// Rows that were not compared with all that might have been like them.
    pub(super) cut: u64,
}

impl Found {
    pub(super) fn add(&mut self, other: Self) {
        for (pair, count) in other.removed {
            *self.removed.entry(pair).or_default() += count;
        }
        self.groups += other.groups;
        self.cut += other.cut;
    }
}

impl Matcher {
    /// Finds the duplicates among `rows`, which hold all rows of each of their keys.
    pub(super) fn visit(&mut self, by: &Matching<'_>, rows: &[u64]) -> Result<(), AnalyzeError> {
        let width = by.shape.words;
        let count = rows.len() / width;
        // The hash, and in its low bits the place: rows of one key come together, most keys have one.
        let place_bits = usize::BITS - count.leading_zeros();
        let places = (1_u64 << place_bits) - 1;
        let seed = secret();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        let key = |row: &[u64]| hash(&row[..by.shape.key_words], seed) & !places;
        let hashes = rows.chunks_exact(width).map(key).zip(0..);
        order.extend(hashes.map(|(hash, place)| hash | place));
        order.sort_unstable();
        let row = |place: u32| &rows[place as usize * width..][..width];
        let mut run = std::mem::take(&mut self.run);
        for chunk in order.chunk_by(|one, next| one & !places == next & !places) {
            if chunk.len() < 2 {
                continue;
            }
            run.clear();
            // A partition of more rows does not fit in any memory.
            run.extend(chunk.iter().map(|hash| (hash & places) as u32));
            let key = |place: u32| &row(place)[..by.shape.key_words];
            let counters_are_key = by.shape.key_words > by.key_words;
            let nulls = |place: u32| match counters_are_key {
                true => same_nulls(row(place), by.key_words),
                false => 0,
            };
            if run.len() > 2 {
                run.sort_unstable_by(|&one, &other| {
                    key(one)
                        .cmp(key(other))
                        .then_with(|| nulls(one).cmp(&nulls(other)))
                });
            }
            let are_one =
                |&one: &u32, &other: &u32| key(one) == key(other) && nulls(one) == nulls(other);
            for same in run.chunk_by(are_one) {
                if same.len() > 1 {
                    self.flows.clear();
                    let flows = same
                        .iter()
                        .filter_map(|&place| unpack(row(place), by.key_words));
                    self.flows.extend(
                        flows.filter(|flow| !by.bad.iter().any(|rows| rows.contains(&flow.row))),
                    );
                    self.key(by)?;
                }
            }
        }
        self.order = order;
        self.run = run;
        Ok(())
    }

    /// Finds the duplicates among the rows of one key.
    fn key(&mut self, by: &Matching<'_>) -> Result<(), AnalyzeError> {
        for flow in &mut self.flows {
            flow.origin = by.origins.place(flow.origin);
        }
        self.flows.sort_unstable_by(Flow::canonical);
        let parties = &by.origins.parties;
        if let [one, other] = self.flows.as_slice() {
            // What the groups would come to.
            let party = |flow: &Flow| parties.get(flow.origin as usize);
            if (by.rules.within || party(one) != party(other)) && by.rules.alike(one, other) {
                return self.settle(by, &[0, 1]);
            }
            return Ok(());
        }
        let mut groups = std::mem::take(&mut self.groups);
        groups.find(&self.flows, by.rules, parties);
        let mut result = Ok(());
        groups.each_of_several(|members| {
            if result.is_ok() {
                result = self.settle(by, members);
            }
        });
        self.found.cut += std::mem::take(&mut groups.cut);
        self.groups = groups;
        result
    }

    /// Says what becomes of the rows of a group.
    fn settle(&mut self, by: &Matching<'_>, members: &[u32]) -> Result<(), AnalyzeError> {
        let flows = || {
            members
                .iter()
                .filter_map(|&place| self.flows.get(place as usize))
        };
        let kept = by.preference.choose(flows());
        self.seen.clear();
        for flow in flows() {
            by.origins.add_seen(flow.origin, &mut self.seen);
        }
        let list = by.lists.add(&mut self.open, &self.seen);
        let list = list.ok_or(AnalyzeError::Texts {
            bytes: u32::MAX as usize,
        })?;
        let exporter = |flow: &Flow| by.origins.exporter(flow.origin);
        let Some(keeper) = flows().nth(kept).map(exporter) else {
            return Ok(());
        };
        for (place, flow) in flows().enumerate() {
            if place == kept {
                by.fates.set(flow.row, Fate::Seen(list));
            } else {
                by.fates.set(flow.row, Fate::Removed);
                *self
                    .found
                    .removed
                    .entry((keeper, exporter(flow)))
                    .or_default() += 1;
            }
        }
        self.found.groups += 1;
        Ok(())
    }
}
