//! What exporters sent: counted apart, within a limit.

use std::net::IpAddr;

use ahash::RandomState;
use hashlink::LinkedHashMap;

use crate::counters::Tally;

/// What was counted of an exporter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExporterCounters {
    /// What it sent.
    pub received: Tally,
    /// What of it had no place to go to.
    pub rejected: Tally,
    /// Datagrams of it that could not be sent or kept.
    pub failed: u64,
    /// When it was last heard, in nanoseconds since 1970.
    pub last_ns: u64,
}

impl ExporterCounters {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.received.add(other.received);
        self.rejected.add(other.rejected);
        self.failed += other.failed;
        self.last_ns = self.last_ns.max(other.last_ns);
    }
}

/// A thread's exporters. A flood of forged addresses puts out those that were silent the longest, whose counts are added
/// to the others'.
#[derive(Debug)]
pub(crate) struct Exporters {
    limit: usize,
    /// The least recently heard first.
    known: LinkedHashMap<IpAddr, ExporterCounters, RandomState>,
    others: ExporterCounters,
    evicted: u64,
}

impl Exporters {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            known: LinkedHashMap::with_hasher(RandomState::new()),
            others: ExporterCounters::default(),
            evicted: 0,
        }
    }

    /// The counters of the exporter that a datagram came from.
    #[inline]
    pub(crate) fn heard(&mut self, exporter: IpAddr) -> &mut ExporterCounters {
        if !self.known.contains_key(&exporter) {
            if self.known.len() >= self.limit
                && let Some((_, oldest)) = self.known.pop_front()
            {
                self.others.add(&oldest);
                self.evicted += 1;
            }
            self.known.insert(exporter, ExporterCounters::default());
        }
        self.known.to_back(&exporter).unwrap_or(&mut self.others)
    }

    /// Counts a datagram that could not be sent.
    pub(crate) fn failed(&mut self, exporter: IpAddr) {
        let counters = self.known.get_mut(&exporter);
        counters.unwrap_or(&mut self.others).failed += 1;
    }

    /// Counts datagrams that could not be sent, of whom is not known any more.
    pub(crate) const fn others_failed(&mut self, count: u64) {
        self.others.failed += count;
    }

    /// Adds what another counted.
    pub(crate) fn absorb(&mut self, other: &Self) {
        let (others, evicted) = other.others();
        self.others.add(&others);
        self.evicted += evicted;
        for (address, counters) in other.iter() {
            self.known
                .get_mut(&address)
                .unwrap_or(&mut self.others)
                .add(&counters);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpAddr, ExporterCounters)> + '_ {
        self.known
            .iter()
            .map(|(address, counters)| (*address, *counters))
    }

    /// What was counted of those that were put out, and how many that were.
    pub(crate) const fn others(&self) -> (ExporterCounters, u64) {
        (self.others, self.evicted)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_flood_of_addresses_keeps_the_table_and_the_sums() {
        let mut exporters = Exporters::new(100);
        let real = IpAddr::from([192, 0, 2, 1]);
        for forged in 0..10_000 {
            for address in [IpAddr::from(Ipv4Addr::from_bits(forged)), real] {
                exporters
                    .heard(address)
                    .received
                    .add(Tally::of(b"12", false));
            }
        }
        exporters.failed(real);
        exporters.failed([10, 10, 10, 10].into());
        assert_eq!(exporters.iter().count(), 100);
        let (others, evicted) = exporters.others();
        assert_eq!(evicted, 10_000 + 1 - 100);
        let mut sum = others;
        for (address, counters) in exporters.iter() {
            sum.add(&counters);
            assert_eq!(address == real, counters.received.datagrams == 10_000);
            assert_eq!(counters.failed, u64::from(address == real));
        }
        assert_eq!(
            (sum.received.datagrams, sum.received.bytes),
            (20_000, 40_000)
        );
        assert_eq!(sum.failed, 2);
    }
}
