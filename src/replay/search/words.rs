//! What was found, in sentences.

use forebay_replay::search::{Ended, Found, Step, Tally};

use super::Told;
use super::table::{rate, share};

/// The result first, then what it cost and what to know about it.
pub(super) fn sentences(told: &Told<'_>) -> Vec<String> {
    let Some(found) = &told.results.found else {
        let so_far = [so_far(told)].into_iter();
        return so_far.chain(surplus(told)).collect();
    };
    let mut sentences = vec![result(told, found)];
    if let Some(held) = &found.held {
        sentences.extend(cost(told, held));
    }
    sentences.extend(surplus(told));
    sentences
}

/// What was counted beyond what was sent, since it makes up for what is lost.
fn surplus(told: &Told<'_>) -> Option<String> {
    let steps = told.results.steps.iter();
    let mut first = None;
    let more = steps.filter(|step| {
        let mut counts = step.counts.iter();
        let more = counts.find(|grown| grown.is_more_than(&step.sent));
        first = first.or(more.map(|grown| (step.number, &grown.probe)));
        more.is_some()
    });
    let count = more.count();
    let (number, probe) = first?;
    Some(format!(
        "more was counted than sent in {count} of {} steps, first in step {number} by probe {probe}, so that losses may \
         not show: does somebody else send, does it count otherwise, or does --settle end before all is counted?",
        told.results.steps.len()
    ))
}

fn result(told: &Told<'_>, found: &Found) -> String {
    let next = match &found.lost {
        Some(lost) => format!("; the next that did not: {}", times(lost, false)),
        None => String::new(),
    };
    match (found.ended, &found.held) {
        (Ended::Limit, Some(held)) => {
            format!("highest lossless rate: {}{next}", times(held, true))
        }
        (Ended::Highest, Some(held)) => format!(
            "no limit up to --up-to: {}: raise --up-to to find it",
            times(held, true)
        ),
        (Ended::Sender, Some(held)) => format!(
            "the limit is the sender's, not the collector's: {}, as fast as it can send{next}",
            times(held, true)
        ),
        (Ended::Unsteady, _) => format!(
            "no result: rates hold and lose by turns, and after {} steps there is no end: {}",
            told.results.steps.len(),
            known(found.held.as_ref(), found.lost.as_ref())
        ),
        _ => nothing_held(told),
    }
}

/// The lowest rate that was tried says what is missing always.
fn nothing_held(told: &Told<'_>) -> String {
    let steps = told.results.steps.iter();
    let lowest = steps.min_by(|a, b| {
        a.asked_flows_per_second
            .total_cmp(&b.asked_flows_per_second)
    });
    let Some(step) = lowest else {
        return "no rate was tried".to_owned();
    };
    format!(
        "no rate holds: at {} flows/s {} are missing still{}: does the collector understand everything in {}, and does \
         nobody else send to it?",
        rate(step.offered_flows_per_second),
        share(step.lost_share),
        worst(step),
        told.subject.recording.display()
    )
}

fn worst(step: &Step) -> String {
    let counts = step.counts.iter();
    let worst = counts.max_by_key(|grown| grown.missing_flows);
    worst.map_or_else(String::new, |grown| format!(", by probe {}", grown.probe))
}

fn so_far(told: &Told<'_>) -> String {
    let so_far = &told.results.so_far;
    format!(
        "no result yet after {} steps: {}",
        told.results.steps.len(),
        known(so_far.held.as_ref(), so_far.lost.as_ref())
    )
}

fn known(held: Option<&Tally>, lost: Option<&Tally>) -> String {
    let held = match held {
        Some(held) => format!("the highest that held: {}", times(held, true)),
        None => "no rate has held".to_owned(),
    };
    match lost {
        Some(lost) => format!("{held}; the next that did not: {}", times(lost, false)),
        None => held,
    }
}

/// `1,000,000 flows/s, held 3 of 3 times`
fn times(tally: &Tally, held: bool) -> String {
    let of = tally.held + tally.lost;
    let (what, count) = if held {
        ("held", tally.held)
    } else {
        ("not held", tally.lost)
    };
    let times = if of == 1 { "time" } else { "times" };
    format!(
        "{} flows/s, {what} {count} of {of} {times}",
        rate(tally.rate)
    )
}

/// What a rate took of the machine, in the mean of its steps.
fn cost(told: &Told<'_>, held: &Tally) -> Option<String> {
    let steps = told.results.steps.iter();
    // What the sender reached wavers, most where that is its limit.
    let near = held.rate * 0.98..held.rate * 1.05;
    let at_rate: Vec<&Step> = steps
        .filter(|step| step.held && near.contains(&step.offered_flows_per_second))
        .collect();
    let mean = |of: fn(&Step) -> Option<f64>| {
        let known: Vec<f64> = at_rate.iter().filter_map(|step| of(step)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let cpu = mean(|step| step.cpu_seconds_per_million_flows)?;
    let datagrams = mean(|step| Some(step.offered_datagrams_per_second))?;
    let memory = at_rate.iter().filter_map(|step| step.memory_bytes).max()?;
    Some(format!(
        "at that rate: {} datagrams/s, {cpu:.3} CPU seconds per million flows, {:.0} MiB of memory",
        rate(datagrams),
        memory as f64 / f64::from(1 << 20)
    ))
}
