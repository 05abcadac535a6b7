//! A flow: what one record tells.
//!
//! Values are such that they could be true together: bytes fit packets, flags fit the protocol, times end before the
//! export, and all that follows from the hosts is the same in every flow between them.

use super::population::{Family, Key, Shape, TCP};
use super::random::{Random, mix, scale};

/// No flow has more packets than 2 to this, less one; with 1500 bytes each, v5's 32 bits hold them.
const MAX_PACKETS_BITS: u32 = 21;
/// Exporters tell of a longer flow in parts.
const ACTIVE_TIMEOUT_MS: u64 = 60_000;
/// Exporters wait for as long as this for more packets.
const INACTIVE_TIMEOUT_MS: u64 = 15_000;

/// What one record tells. Layouts choose from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow<'p> {
    pub(crate) key: Key<'p>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) reverse_packets: u64,
    pub(crate) reverse_bytes: u64,
    pub(crate) tcp_flags: u8,
    /// Unix time of the first packet.
    pub(crate) first_ms: u64,
    /// Unix time of the last packet.
    pub(crate) last_ms: u64,
    /// Why the exporter tells of it now (element 136): 1 idle, 2 active timeout, 3 end.
    pub(crate) end_reason: u8,
    pub(crate) input: u32,
    pub(crate) output: u32,
}

/// What of a flow depends on the exporter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The exporter, counted from 0.
    pub(crate) exporter: u32,
    /// How many interfaces it has towards the clients. Two more lead to the servers.
    pub(crate) access_interfaces: u32,
}

impl Place {
    /// The interface towards a host.
    fn interface(self, subnet: u16, is_client: bool) -> u32 {
        let subnet = u32::from(subnet);
        if is_client {
            1 + (subnet + self.exporter) % self.access_interfaces
        } else {
            1 + self.access_interfaces + subnet % 2
        }
    }

    /// The router behind an interface.
    pub(crate) fn next_hop_ipv4(self, interface: u32) -> u32 {
        // Of 10.240.0.0/12, a /28 per exporter.
        (10 << 24 | 240 << 16) + (self.exporter << 4 & 0xf_ffff) + (interface & 15)
    }

    /// The router behind an interface.
    pub(crate) fn next_hop_ipv6(self, interface: u32) -> u128 {
        0xfe80 << 112 | u128::from(self.exporter) << 16 | u128::from(interface)
    }
}

impl<'p> Flow<'p> {
    /// Draws a flow of `key` that an exporter tells of at `now_ms`.
    #[inline]
    pub(crate) fn draw(
        key: Key<'p>,
        family: Family,
        place: Place,
        now_ms: u64,
        random: &mut Random,
    ) -> Self {
        let size = random.next();
        let packets = packets(key.service.shape, size);
        let bytes = bytes(&key, family, packets, size, key.outbound);
        // Another mixing rather than another draw: few layouts tell of the reverse direction.
        let (reverse_packets, reverse_bytes) = reverse(&key, family, packets, size);

        let time = random.next();
        let (tcp_flags, ended) = match key.protocol {
            TCP => tcp_flags(packets, time),
            _ => (0, false),
        };
        let duration_ms = duration_ms(packets, time);
        let (end_reason, waited_ms) = match (ended, duration_ms) {
            (true, _) => (3, 0),
            (false, ACTIVE_TIMEOUT_MS) => (2, 0),
            (false, _) => (1, INACTIVE_TIMEOUT_MS),
        };
        // Then its part of the cache has its turn.
        let last_ms = now_ms - waited_ms - (time & 1023);
        Self {
            input: place.interface(key.source.subnet, key.outbound),
            output: place.interface(key.destination.subnet, !key.outbound),
            key,
            packets,
            bytes,
            reverse_packets,
            reverse_bytes,
            tcp_flags,
            first_ms: last_ms - duration_ms,
            last_ms,
            end_reason,
        }
    }
}

/// Half of the flows have one packet, a quarter 2 or 3, an eighth 4 to 7 …: most packets are in few flows.
#[inline]
fn packets(shape: Shape, size: u64) -> u64 {
    // One bit in two, or in eight.
    let zeros = match shape {
        Shape::Query => size.trailing_zeros() / 3,
        Shape::Download | Shape::Chat => size.trailing_zeros(),
        Shape::Stream => size.trailing_zeros() + 6,
    };
    let first = 1 << zeros.min(MAX_PACKETS_BITS - 1);
    first + (size >> 32 & (first - 1))
}

