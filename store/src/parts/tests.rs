use std::fs;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt64Type};
use arrow_array::{Array, DictionaryArray, ListArray, StringArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::support::{Generator, Numbers, START_US};
use crate::{ClosedSegment, Dataset, FlowFile, FlowSchema, SegmentReader, SegmentWriter};
use crate::{SettleOptions, keep, settle};

const COLUMNS: [&str; 5] = ["exporter", "src_ipv4", "none", "packets", "first"];

struct Place {
    _dir: tempfile::TempDir,
    dataset: Dataset,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(dir.path()).expect("opens");
        Self { _dir: dir, dataset }
    }

    fn segment(&self, batches: usize, rows: usize) -> ClosedSegment {
        let schema = Arc::new(FlowSchema::default());
        let mut generator = Generator::new(3);
        let mut batch = generator.batch(&schema, rows);
        let set = batch.present();
        let mut writer =
            SegmentWriter::create(&self.dataset, 0, Family::Ipv4, START_US, set, &schema)
                .expect("makes");
        for _ in 0..batches {
            writer.append(batch).expect("appends");
            batch = generator.batch(&schema, rows);
        }
        writer.close().expect("closes").expect("has rows")
    }
}

fn by_parts(path: &Path, columns: Option<&[&str]>) -> Vec<RecordBatch> {
    let file = FlowParts::open(path).expect("opens");
    let mut batches = Vec::new();
    let mut next_row = 0;
    for (place, part) in file.parts().iter().enumerate() {
        assert_eq!(part.first_row, next_row);
        let mut reader = file.read(place, columns).expect("opens again");
        while let Some((first_row, batch)) = reader.next_batch().expect("reads") {
            assert_eq!(first_row, next_row);
            next_row += batch.num_rows() as u64;
            batches.push(batch);
        }
        assert_eq!(next_row, part.first_row + part.rows);
    }
    assert_eq!(next_row, file.rows());
    batches
}

fn at_once(path: &Path, columns: Option<&[&str]>) -> Vec<RecordBatch> {
    let file = FlowFile::open(path, columns).expect("opens");
    file.map(|batch| batch.expect("reads")).collect()
}

#[test]
fn the_parts_of_a_segment_are_its_batches() {
    let p = Place::new();
    let segment = p.segment(20, 8192);
    let file = FlowParts::open(&segment.path).expect("opens");
    assert_eq!(file.parts().len(), 2);
    assert_eq!((file.rows(), file.torn_bytes()), (20 * 8192, 0));
    assert!(file.is_staged() && file.bounds(0, "packets").is_none());
    for columns in [None, Some(COLUMNS.as_slice()), Some(&[])] {
        let batches = by_parts(&segment.path, columns);
        assert_eq!(batches, at_once(&segment.path, columns));
    }
    // Read though it was settled meanwhile.
    settle(&p.dataset, &segment.path, &SettleOptions::default()).expect("settles");
    let mut reader = file.read(1, Some(&COLUMNS)).expect("is held");
    let (first_row, batch) = reader.next_batch().expect("reads").expect("has a batch");
    assert_eq!((first_row, batch.num_rows()), (1 << 17, 8192));
    let moved = FlowParts::open(&segment.path).expect("opens where it is");
    assert_eq!((moved.rows(), moved.is_staged()), (20 * 8192, false));
}

#[test]
fn a_batch_that_is_gone_gives_its_memory_to_the_next() {
    let p = Place::new();
    let segment = p.segment(4, 1000);
    let expected = at_once(&segment.path, Some(&COLUMNS));
    let file = FlowParts::open(&segment.path).expect("opens");
    let mut reader = file.read(0, Some(&COLUMNS)).expect("opens");
    let mut kept = Vec::new();
    for (place, expected) in expected.iter().enumerate() {
        let (_, batch) = reader.next_batch().expect("reads").expect("has a batch");
        assert_eq!(batch, *expected);
        if place % 2 == 0 {
            kept.push((batch, expected));
        }
    }
    assert!(kept.iter().all(|(batch, expected)| batch == *expected));
}

