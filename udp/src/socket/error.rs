//! Why a listening socket cannot be had.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// A listen address that cannot be bound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody receives on the port already.
    #[error(
        "cannot listen on {address}: UDP port {} is in use; is another collector running? see \
         `ss -ulpn 'sport = :{}'`",
        address.port(),
        address.port()
    )]
    PortInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Ports below 1024 take a privilege.
    #[error(
        "cannot listen on {address}: no permission for UDP port {}; use a port from 1024 on, or \
         give the program CAP_NET_BIND_SERVICE",
        address.port()
    )]
    Permission {
        /// The address asked for.
        address: SocketAddr,
    },
    /// No interface of this machine has the address.
    #[error(
        "cannot listen on {address}: this machine has no address {}; see `ip address`, or listen \
         on every address with {}",
        address.ip(),
        if address.is_ipv4() { "0.0.0.0" } else { "[::]" }
    )]
    AddressNotLocal {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The kernel has no IPv6.
    #[error("cannot listen on {address}: this machine has no IPv6; listen on an IPv4 address")]
    NoIpv6 {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Two listen addresses are the same.
    #[error("cannot listen on {address}: it is listed twice; remove one")]
    ListedTwice {
        /// The address asked for.
        address: SocketAddr,
    },
    /// There is nothing to listen on.
    #[error("no address to listen on")]
    NoAddress,
    /// The number of shards is 0, or more than the kernel's filter can tell apart.
    #[error("cannot receive on {shards} shards: from 1 to {most} are possible")]
    Shards {
        /// What was asked for.
        shards: usize,
        /// The most that is possible.
        most: usize,
    },
    /// Anything else that the system refuses.
    #[error("cannot listen on {address}: {what} failed: {source}")]
    System {
        /// The address asked for.
        address: SocketAddr,
        /// The step that failed.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
