//! Receiving packets below the IP stack: AF_PACKET sockets whose packets the kernel puts in
//! memory that it shares with this process, packet(7).
//!
//! ```text
//! interface → filter → fan-out by source → ring of blocks → IP, fragments put together → UDP
//! ```
//!
//! A ring takes the packets of one protocol, IPv4 or IPv6, from where the kernel hands them to
//! its own IP: so a packet is seen once, on the interface where it ends up, whether it came over
//! a VLAN, a bond, a bridge or loopback; without its VLAN tag; and never on its way out. That is
//! why PACKET_IGNORE_OUTGOING is not needed.
//!
//! Not seen are packets with two VLAN tags, unless there are interfaces for both VLANs. Packets
//! that the kernel put together (generic receive offload, which it does to UDP where
//! `ethtool -k` has `rx-udp-gro-forwarding` or `rx-gro-list` on) would come as one datagram.

mod block;
mod error;
mod filter;
mod receive;
mod sieve;

use std::ffi::CString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::bpf;
use crate::send::program;
use crate::socket::shard_program;
use crate::sys::{self, RingMemory};
pub use error::PacketError;
use filter::Wanted;
use receive::Ring;
pub use receive::{PacketDatagrams, PacketReceiver};
pub use sieve::PacketCounts;

/// What a fan-out group may hold.
const MAX_SHARDS: usize = 256;
/// What the kernel's filter holds in any case.
const MAX_ADDRESSES: usize = 250;
/// What is handed over at a time; the longest packet fits.
const BLOCK_BYTES: usize = 1 << 18;
/// One block is filled while another is read.
const LEAST_BLOCKS: usize = 2;
/// A ring's length is a 32-bit number to the kernel.
const MAX_RING_BYTES: usize = 1 << 31;
/// How long a packet waits at most for its block to be full.
const RETIRE: Duration = Duration::from_millis(4);

const ETH_P_IP: u16 = libc::ETH_P_IP as u16;
const ETH_P_IPV6: u16 = libc::ETH_P_IPV6 as u16;

/// Which packets are taken, and into how much memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOptions {
    /// The interfaces, as they are named now, where the packets are handed to IP: for those that
    /// come over a VLAN, the VLAN's. Empty: all, also ones that are yet to come.
    pub interfaces: Vec<String>,
    /// The destinations that are taken. `0.0.0.0` is every IPv4 address, of this machine or not;
    /// `[::]` is every address.
    pub listen: Vec<SocketAddr>,
    /// Destinations that are left out, for what is sent to them must not be sent again.
    pub exclude: Vec<SocketAddr>,
    /// How many receivers share the packets.
    pub shards: usize,
    /// Memory for packets of each shard, in bytes, rounded down to blocks of 256 KiB. The kernel
    /// takes it at once, and never swaps it out. Where both IPv4 and IPv6 are listened for, each
    /// has one half.
    pub ring_bytes: usize,
}

impl PacketOptions {
    /// Checks them, and opens nothing.
    ///
    /// # Errors
    ///
    /// They make no sense, or an interface is not there.
    pub fn check(&self) -> Result<(), PacketError> {
        self.checked().map(|_| ())
    }

    /// What is wanted, by which protocols.
    fn checked(&self) -> Result<(Wanted, Vec<u16>), PacketError> {
        let wanted = wanted(self)?;
        let families: Vec<u16> = [(ETH_P_IP, false), (ETH_P_IPV6, true)]
            .into_iter()
            .filter(|(_, ipv6)| wanted.has_family(*ipv6))
            .map(|(protocol, _)| protocol)
            .collect();
        let least = LEAST_BLOCKS * BLOCK_BYTES * families.len();
        if !(least..=MAX_RING_BYTES).contains(&self.ring_bytes) {
            return Err(PacketError::RingBytes {
                bytes: self.ring_bytes,
                least,
                most: MAX_RING_BYTES,
            });
        }
        Ok((wanted, families))
    }
}

/// The packet rings of all shards.
///
/// A source's packets all go to the shard that [`shard_of`](crate::shard_of) names, as with
/// [`ShardSockets`](crate::ShardSockets). Other programs receive what they would otherwise.
#[derive(Debug)]
pub struct PacketRing;

