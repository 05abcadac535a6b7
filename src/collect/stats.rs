//! The ledger, queues and files as JSON.

use forebay_collector::{Counters, DomainKey, FileStatus, Reasons, Status};
use serde_json::{Map, Value, json};

use crate::time::Rfc3339;

/// The status as an object.
pub(super) fn json(status: &Status) -> String {
    let domains: Vec<Value> = status
        .domains()
        .iter()
        .map(|(key, domain)| {
            let mut object = counters(&domain.counters);
            let DomainKey {
                exporter,
                version,
                observation_domain,
            } = key;
            object.insert("exporter".to_owned(), json!(exporter.as_ref()));
            object.insert("export_version".to_owned(), json!(version));
            object.insert("observation_domain".to_owned(), json!(observation_domain));
            object.insert(
                "last_heard".to_owned(),
                json!(Rfc3339::from_us(domain.last_us).to_string()),
            );
            object.insert("sets_waiting".to_owned(), json!(domain.sets_waiting));
            Value::Object(object)
        })
        .collect();
    let shards: Vec<Value> = status
        .shards
        .iter()
        .map(|shard| {
            json!({
                "kernel_drops": shard.kernel_drops,
                "truncated": shard.truncated,
                "exporters": shard.tables.exporters,
                "templates": shard.tables.templates,
                "pending_bytes": shard.tables.pending_bytes,
            })
        })
        .collect();
    let mut total = counters(&status.total());
    total.insert("kernel_drops".to_owned(), json!(status.kernel_drops()));
    let object = json!({
        "total": total,
        "domains": domains,
        "shards": shards,
        "queues": { "bytes": status.queue_bytes },
        "files": files(&status.files),
    });
    format!("{object}\n")
}

fn counters(counters: &Counters) -> Map<String, Value> {
    let mut object: Map<String, Value> = counters
        .named()
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect();
    object.insert("reasons".to_owned(), reasons(&counters.reasons));
    object
}

/// `{"set": {"set_too_long": 3}}`
fn reasons(reasons: &Reasons) -> Value {
    let mut scopes: Map<String, Value> = Map::new();
    for (scope, reason, count) in reasons.iter() {
        let of_scope = scopes.entry(scope.name()).or_insert_with(|| json!({}));
        if let Value::Object(of_scope) = of_scope {
            of_scope.insert(reason.to_owned(), json!(count));
        }
    }
    Value::Object(scopes)
}

fn files(files: &FileStatus) -> Value {
    json!({
        "flows_stored": files.stored,
        "segment_bytes": files.segment_bytes,
        "segments_waiting": files.segments_waiting,
        "segments_failed": files.segments_failed,
        "flow_files": files.files,
        "flow_file_bytes": files.file_bytes,
        "flow_file_flows": files.file_flows,
        "recovered_flows": files.recovered_flows,
        "torn_bytes": files.torn_bytes,
        "files_removed": files.files_removed,
        "settling_paused": files.paused,
        "failing_writers": files.failing_writers,
    })
}

#[cfg(test)]
mod tests {
    use forebay_collector::Scope;

    use super::*;

    #[test]
    fn reasons_stand_by_scope() {
        let mut status = Status::default();
        status.shards.resize_with(1, Default::default);
        let shard = status.shards.first_mut().expect("one shard");
        shard.kernel_drops = 7;
        shard.unassigned.datagrams = 3;
        shard
            .unassigned
            .reasons
            .add(Scope::Datagram, "unknown_version", 3);
        let stats: Value = serde_json::from_str(&json(&status)).expect("JSON");
        assert_eq!(stats["total"]["datagrams"], 3);
        assert_eq!(stats["total"]["kernel_drops"], 7);
        assert_eq!(stats["total"]["reasons"]["datagram"]["unknown_version"], 3);
        assert_eq!(stats["files"]["settling_paused"], false);
    }
}
