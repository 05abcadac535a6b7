//! Runs a program on a packet as the kernel would, as far as ours need it.

use super::{INTERFACE, NETWORK_HEADER};

/// What the program returns for a packet that begins with its network header and came over the
/// interface of this number.
pub(crate) fn run(program: &[libc::sock_filter], packet: &[u8], interface: u32) -> u32 {
    let (mut a, mut x) = (0u32, 0u32);
    let mut at = 0;
    let load = |offset: u32, size: u32| -> Option<u32> {
        if offset == INTERFACE {
            return Some(interface);
        }
        let offset = match offset {
            // Negative, and above the network header's base.
            offset if offset >= NETWORK_HEADER => offset - NETWORK_HEADER,
            offset => offset,
        } as usize;
        let bytes = packet.get(offset..offset + size as usize)?;
        Some(
            bytes
                .iter()
                .fold(0, |value, byte| value << 8 | u32::from(*byte)),
        )
    };
    loop {
        let instruction = program[at];
        let k = instruction.k;
        at += 1;
        let jump = |taken| {
            usize::from(if taken {
                instruction.jt
            } else {
                instruction.jf
            })
        };
        let loaded = match u32::from(instruction.code) {
            // ldb, ldh, ld; the same after x
            0x30 => load(k, 1),
            0x28 => load(k, 2),
            0x20 => load(k, 4),
            0x50 => load(k.wrapping_add(x), 1),
            0x48 => load(k.wrapping_add(x), 2),
            0x40 => load(k.wrapping_add(x), 4),
            // ldxb 4*([k]&0xf)
            0xb1 => {
                let Some(byte) = load(k, 1) else { return 0 };
                x = 4 * (byte & 0xf);
                continue;
            }
            // add x, mul k, rsh k, xor x, mod k
            0x0c => Some(a.wrapping_add(x)),
            0x24 => Some(a.wrapping_mul(k)),
            0x74 => Some(a >> k),
            0xac => Some(a ^ x),
            0x94 => Some(a % k),
            // tax
            0x07 => {
                x = a;
                continue;
            }
            // ja, jeq, jset
            0x05 => {
                at += k as usize;
                continue;
            }
            0x15 => {
                at += jump(a == k);
                continue;
            }
            0x45 => {
                at += jump(a & k != 0);
                continue;
            }
            // ret a, ret k
            0x16 => return a,
            0x06 => return k,
            code => panic!("{code:#x}"),
        };
        // The kernel drops a packet that is too short for a load.
        let Some(loaded) = loaded else { return 0 };
        a = loaded;
    }
}
