//! Groups the rows of one key: each group is one flow, whoever saw it.
//!
//! The rows are taken in their canonical order. Each joins the group that began
//! earliest among those of which it is like some row, and which have no row of its
//! exporter and observation domain yet; where there is none, it begins a group.
//!
//! ```text
//! first   0 s    1 s    2 s    3 s    4 s         --start-delta 2s
//!         A      B             C                  A, B and C are one group: C is like B
//!         A'                          B'          a group each: 4 s are too far
//! ```
//!
//! A row is compared with so many of the rows before it at most, so that no input
//! makes this take for ever.

use super::numbers::NumberSet;
use super::rules::{Agreement, Flow, Rules};

/// With how many of the rows before it, of one key, a row is compared.
pub(super) const LOOK_BACK: usize = 256;
/// Groups of more rows are asked by a table whether they hold an origin.
const FEW: u32 = 16;
const NONE: u32 = u32::MAX;

/// The groups of one key's rows, and what it takes to find them.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By row: its group, which is the place of the group's first row.
    of: Vec<u32>,
    /// By row: the row before it in its group.
    before: Vec<u32>,
    /// By group: its last row.
    last: Vec<u32>,
    /// By group: its rows.
    count: Vec<u32>,
    /// By group: the one that began next, of those that may still take a row.
    next: Vec<u32>,
    /// The first and the last of these.
    head: u32,
    tail: u32,
    /// By group: what tells of many that they cannot be in it, or like a row of it.
    hints: Vec<Hint>,
    /// Whether each party has a bit of its own.
    hints_are_exact: bool,
    /// Parties in groups of many rows.
    held: NumberSet<(u32, u32)>,
    /// By party: the first group that it is not in, of those that may still take a row; and for which
    /// key that was found out.
    free: Vec<(u64, u32)>,
    /// Counts keys.
    key: u64,
    members: Vec<u32>,
    /// Rows that were not compared with all that might have been like them.
    pub(super) cut: u64,
}

/// What can be told of a group without a look at its rows.
#[derive(Debug, Clone, Copy)]
struct Hint {
    /// A bit for each party that it holds, and perhaps for others.
    parties: [u64; 4],
    /// Its rows' least and greatest duration; one that is not known is the greatest of all.
    durations: (u64, u64),
}

impl Hint {
    const NOTHING: Self = Self {
        parties: [0; 4],
        durations: (u64::MAX, 0),
    };

    /// So many have a bit of their own.
    const PARTIES: u32 = 4 * u64::BITS;

    fn bit(party: u32) -> (usize, u64) {
        let bit = party % Self::PARTIES;
        ((bit / u64::BITS) as usize, 1 << (bit % u64::BITS))
    }

    fn add(&mut self, party: u32, flow: &Flow) {
        let (word, bit) = Self::bit(party);
        self.parties[word] |= bit;
        let duration = flow.duration_us.unwrap_or(u64::MAX);
        let (least, greatest) = self.durations;
        self.durations = (least.min(duration), greatest.max(duration));
    }

    fn may_hold(&self, party: u32) -> bool {
        let (word, bit) = Self::bit(party);
        self.parties[word] & bit != 0
    }

    fn may_be_like(&self, flow: &Flow, rules: &Rules) -> bool {
        let Agreement::Within(most) = rules.duration else {
            return true;
        };
        let duration = flow.duration_us.unwrap_or(u64::MAX);
        let (least, greatest) = self.durations;
        duration.saturating_add(most) >= least && duration <= greatest.saturating_add(most)
    }
}

/// The rows that a row is compared with.
#[derive(Clone, Copy)]
struct Near<'a> {
    flows: &'a [Flow],
    /// The row's own place.
    place: usize,
    /// When the others begin at the earliest.
    earliest: i64,
}

impl Near<'_> {
    fn first(self) -> usize {
        self.place.saturating_sub(LOOK_BACK)
    }

    fn holds(self, row: u32) -> bool {
        let row = row as usize;
        row >= self.first() && self.flows[row].first_us >= self.earliest
    }

    /// Whether there are more than it may be compared with.
    fn is_cut(self) -> bool {
        let before = self.first().checked_sub(1);
        before.is_some_and(|before| self.flows[before].first_us >= self.earliest)
    }
}

impl Groups {
    /// Groups `flows`, which are of one key and in canonical order. `party` tells of an origin to which
    /// exporter and domain it belongs.
    pub(super) fn find(&mut self, flows: &[Flow], rules: &Rules, party: &[u32]) {
        self.begin(flows.len());
        // They are numbered in the order of origins.
        self.hints_are_exact = party.last().is_none_or(|&last| last < Hint::PARTIES);
        let party = |row: u32| {
            let origin = flows.get(row as usize).map(|flow| flow.origin as usize);
            origin
                .and_then(|origin| party.get(origin))
                .copied()
                .unwrap_or(0)
        };
        for (place, flow) in flows.iter().enumerate() {
            let row = place as u32;
            let mine = party(row);
            let near = Near {
                flows,
                place,
                earliest: flow.first_us.saturating_sub_unsigned(rules.start_delta_us),
            };
            self.cut += u64::from(near.is_cut());
            let group = self.group_for(near, mine, rules, party);
            if group == row {
                match self.tail {
                    NONE => self.head = row,
                    tail => self.next[tail as usize] = row,
                }
                self.tail = row;
            }
            self.join(row, group, mine, party);
            self.hints[group as usize].add(mine, flow);
        }
    }

