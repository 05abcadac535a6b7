//! A disk that really is full: what is written stays whole, and goes on when there is space.
//!
//! The test runs itself again in a mount namespace of its own, on a small file system there.

mod needs;
#[path = "../benches/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use forebay_store::{
    ClosedSegment, ColumnSet, Compression, Dataset, Family, FamilyWriter, FlowFile, FlowSchema,
    SegmentReader, SettleOptions, find_inputs, free_bytes, settle,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use support::{Generator, START_US};

/// Where the small file system is, for the test that was run again.
const DISK: &str = "FOREBAY_SMALL_DISK";
const SCRIPT: &str = "mount -t tmpfs -o size=4m tmpfs \"$1\" && exec \"$2\"";

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

fn main() {
    if let Some(small) = std::env::var_os(DISK) {
        return a_full_disk_costs_the_batches_that_do_not_fit_and_no_more(Path::new(&small));
    }
    let name = "a_full_disk_costs_the_batches_that_do_not_fit_and_no_more";
    let trial = Trial::ignorable_test(name, again_on_a_small_disk);
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit();
}

fn again_on_a_small_disk() -> Result<Completion, Failed> {
    let dir = tempfile::tempdir()?;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe()?)
        .env(DISK, dir.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => Ok(Completion::Completed),
        // What Rust ends with after a panic.
        Some(101) => Err(said.into()),
        _ => needs::missing(format!(
            "no file system can be mounted here: {}",
            said.trim()
        )),
    }
}

fn a_full_disk_costs_the_batches_that_do_not_fit_and_no_more(small: &Path) {
    let free = free_bytes(small).expect("asks");
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
            let written = writer.write(
                generator.batch(&schema, ROWS),
                ColumnSet::default(),
                START_US,
            );
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
    fill(small);
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
    make_space(small);
    let settled = settle(&dataset, &first.path, &options).expect("settles");
    assert_eq!(settled.rows, first.rows);
    assert_eq!(attempts(1, &mut closed), 0);
    let last = writer.close().expect("closes").expect("has rows");
    assert_eq!(last.rows, ROWS as u64);
    assert_eq!(first.rows + last.rows, stored);
    assert!(lost >= 4);
    fs::remove_dir_all(dir).expect("removes");
}
