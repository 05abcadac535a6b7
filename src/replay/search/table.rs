//! The steps as lines of a table, each when it is over.

use forebay_replay::search::Step;

use crate::progress::thousands;

pub(super) const HEAD: &str = "step  asked flows/s     offered  datagrams/s    received   lost flows      loss  \
                               CPU s/M flows    memory";

/// A step's line.
pub(super) fn row(step: &Step) -> String {
    let [
        number,
        asked,
        offered,
        datagrams,
        received,
        lost,
        share,
        cpu,
        memory,
        verdict,
    ] = cells(step);
    format!(
        "{number:>4}  {asked:>13}  {offered:>10}  {datagrams:>11}  {received:>10}  {lost:>11}  {share:>8}  {cpu:>13}  \
         {memory:>8}  {verdict}"
    )
}

/// What stands in a line.
pub(super) fn cells(step: &Step) -> [String; 10] {
    let cpu = step.cpu_seconds_per_million_flows;
    let memory = step.memory_bytes;
    [
        step.number.to_string(),
        rate(step.asked_flows_per_second),
        rate(step.offered_flows_per_second),
        rate(step.offered_datagrams_per_second),
        rate(step.received_flows_per_second),
        thousands(step.lost_flows),
        share(step.lost_share),
        cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.3}")),
        memory.map_or_else(|| "-".to_owned(), mebibytes),
        verdict(step),
    ]
}

fn verdict(step: &Step) -> String {
    if step.held {
        "held".to_owned()
    } else if step.lost_flows > 0 {
        "lost".to_owned()
    } else {
        let waiting = mebibytes(step.waiting_bytes.unwrap_or(0));
        format!("behind: {waiting} waited")
    }
}

pub(super) fn rate(rate: f64) -> String {
    thousands(rate.round() as u64)
}

/// As a percentage that shows what is small, too.
pub(super) fn share(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent < 0.01 {
        "<0.01 %".to_owned()
    } else {
        format!("{percent:.2} %")
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}MiB", bytes as f64 / f64::from(1 << 20))
}
