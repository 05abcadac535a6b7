//! Who talks to whom: the hosts of a network and its flow keys.
//!
//! ```text
//! rank of a key ─┬─ mod clients ─► client, and with the rest of the rank its port: no two keys have both
//!                └─ scattered ───► server (a few of them very often), its service, the direction
//! ```
//!
//! A key is computed from its rank, so that millions of them take no memory and every one is different from all others.

use super::random::{Random, mix, scale};

/// How many servers there are.
const SERVERS: u32 = 4096;
/// How many clients there are at most: 10.0.0.0/8 is taken in subnets of 200 hosts.
const MAX_CLIENTS: u32 = 65_536;
/// How many ports a client sends from: Linux's ephemeral ports, 32768 to 60999.
const EPHEMERAL_PORTS: u32 = 28_232;
const FIRST_EPHEMERAL_PORT: u32 = 32_768;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ESP: u8 = 50;
pub(crate) const ICMPV6: u8 = 58;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

/// A host, with what routers know of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    pub(crate) ipv4: u32,
    /// As bytes, so that a host takes 32 of them.
    pub(crate) ipv6: [u8; 16],
    pub(crate) as_number: u32,
    pub(crate) mask_ipv4: u8,
    pub(crate) mask_ipv6: u8,
    /// Which of its network's subnets or prefixes it is in.
    pub(crate) subnet: u16,
    /// Index into [`SERVICES`]; nothing to a client.
    service: u8,
}

/// How much a service sends in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One packet there and one back.
    Query,
    /// Small packets there, full ones back.
    Download,
    /// Small packets both ways.
    Chat,
    /// Packets of one size at a steady rate.
    Stream,
}

/// What servers offer.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) port: u16,
    pub(crate) protocol: u8,
    pub(crate) tos: u8,
    pub(crate) shape: Shape,
    /// Of 256 servers, how many offer it.
    weight: u16,
    /// Number of the application as NBAR gives it: engine (3: by port; 13: by layer 7) and selector.
    pub(crate) application: u32,
}

const fn service(
    port: u16,
    protocol: u8,
    weight: u16,
    tos: u8,
    shape: Shape,
    application: u32,
) -> Service {
    Service {
        port,
        protocol,
        tos,
        shape,
        weight,
        application,
    }
}

const SERVICES: &[Service] = &[
    service(443, TCP, 112, 0, Shape::Download, 0x0d00_01c5),
    service(443, UDP, 30, 0, Shape::Download, 0x0d00_0781),
    service(53, UDP, 36, 0, Shape::Query, 0x0300_0035),
    service(80, TCP, 24, 0, Shape::Download, 0x0300_0050),
    service(123, UDP, 8, 0, Shape::Query, 0x0300_007b),
    service(22, TCP, 8, 0x10, Shape::Chat, 0x0300_0016),
    service(5060, UDP, 4, 0x60, Shape::Chat, 0x0d00_0080),
    service(16_384, UDP, 4, 0xb8, Shape::Stream, 0x0d00_003d),
    service(25, TCP, 6, 0, Shape::Chat, 0x0300_0019),
    service(993, TCP, 6, 0, Shape::Chat, 0x0300_03e1),
    service(3389, TCP, 4, 0x28, Shape::Chat, 0x0d00_00ae),
    service(445, TCP, 4, 0x08, Shape::Download, 0x0d00_01e9),
    service(8080, TCP, 6, 0, Shape::Download, 0x0300_1f90),
    service(161, UDP, 4, 0x40, Shape::Query, 0x0300_00a1),
];

/// What ESP and ICMP packets are like.
static PORTLESS: Service = service(0, ESP, 0, 0, Shape::Chat, 0x0100_0032);

/// Which 5-tuple, and what goes with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) source: Host,
    pub(crate) destination: Host,
    pub(crate) source_port: u16,
    /// ICMP's `type * 256 + code` where the protocol is that.
    pub(crate) destination_port: u16,
    pub(crate) protocol: u8,
    pub(crate) service: &'static Service,
    /// Whether the client sends.
    pub(crate) outbound: bool,
    /// The key's own chance.
    pub(crate) chance: u64,
}

/// The hosts, and how many keys they have.
#[derive(Debug)]
pub(crate) struct Population {
    /// How many there are: they are computed, as keys are.
    clients: u32,
    servers: Vec<Host>,
    keys: u32,
    salt: u64,
}

impl Population {
    pub(crate) fn new(seed: u64, keys: u32) -> Self {
        let mut random = Random::new(seed ^ 0x706f_7075_6c61_7465);
        // About 16 keys a client, more where there are very many keys.
        let clients = keys.div_ceil(16).min(MAX_CLIENTS);
        Self {
            clients,
            servers: (0..SERVERS)
                .map(|index| server(index, &mut random))
                .collect(),
            keys,
            salt: random.next(),
        }
    }

    /// Draws the rank of a key.
    #[inline]
    pub(crate) fn draw(&self, random: &mut Random) -> u32 {
        random.zipf(self.keys)
    }

    /// The key of a rank below the number of keys.
    #[inline]
    pub(crate) fn key(&self, rank: u32, family: Family) -> Key {
        let chance = mix(u64::from(rank) ^ self.salt);
        let (round, client_index) = (rank / self.clients, rank % self.clients);
        let client = client(client_index);
        let outbound = chance & 1 == 0;

        // One key in 32 has no ports. Its client and server are different from those of all others.
        if chance >> 1 & 31 == 0 && round < SERVERS {
            let server = self.servers[round as usize];
            return portless(client, server, family, outbound, chance);
        }
        let server = self.servers[zipf_of(chance) as usize];
        let service = &SERVICES[usize::from(server.service)];
        // There are fewer rounds than ports, and the factor has no divisor in common with their number: each round of a
        // client has another port.
        let port = (round * 7919 + client_index * 127) % EPHEMERAL_PORTS;
        let port = (FIRST_EPHEMERAL_PORT + port) as u16;
        let (ends, ports) = if outbound {
            ((client, server), (port, service.port))
        } else {
            ((server, client), (service.port, port))
        };
        Key {
            source: ends.0,
            destination: ends.1,
            source_port: ports.0,
            destination_port: ports.1,
            protocol: service.protocol,
            service,
            outbound,
            chance,
        }
    }
}