#[test]
fn readers_that_share_memory_use_what_is_free_of_it() {
    let p = Place::new();
    let segment = p.segment(2, 1000);
    let file = FlowParts::open(&segment.path).expect("opens");
    let mut memory = BatchMemory::default();
    let mut first = || {
        let mut reader = file.read(0, None).expect("opens");
        let batch = reader.next_batch_in(&mut memory).expect("reads");
        let (_, batch) = batch.expect("has a batch");
        let place = batch["packets"]
            .as_primitive::<UInt64Type>()
            .values()
            .as_ptr();
        (batch, place as usize)
    };
    let (one, place_of_one) = first();
    let (other, place_of_other) = first();
    assert_eq!(one, other);
    assert_ne!(place_of_one, place_of_other);
    drop(one);
    assert_eq!(first().1, place_of_one);
    assert_eq!(first(), (other, place_of_one));
}

#[test]
fn of_all_columns_those_without_a_value_in_a_batch_are_left_out() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("foreign.arrows");
    let [seen_by, seen_exporters] = crate::seen_fields();
    let DataType::List(item) = seen_exporters.data_type() else {
        panic!("lists");
    };
    let (item, seen_exporters) = (Arc::clone(item), seen_exporters.with_nullable(true));
    let names = ["note", "received", "seen_exporters", "packets", "seen_by"];
    let schema = Arc::new(Schema::new(vec![
        Field::new("note", DataType::Utf8, true),
        Field::new("received", DataType::UInt64, true),
        seen_exporters,
        Field::new("packets", DataType::UInt64, true),
        seen_by.with_nullable(true),
    ]));
    let mut out =
        StreamWriter::try_new(File::create(&path).expect("makes"), &schema).expect("makes");
    let mut expected = Vec::new();
    // Each of the columns has no value in half of the batches; but every row has a time, as it is claimed.
    for missing in 0..16_u32 {
        let has = |place: u32| missing >> place & 1 == 0;
        let list = |is_there: bool| {
            let exporters: DictionaryArray<Int32Type> =
                [Some("a"), Some("b")].into_iter().collect();
            let nulls = (!is_there).then(|| NullBuffer::new_null(1));
            let ends = OffsetBuffer::from_lengths([2]);
            ListArray::new(Arc::clone(&item), ends, Arc::new(exporters), nulls)
        };
        let number = |place: u32| has(place).then_some(u64::from(missing));
        let columns: [ArrayRef; 5] = [
            Arc::new(StringArray::from(vec![has(0).then_some("text")])),
            Arc::new(UInt64Array::from(vec![has(3).then_some(7)])),
            Arc::new(list(has(1))),
            Arc::new(UInt64Array::from(vec![number(2)])),
            Arc::new(UInt32Array::from(vec![has(3).then_some(missing)])),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.to_vec());
        let batch = batch.expect("parts agree");
        out.write(&batch).expect("writes");
        let chosen: Vec<usize> = (0..5)
            .filter(|&place| names[place] == "received" || batch.column(place).is_valid(0))
            .collect();
        expected.push(batch.project(&chosen).expect("has them"));
    }
    out.finish().expect("finishes");
    assert_eq!(by_parts(&path, None), expected);
    // Where they are named, they are there.
    let all = by_parts(&path, Some(&names));
    assert!(all.iter().all(|batch| batch.num_columns() == 5));
}

#[test]
fn the_parts_of_a_flow_file_are_its_row_groups() {
    let p = Place::new();
    let segment = p.segment(3, 1000).path;
    let rows = at_once(&segment, None);
    let path = p.dataset.root().join("small.parquet");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(800))
        .build();
    let out = File::create(&path).expect("makes");
    let mut writer = ArrowWriter::try_new(out, rows[0].schema(), Some(properties)).expect("makes");
    rows.iter()
        .for_each(|batch| writer.write(batch).expect("writes"));
    writer.close().expect("closes");

    let file = FlowParts::open(&path).expect("opens");
    assert_eq!((file.parts().len(), file.family()), (4, Family::Ipv4));
    let read = by_parts(&path, Some(&COLUMNS));
    let expected = at_once(&segment, Some(&COLUMNS));
    let packets = |batches: &[RecordBatch]| -> Vec<u64> {
        let of = |batch: &RecordBatch| batch["packets"].as_primitive::<UInt64Type>().clone();
        batches
            .iter()
            .flat_map(|b| of(b).values().to_vec())
            .collect()
    };
    let packets_read = packets(&read);
    assert_eq!(packets_read, packets(&expected));

    let bounds = file.bounds(1, "packets").expect("knows");
    let part = &packets_read[800..1600];
    let (least, greatest) = (bounds.least.as_primitive::<UInt64Type>(), &bounds.greatest);
    assert_eq!(Some(&least.value(0)), part.iter().min());
    assert_eq!(
        Some(&greatest.as_primitive::<UInt64Type>().value(0)),
        part.iter().max()
    );
    assert_eq!((bounds.nulls, bounds.rows), (Some(0), 800));
    assert!(file.bounds(1, "none").is_none() && file.bounds(9, "packets").is_none());
}

