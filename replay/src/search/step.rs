//! One step of a search: what was sent at a rate, and what became of it.

use serde::Serialize;

use super::limit::Verdict;
use super::probe::{Counted, Probe, ProbeError, Reading};

/// What of the sent bytes may wait in the sockets' buffers when sending ends. A collector that is slower than it is sent
/// to loses nothing until the buffer is full, which may be after the step.
const WAITING_SHARE: f64 = 0.02;

/// What may wait there in any case: a collector may take datagrams in batches.
const WAITING_LEAST: u64 = 1 << 20;

/// What was sent in a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Sent {
    /// Datagrams that the system took.
    pub datagrams: u64,
    /// Their flows (data records).
    pub flows: u64,
    /// Their bytes (UDP payload).
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// How many times the system refused to send.
    pub errors: u64,
    /// How late the latest datagram was, in microseconds. The sender catches up with what is late: a burst of that
    /// length followed.
    pub latest_us: f64,
}

impl Sent {
    /// Flows a second.
    #[must_use]
    pub fn flows_per_second(&self) -> f64 {
        per(self.flows as f64, self.seconds)
    }

    /// Datagrams a second.
    #[must_use]
    pub fn datagrams_per_second(&self) -> f64 {
        per(self.datagrams as f64, self.seconds)
    }

    /// So many datagrams in flows, by the mean of what was sent.
    fn flows_of(&self, datagrams: u64) -> u64 {
        let flows = u128::from(datagrams) * u128::from(self.flows);
        let flows = flows.div_ceil(u128::from(self.datagrams.max(1)));
        u64::try_from(flows).unwrap_or(u64::MAX)
    }

    /// What is missing, in flows, where a count has grown by so much.
    fn missing(&self, of: Counted, grown: u64) -> u64 {
        match of {
            Counted::ReceivedRecords | Counted::StoredRecords => self.flows.saturating_sub(grown),
            Counted::ReceivedDatagrams | Counted::ForwardedDatagrams => {
                self.flows_of(self.datagrams.saturating_sub(grown))
            }
            Counted::DroppedDatagrams => self.flows_of(grown),
        }
    }
}

/// Of nothing in no time there is nothing.
fn per(of: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { of / seconds } else { 0.0 }
}

/// What a probe counted during a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grown {
    /// The probe.
    pub probe: String,
    /// What it counts.
    pub of: Counted,
    /// By how much that has grown.
    pub count: u64,
    /// How many flows are missing by that: a datagram counts as the mean of those sent.
    pub missing_flows: u64,
}

impl Grown {
    /// How a probe's counts have grown.
    pub(super) fn since(
        probe: &Probe,
        before: &Reading,
        after: &Reading,
        sent: &Sent,
    ) -> Result<Vec<Self>, ProbeError> {
        let pairs = before.counts.iter().zip(&after.counts);
        let grown = pairs.map(|(before, after)| {
            let went_back = || ProbeError::WentBack {
                probe: probe.to_string(),
                before: before.count,
                after: after.count,
            };
            let count = after.count.checked_sub(before.count);
            let count = count.ok_or_else(went_back)?;
            Ok(Self {
                probe: probe.to_string(),
                of: after.of,
                count,
                missing_flows: sent.missing(after.of, count),
            })
        });
        grown.collect()
    }

    /// Whether it is more than was sent: then loss may hide in it.
    #[must_use]
    pub const fn is_more_than(&self, sent: &Sent) -> bool {
        match self.of {
            Counted::ReceivedRecords | Counted::StoredRecords => self.count > sent.flows,
            Counted::ReceivedDatagrams | Counted::ForwardedDatagrams => self.count > sent.datagrams,
            Counted::DroppedDatagrams => false,
        }
    }

    /// Whether more may still come.
    pub(super) fn may_grow(&self) -> bool {
        self.of != Counted::DroppedDatagrams && self.missing_flows > 0
    }
}

