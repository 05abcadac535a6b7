//! Capture files.
#![no_main]

use std::io::Cursor;

use forebay_udp::capture::CaptureReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(mut capture) = CaptureReader::from_reader("input", Cursor::new(input.to_vec())) else {
        return;
    };
    let mut datagrams = 0;
    let ended_well = loop {
        match capture.next() {
            Ok(Some(_)) => datagrams += 1,
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(
        matches!(capture.next(), Ok(None)),
        "after an error is the end"
    );
    let counts = *capture.counts();
    assert_eq!(counts.datagrams, datagrams);
    assert_eq!(
        counts.packets,
        counts.datagrams - counts.reassembled
            + counts.fragments
            + counts.not_ip
            + counts.not_udp
            + counts.malformed
            + counts.truncated
            + counts.unsupported_link,
        "every packet is counted once: {counts:?}"
    );
    let length = input.len() as u64;
    assert!(capture.offset() <= length);
    assert!(!ended_well || capture.offset() == length);
});
