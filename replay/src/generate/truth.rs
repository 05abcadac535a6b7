//! What was generated: what a collector must find.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::config::GenerateConfig;

/// What was generated, counted while it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// What was asked for.
    pub config: GenerateConfig,
    /// All together.
    pub total: Counts,
    /// Different 5-tuples: addresses, ports and protocol. The type and code of ICMP are its destination port; a count
    /// without them comes to the same.
    pub distinct_5_tuples: u64,
    /// Those of IPv4.
    pub distinct_5_tuples_ipv4: u64,
    /// Those of IPv6.
    pub distinct_5_tuples_ipv6: u64,
    /// Of the flows, those that another exporter had told before: the same 5-tuple and counters, and times that differ by
    /// less than a second, for not every layout tells them exactly. Others may be alike by chance: single packets of the
    /// most frequent keys at almost the same time.
    pub duplicates: Duplicates,
    /// By version, in the order 5, 9, 10. A version that no exporter sends is left out.
    pub versions: Vec<VersionTruth>,
    /// By exporter.
    pub exporters: Vec<ExporterTruth>,
    /// When the first message left, in nanoseconds since 1970 UTC.
    pub first_message_ns: u64,
    /// When the last message left.
    pub last_message_ns: u64,
}

/// Flows that several exporters saw, but for the first time that each was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicates {
    /// How many.
    pub flows: u64,
    /// Sum of their packets.
    pub packets: u64,
    /// Sum of their bytes.
    pub bytes: u64,
}

/// What was generated in one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionTruth {
    /// 5, 9 or 10.
    pub version: u8,
    /// How many exporters send it.
    pub exporters: usize,
    /// What they sent.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What one exporter sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExporterTruth {
    /// Where its messages come from. Port 0 is one that is not known.
    pub source: SocketAddr,
    /// 5, 9 or 10.
    pub version: u8,
    /// The layout of its records.
    pub layout: String,
    /// Its only observation domain.
    pub observation_domain: u32,
    /// One of so many packets was looked at; none where the exporter does not tell.
    pub sampling_rate: Option<u32>,
    /// What it sent.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages, of which each is a datagram.
    pub datagrams: u64,
    /// Their bytes, without those of UDP and IP.
    pub datagram_bytes: u64,
    /// Flow records, events among them.
    pub flows: u64,
    /// Flow records of IPv4.
    pub flows_ipv4: u64,
    /// Flow records of IPv6.
    pub flows_ipv6: u64,
    /// Flow records that tell of an address translation (element 230) and have no counters.
    pub nat_events: u64,
    /// Sum of the packets, as exported.
    pub packets: u64,
    /// Sum of the bytes, as exported.
    pub bytes: u64,
    /// Sum of the packets of the reverse direction (RFC 5103).
    pub reverse_packets: u64,
    /// Sum of the bytes of the reverse direction.
    pub reverse_bytes: u64,
    /// Template records, each time they were sent.
    pub templates: u64,
    /// Options template records, each time they were sent.
    pub options_templates: u64,
    /// Options data records.
    pub options_records: u64,
    /// By how much the sequence numbers say that more was sent: nothing is left out.
    pub sequence_lost: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            datagrams,
            datagram_bytes,
            flows,
            flows_ipv4,
            flows_ipv6,
            nat_events,
            packets,
            bytes,
            reverse_packets,
            reverse_bytes,
            templates,
            options_templates,
            options_records,
            sequence_lost,
        } = other;
        self.datagrams += datagrams;
        self.datagram_bytes += datagram_bytes;
        self.flows += flows;
        self.flows_ipv4 += flows_ipv4;
        self.flows_ipv6 += flows_ipv6;
        self.nat_events += nat_events;
        self.packets += packets;
        self.bytes += bytes;
        self.reverse_packets += reverse_packets;
        self.reverse_bytes += reverse_bytes;
        self.templates += templates;
        self.options_templates += options_templates;
        self.options_records += options_records;
        self.sequence_lost += sequence_lost;
    }
}

impl Truth {
    /// Sums up what the exporters sent.
    pub(crate) fn sum(
        config: GenerateConfig,
        exporters: Vec<ExporterTruth>,
        [distinct_ipv4, distinct_ipv6]: [u64; 2],
        duplicates: Duplicates,
        last_message_ns: u64,
    ) -> Self {
        let mut total = Counts::default();
        for exporter in &exporters {
            total.add(&exporter.counts);
        }
        let versions = [5, 9, 10].into_iter().filter_map(|version| {
            let mut counts = Counts::default();
            let senders = exporters
                .iter()
                .filter(|exporter| exporter.version == version);
            let count = senders.map(|exporter| counts.add(&exporter.counts)).count();
            (count > 0).then_some(VersionTruth {
                version,
                exporters: count,
                counts,
            })
        });
        Self {
            total,
            distinct_5_tuples: distinct_ipv4 + distinct_ipv6,
            distinct_5_tuples_ipv4: distinct_ipv4,
            distinct_5_tuples_ipv6: distinct_ipv6,
            duplicates,
            versions: versions.collect(),
            exporters,
            first_message_ns: config.start_ns,
            last_message_ns,
            config,
        }
    }
}