/// A step, measured and judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Which it is, from 1.
    pub number: u32,
    /// The rate that was asked for, in flows a second.
    pub asked_flows_per_second: f64,
    /// The rate that the sender reached: what was offered to the collector.
    pub offered_flows_per_second: f64,
    /// The same in datagrams.
    pub offered_datagrams_per_second: f64,
    /// What of it arrived.
    pub received_flows_per_second: f64,
    /// What was sent.
    pub sent: Sent,
    /// What is missing of it, by the probe that misses most.
    pub lost_flows: u64,
    /// The same as a share of what was sent.
    pub lost_share: f64,
    /// What waited in the sockets' buffers when sending ended, as the kernel accounts it.
    pub waiting_bytes: Option<u64>,
    /// Whether that was so much that the collector was slower than it was sent to, even if nothing was lost yet.
    pub fell_behind: bool,
    /// Whether everything arrived, and in time.
    pub held: bool,
    /// How long it took after sending until all counts were in.
    pub settled_seconds: f64,
    /// CPU time of the collector's process, from the first datagram until all counts were in.
    pub cpu_seconds: Option<f64>,
    /// The same for a million flows of those that arrived.
    pub cpu_seconds_per_million_flows: Option<f64>,
    /// Its resident memory when sending ended.
    pub memory_bytes: Option<u64>,
    /// What each probe counted.
    pub counts: Vec<Grown>,
}

/// What was measured in a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    pub(super) sent: Sent,
    pub(super) counts: Vec<Grown>,
    pub(super) waiting_bytes: Option<u64>,
    pub(super) settled_seconds: f64,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) memory_bytes: Option<u64>,
}

impl Step {
    /// Judges what was measured.
    pub(super) fn new(number: u32, asked: f64, measured: Measured) -> Self {
        let Measured {
            sent,
            counts,
            waiting_bytes,
            settled_seconds,
            cpu_seconds,
            memory_bytes,
        } = measured;
        let missing = counts.iter().map(|grown| grown.missing_flows);
        // Drops of several sockets, as fragments may be, can be more than was sent.
        let lost_flows = missing.max().unwrap_or(0).min(sent.flows);
        let received = sent.flows - lost_flows;
        let may_wait = (sent.bytes as f64 * WAITING_SHARE) as u64;
        let fell_behind =
            waiting_bytes.is_some_and(|waiting| waiting > may_wait.max(WAITING_LEAST));
        Self {
            number,
            asked_flows_per_second: asked,
            offered_flows_per_second: sent.flows_per_second(),
            offered_datagrams_per_second: sent.datagrams_per_second(),
            received_flows_per_second: per(received as f64, sent.seconds),
            sent,
            lost_flows,
            lost_share: lost_flows as f64 / sent.flows.max(1) as f64,
            waiting_bytes,
            fell_behind,
            held: lost_flows == 0 && !fell_behind,
            settled_seconds,
            cpu_seconds,
            cpu_seconds_per_million_flows: cpu_seconds
                .filter(|_| received > 0)
                .map(|seconds| seconds * 1e6 / received as f64),
            memory_bytes,
            counts,
        }
    }

    /// What the search goes by.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict {
            asked: self.asked_flows_per_second,
            reached: self.offered_flows_per_second,
            held: self.held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::probe::Count;
    use super::*;

    const SENT: Sent = Sent {
        datagrams: 1_000,
        flows: 24_500,
        bytes: 100_000_000,
        seconds: 2.0,
        errors: 0,
        latest_us: 0.0,
    };

    fn reading(counts: &[(Counted, u64)]) -> Reading {
        let counts = counts.iter().map(|&(of, count)| Count { of, count });
        Reading {
            counts: counts.collect(),
            waiting_bytes: None,
        }
    }

    fn missing(of: Counted, before: u64, after: u64) -> u64 {
        let [before, after] = [before, after].map(|count| reading(&[(of, count)]));
        let grown = Grown::since(&Probe::kernel(1), &before, &after, &SENT).expect("it grows");
        grown[0].missing_flows
    }

