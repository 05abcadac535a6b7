//! The file around the packets: its beginning, its end, its size; and damage anywhere.

use std::io::{self, Cursor, Read};

use proptest::prelude::*;

use super::super::bytes::Order;
use super::super::{CaptureError, CaptureReader};
use super::build::{
    IPV4, IPV6, MICRO, MODIFIED, NANO, Record, enhanced, ethernet, fragments4, fragments6,
    interface, ipv4, ipv6, on_link, option, pcap, pcap_with, section, simple, tagged,
};
use super::{read, read_whole};

/// One of each kind.
fn all_kinds() -> Vec<Vec<u8>> {
    let long = vec![7; 100];
    let mut packets = vec![
        IPV4.to_vec(),
        IPV6.to_vec(),
        ipv6(
            0,
            &[60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0],
            b"flow",
        ),
    ];
    packets.extend(fragments4(&ipv4(1, &long), &[64]));
    packets.extend(fragments6(&ipv6(17, &[], &long), 1, &[64]));
    let mut files = Vec::new();
    for (order, magic) in [
        (Order::Little, MICRO),
        (Order::Big, NANO),
        (Order::Little, MODIFIED),
    ] {
        for link in [0, 1, 101, 108, 113, 276] {
            let mut records: Vec<Record> = packets
                .iter()
                .map(|packet| Record::of(on_link(link, packet)))
                .collect();
            if link == 1 {
                records.push(Record::of(tagged(&[0x88a8, 0x8100], IPV4)));
            }
            files.push(pcap_with(order, magic, link, &records));
        }
    }
    for order in [Order::Little, Order::Big] {
        let mut file = section(order);
        file.extend(interface(order, 1, 0, &option(order, 9, &[9])));
        for packet in &packets {
            file.extend(enhanced(order, 0, 1 << 60, &ethernet(packet)));
        }
        file.extend(simple(order, 46, &ethernet(IPV4)));
        file.extend(section(order));
        files.push(file);
    }
    files
}

#[test]
fn every_prefix_gives_what_is_whole_in_it() {
    for file in all_kinds() {
        let whole = read_whole(&file).datagrams;
        assert!(whole.len() >= 5);
        let mut ends_between_records = 0;
        for bytes in 0..file.len() {
            let read = read(&file[..bytes]);
            assert!(whole.starts_with(&read.datagrams), "{bytes}");
            match read.error {
                None => ends_between_records += 1,
                Some(CaptureError::TornTail {
                    offset, missing, ..
                }) => {
                    assert!(offset <= bytes as u64 && missing > 0);
                }
                Some(CaptureError::NotACapture { .. }) => assert!(bytes < 4),
                Some(other) => panic!("{bytes}: {other}"),
            }
        }
        assert!(ends_between_records < whole.len() + 8);
    }
}

/// Gives a byte at a time, with interruptions.
struct Dribble {
    bytes: Cursor<Vec<u8>>,
    interrupt: bool,
}

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = buffer.len().min(1);
        self.bytes.read(&mut buffer[..length])
    }
}

#[test]
fn a_slow_pipe_gives_the_same_as_a_file() {
    for file in all_kinds() {
        let whole = read_whole(&file).datagrams;
        let pipe = Dribble {
            bytes: Cursor::new(file),
            interrupt: false,
        };
        let mut reader = CaptureReader::from_reader("pipe", pipe).unwrap();
        for taken in whole {
            let datagram = reader.next().unwrap().unwrap();
            assert_eq!(datagram.payload, taken.payload);
            assert_eq!(datagram.source, taken.source);
        }
        assert!(reader.next().unwrap().is_none());
    }
}

