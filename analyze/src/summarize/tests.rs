//! Summaries against a slow, obvious reference, on random tables.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
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
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
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

/// Flows of one exporter: source, packets, bytes.
fn flows(rows: &[(u32, u64, u64)]) -> Table {
    let flow = |&(source, packets, bytes): &(u32, u64, u64)| {
        Flow::from([
            ("src_ipv4", Cell::Number(source.into())),
            ("packets", Cell::Number(packets)),
            ("bytes", Cell::Number(bytes)),
        ])
    };
    vec![(Family::Ipv4, rows.iter().map(flow).collect())]
}

fn by_source() -> Summary {
    Summary {
        by: keys(&["src_addr"]),
        values: vec![Value::Bytes, Value::Packets],
        memory: MemoryLimit(1 << 30),
        ..Summary::default()
    }
}

fn rows_of(told: &Told) -> Vec<Vec<&str>> {
    told.iter()
        .map(|row| row.iter().map(String::as_str).collect())
        .collect()
}

#[test]
fn the_top_is_sorted_and_ties_are_in_the_order_of_keys() {
    let table = flows(&[(4, 1, 10), (3, 2, 30), (2, 9, 30), (1, 5, 20), (3, 5, 0)]);
    let files = Files::new(&table, Form::Parquet);
    let mut summary = by_source();
    summary.top = Some(3);
    for threads in [1, 3] {
        let told = files.summarize(&summary, threads).expect("summarizes");
        assert_eq!(
            rows_of(&told),
            [
                ["0.0.0.2", "30", "9"],
                ["0.0.0.3", "30", "7"],
                ["0.0.0.1", "20", "5"]
            ]
        );
    }
    summary.top = None;
    for (sort, expected) in [
        ("packets", ["0.0.0.2", "0.0.0.3", "0.0.0.1", "0.0.0.4"]),
        ("packets:asc", ["0.0.0.4", "0.0.0.1", "0.0.0.3", "0.0.0.2"]),
        ("-src_addr", ["0.0.0.4", "0.0.0.3", "0.0.0.2", "0.0.0.1"]),
        ("src_addr", ["0.0.0.1", "0.0.0.2", "0.0.0.3", "0.0.0.4"]),
        // Not in the answer.
        ("flows", ["0.0.0.3", "0.0.0.1", "0.0.0.2", "0.0.0.4"]),
    ] {
        summary.sort = vec![Sort::parse(sort)];
        let told = files.summarize(&summary, 2).expect("summarizes");
        let sources: Vec<&str> = told.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(sources, expected, "{sort}");
    }
    summary.sort = vec![Sort::parse("bytes:asc"), Sort::parse("packets")];
    summary.top = Some(0);
    assert!(files.summarize(&summary, 2).expect("summarizes").is_empty());
}

