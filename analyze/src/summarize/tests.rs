//! Summaries against a slow, obvious reference, on random tables.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_schema::DataType;
use forebay_store::{Dataset, FlowSchema};
use proptest::prelude::*;

use super::*;
use crate::scan::InputOptions;
use crate::testing::{Flow, Form, Value as Cell, write};

mod reference;

use reference::{Told, summarize_slowly};

/// A table: the flows of each file.
type Table = Vec<(Family, Vec<Flow>)>;

struct Files {
    dir: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Files {
    fn new(table: &Table, form: Form) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(dir.path()).expect("opens");
        let schema = Arc::new(FlowSchema::default());
        let written = table.iter().filter(|(_, flows)| !flows.is_empty());
        let paths = written
            .map(|(family, flows)| write(&dataset, &schema, *family, flows, 7, form))
            .collect();
        Self { dir, paths }
    }

    fn summarize(&self, summary: &Summary, threads: usize) -> Result<Told, AnalyzeError> {
        let control = Control::default();
        let options = InputOptions {
            skip_bad: false,
            threads,
        };
        let mut inputs = Inputs::open(&self.paths, options, &control)?;
        let mut summary = summary.clone();
        summary.temp_dir = self.dir.path().to_owned();
        let answer = summarize(&mut inputs, &summary, &control)?;
        let counts = answer.counts();
        let mut told = Told::new();
        for batch in answer {
            read_batch(&batch?, &mut told);
        }
        assert_eq!(counts.groups, told.len() as u64);
        Ok(told)
    }
}

/// The rows of a batch as text, null as "-".
fn read_batch(batch: &RecordBatch, told: &mut Told) {
    for row in 0..batch.num_rows() {
        told.push(
            batch
                .columns()
                .iter()
                .map(|column| cell(column, row))
                .collect(),
        );
    }
}

fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "-".to_owned();
    }
    match column.data_type() {
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).to_string(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).to_string(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Timestamp(..) => column
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        other => panic!("no column of the answer is {other}"),
    }
}

fn keys(names: &[&str]) -> Vec<Key> {
    let schema = FlowSchema::default();
    names
        .iter()
        .map(|name| Key::parse(name, &schema).expect("a key"))
        .collect()
}

fn maybe<T: std::fmt::Debug + Clone + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    prop_oneof![1 => Just(None), 3 => values.prop_map(Some)].boxed()
}

/// Numbers of which few are different, and the greatest and least are among them.
fn number(greatest: u64) -> BoxedStrategy<Option<Cell>> {
    let few = prop_oneof![Just(0), Just(greatest), 1..4_u64];
    maybe(few.prop_map(Cell::Number))
}

fn time() -> BoxedStrategy<Option<Cell>> {
    let day = 86_400_000_000_i64;
    let some = prop_oneof![
        (0..40_i64).prop_map(|n| crate::testing::START_US + n * 37_000_000),
        Just(-1),
        Just(0),
        (-3..3_i64).prop_map(move |n| n * day),
    ];
    maybe(some.prop_map(Cell::Signed))
}

fn ipv6() -> BoxedStrategy<Option<Cell>> {
    let octets = prop_oneof![
        (0..4_u8).prop_map(|n| [0x20, 1, 0xd, 0xb8, 0, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, n / 2]),
        Just([0; 16]),
        Just([0xff; 16]),
        Just([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]),
    ];
    maybe(octets.prop_map(|octets| Cell::Octets(octets.to_vec())))
}

fn ipv4() -> BoxedStrategy<Option<Cell>> {
    let few = prop_oneof![
        Just(0),
        Just(u32::MAX),
        0x0a00_0001_u32..0x0a00_0004,
        Just(0x0a00_0101)
    ];
    maybe(few.prop_map(|address| Cell::Number(address.into())))
}

