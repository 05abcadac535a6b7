use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::schema::FlowSchema;
use crate::segment::{ClosedSegment, SegmentWriter};
use crate::support::{Generator, START_US};

struct Place {
    _dir: tempfile::TempDir,
    dataset: Dataset,
}

fn place() -> Place {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dataset = Dataset::open(dir.path()).expect("opens");
    Place { _dir: dir, dataset }
}

/// A closed segment, and the file's length after each batch.
fn segment(dataset: &Dataset, batches: &[usize]) -> (ClosedSegment, Vec<u64>) {
    let schema = Arc::new(FlowSchema::default());
    let mut generator = Generator::new(7);
    let set = generator.batch(&schema, 1000).present();
    let mut writer =
        SegmentWriter::create(dataset, 1, Family::Ipv4, START_US, set, &schema).expect("makes");
    let mut lengths = Vec::new();
    for &rows in batches {
        writer
            .append(generator.batch(&schema, rows))
            .expect("appends");
        lengths.push(writer.bytes());
    }
    (writer.close().expect("closes").expect("has rows"), lengths)
}

fn rows_of(path: &Path) -> usize {
    let file = File::open(path).expect("opens");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("is Parquet");
    let batches: Result<Vec<RecordBatch>, _> = reader.build().expect("builds").collect();
    batches
        .expect("reads")
        .iter()
        .map(RecordBatch::num_rows)
        .sum()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("lists") {
        let path = entry.expect("lists").path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false if path.ends_with("staging/.lock") => {}
            false => found.push(path),
        }
    }
    found
}

#[test]
fn a_segment_becomes_one_flow_file() {
    for compression in [Compression::Zstd, Compression::Lz4, Compression::None] {
        let p = place();
        let (closed, _) = segment(&p.dataset, &[1000, 10, 500]);
        let settled =
            settle(&p.dataset, &closed.path, &SettleOptions { compression }).expect("settles");
        let path = settled.path.expect("has rows");
        assert_eq!(settled.rows, 1510);
        assert_eq!((settled.torn_bytes, settled.was_settled), (0, false));
        assert_eq!(settled.bytes, fs::metadata(&path).expect("is there").len());
        assert_eq!(rows_of(&path), 1510);
        assert_eq!(files_below(p.dataset.root()), [path]);
    }
}

#[test]
fn a_flow_file_that_is_there_is_not_written_twice() {
    let p = place();
    let (closed, _) = segment(&p.dataset, &[100]);
    let copy = fs::read(&closed.path).expect("reads");
    let options = SettleOptions::default();
    let first = settle(&p.dataset, &closed.path, &options).expect("settles");
    // As after a kill between the rename and the removal.
    fs::write(&closed.path, copy).expect("writes");
    let second = settle(&p.dataset, &closed.path, &options).expect("settles");
    assert!(second.was_settled);
    assert_eq!(second.path, first.path);
    assert_eq!(
        files_below(p.dataset.root()),
        [first.path.expect("has rows")]
    );
}

#[test]
fn what_a_kill_left_unfinished_is_done_again() {
    let p = place();
    let (closed, _) = segment(&p.dataset, &[100, 100]);
    let target = p.dataset.final_path(closed.name, PARQUET_EXTENSION);
    files::make_parent(&target).expect("makes");
    fs::write(files::temporary_path(&target), "half a file").expect("writes");

    let left = recover(&p.dataset).expect("recovers");
    assert_eq!(left, std::slice::from_ref(&closed.path));
    assert_eq!(files_below(p.dataset.root()), left);
    settle(&p.dataset, &closed.path, &SettleOptions::default()).expect("settles");
    assert_eq!(rows_of(&target), 200);
    assert_eq!(recover(&p.dataset).expect("recovers"), [] as [PathBuf; 0]);
}

