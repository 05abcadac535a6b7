//! Fragments, put together or given up.

use proptest::prelude::*;

use super::build::{IPV4, Record, ethernet, fragments4, fragments6, ipv4, ipv6, pcap};
use super::{Read, read_whole};

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 7 % 251) as u8).collect()
}

fn read_packets(packets: &[Vec<u8>]) -> Read {
    let records: Vec<Record> = packets
        .iter()
        .map(|packet| Record::of(ethernet(packet)))
        .collect();
    read_whole(&pcap(&records))
}

fn read_timed(packets: &[(u32, &Vec<u8>)]) -> Read {
    let records: Vec<Record> = packets
        .iter()
        .map(|(seconds, packet)| Record::at(*seconds, ethernet(packet)))
        .collect();
    read_whole(&pcap(&records))
}

#[test]
fn in_order_and_in_any_other() {
    let wanted = payload(4000);
    let both = [
        fragments4(&ipv4(7, &wanted), &[1480, 2960]),
        fragments6(&ipv6(17, &[], &wanted), 7, &[1448, 2896]),
    ];
    for pieces in both {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let read = read_packets(&order.map(|index: usize| pieces[index].clone()));
            assert_eq!(read.datagrams.len(), 1, "{order:?}");
            assert_eq!(read.datagrams[0].payload, wanted);
            assert_eq!(read.datagrams[0].source.port(), 50_000);
            assert_eq!((read.counts.fragments, read.counts.reassembled), (3, 1));
        }
    }
}

#[test]
fn extension_headers_in_the_fragmentable_part() {
    let wanted = payload(100);
    let packet = ipv6(60, &[17, 0, 1, 4, 0, 0, 0, 0], &wanted);
    let mut pieces = fragments6(&packet, 7, &[64]);
    pieces.reverse();
    assert_eq!(read_packets(&pieces).datagrams[0].payload, wanted);
}

#[test]
fn datagrams_at_the_same_time_do_not_mix() {
    let wanted: Vec<Vec<u8>> = (0..100).map(|index| payload(2000 + index)).collect();
    let pieces: Vec<Vec<Vec<u8>>> = wanted
        .iter()
        .enumerate()
        .map(|(index, payload)| fragments4(&ipv4(index as u16, payload), &[800, 1600]))
        .collect();
    let interleaved: Vec<Vec<u8>> = (0..3)
        .flat_map(|piece| pieces.iter().map(move |pieces| pieces[piece].clone()))
        .collect();
    let read = read_packets(&interleaved);
    let payloads: Vec<Vec<u8>> = read
        .datagrams
        .into_iter()
        .map(|taken| taken.payload)
        .collect();
    assert_eq!(payloads, wanted);
}

#[test]
fn the_largest_datagram_and_one_that_is_too_large() {
    let wanted = payload(65_507);
    let cuts: Vec<usize> = (1..=44).map(|piece| piece * 1480).collect();
    let read = read_packets(&fragments4(&ipv4(1, &wanted), &cuts));
    assert_eq!(read.datagrams[0].payload, wanted);

    let mut pieces = fragments4(&ipv4(1, &payload(3000)), &[1480]);
    pieces[1][6..8].copy_from_slice(&0x1fff_u16.to_be_bytes());
    let read = read_packets(&pieces);
    assert_eq!(
        (read.counts.datagrams, read.counts.fragments_malformed),
        (0, 1)
    );
}

#[test]
fn an_exact_repeat_is_ignored() {
    let pieces = fragments4(&ipv4(7, &payload(3000)), &[1480]);
    let read = read_packets(&[pieces[0].clone(), pieces[0].clone(), pieces[1].clone()]);
    assert_eq!(read.counts.reassembled, 1);
    assert_eq!(read.datagrams[0].payload, payload(3000));
}

#[test]
fn overlapping_fragments_cost_the_datagram_once() {
    let packet = ipv4(7, &payload(3000));
    let (pieces, others) = (
        fragments4(&packet, &[1480]),
        fragments4(&packet, &[1472, 1480]),
    );
    let mut other_bytes = pieces[0].clone();
    other_bytes[100] ^= 1;
    for overlap in [others[1].clone(), other_bytes] {
        let read = read_packets(&[
            pieces[0].clone(),
            overlap,
            pieces[1].clone(),
            pieces[0].clone(),
        ]);
        assert_eq!(read.counts.datagrams, 0);
        assert_eq!(read.counts.fragments_malformed, 1);
        assert_eq!(read.counts.fragments_expired, 0);
    }
}

#[test]
fn contradicting_ends_cost_the_datagram() {
    let pieces = fragments4(&ipv4(7, &payload(3000)), &[800, 1600, 2400]);
    let mut early_end = pieces[1].clone();
    early_end[6] &= !0x20;
    // Two ends; a part behind the end; the end before a part.
    for (first, second) in [
        (&early_end, &pieces[3]),
        (&early_end, &pieces[2]),
        (&pieces[2], &early_end),
    ] {
        let counts = read_packets(&[first.clone(), second.clone(), pieces[0].clone()]).counts;
        assert_eq!((counts.reassembled, counts.fragments_malformed), (0, 1));
    }
}

