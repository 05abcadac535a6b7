//! Conditions as text, and what they say of a row: looked at one by one, with SQL's three values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use forebay_store::Family;
use proptest::prelude::*;
use proptest::sample::select;

use super::rows::{BYTES, NAMES, PORTS, Row};

/// What a condition says of a row: true, false or unknown.
type Holds = dyn Fn(&Row, Family) -> Option<bool>;

#[derive(Clone)]
pub(super) struct Slow {
    pub(super) text: String,
    pub(super) holds: Rc<Holds>,
}

impl fmt::Debug for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn slow(text: String, holds: impl Fn(&Row, Family) -> Option<bool> + 'static) -> Slow {
    let holds = Rc::new(holds);
    Slow { text, holds }
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    and(a.map(|a| !a), b.map(|b| !b)).map(|neither| !neither)
}

const COMPARISONS: [&str; 6] = ["=", "!=", "<", "<=", ">", ">="];

fn compare<T: PartialOrd>(a: T, operator: &str, b: T) -> bool {
    match operator {
        "=" => a == b,
        "!=" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        ">=" => a >= b,
        other => panic!("{other}"),
    }
}

/// A test of one column.
fn test() -> impl Strategy<Value = Slow> {
    let operator = || select(&COMPARISONS[..]);
    let bytes = (operator(), select(&BYTES[..]), 0..3).prop_map(|(operator, value, form)| {
        // As it is, and one half more.
        let (text, twice) = match form {
            0 => (value.to_string(), 2 * i128::from(value)),
            1 => (format!("{value}.5"), 2 * i128::from(value) + 1),
            _ => (format!("-{value}.50"), -2 * i128::from(value) - 1),
        };
        slow(format!("bytes {operator} {text}"), move |row, _| {
            Some(compare(2 * i128::from(row.bytes?), operator, twice))
        })
    });
    let ports = (
        select(vec!["port", "src_port", "dst_port"]),
        operator(),
        select(&PORTS[..]),
    );
    let ports = ports.prop_map(|(name, operator, value)| {
        slow(format!("{name} {operator} {value}"), move |row, _| {
            let one = |port: Option<u16>| Some(compare(port?, operator, value));
            match name {
                "src_port" => one(row.src_port),
                "dst_port" => one(row.dst_port),
                // Unequal to either is neither.
                _ if operator == "!=" => and(one(row.src_port), one(row.dst_port)),
                _ => or(one(row.src_port), one(row.dst_port)),
            }
        })
    });
    let list = (
        prop::collection::vec(select(&PORTS[..]), 1..8),
        any::<bool>(),
    );
    let list = list.prop_map(|(ports, negated)| {
        let words: Vec<String> = ports.iter().map(u16::to_string).collect();
        let not = if negated { "not " } else { "" };
        slow(
            format!("dst_port {not}in ({})", words.join(",")),
            move |row, _| Some(ports.contains(&row.dst_port?) != negated),
        )
    });
    let times = (select(vec!["first", "last"]), operator());
    let times = times.prop_map(|(name, operator)| {
        slow(
            format!("{name} {operator} '2026-11-21 16:40'"),
            move |row, _| {
                let time = if name == "first" { row.first } else { row.last };
                Some(compare(time?, operator, 1_795_279_200_000_000))
            },
        )
    });
    let duration = operator().prop_map(|operator| {
        slow(format!("duration {operator} 500ms"), move |row, _| {
            let duration = i128::from(row.last?) - i128::from(row.first?);
            Some(compare(duration, operator, 500_000))
        })
    });
    let delta = (operator(), -2_i64..3).prop_map(|(operator, value)| {
        slow(format!("delta {operator} {value}"), move |row, _| {
            Some(compare(row.delta?, operator, value))
        })
    });
    let load = (operator(), select(vec![0.0, 1.5])).prop_map(|(operator, value)| {
        slow(format!("load {operator} {value}"), move |row, _| {
            let load = row.load?;
            // What is no number is above all numbers.
            let order = load
                .partial_cmp(&value)
                .unwrap_or(std::cmp::Ordering::Greater);
            Some(compare(order, operator, std::cmp::Ordering::Equal))
        })
    });
    let protocol = (
        any::<bool>(),
        select(vec![("tcp", 6), ("UDP", 17), ("0x1", 1)]),
    );
    let protocol = protocol.prop_map(|(equal, (name, number))| {
        let operator = if equal { "==" } else { "<>" };
        slow(format!("protocol {operator} {name}"), move |row, _| {
            Some((row.protocol? == number) == equal)
        })
    });
    let flags = select(vec![("syn", 0x2), ("syn+ack", 0x12), ("0x1", 1), ("0", 0)]);
    let flags = flags.prop_map(|(name, mask)| {
        slow(format!("tcp_flags has {name}"), move |row, _| {
            Some(row.tcp_flags? & mask == mask)
        })
    });
    let names = (operator(), select(&NAMES[..])).prop_map(|(operator, name)| {
        let quoted = name.replace('\'', "''");
        slow(format!("interface {operator} '{quoted}'"), move |row, _| {
            Some(compare(row.interface.as_deref()?, operator, name))
        })
    });
    let mac = slow("src_mac = 00:01:00:01:00:00".to_owned(), |row, _| {
        Some(row.src_mac? == [0, 1, 0, 1, 0, 0])
    });
    let not_there = slow("nat_event = 1".to_owned(), |_, _| None);
    let family = slow("family in (ipv4, other)".to_owned(), |_, family| {
        Some(family != Family::Ipv6)
    });
    prop_oneof![
        bytes,
        ports,
        list,
        times,
        duration,
        delta,
        load,
        protocol,
        flags,
        names,
        addresses(),
        nulls(),
        Just(mac),
        Just(not_there),
        Just(family),
    ]
}

