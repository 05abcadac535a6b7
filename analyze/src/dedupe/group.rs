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
    /// By group: what tells of many that they cannot be in it, or like a row of it.
    hints: Vec<Hint>,
    /// Parties in groups of many rows.
    held: NumberSet<(u32, u32)>,
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

    fn bit(party: u32) -> (usize, u64) {
        let bit = party % (4 * u64::BITS);
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

impl Groups {
    /// Groups `flows`, which are of one key and in canonical order. `party` tells of an origin to which
    /// exporter and domain it belongs.
    pub(super) fn find(&mut self, flows: &[Flow], rules: &Rules, party: &[u32]) {
        self.begin(flows.len());
        let party = |row: u32| {
            let origin = flows.get(row as usize).map(|flow| flow.origin as usize);
            origin
                .and_then(|origin| party.get(origin))
                .copied()
                .unwrap_or(NONE)
        };
        // The groups that may take a row: the first, and the last that began.
        let (mut head, mut tail) = (NONE, NONE);
        for (place, flow) in flows.iter().enumerate() {
            let row = place as u32;
            let mine = party(row);
            let earliest = flow.first_us.saturating_sub_unsigned(rules.start_delta_us);
            let looked = place.saturating_sub(LOOK_BACK);
            let is_near =
                |other: u32| other as usize >= looked && flows[other as usize].first_us >= earliest;
            let (mut found, mut previous, mut group) = (NONE, NONE, head);
            while group != NONE {
                let next = self.next[group as usize];
                if !is_near(self.last[group as usize]) {
                    // Nor will any row to come be near it.
                    match previous {
                        NONE => head = next,
                        previous => self.next[previous as usize] = next,
                    }
                    if next == NONE {
                        tail = previous;
                    }
                } else {
                    let may_be_like = self.hints[group as usize].may_be_like(flow, rules);
                    let mut near = self.backwards(group).take_while(|&other| is_near(other));
                    if may_be_like
                        && (rules.within || !self.holds(group, mine, party))
                        && near.any(|other| rules.alike(flow, &flows[other as usize]))
                    {
                        found = group;
                        break;
                    }
                    previous = group;
                }
                group = next;
            }
            if looked > 0 && flows[looked - 1].first_us >= earliest {
                self.cut += 1;
            }
            if found == NONE {
                match tail {
                    NONE => head = row,
                    tail => self.next[tail as usize] = row,
                }
                tail = row;
            }
            self.join(row, found, mine, party);
            self.hints[self.of[place] as usize].add(mine, flow);
        }
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
    }

    fn join(&mut self, row: u32, group: u32, mine: u32, party: impl Fn(u32) -> u32) {
        let place = row as usize;
        let group = if group == NONE { row } else { group };
        let of = group as usize;
        self.of[place] = group;
        if group == row {
            self.last[of] = row;
            self.count[of] = 1;
            return;
        }
        self.before[place] = self.last[of];
        self.last[of] = row;
        self.count[of] += 1;
        if self.count[of] == FEW + 1 {
            let members: Vec<u32> = self.backwards(group).collect();
            let held = members.into_iter().map(|row| (group, party(row)));
            self.held.extend(held);
        } else if self.count[of] > FEW {
            self.held.insert((group, mine));
        }
    }

    fn holds(&self, group: u32, mine: u32, party: impl Fn(u32) -> u32) -> bool {
        if !self.hints[group as usize].may_hold(mine) {
            return false;
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
    pub(super) fn each_of_several(&self, mut found: impl FnMut(&[u32])) {
        let mut members = Vec::new();
        for (group, &of) in self.of.iter().enumerate() {
            if of as usize == group && self.count[group] > 1 {
                members.clear();
                members.extend(self.backwards(of));
                members.reverse();
                found(&members);
            }
        }
    }
}

#[cfg(test)]
mod tests;
