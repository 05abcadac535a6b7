//! pcapng's own matters.

use super::super::bytes::Order::{self, Big, Little};
use super::super::error::{CaptureError, Damage};
use super::build::{
    IPV4, IPV6, block, enhanced, ethernet, interface, on_link, option, section, simple, u16_bytes,
    u32_bytes,
};
use super::{flow4, flow6, read, read_whole};

const MICROSECONDS: u64 = 1_700_000_000_123_456;

fn file(order: Order, blocks: &[Vec<u8>]) -> Vec<u8> {
    [&section(order)[..], &blocks.concat()].concat()
}

#[test]
fn interfaces_of_every_link_type_in_both_byte_orders() {
    for order in [Little, Big] {
        let links = [0, 1, 12, 14, 101, 108, 113, 228, 229, 276];
        let mut blocks: Vec<Vec<u8>> = links
            .iter()
            .map(|link| interface(order, *link, 0, &[]))
            .collect();
        for (index, link) in links.into_iter().enumerate() {
            for ip in [IPV4, IPV6] {
                let frame = on_link(u32::from(link), ip);
                blocks.push(enhanced(order, index as u32, MICROSECONDS, &frame));
            }
        }
        let read = read_whole(&file(order, &blocks));
        let wanted = [flow4, flow6].map(|flow| flow(MICROSECONDS * 1000));
        assert_eq!(read.datagrams.len(), 2 * links.len());
        for pair in read.datagrams.chunks(2) {
            assert_eq!(pair, wanted);
        }
    }
}

#[test]
fn time_resolutions_and_offsets() {
    let second = 1_700_000_000;
    for (resolution, units, received_ns) in [
        (0, second, second * 1_000_000_000),
        (3, second * 1000 + 5, second * 1_000_000_000 + 5_000_000),
        (6, MICROSECONDS, MICROSECONDS * 1000),
        (9, MICROSECONDS * 1000 + 7, MICROSECONDS * 1000 + 7),
        (10, second * 10_000_000_000 + 59, second * 1_000_000_000 + 5),
        (0x80, second, second * 1_000_000_000),
        (
            0x80 | 10,
            second * 1024 + 512,
            second * 1_000_000_000 + 500_000_000,
        ),
        (
            0x80 | 32,
            (second << 32) + (1 << 30),
            second * 1_000_000_000 + 250_000_000,
        ),
        // Nonsense has an end.
        (127, u64::MAX, 0),
        (0xff, u64::MAX, 0),
        (0, u64::MAX, u64::MAX),
        (0x80, u64::MAX, u64::MAX),
    ] {
        for order in [Little, Big] {
            let options = option(order, 9, &[resolution]);
            let blocks = [
                interface(order, 1, 0, &options),
                enhanced(order, 0, units, &ethernet(IPV4)),
            ];
            let read = read_whole(&file(order, &blocks));
            assert_eq!(read.datagrams, [flow4(received_ns)], "{resolution}");
        }
    }
    for order in [Little, Big] {
        let offset = |seconds: i64| match order {
            Little => seconds.to_le_bytes(),
            Big => seconds.to_be_bytes(),
        };
        for (seconds, received_ns) in [
            (1_700_000_000, 1_700_000_000_000_005_000),
            (-10, 0),
            (i64::MAX, 9_223_372_036_854_780_807),
        ] {
            // A name before it, which must be skipped with its padding.
            let options = [
                option(order, 2, b"eth10"),
                option(order, 14, &offset(seconds)),
                option(order, 0, b""),
            ];
            let blocks = [
                interface(order, 1, 0, &options.concat()),
                enhanced(order, 0, 5, &ethernet(IPV4)),
            ];
            let read = read_whole(&file(order, &blocks));
            assert_eq!(read.datagrams, [flow4(received_ns)], "{seconds}");
        }
    }
}

#[test]
fn sections_have_their_own_order_and_interfaces() {
    let sections = [Little, Big, Little].map(|order| {
        file(
            order,
            &[
                interface(order, 1, 0, &[]),
                enhanced(order, 0, MICROSECONDS, &ethernet(IPV4)),
            ],
        )
    });
    let read = read_whole(&sections.concat());
    assert_eq!(read.datagrams, vec![flow4(MICROSECONDS * 1000); 3]);

    // The interface of the first section is none of the second.
    let second = file(Big, &[enhanced(Big, 0, MICROSECONDS, &ethernet(IPV4))]);
    let read = self::read(&[&sections[0][..], &second].concat());
    assert_eq!(read.datagrams.len(), 1);
    assert!(matches!(
        read.error,
        Some(CaptureError::Damaged {
            problem: Damage::Interface,
            ..
        })
    ));
}

