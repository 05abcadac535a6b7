//! From frame to datagram.

use super::super::bytes::Order;
use super::build::{
    IPV4, IPV6, MICRO, MODIFIED, NANO, Record, SECONDS, ethernet, ipv4, ipv6, on_link, pcap,
    pcap_with, tagged,
};
use super::{CaptureCounts, flow4, flow6, read, read_whole};

#[test]
fn every_link_type_byte_order_and_time_unit() {
    let start = u64::from(SECONDS) * 1_000_000_000;
    for order in [Order::Little, Order::Big] {
        for (magic, received_ns) in [
            (MICRO, start + 123_456_000),
            (NANO, start + 123_456),
            (MODIFIED, start + 123_456_000),
        ] {
            for link_type in [0, 1, 12, 14, 101, 108, 113, 228, 229, 276] {
                let records = [IPV4, IPV6].map(|ip| Record::of(on_link(link_type, ip)));
                let file = pcap_with(order, magic, link_type, &records);
                let read = read_whole(&file);
                assert_eq!(
                    read.datagrams,
                    [flow4(received_ns), flow6(received_ns)],
                    "{order:?} {magic:08x} {link_type}"
                );
            }
        }
    }
}

/// What the counts are when `frames` are Ethernet.
fn counts(frames: &[Vec<u8>]) -> CaptureCounts {
    let records: Vec<Record> = frames.iter().cloned().map(Record::of).collect();
    read_whole(&pcap(&records)).counts
}

/// Expects one IPv4 packet to be delivered, with this payload.
fn payload_of(packet: &[u8]) -> Vec<u8> {
    let read = read_whole(&pcap(&[Record::of(ethernet(packet))]));
    assert_eq!(read.datagrams.len(), 1, "{:?}", read.counts);
    read.datagrams[0].payload.clone()
}

#[test]
fn bits_about_frame_check_sequences_are_no_link_type() {
    let file = pcap_with(
        Order::Big,
        MICRO,
        0x2400_0001,
        &[Record::of(ethernet(IPV4))],
    );
    assert_eq!(read_whole(&file).datagrams.len(), 1);
}

#[test]
fn up_to_eight_vlan_tags() {
    for tags in 0..=8 {
        for tag in [0x8100, 0x88a8, 0x9100] {
            let counts = counts(&[
                tagged(&vec![tag; tags], IPV4),
                tagged(&vec![tag; tags], IPV6),
            ]);
            assert_eq!(counts.datagrams, 2, "{tags} × {tag:x}");
        }
    }
    assert_eq!(counts(&[tagged(&[0x8100; 9], IPV4)]).not_ip, 1);
}

#[test]
fn tags_behind_cooked_headers() {
    let tag = [0x81, 0x00];
    let (v1, v2) = (on_link(113, IPV4), on_link(276, IPV4));
    let v1 = [&v1[..14], &tag, &[0, 100], &v1[14..]].concat();
    let v2 = [&tag, &v2[2..20], &[0, 100, 0x08, 0x00], &v2[20..]].concat();
    for (link_type, frame) in [(113, v1), (276, v2)] {
        let file = pcap_with(Order::Little, MICRO, link_type, &[Record::of(frame)]);
        assert_eq!(read_whole(&file).datagrams.len(), 1, "{link_type}");
    }
}

#[test]
fn what_is_not_ip_or_not_udp_is_counted_as_such() {
    let mut arp = ethernet(IPV4);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let mut version_5 = ethernet(IPV4);
    version_5[14] = 0x55;
    let mut tcp = IPV4.to_vec();
    tcp[9] = 6;
    let mut icmp6 = IPV6.to_vec();
    icmp6[6] = 58;
    let counts = counts(&[arp, version_5, ethernet(&tcp), ethernet(&icmp6)]);
    assert_eq!((counts.not_ip, counts.not_udp), (2, 2));

    let other_family = [&[7, 0, 0, 0], IPV4].concat();
    let file = pcap_with(Order::Little, MICRO, 0, &[Record::of(other_family)]);
    assert_eq!(read_whole(&file).counts.not_ip, 1);
}

#[test]
fn ipv4_options_are_skipped() {
    for words in 1..=10 {
        let mut packet = IPV4.to_vec();
        packet[0] = 0x45 + words as u8;
        packet[3] += 4 * words as u8;
        packet.splice(20..20, vec![1; 4 * words]);
        assert_eq!(payload_of(&packet), b"flow");
    }
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut packet = IPV4.to_vec();
    packet.extend([0xee; 14]);
    assert_eq!(payload_of(&packet), b"flow");
    let mut packet = IPV6.to_vec();
    packet.extend([0xee; 14]);
    assert_eq!(payload_of(&packet), b"flow");
}

