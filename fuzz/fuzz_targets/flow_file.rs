//! Flow files that are damaged.
#![no_main]

use std::cell::LazyCell;
use std::fs;
use std::sync::Once;

use forebay_store::FlowFile;
use libfuzzer_sys::fuzz_target;

/// Panics unwind, to be caught where the Parquet reader's are, instead of ending the process at once.
static HOOK: Once = Once::new();

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> =
        LazyCell::new(|| tempfile::tempdir().expect("a temporary folder"));
}

fuzz_target!(|input: &[u8]| {
    HOOK.call_once(|| drop(std::panic::take_hook()));
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
