//! Segments that are damaged: read, and settled.
#![no_main]

use std::cell::LazyCell;
use std::fs;
use std::sync::Once;

use forebay_store::{Dataset, FlowFile, SegmentReader, SettleOptions, settle};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "0-ipv4-20261121T164000.123456Z.arrows";

/// Panics unwind, to be caught where arrow's are, instead of ending the process at once.
static HOOK: Once = Once::new();

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> =
        LazyCell::new(|| tempfile::tempdir().expect("a temporary folder"));
}

fuzz_target!(|input: &[u8]| {
    HOOK.call_once(|| drop(std::panic::take_hook()));
    let root = FOLDER.with(|folder| folder.path().to_owned());
    let dataset = Dataset::open(&root).expect("opens");
    let path = dataset.staging().join(NAME);
    fs::write(&path, input).expect("written");
    let mut rows = 0;
    let mut reader = SegmentReader::open(&path, None).expect("can be read");
    while let Some(batch) = reader.next_batch().expect("can be read") {
        rows += batch.num_rows() as u64;
    }
    assert!(reader.whole_bytes() <= input.len() as u64);
    assert_eq!(
        reader.whole_bytes() + reader.torn_bytes(),
        input.len() as u64
    );
    if let Ok(settled) = settle(&dataset, &path, &SettleOptions::default()) {
        assert_eq!(settled.rows, rows);
        if let Some(path) = settled.path {
            if let Ok(file) = FlowFile::open(&path, None) {
                let read: usize = file.map(|batch| batch.expect("whole").num_rows()).sum();
                assert_eq!(read as u64, rows);
            }
            fs::remove_file(path).expect("removed");
        }
    }
});
