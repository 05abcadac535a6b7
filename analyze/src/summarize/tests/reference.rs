//! The reference: a map from keys as text to the flows that have them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

/// Rows of text, null as "-".
pub(super) type Told = Vec<Vec<String>>;

const DAY_US: i64 = 86_400_000_000;

/// The rows of the answer, sorted as text.
pub(super) fn summarize_slowly(table: &Table, summary: &Summary) -> Told {
    let mut groups: BTreeMap<Vec<String>, Vec<(Family, &Flow)>> = BTreeMap::new();
    for (family, flows) in table {
        for flow in flows {
            let key = summary
                .by
                .iter()
                .map(|key| key_of(key.name(), *family, flow));
            groups
                .entry(key.collect())
                .or_default()
                .push((*family, flow));
        }
    }
    let mut told: Told = groups
        .into_iter()
        .map(|(key, flows)| {
            let values = summary.values.iter().map(|value| value_of(*value, &flows));
            key.into_iter().chain(values).collect()
        })
        .collect();
    told.sort();
    told
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn number(flow: &Flow, name: &str) -> Option<u64> {
    match flow.get(name)? {
        Cell::Number(number) => Some(*number),
        other => panic!("{name} is {other:?}"),
    }
}

fn time(flow: &Flow, name: &str) -> Option<i64> {
    match flow.get(name)? {
        Cell::Signed(number) => Some(*number),
        other => panic!("{name} is {other:?}"),
    }
}

fn octets(flow: &Flow, name: &str) -> Option<Vec<u8>> {
    match flow.get(name)? {
        Cell::Octets(octets) => Some(octets.clone()),
        other => panic!("{name} is {other:?}"),
    }
}

/// `2001:db8::1/64`: bits beyond the length are zero.
fn address(end: &str, family: Family, flow: &Flow, lengths: Option<(u32, u32)>) -> Option<String> {
    let ipv4 = number(flow, &format!("{end}_ipv4")).map(|address| {
        let address = address as u32;
        match lengths {
            None => Ipv4Addr::from(address).to_string(),
            Some((length, _)) => {
                let kept = (0..32)
                    .filter(|bit| *bit < length)
                    .map(|bit| 1_u32 << (31 - bit))
                    .sum::<u32>();
                format!("{}/{length}", Ipv4Addr::from(address & kept))
            }
        }
    });
    let ipv6 = octets(flow, &format!("{end}_ipv6")).map(|octets| {
        let address = u128::from_be_bytes(octets.try_into().expect("16 octets"));
        match lengths {
            None => Ipv6Addr::from(address).to_string(),
            Some((_, length)) => {
                let kept = (0..128)
                    .filter(|bit| *bit < length)
                    .map(|bit| 1_u128 << (127 - bit))
                    .sum::<u128>();
                format!("{}/{length}", Ipv6Addr::from(address & kept))
            }
        }
    });
    if family == Family::Ipv6 {
        ipv6.or(ipv4)
    } else {
        ipv4.or(ipv6)
    }
}

fn key_of(name: &str, family: Family, flow: &Flow) -> String {
    let first = time(flow, "first");
    let bucket = |span: i64| text(first.map(|first| first.div_euclid(span) * span));
    let class = |port: &str| {
        text(number(flow, port).map(|port| match port {
            0..=1023 => "system",
            1024..=49151 => "user",
            _ => "dynamic",
        }))
    };
    match name {
        "src_addr" => text(address("src", family, flow, None)),
        "dst_addr" => text(address("dst", family, flow, None)),
        "src_prefix/24" => text(address("src", family, flow, Some((24, 24)))),
        "dst_prefix/64" => text(address("dst", family, flow, Some((32, 64)))),
        "src_prefix/0" => text(address("src", family, flow, Some((0, 0)))),
        "dst_prefix/31/127" => text(address("dst", family, flow, Some((31, 127)))),
        "src_ipv4" => text(number(flow, name).map(|address| Ipv4Addr::from(address as u32))),
        "dst_ipv6" => text(octets(flow, name).map(|octets| {
            Ipv6Addr::from(u128::from_be_bytes(octets.try_into().expect("16 octets")))
        })),
        "hour" => bucket(3_600_000_000),
        "minute" => bucket(60_000_000),
        "bucket:5m" => bucket(300_000_000),
        "date" => text(first.map(|first| first.div_euclid(DAY_US))),
        "src_port_class" => class("src_port"),
        "dst_port_class" => class("dst_port"),
        "family" => family.name().to_owned(),
        "exporter" => text(octets(flow, name).map(|name| String::from_utf8(name).expect("text"))),
        "first" => text(first),
        _ => text(number(flow, name)),
    }
}

fn value_of(value: Value, flows: &[(Family, &Flow)]) -> String {
    let numbers = |name: &str| -> Vec<u64> {
        flows
            .iter()
            .filter_map(|(_, flow)| number(flow, name))
            .collect()
    };
    let sum = |name: &str| text(numbers(name).into_iter().reduce(|a, b| a + b));
    let agreed = |name: &str| {
        let all: BTreeSet<u64> = numbers(name).into_iter().collect();
        text(all.first().filter(|_| all.len() == 1))
    };
    let times = |name: &'static str| flows.iter().filter_map(move |(_, flow)| time(flow, name));
    let different = |end: &str| {
        let all = flows
            .iter()
            .filter_map(|(family, flow)| address(end, *family, flow, None));
        all.collect::<BTreeSet<_>>().len().to_string()
    };
    match value {
        Value::Flows => flows.len().to_string(),
        Value::Packets => sum("packets"),
        Value::Bytes => sum("bytes"),
        Value::First => text(times("first").min()),
        Value::Last => text(times("last").max()),
        Value::Duration => {
            let ends = times("first").min().zip(times("last").max());
            text(ends.map(|(first, last)| (last - first) as f64 / 1e6))
        }
        Value::TcpFlags => text(numbers("tcp_flags").into_iter().reduce(|a, b| a | b)),
        Value::IcmpType => agreed("icmp_type"),
        Value::IcmpCode => agreed("icmp_code"),
        Value::Exporters => {
            let all = flows
                .iter()
                .filter_map(|(_, flow)| octets(flow, "exporter"));
            all.collect::<BTreeSet<_>>().len().to_string()
        }
        Value::SrcCount => different("src"),
        Value::DstCount => different("dst"),
    }
}
