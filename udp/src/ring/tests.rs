//! Filters, blocks and packets, without a socket.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::block::Place;
use super::filter::Wanted;
use super::sieve::Sieve;
use super::*;
use crate::bpf::interpreter::run;
use crate::packet::{Ends, Head, Packets};

const PAYLOAD: &[u8] = b"flows";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| address(text)).collect()
}

fn wanted(interfaces: &[u32], listen: &[&str], exclude: &[&str]) -> Wanted {
    Wanted::new(interfaces.to_vec(), &addresses(listen), &addresses(exclude))
}

/// The packets of a datagram to this destination, from the IP header on.
fn packets(destination: SocketAddr, payload: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let source: IpAddr = match destination {
        SocketAddr::V4(_) => "192.0.2.1".parse().expect("an address"),
        SocketAddr::V6(_) => "2001:db8::1".parse().expect("an address"),
    };
    let ends = Ends::new(source, destination.ip()).expect("of one family");
    let udp = ends.udp_header(50_000, destination.port(), payload);
    let mut packets = Packets::new(ends, udp.expect("it fits"), payload, 7, mtu);
    let mut head = Head::EMPTY;
    let mut all = Vec::new();
    while let Some(rest) = packets.next(&mut head) {
        all.push([head.bytes(), rest].concat());
    }
    all
}

fn packet(destination: &str) -> Vec<u8> {
    packets(address(destination), PAYLOAD, 1500).remove(0)
}

fn keeps(wanted: &Wanted, packet: &[u8], interface: u32) -> bool {
    let program = if packet[0] >> 4 == 4 {
        wanted.ipv4_program()
    } else {
        wanted.ipv6_program()
    };
    assert!(program.len() <= 4096, "BPF_MAXINSNS");
    run(&program, packet, interface) as usize >= packet.len()
}

/// IPv4 with an option, and IPv6 with destination options before UDP.
fn with_more_headers(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] == 0x45 {
        packet[0] = 0x46;
        packet.splice(20..20, [1, 1, 1, 0]);
    } else {
        packet[5] += 8;
        packet[6] = 60;
        packet.splice(40..40, [17, 0, 1, 4, 0, 0, 0, 0]);
    }
    packet
}

#[test]
fn the_filter_tells_destinations_apart() {
    let all = wanted(
        &[],
        &["[::]:2055", "[::]:4739"],
        &["192.0.2.9:2055", "[2001:db8::9]:2055"],
    );
    let some = wanted(
        &[],
        &["192.0.2.5:2055", "[2001:db8::5]:2055", "0.0.0.0:4739"],
        &[],
    );
    for (destination, by_all, by_some) in [
        ("192.0.2.5:2055", true, true),
        ("192.0.2.6:2055", true, false),
        ("192.0.2.9:2055", false, false),
        ("192.0.2.9:4739", true, true),
        ("192.0.2.5:9995", false, false),
        ("[2001:db8::5]:2055", true, true),
        ("[2001:db8::6]:2055", true, false),
        ("[2001:db9::5]:2055", true, false),
        ("[2001:db8::9]:2055", false, false),
        // 0.0.0.0 takes no IPv6.
        ("[2001:db8::5]:4739", true, false),
        ("[2001:db8::9]:4739", true, false),
    ] {
        for (wanted, expected) in [(&all, by_all), (&some, by_some)] {
            let packet = packet(destination);
            assert_eq!(keeps(wanted, &packet, 1), expected, "{destination}");
            assert_eq!(
                wanted.takes(address(destination)),
                expected,
                "{destination}"
            );
            // IPv4 options are walked over; IPv6 extension headers are left to the program.
            let more = with_more_headers(&packet);
            let passes = expected || packet[0] >> 4 == 6;
            assert_eq!(keeps(wanted, &more, 1), passes, "{destination}");
            // Cut in its headers it is nothing.
            assert!(!keeps(wanted, &packet[..8], 1));
        }
    }
}

