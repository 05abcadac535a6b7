//! Which packets are wanted: as a program for the kernel, and here for those of which the kernel
//! cannot tell.
//!
//! The program looks at addresses and ports. It lets through what it cannot decide on, fragments
//! and IPv6 with extension headers, if it may become UDP.

use std::net::{IpAddr, SocketAddr};

use libc::sock_filter;

use crate::bpf::{
    INTERFACE, Size, drop_packet, ipv4_header_length_to_x, keep_packet, load, load_after_x,
    skip_if_equal, skip_unless_any, skip_unless_equal,
};

const UDP: u32 = 17;
/// Of what follows IPv4's identification: RFC 791, section 3.1.
const MORE_FRAGMENTS: u32 = 0x2000;
const FRAGMENT_OFFSET: u32 = 0x1fff;
/// Hop-by-hop, routing, fragment, authentication and destination options: what may come before
/// UDP, RFC 8200, section 4.
const EXTENSIONS: [u32; 5] = [0, 43, 44, 51, 60];

/// The destinations of the packets that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Numbers of interfaces; empty: all.
    pub(super) interfaces: Vec<u32>,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) exclude: Vec<SocketAddr>,
}

impl Wanted {
    /// IPv4-mapped addresses become IPv4.
    pub(super) fn new(interfaces: Vec<u32>, listen: &[SocketAddr], exclude: &[SocketAddr]) -> Self {
        Self {
            interfaces,
            listen: listen.iter().map(canonical).collect(),
            exclude: exclude.iter().map(canonical).collect(),
        }
    }

    /// Whether anything of this address family can be wanted.
    pub(super) fn has_family(&self, ipv6: bool) -> bool {
        self.listen
            .iter()
            .any(|listen| takes_family(listen.ip(), ipv6))
    }

    /// Whether datagrams to this destination are wanted.
    #[inline]
    pub(super) fn takes(&self, destination: SocketAddr) -> bool {
        let same = |other: &SocketAddr| {
            other.port() == destination.port() && other.ip() == destination.ip()
        };
        let of_listen = |listen: &SocketAddr| {
            same(listen)
                || listen.port() == destination.port()
                    && listen.ip().is_unspecified()
                    && takes_family(listen.ip(), destination.is_ipv6())
        };
        self.listen.iter().any(of_listen) && !self.exclude.iter().any(same)
    }

    /// The program for the IPv4 packets, which begin with their IP header.
    pub(super) fn ipv4_program(&self) -> Vec<sock_filter> {
        let mut program = self.interface_program();
        program.extend([
            load(Size::Byte, 9),
            skip_if_equal(UDP, 1),
            drop_packet(),
            // A later fragment has no ports. The first has, but without it the others would look
            // like a datagram of which a part was lost.
            load(Size::Half, 6),
            skip_unless_any(MORE_FRAGMENTS | FRAGMENT_OFFSET, 1),
            keep_packet(),
            ipv4_header_length_to_x(),
        ]);
        self.add_destinations(&mut program, false, load_after_x(Size::Half, 2));
        program
    }

    /// The program for the IPv6 packets, which begin with their IP header.
    pub(super) fn ipv6_program(&self) -> Vec<sock_filter> {
        let mut program = self.interface_program();
        program.push(load(Size::Byte, 6));
        let mut extended = Vec::new();
        // What the first extension header is followed by.
        extended.push(load(Size::Byte, 40));
        for next in EXTENSIONS.into_iter().chain([UDP]) {
            extended.extend([skip_unless_equal(next, 1), keep_packet()]);
        }
        extended.push(drop_packet());
        let length = extended.len() as u8;
        // Each of these that matches leads to what follows it: what is no extension and no UDP is
        // dropped at the end.
        for extension in EXTENSIONS {
            program.push(skip_unless_equal(extension, length));
            program.extend(&extended);
        }
        program.extend([skip_if_equal(UDP, 1), drop_packet()]);
        self.add_destinations(&mut program, true, load(Size::Half, 42));
        program
    }

    fn interface_program(&self) -> Vec<sock_filter> {
        let mut program = Vec::new();
        if !self.interfaces.is_empty() {
            program.push(load(Size::Word, INTERFACE));
            let others = (0..self.interfaces.len()).rev();
            for (&interface, others) in self.interfaces.iter().zip(others) {
                // Over the others and the drop.
                program.push(skip_if_equal(interface, others as u8 + 1));
            }
            program.push(drop_packet());
        }
        program
    }

    /// Adds the end of a program: what to drop, what to keep, and to drop all else.
    fn add_destinations(&self, program: &mut Vec<sock_filter>, ipv6: bool, load_port: sock_filter) {
        let exclude = self.exclude.iter().map(|address| (address, drop_packet()));
        let listen = self.listen.iter().map(|address| (address, keep_packet()));
        for (address, verdict) in exclude.chain(listen) {
            if !takes_family(address.ip(), ipv6) {
                continue;
            }
            let mut compared = Vec::new();
            if !address.ip().is_unspecified() {
                match address.ip() {
                    IpAddr::V4(ip) => compared.push((load(Size::Word, 16), ip.to_bits())),
                    IpAddr::V6(ip) => {
                        for (word, offset) in [(96, 24), (64, 28), (32, 32), (0, 36)] {
                            let bits = (ip.to_bits() >> word) as u32;
                            compared.push((load(Size::Word, offset), bits));
                        }
                    }
                }
            }
            compared.push((load_port, u32::from(address.port())));
            let others = (0..compared.len()).rev();
            for ((load, bits), others) in compared.into_iter().zip(others) {
                // Over the other comparisons, two instructions each, and the verdict.
                program.extend([load, skip_unless_equal(bits, 2 * others as u8 + 1)]);
            }
            program.push(verdict);
        }
        program.push(drop_packet());
    }
}

/// `[::]` takes IPv4 too, as a socket does.
fn takes_family(listen: IpAddr, ipv6: bool) -> bool {
    match listen {
        IpAddr::V4(_) => !ipv6,
        IpAddr::V6(listen) => ipv6 || listen.is_unspecified(),
    }
}

fn canonical(address: &SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
