//! Captures compressed by zstd: as those that are not, cut and damaged too.

use std::io::{Cursor, Write};

use proptest::prelude::*;

use super::super::{CaptureError, CaptureReader};
use super::build::{IPV4, IPV6, Record, ethernet, pcap};
use super::{read, read_whole};

fn capture() -> Vec<u8> {
    let frames = [IPV4, IPV6].into_iter().cycle().take(40);
    let records: Vec<Record> = frames.map(|ip| Record::of(ethernet(ip))).collect();
    pcap(&records)
}

fn compressed(file: &[u8]) -> Vec<u8> {
    zstd::encode_all(file, 1).expect("memory does not fail")
}

#[test]
fn gives_what_it_holds_be_it_one_frame_or_several() {
    let file = capture();
    let whole = read_whole(&file);
    let (head, tail) = file.split_at(file.len() / 3);
    let two = [compressed(head), compressed(tail)].concat();
    for compressed in [compressed(&file), two] {
        let found = read_whole(&compressed);
        assert_eq!(found.datagrams, whole.datagrams);
        assert_eq!(found.counts, whole.counts);
    }
}

#[test]
fn every_prefix_gives_what_is_whole_in_it_and_says_that_it_is_torn() {
    // A frame that is flushed after each record, so that there is something in its prefixes.
    let file = capture();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    for part in file.chunks(50) {
        encoder.write_all(part).expect("memory does not fail");
        encoder.flush().expect("memory does not fail");
    }
    let frame = encoder.finish().expect("memory does not fail");
    let whole = read_whole(&frame).datagrams;
    let mut most = 0;
    for bytes in 4..frame.len() {
        let read = read(&frame[..bytes]);
        assert!(whole.starts_with(&read.datagrams), "{bytes}");
        most = most.max(read.datagrams.len());
        assert!(
            matches!(read.error, Some(CaptureError::TornTail { missing, .. }) if missing > 0),
            "{bytes}: {:?}",
            read.error
        );
    }
    assert_eq!(most, whole.len());
}

#[test]
fn what_holds_no_capture_or_another_frame_is_refused() {
    for (inside, says) in [
        (b"# flows of today".to_vec(), "23 20 66 6c 6f 77 73 20"),
        // Once is enough: a small file can hold any number of frames in frames.
        (compressed(&capture()), "compressed by zstd"),
    ] {
        let error = read(&compressed(&inside)).error.expect("an error");
        assert!(matches!(error, CaptureError::NotACapture { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_frame_that_asks_for_much_memory_is_refused() {
    // RFC 8878, section 3.1.1.1: no content size, and a window of 2³¹ bytes.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0, 0];
    let error = CaptureReader::from_reader("test", Cursor::new(frame));
    let error = error.err().expect("an error");
    assert!(matches!(error, CaptureError::Read { .. }), "{error}");
}

proptest! {
    #[test]
    fn a_damaged_one_ends(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut frame = compressed(&capture());
        for (index, value) in changes {
            // The magic number stays.
            let at = 4 + index.index(frame.len() - 4);
            frame[at] = value;
        }
        // `read` checks that the counts add up and that the end is the end.
        read(&frame);
    }
}
