//! What runs in a namespace: this program again, as exporters or as a collector.

use std::io::{Read, Write, stdin, stdout};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forebay_udp::{ShardSockets, SocketOptions, wildcard};

use super::PORT;
use crate::numbered::Exporter;

/// Says which part this process is to play, and its words.
pub(super) const PART: &str = "FOREBAY_NETWORK_PART";
/// What a part says when it is ready.
pub(super) const READY: &str = "ready";

/// Messages of each exporter.
const MESSAGES: u32 = 30;
/// Longer than any packet on the way.
const LONG_BYTES: usize = 4000;
/// After the last datagram nothing more is on its way.
const QUIET: Duration = Duration::from_millis(300);

/// Who sends, or who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Exporters,
    Collector,
}

/// A datagram that was sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) source: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

/// The part of this process, if it has one.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Plays a part, and tells of every datagram.
pub(crate) fn run(part: &str) {
    let mut words = part.split(' ');
    let datagrams = match words.next() {
        Some("Exporters") => {
            let target = words.next().and_then(|word| word.parse().ok());
            let target = target.expect("where to send to");
            let hosts = words.map(|word| word.parse().expect("an address"));
            send(target, hosts)
        }
        Some("Collector") => collect(words.map(|word| word.parse().expect("an address"))),
        other => panic!("{other:?} is no part"),
    };
    let mut out = String::new();
    for datagram in datagrams {
        out.push_str(&datagram.source.to_string());
        out.push(' ');
        out.extend(datagram.payload.iter().map(|byte| format!("{byte:02x}")));
        out.push('\n');
    }
    stdout().write_all(out.as_bytes()).expect("somebody reads");
}

/// What a part told.
pub(super) fn read(told: &str) -> Vec<Arrived> {
    told.lines()
        .filter(|line| *line != READY)
        .map(|line| {
            let (source, payload) = line.split_once(' ').expect("two words");
            let payload = payload.as_bytes().chunks(2).map(|digits| {
                let digits = std::str::from_utf8(digits).expect("digits");
                u8::from_str_radix(digits, 16).expect("digits")
            });
            Arrived {
                source: source.parse().expect("an address"),
                payload: payload.collect(),
            }
        })
        .collect()
}

fn send(target: SocketAddr, hosts: impl Iterator<Item = IpAddr>) -> Vec<Arrived> {
    let mut sent = Vec::new();
    let mut exporters = Vec::new();
    for host in hosts {
        for version in [5, 9, 10] {
            exporters.push(Exporter::new(host, target, version, 1));
        }
    }
    for message in 0..MESSAGES {
        for exporter in &mut exporters {
            sent.push(exporter.send_and_tell());
        }
        if message % 10 == 0 {
            for (exporter, version) in exporters.iter().zip([5, 9, 10].into_iter().cycle()) {
                let mut long: Vec<u8> = (0..LONG_BYTES)
                    .map(|index| (index * 7 % 251) as u8)
                    .collect();
                long[..2].copy_from_slice(&[0, version]);
                long[2] = message as u8;
                sent.push(exporter.send_as_it_is(long));
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    sent
}

/// Receives until its input ends; says hello to the neighbours, so that they know its address.
fn collect(neighbours: impl Iterator<Item = IpAddr>) -> Vec<Arrived> {
    let options = SocketOptions {
        receive_buffer_bytes: 32 << 20,
    };
    let mut receiver = ShardSockets::bind(&[wildcard(PORT)], 1, &options)
        .expect("the port is free")
        .remove(0);
    for neighbour in neighbours {
        let any = SocketAddr::new(
            if neighbour.is_ipv4() {
                [0; 4].into()
            } else {
                [0_u16; 8].into()
            },
            0,
        );
        let socket = UdpSocket::bind(any).expect("a socket");
        let _refused = socket
            .send_to(b"hello", (neighbour, 9))
            .expect("a way there");
    }
    println!("{READY}");
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    thread::spawn(move || {
        let _ends = stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    let mut arrived = Vec::new();
    loop {
        let ending = ended.load(Ordering::Relaxed);
        let datagrams = receiver.receive(QUIET).expect("readable");
        if ending && datagrams.len() == 0 {
            break;
        }
        arrived.extend(datagrams.map(|datagram| Arrived {
            source: datagram.source,
            payload: datagram.payload.to_vec(),
        }));
    }
    assert_eq!(
        receiver.kernel_drops(),
        0,
        "the buffer was to hold all, with right checksums"
    );
    arrived
}
