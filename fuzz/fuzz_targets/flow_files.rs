//! Flows of every kind through segments into flow files, and back: what is read is what was decoded.
#![no_main]

use std::cell::LazyCell;
use std::fs;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use forebay_collector::ReadyBatch;
use forebay_fuzz::{Books, Exchange, START_US, extra_columns};
use forebay_store::{
    Compression, Dataset, Family, FlowFile, FlowSchema, SegmentWriter, SettleOptions, settle,
};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> =
        LazyCell::new(|| tempfile::tempdir().expect("a temporary folder"));
}

fuzz_target!(|input: (u8, Exchange)| {
    let (choice, exchange) = input;
    let compression = match choice % 3 {
        0 => Compression::None,
        1 => Compression::Lz4,
        _ => Compression::Zstd,
    };
    let mut books = Books::new(extra_columns(), true);
    exchange.play(&mut books);
    let batches = books.finish();
    let columns = extra_columns();
    let schema = Arc::new(columns.schema().clone());
    let root = FOLDER.with(|folder| folder.path().to_owned());
    let dataset = Dataset::open(&root).expect("opens");
    let mut families = Family::ALL.map(|family| (family, Vec::new()));
    for ready in batches {
        families[ready.family as usize].1.push(ready);
    }
    for (family, batches) in families {
        if !batches.is_empty() {
            round_trip(&dataset, family, batches, &schema, compression);
        }
    }
});

fn round_trip(
    dataset: &Dataset,
    family: Family,
    batches: Vec<ReadyBatch>,
    schema: &Arc<FlowSchema>,
    compression: Compression,
) {
    let set = batches.iter().fold(Default::default(), |set, ready| {
        ready.batch.present().union(set)
    });
    let mut writer =
        SegmentWriter::create(dataset, 0, family, START_US, set, schema).expect("makes");
    for ready in batches {
        writer.append(ready.batch).expect("appends");
    }
    let segment = writer.close().expect("closes").expect("has rows");
    let written = read(FlowFile::open(&segment.path, None).expect("opens"));
    let settled = settle(dataset, &segment.path, &SettleOptions { compression }).expect("settles");
    assert_eq!((settled.rows, settled.torn_bytes), (segment.rows, 0));
    let path = settled.path.expect("has rows");
    let found = read(FlowFile::open(&path, None).expect("opens"));
    fs::remove_file(path).expect("removed");
    for (name, values) in &written {
        let other = found.iter().find(|(other, _)| other == name);
        match other {
            Some((_, other)) => assert_eq!(values, other, "column {name}"),
            // A column with no value in a file may be left out of it.
            None => assert_eq!(values.logical_null_count(), values.len(), "column {name}"),
        }
    }
    // A file has all columns that its family can have.
    for (name, values) in &found {
        let is_known = written.iter().any(|(other, _)| other == name);
        assert!(
            is_known || values.logical_null_count() == values.len(),
            "column {name}"
        );
    }
}

/// A file's columns.
fn read(file: FlowFile) -> Vec<(String, ArrayRef)> {
    let schema = file.schema();
    let batches: Vec<RecordBatch> = file.map(|batch| batch.expect("whole")).collect();
    let columns = schema.fields().iter().enumerate().map(|(place, field)| {
        let parts: Vec<_> = batches
            .iter()
            .map(|batch| batch.column(place).as_ref())
            .collect();
        let whole = arrow_select::concat::concat(&parts).expect("of one type");
        (field.name().clone(), whole)
    });
    columns.collect()
}
