//! Classic BPF, the language of socket filters: linux/filter.h.

use libc::{
    BPF_ABS, BPF_ALU, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX,
    BPF_MSH, BPF_RET, BPF_W, sock_filter,
};

/// The accumulator, where `ret a` takes the result from.
pub(crate) const BPF_A: u32 = 0x10;
/// Loads relative to the network header, whatever the socket's own offset 0 is.
pub(crate) const NETWORK_HEADER: u32 = libc::SKF_NET_OFF.cast_unsigned();
/// Where the number of the packet's interface is loaded from.
pub(crate) const INTERFACE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_IFINDEX).cast_unsigned();
/// More than any packet has.
const EVERYTHING: u32 = 1 << 20;

/// How many bytes are loaded.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Size {
    Byte = BPF_B,
    Half = BPF_H,
    Word = BPF_W,
}

/// A program for SO_ATTACH_FILTER that keeps nothing.
pub(crate) fn closed_program() -> [sock_filter; 1] {
    [drop_packet()]
}

pub(crate) fn keep_packet() -> sock_filter {
    instruction(BPF_RET | BPF_K, EVERYTHING)
}

pub(crate) fn drop_packet() -> sock_filter {
    instruction(BPF_RET | BPF_K, 0)
}

/// `a = packet[offset]`; the packet is dropped if it is too short.
pub(crate) fn load(size: Size, offset: u32) -> sock_filter {
    instruction(BPF_LD | size as u32 | BPF_ABS, offset)
}

/// `a = packet[x + offset]`
pub(crate) fn load_after_x(size: Size, offset: u32) -> sock_filter {
    instruction(BPF_LD | size as u32 | BPF_IND, offset)
}

/// `x = 4 * (packet[0] & 0xf)`: the length of an IPv4 header.
pub(crate) fn ipv4_header_length_to_x() -> sock_filter {
    instruction(BPF_LDX | BPF_B | BPF_MSH, 0)
}

pub(crate) fn alu(operation: u32, constant: u32) -> sock_filter {
    instruction(BPF_ALU | operation | BPF_K, constant)
}

/// Goes on with the next instruction if `a` is the constant, else after the next `skipped`.
pub(crate) fn skip_unless_equal(constant: u32, skipped: u8) -> sock_filter {
    sock_filter {
        jf: skipped,
        ..instruction(BPF_JMP | BPF_JEQ | BPF_K, constant)
    }
}

/// Goes on after the next `skipped` if `a` is the constant.
pub(crate) fn skip_if_equal(constant: u32, skipped: u8) -> sock_filter {
    sock_filter {
        jt: skipped,
        ..instruction(BPF_JMP | BPF_JEQ | BPF_K, constant)
    }
}

/// Goes on after the next `skipped` unless `a` has one of the bits.
pub(crate) fn skip_unless_any(bits: u32, skipped: u8) -> sock_filter {
    sock_filter {
        jf: skipped,
        ..instruction(BPF_JMP | BPF_JSET | BPF_K, bits)
    }
}

pub(crate) fn instruction(code: u32, constant: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k: constant,
    }
}

#[cfg(test)]
pub(crate) mod interpreter;
