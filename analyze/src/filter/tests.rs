//! Filters against a slow evaluation, row by row, with SQL's three values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use forebay_store::{ColumnType, Family, FlowSchema};
use proptest::prelude::*;
use proptest::sample::select;

use super::Filter;
use super::bounds::Bounds;

/// The standard columns, and configured ones of the types that none of them has.
fn schema() -> FlowSchema {
    let mut schema = FlowSchema::default();
    for (name, kind) in [
        ("load", ColumnType::F64),
        ("delta", ColumnType::I64),
        ("interface", ColumnType::Text),
        ("raw", ColumnType::Octets),
    ] {
        schema.add(name, kind).expect("a new name");
    }
    schema
}

fn parse(text: &str) -> Filter {
    Filter::parse(text, &schema()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[derive(Debug, Clone)]
struct Row {
    exporter: String,
    protocol: Option<u8>,
    src_port: Option<u16>,
    dst_port: Option<u16>,
    tcp_flags: Option<u16>,
    bytes: Option<u64>,
    first: Option<i64>,
    last: Option<i64>,
    src_ipv4: Option<u32>,
    src_ipv6: Option<u128>,
    dst_ipv4: Option<u32>,
    src_mac: Option<[u8; 6]>,
    load: Option<f64>,
    delta: Option<i64>,
    interface: Option<String>,
}

impl Row {
    /// The address of the family, or else of the other.
    fn src_addr(&self, family: Family) -> Option<IpAddr> {
        let ipv4 = self
            .src_ipv4
            .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
        let ipv6 = self
            .src_ipv6
            .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
        match family {
            Family::Ipv6 => ipv6.or(ipv4),
            _ => ipv4.or(ipv6),
        }
    }

    fn dst_addr(&self) -> Option<IpAddr> {
        self.dst_ipv4
            .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    fn column<A: From<Vec<Option<T>>> + Array + 'static, T>(
        rows: &[Row],
        value: impl Fn(&Row) -> Option<T>,
    ) -> ArrayRef {
        Arc::new(A::from(rows.iter().map(value).collect::<Vec<_>>()))
    }
    fn fixed<const N: usize>(rows: &[Row], value: impl Fn(&Row) -> Option<[u8; N]>) -> ArrayRef {
        let values = rows.iter().map(value);
        let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, N as i32);
        Arc::new(array.expect("of one size"))
    }
    let times = |value: fn(&Row) -> Option<i64>| -> ArrayRef {
        let values: Vec<_> = rows.iter().map(value).collect();
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    };
    let exporters: DictionaryArray<Int32Type> =
        rows.iter().map(|row| row.exporter.as_str()).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("exporter", Arc::new(exporters) as ArrayRef, false),
        (
            "protocol",
            column::<UInt8Array, _>(rows, |row| row.protocol),
            true,
        ),
        (
            "src_port",
            column::<UInt16Array, _>(rows, |row| row.src_port),
            true,
        ),
        (
            "dst_port",
            column::<UInt16Array, _>(rows, |row| row.dst_port),
            true,
        ),
        (
            "tcp_flags",
            column::<UInt16Array, _>(rows, |row| row.tcp_flags),
            true,
        ),
        (
            "bytes",
            column::<UInt64Array, _>(rows, |row| row.bytes),
            true,
        ),
        ("first", times(|row| row.first), true),
        ("last", times(|row| row.last), true),
        (
            "src_ipv4",
            column::<UInt32Array, _>(rows, |row| row.src_ipv4),
            true,
        ),
        (
            "src_ipv6",
            fixed(rows, |row| row.src_ipv6.map(u128::to_be_bytes)),
            true,
        ),
        (
            "dst_ipv4",
            column::<UInt32Array, _>(rows, |row| row.dst_ipv4),
            true,
        ),
        ("src_mac", fixed(rows, |row| row.src_mac), true),
        (
            "load",
            column::<Float64Array, _>(rows, |row| row.load),
            true,
        ),
        (
            "delta",
            column::<Int64Array, _>(rows, |row| row.delta),
            true,
        ),
        (
            "interface",
            column::<StringArray, _>(rows, |row| row.interface.clone()),
            true,
        ),
    ])
    .expect("one length")
}

