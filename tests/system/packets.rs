//! Packets of a network, in a capture for flow exporters, and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// 2026-11-21T16:40:00Z
const START_US: u64 = 1_795_279_200_000_000;
const ETHERNET_BYTES: usize = 14;
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP_V6: u8 = 58;

/// A direction of a conversation. ICMP has no ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) protocol: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// Packets, and what an exporter must say of them.
pub(crate) struct Traffic {
    pub(crate) totals: BTreeMap<Key, Totals>,
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
    capture: Vec<u8>,
    packets: u64,
}

impl Traffic {
    /// Conversations of every protocol and both families, both ways.
    pub(crate) fn new() -> Self {
        let mut traffic = Self {
            totals: BTreeMap::new(),
            first_us: START_US as i64,
            last_us: START_US as i64,
            capture: capture_header(),
            packets: 0,
        };
        for conversation in 0..240_u16 {
            let key = key(conversation);
            for packet in 0..=conversation % 13 {
                let payload = usize::from(conversation * 7 + packet * 31) % 1_200;
                traffic.add(key, payload);
                if packet % 3 == 1 {
                    traffic.add(key.reverse(), payload / 4);
                }
            }
        }
        traffic
    }

    fn add(&mut self, key: Key, payload: usize) {
        let packet = packet(key, payload);
        self.packets += 1;
        // A packet each 10 ms.
        let at_us = START_US + self.packets * 10_000;
        self.last_us = at_us as i64;
        let length = packet.len() as u32;
        let words = [
            (at_us / 1_000_000) as u32,
            (at_us % 1_000_000) as u32,
            length,
            length,
        ];
        self.capture
            .extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self.capture.extend(&packet);
        let totals = self.totals.entry(key).or_default();
        totals.packets += 1;
        totals.bytes += (packet.len() - ETHERNET_BYTES) as u64;
    }

    /// Writes the packets to a capture file.
    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, &self.capture).expect("a capture");
    }

    /// What of it is IPv4.
    pub(crate) fn ipv4(&self) -> BTreeMap<Key, Totals> {
        let of_ipv4 = self.totals.iter().filter(|(key, _)| key.source.is_ipv4());
        of_ipv4.map(|(&key, &totals)| (key, totals)).collect()
    }
}

impl Key {
    fn reverse(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self
        }
    }
}

fn key(conversation: u16) -> Key {
    let client = conversation + 1;
    let server = conversation % 11 + 1;
    let (protocol, ipv6) = [
        (TCP, false),
        (UDP, false),
        (ICMP, false),
        (TCP, true),
        (UDP, true),
        (ICMP_V6, true),
    ][usize::from(conversation % 6)];
    let (source, destination): (IpAddr, IpAddr) = if ipv6 {
        (
            Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, client).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, server).into(),
        )
    } else {
        (
            Ipv4Addr::from_bits(0x0a01_0000 | u32::from(client)).into(),
            Ipv4Addr::from_bits(0x0a02_0000 | u32::from(server)).into(),
        )
    };
    let has_ports = matches!(protocol, TCP | UDP);
    Key {
        source,
        destination,
        source_port: if has_ports { 10_000 + conversation } else { 0 },
        destination_port: if has_ports { 443 } else { 0 },
        protocol,
    }
}

/// An Ethernet frame. Checksums above IP are left out: exporters do not look at them.
fn packet(key: Key, payload: usize) -> Vec<u8> {
    let mut above = Vec::new();
    match key.protocol {
        TCP => {
            above.extend(key.source_port.to_be_bytes());
            above.extend(key.destination_port.to_be_bytes());
            above.extend([0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 0x10, 4, 0, 0, 0, 0, 0]);
        }
        UDP => {
            above.extend(key.source_port.to_be_bytes());
            above.extend(key.destination_port.to_be_bytes());
            above.extend((payload as u16 + 8).to_be_bytes());
            above.extend([0, 0]);
        }
        // Echo requests.
        ICMP => above.extend([8, 0, 0, 0, 0, 1, 0, 1]),
        _ => above.extend([128, 0, 0, 0, 0, 1, 0, 1]),
    }
    above.resize(above.len() + payload, 0x5a);
    let length = above.len() as u16;
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    match (key.source, key.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0];
            header.extend((length + 20).to_be_bytes());
            header.extend([0, 1, 0, 0, 64, key.protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            let checksum = checksum(&header);
            header[10..12].copy_from_slice(&checksum);
            frame.extend([8, 0]);
            frame.extend(header);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd, 6 << 4, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([key.protocol, 64]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        _ => unreachable!("a conversation has one family"),
    }
    frame.extend(above);
    frame
}

/// RFC 1071
fn checksum(header: &[u8]) -> [u8; 2] {
    let words = header
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

fn capture_header() -> Vec<u8> {
    // pcap, microseconds, version 2.4, time zone and accuracy 0, whole packets, Ethernet
    let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1_u32];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
