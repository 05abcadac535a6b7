//! Finds the duplicates among the rows of a partition: its keys, the groups of each, and which row stays.

use std::ops::Range;

use super::fates::{Fates, Removed};
use super::group::Groups;
use super::lists::{Lists, OpenChunk};
use super::numbers::NumberMap;
use super::origins::Origins;
use super::pack::{same_nulls, unpack};
use super::rules::{Flow, Preference, Rules};
use crate::error::AnalyzeError;
use crate::rows::{HashOrder, Shape, hash, secret};

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
    /// The rows of files that turned out to be damaged, in their order: they are none.
    pub(super) bad: &'a [Range<u64>],
}

impl Matching<'_> {
    fn is_bad(&self, row: u64) -> bool {
        let place = self.bad.partition_point(|rows| rows.end <= row);
        self.bad.get(place).is_some_and(|rows| rows.contains(&row))
    }
}

/// One worker's findings, and its tools.
pub(super) struct Matcher {
    order: HashOrder,
    flows: Flows,
    groups: Groups,
    seen: Vec<u32>,
    pending: Pending,
    removed: Removed,
    open: OpenChunk,
    found: Found,
}

/// What becomes of so many rows is noted at once: that is in no cache, and can be waited for together.
const PENDING: usize = 1024;

/// What became of rows, to be noted.
#[derive(Default)]
struct Pending {
    /// Rows that are removed, with the exporters of the one that stays and of this one.
    removed: Vec<(u64, (u32, u32))>,
    /// Rows that stay, with the list of those who saw them.
    kept: Vec<(u64, u32)>,
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

/// The rows of one key, in canonical order.
#[derive(Default)]
struct Flows {
    sorted: Vec<Flow>,
    /// As they came, and by what most of them can be told apart.
    unsorted: Vec<Flow>,
    order: Vec<u128>,
}

impl Flows {
    fn fill(&mut self, flows: impl Iterator<Item = Flow>) {
        self.sorted.clear();
        self.sorted.extend(flows);
        if self.sorted.len() < 16 {
            self.sorted.sort_unstable_by(Flow::canonical);
            return;
        }
        // Much is moved where rows are sorted as they are.
        std::mem::swap(&mut self.sorted, &mut self.unsorted);
        self.order.clear();
        let order = self.unsorted.iter().zip(0_u32..).map(|(flow, place)| {
            // Numbers without a sign, in the order of those with one.
            let first = flow.first_us as u64 ^ 1 << 63;
            u128::from(first) << 64 | u128::from(flow.origin) << 32 | u128::from(place)
        });
        self.order.extend(order);
        self.order.sort_unstable();
        self.sorted.clear();
        let flow = |&order: &u128| self.unsorted.get(order as u32 as usize).copied();
        self.sorted.extend(self.order.iter().filter_map(flow));
        let are_level =
            |one: &Flow, other: &Flow| (one.first_us, one.origin) == (other.first_us, other.origin);
        for level in self.sorted.chunk_by_mut(are_level) {
            if level.len() > 1 {
                level.sort_unstable_by(Flow::canonical);
            }
        }
    }
}

impl Matcher {
    /// One that marks rows in `removed`.
    pub(super) fn new(removed: Removed) -> Self {
        Self {
            order: HashOrder::default(),
            flows: Flows::default(),
            groups: Groups::default(),
            seen: Vec::new(),
            pending: Pending::default(),
            removed,
            open: OpenChunk::default(),
            found: Found::default(),
        }
    }

    /// Finds the duplicates among `rows`, which hold all rows of each of their keys.
    pub(super) fn visit(&mut self, by: &Matching<'_>, rows: &[u64]) -> Result<(), AnalyzeError> {
        let width = by.shape.words;
        let count = rows.len() / width;
        if u32::try_from(count).is_err() {
            return Err(AnalyzeError::OneKey { rows: count });
        }
        let seed = secret();
        let hashes = rows
            .chunks_exact(width)
            .map(|row| hash(&row[..by.shape.key_words], seed));
        let mut order = std::mem::take(&mut self.order);
        let result = order.each_of_several(hashes, |places| self.equal_hashes(by, rows, places));
        self.order = order;
        result
    }

