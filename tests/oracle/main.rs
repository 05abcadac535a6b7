//! The collector's decoder against others, on generated traffic: a slow and obvious one on everything that the wire
//! allows, and `netflow_parser` on what it can decode too.

mod generate;
mod peer;
#[path = "../plain/mod.rs"]
mod plain;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use forebay_collector::{Columns, Counters, Decoder, DecoderConfig, ExtraType, Limits, Scope};
use forebay_store::Family;
use forebay_udp::Datagram;
use forebay_wire::ElementId;
use proptest::prelude::*;

use generate::{Kind, Sent, traffic};
use peer::Peer;
use plain::rows::{self, Cell, Row};
use plain::{PlainDecoder, PlainRecord};

#[path = "../../wire/tests/common/mod.rs"]
#[expect(dead_code, reason = "only the datagrams are of use here")]
mod golden;

/// Columns that a configuration adds, one of each type.
const EXTRA: [(&str, u16, ExtraType); 6] = [
    ("extra_interface_name", 82, ExtraType::Text),
    ("extra_application", 95, ExtraType::Octets),
    ("extra_next_hop", 15, ExtraType::Ipv4),
    ("extra_octets", 1, ExtraType::U32),
    ("extra_signed", 434, ExtraType::I64),
    ("extra_probability", 311, ExtraType::F64),
];

fn columns() -> Columns {
    let mut columns = Columns::default();
    for (name, number, kind) in EXTRA {
        columns
            .add(name, ElementId::iana(number), kind)
            .expect("a new name");
    }
    columns
}

fn decoder(limits: Limits) -> Decoder {
    Decoder::new(config_of(limits))
}

fn config_of(limits: Limits) -> DecoderConfig {
    DecoderConfig {
        columns: columns(),
        limits,
        ..DecoderConfig::default()
    }
}

/// Data sets that come before their template are not kept.
fn no_waiting() -> Limits {
    Limits {
        pending_bytes_per_exporter: 0,
        pending_bytes: 0,
        ..Limits::default()
    }
}

/// What must be in the configured columns of a record.
fn extra_cells(record: &PlainRecord) -> Row {
    let mut row = Row::new();
    for (name, number, kind) in EXTRA {
        let Some(content) = record.first(ElementId::iana(number)) else {
            continue;
        };
        let number = || {
            content
                .iter()
                .fold(0, |value: u64, &byte| value << 8 | u64::from(byte))
        };
        let zeros = content.iter().take_while(|&&byte| byte == 0).count();
        let significant = content.len() - zeros;
        let cell = match kind {
            ExtraType::Octets => Some(Cell::Octets(content.to_vec())),
            ExtraType::Text => {
                let end = content
                    .iter()
                    .rposition(|&byte| byte != 0)
                    .map_or(0, |last| last + 1);
                Some(Cell::Text(
                    String::from_utf8_lossy(&content[..end]).into_owned(),
                ))
            }
            ExtraType::U32 if !content.is_empty() && significant <= 4 => {
                Some(Cell::Number(number()))
            }
            ExtraType::Ipv4 if content.len() == 4 => Some(Cell::Number(number())),
            ExtraType::I64 if (1..=8).contains(&content.len()) => {
                let filled = if content[0] & 0x80 == 0 {
                    [0; 8]
                } else {
                    [0xff; 8]
                };
                let mut octets = filled;
                octets[8 - content.len()..].copy_from_slice(content);
                Some(Cell::Signed(i64::from_be_bytes(octets)))
            }
            ExtraType::F64 => match content.len() {
                4 => content
                    .try_into()
                    .ok()
                    .map(f32::from_be_bytes)
                    .map(f64::from)
                    .map(Cell::Float),
                8 => content
                    .try_into()
                    .ok()
                    .map(f64::from_be_bytes)
                    .map(Cell::Float),
                _ => None,
            },
            _ => None,
        };
        row.extend(cell.map(|cell| (name.to_owned(), cell)));
    }
    row
}

/// Holds a datagram's rows against the records that another decoder found.
fn compare(
    records: Vec<PlainRecord>,
    mut rows: BTreeMap<Family, Vec<Row>>,
) -> Result<(), TestCaseError> {
    for rows in rows.values_mut() {
        rows.reverse();
    }
    for record in records {
        let row = rows.get_mut(&record.family).and_then(Vec::pop);
        let mut expected = record.row.clone();
        expected.extend(extra_cells(&record));
        let same = |cells: &Row, others: &Row| {
            cells
                .iter()
                .all(|(name, cell)| match (cell, others.get(name)) {
                    (Cell::Float(one), Some(Cell::Float(other))) => {
                        one.to_bits() == other.to_bits()
                    }
                    (cell, other) => Some(cell) == other,
                })
        };
        let row = row.unwrap_or_default();
        prop_assert!(
            same(&row, &expected) && same(&expected, &row),
            "the row is {:?}\nin place of {:?}\nby the fields {:?}",
            difference(&row, &expected),
            difference(&expected, &row),
            record.fields
        );
        prop_assert_eq!(record.impossible_times(&row), None);
    }
    prop_assert!(rows.values().all(Vec::is_empty), "rows too many: {rows:?}");
    Ok(())
}