#[test]
fn the_filter_lets_fragments_through_and_no_other_protocol() {
    let wanted = wanted(&[], &["[::]:2055"], &["192.0.2.9:2055"]);
    for destination in ["192.0.2.5:2055", "192.0.2.5:9995", "192.0.2.9:2055"] {
        let pieces = packets(address(destination), &[7; 3000], 1500);
        assert_eq!(pieces.len(), 3);
        // All: without its first fragment, a datagram for others would look like one that lacks it.
        for piece in pieces {
            assert!(keeps(&wanted, &piece, 1), "{destination}");
            let mut tcp = piece;
            tcp[9] = 6;
            assert!(!keeps(&wanted, &tcp, 1));
        }
    }
    for piece in packets(address("[2001:db8::5]:9995"), &[7; 3000], 1500) {
        assert!(keeps(&wanted, &piece, 1));
        let mut icmp = piece.clone();
        icmp[40] = 58;
        assert!(!keeps(&wanted, &icmp, 1));
        icmp[6] = 58;
        assert!(!keeps(&wanted, &icmp, 1));
    }
}

#[test]
fn the_filter_tells_interfaces_apart() {
    let some = wanted(&[3, 7, 300], &["[::]:2055"], &[]);
    for destination in ["192.0.2.5:2055", "[2001:db8::5]:2055"] {
        for (interface, expected) in [(3, true), (7, true), (300, true), (1, false), (4, false)] {
            assert_eq!(keeps(&some, &packet(destination), interface), expected);
        }
    }
}

#[test]
fn the_longest_filter_fits() {
    let listen: Vec<String> = (0..MAX_ADDRESSES - 1)
        .map(|host| format!("[2001:db8::{host:x}]:2055"))
        .collect();
    let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
    let wanted = wanted(&[1], &listen, &[]);
    check_length(&wanted).expect("it fits");
    assert!(keeps(&wanted, &packet("[2001:db8::f8]:2055"), 1));
    assert!(!keeps(&wanted, &packet("[2001:db8::f9]:2055"), 1));
    let more = Wanted {
        exclude: addresses(&["192.0.2.9:2055"]),
        ..wanted
    };
    assert!(matches!(
        check_length(&more),
        Err(PacketError::TooManyAddresses { given: 251, .. })
    ));
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let good = PacketOptions {
        interfaces: Vec::new(),
        listen: addresses(&["[::]:2055"]),
        exclude: Vec::new(),
        shards: 1,
        ring_bytes: 1 << 20,
    };
    let refused = |options: &PacketOptions| PacketRing::open(options).expect_err("nonsense");
    let none = PacketOptions {
        listen: Vec::new(),
        ..good.clone()
    };
    assert!(matches!(refused(&none), PacketError::NoAddress));
    let portless = PacketOptions {
        listen: addresses(&["192.0.2.5:0"]),
        ..good.clone()
    };
    assert!(matches!(refused(&portless), PacketError::NoPort { .. }));
    for shards in [0, 257] {
        let options = PacketOptions {
            shards,
            ..good.clone()
        };
        assert!(matches!(refused(&options), PacketError::Shards { .. }));
    }
    for ring_bytes in [0, (1 << 20) - 1, (1 << 31) + 1] {
        let options = PacketOptions {
            ring_bytes,
            ..good.clone()
        };
        assert!(matches!(
            refused(&options),
            PacketError::RingBytes {
                least: 1_048_576,
                ..
            }
        ));
    }
    for name in ["no such interface", "a\0b", ""] {
        let options = PacketOptions {
            interfaces: vec![name.to_owned()],
            ..good.clone()
        };
        assert!(matches!(refused(&options), PacketError::NoInterface { .. }));
    }
}

/// A packet of a block; its checksum is to be looked at.
fn of_block(bytes: &[u8]) -> Vec<u8> {
    block(&[(bytes, bytes.len(), 0)])
}