#[test]
fn groups_with_less_are_left_out() {
    let files = Files::new(
        &flows(&[(1, 1, 10), (1, 1, 10), (2, 5, 19), (3, 1, 20)]),
        Form::Kept,
    );
    let mut summary = by_source();
    summary.least = vec![(Value::Bytes, 20)];
    let told = files.summarize(&summary, 2).expect("summarizes");
    assert_eq!(
        rows_of(&told),
        [["0.0.0.1", "20", "2"], ["0.0.0.3", "20", "1"]]
    );
    summary.least.push((Value::Flows, 2));
    let told = files.summarize(&summary, 2).expect("summarizes");
    assert_eq!(rows_of(&told), [["0.0.0.1", "20", "2"]]);
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_with_its_key() {
    let most = u64::MAX;
    let table = flows(&[
        (1, most, 1),
        (2, 1, most - 1),
        (2, 1, 1),
        (3, 1, most),
        (3, 1, 0),
    ]);
    let files = Files::new(&table, Form::Kept);
    let mut summary = by_source();
    let told = files.summarize(&summary, 1).expect("just fits");
    assert_eq!(told[1][1], most.to_string());
    let table = flows(&[(1, 1, 1), (2, 1, most), (3, 5, 5), (2, 1, 1)]);
    let files = Files::new(&table, Form::Kept);
    for memory in [1 << 30, 0] {
        summary.memory = MemoryLimit(memory);
        let error = files
            .summarize(&summary, 2)
            .expect_err("does not fit")
            .to_string();
        assert!(
            error.starts_with("bytes of src_addr 0.0.0.2 is more"),
            "{error}"
        );
    }
}

#[test]
fn sampled_flows_count_as_often_as_they_were_sampled() {
    let (_, mut rows) = flows(&[(1, 2, 10), (1, 3, 20), (1, 4, 30)]).remove(0);
    rows[0].insert("sampling_rate", Cell::Number(100));
    rows[1].insert("sampling_rate", Cell::Number(0));
    let files = Files::new(&vec![(Family::Ipv4, rows.clone())], Form::Kept);
    let mut summary = by_source();
    summary.scale_sampling = true;
    let told = files.summarize(&summary, 1).expect("summarizes");
    assert_eq!(rows_of(&told), [["0.0.0.1", "1050", "207"]]);
    rows[2].insert("sampling_rate", Cell::Number(u32::MAX.into()));
    rows[2].insert("bytes", Cell::Number(1 << 33));
    let files = Files::new(&vec![(Family::Ipv4, rows)], Form::Kept);
    let error = files
        .summarize(&summary, 1)
        .expect_err("does not fit")
        .to_string();
    assert!(error.contains("sampled one in 4294967295"), "{error}");
}

#[test]
fn many_groups_are_told_whole_and_in_order_however_little_memory_there_is() {
    let rows: Vec<(u32, u64, u64)> = (0..40_000)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 18, 1, u64::from(n)))
        .collect();
    let files = Files::new(&flows(&rows), Form::Kept);
    let mut summary = by_source();
    summary.values.push(Value::SrcCount);
    let told = files.summarize(&summary, 2).expect("summarizes");
    assert!(
        told.len() > 10_000
            && told.is_sorted_by_key(|row| {
                row[0].parse::<std::net::Ipv4Addr>().expect("an address")
            })
    );
    for memory in [1 << 20, 1 << 17, 1 << 12] {
        summary.memory = MemoryLimit(memory);
        assert!(
            files.summarize(&summary, 2).expect("summarizes") == told,
            "{memory}"
        );
    }
    let left = std::fs::read_dir(files.dir.path()).expect("lists");
    let left = left.filter(|entry| !entry.as_ref().is_ok_and(|entry| entry.path().is_dir()));
    assert_eq!(left.count(), 0);
}

#[test]
fn an_estimate_is_near_and_the_same_however_it_was_made() {
    let rows: Vec<(u32, u64, u64)> = (0..30_000).map(|n| (n, 1, 1)).collect();
    let files = Files::new(&flows(&rows), Form::Kept);
    let mut summary = Summary {
        by: Vec::new(),
        values: vec![Value::SrcCount, Value::DstCount, Value::Exporters],
        approx: true,
        memory: MemoryLimit(1 << 30),
        ..Summary::default()
    };
    let told = files.summarize(&summary, 1).expect("summarizes");
    let count: u64 = told[0][0].parse().expect("a number");
    assert!((28_500..31_500).contains(&count), "{count}");
    assert_eq!(told[0][1..], ["0", "1"]);
    summary.memory = MemoryLimit(0);
    assert_eq!(files.summarize(&summary, 3).expect("summarizes"), told);
}

