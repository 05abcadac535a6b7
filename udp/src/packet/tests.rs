//! Packets byte by byte, checked by a sum that is written down as RFC 1071 has it.

use proptest::prelude::*;

use super::*;

const V4: Ends = Ends::V4([192, 0, 2, 1], [198, 51, 100, 2]);
const V6: Ends = Ends::V6(
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
);

/// The sum, 16 bits at a time: zero over what holds its own right checksum.
fn plain_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    !(sum as u16)
}

/// What the UDP checksum is over: the pseudo header, RFC 768 and RFC 8200, section 8.1, and the
/// datagram.
fn with_pseudo_header(ends: Ends, datagram: &[u8]) -> Vec<u8> {
    let length = datagram.len() as u32;
    let mut all = match ends {
        Ends::V4(source, destination) => [&source[..], &destination].concat(),
        Ends::V6(source, destination) => [&source[..], &destination].concat(),
    };
    all.extend(length.to_be_bytes());
    all.extend([0, 0, 0, 17]);
    all.extend(datagram);
    all
}

fn packets(ends: Ends, payload: &[u8], identification: u32, mtu: usize) -> Vec<Vec<u8>> {
    let udp = ends.udp_header(50_000, 2055, payload).expect("it fits");
    let mut packets = Packets::new(ends, udp, payload, identification, mtu);
    let mut head = Head::EMPTY;
    let mut all = Vec::new();
    while let Some(rest) = packets.next(&mut head) {
        all.push([head.bytes(), rest].concat());
    }
    assert!(packets.next(&mut head).is_none(), "the end is the end");
    all
}

/// Checks every header, and returns the datagram that the fragments make.
fn put_together(ends: Ends, identification: u32, mtu: usize, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for (number, packet) in packets.iter().enumerate() {
        assert!(packet.len() <= mtu, "{} of {mtu}", packet.len());
        let last = number + 1 == packets.len();
        let (offset, more, part) = match ends {
            Ends::V4(source, destination) => {
                assert_eq!(packet[0], 0x45);
                assert_eq!(packet[2..4], (packet.len() as u16).to_be_bytes());
                assert_eq!(packet[4..6], (identification as u16).to_be_bytes());
                assert_eq!(packet[8..10], [64, 17]);
                assert_eq!(plain_sum(&packet[..20]), 0, "the header's checksum");
                assert_eq!(packet[12..20], [source, destination].concat());
                let flags = u16::from_be_bytes([packet[6], packet[7]]);
                assert_eq!(flags & 0xc000, 0, "may be fragmented further");
                (flags & 0x1fff, flags & 0x2000 != 0, &packet[20..])
            }
            Ends::V6(source, destination) => {
                assert_eq!(packet[..4], [0x60, 0, 0, 0]);
                assert_eq!(packet[4..6], (packet.len() as u16 - 40).to_be_bytes());
                assert_eq!(packet[7], 64);
                assert_eq!(packet[8..40], [source, destination].concat());
                if packets.len() == 1 {
                    assert_eq!(packet[6], 17);
                    (0, false, &packet[40..])
                } else {
                    assert_eq!((packet[6], &packet[40..42]), (44, &[17, 0][..]));
                    assert_eq!(packet[44..48], identification.to_be_bytes());
                    let offset = u16::from_be_bytes([packet[42], packet[43]]);
                    assert_eq!(offset & 6, 0);
                    (offset / 8, offset & 1 != 0, &packet[48..])
                }
            }
        };
        assert_eq!(usize::from(offset) * 8, datagram.len());
        assert_eq!(more, !last);
        assert!(last || part.len().is_multiple_of(8));
        datagram.extend(part);
    }
    datagram
}

#[test]
fn an_ipv4_packet_byte_by_byte() {
    #[rustfmt::skip]
    let expected = [
        0x45, 0, 0, 33, 0x12, 0x34, 0, 0, 64, 17, 0x7c, 0x61, 192, 0, 2, 1, 198, 51, 100, 2,
        0xc3, 0x50, 0x08, 0x07, 0, 13, 0xff, 0x60, b'f', b'l', b'o', b'w', b's',
    ];
    let made = packets(V4, b"flows", 0x1234, 1500);
    assert_eq!(plain_sum(&expected[..20]), 0);
    assert_eq!(plain_sum(&with_pseudo_header(V4, &expected[20..])), 0);
    assert_eq!(made, [expected]);
}