/// A block of packets with their original lengths and their status.
fn block(packets: &[(&[u8], usize, u32)]) -> Vec<u8> {
    let mut block = Vec::new();
    // Version, private part, status, packets, first packet, length.
    for word in [1, 48, 1, packets.len() as u32, 48, 0] {
        block.extend(word.to_ne_bytes());
    }
    block.resize(48, 0);
    for (bytes, original, status) in packets {
        let next = (96 + bytes.len()).next_multiple_of(16);
        let start = block.len();
        for word in [
            next as u32,
            5,
            7,
            bytes.len() as u32,
            *original as u32,
            *status,
        ] {
            block.extend(word.to_ne_bytes());
        }
        block.extend(96_u16.to_ne_bytes());
        block.extend(96_u16.to_ne_bytes());
        block.resize(start + 96, 0);
        block.extend(*bytes);
        block.resize(start + next, 0);
    }
    block
}

/// What the sieve makes of a block: payloads, and the counts.
fn sift(sieve: &mut Sieve, block: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut place = Place::first(block);
    let mut taken = Vec::new();
    while place.left > 0 {
        let Some(packet) = place.next(block) else {
            sieve.lose(place.left);
            break;
        };
        if let Some(located) = sieve.take(&packet) {
            let bytes = if located.assembled {
                &sieve.assembled
            } else {
                block
            };
            taken.push((located.destination, bytes[located.payload].to_vec()));
        }
    }
    let counts = sieve.counts();
    assert_eq!(
        counts.packets,
        counts.datagrams - counts.reassembled
            + counts.fragments
            + counts.elsewhere
            + counts.not_udp
            + counts.malformed
            + counts.truncated
            + counts.checksum
    );
    taken
}

fn sieve() -> Sieve {
    Sieve::new(wanted(&[], &["[::]:2055"], &["192.0.2.9:2055"]))
}

#[test]
fn a_block_gives_its_packets_in_order() {
    let v4 = packet("192.0.2.5:2055");
    let v6 = with_more_headers(&packet("[2001:db8::5]:2055"));
    let block = block(&[(&v4, v4.len(), 0), (&v6, v6.len(), 0), (&v4, v4.len(), 0)]);
    let mut place = Place::first(&block);
    let first = place.next(&block).expect("a packet");
    assert_eq!((first.bytes, first.received_ns), (&v4[..], 5_000_000_007));
    assert_eq!(place.next(&block).expect("a packet").bytes, v6);
    assert_eq!(
        (place.next(&block).expect("a packet").bytes, place.left),
        (&v4[..], 0)
    );
    let taken = sift(&mut sieve(), &block);
    let (to_v4, to_v6) = (address("192.0.2.5:2055"), address("[2001:db8::5]:2055"));
    let flows = PAYLOAD.to_vec();
    assert_eq!(
        taken,
        [
            (to_v4, flows.clone()),
            (to_v6, flows.clone()),
            (to_v4, flows)
        ]
    );
}

#[test]
fn what_is_not_wanted_is_counted() {
    let mut sieve = sieve();
    let mut tcp = packet("[2001:db8::5]:2055");
    tcp[6] = 6;
    let truncated = packet("[2001:db8::5]:2055");
    let mut malformed = packet("[2001:db8::5]:2055");
    malformed[44..46].copy_from_slice(&[0xff, 0xff]);
    for bytes in [
        packet("192.0.2.9:2055"),
        packet("192.0.2.5:9995"),
        tcp,
        malformed,
    ] {
        assert_eq!(sift(&mut sieve, &of_block(&bytes)), []);
    }
    let cut = block(&[(&truncated[..50], truncated.len(), 0)]);
    assert_eq!(sift(&mut sieve, &cut), []);
    let counts = sieve.counts();
    assert_eq!((counts.elsewhere, counts.not_udp), (2, 1));
    assert_eq!((counts.malformed, counts.truncated), (1, 1));
}

