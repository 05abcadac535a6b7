//! Rows that several exporters tell, and a slow and obvious form of the rule.

use std::collections::{BTreeMap, BTreeSet};

use forebay_store::Family;

use crate::dedupe::{Agreement, DedupeOptions, Keep, Rules};
use crate::testing::START_US;

/// A row as it goes in. When it was received is its name: no other is received then.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) family: Family,
    pub(super) received: i64,
    pub(super) exporter: &'static str,
    pub(super) domain: u32,
    pub(super) src: u8,
    pub(super) dst_port: Option<u16>,
    pub(super) tos: Option<u8>,
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
    pub(super) packets: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) in_if: u32,
}

/// A row as it comes out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kept {
    pub(super) received: i64,
    pub(super) seen_by: u32,
    pub(super) seen_exporters: Vec<String>,
}

pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

pub(super) const EXPORTERS: [(&str, u32); 4] = [
    ("192.0.2.9", 0),
    ("198.51.100.7", 0),
    ("198.51.100.7", 4),
    ("2001:db8::1", 1),
];

/// Flows that up to four saw: with skewed clocks, one of them losing packets, another splitting flows.
pub(super) fn rows(seed: u64, flows: u64) -> Vec<Row> {
    let mut numbers = Numbers(seed);
    let mut rows = Vec::new();
    // No two of one exporter and key begin at once: nothing would tell which is which.
    let mut begun = BTreeSet::new();
    for _ in 0..flows {
        let family = Family::ALL[[0, 0, 0, 1, 1, 2][numbers.below(6) as usize]];
        let src = numbers.below(12) as u8;
        let dst_port = (!numbers.one_in(10)).then_some(443);
        let tos = (!numbers.one_in(10)).then(|| 8 * numbers.below(2) as u8);
        let start = START_US + 1_000 * numbers.below(300_000) as i64;
        let duration = 1_000 * numbers.below(6_000) as i64;
        let packets = 1 + numbers.below(300);
        let is_event = numbers.one_in(20);
        let seen = 1 + numbers.below(15);
        for (place, (exporter, domain)) in EXPORTERS.into_iter().enumerate() {
            if seen >> place & 1 == 0 {
                continue;
            }
            let skew = [0, 700_000, -900_000, 1_500_000][place];
            let mut parts = vec![(start + skew, duration, packets)];
            if place == 3 && duration > 3_000_000 {
                let half = duration / 2;
                parts = vec![
                    (start + skew, half, packets / 2),
                    (start + skew + half, half, packets - packets / 2),
                ];
            } else if place == 2 && numbers.one_in(3) {
                parts[0].2 -= packets / 30;
            } else if numbers.one_in(8) {
                // It is told twice.
                parts.push((start + skew + 300_000, duration, packets));
            }
            for (first, duration, packets) in parts {
                if !begun.insert((family, src, place, first)) {
                    continue;
                }
                let has_times = !numbers.one_in(15);
                rows.push(Row {
                    family,
                    // Made unique below.
                    received: first + duration,
                    exporter,
                    domain,
                    src,
                    dst_port,
                    tos,
                    first: has_times.then_some(first),
                    last: (has_times && !numbers.one_in(15)).then_some(first + duration),
                    packets: (!is_event).then_some(packets),
                    bytes: (!is_event && !numbers.one_in(20)).then_some(packets * 100),
                    in_if: place as u32,
                });
            }
        }
    }
    rows.sort_by_key(|row| row.received);
    let mut next = i64::MIN;
    for row in &mut rows {
        row.received = row.received.max(next);
        next = row.received + 1;
    }
    rows
}

/// The rule, in words of its own.
pub(super) fn reference(rows: &[Row], options: &DedupeOptions) -> BTreeSet<Kept> {
    let Rules {
        within,
        start_delta_us,
        duration,
        packets,
        bytes,
    } = options.rules.clone();
    let alone = |row: &Row| Kept {
        received: row.received,
        seen_by: 1,
        seen_exporters: vec![row.exporter.to_owned()],
    };
    let mut kept = BTreeSet::new();
    let mut by_key: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let is_event = row.packets.is_none() && row.bytes.is_none();
        let compares_counters = packets != Agreement::Any || bytes != Agreement::Any;
        if row.family == Family::Other || is_event && compares_counters {
            kept.insert(alone(row));
        } else {
            let mut key = (row.family, row.src, row.dst_port, row.tos, None);
            if packets == Agreement::EXACT && bytes == Agreement::EXACT {
                key.4 = Some((row.packets, row.bytes));
            }
            by_key.entry(key).or_default().push(row);
        }
    }
    let begin = |row: &Row| row.first.unwrap_or(row.received);
    let lasts = |row: &Row| row.first.zip(row.last).map(|(first, last)| last - first);
    let agree = |rule: Agreement, one: Option<u64>, other: Option<u64>| match (rule, one, other) {
        (Agreement::Any, ..) | (_, None, None) => true,
        (Agreement::Within(most), Some(one), Some(other)) => one.abs_diff(other) <= most,
        (Agreement::WithinShare(share), Some(one), Some(other)) => {
            one.abs_diff(other) as f64 <= one.max(other) as f64 * f64::from(share) / 1e6
        }
        _ => false,
    };
    let like = |one: &Row, other: &Row| {
        let lasts = |row| lasts(row).map(|us| us as u64);
        begin(one).abs_diff(begin(other)) <= start_delta_us
            && agree(duration, lasts(one), lasts(other))
            && agree(packets, one.packets, other.packets)
            && agree(bytes, one.bytes, other.bytes)
    };
    for (_, mut rows) in by_key {
        rows.sort_by_key(|row| (begin(row), row.exporter, row.domain));
        let mut groups: Vec<Vec<&Row>> = Vec::new();
        for row in rows {
            let takes = |group: &Vec<&Row>| {
                let has_its = group
                    .iter()
                    .any(|other| (other.exporter, other.domain) == (row.exporter, row.domain));
                (within || !has_its) && group.iter().any(|other| like(row, other))
            };
            match groups.iter_mut().find(|group| takes(group)) {
                Some(group) => group.push(row),
                None => groups.push(vec![row]),
            }
        }
        for group in groups {
            let best = match &options.keep {
                Keep::First => group[0],
                Keep::MostBytes => group
                    .iter()
                    .rev()
                    .max_by_key(|row| row.bytes)
                    .expect("one at least"),
                Keep::ExporterOrder(list) => {
                    let place = |row: &&&Row| {
                        list.iter()
                            .position(|name| name == row.exporter)
                            .unwrap_or(99)
                    };
                    group.iter().min_by_key(place).expect("one at least")
                }
            };
            let mut seen_exporters: Vec<String> = Vec::new();
            for row in &group {
                if !seen_exporters.iter().any(|name| name == row.exporter) {
                    seen_exporters.push(row.exporter.to_owned());
                }
            }
            kept.insert(Kept {
                received: best.received,
                seen_by: seen_exporters.len() as u32,
                seen_exporters,
            });
        }
    }
    kept
}
