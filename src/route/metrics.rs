//! The counters in Prometheus's text format.
//!
//! Exporters are not labels, because the network could make any number of them: `/stats` tells by exporter.

use forebay_router::{Counters, Reasons, RouteCounters, Status, Tally, TargetStatus};

use super::stats::{version_name, versions_name};
use crate::prometheus::{counter, header, line};

/// All metrics.
pub(super) fn text(status: &Status) -> String {
    let total = status.total();
    let mut out = String::with_capacity(1 << 13);
    sums(&mut out, status, &total);
    reasons(&mut out, status, &total);
    header(
        &mut out,
        "route_waiting",
        "gauge",
        "Datagrams that wait in the spool, also for what is no collector any more.",
    );
    line(&mut out, "route_waiting", total.waiting.datagrams);
    by_version(&mut out, status);
    by_route(&mut out, status);
    by_target(&mut out, status);
    tables(&mut out, status);
    out
}

fn sums(out: &mut String, status: &Status, total: &Counters) {
    for (name, help, count) in [
        (
            "route_received_datagrams",
            "Datagrams received.",
            total.received.datagrams,
        ),
        (
            "route_received_bytes",
            "Their bytes, without headers of UDP and IP.",
            total.received.bytes,
        ),
        (
            "route_received_messages",
            "Those with the whole header of a known version.",
            total.received.messages,
        ),
        (
            "route_recovered_datagrams",
            "Datagrams that an earlier run had left in its spool.",
            total.recovered.datagrams,
        ),
        (
            "route_forwarded_datagrams",
            "Datagrams sent to their collectors.",
            total.forwarded.datagrams,
        ),
        (
            "route_forwarded_bytes",
            "Their bytes.",
            total.forwarded.bytes,
        ),
        (
            "route_sent_while_down_datagrams",
            "Datagrams among those sent that may be lost, for the collector was known to be down.",
            total.sent_while_down,
        ),
        (
            "route_copied_datagrams",
            "Copies sent.",
            total.copied.datagrams,
        ),
        (
            "route_template_messages",
            "Messages of templates sent to collectors that came, came back or took over.",
            total.templates_sent,
        ),
        (
            "route_template_messages_failed",
            "Those that could not be sent.",
            total.templates_failed,
        ),
        (
            "receive_kernel_drops",
            "Datagrams that the kernel dropped because a receive buffer was full.",
            status.kernel_drops(),
        ),
        (
            "route_reloads",
            "Configurations taken over.",
            status.reloads,
        ),
        (
            "route_reloads_failed",
            "Configurations refused.",
            status.reloads_failed,
        ),
    ] {
        counter(out, name, help, count);
    }
}

/// What was lost, and why.
fn reasons(out: &mut String, status: &Status, total: &Counters) {
    for (name, help, reasons) in [
        (
            "route_rejected_datagrams",
            "Datagrams that have no place to go to, by reason.",
            &total.rejected,
        ),
        (
            "route_failed_datagrams",
            "Datagrams that could not be sent or kept, by reason.",
            &total.failed,
        ),
        (
            "route_failed_copies",
            "Copies that could not be sent, by reason.",
            &total.copies_failed,
        ),
    ] {
        header(out, &format!("{name}_total"), "counter", help);
        by_reason(out, name, reasons);
    }
    header(
        out,
        "receive_unreadable_packets_total",
        "counter",
        "Packets that were no whole datagram, by reason.",
    );
    for (reason, count) in status.unreadable() {
        let name = format!("receive_unreadable_packets_total{{reason=\"{reason}\"}}");
        line(out, &name, count);
    }
}

fn by_reason(out: &mut String, name: &str, reasons: &Reasons) {
    for (reason, count) in reasons.iter() {
        line(out, &format!("{name}_total{{reason=\"{reason}\"}}"), count);
    }
}

fn by_version(out: &mut String, status: &Status) {
    let tallies: Vec<(String, Tally)> = status
        .total()
        .by_version()
        .map(|(version, tally)| (format!("version=\"{}\"", version_name(version)), tally))
        .collect();
    in_all_units(out, "route_version", "received, by version", &tallies);
}

fn by_route(out: &mut String, status: &Status) {
    let routes = status.routes();
    let name = |route: &RouteCounters| format!("route=\"{}\"", versions_name(&route.versions));
    let tallies: Vec<(String, Tally)> = routes
        .iter()
        .map(|route| (name(route), route.received))
        .collect();
    in_all_units(out, "route_routed", "that a route took", &tallies);
    let shards = routes.iter().flat_map(|route| {
        let shards = route.shards.iter().enumerate();
        shards.map(move |(shard, tally)| (format!("{},shard=\"{shard}\"", name(route)), *tally))
    });
    let shards: Vec<(String, Tally)> = shards.collect();
    in_all_units(out, "route_shard", "that fell to a shard", &shards);
}

