//! v1, v5 and v7 messages, and those of no version, of one exporter.
#![no_main]

use std::collections::HashMap;

use forebay_fuzz::{Books, Frames, extra_columns, walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut templates = HashMap::new();
    let mut books = Books::new(extra_columns(), false);
    for datagram in Frames(input) {
        // What the other targets have.
        if let [0, 9 | 10, ..] = datagram {
            continue;
        }
        walk(datagram, &mut templates);
        books.decode(([192, 0, 2, 1], 2055).into(), datagram);
    }
    let _none = books.finish();
});
