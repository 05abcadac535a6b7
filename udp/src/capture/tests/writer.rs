//! What is written is read again, and by others.

use std::io::{self, Cursor, Write};
use std::net::SocketAddr;

use proptest::prelude::*;

use super::super::{
    CaptureFormat, CaptureReader, CaptureStatistics, CaptureWriteError, CaptureWriter,
};
use super::read_whole;
use crate::Datagram;

fn datagram<'a>(source: &str, destination: &str, payload: &'a [u8]) -> Datagram<'a> {
    Datagram {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        received_ns: 1_700_000_000_123_456_789,
        payload,
    }
}

fn written(datagram: &Datagram<'_>) -> Result<Vec<u8>, CaptureWriteError> {
    let mut writer = CaptureWriter::new("test", Vec::new())?;
    writer.write(datagram)?;
    writer.finish()
}

#[test]
fn ipv4_byte_for_byte() {
    let file = written(&datagram("192.0.2.1:50000", "198.51.100.2:2055", b"flow!")).unwrap();
    let expected = [
        &[0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 4, 0, 101, 0, 0, 0],
        &[
            0x00, 0xf1, 0x53, 0x65, 0x15, 0xcd, 0x5b, 0x07, 33, 0, 0, 0, 33, 0, 0, 0,
        ],
        &[0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17],
        // ~(4500 + 0021 + 4000 + 4011 + c000 + 0201 + c633 + 6402), carries added
        &[0x4e, 0x95],
        &[192, 0, 2, 1, 198, 51, 100, 2],
        &[0xc3, 0x50, 0x08, 0x07, 0x00, 0x0d],
        // ~(c000 + 0201 + c633 + 6402 + 0011 + 000d + c350 + 0807 + 000d + 666c + 6f77 + 2100)
        &[0x51, 0x61],
        b"flow!",
    ];
    assert_eq!(file, expected.concat());
}