#[test]
fn a_file_longer_than_the_window() {
    let payload = |index: usize| vec![index as u8; index * 977 % 65_508];
    let records: Vec<Record> = (0..300)
        .map(|index| Record::of(ethernet(&ipv4(index as u16, &payload(index)))))
        .collect();
    let file = pcap(&records);
    assert!(file.len() > 5 << 20);
    let read = read_whole(&file);
    assert_eq!(read.datagrams.len(), 300);
    for (index, taken) in read.datagrams.iter().enumerate() {
        assert!(taken.payload == payload(index), "{index}");
    }
}

#[test]
fn the_offset_ends_at_the_files_length() {
    let file = pcap(&[Record::of(ethernet(IPV4)), Record::of(ethernet(IPV6))]);
    let bytes = file.len() as u64;
    let mut reader = CaptureReader::from_reader("test", Cursor::new(file)).unwrap();
    assert_eq!(reader.offset(), 24);
    while reader.next().unwrap().is_some() {}
    assert_eq!(reader.offset(), bytes);
}

fn message(file: &[u8]) -> String {
    read(file).error.expect("an error").to_string()
}

#[test]
fn errors_say_what_is_there_and_what_to_do() {
    assert_eq!(message(b""), "test is no capture: it is empty");
    assert_eq!(
        message(b"# flows of today"),
        "test is no capture: it begins with 23 20 66 6c 6f 77 73 20 (\"# flows \"), not with \
         d4 c3 b2 a1 or 4d 3c b2 a1 (pcap, either way round) or 0a 0d 0d 0a (pcapng)"
    );
    assert_eq!(
        message(&[0x1f, 0x8b, 8, 0]),
        "test is no capture: it is compressed by gzip; `gunzip` it, or pipe it in and read `-`"
    );
    assert_eq!(
        message(&pcap_with(Order::Big, MICRO, 105, &[])),
        "capture test has link type 105, which is not supported: Ethernet (1), Linux cooked \
         (113, 276), raw IP (12, 101, 228, 229) and loopback (0, 108) are"
    );
    let file = pcap(&[Record::of(ethernet(IPV4)), Record::of(ethernet(IPV4))]);
    assert_eq!(
        message(&file[..file.len() - 6]),
        "capture test ends inside the record at byte 86 (6 bytes are missing); what comes before \
         it was read"
    );
    let mut file = file;
    file[86 + 8..86 + 12].copy_from_slice(&1_000_000_u32.to_le_bytes());
    assert_eq!(
        message(&file),
        "capture test is damaged at byte 86: a frame of 1000000 bytes; what comes before it was \
         read"
    );
    assert_eq!(
        CaptureReader::open("/nonexistent/exports.pcap")
            .err()
            .expect("an error")
            .to_string(),
        "cannot open capture /nonexistent/exports.pcap: No such file or directory (os error 2)"
    );
    assert!(matches!(
        CaptureReader::open("/"),
        Err(CaptureError::Read { offset: 0, .. })
    ));
}

/// Changes bytes of a sound file.
fn changed(file: &[u8], changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut file = file.to_vec();
    for (index, value) in changes {
        let at = index.index(file.len());
        file[at] = *value;
    }
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_end(
        start in prop::sample::select(all_kinds()),
        keep in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut file = start[..keep.index(start.len())].to_vec();
        file.extend(bytes);
        read(&file);
    }

    #[test]
    fn a_damaged_file_ends_and_gives_no_more_than_packets(
        start in prop::sample::select(all_kinds()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let read = read(&changed(&start, &changes));
        prop_assert!(read.datagrams.len() as u64 <= read.counts.packets);
    }

    /// A frame of random bytes after a sound beginning, in a sound file.
    #[test]
    fn random_frames_are_counted(
        link in prop::sample::select(vec![0u32, 1, 101, 108, 113, 276]),
        keep in 0usize..70,
        version_6 in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut frame = on_link(link, if version_6 { IPV6 } else { IPV4 });
        frame.truncate(keep);
        frame.extend(bytes);
        let file = pcap_with(Order::Big, NANO, link, &[Record::of(frame)]);
        read_whole(&file);
    }
}