#[test]
fn a_dictionary_is_good_until_another_comes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("foreign.arrows");
    let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let schema = Arc::new(Schema::new(vec![
        Field::new("exporter", kind, true),
        Field::new("received", DataType::UInt64, false),
    ]));
    let mut out =
        StreamWriter::try_new(File::create(&path).expect("makes"), &schema).expect("makes");
    let rows = 50_000;
    for n in 0..8 {
        let name = if n < 5 { "one" } else { "two" };
        let exporters: DictionaryArray<Int32Type> = std::iter::repeat_n(Some(name), rows).collect();
        let received = UInt64Array::from(vec![n; rows]);
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![Arc::new(exporters), Arc::new(received)],
        );
        out.write(&batch.expect("parts agree")).expect("writes");
    }
    out.finish().expect("finishes");
    assert!(FlowParts::open(&path).expect("opens").parts().len() > 2);
    for batch in by_parts(&path, None) {
        let n = batch["received"].as_primitive::<UInt64Type>().value(0);
        let exporters = batch["exporter"].as_dictionary::<Int32Type>();
        let names = exporters.values().as_string::<i32>();
        let name = names.value(exporters.key(0).expect("is not null"));
        assert_eq!(name, if n < 5 { "one" } else { "two" });
    }
}

#[test]
fn batches_without_rows_are_passed_over() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("foreign.arrows");
    let fields = vec![Field::new("received", DataType::UInt64, false)];
    let schema = Arc::new(Schema::new(fields));
    let mut out =
        StreamWriter::try_new(File::create(&path).expect("makes"), &schema).expect("makes");
    for rows in [0, 3, 0, 2, 0] {
        let received = Arc::new(UInt64Array::from(vec![7; rows]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![received]);
        out.write(&batch.expect("parts agree")).expect("writes");
    }
    out.finish().expect("finishes");
    let rows: Vec<usize> = by_parts(&path, None)
        .iter()
        .map(RecordBatch::num_rows)
        .collect();
    assert_eq!(rows, [3, 2]);
}

#[test]
fn a_torn_segment_has_its_whole_batches() {
    let p = Place::new();
    let segment = p.segment(3, 200);
    let bytes = fs::read(&segment.path).expect("reads");
    let torn = segment
        .path
        .with_file_name("0-ipv4-20261121T164000.000009Z.arrows");
    for length in (0..bytes.len()).step_by(509).chain([bytes.len()]) {
        fs::write(&torn, &bytes[..length]).expect("writes");
        let mut reader = SegmentReader::open(&torn, None).expect("opens");
        let mut rows = 0;
        while let Some(batch) = reader.next_batch().expect("reads") {
            rows += batch.num_rows() as u64;
        }
        let file = FlowParts::open(&torn).expect("opens");
        assert_eq!(file.rows(), rows, "{length}");
        if reader.whole_bytes() > 0 {
            assert_eq!(file.torn_bytes(), reader.torn_bytes(), "{length}");
        }
        assert_eq!(by_parts(&torn, Some(&COLUMNS)).len() as u64 * 200, rows);
    }
}

#[test]
fn damage_is_an_error_or_the_end() {
    let p = Place::new();
    let segment = p.segment(2, 100);
    let kept = keep(&p.dataset, &segment.path)
        .expect("keeps")
        .path
        .expect("has rows");
    let settled = settle(
        &p.dataset,
        &p.segment(2, 90).path,
        &SettleOptions::default(),
    );
    let settled = settled.expect("settles").path.expect("has rows");
    let mut numbers = Numbers::new(7);
    for path in [kept, settled] {
        let bytes = fs::read(&path).expect("reads");
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + numbers.below(8) {
                let place = numbers.below(bytes.len() as u64) as usize;
                damaged[place] = numbers.next() as u8;
            }
            fs::write(&path, damaged).expect("writes");
            let Ok(file) = FlowParts::open(&path) else {
                continue;
            };
            for part in 0..file.parts().len() {
                let _known = file.bounds(part, "packets");
                let Ok(mut reader) = file.read(part, Some(&COLUMNS)) else {
                    continue;
                };
                while let Ok(Some((_, batch))) = reader.next_batch() {
                    assert!(batch.columns().iter().all(|c| c.len() == batch.num_rows()));
                }
            }
        }
    }
}
