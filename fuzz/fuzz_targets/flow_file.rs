//! Flow files that are damaged.
#![no_main]

use std::cell::LazyCell;
use std::fs;

use forebay_store::FlowFile;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> =
        LazyCell::new(|| tempfile::tempdir().expect("a temporary folder"));
}

fuzz_target!(|input: &[u8]| {
    let path = FOLDER.with(|folder| folder.path().join("flows.parquet"));
    fs::write(&path, input).expect("written");
    let Ok(file) = FlowFile::open(&path, None) else {
        return;
    };
    for batch in file {
        if batch.is_err() {
            break;
        }
    }
});
