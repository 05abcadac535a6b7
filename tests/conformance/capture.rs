//! One capture through the collector's decoder and the plain one.

use std::collections::BTreeMap;

use forebay_collector::{Columns, Counters, Decoder, DecoderConfig, ExtraType, Limits, Scope};
use forebay_wire::ElementId;

use crate::compare::{self, Extras, Mismatch};
use crate::corpus::{Capture, Captured};
use crate::expected::{self, Expected, Given};
use crate::plain::rows::{self, Cell, Row};
use crate::plain::{PlainDecoder, PlainRecord};

/// Configured columns that fit beside the standard ones.
const EXTRAS_MAX: usize = 70;
/// What was compared.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) datagrams: usize,
    pub(crate) records: usize,
    /// Keys of expectations that were compared.
    pub(crate) fields: usize,
    /// Cells of rows that were compared with the plain decoder's.
    pub(crate) cells: usize,
    /// Rows more that come of data sets that waited for their template.
    pub(crate) recovered: usize,
    pub(crate) explained: usize,
    pub(crate) mismatches: Vec<Mismatch>,
}

impl Report {
    pub(crate) const HEADING: &str = "capture                                datagrams  records   fields    cells \
                                      recovered explained mismatches";

    pub(crate) fn line(&self, name: &str, mismatches: usize) -> String {
        let Self {
            datagrams,
            records,
            fields,
            cells,
            recovered,
            explained,
            ..
        } = self;
        format!(
            "{name:<38} {datagrams:>9} {records:>8} {fields:>8} {cells:>8} {recovered:>9} {explained:>9} {mismatches:>10}"
        )
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.records += other.records;
        self.fields += other.fields;
        self.cells += other.cells;
        self.recovered += other.recovered;
        self.explained += other.explained;
    }
}

/// Data sets before their template are counted, and not kept: so do the decoders that the expectations come from.
pub(crate) fn no_waiting() -> Limits {
    Limits {
        pending_bytes_per_exporter: 0,
        pending_bytes: 0,
        ..Limits::default()
    }
}

pub(crate) fn decoder(columns: Columns, limits: Limits) -> Decoder {
    Decoder::new(DecoderConfig {
        columns,
        limits,
        ..DecoderConfig::default()
    })
}

/// All that a decoder has counted.
pub(crate) fn sum(decoder: &Decoder) -> Counters {
    let mut sum = decoder.unassigned();
    for domain in decoder.domains() {
        sum.add(&domain.counters);
    }
    sum
}

/// A capture's datagrams, and what is in them.
struct Check<'c> {
    capture: &'c Capture,
    datagrams: Vec<Captured>,
    records: Vec<Vec<PlainRecord>>,
    expected: Vec<Vec<(usize, Expected)>>,
    report: Report,
}

/// Compares all there is to compare of a capture.
pub(crate) fn check(capture: &Capture) -> Report {
    let datagrams = capture.datagrams();
    let mut plain = PlainDecoder::default();
    let records = datagrams
        .iter()
        .map(|datagram| plain.decode(&datagram.datagram()))
        .collect();
    let mut expected: Vec<_> = datagrams.iter().map(|_| Vec::new()).collect();
    let lines = capture
        .expected
        .as_deref()
        .map(expected::read)
        .unwrap_or_default();
    let mut homeless = Vec::new();
    for (number, line) in lines.into_iter().enumerate() {
        match expected.get_mut(line.datagram) {
            Some(lines) => lines.push((number, line)),
            None => homeless.push((number, line.datagram)),
        }
    }
    let report = Report {
        datagrams: datagrams.len(),
        ..Report::default()
    };
    let mut check = Check {
        capture,
        datagrams,
        records,
        expected,
        report,
    };
    check.counts(&plain);
    for (number, datagram) in homeless {
        let ours = format!("{} datagrams", check.datagrams.len());
        check.mismatch(number, "dgram", datagram.to_string(), ours);
    }
    if capture.expected.is_some() {
        let extras = check.contents();
        let mut groups = extras.groups(EXTRAS_MAX).into_iter();
        check.rows(&groups.next().unwrap_or_default(), true);
        groups.for_each(|group| check.rows(&group, false));
    }
    check.waiting();
    check.report
}

