//! What is expected of a capture's data records.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::Path;

use forebay_wire::{ElementId, element};
use serde_json::{Map, Value};

/// What a data record holds, by key.
pub(crate) struct Expected {
    /// The datagram it came in.
    pub(crate) datagram: usize,
    /// Keys that name columns.
    pub(crate) main: Map<String, Value>,
    /// Keys that name elements.
    pub(crate) other: Map<String, Value>,
}

/// Reads a file of expectations, in the order of the records.
pub(crate) fn read(path: &Path) -> Vec<Expected> {
    let file = File::open(path).expect("a readable file");
    let gzip = path.extension().is_some_and(|extension| extension == "gz");
    let input: Box<dyn Read> = match gzip {
        true => Box::new(flate2::read::MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    let lines = BufReader::new(input).lines();
    let lines = lines.map(|line| line.expect("text"));
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| parse(&line))
        .collect()
}

fn parse(line: &str) -> Expected {
    let mut main: Map<String, Value> = serde_json::from_str(line).expect("a JSON object");
    let datagram = main.remove("dgram").and_then(|value| value.as_u64());
    let other = match main.remove("other") {
        Some(Value::Object(other)) => other,
        _ => Map::new(),
    };
    Expected {
        datagram: datagram.expect("a datagram's number") as usize,
        main,
        other,
    }
}

/// The element that a key of `other` names, and which of its fields in the record is meant: `name`, `name#2`,
/// `ENTERPRISE/NUMBER`, `v9/NUMBER`.
pub(crate) fn element(
    key: &str,
    names: &BTreeMap<String, ElementId>,
) -> Option<(ElementId, usize)> {
    let (name, place) = match key.rsplit_once('#') {
        Some((name, place)) => (name, place.parse::<usize>().ok()?.checked_sub(1)?),
        None => (key, 0),
    };
    let element = match name.split_once('/') {
        Some(("v9", number)) => ElementId::iana(number.parse().ok()?),
        Some((enterprise, number)) => {
            ElementId::new(enterprise.parse().ok()?, number.parse().ok()?)
        }
        None => names
            .get(name)
            .copied()
            .or_else(|| element::by_name(name))?,
    };
    Some((element, place))
}

/// A value as it is given, in the forms that a field's content can be held against.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Given {
    /// An unsigned integer.
    Number(u64),
    /// A float.
    Float(f64),
    /// Bytes as they are.
    Octets(Vec<u8>),
    /// A text, or what is written as one.
    Text(String),
}

impl Given {
    pub(crate) fn new(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => match number.as_u64() {
                Some(number) => Some(Self::Number(number)),
                None => number.as_f64().map(Self::Float),
            },
            Value::Bool(truth) => Some(Self::Number(if *truth { 1 } else { 2 })),
            Value::String(text) => Some(match text.strip_prefix("hex:").and_then(octets) {
                Some(octets) => Self::Octets(octets),
                None => Self::Text(text.clone()),
            }),
            _ => None,
        }
    }
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// The address that a text is.
pub(crate) fn ip_address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// The hardware address that a text is.
pub(crate) fn mac_address(text: &str) -> Option<Vec<u8>> {
    let parts = text.split(':');
    let octets: Option<Vec<u8>> = parts
        .map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    octets.filter(|octets| octets.len() == 6)
}