impl PacketRing {
    /// Opens the rings, and returns one receiver per shard.
    ///
    /// # Errors
    ///
    /// The program lacks CAP_NET_RAW, an interface is not there, there is too little memory, or
    /// the options make no sense.
    pub fn open(options: &PacketOptions) -> Result<Vec<PacketReceiver>, PacketError> {
        let (wanted, families) = options.checked()?;
        let blocks = options.ring_bytes / families.len() / BLOCK_BYTES;
        let mut by_shard: Vec<Vec<Ring>> = (0..options.shards).map(|_| Vec::new()).collect();
        for protocol in families {
            let group = open_group(protocol, blocks, options)?;
            for (shard, ring) in by_shard.iter_mut().zip(group) {
                shard.push(ring);
            }
        }
        let mut receivers = Vec::with_capacity(options.shards);
        for rings in by_shard {
            receivers.push(PacketReceiver::new(rings, wanted.clone())?);
        }
        Ok(receivers)
    }
}

fn wanted(options: &PacketOptions) -> Result<Wanted, PacketError> {
    if options.listen.is_empty() {
        return Err(PacketError::NoAddress);
    }
    if let Some(&address) = options.listen.iter().find(|address| address.port() == 0) {
        return Err(PacketError::NoPort { address });
    }
    if options.shards == 0 || options.shards > MAX_SHARDS {
        return Err(PacketError::Shards {
            shards: options.shards,
            most: MAX_SHARDS,
        });
    }
    let mut interfaces = Vec::with_capacity(options.interfaces.len());
    for name in &options.interfaces {
        let index = CString::new(name.as_str())
            .ok()
            .and_then(|name| sys::interface_index(&name));
        let index = index.ok_or_else(|| PacketError::NoInterface { name: name.clone() })?;
        if !interfaces.contains(&index) {
            interfaces.push(index);
        }
    }
    let wanted = Wanted::new(interfaces, &options.listen, &options.exclude);
    check_length(&wanted)?;
    Ok(wanted)
}

fn check_length(wanted: &Wanted) -> Result<(), PacketError> {
    let given = wanted.interfaces.len() + wanted.listen.len() + wanted.exclude.len();
    if given > MAX_ADDRESSES {
        return Err(PacketError::TooManyAddresses {
            given,
            most: MAX_ADDRESSES,
        });
    }
    Ok(())
}

/// Opens the rings of one protocol, one per shard, closed to packets until all shards are there:
/// what came while the group is incomplete would reach the wrong one.
fn open_group(
    protocol: u16,
    blocks: usize,
    options: &PacketOptions,
) -> Result<Vec<Ring>, PacketError> {
    let mut rings = Vec::with_capacity(options.shards);
    let mut group = None;
    for _ in 0..options.shards {
        // Protocol 0 receives nothing until it is bound. SOCK_DGRAM: without the link layer.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None).map_err(no_socket)?;
        let memory =
            RingMemory::new(socket.as_fd(), BLOCK_BYTES, blocks, RETIRE).map_err(|source| {
                match source.raw_os_error() {
                    Some(libc::ENOMEM) => PacketError::Memory {
                        shards: options.shards,
                        bytes: options.ring_bytes,
                    },
                    _ => system("PACKET_RX_RING")(source),
                }
            })?;
        sys::attach_filter(&socket, libc::SO_ATTACH_FILTER, &bpf::closed_program())
            .map_err(system("SO_ATTACH_FILTER"))?;
        sys::bind_protocol(socket.as_fd(), protocol).map_err(system("bind"))?;
        if options.shards > 1 {
            join(&socket, &mut group, options.shards).map_err(system("PACKET_FANOUT"))?;
        }
        rings.push(Ring::new(socket, memory, protocol == ETH_P_IPV6));
    }
    Ok(rings)
}

/// Joins the fan-out group: the first makes one whose number nobody has. A member's place in it
/// is the order of joining, which is the shard. packet(7).
fn join(socket: &Socket, group: &mut Option<libc::c_int>, shards: usize) -> io::Result<()> {
    let cbpf = libc::PACKET_FANOUT_CBPF.cast_signed() << 16;
    let unique = libc::PACKET_FANOUT_FLAG_UNIQUEID.cast_signed() << 16;
    let joined = group.unwrap_or(cbpf | unique);
    sys::set_option_of(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, joined)?;
    if group.is_none() {
        // Its number and its kind.
        let number = sys::fan_out(socket.as_fd())? & 0xffff;
        *group = Some(number | cbpf);
        let program = shard_program(shards as u32);
        sys::attach_program(socket, libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, &program)?;
    }
    Ok(())
}

fn no_socket(source: io::Error) -> PacketError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => PacketError::Permission { program: program() },
        _ => system("a packet socket")(source),
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> PacketError {
    move |source| PacketError::System { what, source }
}

#[cfg(test)]
mod tests;