    /// Finds the duplicates among the rows at `places`, whose hashes are one: as a rule their keys are, too.
    fn equal_hashes(
        &mut self,
        by: &Matching<'_>,
        rows: &[u64],
        places: &mut [u32],
    ) -> Result<(), AnalyzeError> {
        let width = by.shape.words;
        let row = |place: u32| &rows[place as usize * width..][..width];
        let counters_are_key = by.shape.key_words > by.key_words;
        let key = |place: u32| {
            let nulls = match counters_are_key {
                true => same_nulls(row(place), by.key_words),
                false => 0,
            };
            (&row(place)[..by.shape.key_words], nulls)
        };
        let are_one = |&one: &u32, &other: &u32| {
            let ((one, nulls), (other, other_nulls)) = (key(one), key(other));
            // Word by word: for so few, a call that compares memory takes longer.
            nulls == other_nulls && one.iter().zip(other).all(|(one, other)| one == other)
        };
        let [first, others @ ..] = &*places else {
            return Ok(());
        };
        if others.iter().all(|other| are_one(first, other)) {
            return self.one_key(by, places.iter().map(|&place| row(place)));
        }
        places.sort_unstable_by(|&one, &other| key(one).cmp(&key(other)));
        for same in places.chunk_by(are_one) {
            if same.len() > 1 {
                self.one_key(by, same.iter().map(|&place| row(place)))?;
            }
        }
        Ok(())
    }

    /// Finds the duplicates among the rows of one key.
    fn one_key<'r>(
        &mut self,
        by: &Matching<'_>,
        rows: impl Iterator<Item = &'r [u64]>,
    ) -> Result<(), AnalyzeError> {
        let flows = rows
            .filter_map(|row| unpack(row, by.key_words))
            .filter(|flow| !by.is_bad(flow.row))
            .map(|mut flow| {
                flow.origin = by.origins.place(flow.origin);
                flow
            });
        self.flows.fill(flows);
        self.duplicates(by)
    }

    fn duplicates(&mut self, by: &Matching<'_>) -> Result<(), AnalyzeError> {
        let parties = &by.origins.parties;
        if let [one, other] = self.flows.sorted.as_slice() {
            // What the groups would come to.
            let party = |flow: &Flow| parties.get(flow.origin as usize);
            if (by.rules.within || party(one) != party(other)) && by.rules.alike(one, other) {
                return self.settle(by, &[0, 1]);
            }
            return Ok(());
        }
        let mut groups = std::mem::take(&mut self.groups);
        groups.find(&self.flows.sorted, by.rules, parties);
        let result = groups.each_of_several(|members| self.settle(by, members));
        self.found.cut += std::mem::take(&mut groups.cut);
        self.groups = groups;
        result
    }

    /// Says what becomes of the rows of a group.
    fn settle(&mut self, by: &Matching<'_>, members: &[u32]) -> Result<(), AnalyzeError> {
        let flows = || {
            members
                .iter()
                .filter_map(|&place| self.flows.sorted.get(place as usize))
        };
        let kept = by.preference.choose(flows());
        let exporter = |flow: &Flow| by.origins.exporter(flow.origin);
        let Some(keeper) = flows().nth(kept) else {
            return Ok(());
        };
        if by.fates.has_lists() {
            self.seen.clear();
            for flow in flows() {
                by.origins.add_seen(flow.origin, &mut self.seen);
            }
            let list = by.lists.add(&mut self.open, &self.seen);
            let list = list.ok_or(AnalyzeError::Texts {
                bytes: u32::MAX as usize,
            })?;
            self.pending.kept.push((keeper.row, list));
        }
        let keeper = exporter(keeper);
        for (place, flow) in flows().enumerate() {
            if place != kept {
                let pair = (keeper, exporter(flow));
                self.pending.removed.push((flow.row, pair));
            }
        }
        self.found.groups += 1;
        // Of each group, one row at least is removed.
        if self.pending.removed.len() >= PENDING {
            self.note_pending(by.fates);
        }
        Ok(())
    }

    fn note_pending(&mut self, fates: &Fates) {
        for &(row, _) in &self.pending.removed {
            self.removed.add(row);
        }
        for (_, pair) in self.pending.removed.drain(..) {
            *self.found.removed.entry(pair).or_default() += 1;
        }
        for (row, list) in self.pending.kept.drain(..) {
            fates.keep(row, list);
        }
    }

    /// What it has found, once all is visited.
    pub(super) fn finish(mut self, lists: &Lists, fates: &Fates) -> (Removed, Found) {
        self.note_pending(fates);
        lists.close(&mut self.open);
        (self.removed, self.found)
    }
}