fn difference(row: &Row, other: &Row) -> Row {
    let differing = row
        .iter()
        .filter(|(name, cell)| other.get(*name) != Some(cell));
    differing
        .map(|(name, cell)| (name.clone(), cell.clone()))
        .collect()
}

fn sum(decoder: &Decoder) -> Counters {
    let mut sum = decoder.unassigned();
    for domain in decoder.domains() {
        sum.add(&domain.counters);
    }
    sum
}

/// Every datagram is a message or has a reason, and every record is a row.
fn balance(sum: &Counters, datagrams: usize, rows: usize) {
    assert_eq!(sum.datagrams, datagrams as u64);
    assert_eq!(
        sum.datagrams,
        sum.messages + sum.reasons.total(Scope::Datagram)
    );
    assert_eq!(sum.records, rows as u64);
}

/// Runs `cases`, or as many as `PROPTEST_CASES` says.
fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    // What fails is put into a test by hand.
    config.failure_persistence = None;
    config
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn a_slow_and_obvious_decoder_gives_the_same_rows(sent in traffic(Kind::All)) {
        let (mut plain, mut decoder) = (PlainDecoder::default(), decoder(no_waiting()));
        let schema = columns().schema().clone();
        let mut count = 0;
        for sent in &sent {
            let records = plain.decode(&sent.datagram());
            count += records.len();
            decoder.decode(&sent.datagram());
            compare(records, rows::take(&mut decoder, &schema))?;
        }
        let sum = sum(&decoder);
        balance(&sum, sent.len(), count);
        let options: u64 = plain.counts.values().map(|counts| counts.options_records).sum();
        prop_assert_eq!(options, sum.options_records);
        let without: u64 = plain.counts.values().map(|counts| counts.sets_without_template).sum();
        prop_assert_eq!(without, sum.sets_waited);
    }

    #[test]
    fn rows_are_the_same_however_many_gather(sent in traffic(Kind::All), batch_rows in 1..9_usize) {
        // At once in the order of arrival, or each layout for itself when so many are there.
        let schema = columns().schema().clone();
        let mut expected = Vec::new();
        let mut at_once = decoder(no_waiting());
        let mut gathering = Decoder::new(DecoderConfig { batch_rows, ..config_of(no_waiting()) });
        for sent in &sent {
            at_once.decode(&sent.datagram());
            expected.extend(rows::take(&mut at_once, &schema));
            gathering.decode(&sent.datagram());
        }
        let gathered = rows::take(&mut gathering, &schema);
        let sorted = |rows: Vec<(Family, Vec<Row>)>| {
            let named = rows.into_iter().flat_map(|(family, rows)| {
                rows.into_iter().map(move |row| format!("{family:?} {row:?}"))
            });
            let mut named: Vec<String> = named.collect();
            named.sort_unstable();
            named
        };
        prop_assert_eq!(sorted(expected), sorted(gathered.into_iter().collect()));
        prop_assert_eq!(sum(&at_once), sum(&gathering));
    }

    #[test]
    fn netflow_parser_gives_the_same_rows(sent in traffic(Kind::Peer)) {
        let (mut peer, mut decoder) = (Peer::default(), decoder(no_waiting()));
        let schema = columns().schema().clone();
        for sent in &sent {
            decoder.decode(&sent.datagram());
            compare(peer.decode(&sent.datagram())?, rows::take(&mut decoder, &schema))?;
        }
    }
}

proptest! {
    #![proptest_config(config(6))]

    #[test]
    fn every_prefix_of_every_datagram_is_harmless(sent in traffic(Kind::All)) {
        prefixes(&sent.iter().map(Sent::datagram).collect::<Vec<_>>());
    }
}

#[test]
fn every_prefix_of_every_golden_datagram_is_harmless() {
    let source = SocketAddr::from(([192, 0, 2, 1], 4000));
    let datagrams = golden::ALL.map(|payload| Datagram {
        source,
        destination: source,
        received_ns: 1_700_000_000_000_000_000,
        payload,
    });
    prefixes(&datagrams);
}

/// Decodes every prefix of each datagram, and the whole last, by one decoder.
fn prefixes(datagrams: &[Datagram<'_>]) {
    let mut decoder = decoder(Limits::default());
    let schema = columns().schema().clone();
    let (mut count, mut stored) = (0, 0);
    for datagram in datagrams {
        for length in 0..=datagram.payload.len() {
            let payload = &datagram.payload[..length];
            decoder.decode(&Datagram {
                payload,
                ..*datagram
            });
            count += 1;
        }
        stored += rows::take(&mut decoder, &schema)
            .values()
            .map(Vec::len)
            .sum::<usize>();
        assert!(decoder.tables().pending_bytes <= Limits::default().pending_bytes);
    }
    decoder.finish();
    stored += rows::take(&mut decoder, &schema)
        .values()
        .map(Vec::len)
        .sum::<usize>();
    let sum = sum(&decoder);
    balance(&sum, count, stored);
    let given_up = sum.reasons.count(Scope::Set, "template_missing_at_end");
    assert_eq!(sum.sets_waited, sum.sets_recovered + given_up);
}