impl Check<'_> {
    fn mismatch(&mut self, record: usize, field: &str, expected: String, ours: String) {
        let (capture, field) = (self.capture.name.clone(), field.to_owned());
        self.report.mismatches.push(Mismatch {
            capture,
            record,
            field,
            expected,
            ours,
        });
    }

    /// COUNTS.tsv against both decoders' counters.
    fn counts(&mut self, plain: &PlainDecoder) {
        let mut decoder = decoder(Columns::default(), no_waiting());
        for datagram in &self.datagrams {
            decoder.decode(&datagram.datagram());
        }
        let mut ours = BTreeMap::<u8, Counters>::new();
        for domain in decoder.domains() {
            ours.entry(domain.version)
                .or_default()
                .add(&domain.counters);
        }
        for (version, counts) in &self.capture.counts {
            let plain = plain.counts.get(version).cloned().unwrap_or_default();
            let ours = ours.get(version).cloned().unwrap_or_default();
            // With nowhere to wait, each of these sets is one too many.
            let missing = ours
                .reasons
                .count(Scope::Set, "template_missing_too_many_bytes");
            let pairs = [
                ("datagrams", plain.datagrams, ours.messages),
                ("data_records", plain.data_records, ours.records),
                (
                    "options_records",
                    plain.options_records,
                    ours.options_records,
                ),
                (
                    "template_definitions",
                    plain.templates,
                    ours.templates.saturating_sub(plain.options_templates),
                ),
                (
                    "options_template_definitions",
                    plain.options_templates,
                    ours.templates.saturating_sub(plain.templates),
                ),
                (
                    "sets_without_template",
                    plain.sets_without_template,
                    missing,
                ),
            ];
            for (field, plain, ours) in pairs {
                let Some(&expected) = counts.get(field) else {
                    continue;
                };
                self.report.fields += 1;
                if (expected, expected) != (plain, ours) {
                    let ours = if plain == ours {
                        ours.to_string()
                    } else {
                        format!("{ours} ({plain})")
                    };
                    self.mismatch(0, &format!("counts.{field}"), expected.to_string(), ours);
                }
            }
        }
    }

    /// The keys that name elements, against the fields as they are walked. Returns the elements as columns.
    fn contents(&mut self) -> Extras {
        let mut extras = Extras::default();
        for place in 0..self.datagrams.len() {
            let (records, expected) = (self.records[place].len(), self.expected[place].len());
            if records != expected {
                let field = format!("records of datagram {place}");
                self.mismatch(0, &field, expected.to_string(), records.to_string());
            }
            self.report.records += expected;
            for (record, (number, expected)) in std::iter::zip(
                std::mem::take(&mut self.records[place]),
                std::mem::take(&mut self.expected[place]),
            ) {
                for (key, value) in &expected.other {
                    self.report.fields += 1;
                    if let Err(ours) = content(self.capture, &record, key, value, &mut extras) {
                        self.mismatch(number, key, value.to_string(), ours);
                    }
                }
                self.records[place].push(record);
                self.expected[place].push((number, expected));
            }
        }
        extras
    }

    /// The rows, against the keys that name columns and against the plain decoder's rows.
    fn rows(&mut self, group: &[(ElementId, ExtraType)], standard: bool) {
        let columns = compare::columns(group);
        let schema = columns.schema().clone();
        let mut decoder = decoder(columns, no_waiting());
        let mut found = Vec::new();
        for (place, datagram) in self.datagrams.iter().enumerate() {
            decoder.decode(&datagram.datagram());
            let mut families = rows::take(&mut decoder, &schema);
            for rows in families.values_mut() {
                rows.reverse();
            }
            for (record, (number, expected)) in
                self.records[place].iter().zip(&self.expected[place])
            {
                let mut add = |field: &str, expected, ours| {
                    found.push((*number, field.to_owned(), expected, ours));
                };
                let row = families.get_mut(&record.family).and_then(Vec::pop);
                let Some(row) = row else {
                    add(
                        "family",
                        record.family.name().to_owned(),
                        "no row".to_owned(),
                    );
                    continue;
                };
                if standard {
                    self.report.fields += expected.main.len();
                    compare::main_keys(expected, &row, &mut add);
                    self.report.cells += standard_cells(record, &row, &mut add);
                }
                for &(element, kind) in group {
                    let Some(cell) = compare::extra_cell(element, kind, record) else {
                        continue;
                    };
                    self.report.cells += 1;
                    let name = compare::extra_name(element);
                    if row.get(&name) != cell.as_ref() {
                        let ours = compare::show(row.get(&name));
                        add(
                            &format!("column of {element}"),
                            compare::show(cell.as_ref()),
                            ours,
                        );
                    }
                }
            }
            for (family, rows) in families {
                if !rows.is_empty() {
                    let field = format!("rows of datagram {place} in {}", family.name());
                    found.push((
                        0,
                        field,
                        "no more".to_owned(),
                        format!("{} more", rows.len()),
                    ));
                }
            }
        }
        for (record, field, expected, ours) in found {
            self.mismatch(record, &field, expected, ours);
        }
    }

    /// With the usual limits no row is lost, and those that come late are counted.
    fn waiting(&mut self) {
        let mut decoder = decoder(Columns::default(), Limits::default());
        let schema = Columns::default().schema().clone();
        let mut stored = 0;
        for datagram in &self.datagrams {
            decoder.decode(&datagram.datagram());
            stored += rows::take(&mut decoder, &schema)
                .values()
                .map(Vec::len)
                .sum::<usize>();
        }
        decoder.finish();
        let sum = sum(&decoder);
        let records: usize = self.records.iter().map(Vec::len).sum();
        let given_up = sum.reasons.count(Scope::Set, "template_missing_at_end");
        self.report.recovered = stored - records;
        let balance = [
            (
                "datagrams",
                sum.datagrams,
                sum.messages + sum.reasons.total(Scope::Datagram),
            ),
            ("rows", sum.records, stored as u64),
            (
                "sets that wait",
                sum.sets_waited,
                sum.sets_recovered + given_up,
            ),
            (
                "late rows without a late set",
                0,
                u64::from(sum.sets_recovered == 0) * (stored - records) as u64,
            ),
        ];
        for (field, one, other) in balance {
            if one != other {
                self.mismatch(
                    0,
                    &format!("balance of {field}"),
                    one.to_string(),
                    other.to_string(),
                );
            }
        }
    }
}