fn addresses() -> impl Strategy<Value = Slow> {
    let prefixes = select(vec![
        "10.0.0.0/8",
        "10.0.0.1",
        "0.0.0.0/0",
        "2001:db8::/32",
        "2001:db8::7",
        "::/0",
        "192.0.2.0/24",
    ]);
    let names = select(vec!["src_addr", "addr", "src_ipv4", "src_ipv6", "exporter"]);
    (names, prefixes, any::<bool>()).prop_map(|(name, prefix, negated)| {
        let prefix = match (name, prefix.contains(':')) {
            ("src_ipv4", true) => "10.0.0.0/8",
            ("src_ipv6", false) => "2001:db8::/32",
            _ => prefix,
        };
        let not = if negated { "not " } else { "" };
        slow(format!("{name} {not}in {prefix}"), move |row, family| {
            let within = |address: Option<IpAddr>| Some(is_within(address?, prefix) != negated);
            let ipv4 = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
            let ipv6 = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
            let (src, dst) = (row.src_addr(family), row.dst_addr());
            match name {
                "src_addr" => within(src),
                "src_ipv4" => within(row.src_ipv4.map(ipv4)),
                "src_ipv6" => within(row.src_ipv6.map(ipv6)),
                "exporter" => within(row.exporter.parse().ok()),
                _ if negated => and(within(src), within(dst)),
                _ => or(within(src), within(dst)),
            }
        })
    })
}

/// Bit by bit.
fn is_within(address: IpAddr, prefix: &str) -> bool {
    let (network, length) = prefix.split_once('/').unwrap_or((prefix, "128"));
    let length: usize = length.parse().expect("a number");
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let of_octet = |octet: u8| (0..8).rev().map(move |bit| octet >> bit & 1 == 1);
        octets.into_iter().flat_map(of_octet).collect()
    };
    let network: IpAddr = network.parse().expect("an address");
    let (address, network) = (bits(address), bits(network));
    address.len() == network.len()
        && address
            .iter()
            .zip(&network)
            .take(length)
            .all(|(a, b)| a == b)
}

fn nulls() -> impl Strategy<Value = Slow> {
    let names = vec![
        "src_addr",
        "src_ipv6",
        "bytes",
        "duration",
        "nat_event",
        "exporter",
    ];
    (select(names), any::<bool>()).prop_map(|(name, negated)| {
        let not = if negated { "not " } else { "" };
        slow(format!("{name} is {not}null"), move |row, family| {
            let is_null = match name {
                "src_addr" => row.src_addr(family).is_none(),
                "src_ipv6" => row.src_ipv6.is_none(),
                "bytes" => row.bytes.is_none(),
                "duration" => row.first.is_none() || row.last.is_none(),
                "exporter" => false,
                _ => true,
            };
            Some(is_null != negated)
        })
    })
}

pub(super) fn condition() -> impl Strategy<Value = Slow> {
    test().prop_recursive(4, 24, 3, |inner| {
        let pair = || (inner.clone(), inner.clone());
        prop_oneof![
            pair().prop_map(|(a, b)| slow(
                format!("({} and {})", a.text, b.text),
                move |row, family| { and((a.holds)(row, family), (b.holds)(row, family)) }
            )),
            pair().prop_map(|(a, b)| slow(
                format!("({} OR {})", a.text, b.text),
                move |row, family| { or((a.holds)(row, family), (b.holds)(row, family)) }
            )),
            inner.prop_map(|a| slow(format!("not ({})", a.text), move |row, family| {
                (a.holds)(row, family).map(|holds| !holds)
            })),
        ]
    })
}
