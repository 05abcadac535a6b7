//! Rows of few values, extremes among them, and the batch that holds them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use forebay_store::Family;
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) exporter: String,
    pub(super) protocol: Option<u8>,
    pub(super) src_port: Option<u16>,
    pub(super) dst_port: Option<u16>,
    pub(super) tcp_flags: Option<u16>,
    pub(super) bytes: Option<u64>,
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
    pub(super) src_ipv4: Option<u32>,
    pub(super) src_ipv6: Option<u128>,
    pub(super) dst_ipv4: Option<u32>,
    pub(super) src_mac: Option<[u8; 6]>,
    pub(super) load: Option<f64>,
    pub(super) delta: Option<i64>,
    pub(super) interface: Option<String>,
}

impl Row {
    /// The address of the family, or else of the other.
    pub(super) fn src_addr(&self, family: Family) -> Option<IpAddr> {
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

    pub(super) fn dst_addr(&self) -> Option<IpAddr> {
        self.dst_ipv4
            .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
    }
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
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

pub(super) const PORTS: [u16; 6] = [0, 53, 80, 443, 1024, u16::MAX];
pub(super) const BYTES: [u64; 6] = [0, 1, 1_000, 1_000_000, u64::MAX - 1, u64::MAX];
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
pub(super) const NAMES: [&str; 4] = ["", "eth0", "eth1", "o'hara"];

pub(super) fn rows() -> impl Strategy<Value = Vec<Row>> {
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
