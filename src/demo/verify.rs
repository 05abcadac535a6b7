//! What was sent against what the collector counted and what is in the files.

use std::collections::BTreeMap;

use forebay_collector::DomainStatus;
use forebay_replay::generate::ExporterTruth;

use super::Run;
use super::tally::{Sums, Tally};
use crate::progress::thousands;

/// Every count that is not as it must be.
///
/// Where the kernel dropped datagrams, what they held is missing, and which they were nobody knows: then the sums are
/// compared that must agree all the same.
pub(super) fn differences(run: &Run, tally: &Tally) -> Vec<String> {
    let mut found = Vec::new();
    let (truth, counted) = (&run.sent.truth, run.status.total());
    let dropped = run.status.kernel_drops();
    let mut compare = |what: &str, is: u64, must: u64| {
        if is != must {
            found.push(format!(
                "{what}: {} instead of {}",
                thousands(is),
                thousands(must)
            ));
        }
    };
    compare(
        "datagrams received, with those that the kernel dropped",
        counted.datagrams + dropped,
        truth.total.datagrams,
    );
    compare("messages decoded", counted.messages, counted.datagrams);
    compare("flows written", run.status.files.stored, counted.records);
    compare("flows in files", tally.total().flows, counted.records);
    if dropped == 0 {
        compare(
            "datagrams missing by sequence numbers",
            counted.sequence_lost,
            0,
        );
        let domains = run.status.domains();
        let by_sender: BTreeMap<(&str, u8), &DomainStatus> = domains
            .iter()
            .map(|(key, domain)| ((key.exporter.as_ref(), key.version), domain))
            .collect();
        compare(
            "exporters",
            by_sender.len() as u64,
            truth.exporters.len() as u64,
        );
        compare(
            "exporters in files",
            tally.senders.len() as u64,
            truth.exporters.len() as u64,
        );
        for exporter in &truth.exporters {
            let address = exporter.source.ip().to_string();
            let domain = by_sender
                .get(&(address.as_str(), exporter.version))
                .copied();
            let sums = tally.senders.get(&(address.clone(), exporter.version));
            let counts = counts(exporter, domain, sums.copied().unwrap_or_default());
            for (what, is, must) in counts {
                compare(
                    &format!("{address}, version {}: {what}", exporter.version),
                    is,
                    must,
                );
            }
        }
    }
    found
}

/// What of an exporter is compared: what it is, and what it must be.
fn counts(
    truth: &ExporterTruth,
    domain: Option<&DomainStatus>,
    sums: Sums,
) -> [(&'static str, u64, u64); 12] {
    let must = &truth.counts;
    let counters = domain
        .map(|domain| domain.counters.clone())
        .unwrap_or_default();
    [
        ("datagrams", counters.datagrams, must.datagrams),
        ("datagram bytes", counters.octets, must.datagram_bytes),
        ("records", counters.records, must.flows),
        (
            "options records",
            counters.options_records,
            must.options_records,
        ),
        (
            "templates",
            counters.templates,
            must.templates + must.options_templates,
        ),
        ("flows", sums.flows, must.flows),
        ("IPv4 flows", sums.flows_ipv4, must.flows_ipv4),
        ("IPv6 flows", sums.flows_ipv6, must.flows_ipv6),
        ("packets", sums.packets, must.packets),
        ("bytes", sums.bytes, must.bytes),
        (
            "reverse packets",
            sums.reverse_packets,
            must.reverse_packets,
        ),
        ("reverse bytes", sums.reverse_bytes, must.reverse_bytes),
    ]
}

#[cfg(test)]
mod tests;