    /// The group of a row: the first of those near that has one like it and does not hold its party, or else
    /// a new one, which is called as the row.
    fn group_for(
        &mut self,
        near: Near<'_>,
        mine: u32,
        rules: &Rules,
        party: impl Fn(u32) -> u32 + Copy,
    ) -> u32 {
        let flow = &near.flows[near.place];
        let mut group = match rules.within {
            true => self.head,
            false => self.first_without(mine, near),
        };
        let mut previous = NONE;
        // Whether all before this one hold the party.
        let mut all_hold = !rules.within;
        while group != NONE {
            let next = self.next[group as usize];
            if self.is_over(group, near) {
                if previous != NONE {
                    self.next[previous as usize] = next;
                } else if group == self.head {
                    self.head = next;
                }
                group = next;
                continue;
            }
            if rules.within || !self.holds(group, mine, party) {
                if all_hold {
                    all_hold = false;
                    self.free[mine as usize] = (self.key, group);
                }
                let may_be_like = self.hints[group as usize].may_be_like(flow, rules);
                let mut rows = self.backwards(group).take_while(|&row| near.holds(row));
                if may_be_like && rows.any(|row| rules.alike(flow, &near.flows[row as usize])) {
                    return group;
                }
            }
            previous = group;
            group = next;
        }
        let row = near.place as u32;
        if all_hold {
            self.free[mine as usize] = (self.key, row);
        }
        row
    }

    /// Whether no row can join a group any more, this one or one to come. That is not said of the last:
    /// who stands on one that was left out goes on from there to those that began later.
    fn is_over(&self, group: u32, near: Near<'_>) -> bool {
        self.next[group as usize] != NONE && !near.holds(self.last[group as usize])
    }

    /// Where to look first for a group without that party. They are numbered in their order.
    fn first_without(&mut self, party: u32, near: Near<'_>) -> u32 {
        let party = party as usize;
        if party >= self.free.len() {
            self.free.resize(party + 1, (0, NONE));
        }
        match self.free[party] {
            (key, group) if key == self.key && group > self.head => self.past_over(group, near),
            _ => self.head,
        }
    }

    /// The first from `group` on that may take a row, or else the last. Who comes after goes there at once:
    /// there are as many parties as exporters care to tell.
    fn past_over(&mut self, group: u32, near: Near<'_>) -> u32 {
        let mut open = group;
        while self.is_over(open, near) {
            open = self.next[open as usize];
        }
        let mut over = group;
        while over != open {
            over = std::mem::replace(&mut self.next[over as usize], open);
        }
        open
    }

    fn begin(&mut self, rows: usize) {
        for column in [
            &mut self.of,
            &mut self.before,
            &mut self.last,
            &mut self.count,
            &mut self.next,
        ] {
            column.clear();
            column.resize(rows, NONE);
        }
        self.hints.clear();
        self.hints.resize(rows, Hint::NOTHING);
        self.held.clear();
        (self.head, self.tail) = (NONE, NONE);
        self.key += 1;
    }

    fn join(&mut self, row: u32, group: u32, mine: u32, party: impl Fn(u32) -> u32) {
        let (place, of) = (row as usize, group as usize);
        self.of[place] = group;
        if group == row {
            self.last[of] = row;
            self.count[of] = 1;
            return;
        }
        self.before[place] = self.last[of];
        self.last[of] = row;
        self.count[of] += 1;
        if self.hints_are_exact {
            return;
        }
        if self.count[of] == FEW + 1 {
            let members: Vec<u32> = self.backwards(group).collect();
            let held = members.into_iter().map(|row| (group, party(row)));
            self.held.extend(held);
        } else if self.count[of] > FEW {
            self.held.insert((group, mine));
        }
    }

    fn holds(&self, group: u32, mine: u32, party: impl Fn(u32) -> u32) -> bool {
        let may_hold = self.hints[group as usize].may_hold(mine);
        if !may_hold || self.hints_are_exact {
            return may_hold;
        }
        if self.count[group as usize] > FEW {
            return self.held.contains(&(group, mine));
        }
        self.backwards(group).any(|row| party(row) == mine)
    }

    /// The rows of a group, the last first.
    fn backwards(&self, group: u32) -> impl Iterator<Item = u32> {
        let last = self.last[group as usize];
        std::iter::successors(Some(last), |&row| {
            Some(self.before[row as usize]).filter(|&before| before != NONE)
        })
    }

    /// Calls `found` with the places of the rows of each group of several, in canonical order.
    ///
    /// # Errors
    /// What `found` says; it is not called again then.
    pub(super) fn each_of_several<E>(
        &mut self,
        mut found: impl FnMut(&[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut members = std::mem::take(&mut self.members);
        let mut result = Ok(());
        for (group, &of) in self.of.iter().enumerate() {
            if result.is_ok() && of as usize == group && self.count[group] > 1 {
                members.clear();
                members.extend(self.backwards(of));
                members.reverse();
                result = found(&members);
            }
        }
        self.members = members;
        result
    }
}

#[cfg(test)]
mod tests;