    #[test]
    fn loss_is_counted_in_flows() {
        assert_eq!(missing(Counted::ReceivedRecords, 10, 24_510), 0);
        assert_eq!(missing(Counted::StoredRecords, 10, 24_000), 510);
        // More than was sent: somebody else sends too, or it counts otherwise.
        assert_eq!(missing(Counted::StoredRecords, 0, 30_000), 0);
        // A datagram has 24.5 flows in the mean.
        assert_eq!(missing(Counted::DroppedDatagrams, 7, 8), 25);
        assert_eq!(missing(Counted::DroppedDatagrams, 7, 9), 49);
        assert_eq!(missing(Counted::DroppedDatagrams, 7, 7), 0);
        assert_eq!(missing(Counted::ForwardedDatagrams, 0, 900), 2_450);
    }

    #[test]
    fn what_is_counted_beyond_what_was_sent_is_seen() {
        let is_more = |of, count| {
            let [before, after] = [0, count].map(|count| reading(&[(of, count)]));
            let grown = Grown::since(&Probe::kernel(1), &before, &after, &SENT).expect("it grows");
            grown[0].is_more_than(&SENT)
        };
        for (of, sent) in [
            (Counted::ReceivedRecords, 24_500),
            (Counted::StoredRecords, 24_500),
            (Counted::ReceivedDatagrams, 1_000),
            (Counted::ForwardedDatagrams, 1_000),
        ] {
            assert!(!is_more(of, sent) && is_more(of, sent + 1), "{of:?}");
        }
        assert!(!is_more(Counted::DroppedDatagrams, 2_000));
    }

    #[test]
    fn a_count_that_goes_back_is_told() {
        let [before, after] = [5, 4].map(|count| reading(&[(Counted::StoredRecords, count)]));
        let probe = Probe::command("wc -l", std::time::Duration::ZERO);
        let error = Grown::since(&probe, &before, &after, &SENT).expect_err("it went back");
        let error = error.to_string();
        assert!(
            error.contains("command:wc -l") && error.contains("from 5 to 4"),
            "{error}"
        );
    }

    #[test]
    fn the_probe_that_misses_most_decides() {
        let grown = |of, missing_flows| Grown {
            probe: String::new(),
            of,
            count: 0,
            missing_flows,
        };
        let measured = Measured {
            sent: SENT,
            counts: vec![
                grown(Counted::StoredRecords, 2_450),
                grown(Counted::DroppedDatagrams, 25),
            ],
            cpu_seconds: Some(0.5),
            ..Measured::default()
        };
        let step = Step::new(1, 12_000.0, measured);
        assert!(!step.held);
        assert_eq!(step.lost_flows, 2_450);
        assert_eq!(step.lost_share, 0.1);
        assert_eq!(step.offered_flows_per_second, 12_250.0);
        assert_eq!(step.received_flows_per_second, 11_025.0);
        let cpu = step.cpu_seconds_per_million_flows.expect("it was measured");
        assert!((cpu - 22.675_736).abs() < 1e-5, "{cpu}");
    }

    #[test]
    fn what_waits_in_the_buffer_is_not_received_in_time() {
        let step = |waiting_bytes| {
            let measured = Measured {
                sent: SENT,
                waiting_bytes,
                ..Measured::default()
            };
            Step::new(1, 1.0, measured)
        };
        assert!(step(None).held);
        assert!(step(Some(2_000_000)).held);
        let behind = step(Some(2_000_001));
        assert!(behind.fell_behind && !behind.held && behind.lost_flows == 0);
    }

    #[test]
    fn of_nothing_there_is_nothing() {
        let step = Step::new(1, 1.0, Measured::default());
        assert_eq!(step.offered_flows_per_second, 0.0);
        assert_eq!(step.lost_share, 0.0);
        assert_eq!(step.cpu_seconds_per_million_flows, None);
    }
}
