//! What a router is doing, for those who watch it: read between batches, never on the hot path.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::counters::{Counters, Reasons, TargetCounters};
use crate::exporters::ExporterCounters;
use crate::forwarder::RouteCounters;
use crate::templates::TemplateCounts;

/// What of the unreadable was for this router: of the rest that is not known, for it may be parts of others' datagrams.
const UNREADABLE_HERE: [&str; 2] = ["truncated", "checksum"];

/// An exporter and what was counted of it.
pub type Exporter = (IpAddr, ExporterCounters);

/// What one thread last told.
#[derive(Debug, Clone, Default)]
pub struct ThreadStatus {
    /// All of it.
    pub counters: Counters,
    /// By route.
    pub routes: Vec<RouteCounters>,
    /// By address that datagrams go to.
    pub targets: Vec<(SocketAddr, TargetCounters)>,
    /// By exporter.
    pub exporters: Vec<Exporter>,
    /// Of exporters that were put out by others, and how many they were.
    pub others: (ExporterCounters, u64),
    /// What is known of templates.
    pub templates: TemplateCounts,
    /// Datagrams that the kernel dropped because the thread's socket or ring was full.
    pub kernel_drops: u64,
    /// What the input could not hand over, by reason: packets that were no whole datagram.
    pub unreadable: Vec<(&'static str, u64)>,
}

/// An address that datagrams go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStatus {
    /// The address.
    pub address: SocketAddr,
    /// Whether somebody is there, as far as can be known.
    pub up: bool,
    /// What went there.
    pub counters: TargetCounters,
}

/// What a router is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The threads.
    pub threads: Vec<ThreadStatus>,
    /// Whether the addresses that datagrams go to now are up.
    pub up: Vec<(SocketAddr, bool)>,
    /// How often the configuration was replaced.
    pub reloads: u64,
    /// How often that was refused, because the new one was wrong.
    pub reloads_failed: u64,
}

impl Status {
    /// All threads' counters added up.
    #[must_use]
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        for thread in &self.threads {
            total.add(&thread.counters);
        }
        total
    }

    /// What the threads counted by route.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteCounters> {
        let mut routes: Vec<RouteCounters> = Vec::new();
        for of_thread in self.threads.iter().flat_map(|thread| &thread.routes) {
            let same = |known: &&mut RouteCounters| known.versions == of_thread.versions;
            let Some(known) = routes.iter_mut().find(same) else {
                routes.push(of_thread.clone());
                continue;
            };
            known.received.add(of_thread.received);
            let more = of_thread.shards.len().max(known.shards.len());
            known.shards.resize(more, Default::default());
            for (known, shard) in known.shards.iter_mut().zip(&of_thread.shards) {
                known.add(*shard);
            }
        }
        routes
    }

    /// The addresses that datagrams go to now.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let counters = |address: SocketAddr| {
            let mut sum = TargetCounters::default();
            let targets = self.threads.iter().flat_map(|thread| &thread.targets);
            for (_, counters) in targets.filter(|(of, _)| *of == address) {
                sum.add(counters);
            }
            sum
        };
        let up = self.up.iter();
        up.map(|&(address, up)| TargetStatus {
            address,
            up,
            counters: counters(address),
        })
        .collect()
    }

    /// What the threads counted by exporter.
    #[must_use]
    pub fn exporters(&self) -> BTreeMap<IpAddr, ExporterCounters> {
        let mut exporters: BTreeMap<IpAddr, ExporterCounters> = BTreeMap::new();
        for (address, counters) in self.threads.iter().flat_map(|thread| &thread.exporters) {
            exporters.entry(*address).or_default().add(counters);
        }
        exporters
    }

    /// How many exporters are known: each is one thread's.
    #[must_use]
    pub fn exporter_count(&self) -> usize {
        self.threads
            .iter()
            .map(|thread| thread.exporters.len())
            .sum()
    }

    /// What was counted of exporters that were put out, and how many they were.
    #[must_use]
    pub fn others(&self) -> (ExporterCounters, u64) {
        let mut sum = (ExporterCounters::default(), 0);
        for thread in &self.threads {
            sum.0.add(&thread.others.0);
            sum.1 += thread.others.1;
        }
        sum
    }

    /// What is known of templates.
    #[must_use]
    pub fn templates(&self) -> TemplateCounts {
        let mut sum = TemplateCounts::default();
        for thread in &self.threads {
            sum.add(&thread.templates);
        }
        sum
    }

    /// Datagrams that the kernel dropped.
    #[must_use]
    pub fn kernel_drops(&self) -> u64 {
        self.threads.iter().map(|thread| thread.kernel_drops).sum()
    }

    /// What the inputs could not hand over, by reason.
    #[must_use]
    pub fn unreadable(&self) -> BTreeMap<&'static str, u64> {
        let mut sum = BTreeMap::new();
        for (reason, count) in self.threads.iter().flat_map(|thread| &thread.unreadable) {
            *sum.entry(*reason).or_default() += count;
        }
        sum
    }

    /// Those of the unreadable that are known to have been for this router, by reason.
    #[must_use]
    pub fn unreadable_here(&self) -> Reasons {
        let mut here = Reasons::default();
        let unreadable = self.unreadable().into_iter();
        for (reason, count) in unreadable.filter(|(reason, _)| UNREADABLE_HERE.contains(reason)) {
            if count > 0 {
                here.add(reason, count);
            }
        }
        here
    }

    /// Whether anything that came was not sent on, or was to a collector that was known to be down.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        let total = self.total();
        let unreadable = self.unreadable_here().total();
        let not_sent = total.rejected.total() + total.failed.total();
        self.kernel_drops() + unreadable + not_sent + total.sent_while_down > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_to_a_collector_known_to_be_down_is_a_loss() {
        let mut status = Status::default();
        status.threads.resize_with(1, ThreadStatus::default);
        status.threads[0].counters.forwarded.datagrams = 2;
        assert!(!status.has_losses());
        status.threads[0].counters.sent_while_down = 1;
        assert!(status.has_losses());
    }

    #[test]
    fn what_was_for_this_router_and_not_sent_on_is_a_loss() {
        let status = |unreadable: &[(&'static str, u64)]| Status {
            threads: vec![ThreadStatus {
                unreadable: unreadable.to_vec(),
                ..ThreadStatus::default()
            }],
            ..Status::default()
        };
        assert!(!status(&[("truncated", 0), ("checksum", 0)]).has_losses());
        assert!(!status(&[("fragments_expired", 1), ("malformed", 1)]).has_losses());
        for reason in UNREADABLE_HERE {
            assert!(
                status(&[("malformed", 0), (reason, 1)]).has_losses(),
                "{reason}"
            );
        }
    }
}
