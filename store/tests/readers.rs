//! Other programs read what we write: DuckDB through `views.sql`, pyarrow and Polars.
//!
//! `FOREBAY_PYTHON` names a Python with duckdb, pyarrow and polars.

mod needs;
#[path = "../benches/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt32Type, UInt64Type};
use forebay_store::{
    ClosedSegment, ColumnData, ColumnSet, Compression, Dataset, Family, FlowBatch, FlowSchema,
    LedgerRow, ReasonCount, Scope, SegmentWriter, SettleOptions, columns, settle, write_ledger,
    write_views,
};
use libtest_mimic::{Arguments, Completion, Trial};
use serde_json::{Value, json};
use support::{Generator, START_US};

fn main() {
    type Test = fn(&OsStr);
    let tests: [(&str, Test); 2] = [
        (
            "flow_files_segments_and_views_are_read_by_others",
            flow_files_segments_and_views_are_read_by_others,
        ),
        (
            "the_views_work_on_an_empty_dataset",
            the_views_work_on_an_empty_dataset,
        ),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::ignorable_test(name, move || match std::env::var_os("FOREBAY_PYTHON") {
            Some(python) => {
                test(&python);
                Ok(Completion::Completed)
            }
            None => {
                needs::missing("FOREBAY_PYTHON names no Python with duckdb, pyarrow and polars")
            }
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}

fn read(python: &OsStr, root: &Path, segment: Option<&Path>) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers.py");
    let output = Command::new(python)
        .arg(script)
        .arg(root)
        .args(segment)
        .output()
        .expect("Python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("prints JSON")
}

fn segment(dataset: &Dataset, family: Family, batches: Vec<FlowBatch>) -> ClosedSegment {
    let schema = Arc::new(FlowSchema::default());
    let set = batches
        .iter()
        .fold(Default::default(), |set, batch| batch.present().union(set));
    let mut writer =
        SegmentWriter::create(dataset, 0, family, START_US, set, &schema).expect("makes");
    for batch in batches {
        writer.append(batch).expect("appends");
    }
    writer.close().expect("closes").expect("has rows")
}

fn ipv4_batches() -> Vec<FlowBatch> {
    let schema = FlowSchema::default();
    let mut generator = Generator::new(5);
    [3000, 5000, 20]
        .map(|rows| generator.batch(&schema, rows))
        .into()
}

/// One IPv6 flow, with the required columns and addresses.
fn ipv6_batch() -> FlowBatch {
    let mut batch = FlowBatch::new(&FlowSchema::default(), 1);
    let key = batch.add_exporter(&"2001:db8::5".into());
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().expect("parses").octets();
    for id in FlowSchema::default().columns() {
        let source = id == columns::SRC_IPV6;
        match batch.column(id) {
            ColumnData::Exporter(column) => column.fill(0, 1, key),
            ColumnData::Timestamp(column) => column.fill(0, 1, START_US),
            ColumnData::Ipv6(column) if source => column.fill(0, 1, address("2001:db8:0:0:1::1")),
            ColumnData::Ipv6(column) => column.fill(0, 1, address("::ffff:192.0.2.9")),
            ColumnData::U64(column) => column.fill(0, 1, u64::MAX / 2),
            ColumnData::U8(column) if id == columns::EXPORT_VERSION => column.fill(0, 1, 9),
            ColumnData::U16(column) if id == columns::EXPORTER_PORT => column.fill(0, 1, 2055),
            ColumnData::U32(column) if id == columns::OBSERVATION_DOMAIN => column.fill(0, 1, 0),
            _ => {}
        }
    }
    batch.advance(1);
    batch
}

fn flow_files_segments_and_views_are_read_by_others(python: &OsStr) {
    for compression in [Compression::Zstd, Compression::Lz4, Compression::None] {
        // A quote and pattern characters in the path must not matter.
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(&dir.path().join("it's [a] *flow*?")).expect("opens");
        write_views(&dataset, &FlowSchema::default()).expect("writes");
        let copy = dir.path().join("copy.arrows");
        let flows = segment(&dataset, Family::Ipv4, ipv4_batches());
        std::fs::copy(&flows.path, &copy).expect("copies");
        let options = SettleOptions { compression };
        settle(&dataset, &flows.path, &options).expect("settles");
        let event = segment(&dataset, Family::Ipv6, vec![ipv6_batch()]);
        settle(&dataset, &event.path, &options).expect("settles");
        let row = LedgerRow {
            datagrams: 12,
            reasons: vec![ReasonCount {
                scope: Scope::Set,
                reason: "too_short".to_owned(),
                count: 1,
            }],
            ..LedgerRow::default()
        };
        write_ledger(&dataset, START_US, &[row.clone(), row]).expect("writes");

        let found = read(python, dataset.root(), Some(&copy));
        let (packets, bytes, first, exporters) = expected();
        let totals = json!([8020, packets, bytes]);
        let half = u64::MAX / 2;
        assert_eq!(
            found["duckdb"]["totals"],
            json!([["ipv4", 8020, packets, bytes], ["ipv6", 1, half, half]])
        );
        let mapped = "::ffff:192.0.2.9";
        assert_eq!(
            found["duckdb"]["addresses"],
            json!([["2001:db8::1:0:0:1", mapped, mapped]])
        );
        let text = std::net::Ipv4Addr::from(first).to_string();
        assert_eq!(found["duckdb"]["first_ipv4"], json!([[text, first]]));
        assert_eq!(found["duckdb"]["exporters"], json!([[exporters.len() + 1]]));
        assert_eq!(found["duckdb"]["partitions"], json!([["2026-11-21", 16]]));
        assert_eq!(found["duckdb"]["absent"], json!([[0]]));
        assert_eq!(found["duckdb"]["ledger"], json!([[2, 24, 2]]));
        assert_eq!(found["pyarrow"]["totals"], totals);
        assert_eq!(
            found["pyarrow"]["types"],
            json!({
                "received": "timestamp[us, tz=UTC]",
                "exporter": "dictionary<values=string, indices=int32, ordered=0>",
                "src_ipv4": "uint32",
                "src_port": "uint16",
            })
        );
        assert_eq!(found["polars"]["totals"], totals);
        assert_eq!(found["segment"]["totals"], totals);
        assert_eq!(found["segment"]["exporters"], json!(exporters));
    }
}

fn the_views_work_on_an_empty_dataset(python: &OsStr) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dataset = Dataset::open(dir.path()).expect("opens");
    write_views(&dataset, &FlowSchema::default()).expect("writes");
    let found = read(python, dataset.root(), None);
    assert_eq!(found["duckdb"]["totals"], json!([]));
    assert_eq!(found["duckdb"]["absent"], json!([[0]]));
    assert_eq!(found["duckdb"]["ledger"], json!([[0, null, null]]));
}

/// The packets and bytes of the IPv4 flows, the first source address, the exporters.
fn expected() -> (u64, u64, u32, BTreeSet<String>) {
    let mut set = ColumnSet::default();
    for id in [
        columns::PACKETS,
        columns::BYTES,
        columns::SRC_IPV4,
        columns::EXPORTER,
    ] {
        set.insert(id);
    }
    let schema = FlowSchema::default();
    let batches = ipv4_batches()
        .into_iter()
        .map(|batch| batch.into_record_batch(&schema, set).expect("parts agree"))
        .collect::<Vec<_>>();
    let sum = |name| -> u64 {
        let columns = batches
            .iter()
            .map(|batch| batch[name].as_primitive::<UInt64Type>());
        columns
            .map(|column| column.values().iter().sum::<u64>())
            .sum()
    };
    let sources = batches[0]["src_ipv4"].as_primitive::<UInt32Type>();
    let exporters = batches.iter().flat_map(|batch| {
        let names = batch["exporter"].as_any_dictionary().values();
        let names = names.as_string::<i32>().iter().flatten();
        names.map(str::to_owned).collect::<Vec<_>>()
    });
    (
        sum("packets"),
        sum("bytes"),
        sources.value(0),
        exporters.collect(),
    )
}