#[inline]
fn bytes(key: &Key<'_>, family: Family, packets: u64, size: u64, from_client: bool) -> u64 {
    // What a packet of this key has in the mean; that of a server's next flow is about the same.
    let own = (key.chance >> 20) as u32;
    let (least, spread) = match (key.service.shape, from_client) {
        (Shape::Query, true) => (56, 24),
        (Shape::Query, false) => (90, 160),
        (Shape::Download, true) => (46, 60),
        // The first packets are small.
        (Shape::Download, false) if packets < 4 => (44, 100),
        (Shape::Download, false) => (600, 840),
        (Shape::Chat, _) => (52, 200),
        (Shape::Stream, _) => (200, 1),
    };
    let header = match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 20,
    };
    let mean: u64 = header + least + u64::from(own % spread);
    // A lone packet of a kind has the same size each time.
    let more = if packets == 1 || key.service.shape == Shape::Stream {
        0
    } else {
        u64::from(scale(size, 32)) * packets.min(64)
    };
    packets * mean + more
}

#[inline]
fn reverse(key: &Key<'_>, family: Family, packets: u64, size: u64) -> (u64, u64) {
    let size = size.rotate_right(7);
    // One in eight has no answer.
    let packets = match size & 7 {
        0 => 0,
        _ => packets / 2 + (size >> 3 & 1) + packets % 2,
    };
    let bytes = match packets {
        0 => 0,
        _ => bytes(key, family, packets, size, !key.outbound),
    };
    (packets, bytes)
}

/// All flags seen, and whether the connection came to its end.
#[inline]
fn tcp_flags(packets: u64, time: u64) -> (u8, bool) {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const PSH: u8 = 0x08;
    const ACK: u8 = 0x10;
    let chance = time >> 10 & 15;
    if packets == 1 {
        return match chance {
            0..=7 => (SYN, false),
            8..=11 => (RST | ACK, true),
            _ => (ACK, false),
        };
    }
    match chance {
        0..=8 => (SYN | PSH | ACK | FIN, true),
        9 => (SYN | PSH | ACK | RST, true),
        10..=12 => (SYN | PSH | ACK, false),
        _ => (PSH | ACK, false),
    }
}

#[inline]
fn duration_ms(packets: u64, time: u64) -> u64 {
    if packets == 1 {
        return 0;
    }
    // From 8 ms to beyond the active timeout, with as many flows in every octave.
    let first = 8 << scale(time, 14);
    (first + (time >> 14 & (first - 1))).min(ACTIVE_TIMEOUT_MS)
}

/// The name of a web server, in an array and its length.
pub(crate) fn host_name(key: &Key<'_>) -> ([u8; 32], usize) {
    const NAMES: [&str; 8] = [
        "www.example.com",
        "cdn.example.net",
        "static.assets.example.org",
        "api.example.com",
        "mail.example.net",
        "example.org",
        "update.software.example.com",
        "video.example.net",
    ];
    let server = if key.outbound {
        key.destination
    } else {
        key.source
    };
    let name = NAMES[(mix(server.subnet.into()) & 7) as usize];
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    (bytes, name.len())
}

#[cfg(test)]
mod tests {
    use super::super::population::Population;
    use super::*;

    const NOW_MS: u64 = 1_767_225_600_000;

    #[test]
    fn values_could_be_true_together() {
        let population = Population::new(3, 10_000);
        let mut random = Random::new(3);
        let place = Place {
            exporter: 9,
            access_interfaces: 4,
        };
        let mut most = 0;
        for (number, family) in (0..200_000).zip([Family::Ipv4, Family::Ipv6].into_iter().cycle()) {
            let key = population.key(population.draw(&mut random), family);
            let flow = Flow::draw(key, family, place, NOW_MS, &mut random);
            for (packets, bytes) in [
                (flow.packets, flow.bytes),
                (flow.reverse_packets, flow.reverse_bytes),
            ] {
                assert!(
                    (40 * packets..=1500 * packets).contains(&bytes),
                    "{number}: {flow:?}"
                );
            }
            assert!(flow.packets > 0 && flow.bytes <= u32::MAX.into());
            assert!(flow.first_ms <= flow.last_ms && flow.last_ms <= NOW_MS);
            assert!(flow.last_ms - flow.first_ms <= ACTIVE_TIMEOUT_MS);
            assert_eq!(flow.tcp_flags != 0, flow.key.protocol == TCP);
            assert!((1..=6).contains(&flow.input) && (1..=6).contains(&flow.output));
            assert_ne!(flow.input, flow.output);
            most = most.max(flow.packets);
        }
        assert!(most > 10_000, "{most}: no long tail");
    }

    #[test]
    fn the_largest_flow_fits_v5() {
        assert_eq!(packets(Shape::Stream, 0), 1 << (MAX_PACKETS_BITS - 1));
        assert!(((1_u64 << MAX_PACKETS_BITS) - 1) * 1500 <= u32::MAX.into());
    }
}
