//! The counters as JSON: everything, and by exporter.

use forebay_router::{Counters, ExporterCounters, Reasons, Status, Tally, TargetCounters};
use serde_json::{Map, Value, json};

use crate::time::Rfc3339;

/// The status as an object.
pub(super) fn json(status: &Status) -> String {
    let exporters: Vec<Value> = status
        .exporters()
        .iter()
        .map(|(address, counters)| exporter(&address.to_string(), counters))
        .collect();
    let (others, evicted) = status.others();
    let routes: Vec<Value> = status
        .routes()
        .iter()
        .map(|route| {
            let shards: Vec<Value> = route.shards.iter().map(|shard| tally(*shard)).collect();
            json!({ "versions": route.versions, "received": tally(route.received), "shards": shards })
        })
        .collect();
    let collectors: Vec<Value> = status
        .targets()
        .iter()
        .map(|target| {
            let TargetCounters {
                forwarded,
                sent_while_down,
                waiting,
                copied,
                templates_sent,
                failed,
            } = &target.counters;
            json!({
                "address": target.address.to_string(),
                "up": target.up,
                "forwarded": tally(*forwarded),
                "sent_while_down": sent_while_down,
                "waiting": tally(*waiting),
                "copied": tally(*copied),
                "template_messages": templates_sent,
                "failed": reasons(failed),
            })
        })
        .collect();
    let threads: Vec<Value> = status
        .threads
        .iter()
        .map(|thread| {
            json!({ "received": tally(thread.counters.received), "kernel_drops": thread.kernel_drops })
        })
        .collect();
    let templates = status.templates();
    let total = total(&status.total(), status.kernel_drops());
    let object = json!({
        "total": total,
        "routes": routes,
        "collectors": collectors,
        "exporters": exporters,
        "other_exporters": { "evicted": evicted, "counters": exporter("others", &others) },
        "templates": {
            "templates": templates.templates,
            "bytes": templates.bytes,
            "domains": templates.domains,
            "domains_evicted": templates.domains_evicted,
            "refused": templates.refused,
            "malformed": templates.malformed,
        },
        "unreadable": status.unreadable(),
        "threads": threads,
        "reloads": status.reloads,
        "reloads_failed": status.reloads_failed,
    });
    format!("{object}\n")
}

fn total(counters: &Counters, kernel_drops: u64) -> Value {
    let versions: Map<String, Value> = counters
        .by_version()
        .map(|(version, of_version)| (version_name(version), tally(of_version)))
        .collect();
    json!({
        "received": tally(counters.received),
        "recovered": tally(counters.recovered),
        "forwarded": tally(counters.forwarded),
        "sent_while_down": counters.sent_while_down,
        "waiting": tally(counters.waiting),
        "rejected": reasons(&counters.rejected),
        "failed": reasons(&counters.failed),
        "copied": tally(counters.copied),
        "copies_failed": reasons(&counters.copies_failed),
        "template_messages": counters.templates_sent,
        "template_messages_failed": counters.templates_failed,
        "versions": versions,
        "kernel_drops": kernel_drops,
    })
}

/// A version by its number, or `other`.
pub(super) fn version_name(version: Option<u8>) -> String {
    version.map_or_else(|| "other".to_owned(), |version| version.to_string())
}

/// A route by its versions: `9,10`.
pub(super) fn versions_name(versions: &[u8]) -> String {
    let names: Vec<String> = versions.iter().map(ToString::to_string).collect();
    names.join(",")
}

fn exporter(name: &str, counters: &ExporterCounters) -> Value {
    let last_us = i64::try_from(counters.last_ns / 1_000).unwrap_or(i64::MAX);
    json!({
        "exporter": name,
        "datagrams": counters.received.datagrams,
        "bytes": counters.received.bytes,
        "messages": counters.received.messages,
        "rejected": counters.rejected.datagrams,
        "rejected_bytes": counters.rejected.bytes,
        "failed": counters.failed,
        "last_heard": Rfc3339::from_us(last_us).to_string(),
    })
}

fn tally(tally: Tally) -> Value {
    json!({ "datagrams": tally.datagrams, "bytes": tally.bytes, "messages": tally.messages })
}

fn reasons(reasons: &Reasons) -> Value {
    reasons
        .iter()
        .map(|(reason, count)| (reason.to_owned(), json!(count)))
        .collect::<Map<String, Value>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up() {
        let mut status = Status::default();
        status.threads.resize_with(2, Default::default);
        for (thread, host) in status.threads.iter_mut().zip(1..) {
            thread.counters.received.datagrams = 5;
            thread.counters.failed.add("no_buffer", 2);
            thread.kernel_drops = 7;
            let address = std::net::IpAddr::from([192, 0, 2, host]);
            thread
                .exporters
                .push((address, ExporterCounters::default()));
        }
        let stats: Value = serde_json::from_str(&json(&status)).expect("JSON");
        assert_eq!(stats["total"]["received"]["datagrams"], 10);
        assert_eq!(stats["total"]["failed"]["no_buffer"], 4);
        assert_eq!(stats["total"]["kernel_drops"], 14);
        assert_eq!(stats["exporters"][1]["exporter"], "192.0.2.2");
        assert_eq!(stats["total"]["versions"]["other"]["datagrams"], 0);
    }
}
