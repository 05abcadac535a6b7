//! The content of `templates.bin`, behind a checksum that is right.
#![no_main]

use std::cell::LazyCell;
use std::fs;

use forebay_collector::{Decoder, DecoderConfig, Saved};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> =
        LazyCell::new(|| tempfile::tempdir().expect("a temporary folder"));
}

fuzz_target!(|payload: &[u8]| {
    let mut file = b"forebayT".to_vec();
    file.extend(1u32.to_le_bytes());
    file.extend(crc32fast::hash(payload).to_le_bytes());
    file.extend(payload);
    let path = FOLDER.with(|folder| folder.path().join("templates.bin"));
    fs::write(&path, file).expect("written");
    let Ok(saved) = Saved::load(&path) else {
        return;
    };
    let mut decoder = Decoder::new(DecoderConfig::default());
    decoder.restore(&saved, |_| true);
    decoder.finish();
    let again = decoder.saved();
    again.save(&path).expect("saved");
    assert_eq!(Saved::load(&path).expect("what was saved is loaded"), again);
});