#[test]
fn simple_packets_take_the_time_before_and_the_snapshot_length() {
    let frame = ethernet(IPV4);
    let blocks = [
        interface(Big, 1, 46, &[]),
        enhanced(Big, 0, MICROSECONDS, &ethernet(IPV6)),
        simple(Big, 60, &frame[..46]),
        simple(Big, 46, &frame),
    ];
    let read = read_whole(&file(Big, &blocks));
    let received_ns = MICROSECONDS * 1000;
    assert_eq!(
        read.datagrams,
        [flow6(received_ns), flow4(received_ns), flow4(received_ns)]
    );

    let cut = [
        interface(Big, 1, 40, &[]),
        simple(Big, 46, &frame[..40]),
        simple(Big, 30, &frame[..30]),
    ];
    let counts = read_whole(&file(Big, &cut)).counts;
    assert_eq!((counts.truncated, counts.malformed), (1, 1));
}

#[test]
fn obsolete_packet_blocks() {
    for order in [Little, Big] {
        let frame = ethernet(IPV4);
        let mut body = [u16_bytes(order, 1), u16_bytes(order, 9)].concat();
        for word in [(MICROSECONDS >> 32) as u32, MICROSECONDS as u32, 46, 46] {
            body.extend(u32_bytes(order, word));
        }
        body.extend(frame);
        let blocks = [
            interface(order, 0, 0, &[]),
            interface(order, 1, 0, &[]),
            block(order, 2, &body),
        ];
        let read = read_whole(&file(order, &blocks));
        assert_eq!(read.datagrams, [flow4(MICROSECONDS * 1000)]);
    }
}

#[test]
fn other_blocks_are_skipped_however_long() {
    let blocks = [
        block(Little, 5, &[0; 64]),
        interface(Little, 1, 0, &[]),
        block(Little, 0x4000_0bad, &vec![0xaa; 3 << 20]),
        enhanced(Little, 0, MICROSECONDS, &ethernet(IPV4)),
    ];
    assert_eq!(read_whole(&file(Little, &blocks)).datagrams.len(), 1);
}

#[test]
fn packets_of_other_links_are_counted() {
    let blocks = [
        interface(Little, 105, 0, &[]),
        interface(Little, 1, 0, &[]),
        enhanced(Little, 0, MICROSECONDS, &[1, 2, 3]),
        enhanced(Little, 1, MICROSECONDS, &ethernet(IPV4)),
    ];
    let counts = read_whole(&file(Little, &blocks)).counts;
    assert_eq!((counts.unsupported_link, counts.datagrams), (1, 1));
}

#[test]
fn damage_is_named_with_its_place() {
    let patched = |mut block: Vec<u8>, at: usize, value: u32| {
        block[at..at + 4].copy_from_slice(&value.to_le_bytes());
        block
    };
    let packet = enhanced(Little, 0, MICROSECONDS, &ethernet(IPV4));
    let described = interface(Little, 1, 0, &[]);
    let start = file(Little, &[described.clone(), packet.clone()]);
    for (block, expected) in [
        (patched(packet.clone(), 4, 30), Damage::BlockBytes(30)),
        (patched(packet.clone(), 4, 28), Damage::BlockBytes(28)),
        (patched(packet.clone(), 4, 0), Damage::BlockBytes(0)),
        (patched(described, 4, 16), Damage::BlockBytes(16)),
        (patched(packet.clone(), 8, 1), Damage::Interface),
        (
            patched(packet.clone(), 20, 300_000),
            Damage::FrameBytes(300_000),
        ),
        (patched(packet, 20, 100), Damage::PacketBeyondBlock),
        (block(Little, 0x0a0d_0d0a, &[0; 16]), Damage::ByteOrder),
    ] {
        let read = self::read(&[&start[..], &block].concat());
        assert_eq!(read.datagrams.len(), 1);
        match read.error {
            Some(CaptureError::Damaged {
                offset, problem, ..
            }) => {
                assert_eq!((offset, problem), (start.len() as u64, expected));
            }
            other => panic!("{expected:?}: {other:?}"),
        }
    }
}
