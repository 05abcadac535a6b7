//! Captures made byte by byte, so that the reader is not checked against the writer.

use super::super::bytes::Order;

/// 192.0.2.1:50000 → 198.51.100.2:2055, "flow", with a wrong checksum.
pub(super) const IPV4: &[u8] = &[
    0x45, 0x00, 0x00, 0x20, 0x12, 0x34, 0x00, 0x00, 0x40, 0x11, 0x00, 0x00, // IPv4
    192, 0, 2, 1, 198, 51, 100, 2, // addresses
    0xc3, 0x50, 0x08, 0x07, 0x00, 0x0c, 0xde, 0xad, // UDP
    b'f', b'l', b'o', b'w',
];

/// [2001:db8::1]:50000 → [2001:db8::2]:2055, "flow".
pub(super) const IPV6: &[u8] = &[
    0x60, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x11, 0x40, // IPv6
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // source
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // destination
    0xc3, 0x50, 0x08, 0x07, 0x00, 0x0c, 0xde, 0xad, // UDP
    b'f', b'l', b'o', b'w',
];

pub(super) const SECONDS: u32 = 1_700_000_000;

pub(super) const MICRO: u32 = 0xa1b2_c3d4;
pub(super) const NANO: u32 = 0xa1b2_3c4d;
pub(super) const MODIFIED: u32 = 0xa1b2_cd34;

/// Link types with every header a frame may have around an IP packet.
pub(super) fn on_link(link_type: u32, ip: &[u8]) -> Vec<u8> {
    let v6 = ip[0] >> 4 == 6;
    let ether_type: [u8; 2] = if v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    let header = match link_type {
        0 => vec![if v6 { 30 } else { 2 }, 0, 0, 0],
        108 => vec![0, 0, 0, if v6 { 24 } else { 2 }],
        1 => [&[0x02; 12][..], &ether_type].concat(),
        113 => [&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0][..], &ether_type].concat(),
        276 => [
            &ether_type,
            &[0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0][..],
        ]
        .concat(),
        _ => Vec::new(),
    };
    [&header, ip].concat()
}

pub(super) fn ethernet(ip: &[u8]) -> Vec<u8> {
    on_link(1, ip)
}

/// Ethernet with these EtherTypes before that of the packet.
pub(super) fn tagged(tags: &[u16], ip: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0x00, 0x64]);
    }
    frame.extend(&ethernet(ip)[12..]);
    frame
}

pub(super) fn u16_bytes(order: Order, value: u16) -> [u8; 2] {
    match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    }
}

pub(super) fn u32_bytes(order: Order, value: u32) -> [u8; 4] {
    match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    }
}

/// A record of a pcap file.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) seconds: u32,
    pub(super) fraction: u32,
    pub(super) original: usize,
    pub(super) frame: Vec<u8>,
}

impl Record {
    pub(super) fn of(frame: Vec<u8>) -> Self {
        Self::at(0, frame)
    }

    /// Received so many seconds after the beginning.
    pub(super) fn at(seconds: u32, frame: Vec<u8>) -> Self {
        Self {
            seconds: SECONDS + seconds,
            fraction: 123_456,
            original: frame.len(),
            frame,
        }
    }

    /// Cut by a snapshot length.
    pub(super) fn cut(mut self, bytes: usize) -> Self {
        self.frame.truncate(bytes);
        self
    }
}

pub(super) fn pcap_with(order: Order, magic: u32, link_type: u32, records: &[Record]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut word = |value: u32| file.extend(u32_bytes(order, value));
    word(magic);
    word(match order {
        Order::Little => 0x0004_0002,
        Order::Big => 0x0002_0004,
    });
    for value in [0, 0, 65_535, link_type] {
        word(value);
    }
    for record in records {
        for value in [
            record.seconds,
            record.fraction,
            record.frame.len() as u32,
            record.original as u32,
        ] {
            file.extend(u32_bytes(order, value));
        }
        if magic == MODIFIED {
            file.extend([0; 8]);
        }
        file.extend(&record.frame);
    }
    file
}

/// A little-endian microsecond file of Ethernet.
pub(super) fn pcap(records: &[Record]) -> Vec<u8> {
    pcap_with(Order::Little, MICRO, 1, records)
}