#[test]
fn whole_batches_of_a_torn_segment_settle_wherever_it_is_torn() {
    let p = place();
    let (closed, lengths) = segment(&p.dataset, &[30, 1, 20]);
    let bytes = fs::read(&closed.path).expect("reads");
    let target = p.dataset.final_path(closed.name, PARQUET_EXTENSION);
    let kept = p.dataset.final_path(closed.name, SEGMENT_EXTENSION);
    let near = |length: usize| {
        let mut ends = lengths.iter().chain([&closed.bytes]);
        ends.any(|end| end.abs_diff(length as u64) < 3)
    };
    for length in (0..=bytes.len()).filter(|length| length % 61 == 0 || near(*length)) {
        let whole = lengths.iter().filter(|&&end| end <= length as u64).count();
        let rows = [0, 30, 31, 51][whole];
        let torn = match whole {
            // A whole schema alone is no torn tail, so there is no one length to expect.
            0 => None,
            // The mark of the end is there whole or is itself torn.
            3 if length == bytes.len() => Some(0),
            whole => Some(length as u64 - lengths[whole - 1]),
        };

        fs::write(&closed.path, &bytes[..length]).expect("writes");
        // Writing Parquet so often would take long: some lengths are settled too.
        let result = keep(&p.dataset, &closed.path).expect("keeps");
        assert_eq!(result.rows, rows, "cut at {length}");
        assert_eq!(result.path.is_some(), rows > 0);
        if let Some(torn) = torn {
            assert_eq!(result.torn_bytes, torn, "cut at {length}");
            fs::remove_file(&kept).expect("was kept");
        }
        if length % 610 == 0 || near(length) {
            fs::write(&closed.path, &bytes[..length]).expect("writes");
            let options = SettleOptions::default();
            let result = settle(&p.dataset, &closed.path, &options).expect("settles");
            assert_eq!(result.rows, rows, "cut at {length}");
            if rows > 0 {
                assert_eq!(rows_of(&target) as u64, rows);
                fs::remove_file(&target).expect("was settled");
            }
        }
        assert_eq!(files_below(p.dataset.root()), [] as [PathBuf; 0]);
    }
}

#[test]
fn garbage_behind_whole_batches_is_dropped() {
    let p = place();
    let (closed, lengths) = segment(&p.dataset, &[30, 20]);
    let whole = fs::read(&closed.path).expect("reads")[..lengths[1] as usize].to_vec();
    for garbage in [vec![0; 4096], vec![0xff; 4096], vec![0x41; 100]] {
        let bytes = [whole.as_slice(), &garbage].concat();
        fs::write(&closed.path, bytes).expect("writes");
        let kept = keep(&p.dataset, &closed.path).expect("keeps");
        assert_eq!((kept.rows, kept.torn_bytes), (50, garbage.len() as u64));
        let path = kept.path.expect("has rows");
        assert_eq!(fs::read(&path).expect("reads"), whole);
        fs::remove_file(path).expect("removes");
    }
}

#[test]
fn a_segment_that_was_closed_is_kept_as_it_is() {
    let p = place();
    let (closed, _) = segment(&p.dataset, &[30, 20]);
    let whole = fs::read(&closed.path).expect("reads");
    let kept = keep_closed(&p.dataset, &closed).expect("keeps");
    assert_eq!((kept.rows, kept.torn_bytes), (50, 0));
    assert_eq!(
        fs::read(kept.path.expect("has rows")).expect("reads"),
        whole
    );
    assert!(!closed.path.exists());
}

#[test]
fn a_damaged_message_ends_a_segment_wherever_the_damage_is() {
    let Place { _dir, dataset } = place();
    let (closed, lengths) = segment(&dataset, &[20, 30]);
    let whole = fs::read(&closed.path).expect("reads");
    let [first, _] = lengths[..] else { panic!() };
    // The second batch's message: its lengths and offsets come first.
    for at in (first as usize..).take(2400).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        fs::write(&closed.path, &damaged).expect("writes");
        let mut reader = SegmentReader::open(&closed.path, None).expect("opens");
        let batch = reader.next_batch().expect("reads").expect("is whole");
        assert_eq!(batch.num_rows(), 20);
        while reader.next_batch().expect("reads").is_some() {}
        let length = damaged.len() as u64;
        assert_eq!(reader.whole_bytes() + reader.torn_bytes(), length);
    }
}

#[test]
fn a_file_that_is_no_segment_is_refused_and_stays() {
    let p = place();
    let path = p.dataset.staging().join("notes.txt");
    fs::write(&path, "mine").expect("writes");
    assert!(matches!(
        settle(&p.dataset, &path, &SettleOptions::default()),
        Err(StoreError::SegmentName(_))
    ));
    assert_eq!(recover(&p.dataset).expect("recovers"), [] as [PathBuf; 0]);
    assert!(path.exists());
}