/// A filter, and what it says of a row: true, false or unknown.
#[derive(Clone)]
struct Slow {
    text: String,
    holds: Rc<dyn Fn(&Row, Family) -> Option<bool>>,
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

const PORTS: [u16; 6] = [0, 53, 80, 443, 1024, u16::MAX];
const BYTES: [u64; 6] = [0, 1, 1_000, 1_000_000, u64::MAX - 1, u64::MAX];
const TIMES: [i64; 6] = [
    i64::MIN,
    -1,
    0,
    1_795_279_200_000_000,
    1_795_279_200_500_000,
    i64::MAX,
];
const IPV4: [u32; 5] = [0, 0x0a00_0001, 0x0aff_ffff, 0x0b00_0000, u32::MAX];
const IPV6: [u128; 4] = [0, 0x2001_0db8 << 96, 0x2001_0db8 << 96 | 7, u128::MAX];
const FLOATS: [f64; 6] = [f64::NEG_INFINITY, -0.0, 0.0, 1.5, f64::INFINITY, f64::NAN];
const EXPORTERS: [&str; 4] = ["10.0.0.1", "192.0.2.1", "2001:db8::7", "router"];
const NAMES: [&str; 4] = ["", "eth0", "eth1", "o'hara"];

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let maybe = |present: u8| prop::bool::weighted(f64::from(present) / 10.0);
    let row = (
        (
            select(&EXPORTERS[..]),
            prop::option::of(select(vec![1_u8, 6, 17])),
            prop::option::of(select(&PORTS[..])),
            prop::option::of(select(&PORTS[..])),
            prop::option::of(0_u16..0x20),
            prop::option::of(select(&BYTES[..])),
            prop::option::of(select(&TIMES[..])),
            prop::option::of(select(&TIMES[..])),
        ),
        (
            prop::option::of(select(&IPV4[..])),
            prop::option::of(select(&IPV6[..])),
            prop::option::of(select(&IPV4[..])),
            prop::option::of(prop::array::uniform6(0_u8..2)),
            prop::option::of(select(&FLOATS[..])),
            prop::option::of(-2_i64..3),
            prop::option::of(select(&NAMES[..])),
        ),
    );
    let row = row.prop_map(|(a, b)| Row {
        exporter: a.0.to_owned(),
        protocol: a.1,
        src_port: a.2,
        dst_port: a.3,
        tcp_flags: a.4,
        bytes: a.5,
        first: a.6,
        last: a.7,
        src_ipv4: b.0,
        src_ipv6: b.1,
        dst_ipv4: b.2,
        src_mac: b.3,
        load: b.4,
        delta: b.5,
        interface: b.6.map(str::to_owned),
    });
    // Columns that are empty, too.
    (prop::collection::vec(row, 1..150), maybe(5), maybe(5)).prop_map(|(mut rows, v4, v6)| {
        for row in &mut rows {
            row.src_ipv4 = row.src_ipv4.filter(|_| v4);
            row.src_ipv6 = row.src_ipv6.filter(|_| v6);
        }
        rows
    })
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

fn condition() -> impl Strategy<Value = Slow> {
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

/// The statistics of a column, looked for value by value.
fn bounds(batch: &RecordBatch, name: &str) -> Bounds {
    let Some(array) = batch.column_by_name(name) else {
        return Bounds::absent();
    };
    let array = match array.as_any_dictionary_opt() {
        Some(_) => {
            let names = array.as_dictionary::<Int32Type>();
            let names = names.downcast_dict::<StringArray>().expect("text");
            Arc::new(names.into_iter().collect::<StringArray>()) as ArrayRef
        }
        None => Arc::clone(array),
    };
    let filled = (0..array.len()).filter(|&row| array.is_valid(row));
    let key = |row: &usize| -> (i128, Vec<u8>) {
        let row = *row;
        use arrow_array::types::*;
        use arrow_schema::DataType;
        let number = match array.data_type() {
            DataType::UInt8 => i128::from(array.as_primitive::<UInt8Type>().value(row)),
            DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
            DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
            DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
            DataType::Timestamp(..) => array
                .as_primitive::<TimestampMicrosecondType>()
                .value(row)
                .into(),
            DataType::Utf8 => {
                return (0, array.as_string::<i32>().value(row).into());
            }
            DataType::FixedSizeBinary(_) => {
                return (0, array.as_fixed_size_binary().value(row).into());
            }
            _ => 0,
        };
        (number, Vec::new())
    };
    let least = filled.clone().min_by_key(key).unwrap_or(0);
    let greatest = filled.max_by_key(key).unwrap_or(0);
    Bounds::from(&forebay_store::Bounds {
        least: array.slice(least, 1),
        greatest: array.slice(greatest, 1),
        nulls: Some(array.null_count() as u64),
        rows: array.len() as u64,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The rows for which the slow evaluation says true are chosen, and no others; and what statistics rule out has none.
    #[test]
    fn chosen_is_what_the_slow_evaluation_says(
        slow in condition(),
        rows in rows(),
        family in select(&Family::ALL[..]),
        start in 0..70_usize,
    ) {
        let filter = Filter::parse(&slow.text, &schema())?;
        let start = start.min(rows.len() - 1);
        // A slice: its bits do not begin with a byte.
        let batch = batch(&rows).slice(start, rows.len() - start);
        let chosen: Vec<bool> = filter.select(&batch, family)?.iter().collect();
        let rows = rows.get(start..).unwrap_or_default();
        let expected: Vec<bool> =
            rows.iter().map(|row| (slow.holds)(row, family) == Some(true)).collect();
        prop_assert_eq!(&chosen, &expected);
        let may_match = super::bounds::may_match(&filter.root, family, &|name| bounds(&batch, name));
        prop_assert!(may_match || !chosen.contains(&true), "ruled out");
        let unknown = super::bounds::may_match(&filter.root, family, &|_| Bounds::default());
        prop_assert!(unknown || !chosen.contains(&true), "ruled out for no reason");
        // Only the columns that it names are looked at.
        let columns = filter.columns();
        let schema = batch.schema();
        let needed: Vec<usize> = (0..batch.num_columns())
            .filter(|&place| columns.contains(&schema.field(place).name().as_str()))
            .collect();
        let narrow = batch.project(&needed)?;
        let again: Vec<bool> = filter.select(&narrow, family)?.iter().collect();
        prop_assert_eq!(again, expected);
    }
}

fn one_row() -> Row {
    Row {
        exporter: "192.0.2.1".to_owned(),
        protocol: Some(6),
        src_port: Some(1_234),
        dst_port: Some(443),
        tcp_flags: Some(0x12),
        bytes: Some(5 << 20),
        first: Some(1_795_279_200_000_000),
        last: Some(1_795_279_201_500_000),
        src_ipv4: Some(0x0a01_0203),
        src_ipv6: None,
        dst_ipv4: Some(0xc000_0201),
        src_mac: Some([0, 0, 0x5e, 0, 0x53, 1]),
        load: Some(0.5),
        delta: Some(-3),
        interface: Some("eth0".to_owned()),
    }
}

/// True, and ruled in; or not true, and ruled out by the statistics of that one row.
#[test]
fn what_is_said_is_what_is_meant() {
    let batch = batch(&[one_row()]);
    for (text, holds) in [
        (
            "protocol = 6 and dst_port in (80, 443) and src_addr in 10.0.0.0/8 and bytes > 1e6",
            true,
        ),
        ("bytes = 5MiB", true),
        ("bytes = 5MB", false),
        ("bytes > 18446744073709551615", false),
        ("bytes < 1e30", true),
        ("bytes >= -1", true),
        ("bytes = 1.5", false),
        ("NOT dst_port = 443", false),
        ("port = 1234 and port = 443", true),
        ("port != 443", false),
        ("addr in (192.0.2.0/24)", true),
        ("addr = 192.0.2.2", false),
        ("src_addr = 2001:db8::1", false),
        ("src_addr != 2001:db8::1", true),
        ("src_ipv6 != 2001:db8::1", false),
        ("exporter in (192.0.2.1, 2001:db8::/32)", true),
        ("exporter = '192.0.2.10'", false),
        ("tcp_flags has syn+ack", true),
        ("tcp_flags has rst", false),
        ("first >= 2026-11-21 and last < '2026-11-21 16:40:02'", true),
        ("duration = 1.5s", true),
        ("duration < 1500ms", false),
        ("src_mac = 00:00:5e:00:53:01", true),
        ("interface = eth0", true),
        ("interface >= \"eth1\"", false),
        ("load < 1", true),
        ("delta < -2.5", true),
        ("family = ipv4", true),
        ("family != ipv4", false),
        ("nat_event is null", true),
        ("exporter is null", false),
        ("first is null or last is not null", true),
    ] {
        let filter = parse(text);
        let chosen = filter.select(&batch, Family::Ipv4).expect("the types fit");
        assert_eq!(chosen.value(0), holds, "{text}");
        let may_match =
            super::bounds::may_match(&filter.root, Family::Ipv4, &|name| bounds(&batch, name));
        // By floating-point numbers, and by bits that are not set, nothing is ruled out.
        assert_eq!(may_match, holds || text.contains("rst"), "{text}");
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, error) in [
        (
            "",
            "the end at character 1: a column, \"not\" or \"(\" is expected there",
        ),
        (
            "bytes",
            "the end at character 6: an operator (=, !=, <, <=, >, >=, in, has, is null) is expected there",
        ),
        (
            "bytes > ",
            "the end at character 9: a value is expected there",
        ),
        (
            "bytes > 1 packets > 2",
            "\"packets\" at character 11: \"and\", \"or\" or the end is expected there",
        ),
        (
            "(bytes > 1",
            "the end at character 11: \"and\", \"or\" or \")\" is expected there",
        ),
        (
            "src_port in (1 2)",
            "\"2\" at character 16: \",\" or \")\" is expected there",
        ),
        (
            "src_port in ()",
            "\")\" at character 14: a value is expected there",
        ),
        (
            "bytes is 5",
            "\"5\" at character 10: \"null\" is expected there",
        ),
        (
            "adr = 10.0.0.1",
            "no column is called \"adr\" (character 1): did you mean \"addr\"?",
        ),
        ("quux = 1", "no column is called \"quux\" (character 1)"),
        (
            "src_port = http",
            "\"http\" at character 12 is no value for src_port: write a number, such as 80, 1e6, 10k or 5MiB",
        ),
        (
            "src_addr = 10.0.0.0/8",
            "\"10.0.0.0/8\" at character 12 is no value for src_addr: write an address; for a prefix, in 10.0.0.0/8",
        ),
        (
            "src_addr in 10.0.0.1/8",
            "\"10.0.0.1/8\" at character 13 is no value for src_addr: write an address, or a prefix such as 10.0.0.0/8",
        ),
        (
            "src_ipv4 = ::1",
            "\"::1\" at character 12 is no value for src_ipv4: write an IPv4 address",
        ),
        (
            "src_addr > 10.0.0.1",
            "\">\" at character 10 does not go with src_addr: use =, != or in",
        ),
        (
            "src_mac has 1",
            "\"has\" at character 9 does not go with src_mac: use =, != or in",
        ),
        (
            "duration > 5",
            "\"5\" at character 12 is no value for duration: write a duration, such as 500ms, 1.5s or 5min",
        ),
        (
            "first > noon",
            "\"noon\" at character 9 is no value for first: write a time (UTC), such as '2026-11-21 10:00' or 2026-11-21T10:00:00.5Z",
        ),
        (
            "protocol = tpc",
            "\"tpc\" at character 12 is no value for protocol: write a protocol's number or name, such as 6 or tcp",
        ),
    ] {
        let found = Filter::parse(text, &schema()).expect_err(text).to_string();
        assert_eq!(found, error, "{text}");
    }
    let deep = format!("{}bytes = 1{}", "(".repeat(70), ")".repeat(70));
    let error = Filter::parse(&deep, &schema()).expect_err("too deep");
    assert!(error.to_string().starts_with("more than 64 "), "{error}");
    let flat = "bytes = 1 or ".repeat(10_000) + "not not not bytes = 1";
    parse(&flat);
}

#[test]
fn a_column_of_another_type_is_refused() {
    let bytes: ArrayRef = Arc::new(StringArray::from(vec!["many"]));
    let batch = RecordBatch::try_from_iter([("bytes", bytes)]).expect("a batch");
    let error = parse("bytes > 5")
        .select(&batch, Family::Ipv4)
        .expect_err("text");
    assert_eq!(
        error.to_string(),
        "column \"bytes\" is Utf8, and not UInt64"
    );
}