#[test]
fn pcapng_byte_for_byte() {
    let mut writer = CaptureWriter::with_format("test", Vec::new(), CaptureFormat::Pcapng).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let head = writer.bytes() as usize;
    let flow = datagram("192.0.2.1:50000", "198.51.100.2:2055", b"flow!");
    writer.write(&flow).unwrap();
    let statistics = CaptureStatistics {
        began_ns: 1 << 32 | 2,
        ended_ns: 3 << 32 | 4,
        received: 9,
        dropped: 8,
    };
    writer.write_statistics(&statistics).unwrap();
    let bytes = writer.bytes();
    let file = writer.finish().unwrap();
    assert_eq!(file.len() as u64, bytes);
    let (head, rest) = file.split_at(head);
    assert!(head.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
    let application = format!("forebay {version}");
    assert!(
        head.windows(application.len())
            .any(|part| part == application.as_bytes())
    );
    // Link type 101, snapshot length, nanoseconds.
    let interface = [
        &[1, 0, 0, 0, 32, 0, 0, 0, 101, 0, 0, 0, 0, 0, 4, 0][..],
        &[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0],
    ];
    assert!(head.ends_with(&interface.concat()));
    let packet = &written(&flow).unwrap()[24 + 16..];
    let time = 1_700_000_000_123_456_789_u64;
    let expected = [
        &[6, 0, 0, 0, 68, 0, 0, 0, 0, 0, 0, 0][..],
        &((time >> 32) as u32).to_le_bytes(),
        &(time as u32).to_le_bytes(),
        &[33, 0, 0, 0, 33, 0, 0, 0],
        packet,
        &[0, 0, 0, 68, 0, 0, 0],
        &[5, 0, 0, 0, 88, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0],
        &[2, 0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0],
        &[3, 0, 8, 0, 3, 0, 0, 0, 4, 0, 0, 0],
        &[4, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        &[5, 0, 8, 0, 8, 0, 0, 0, 0, 0, 0, 0],
        &[8, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0, 88, 0, 0, 0],
    ];
    assert_eq!(rest, expected.concat());
}

#[test]
fn pcap_has_no_place_for_statistics() {
    let mut writer = CaptureWriter::new("test", Vec::new()).unwrap();
    let before = writer.bytes();
    let statistics = CaptureStatistics {
        began_ns: 1,
        ended_ns: 2,
        received: 3,
        dropped: 3,
    };
    writer.write_statistics(&statistics).unwrap();
    assert_eq!(writer.bytes(), before);
}

/// The one's complement sum over 16-bit words, the slow and obvious way.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

fn any_datagram() -> impl Strategy<Value = (SocketAddr, SocketAddr, u64, Vec<u8>)> {
    let v4 = (any::<([u8; 4], u16)>(), any::<([u8; 4], u16)>())
        .prop_map(|(source, destination)| (source.into(), destination.into()));
    // Not ::ffff:0:0/96, which is read as IPv4.
    let v6 = (any::<([u16; 7], u16)>(), any::<([u16; 7], u16)>()).prop_map(|pair| {
        let address = |([a, b, c, d, e, f, g], port): ([u16; 7], u16)| {
            SocketAddr::from(([0x2000 | a, b, c, d, e, f, g, port], port))
        };
        (address(pair.0), address(pair.1))
    });
    let seconds = 0..=u64::from(u32::MAX);
    (
        prop_oneof![v4, v6],
        seconds,
        0u64..1_000_000_000,
        prop::collection::vec(any::<u8>(), 0..300),
    )
        .prop_map(|((source, destination), seconds, nanoseconds, payload)| {
            (
                source,
                destination,
                seconds * 1_000_000_000 + nanoseconds,
                payload,
            )
        })
}

proptest! {
    #[test]
    fn pcapng_is_read_again(datagrams in prop::collection::vec(any_datagram(), 0..6)) {
        let mut writer = CaptureWriter::with_format("test", Vec::new(), CaptureFormat::Pcapng).unwrap();
        for (source, destination, received_ns, payload) in &datagrams {
            let (source, destination, received_ns) = (*source, *destination, *received_ns);
            writer.write(&Datagram { source, destination, received_ns, payload }).unwrap();
        }
        let file = writer.finish().unwrap();
        let found = read_whole(&file).datagrams;
        let found: Vec<_> = found
            .into_iter()
            .map(|taken| (taken.source, taken.destination, taken.received_ns, taken.payload))
            .collect();
        prop_assert_eq!(found, datagrams);
    }

    #[test]
    fn read_again_with_checksums_that_hold((source, destination, received_ns, payload) in any_datagram()) {
        let datagram = Datagram { source, destination, received_ns, payload: &payload };
        let file = written(&datagram).unwrap();
        let mut reader = CaptureReader::from_reader("test", Cursor::new(file.clone())).unwrap();
        prop_assert_eq!(reader.next().unwrap(), Some(datagram));
        prop_assert!(reader.next().unwrap().is_none());

        let packet = &file[24 + 16..];
        let (addresses, udp) = if source.is_ipv4() {
            prop_assert_eq!(sum(&packet[..20]), 0xffff);
            (&packet[12..20], &packet[20..])
        } else {
            (&packet[8..40], &packet[40..])
        };
        let pseudo = [addresses, &[0, 17], &(udp.len() as u16).to_be_bytes(), udp].concat();
        prop_assert_eq!(sum(&pseudo), 0xffff);
        prop_assert_ne!(&udp[6..8], &[0, 0]);
    }
}

#[test]
fn a_checksum_of_zero_is_sent_as_ones() {
    // The payload makes the sum 0xffff, whose complement is zero.
    let empty = written(&datagram("0.0.0.1:1", "0.0.0.1:1", &[0, 0])).unwrap();
    let left = u16::from_be_bytes([empty[66], empty[67]]);
    let full = written(&datagram("0.0.0.1:1", "0.0.0.1:1", &left.to_be_bytes())).unwrap();
    assert_eq!(&full[66..68], &[0xff, 0xff]);
}

#[test]
fn the_longest_datagrams() {
    let payload = vec![1; 65_528];
    for (source, destination, longest) in [
        ("192.0.2.1:1", "192.0.2.2:2", 65_507),
        ("[2001:db8::1]:1", "[2001:db8::2]:2", 65_527),
    ] {
        let file = written(&datagram(source, destination, &payload[..longest])).unwrap();
        assert_eq!(read_whole(&file).datagrams[0].payload.len(), longest);
        let error = written(&datagram(source, destination, &payload[..=longest]));
        assert!(matches!(error, Err(CaptureWriteError::TooLong { bytes }) if bytes == longest + 1));
    }
}

#[test]
fn every_address_takes_the_sources_family() {
    for (source, every, read) in [
        ("192.0.2.1:1", "[::]:2055", "0.0.0.0:2055"),
        ("[2001:db8::1]:1", "0.0.0.0:2055", "[::]:2055"),
    ] {
        let file = written(&datagram(source, every, b"flow")).unwrap();
        let taken = &read_whole(&file).datagrams[0];
        assert_eq!(taken.destination.to_string(), read);
    }
}

#[test]
fn what_cannot_be_written_says_so() {
    let mixed = written(&datagram("192.0.2.1:1", "[2001:db8::2]:2", b"flow")).unwrap_err();
    assert_eq!(
        mixed.to_string(),
        "a datagram from 192.0.2.1:1 to [2001:db8::2]:2 is neither IPv4 nor IPv6"
    );
    let late = Datagram {
        received_ns: (1 << 32) * 1_000_000_000,
        ..datagram("192.0.2.1:1", "192.0.2.2:2", b"flow")
    };
    assert!(matches!(
        written(&late),
        Err(CaptureWriteError::TooLate { .. })
    ));
    let error = CaptureWriter::create("/nonexistent/exports.pcap").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot create capture /nonexistent/exports.pcap: No such file or directory (os error 2)"
    );
}

#[derive(Debug)]
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let error = CaptureWriter::new("exports.pcap", Full).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot write capture exports.pcap: no storage space"
    );
}
