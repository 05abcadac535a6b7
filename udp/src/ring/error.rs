//! Why packets cannot be taken.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// A packet ring that cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Packet sockets take a privilege.
    #[error(
        "cannot take packets below the IP stack: no permission for packet sockets (CAP_NET_RAW); \
         grant it to the program: `sudo setcap cap_net_raw+ep {program}`"
    )]
    Permission {
        /// The path of this program.
        program: String,
    },
    /// There is no interface of that name.
    #[error("cannot take packets of interface {name}: there is none of that name; see `ip link`")]
    NoInterface {
        /// The name asked for.
        name: String,
    },
    /// There is nothing to listen to.
    #[error("no address to take packets for")]
    NoAddress,
    /// A destination without port cannot be told from others.
    #[error("cannot take packets for {address}: a port is needed")]
    NoPort {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The kernel's filter is of limited length.
    #[error(
        "cannot take packets: {given} interfaces and addresses to take and to leave out are more \
         than the kernel's filter holds ({most})"
    )]
    TooManyAddresses {
        /// What was asked for.
        given: usize,
        /// The most that is possible.
        most: usize,
    },
    /// The number of shards is 0, or more than a fan-out group may have.
    #[error("cannot take packets on {shards} shards: from 1 to {most} are possible")]
    Shards {
        /// What was asked for.
        shards: usize,
        /// The most that is possible.
        most: usize,
    },
    /// A ring is a few blocks at least, and no more than a 32-bit number of bytes.
    #[error(
        "cannot take packets with a ring of {bytes} bytes: from {least} to {most} are possible"
    )]
    RingBytes {
        /// What was asked for.
        bytes: usize,
        /// The least that is possible.
        least: usize,
        /// The most that is possible.
        most: usize,
    },
    /// The kernel has no memory for the rings.
    #[error(
        "cannot take packets: no memory for {shards} rings of {bytes} bytes each; make the ring \
         smaller, or take fewer shards"
    )]
    Memory {
        /// How many rings.
        shards: usize,
        /// How long each is to be.
        bytes: usize,
    },
    /// Anything else that the system refuses.
    #[error("cannot take packets: {what} failed: {source}")]
    System {
        /// The step that failed.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
