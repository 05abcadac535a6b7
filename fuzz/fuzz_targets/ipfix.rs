//! IPFIX messages of one exporter.
#![no_main]

use std::collections::HashMap;

use forebay_fuzz::{Books, Frames, extra_columns, walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut templates = HashMap::new();
    let mut books = Books::new(extra_columns(), false);
    for frame in Frames(input) {
        let mut datagram = frame.to_vec();
        if let Some(version) = datagram.first_chunk_mut() {
            *version = 10u16.to_be_bytes();
        }
        walk(&datagram, &mut templates);
        books.decode(([192, 0, 2, 1], 2055).into(), &datagram);
    }
    let _none = books.finish();
});
