use std::fs;
use std::os::unix::fs::MetadataExt;

use arrow_array::Array;

use super::*;
use crate::segment_reader::SegmentReader;
use crate::support::{Generator, START_US};
use crate::{ColumnData, columns};

struct Place {
    _dir: tempfile::TempDir,
    dataset: Arc<Dataset>,
    schema: Arc<FlowSchema>,
    generator: Generator,
}

fn place() -> Place {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dataset = Dataset::open(dir.path()).expect("opens");
    Place {
        _dir: dir,
        dataset: Arc::new(dataset),
        schema: Arc::new(FlowSchema::default()),
        generator: Generator::new(1),
    }
}

fn rows_of(path: &std::path::Path) -> u64 {
    let mut reader = SegmentReader::open(path, None).expect("opens");
    let mut rows = 0;
    while let Some(batch) = reader.next_batch().expect("reads") {
        rows += batch.num_rows() as u64;
    }
    assert_eq!(reader.torn_bytes(), 0);
    rows
}

fn writer(place: &Place, bytes: u64) -> FamilyWriter {
    FamilyWriter::new(&place.dataset, &place.schema, 2, Family::Ipv4, bytes)
}

#[test]
fn batches_come_out_as_they_went_in() {
    let mut p = place();
    let first = p.generator.batch(&p.schema, 1000);
    let second = p.generator.batch(&p.schema, 300);
    let set = first.present().union(second.present());
    let mut segment = SegmentWriter::create(&p.dataset, 0, Family::Ipv4, START_US, set, &p.schema)
        .expect("makes");
    segment.append(first).expect("appends");
    segment.append(second).expect("appends");
    let closed = segment.close().expect("closes").expect("has rows");
    assert_eq!((closed.rows, rows_of(&closed.path)), (1300, 1300));
    assert_eq!(
        fs::metadata(&closed.path).expect("is there").len(),
        closed.bytes
    );

    let mut again = Generator::new(1);
    let expected = again
        .batch(&p.schema, 1000)
        .into_record_batch(&p.schema, set)
        .expect("parts agree");
    let mut reader = SegmentReader::open(&closed.path, None).expect("opens");
    let read = reader.next_batch().expect("reads").expect("has one");
    assert_eq!(read.columns(), expected.columns());
}

#[test]
fn columns_without_a_value_take_no_place() {
    let mut p = place();
    let mut all = ColumnSet::default();
    p.schema.columns().for_each(|id| all.insert(id));
    // Of a length that needs padding, and with a column that has a value now and then.
    let batches = [1_003, 8_192].map(|rows| p.generator.batch(&p.schema, rows));
    let present = batches[0].present();
    let mut segment = SegmentWriter::create(&p.dataset, 0, Family::Ipv4, START_US, all, &p.schema)
        .expect("makes");
    for batch in batches {
        segment.append(batch).expect("appends");
    }
    let closed = segment.close().expect("closes").expect("has rows");
    let metadata = fs::metadata(&closed.path).expect("is there");
    assert_eq!(metadata.len(), closed.bytes);
    // 512 is the unit of st_blocks, whatever the file system's own.
    assert!(metadata.blocks() * 512 < closed.bytes);

    let mut again = Generator::new(1);
    let mut reader = SegmentReader::open(&closed.path, None).expect("opens");
    for rows in [1_003, 8_192] {
        let expected = again.batch(&p.schema, rows);
        let expected = expected.into_record_batch(&p.schema, all);
        let read = reader.next_batch().expect("reads").expect("has one");
        assert_eq!(read.columns(), expected.expect("parts agree").columns());
        for (column, id) in read.columns().iter().zip(p.schema.columns()) {
            let empty = column.null_count() == rows;
            assert!(empty || present.contains(id));
        }
    }
    assert_eq!(
        (reader.torn_bytes(), reader.next_batch().expect("reads")),
        (0, None)
    );
}

#[test]
fn a_staging_folder_that_is_gone_is_made_again() {
    let mut p = place();
    fs::remove_dir_all(p.dataset.staging()).expect("removes");
    let batch = p.generator.batch(&p.schema, 10);
    let written = writer(&p, 1 << 20).write(batch, ColumnSet::default(), START_US);
    assert!(written.appended.is_ok());
}