#[test]
fn a_filter_chooses_and_what_is_asked_must_make_sense() {
    let files = Files::new(&flows(&[(1, 1, 10), (2, 5, 19)]), Form::Parquet);
    let mut summary = by_source();
    let filter = Filter::parse("packets > 1", &FlowSchema::default()).expect("a filter");
    summary.filter = Some(filter);
    let told = files.summarize(&summary, 1).expect("summarizes");
    assert_eq!(rows_of(&told), [["0.0.0.2", "19", "5"]]);
    let refused = |change: &dyn Fn(&mut Summary)| {
        let mut summary = by_source();
        change(&mut summary);
        files
            .summarize(&summary, 1)
            .expect_err("makes no sense")
            .to_string()
    };
    assert!(refused(&|s| s.values.clear()).contains("no value"));
    assert!(refused(&|s| s.values.push(Value::Bytes)).contains("\"bytes\" is asked for twice"));
    assert!(refused(&|s| s.sort = vec![Sort::parse("src_adr")]).contains("\"src_addr\""));
    assert!(refused(&|s| s.least = vec![(Value::First, 1)]).contains("\"first\" is no number"));
}

#[test]
fn a_configured_column_that_a_file_lacks_is_null() {
    let files = Files::new(&flows(&[(1, 1, 10)]), Form::Kept);
    let mut inputs =
        Inputs::open(&files.paths, InputOptions::default(), &Control::default()).expect("opens");
    let mut schema = FlowSchema::default();
    schema
        .add("port", forebay_store::ColumnType::U64)
        .expect("a name");
    let summary = Summary {
        by: vec![Key::parse("port", &schema).expect("a key")],
        values: vec![Value::Flows],
        ..Summary::default()
    };
    let mut answer = summarize(&mut inputs, &summary, &Control::default()).expect("summarizes");
    let batch = answer.next().expect("has groups").expect("reads");
    assert_eq!((batch.num_rows(), batch.column(0).null_count()), (1, 1));
}

#[test]
fn columns_of_every_type_are_keys_in_the_order_of_their_values() {
    use forebay_store::ColumnType;
    let mut schema = FlowSchema::default();
    for (name, kind) in [
        ("depth", ColumnType::I64),
        ("share", ColumnType::F64),
        ("site", ColumnType::Text),
        ("label", ColumnType::Octets),
    ] {
        schema.add(name, kind).expect("a name");
    }
    let text = |text: &str| Cell::Octets(text.as_bytes().to_vec());
    for (name, cells, expected) in [
        (
            "depth",
            [Cell::Signed(5), Cell::Signed(i64::MIN), Cell::Signed(-1)],
            ["-9223372036854775808", "-1", "5"],
        ),
        (
            "share",
            [Cell::Float(f64::NAN), Cell::Float(0.0), Cell::Float(-2.5)],
            ["-2.5", "0", "NaN"],
        ),
        (
            "site",
            [text("rome"), text(""), text("oslo")],
            ["", "oslo", "rome"],
        ),
        (
            "label",
            [text("b"), text("\u{1}"), text("a")],
            ["01", "61", "62"],
        ),
        (
            "src_mac",
            [
                text("abcdef"),
                text("abcdee"),
                Cell::Octets(vec![0, 0, 0x5e, 0, 0x53, 1]),
            ],
            [
                "00:00:5e:00:53:01",
                "61:62:63:64:65:65",
                "61:62:63:64:65:66",
            ],
        ),
    ] {
        let mut flows: Vec<Flow> = cells.map(|cell| Flow::from([(name, cell)])).to_vec();
        // Of each two; and one that has none.
        flows.extend(flows.clone());
        if name == "share" {
            // Both zeros are one.
            flows[1].insert(name, Cell::Float(-0.0));
        }
        flows.push(Flow::new());
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(dir.path()).expect("opens");
        let schema = Arc::new(schema.clone());
        let path = write(&dataset, &schema, Family::Other, &flows, 3, Form::Parquet);
        let files = Files {
            dir,
            paths: vec![path],
        };
        let summary = Summary {
            by: vec![Key::parse(name, &schema).expect("a key")],
            values: vec![Value::Flows],
            sort: vec![Sort::parse(name)],
            ..Summary::default()
        };
        let told = files.summarize(&summary, 2).expect("summarizes");
        let expected = expected.map(|text| [text, "2"]);
        assert_eq!(
            rows_of(&told),
            [&expected[..], &[["-", "1"]]].concat(),
            "{name}"
        );
    }
}
