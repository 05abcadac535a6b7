//! One record: what is expected of it against what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use forebay_collector::{Columns, ExtraType};
use forebay_wire::ElementId;
use serde_json::Value;

use crate::expected::{Expected, Given, ip_address, mac_address};
use crate::plain::PlainRecord;
use crate::plain::rows::{Cell, Row};

/// A value that is not what was expected.
#[derive(Debug, Clone)]
pub(crate) struct Mismatch {
    pub(crate) capture: String,
    /// The record in the capture.
    pub(crate) record: usize,
    /// The key of the expectation, or the column.
    pub(crate) field: String,
    pub(crate) expected: String,
    pub(crate) ours: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            capture,
            record,
            field,
            expected,
            ours,
        } = self;
        write!(
            f,
            "{capture}: record {record}: {field}: {expected} expected, ours is {ours}"
        )
    }
}

/// The column that a main key names, and the cell that its value is there.
///
/// `None` where the test does not know the key.
fn main_cell(key: &str, value: &Value) -> Option<(String, Cell)> {
    let numbers = [
        ("version", "export_version"),
        ("observation_domain", "observation_domain"),
        ("template_id", "template_id"),
        ("in_if", "in_if"),
        ("out_if", "out_if"),
        ("proto", "protocol"),
        ("packets", "packets"),
        ("bytes", "bytes"),
        ("src_port", "src_port"),
        ("dst_port", "dst_port"),
        ("tos", "tos"),
        ("tcp_flags", "tcp_flags"),
        ("src_as", "src_as"),
        ("dst_as", "dst_as"),
        ("src_mask", "src_mask"),
        ("dst_mask", "dst_mask"),
        ("icmp_type", "icmp_type"),
        ("icmp_code", "icmp_code"),
        ("vlan", "src_vlan"),
    ];
    if let Some((_, column)) = numbers.iter().find(|(known, _)| *known == key) {
        return Some(((*column).to_owned(), Cell::Number(value.as_u64()?)));
    }
    match key {
        "first_ms" => Some(("first".to_owned(), Cell::Time(value.as_i64()?))),
        "last_ms" => Some(("last".to_owned(), Cell::Time(value.as_i64()?))),
        "src_mac" | "dst_mac" => {
            Some((key.to_owned(), Cell::Octets(mac_address(value.as_str()?)?)))
        }
        "exporter" => Some((
            key.to_owned(),
            Cell::Text(ip_address(value.as_str()?)?.to_string()),
        )),
        "src_addr" | "dst_addr" | "next_hop" => {
            let name = key.trim_end_matches("_addr");
            Some(match ip_address(value.as_str()?)? {
                IpAddr::V4(address) => (
                    format!("{name}_ipv4"),
                    Cell::Number(address.to_bits().into()),
                ),
                IpAddr::V6(address) => (
                    format!("{name}_ipv6"),
                    Cell::Octets(address.octets().to_vec()),
                ),
            })
        }
        _ => None,
    }
}

/// Calls `mismatch` with field, expected and ours for each main key that differs.
pub(crate) fn main_keys(
    expected: &Expected,
    row: &Row,
    mut mismatch: impl FnMut(&str, String, String),
) {
    for (key, value) in &expected.main {
        let Some((column, cell)) = main_cell(key, value) else {
            mismatch(key, value.to_string(), "a key that is not known".to_owned());
            continue;
        };
        let ours = row.get(&column).map(|ours| match ours {
            Cell::Time(us) => Cell::Time(us.div_euclid(1000)),
            ours => ours.clone(),
        });
        if ours.as_ref() != Some(&cell) {
            mismatch(key, cell.to_string(), show(ours.as_ref()));
        }
    }
}

pub(crate) fn show(cell: Option<&Cell>) -> String {
    cell.map_or_else(|| "null".to_owned(), ToString::to_string)
}

/// Whether a field's content is what is given.
pub(crate) fn content_is(given: &Given, content: &[u8]) -> bool {
    match given {
        Given::Number(number) => {
            let (high, low) = content.split_at(content.len().saturating_sub(8));
            high.iter().all(|&byte| byte == 0)
                && low
                    .iter()
                    .fold(0, |value, &byte| value << 8 | u64::from(byte))
                    == *number
        }
        Given::Float(float) => match content.len() {
            4 => content
                .try_into()
                .is_ok_and(|octets| f64::from(f32::from_be_bytes(octets)) == *float),
            _ => content
                .try_into()
                .is_ok_and(|octets| f64::from_be_bytes(octets) == *float),
        },
        Given::Octets(octets) => content == octets,
        Given::Text(text) => match written_as(text, content) {
            Some(octets) => octets == content,
            None => {
                trimmed(content) == text.trim_end_matches('\0') || float_is_written(text, content)
            }
        },
    }
}

