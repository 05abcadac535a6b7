//! The datagram, as every source of datagrams hands it over.

use std::net::SocketAddr;

/// One UDP datagram, borrowed from the buffer that it was received into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender. An IPv4-mapped IPv6 address is given as the IPv4 address.
    pub source: SocketAddr,
    /// The address it was received on: the socket's, or the packet's.
    pub destination: SocketAddr,
    /// Time of receipt in nanoseconds since the Unix epoch.
    pub received_ns: u64,
    /// What the UDP header announced.
    pub payload: &'a [u8],
}
