//! What to do, in sentences.

use forebay_router::balance::{Advice, EVEN, Evaluation, ExporterLoad, Floor, FloorCause, Reason};
use forebay_router::{Collector, Hash};

use super::Report;
use super::table::{percent, ratio};
use crate::progress::{counted, thousands};

/// The recommendation with its reason, and what to do where no hash can help.
pub(super) fn recommendation(report: &Report<'_>) -> Vec<String> {
    let Some((chosen, reason)) = report.choice.and_then(|choice| {
        let chosen = report.balance.evaluations.get(choice.index)?;
        Some((chosen, choice.reason))
    }) else {
        return vec![nothing(report)];
    };
    let mut sentences = vec![take(report, chosen, reason)];
    if chosen.imbalance(report.measure) > Some(EVEN) {
        sentences.push(uneven(report, chosen));
    }
    if let Some(advice) = &report.advice {
        sentences.push(pins(report, advice));
    }
    let strangers = strangers(report);
    if report.keeps_source && strangers > 0 {
        sentences.push(format!(
            "{} may fall to a collector of the other address family, and cannot reach it with the source kept: pin them, or take `route --source own`",
            counted(strangers, "exporter")
        ));
    }
    let left_out = report.collectors.pins_left_out();
    if left_out > 0 {
        let pins = counted(left_out as u64, "pin");
        sentences.push(format!("{pins} to collectors that are gone: left out"));
    }
    sentences
}

/// How many exporters are IPv6 where a collector that they may fall to is IPv4, or the other way round.
fn strangers(report: &Report<'_>) -> u64 {
    let known = report.collectors.known();
    let is_strange = |exporter: &&ExporterLoad| {
        let own = |collector: &Collector| {
            collector.address.ip().to_canonical().is_ipv4() == exporter.exporter.is_ipv4()
        };
        match exporter.pinned.and_then(|collector| known.get(collector)) {
            Some(collector) => !own(collector),
            None => known.iter().any(|of| of.weight > 0 && !own(of)),
        }
    };
    report.balance.exporters.iter().filter(is_strange).count() as u64
}

fn nothing(report: &Report<'_>) -> String {
    let collectors = report.collectors.weights().len() as u64;
    format!(
        "no recommendation: no number of shards that was tried is enough for {}: raise --shards",
        counted(collectors, "collector")
    )
}

fn take(report: &Report<'_>, chosen: &Evaluation, reason: Reason) -> String {
    let measure = report.measure;
    let gets = ratio(chosen.imbalance(measure));
    let mut text = format!("recommended: {}: ", name(chosen));
    let collectors = report.collectors.weights();
    if collectors.is_empty() {
        text.push_str(&format!(
            "the fullest shard gets {gets} times the mean {measure}"
        ));
    } else {
        text.push_str(&format!(
            "the fullest of {} gets {gets} times its share of the {measure}",
            counted(collectors.len() as u64, "collector")
        ));
    }
    text.push_str(&match reason {
        Reason::Lowest => ", and no split that was tried is more even".to_owned(),
        Reason::MostShards => format!(
            ", and of the splits that are even (up to {EVEN:.2}) it has the most {}shards; --collectors says for how many it is to be",
            if chosen.prime { "prime " } else { "" }
        ),
        Reason::NearLowest(lowest) => near_lowest(report, chosen, lowest),
    });
    // With pins others move: who takes them reads it there.
    if report.advice.is_none() {
        text.push_str(&moves(report, chosen.moved));
    }
    text
}

fn moves(report: &Report<'_>, moved: Option<u64>) -> String {
    moved.map_or(String::new(), |moved| {
        let exporters = report.balance.exporters.len() as u64;
        let exporters = counted(exporters, "exporter");
        format!("; {} of {exporters} move", thousands(moved))
    })
}

fn near_lowest(report: &Report<'_>, chosen: &Evaluation, lowest: usize) -> String {
    let Some(lowest) = report.balance.evaluations.get(lowest) else {
        return String::new();
    };
    let least = ratio(lowest.imbalance(report.measure));
    let merit = if chosen.prime && !lowest.prime {
        if chosen.split.hash == Hash::Address {
            "but a prime stays even where hosts are numbered in steps"
        } else {
            "but a prime stays even whatever hash is taken later"
        }
    } else if chosen.moved < lowest.moved {
        "but would move more exporters"
    } else if chosen.peak(report.measure).map(|peak| peak.largest)
        < lowest.peak(report.measure).map(|peak| peak.largest)
    {
        "but has more to take in its worst second"
    } else {
        "but is hardly better, and has more shards or the dearer hash"
    };
    format!("; {} gives {least}, {merit}", name(lowest))
}

/// Why no hash makes it even.
fn uneven(report: &Report<'_>, chosen: &Evaluation) -> String {
    let measure = report.measure;
    let share = |exporter: &ExporterLoad| percent(report.balance.share(exporter, measure));
    let heaviest = report.balance.heaviest(measure);
    match chosen.floor(measure) {
        Some(Floor { imbalance, cause }) if imbalance > EVEN => {
            let why = match cause {
                FloorCause::Exporter(address) => {
                    let mut exporters = heaviest.iter();
                    let share = exporters.find(|of| of.exporter == address).map(share);
                    format!(
                        "{address} alone sends {} of the {measure}, so that the fullest gets {imbalance:.2} times its share at best",
                        share.unwrap_or_default()
                    )
                }
                FloorCause::Pins(collector) => format!(
                    "what is pinned to {} is {imbalance:.2} times its share",
                    report.collectors.name(collector)
                ),
                FloorCause::WeightZero => format!(
                    "collectors of weight 0 get only what is pinned to them, so that the others get {imbalance:.2} times their share at best"
                ),
            };
            format!("no hash can make it even: {why}")
        }
        _ => heaviest.first().map_or(String::new(), |first| {
            format!(
                "no hash that was tried makes it even: {}, of which {} sends {} of the {measure}, are too few or too different for that",
                counted(heaviest.len() as u64, "exporter"),
                first.exporter,
                share(first)
            )
        }),
    }
}

fn pins(report: &Report<'_>, advice: &Advice) -> String {
    let mut parts = Vec::new();
    let pins: Vec<String> = advice
        .pins
        .iter()
        .map(|pin| {
            let collector = report.collectors.name(pin.collector);
            format!("{} ({}) to {collector}", pin.exporter, percent(pin.share))
        })
        .collect();
    if !pins.is_empty() {
        parts.push(format!("pin {}", pins.join(", ")));
    }
    let emptied: Vec<String> = advice
        .weights
        .iter()
        .enumerate()
        .filter(|(collector, weight)| {
            let before = report.collectors.weights().get(*collector).copied();
            **weight == 0 && before != Some(0)
        })
        .map(|(collector, _)| report.collectors.name(collector))
        .collect();
    if !emptied.is_empty() {
        parts.push(format!("give {} weight 0", emptied.join(", ")));
    }
    let mut text = format!(
        "{}: the fullest then gets {:.2} times its share",
        parts.join(" and "),
        advice.imbalance
    );
    text.push_str(&moves(report, advice.moved));
    text
}

fn name(evaluation: &Evaluation) -> String {
    let shards = evaluation.split.shards.get();
    format!(
        "{} by {}",
        counted(u64::from(shards), "shard"),
        evaluation.split.hash
    )
}
