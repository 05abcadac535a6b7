//! The shard function here and the program for the kernel are the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::filter::{shard_of, shard_program};
use crate::bpf::interpreter::run;

fn packet_from(source: IpAddr) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => [&[0x45; 12][..], &source.octets(), &[9; 12]].concat(),
        IpAddr::V6(source) => [&[0x60; 8][..], &source.octets(), &[9; 24]].concat(),
    }
}

proptest! {
    #[test]
    fn the_program_computes_the_shard(bits in any::<u128>(), shards in 1u32..64) {
        let v4 = IpAddr::V4(Ipv4Addr::from_bits(bits as u32));
        let v6 = IpAddr::V6(Ipv6Addr::from_bits(bits | 1 << 125));
        let program = shard_program(shards);
        for source in [v4, v6] {
            let shard = run(&program, &packet_from(source), 1);
            prop_assert!(shard < shards);
            prop_assert_eq!(shard_of(source, shards as usize), shard as usize);
        }
    }
}

#[test]
fn the_shard_of_an_address_does_not_change() {
    // Recorded captures and running collectors rely on it.
    let shards = |source: &str| {
        let source = source.parse().unwrap();
        [2, 3, 7, 1000].map(|shards| shard_of(source, shards))
    };
    assert_eq!(shards("192.0.2.1"), [0, 2, 0, 590]);
    assert_eq!(shards("::ffff:192.0.2.1"), shards("192.0.2.1"));
    assert_eq!(shards("2001:db8::1"), [0, 0, 5, 576]);
    assert_eq!(shard_of(Ipv4Addr::LOCALHOST.into(), 1), 0);
    assert_eq!(shard_of(Ipv4Addr::LOCALHOST.into(), 0), 0);
}

#[test]
fn addresses_in_steps_spread() {
    for step in 0..31 {
        let v4 = (0..1u64 << (32 - step).min(12))
            .map(|index| IpAddr::V4(Ipv4Addr::from_bits((0x0a00_0001 + (index << step)) as u32)));
        spreads(v4.collect(), &format!("IPv4, steps of 2^{step}"));
    }
    for step in (0..112).step_by(4) {
        let base = 0x2001_0db8_u128 << 96 | 1;
        let v6 = (0..1u128 << 12)
            .map(|index| IpAddr::V6(Ipv6Addr::from_bits(base.wrapping_add(index << step))));
        spreads(v6.collect(), &format!("IPv6, steps of 2^{step}"));
    }
    // Link and host numbered alike.
    let twins = (0..1u128 << 12).map(|index| {
        let bits = 0x2001_0db8_u128 << 96 | index << 64 | index;
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    });
    spreads(twins.collect(), "twins");
}

/// No shard has more than half as much again as its part, and a little.
fn spreads(sources: Vec<IpAddr>, name: &str) {
    for shards in [2, 3, 4, 7, 8, 16] {
        let mut counts = vec![0usize; shards];
        for source in &sources {
            counts[shard_of(*source, shards)] += 1;
        }
        let most = counts.iter().copied().max().unwrap();
        let part = sources.len() / shards;
        assert!(most <= part + part / 2 + 8, "{name}: {counts:?}");
    }
}
