//! Flows that several exporters see, as one that passes several routers.

use super::flow::{Flow, Place};
use super::population::Family;
use super::random::Random;
use super::truth::Duplicates;

/// How many flows of each address family may be told again.
const KEPT: usize = 4096;
/// How many exporters tell a flow at most.
const TELLERS: usize = 4;
/// How many of them are looked at for one that this exporter has not told.
const TRIES: u32 = 16;

/// What was told lately.
#[derive(Debug, Default)]
pub(crate) struct Told {
    ipv4: Vec<Entry>,
    ipv6: Vec<Entry>,
    repeated: Duplicates,
}

#[derive(Debug)]
struct Entry {
    flow: Flow,
    /// The exporters that have told it.
    tellers: [u32; TELLERS],
    count: usize,
}

impl Told {
    /// What was told again so far.
    pub(crate) const fn repeated(&self) -> Duplicates {
        self.repeated
    }

    /// Flows that another exporter has told and this one not: up to `wanted`, as far as some are found.
    pub(crate) fn again(
        &mut self,
        wanted: usize,
        family: Family,
        place: Place,
        now_ms: u64,
        random: &mut Random,
    ) -> Vec<Flow> {
        let Self {
            ipv4,
            ipv6,
            repeated,
        } = self;
        let kept = match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        };
        let mut flows = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let tries = (0..TRIES).filter_map(|_| {
                // No more than are kept.
                let length = kept.len() as u32;
                (length > 0).then(|| random.below(length) as usize)
            });
            let found = tries.into_iter().find(|&index| {
                let entry = &kept[index];
                let tellers = &entry.tellers[..entry.count];
                // An IPFIX header has whole seconds, and no flow ends after it.
                entry.flow.last_ms <= now_ms && !tellers.contains(&place.exporter)
            });
            let Some(index) = found else { break };
            let entry = &mut kept[index];
            let flow = entry.flow.seen_at(place);
            entry.tellers[entry.count] = place.exporter;
            entry.count += 1;
            if entry.count == TELLERS {
                kept.swap_remove(index);
            }
            repeated.flows += 1;
            repeated.packets += flow.packets;
            repeated.bytes += flow.bytes;
            flows.push(flow);
        }
        flows
    }

    /// Keeps flows that an exporter has told, some in place of others.
    pub(crate) fn remember(
        &mut self,
        flows: &[Flow],
        family: Family,
        place: Place,
        random: &mut Random,
    ) {
        let kept = match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        };
        for &flow in flows {
            let mut tellers = [0; TELLERS];
            tellers[0] = place.exporter;
            let entry = Entry {
                flow,
                tellers,
                count: 1,
            };
            if kept.len() < KEPT {
                kept.push(entry);
            } else {
                kept[random.below(KEPT as u32) as usize] = entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::population::Population;
    use super::*;

    #[test]
    fn a_flow_is_told_by_up_to_four_once_each_and_all_but_the_first_are_counted() {
        let population = Population::new(7, 1000);
        let mut random = Random::new(3);
        let mut told = Told::default();
        let mut tellers: HashMap<u64, Vec<u32>> = HashMap::new();
        let mut sums = Duplicates::default();
        for turn in 0..3000 {
            let place = Place {
                exporter: random.below(7),
                access_interfaces: 4,
            };
            let now_ms = 1_700_000_000_000 + turn;
            let again = told.again(6, Family::Ipv4, place, now_ms, &mut random);
            let new: Vec<Flow> = (0..4)
                .map(|_| {
                    let key = population.key(population.draw(&mut random), Family::Ipv4);
                    Flow::draw(key, Family::Ipv4, place, now_ms, &mut random)
                })
                .collect();
            told.remember(&new, Family::Ipv4, place, &mut random);
            for flow in &again {
                assert!(flow.last_ms <= now_ms);
                sums.flows += 1;
                sums.packets += flow.packets;
                sums.bytes += flow.bytes;
                let before = &tellers[&flow.identity()];
                assert!(!before.contains(&place.exporter), "twice by one");
            }
            for flow in again.iter().chain(&new) {
                tellers
                    .entry(flow.identity())
                    .or_default()
                    .push(place.exporter);
            }
        }
        assert_eq!(tellers.len(), 12_000);
        assert!(tellers.values().all(|of| of.len() <= TELLERS));
        assert!(tellers.values().any(|of| of.len() == TELLERS));
        let again: usize = tellers.values().map(|of| of.len() - 1).sum();
        assert_eq!(again as u64, sums.flows);
        assert_eq!(told.repeated(), sums);
        // Of the other family nothing was told.
        let place = Place {
            exporter: 99,
            access_interfaces: 4,
        };
        assert!(
            told.again(1, Family::Ipv6, place, u64::MAX, &mut random)
                .is_empty()
        );
    }
}
