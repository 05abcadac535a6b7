//! Captures in every form, whole, cut and damaged.

mod build;
mod compressed;
mod files;
mod fragments;
mod packets;
mod pcapng;
mod writer;

use std::io::Cursor;
use std::net::SocketAddr;

use super::{CaptureCounts, CaptureError, CaptureReader};

/// A datagram that has left the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    source: SocketAddr,
    destination: SocketAddr,
    received_ns: u64,
    payload: Vec<u8>,
}

/// All that a capture gives.
#[derive(Debug)]
struct Read {
    datagrams: Vec<Taken>,
    counts: CaptureCounts,
    error: Option<CaptureError>,
}

/// Reads to the end, and checks that the counts add up.
fn read(file: &[u8]) -> Read {
    let mut datagrams = Vec::new();
    let mut reader = match CaptureReader::from_reader("test", Cursor::new(file.to_vec())) {
        Ok(reader) => reader,
        Err(error) => {
            return Read {
                datagrams,
                counts: CaptureCounts::default(),
                error: Some(error),
            };
        }
    };
    let error = loop {
        match reader.next() {
            Ok(Some(datagram)) => datagrams.push(Taken {
                source: datagram.source,
                destination: datagram.destination,
                received_ns: datagram.received_ns,
                payload: datagram.payload.to_vec(),
            }),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(matches!(reader.next(), Ok(None)), "the end is the end");
    let counts = *reader.counts();
    assert_eq!(counts.datagrams, datagrams.len() as u64);
    assert_eq!(
        counts.packets,
        counts.datagrams - counts.reassembled
            + counts.fragments
            + counts.not_ip
            + counts.not_udp
            + counts.malformed
            + counts.truncated
            + counts.unsupported_link
    );
    Read {
        datagrams,
        counts,
        error,
    }
}

/// Reads a capture that is sound.
fn read_whole(file: &[u8]) -> Read {
    let read = read(file);
    assert!(read.error.is_none(), "{:?}", read.error);
    read
}

fn flow4(received_ns: u64) -> Taken {
    Taken {
        source: SocketAddr::from(([192, 0, 2, 1], 50_000)),
        destination: SocketAddr::from(([198, 51, 100, 2], 2055)),
        received_ns,
        payload: b"flow".to_vec(),
    }
}

fn flow6(received_ns: u64) -> Taken {
    Taken {
        source: "[2001:db8::1]:50000".parse().unwrap(),
        destination: "[2001:db8::2]:2055".parse().unwrap(),
        received_ns,
        payload: b"flow".to_vec(),
    }
}