pub(super) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let total = u32_bytes(order, padded as u32 + 12);
    let padding = vec![0; padded - body.len()];
    [&u32_bytes(order, kind)[..], &total, body, &padding, &total].concat()
}

pub(super) fn section(order: Order) -> Vec<u8> {
    let body = [
        &u32_bytes(order, 0x1a2b_3c4d)[..],
        &u16_bytes(order, 1),
        &u16_bytes(order, 0),
        &[0xff; 8],
    ];
    block(order, 0x0a0d_0d0a, &body.concat())
}

pub(super) fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
    let length = u16_bytes(order, value.len() as u16);
    [&u16_bytes(order, code)[..], &length, value, &padding].concat()
}

pub(super) fn interface(order: Order, link_type: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
    let body = [
        &u16_bytes(order, link_type)[..],
        &[0, 0],
        &u32_bytes(order, snaplen),
        options,
    ];
    block(order, 1, &body.concat())
}

pub(super) fn enhanced(order: Order, interface: u32, time: u64, frame: &[u8]) -> Vec<u8> {
    let words = [
        interface,
        (time >> 32) as u32,
        time as u32,
        frame.len() as u32,
        frame.len() as u32,
    ];
    let mut body: Vec<u8> = words
        .into_iter()
        .flat_map(|word| u32_bytes(order, word))
        .collect();
    body.extend(frame);
    body.resize(body.len().next_multiple_of(4), 0);
    // A comment, that must be skipped, and the end of options.
    body.extend(option(order, 1, b"seen"));
    body.extend([0; 4]);
    block(order, 6, &body)
}

pub(super) fn simple(order: Order, original: u32, frame: &[u8]) -> Vec<u8> {
    block(order, 3, &[&u32_bytes(order, original)[..], frame].concat())
}

/// Fragments of `packet`, IPv4 without options, at these offsets into what follows the header.
pub(super) fn fragments4(packet: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (header, payload) = packet.split_at(20);
    pieces(payload, cuts)
        .map(|(start, piece, more)| {
            let mut fragment = [header, piece].concat();
            fragment[2..4].copy_from_slice(&(20 + piece.len() as u16).to_be_bytes());
            let flags = (start as u16 / 8) | if more { 0x2000 } else { 0 };
            fragment[6..8].copy_from_slice(&flags.to_be_bytes());
            fragment
        })
        .collect()
}

/// Fragments of `packet`, IPv6, all extension headers in the fragmentable part.
pub(super) fn fragments6(packet: &[u8], identification: u32, cuts: &[usize]) -> Vec<Vec<u8>> {
    let (header, payload) = packet.split_at(40);
    pieces(payload, cuts)
        .map(|(start, piece, more)| {
            let mut fragment = header.to_vec();
            fragment[4..6].copy_from_slice(&(8 + piece.len() as u16).to_be_bytes());
            fragment[6] = 44;
            fragment.extend([header[6], 0]);
            fragment.extend((start as u16 | u16::from(more)).to_be_bytes());
            fragment.extend(identification.to_be_bytes());
            fragment.extend(piece);
            fragment
        })
        .collect()
}

fn pieces<'a>(
    payload: &'a [u8],
    cuts: &'a [usize],
) -> impl Iterator<Item = (usize, &'a [u8], bool)> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([payload.len()]);
    starts
        .zip(ends)
        .map(|(start, end)| (start, &payload[start..end], end < payload.len()))
}

/// An IPv4 packet with UDP ports 50000 and 2055 around `payload`.
pub(super) fn ipv4(identification: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = IPV4[..28].to_vec();
    packet[2..4].copy_from_slice(&(28 + payload.len() as u16).to_be_bytes());
    packet[4..6].copy_from_slice(&identification.to_be_bytes());
    packet[24..26].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    packet.extend(payload);
    packet
}

/// The same in IPv6, after extension headers that begin with type `first`.
pub(super) fn ipv6(first: u8, extensions: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = IPV6[..40].to_vec();
    let length = extensions.len() + 8 + payload.len();
    packet[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    packet[6] = first;
    packet.extend(extensions);
    packet.extend(&IPV6[40..44]);
    packet.extend((8 + payload.len() as u16).to_be_bytes());
    packet.extend([0xde, 0xad]);
    packet.extend(payload);
    packet
}
