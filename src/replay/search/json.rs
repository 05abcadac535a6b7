//! Everything as one JSON object. What is not known is null.

use serde_json::json;

use super::{Told, words};

/// The report as a line of JSON.
pub(super) fn text(told: &Told<'_>) -> String {
    let results = told.results;
    let problem = results.problem.as_ref().map(ToString::to_string);
    let object = json!({
        "result": results.found,
        "so_far": results.so_far,
        "problem": problem,
        "text": words::sentences(told),
        "steps": results.steps,
        "sent": {
            "recording": told.subject.recording,
            "datagrams": told.datagrams,
            "flows": told.flows,
            "target": told.subject.target,
        },
        "settings": {
            "search": told.settings,
            "step_seconds": told.step.as_secs_f64(),
            "settle_seconds": told.settle.as_secs_f64(),
            "probes": told.probes,
            "pid": told.pid,
        },
        "conditions": told.conditions,
    });
    format!("{object}\n")
}