#[test]
fn lengths_that_are_no_multiple_of_eight_cost_the_datagram() {
    let mut pieces = fragments4(&ipv4(7, &payload(3000)), &[1480]);
    pieces[0][3] -= 1;
    assert_eq!(read_packets(&pieces).counts.fragments_malformed, 1);
}

#[test]
fn what_is_no_udp_when_whole_is_malformed() {
    let mut packet = ipv4(7, &payload(3000));
    packet[24..26].copy_from_slice(&4000_u16.to_be_bytes());
    let read = read_packets(&fragments4(&packet, &[1480]));
    assert_eq!(
        (read.counts.datagrams, read.counts.fragments_malformed),
        (0, 1)
    );
}

#[test]
fn fragments_of_other_protocols_are_not_kept() {
    let mut packet = ipv4(7, &payload(3000));
    packet[9] = 1;
    let mut packet6 = ipv6(17, &[], &payload(3000));
    packet6[6] = 58;
    let mut pieces = fragments4(&packet, &[1480]);
    pieces.extend(fragments6(&packet6, 7, &[1448]));
    let counts = read_packets(&pieces).counts;
    assert_eq!((counts.not_udp, counts.fragments), (4, 0));
}

#[test]
fn given_up_after_30_seconds_of_the_captures_clock() {
    let pieces = fragments4(&ipv4(7, &payload(3000)), &[1480]);
    let read = read_timed(&[(0, &pieces[0]), (29, &pieces[1])]);
    assert_eq!(
        (read.counts.reassembled, read.counts.fragments_expired),
        (1, 0)
    );
    // The late one waits for a datagram of its own, up to the end.
    let read = read_timed(&[(0, &pieces[0]), (30, &pieces[1])]);
    assert_eq!(
        (read.counts.reassembled, read.counts.fragments_expired),
        (0, 2)
    );
    // A clock that goes back expires nothing.
    let read = read_timed(&[(1000, &pieces[0]), (0, &pieces[1])]);
    assert_eq!(read.counts.reassembled, 1);
}

#[test]
fn no_more_than_512_datagrams_wait() {
    let pieces: Vec<Vec<Vec<u8>>> = (0..600)
        .map(|index| fragments4(&ipv4(index, &payload(3000)), &[1480]))
        .collect();
    let firsts = pieces
        .iter()
        .enumerate()
        .map(|(index, pieces)| (index as u32 / 100, &pieces[0]));
    let lasts = pieces.iter().rev().map(|pieces| (7, &pieces[1]));
    let counts = read_timed(&firsts.chain(lasts).collect::<Vec<_>>()).counts;
    // The 88 oldest gave way, and their last fragments wait for them in vain.
    assert_eq!(counts.fragments_over_limit, 88);
    assert_eq!(counts.reassembled, 512);
    assert_eq!(counts.fragments_expired, 88);
}

#[test]
fn no_more_than_16_mib_wait() {
    // The last fragment alone takes a whole datagram's room.
    let packet = |index| fragments4(&ipv4(index, &payload(65_000)), &[64_992]).remove(1);
    let packets: Vec<Vec<u8>> = (0..400).map(packet).collect();
    let counts = read_packets(&packets).counts;
    let fit = (16 << 20) / 65_008;
    assert_eq!(counts.fragments_expired, fit);
    assert_eq!(counts.fragments_over_limit, 400 - fit);
}

#[test]
fn no_more_than_256_fragments_make_a_datagram() {
    let cuts: Vec<usize> = (1..300).map(|piece| piece * 8).collect();
    let counts = read_packets(&fragments4(&ipv4(1, &payload(3000)), &cuts)).counts;
    assert_eq!((counts.reassembled, counts.fragments_malformed), (0, 1));
    let counts = read_packets(&fragments4(&ipv4(1, &payload(3000)), &cuts[..255])).counts;
    assert_eq!(counts.reassembled, 1);
}

#[test]
fn a_whole_packet_with_the_identification_of_fragments_is_another_datagram() {
    let pieces = fragments4(&ipv4(0x1234, &payload(3000)), &[1480]);
    let read = read_packets(&[pieces[0].clone(), IPV4.to_vec(), pieces[1].clone()]);
    assert_eq!(read.counts.datagrams, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the cuts, the order and the repeats: the datagram, once, byte for byte.
    #[test]
    fn any_cut_in_any_order(
        bytes in 0usize..6000,
        mut cuts in prop::collection::btree_set(1usize..750, 0..40),
        seed in any::<u64>(),
        v6 in any::<bool>(),
    ) {
        let wanted = payload(bytes);
        cuts.retain(|cut| cut * 8 < bytes + 8);
        let cuts: Vec<usize> = cuts.into_iter().map(|cut| cut * 8).collect();
        let mut pieces = if v6 {
            fragments6(&ipv6(17, &[], &wanted), 9, &cuts)
        } else {
            fragments4(&ipv4(9, &wanted), &cuts)
        };
        let mut state = seed;
        for index in (1..pieces.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pieces.swap(index, (state >> 33) as usize % (index + 1));
        }
        let read = read_packets(&pieces);
        prop_assert_eq!(read.datagrams.len(), 1);
        prop_assert_eq!(&read.datagrams[0].payload, &wanted);
    }
}