#[test]
fn an_ipv6_packet_byte_by_byte() {
    let made = packets(V6, b"flow", 7, 1500);
    let Ends::V6(source, destination) = V6 else {
        unreachable!("it is IPv6")
    };
    let head = [0x60, 0, 0, 0, 0, 12, 17, 64];
    let udp = [0xc3, 0x50, 0x08, 0x07, 0, 12];
    assert_eq!(made.len(), 1);
    assert_eq!(made[0][..8], head);
    assert_eq!(made[0][8..40], [source, destination].concat());
    assert_eq!(made[0][40..46], udp);
    assert_eq!(made[0][48..], *b"flow");
    assert_eq!(plain_sum(&with_pseudo_header(V6, &made[0][40..])), 0);
}

#[test]
fn a_checksum_of_zero_is_sent_as_all_ones() {
    for ends in [V4, V6] {
        // The payload that makes the sum come out as zero is the checksum over zeroes in its place.
        let udp = ends.udp_header(50_000, 2055, &[0, 0]).expect("short");
        let udp = ends.udp_header(50_000, 2055, &udp[6..8]).expect("short");
        assert_eq!(udp[6..8], [0xff, 0xff]);
    }
}

#[test]
fn a_packet_as_long_as_the_path_takes_is_whole() {
    for (ends, headers) in [(V4, 28), (V6, 48)] {
        let payload = vec![7; 1500 - headers];
        assert_eq!(packets(ends, &payload, 1, 1500).len(), 1);
        let longer = vec![7; 1500 - headers + 1];
        let made = packets(ends, &longer, 1, 1500);
        assert_eq!(made.len(), 2);
        // 1480 is a multiple of eight; 1452 is not.
        assert_eq!(made[0].len(), if headers == 28 { 1500 } else { 1496 });
    }
}

#[test]
fn the_longest_and_the_shortest_datagram() {
    for (ends, longest, mtu) in [(V4, 65_507, 68), (V4, 65_507, 65_535), (V6, 65_527, 1280)] {
        let payload: Vec<u8> = (0..longest)
            .map(|index| ((index * 31) >> 3) as u8)
            .collect();
        let made = packets(ends, &payload, 9, mtu);
        let datagram = put_together(ends, 9, mtu, &made);
        assert!(datagram[8..] == payload);
        assert_eq!(plain_sum(&with_pseudo_header(ends, &datagram)), 0);
        assert!(ends.udp_header(1, 1, &vec![0; longest + 1]).is_none());
        assert_eq!(packets(ends, &[], 9, mtu).len(), 1);
    }
    // No path is as narrow as that; the least is taken.
    assert!(
        packets(V4, &[0; 100], 9, 0)
            .iter()
            .all(|packet| packet.len() <= 68)
    );
    assert!(
        packets(V6, &[0; 2000], 9, 0)
            .iter()
            .all(|packet| packet.len() <= 1280)
    );
}

#[test]
fn addresses_of_two_families_make_no_packet() {
    let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
    assert_eq!(Ends::new(v4, v6), None);
    assert_eq!(Ends::new(v6, v4), None);
    let mapped = "::ffff:192.0.2.1".parse().unwrap();
    assert_eq!(Ends::new(mapped, v4), Ends::new(v4, v4));
}

proptest! {
    /// Whatever is sent over whatever path: the datagram, with a checksum that is right.
    #[test]
    fn fragments_make_the_datagram(
        payload in prop::collection::vec(any::<u8>(), 0..5000),
        mtu in 68usize..2000,
        identification in any::<u32>(),
        v6 in any::<bool>(),
    ) {
        let (ends, mtu) = if v6 { (V6, mtu.max(1280)) } else { (V4, mtu) };
        let made = packets(ends, &payload, identification, mtu);
        let datagram = put_together(ends, identification, mtu, &made);
        prop_assert_eq!(&datagram[8..], &payload[..]);
        prop_assert_eq!(&datagram[..6], [
            0xc3, 0x50, 0x08, 0x07,
            (datagram.len() >> 8) as u8, datagram.len() as u8,
        ]);
        prop_assert_ne!(&datagram[6..8], [0, 0]);
        prop_assert_eq!(plain_sum(&with_pseudo_header(ends, &datagram)), 0);
    }
}
