//! Everything as one JSON object. What is not known is null; measures of which nothing was counted are left out.

use forebay_router::balance::{Evaluation, Load, Measure, Reason};
use serde_json::{Map, Value, json};

use super::{Report, words};
use crate::time::Rfc3339;

/// How many of the heaviest exporters are told.
const HEAVIEST: usize = 20;

/// The report as a line of JSON.
pub(super) fn text(report: &Report<'_>) -> String {
    let (balance, tally) = (report.balance, report.tally);
    let heaviest: Vec<Value> = balance
        .heaviest(report.measure)
        .iter()
        .take(HEAVIEST)
        .map(|exporter| {
            let mut object = load(report, &exporter.load);
            object.insert("exporter".to_owned(), json!(exporter.exporter));
            let share = rounded(Some(balance.share(exporter, report.measure)));
            object.insert("share".to_owned(), share);
            Value::Object(object)
        })
        .collect();
    let splits: Vec<Value> = balance
        .evaluations
        .iter()
        .map(|evaluation| split(report, evaluation))
        .collect();
    let object = json!({
        "exporters": balance.exporters.len(),
        "seconds": (balance.seconds > 0).then_some(balance.seconds),
        "per_second": tally.rates,
        "total": load(report, &balance.total),
        "records_estimated": tally.estimated_records,
        "left_out": {
            "other_datagrams": tally.other_datagrams,
            "beyond_limit": balance.beyond_limit.datagrams,
        },
        "torn": tally.torn,
        "measure": report.measure.name(),
        "collectors": collectors(report, &balance.weights),
        "heaviest": heaviest,
        "splits": splits,
        "recommendation": recommendation(report),
    });
    format!("{object}\n")
}

fn collectors(report: &Report<'_>, weights: &[u32]) -> Value {
    if weights.is_empty() {
        return Value::Null;
    }
    let collectors = weights.iter().enumerate().map(|(collector, weight)| {
        json!({
            "collector": report.collectors.name(collector),
            "weight": weight,
        })
    });
    collectors.collect()
}

fn split(report: &Report<'_>, evaluation: &Evaluation) -> Value {
    let loads = |loads: &[Load]| -> Value {
        let loads = loads.iter().map(|of| Value::Object(load(report, of)));
        loads.collect()
    };
    let peak = evaluation.peak(report.measure).map(|peak| {
        let second = i64::try_from(peak.second).unwrap_or(i64::MAX);
        json!({
            "at": Rfc3339::from_s(second).to_string(),
            "largest": peak.largest,
            "imbalance": rounded(peak.imbalance),
        })
    });
    json!({
        "shards": evaluation.split.shards,
        "hash": evaluation.split.hash.name(),
        "prime": evaluation.prime,
        "imbalance": by_measure(report, |measure| evaluation.imbalance(measure)),
        "floor": by_measure(report, |measure| Some(evaluation.floor(measure)?.imbalance)),
        "worst_second": peak,
        "moved": evaluation.moved,
        "shard_loads": loads(&evaluation.shards),
        "collector_loads": evaluation.collectors.as_deref().map(loads),
    })
}

fn recommendation(report: &Report<'_>) -> Value {
    let Some(choice) = report.choice else {
        return Value::Null;
    };
    let Some(chosen) = report.balance.evaluations.get(choice.index) else {
        return Value::Null;
    };
    let advice = report.advice.as_ref().map(|advice| {
        let pins = advice.pins.iter().map(|pin| {
            json!({
                "exporter": pin.exporter,
                "collector": report.collectors.name(pin.collector),
                "share": rounded(Some(pin.share)),
            })
        });
        json!({
            "pins": pins.collect::<Value>(),
            "weights": advice.weights,
            "imbalance": rounded(Some(advice.imbalance)),
            "moved": advice.moved,
        })
    });
    json!({
        "shards": chosen.split.shards,
        "hash": chosen.split.hash.name(),
        "imbalance": rounded(chosen.imbalance(report.measure)),
        "moved": chosen.moved,
        "reason": match choice.reason {
            Reason::Lowest => "lowest",
            Reason::NearLowest(_) => "near_lowest",
            Reason::MostShards => "most_shards",
        },
        "advice": advice,
        "text": words::recommendation(report),
    })
}

/// A load by measure, without those of which nothing was counted at all.
fn load(report: &Report<'_>, load: &Load) -> Map<String, Value> {
    let values = report
        .measures()
        .into_iter()
        .map(|measure| (measure.name().to_owned(), json!(load.of(measure))));
    values.collect()
}

fn by_measure(report: &Report<'_>, ratio: impl Fn(Measure) -> Option<f64>) -> Value {
    let values = report
        .measures()
        .into_iter()
        .map(|measure| (measure.name().to_owned(), rounded(ratio(measure))));
    Value::Object(values.collect())
}

/// With four decimals: more would be noise.
fn rounded(ratio: Option<f64>) -> Value {
    json!(ratio.map(|ratio| (ratio * 10_000.0).round() / 10_000.0))
}
