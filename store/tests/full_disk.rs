//! A disk that really is full: what is written stays whole, and goes on when there is space.
//!
//! `FOREBAY_SMALL_DISK` names a folder on a file system of a few MiB, such as
//! `mount -t tmpfs -o size=4m tmpfs FOLDER` makes.

#[path = "../benches/support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_store::{
    ClosedSegment, Compression, Dataset, Family, FamilyWriter, FlowFile, FlowSchema, SegmentReader,
    SettleOptions, find_inputs, free_bytes, settle,
};
use support::{Generator, START_US};

const SMALL: u64 = 64 << 20;
const ROWS: usize = 5000;

fn rows_of(path: &Path) -> u64 {
    let file = FlowFile::open(path, None).expect("opens");
    file.map(|batch| batch.expect("reads").num_rows() as u64)
        .sum()
}

/// Leaves less space than a batch needs.
fn fill(path: &Path) {
    let mut size = free_bytes(path).expect("asks");
    while size > 1000 {
        let block = vec![0; size as usize];
        // What fits is written, the rest is refused.
        let _full = fs::write(path.join(format!("filler{size}")), block);
        size /= 2;
    }
}

fn make_space(path: &Path) {
    for entry in fs::read_dir(path).expect("lists") {
        let path = entry.expect("lists").path();
        if path.to_string_lossy().contains("filler") {
            fs::remove_file(path).expect("removes");
        }
    }
}

#[test]
fn a_full_disk_costs_the_batches_that_do_not_fit_and_no_more() {
    let Some(small) = std::env::var_os("FOREBAY_SMALL_DISK").map(PathBuf::from) else {
        println!("skipped: FOREBAY_SMALL_DISK names no folder on a small file system");
        return;
    };
    let free = free_bytes(&small).expect("asks");
    assert!(free < SMALL, "{free} bytes are free: this test fills them");
    let dir = small.join("dataset");
    let dataset = Arc::new(Dataset::open(&dir).expect("opens"));
    let schema = Arc::new(FlowSchema::default());
    let mut writer = FamilyWriter::new(&dataset, &schema, 0, Family::Ipv4, u64::MAX);
    let mut generator = Generator::new(1);
    let mut closed: Vec<ClosedSegment> = Vec::new();
    let mut stored = 0;
    let mut lost = 0;
    let mut attempts = |count: usize, closed: &mut Vec<ClosedSegment>| {
        let mut full = 0;
        for _ in 0..count {
            let written = writer.write(generator.batch(&schema, ROWS), START_US);
            closed.extend(written.closed);
            match written.appended {
                Ok(_) => stored += ROWS as u64,
                Err(error) => {
                    assert!(error.error.is_disk_full(), "{}", error.error);
                    lost += 1;
                    full += 1;
                }
            }
        }
        full
    };

    // A third of the disk stays for the flow file. Until a batch is cut off in
    // the middle, and a few times more.
    fs::write(small.join("filler"), vec![0; free as usize / 3]).expect("writes");
    while attempts(1, &mut closed) == 0 {}
    assert_eq!(attempts(3, &mut closed), 3);
    let first = closed.pop().expect("the segment ended");
    assert_eq!(closed, []);
    let mut reader = SegmentReader::open(&first.path, None).expect("opens");
    while reader.next_batch().expect("reads").is_some() {}
    assert_eq!(reader.torn_bytes(), 0);
    assert_eq!(rows_of(&first.path), first.rows);

    // Settling needs space as well: it leaves the segment, and nothing else.
    fill(&small);
    let options = SettleOptions {
        compression: Compression::None,
    };
    let error = settle(&dataset, &first.path, &options).expect_err("the disk is full");
    assert!(error.is_disk_full(), "{error}");
    let root = [dataset.root().to_string_lossy().into_owned()];
    assert_eq!(
        find_inputs(&root).expect("finds"),
        std::slice::from_ref(&first.path)
    );

    // Space returns, and both go on.
    make_space(&small);
    let settled = settle(&dataset, &first.path, &options).expect("settles");
    assert_eq!(settled.rows, first.rows);
    assert_eq!(attempts(1, &mut closed), 0);
    let last = writer.close().expect("closes").expect("has rows");
    assert_eq!(last.rows, ROWS as u64);
    assert_eq!(first.rows + last.rows, stored);
    assert!(lost >= 4);
    fs::remove_dir_all(dir).expect("removes");
}
