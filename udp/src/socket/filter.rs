//! The shard function: source address → shard, the same in the kernel and here.
//!
//! Sources are often numbered in steps (a router every 256 addresses, a line card every
//! 16), so the address is mixed well before it is reduced to a shard: by the finalizer of
//! MurmurHash3. Ports do not count: an exporter may send from several.

use std::net::IpAddr;

use libc::{
    BPF_ADD, BPF_ALU, BPF_JA, BPF_JMP, BPF_MISC, BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH, BPF_TAX,
    BPF_X, BPF_XOR, sock_filter,
};

use crate::bpf::{self, BPF_A, NETWORK_HEADER, Size, alu, instruction};

const FOLD: u32 = 0x9e37_79b1;
const MIX_1: u32 = 0x85eb_ca6b;
const MIX_2: u32 = 0xc2b2_ae35;

/// The shard, of `shards`, that a source belongs to: where the kernel delivers what it
/// sends to [`ShardSockets`](super::ShardSockets).
///
/// An IPv4-mapped IPv6 address counts as the IPv4 address. With no shard there is only 0.
///
/// ```
/// # use forebay_udp::shard_of;
/// let exporter = "192.0.2.1".parse().unwrap();
/// assert_eq!(shard_of(exporter, 1), 0);
/// assert!(shard_of(exporter, 4) < 4);
/// ```
#[must_use]
pub fn shard_of(source: IpAddr, shards: usize) -> usize {
    let folded = match source.to_canonical() {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let word = |shift: u32| (bits >> shift) as u32;
            [word(96), word(64), word(32), word(0)]
                .into_iter()
                .reduce(|folded, word| folded.wrapping_mul(FOLD).wrapping_add(word))
                .unwrap_or(0)
        }
    };
    let mut hash = folded;
    hash = (hash ^ (hash >> 16)).wrapping_mul(MIX_1);
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX_2);
    hash ^= hash >> 16;
    hash.checked_rem(u32::try_from(shards).unwrap_or(u32::MAX))
        .unwrap_or(0) as usize
}

/// [`shard_of`] as a program for SO_ATTACH_REUSEPORT_CBPF or PACKET_FANOUT_CBPF, which is to
/// return the index of the socket in its group.
pub(crate) fn shard_program(shards: u32) -> Vec<sock_filter> {
    let mut ipv6 = vec![load(Size::Word, 8)];
    for offset in [12, 16, 20] {
        ipv6.extend([
            alu(BPF_MUL, FOLD),
            instruction(BPF_MISC | BPF_TAX, 0),
            load(Size::Word, offset),
            instruction(BPF_ALU | BPF_ADD | BPF_X, 0),
        ]);
    }
    let mut program = vec![
        load(Size::Byte, 0),
        alu(BPF_RSH, 4),
        // Any other version than 4: over the next two.
        bpf::skip_unless_equal(4, 2),
        load(Size::Word, 12),
        instruction(BPF_JMP | BPF_JA, ipv6.len() as u32),
    ];
    program.extend(ipv6);
    program.extend(xor_shifted(16));
    program.push(alu(BPF_MUL, MIX_1));
    program.extend(xor_shifted(13));
    program.push(alu(BPF_MUL, MIX_2));
    program.extend(xor_shifted(16));
    program.push(alu(BPF_MOD, shards));
    program.push(instruction(BPF_RET | BPF_A, 0));
    program
}

fn load(size: Size, offset: u32) -> sock_filter {
    bpf::load(size, NETWORK_HEADER + offset)
}

/// `a ^= a >> bits`
fn xor_shifted(bits: u32) -> [sock_filter; 3] {
    [
        instruction(BPF_MISC | BPF_TAX, 0),
        alu(BPF_RSH, bits),
        instruction(BPF_ALU | BPF_XOR | BPF_X, 0),
    ]
}