/// An index of a server by Zipf's law, from bits of `chance` that nothing else uses.
#[inline]
fn zipf_of(chance: u64) -> u32 {
    let octave = scale(chance, SERVERS.ilog2());
    let first = 1 << octave;
    first + (chance >> 6) as u32 % first
}

fn portless(client: Host, server: Host, family: Family, outbound: bool, chance: u64) -> Key {
    let (protocol, type_and_code) = match (chance >> 6 & 7, family, outbound) {
        (0, ..) => (ESP, 0),
        // Port unreachable, from hosts that are asked what they do not offer.
        (1, Family::Ipv4, _) => (ICMP, 3 << 8 | 3),
        (1, Family::Ipv6, _) => (ICMPV6, 1 << 8 | 4),
        // Echo and its reply.
        (_, Family::Ipv4, true) => (ICMP, 8 << 8),
        (_, Family::Ipv4, false) => (ICMP, 0),
        (_, Family::Ipv6, true) => (ICMPV6, 128 << 8),
        (_, Family::Ipv6, false) => (ICMPV6, 129 << 8),
    };
    let (source, destination) = if outbound {
        (client, server)
    } else {
        (server, client)
    };
    Key {
        source,
        destination,
        source_port: 0,
        destination_port: type_and_code,
        protocol,
        service: &PORTLESS,
        outbound,
        chance,
    }
}

/// Clients live in subnets of 200 hosts, of 10.0.0.0/8 and of 2001:db8:c::/48.
#[inline]
fn client(index: u32) -> Host {
    let (subnet, host) = (index / 200, index % 200 + 10);
    let interface_id = 0x0250_56ff_fe00_0000 | u128::from(index);
    Host {
        ipv4: 10 << 24 | subnet << 8 | host,
        ipv6: (0x2001_0db8_000c << 80 | u128::from(subnet) << 64 | interface_id).to_be_bytes(),
        as_number: 64_512 + subnet % 4,
        mask_ipv4: 24,
        mask_ipv6: 64,
        subnet: subnet as u16,
        service: 0,
    }
}

/// Servers live in 256 prefixes of 198.18.0.0/15 (which is for tests: RFC 2544) and of 2001:db8:8000::/33.
fn server(index: u32, random: &mut Random) -> Host {
    // Popular servers are in different prefixes.
    let (prefix, host) = (index % 256, index / 256);
    let chance = mix(u64::from(prefix));
    let mut draw = random.below(
        SERVICES
            .iter()
            .map(|service| u32::from(service.weight))
            .sum(),
    );
    let mut service = 0;
    for candidate in SERVICES {
        match draw.checked_sub(candidate.weight.into()) {
            Some(rest) => draw = rest,
            None => break,
        }
        service += 1;
    }
    Host {
        ipv4: (198 << 24 | 18 << 16) + (prefix << 9) + (host << 3) + 1 + scale(chance, 6),
        ipv6: (0x2001_0db8_8000 << 80 | u128::from(prefix) << 72 | u128::from(host + 1))
            .to_be_bytes(),
        // One in eight has a number of more than 16 bits.
        as_number: match chance & 7 {
            0 => 131_072 + scale(chance, 70_000),
            _ => 1_000 + scale(chance, 60_000),
        },
        mask_ipv4: 20 + (chance >> 8 & 3) as u8,
        mask_ipv6: [32, 40, 48, 56][(chance >> 16 & 3) as usize],
        subnet: prefix as u16,
        service,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_is_another_5_tuple_even_without_icmp_types() {
        for keys in [1, 15, 17, 100_000, 1_200_000] {
            let population = Population::new(7, keys);
            let mut seen = HashSet::new();
            for rank in 0..keys {
                let key = population.key(rank, Family::Ipv4);
                let ports = match key.protocol {
                    ICMP => (0, 0),
                    _ => (key.source_port, key.destination_port),
                };
                let ends = (key.source.ipv4, key.destination.ipv4);
                assert!(seen.insert((ends, ports, key.protocol)), "{rank} of {keys}");
            }
        }
    }

    #[test]
    fn hosts_have_different_addresses() {
        let population = Population::new(7, 1 << 20);
        let clients = || (0..population.clients).map(client);
        let hosts = || clients().chain(population.servers.iter().copied());
        let count = hosts().count();
        let ipv4: HashSet<_> = hosts().map(|host| host.ipv4).collect();
        let ipv6: HashSet<_> = hosts().map(|host| host.ipv6).collect();
        assert_eq!((ipv4.len(), ipv6.len()), (count, count));
    }

    #[test]
    fn most_keys_are_of_the_web_and_a_few_have_no_ports() {
        let population = Population::new(7, 1 << 16);
        let keys = || (0..1 << 16).map(|rank| population.key(rank, Family::Ipv4));
        let web = keys().filter(|key| key.service.port == 443).count();
        let portless = keys().filter(|key| key.source_port == 0).count();
        assert!((1 << 14..3 << 14).contains(&web), "{web}");
        assert!((1500..2600).contains(&portless), "{portless}");
    }
}
