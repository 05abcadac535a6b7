//! What a collector tells people: of its buffers, on the status line, at the end.

use std::collections::BTreeSet;
use std::time::Instant;

use forebay_collector::{Counters, Scope, Status};

use crate::progress::{Rates, counted, thousands};
use crate::units::Size;

/// Bursts that do not fit the buffer are lost, so a smaller one than asked for is worth a line.
pub(crate) fn warn_of_small_buffer(granted: usize, wanted: usize) {
    if granted < wanted {
        let (granted, asked) = (Size(granted as u64), Size(wanted as u64));
        tracing::warn!(
            "the receive buffer is {granted}, not {asked}: longer bursts are lost; \
             sudo sysctl -w net.core.rmem_max={wanted}, or a smaller --receive-buffer"
        );
    }
}

/// The line at the bottom of the terminal.
pub(super) fn status_line(status: &Status, rates: &mut Rates, now: Instant) -> String {
    let total = status.total();
    let mut text = format!(
        "{} flows/s  {} of {}  {}",
        thousands(rates.per_second(total.records, now)),
        counted(total.records, "flow"),
        counted(heard(status) as u64, "exporter"),
        losses(status, &total)
    );
    if status.files.paused {
        text.push_str("  little space: settling waits");
    }
    text
}

/// The exporters that sent something: others are known by the templates of an earlier run.
fn heard(status: &Status) -> usize {
    let domains = status.shards.iter().flat_map(|shard| &shard.domains);
    let heard = domains.filter(|domain| domain.counters.datagrams > 0);
    let addresses: BTreeSet<&str> = heard.map(|domain| &*domain.exporter).collect();
    addresses.len()
}

/// What has happened.
pub(super) fn ended(status: &Status) -> String {
    let (total, files) = (status.total(), &status.files);
    let mut text = format!(
        "{} of {}, {} stored; {}",
        counted(total.datagrams, "datagram"),
        counted(heard(status) as u64, "exporter"),
        counted(files.stored, "flow"),
        losses(status, &total)
    );
    if files.recovered_flows > 0 {
        text.push_str(&format!(
            "; {} of an earlier run settled",
            counted(files.recovered_flows, "flow")
        ));
    }
    if files.segments_waiting > 0 {
        text.push_str(&format!(
            "; {} wait for the next start",
            counted(files.segments_waiting as u64, "segment")
        ));
    }
    if files.files_removed > 0 {
        text.push_str(&format!(
            "; {} removed by retention",
            counted(files.files_removed, "file")
        ));
    }
    if files.segments_failed > 0 {
        text.push_str(&format!(
            "; not settled: {}",
            counted(files.segments_failed, "segment")
        ));
    }
    text
}

/// As [`ended`], in fields.
pub(super) fn log(status: &Status) {
    let total = status.total();
    tracing::info!(
        datagrams = total.datagrams,
        records = total.records,
        stored = status.files.stored,
        kernel_drops = status.kernel_drops(),
        sequence_lost = total.sequence_lost,
        datagrams_rejected = total.reasons.total(Scope::Datagram),
        sets_lost = total.reasons.total(Scope::Set),
        records_lost = total.reasons.total(Scope::Record),
        segments_waiting = status.files.segments_waiting,
        "ended"
    );
}

/// What was lost, where, and why; or that nothing was.
fn losses(status: &Status, total: &Counters) -> String {
    let mut parts = Vec::new();
    if status.kernel_drops() > 0 {
        parts.push(format!(
            "{} dropped here",
            counted(status.kernel_drops(), "datagram")
        ));
    }
    if total.sequence_lost > 0 {
        parts.push(format!(
            "{} missing by sequence numbers",
            thousands(total.sequence_lost)
        ));
    }
    for (scope, what) in [
        (Scope::Datagram, "datagram"),
        (Scope::Set, "set"),
        (Scope::Record, "record"),
    ] {
        let lost = total.reasons.total(scope);
        if lost > 0 {
            let reasons = total
                .reasons
                .iter()
                .filter(|(of, _, count)| *of == scope && *count > 0);
            let reasons: Vec<&str> = reasons.map(|(_, reason, _)| reason).collect();
            parts.push(format!(
                "{} not decoded or stored ({})",
                counted(lost, what),
                reasons.join(", ")
            ));
        }
    }
    if parts.is_empty() {
        return "nothing lost".to_owned();
    }
    format!("lost: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use forebay_collector::DomainStatus;

    use super::*;

    #[test]
    fn exporters_known_from_an_earlier_run_are_not_counted_before_they_send() {
        let mut domain = DomainStatus {
            exporter: "192.0.2.1".into(),
            version: 9,
            observation_domain: 0,
            last_us: 0,
            serial: 1,
            sets_waiting: 0,
            counters: Counters::default(),
        };
        let mut status = Status::default();
        status.shards.resize_with(1, Default::default);
        let shard = status.shards.first_mut().expect("one shard");
        shard.tables.exporters = 1;
        shard.domains.push(domain.clone());
        assert!(ended(&status).starts_with("0 datagrams of 0 exporters"));

        domain.counters.datagrams = 1;
        let again = DomainStatus {
            observation_domain: 1,
            ..domain.clone()
        };
        let shard = status.shards.first_mut().expect("one shard");
        shard.domains = vec![domain, again];
        assert!(ended(&status).starts_with("2 datagrams of 1 exporter,"));
    }

    #[test]
    fn losses_are_told_with_their_reasons() {
        let mut status = Status::default();
        assert!(ended(&status).ends_with("nothing lost"));
        status.shards.resize_with(1, Default::default);
        let shard = status.shards.first_mut().expect("one shard");
        shard.kernel_drops = 1_234;
        shard
            .unassigned
            .reasons
            .add(Scope::Datagram, "unknown_version", 2);
        assert!(
            ended(&status).ends_with(
                "lost: 1,234 datagrams dropped here, 2 datagrams not decoded or stored (unknown_version)"
            ),
            "{}",
            ended(&status)
        );
    }
}
