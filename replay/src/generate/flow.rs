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
pub(crate) struct Flow {
    pub(crate) key: Key,
    family: Family,
    /// The chance that the counters are made of.
    size: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
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

impl Flow {
    /// Draws a flow of `key` that an exporter tells of at `now_ms`.
    #[inline]
    pub(crate) fn draw(
        key: Key,
        family: Family,
        place: Place,
        now_ms: u64,
        random: &mut Random,
    ) -> Self {
        let size = random.next();
        let packets = packets(key.service.shape, size);
        let time = random.next();
        let tcp_flags = match key.protocol {
            TCP => tcp_flags(packets, time),
            _ => 0,
        };
        let duration_ms = duration_ms(packets, time);
        let (end_reason, waited_ms) = if tcp_flags & (FIN | RST) != 0 {
            (3, 0)
        } else if duration_ms == ACTIVE_TIMEOUT_MS {
            (2, 0)
        } else {
            (1, INACTIVE_TIMEOUT_MS)
        };
        // Then its part of the cache has its turn.
        let last_ms = now_ms - waited_ms - (time & 1023);
        Self {
            input: place.interface(key.source.subnet, key.outbound),
            output: place.interface(key.destination.subnet, !key.outbound),
            packets,
            bytes: bytes(&key, family, packets, size, key.outbound),
            key,
            family,
            size,
            tcp_flags,
            first_ms: last_ms - duration_ms,
            last_ms,
            end_reason,
        }
    }

    /// What two flows never have in common but by the chance of 1 to 2⁶⁴.
    #[cfg(test)]
    pub(crate) const fn identity(&self) -> u64 {
        self.size
    }

    /// The same, as an exporter tells it that saw it too.
    pub(crate) fn seen_at(self, place: Place) -> Self {
        let key = &self.key;
        Self {
            input: place.interface(key.source.subnet, key.outbound),
            output: place.interface(key.destination.subnet, !key.outbound),
            ..self
        }
    }

    /// Packets of the answer.
    pub(crate) fn reverse_packets(&self) -> u64 {
        // One in eight has none.
        match self.size >> 29 & 7 {
            0 => 0,
            chance => self.packets.div_ceil(2) + (chance & 1),
        }
    }

    /// Bytes of the answer.
    pub(crate) fn reverse_bytes(&self) -> u64 {
        match self.reverse_packets() {
            0 => 0,
            packets => bytes(
                &self.key,
                self.family,
                packets,
                self.size.rotate_right(32),
                !self.key.outbound,
            ),
        }
    }
}

/// Half of the flows have one packet, a quarter 2 or 3, an eighth 4 to 7 …: most packets are in few flows.
#[inline]
fn packets(shape: Shape, size: u64) -> u64 {
    let (divisor, more) = match shape {
        // One flow in eight has more than one packet.
        Shape::Query => (3, 0),
        Shape::Download | Shape::Chat => (1, 0),
        Shape::Stream => (1, 6),
    };
    let octave = (size.trailing_zeros() / divisor + more).min(MAX_PACKETS_BITS - 1);
    let first = 1 << octave;
    first + (size >> 32 & (first - 1))
}

#[inline]
fn bytes(key: &Key, family: Family, packets: u64, size: u64, from_client: bool) -> u64 {
    // What a packet of this key has in the mean lies from `least` by `spread`; that of its next flow is about the same.
    let (least, spread) = match (key.service.shape, from_client) {
        (Shape::Query, true) => (56, 24),
        (Shape::Query, false) => (90, 160),
        (Shape::Download, true) => (46, 60),
        (Shape::Download, false) => (600, 840),
        (Shape::Chat, _) => (52, 200),
        (Shape::Stream, _) => (200, 1),
    };
    // The first packets of a download are small.
    let (least, spread) = if packets < 4 && least == 600 {
        (44, 100)
    } else {
        (least, spread)
    };
    let header = match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 20,
    };
    // A lone packet of TCP holds nothing but options.
    let mean = if packets == 1 && key.protocol == TCP {
        header + 40 + 4 * u64::from(scale(key.chance, 6))
    } else {
        header + least + u64::from(scale(key.chance, spread))
    };
    // A lone packet of a key has the same size each time.
    let more = if packets == 1 || spread == 1 {
        0
    } else {
        u64::from(scale(size, 32)) * packets.min(64)
    };
    packets * mean + more
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// All flags seen.
#[inline]
fn tcp_flags(packets: u64, time: u64) -> u8 {
    /// Scans and keep-alives.
    const OF_ONE: [u8; 8] = [SYN, SYN, SYN, SYN, RST | ACK, RST | ACK, ACK, ACK];
    /// Whole connections, and parts.
    const OF_MORE: [u8; 8] = [
        SYN | PSH | ACK | FIN,
        SYN | PSH | ACK | FIN,
        SYN | PSH | ACK | FIN,
        SYN | PSH | ACK | FIN,
        SYN | PSH | ACK | RST,
        SYN | PSH | ACK,
        PSH | ACK,
        ACK,
    ];
    let table = if packets == 1 { OF_ONE } else { OF_MORE };
    table[(time >> 10 & 7) as usize]
}

#[inline]
fn duration_ms(packets: u64, time: u64) -> u64 {
    // From 8 ms to beyond the active timeout, with as many flows in every octave.
    let first = 8 << scale(time, 14);
    let duration_ms = (first + (time >> 14 & (first - 1))).min(ACTIVE_TIMEOUT_MS);
    if packets == 1 { 0 } else { duration_ms }
}

/// The name of a flow's server.
pub(crate) fn host_name(key: &Key) -> &'static str {
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
    NAMES[(mix(server.subnet.into()) & 7) as usize]
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
                (flow.reverse_packets(), flow.reverse_bytes()),
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