#[test]
fn a_name_in_use_moves_the_start_by_a_microsecond() {
    let p = place();
    let create = || {
        let set = ColumnSet::default();
        SegmentWriter::create(&p.dataset, 0, Family::Ipv4, START_US, set, &p.schema)
    };
    let open = create().expect("makes");
    let settled = p.dataset.final_path(open.name().bump(), "parquet");
    fs::create_dir_all(settled.parent().expect("has one")).expect("makes");
    fs::write(&settled, "").expect("writes");
    let next = create().expect("makes");
    assert_eq!(next.name().start_us(), START_US + 2);
}

#[test]
fn a_segment_without_flows_leaves_nothing() {
    let p = place();
    let set = ColumnSet::default();
    let segment = SegmentWriter::create(&p.dataset, 0, Family::Ipv4, START_US, set, &p.schema)
        .expect("makes");
    let path = segment.stream.path().to_owned();
    assert!(path.exists());
    assert_eq!(segment.close().expect("closes"), None);
    assert!(!path.exists());
}

/// Writes a batch of `rows` flows: the flows of the segment that ended.
fn write(p: &mut Place, writer: &mut FamilyWriter, rows: usize, received_us: i64) -> Option<u64> {
    let written = writer.write(
        p.generator.batch(&p.schema, rows),
        ColumnSet::default(),
        received_us,
    );
    written.appended.expect("writes");
    written.closed.map(|closed| closed.rows)
}

#[test]
fn a_full_segment_ends() {
    let mut p = place();
    let mut writer = writer(&p, 1);
    for closes in [None, Some(10), Some(10)] {
        assert_eq!(write(&mut p, &mut writer, 10, START_US), closes);
    }
}

#[test]
fn a_new_column_ends_the_segment_and_an_unused_one_is_left_out_of_the_next() {
    let mut p = place();
    let mut writer = writer(&p, u64::MAX);
    let has_event = |writer: &FamilyWriter| {
        let segment = writer.open.as_ref().expect("is open");
        segment.columns().contains(columns::NAT_EVENT)
    };
    write(&mut p, &mut writer, 1000, START_US);
    assert!(!has_event(&writer));

    let mut batch = p.generator.batch(&p.schema, 10);
    let ColumnData::U8(column) = batch.column(columns::NAT_EVENT) else {
        panic!("an event is a u8")
    };
    column.fill(0, 10, 1);
    let written = writer.write(batch, ColumnSet::default(), START_US);
    written.appended.expect("writes");
    assert_eq!(written.closed.map(|c| c.rows), Some(1000));
    assert!(has_event(&writer));
    write(&mut p, &mut writer, 1000, START_US);

    // The second segment had it, so the third begins with it, but the fourth does not.
    for expected in [true, false] {
        writer.close().expect("closes");
        write(&mut p, &mut writer, 1000, START_US);
        assert_eq!(has_event(&writer), expected);
    }
}

#[test]
fn a_failed_write_loses_its_batch_alone() {
    let mut p = place();
    let mut writer = writer(&p, u64::MAX);
    write(&mut p, &mut writer, 1000, START_US);
    let segment = writer.open.as_mut().expect("is open");
    // /dev/full answers every write as a full disk does.
    let full = File::options().write(true).open("/dev/full");
    segment.stream.replace_file(full.expect("opens"));
    let lost = writer.write(
        p.generator.batch(&p.schema, 40),
        ColumnSet::default(),
        START_US,
    );
    let error = lost.appended.expect_err("the disk is full");
    assert!(error.error.is_disk_full(), "{error}");
    let closed = lost.closed.expect("the segment ended");
    assert_eq!((closed.rows, rows_of(&closed.path)), (1000, 1000));

    assert_eq!(write(&mut p, &mut writer, 10, START_US), None);
    let next = writer.close().expect("closes").expect("has rows");
    assert_eq!(rows_of(&next.path), 10);
}