/// Compares the cells of standard columns. Returns how many there were.
fn standard_cells(
    record: &PlainRecord,
    row: &Row,
    add: &mut impl FnMut(&str, String, String),
) -> usize {
    let schema = Columns::default();
    let names = row.keys().chain(record.row.keys());
    let names: std::collections::BTreeSet<_> = names
        .filter(|name| schema.schema().find(name).is_some())
        .collect();
    for name in &names {
        let (expected, ours) = (record.row.get(*name), row.get(*name));
        let same = match (name.as_str(), expected, ours) {
            // A datagram that is a moment older than its window belongs to the window.
            ("received", Some(Cell::Time(expected)), Some(Cell::Time(ours))) => {
                (0..=1_000_000).contains(&(ours - expected))
            }
            _ => expected == ours,
        };
        if !same {
            add(
                &format!("column {name}"),
                compare::show(expected),
                compare::show(ours),
            );
        }
    }
    if let Some(times) = record.impossible_times(row) {
        add(
            "times",
            "in order, and before the message".to_owned(),
            times,
        );
    }
    names.len()
}

/// Holds a key of `other` against the fields of the record that it names.
fn content(
    capture: &Capture,
    record: &PlainRecord,
    key: &str,
    value: &serde_json::Value,
    extras: &mut Extras,
) -> Result<(), String> {
    let Some((element, place)) = expected::element(key, &capture.names) else {
        return Err("an element that is not known".to_owned());
    };
    let Some(given) = Given::new(value) else {
        return Err("a value of a form that is not known".to_owned());
    };
    let mut contents = record
        .fields
        .iter()
        .filter(|(field, _)| field.element == element);
    let Some((_, content)) = contents.nth(place) else {
        return Err("not in the record".to_owned());
    };
    if place == 0 {
        extras.learn(element, &given, content);
    }
    match compare::content_is(&given, content) {
        true => Ok(()),
        false => Err(Cell::Octets(content.to_vec()).to_string()),
    }
}