/// A flow; columns of the other family are there now and then.
fn flow(family: Family) -> impl Strategy<Value = Flow> {
    let none = || Just(None).boxed();
    let (own4, own6) = match family {
        Family::Ipv4 => (ipv4 as fn() -> _, none as fn() -> _),
        Family::Ipv6 => (none as fn() -> _, ipv6 as fn() -> _),
        Family::Other => (none as fn() -> _, none as fn() -> _),
    };
    let addresses = prop_oneof![
        8 => (own4(), own4(), own6(), own6()),
        1 => (ipv4(), ipv4(), ipv6(), ipv6()),
    ];
    let exporter = (0..4_u8).prop_map(|n| Some(Cell::Octets(format!("192.0.2.{n}").into_bytes())));
    let columns = (
        (
            number(65535),
            number(65535),
            number(255),
            number(0xffff),
            number(255),
            number(255),
        ),
        (
            number(1 << 56),
            number(1 << 57),
            time(),
            time(),
            number(1 << 31),
            exporter,
        ),
    );
    (addresses, columns).prop_map(|((s4, d4, s6, d6), (a, b))| {
        let cells = [
            ("src_ipv4", s4),
            ("dst_ipv4", d4),
            ("src_ipv6", s6),
            ("dst_ipv6", d6),
            ("src_port", a.0),
            ("dst_port", a.1),
            ("protocol", a.2),
            ("tcp_flags", a.3),
            ("icmp_type", a.4),
            ("icmp_code", a.5),
            ("packets", b.0),
            ("bytes", b.1),
            ("first", b.2),
            ("last", b.3),
            ("src_as", b.4),
            ("exporter", b.5),
        ];
        let cells = cells
            .into_iter()
            .filter_map(|(name, cell)| Some((name, cell?)));
        cells.collect()
    })
}

fn table() -> impl Strategy<Value = Table> {
    let file = |family, most| {
        prop::collection::vec(flow(family), 0..most).prop_map(move |flows| (family, flows))
    };
    (
        file(Family::Ipv4, 30),
        file(Family::Ipv6, 30),
        file(Family::Other, 6),
        file(Family::Ipv4, 20),
    )
        .prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

const KEYS: [&str; 24] = [
    "src_addr",
    "dst_addr",
    "src_port",
    "dst_port",
    "protocol",
    "tcp_flags",
    "icmp_type",
    "packets",
    "first",
    "exporter",
    "src_as",
    "src_ipv4",
    "dst_ipv6",
    "src_prefix/24",
    "dst_prefix/64",
    "src_prefix/0",
    "dst_prefix/31/127",
    "hour",
    "minute",
    "bucket:5m",
    "date",
    "src_port_class",
    "dst_port_class",
    "family",
];

fn any_summary() -> impl Strategy<Value = Summary> {
    let by = prop::sample::subsequence(&KEYS[..], 0..6).prop_shuffle();
    let values = prop::sample::subsequence(&Value::ALL[..], 1..12).prop_shuffle();
    (by, values).prop_map(|(by, values)| {
        let values: Vec<Value> = values
            .into_iter()
            .filter(|value| !by.contains(&value.name()))
            .collect();
        Summary {
            by: keys(&by),
            values: if values.is_empty() {
                vec![Value::Flows]
            } else {
                values
            },
            memory: MemoryLimit(1 << 30),
            ..Summary::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_answer_is_that_of_the_reference(table in table(), mut summary in any_summary()) {
        let files = Files::new(&table, Form::Kept);
        let expected = summarize_slowly(&table, &summary);
        let told = files.summarize(&summary, 1).expect("summarizes");
        let mut sorted = told.clone();
        sorted.sort();
        prop_assert_eq!(&sorted, &expected);
        // The same, in the same order, on more threads and with hardly any memory.
        prop_assert_eq!(&files.summarize(&summary, 2).expect("summarizes"), &told);
        summary.memory = MemoryLimit(1 << 12);
        prop_assert_eq!(&files.summarize(&summary, 4).expect("summarizes"), &told);
        summary.memory = MemoryLimit(0);
        // Texts take a little that is always there.
        prop_assert_eq!(&files.summarize(&summary, 2).expect("summarizes"), &told);
    }
}