#[test]
fn lengths_of_zero_mean_the_captured_length() {
    let mut packet = IPV4.to_vec();
    packet[2..4].fill(0);
    assert_eq!(payload_of(&packet), b"flow");
    packet[24..26].fill(0);
    assert_eq!(payload_of(&packet), b"flow");
    let mut packet = IPV6.to_vec();
    packet[4..6].fill(0);
    assert_eq!(payload_of(&packet), b"flow");
    packet[44..46].fill(0);
    assert_eq!(payload_of(&packet), b"flow");
}

#[test]
fn an_empty_datagram_is_one() {
    assert_eq!(payload_of(&ipv4(1, b"")), b"");
    assert_eq!(payload_of(&ipv6(17, &[], b"")), b"");
}

#[test]
fn udp_shorter_than_its_packet_ends_first() {
    let mut packet = IPV4.to_vec();
    packet[25] = 10;
    assert_eq!(payload_of(&packet), b"fl");
}

#[test]
fn lengths_that_contradict_each_other_are_malformed() {
    let with = |packet: &[u8], changes: &[(usize, u8)]| {
        let mut packet = packet.to_vec();
        for (at, value) in changes {
            packet[*at] = *value;
        }
        ethernet(&packet)
    };
    let frames = [
        with(IPV4, &[(0, 0x44)]),          // header of 16 bytes
        with(IPV4, &[(3, 19)]),            // shorter than its header
        with(IPV4, &[(0, 0x4f), (3, 59)]), // the same, with options
        with(IPV4, &[(3, 27)]),            // no room for UDP
        with(IPV4, &[(25, 7)]),            // UDP shorter than its header
        with(IPV4, &[(25, 13)]),           // UDP longer than its packet
        with(IPV4, &[(3, 33)]),            // longer than a frame that is whole
        with(IPV6, &[(5, 7)]),             // no room for UDP
        with(IPV6, &[(45, 13)]),           // UDP longer than its packet
        with(IPV6, &[(5, 13)]),            // longer than a frame that is whole
        with(IPV6, &[(6, 0), (41, 200)]),  // options longer than the packet
        with(IPV6, &[(6, 60), (5, 7)]),    // options that do not fit
    ];
    for frame in frames {
        assert_eq!(
            counts(std::slice::from_ref(&frame)).malformed,
            1,
            "{frame:02x?}"
        );
    }
}

#[test]
fn frames_cut_by_the_snapshot_length_are_truncated() {
    for packet in [IPV4, IPV6] {
        let frame = ethernet(packet);
        for bytes in 0..frame.len() {
            let file = pcap(&[
                Record::of(frame.clone()).cut(bytes),
                Record::of(frame.clone()),
            ]);
            let read = read_whole(&file);
            assert_eq!(
                (read.counts.truncated, read.counts.datagrams),
                (1, 1),
                "{bytes}"
            );
        }
    }
    // Where only padding is cut, nothing is missing.
    let mut padded = ethernet(IPV4);
    padded.extend([0; 14]);
    let read = read_whole(&pcap(&[Record::of(padded).cut(14 + 32)]));
    assert_eq!(read.counts.datagrams, 1);
}

#[test]
fn ipv6_extension_headers_are_followed() {
    let hop_by_hop = [17, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(payload_of(&ipv6(0, &hop_by_hop, b"flow")), b"flow");
    // Hop-by-hop, routing (two segments), destination options, authentication, UDP.
    let mut chain = vec![43, 0, 1, 4, 0, 0, 0, 0];
    chain.extend([60, 4, 4, 2]);
    chain.extend([0; 36]);
    chain.extend([51, 0, 1, 4, 0, 0, 0, 0]);
    chain.extend([17, 4, 0, 0]);
    chain.extend([0xaa; 20]);
    assert_eq!(payload_of(&ipv6(0, &chain, b"flow")), b"flow");
    // ESP hides what is in it; "no next header" has nothing.
    for next in [50, 59] {
        assert_eq!(counts(&[ethernet(&ipv6(next, &[], b"flow"))]).not_udp, 1);
    }
}

#[test]
fn an_endless_chain_of_extension_headers_ends() {
    let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(1000);
    assert_eq!(counts(&[ethernet(&ipv6(60, &chain, b""))]).malformed, 1);
}

#[test]
fn an_atomic_fragment_is_a_whole_datagram() {
    // RFC 6946, whatever the reserved bits.
    for reserved in [0, 6] {
        let header = [17, 0, 0, reserved, 1, 2, 3, 4];
        let packet = ipv6(44, &header, b"flow");
        assert_eq!(payload_of(&packet), b"flow");
        assert_eq!(counts(&[ethernet(&packet)]).fragments, 0);
    }
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mut packet = IPV6.to_vec();
    packet[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 9]);
    let read = read(&pcap(&[Record::of(ethernet(&packet))]));
    assert_eq!(read.datagrams[0].source.to_string(), "192.0.2.9:50000");
}