#[test]
fn wrong_checksums_are_refused_where_there_should_be_right_ones() {
    let mut sieve = sieve();
    for destination in ["192.0.2.5:2055", "[2001:db8::5]:2055"] {
        let mut wrong = packet(destination);
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        assert_eq!(sift(&mut sieve, &of_block(&wrong)), []);
        // Not made yet, or found right by the interface.
        for status in [libc::TP_STATUS_CSUMNOTREADY, libc::TP_STATUS_CSUM_VALID] {
            let block = block(&[(&wrong, wrong.len(), status)]);
            assert_eq!(sift(&mut sieve, &block).len(), 1);
        }
    }
    assert_eq!(sieve.counts().checksum, 2);
    // None is right in IPv4 alone.
    let mut v4 = packet("192.0.2.5:2055");
    v4[26..28].fill(0);
    assert_eq!(sift(&mut sieve, &of_block(&v4)).len(), 1);
    let mut v6 = packet("[2001:db8::5]:2055");
    v6[46..48].fill(0);
    assert_eq!(sift(&mut sieve, &of_block(&v6)), []);
    assert_eq!(sieve.counts().checksum, 3);
    let mut header = packet("192.0.2.5:2055");
    header[8] -= 1;
    assert_eq!(sift(&mut sieve, &of_block(&header)), []);
    assert_eq!(sieve.counts().checksum, 4);
}

#[test]
fn fragments_are_put_together_if_they_are_wanted() {
    let mut sieve = sieve();
    let payload: Vec<u8> = (0..4000).map(|index| (index * 7 % 251) as u8).collect();
    for destination in ["192.0.2.5:2055", "[2001:db8::5]:2055", "192.0.2.9:2055"] {
        let mut pieces = packets(address(destination), &payload, 1500);
        pieces.reverse();
        let of_block: Vec<_> = pieces
            .iter()
            .map(|piece| (&piece[..], piece.len(), 0))
            .collect();
        let taken = sift(&mut sieve, &block(&of_block));
        match destination {
            "192.0.2.9:2055" => assert_eq!(taken, []),
            _ => assert_eq!(taken, [(address(destination), payload.clone())]),
        }
    }
    let counts = sieve.counts();
    assert_eq!(
        (counts.fragments, counts.reassembled, counts.datagrams),
        (9, 2, 2)
    );
    assert_eq!(counts.fragments_elsewhere, 1);
    // A bit turned in the payload.
    let mut pieces = packets(address("192.0.2.5:2055"), &payload, 1500);
    pieces[1][100] ^= 1;
    for piece in &pieces {
        assert_eq!(sift(&mut sieve, &of_block(piece)), []);
    }
    assert_eq!(sieve.counts().fragments_malformed, 1);
}

proptest! {
    /// Neither lengths that lie in the block nor packets of any bytes do harm.
    #[test]
    fn any_block_is_read_to_its_end(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        packets in 0u32..20,
        first in 20u32..100,
        lengths in prop::collection::vec((0u32..200, 0u32..300, 0u16..200), 0..6),
    ) {
        let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
            if let Some(room) = bytes.get_mut(at..at + value.len()) {
                room.copy_from_slice(value);
            }
        };
        put(&mut bytes, 12, &packets.to_ne_bytes());
        put(&mut bytes, 16, &first.to_ne_bytes());
        let mut at = first as usize;
        for (next, captured, network) in lengths {
            put(&mut bytes, at, &next.to_ne_bytes());
            put(&mut bytes, at + 12, &captured.to_ne_bytes());
            put(&mut bytes, at + 26, &network.to_ne_bytes());
            at += next as usize;
        }
        let mut sieve = sieve();
        sift(&mut sieve, &bytes);
        prop_assert!(sieve.counts().packets <= 20);
    }

    /// Whatever bytes come as a packet.
    #[test]
    fn any_packet_is_counted_once(bytes in prop::collection::vec(any::<u8>(), 0..100), v6 in any::<bool>()) {
        let mut bytes = bytes;
        if let [version, ..] = bytes.as_mut_slice() {
            *version = if v6 { 0x60 } else { 0x45 };
        }
        let mut sieve = sieve();
        sift(&mut sieve, &of_block(&bytes));
        prop_assert_eq!(sieve.counts().packets, 1);
    }
}