/// The octets that a text stands for, if a field of such content can hold an address.
fn written_as(text: &str, content: &[u8]) -> Option<Vec<u8>> {
    match (content.len(), ip_address(text)) {
        (4, Some(IpAddr::V4(address))) => Some(address.octets().to_vec()),
        (16, Some(IpAddr::V6(address))) => Some(address.octets().to_vec()),
        (6, None) => mac_address(text),
        _ => None,
    }
}

/// Whether a text is the first six digits of the float that the content is.
fn float_is_written(text: &str, content: &[u8]) -> bool {
    let float = match content.len() {
        4 => content.try_into().map(f32::from_be_bytes).map(f64::from),
        _ => content.try_into().map(f64::from_be_bytes),
    };
    let written = text.parse::<f64>();
    matches!((float, written), (Ok(float), Ok(written)) if (float - written).abs() <= 1e-5 * float.abs())
}

fn trimmed(content: &[u8]) -> String {
    let end = content
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    String::from_utf8_lossy(&content[..end]).into_owned()
}

/// Elements as configured columns, each of the type in which its values are given.
#[derive(Default)]
pub(crate) struct Extras {
    kinds: BTreeMap<ElementId, ExtraType>,
}

impl Extras {
    /// Takes a value of an element, given in this form for that content.
    pub(crate) fn learn(&mut self, element: ElementId, given: &Given, content: &[u8]) {
        let kind = match given {
            Given::Number(_) if content.len() <= 8 => ExtraType::U64,
            Given::Float(_) => ExtraType::F64,
            Given::Text(text) if float_is_written(text, content) => ExtraType::F64,
            Given::Text(text) => match (written_as(text, content), content.len()) {
                (None, _) => ExtraType::Text,
                (Some(_), 4) => ExtraType::Ipv4,
                (Some(_), 6) => ExtraType::Mac,
                (Some(_), _) => ExtraType::Ipv6,
            },
            Given::Number(_) | Given::Octets(_) => ExtraType::Octets,
        };
        // Where the forms differ, what they have in common.
        let known = self.kinds.entry(element).or_insert(kind);
        if *known != kind {
            *known = ExtraType::Octets;
        }
    }

    /// The elements in groups, each of which fits into one schema.
    pub(crate) fn groups(&self, size: usize) -> Vec<Vec<(ElementId, ExtraType)>> {
        let all: Vec<_> = self
            .kinds
            .iter()
            .map(|(&element, &kind)| (element, kind))
            .collect();
        let mut groups: Vec<_> = all.chunks(size).map(<[_]>::to_vec).collect();
        if groups.is_empty() {
            groups.push(Vec::new());
        }
        groups
    }
}

/// The name of an element's configured column.
pub(crate) fn extra_name(element: ElementId) -> String {
    format!("e{}_{}", element.enterprise, element.number)
}

/// The standard columns and those of a group.
pub(crate) fn columns(group: &[(ElementId, ExtraType)]) -> Columns {
    let mut columns = Columns::default();
    for &(element, kind) in group {
        columns
            .add(&extra_name(element), element, kind)
            .expect("a new name, and room");
    }
    columns
}

/// The cell of an element's configured column, by the record. `None` where nothing can be said.
pub(crate) fn extra_cell(
    element: ElementId,
    kind: ExtraType,
    record: &PlainRecord,
) -> Option<Option<Cell>> {
    let Some(content) = record.first(element) else {
        return Some(None);
    };
    let number = || {
        content
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte))
    };
    match (kind, content.len()) {
        (ExtraType::Octets, _) => Some(Some(Cell::Octets(content.to_vec()))),
        (ExtraType::Text, _) => Some(Some(Cell::Text(trimmed(content)))),
        (ExtraType::U64, 1..=8) | (ExtraType::Ipv4, 4) => Some(Some(Cell::Number(number()))),
        (ExtraType::Ipv6, 16) | (ExtraType::Mac, 6) => Some(Some(Cell::Octets(content.to_vec()))),
        (ExtraType::F64, 4) => {
            let octets = content.try_into().ok()?;
            Some(Some(Cell::Float(f32::from_be_bytes(octets).into())))
        }
        (ExtraType::F64, 8) => {
            let octets = content.try_into().ok()?;
            Some(Some(Cell::Float(f64::from_be_bytes(octets))))
        }
        _ => None,
    }
}