/// Datagrams, bytes and messages with these labels.
fn in_all_units(out: &mut String, name: &str, of_what: &str, tallies: &[(String, Tally)]) {
    type Count = fn(&Tally) -> u64;
    let units: [(&str, &str, Count); 3] = [
        ("datagrams", "Datagrams", |tally| tally.datagrams),
        ("bytes", "Bytes of datagrams", |tally| tally.bytes),
        ("messages", "Whole messages of a known version", |tally| {
            tally.messages
        }),
    ];
    for (unit, what, count) in units {
        let name = format!("{name}_{unit}_total");
        header(out, &name, "counter", &format!("{what} {of_what}."));
        for (labels, tally) in tallies {
            line(out, &format!("{name}{{{labels}}}"), count(tally));
        }
    }
}

fn by_target(out: &mut String, status: &Status) {
    let targets = status.targets();
    let label = |target: &TargetStatus| format!("collector=\"{}\"", target.address);
    let forwarded: Vec<(String, Tally)> = targets
        .iter()
        .map(|target| (label(target), target.counters.forwarded))
        .collect();
    in_all_units(out, "route_collector", "sent to a collector", &forwarded);
    type Value = fn(&TargetStatus) -> u64;
    let others: [(&str, &str, &str, Value); 5] = [
        (
            "route_collector_up",
            "gauge",
            "1 where the collector is up, as far as can be known.",
            |target| u64::from(target.up),
        ),
        (
            "route_collector_sent_while_down_total",
            "counter",
            "Datagrams sent to it that may be lost, for it was known to be down.",
            |target| target.counters.sent_while_down,
        ),
        (
            "route_collector_copies_total",
            "counter",
            "Copies sent to it.",
            |target| target.counters.copied.datagrams,
        ),
        (
            "route_collector_failed_total",
            "counter",
            "What could not be sent to it or kept for it.",
            |target| target.counters.failed.total(),
        ),
        (
            "route_collector_waiting",
            "gauge",
            "Datagrams that wait for it in the spool.",
            |target| target.counters.waiting.datagrams,
        ),
    ];
    for (name, kind, help, value) in others {
        header(out, name, kind, help);
        for target in &targets {
            line(out, &format!("{name}{{{}}}", label(target)), value(target));
        }
    }
}

fn tables(out: &mut String, status: &Status) {
    let templates = status.templates();
    let (_, evicted) = status.others();
    counter(
        out,
        "route_exporters_evicted",
        "Exporters that were put out of the table by others.",
        evicted,
    );
    counter(
        out,
        "route_domains_evicted",
        "Sessions of which the templates were forgotten for others'.",
        templates.domains_evicted,
    );
    counter(
        out,
        "route_templates_refused",
        "Templates that were not kept because there were too many.",
        templates.refused,
    );
    for (name, help, value) in [
        (
            "route_exporters",
            "Exporter addresses known.",
            status.exporter_count() as u64,
        ),
        ("route_templates", "Templates kept.", templates.templates),
        ("route_template_bytes", "Their bytes.", templates.bytes),
    ] {
        header(out, name, "gauge", help);
        line(out, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus;

    #[test]
    fn every_line_is_one_of_the_format() {
        let mut status = Status::default();
        status.threads.resize_with(2, Default::default);
        let collector = "[2001:db8::1]:2055".parse().expect("an address");
        status.up.push((collector, true));
        for thread in &mut status.threads {
            thread.counters.received.datagrams = 4;
            thread.counters.rejected.add("unknown_version", 3);
            thread.counters.waiting.datagrams = 1;
            thread.counters.sent_while_down = 2;
            let counters = forebay_router::TargetCounters {
                sent_while_down: 1,
                ..Default::default()
            };
            thread.targets.push((collector, counters));
            thread.routes.push(RouteCounters {
                versions: vec![9, 10],
                shards: vec![Tally::default(), thread.counters.received],
                ..RouteCounters::default()
            });
        }
        let text = text(&status);
        assert!(prometheus::check(&text) > 25);
        for line in [
            "forebay_route_received_datagrams_total 8",
            "forebay_route_rejected_datagrams_total{reason=\"unknown_version\"} 6",
            // Nobody's: the one that they were for is gone.
            "forebay_route_waiting 2",
            "forebay_route_shard_datagrams_total{route=\"9,10\",shard=\"1\"} 8",
            "forebay_route_collector_up{collector=\"[2001:db8::1]:2055\"} 1",
            "forebay_route_sent_while_down_datagrams_total 4",
            "forebay_route_collector_sent_while_down_total{collector=\"[2001:db8::1]:2055\"} 2",
        ] {
            assert!(text.lines().any(|of| of == line), "{text}");
        }
    }
}
