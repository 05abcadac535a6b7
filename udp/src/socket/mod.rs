//! Receiving from UDP sockets: one group of sockets per listen address, one socket of each
//! group per shard.

mod error;
mod filter;
mod receive;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{bpf, sys};
pub use error::BindError;
pub use filter::shard_of;
pub(crate) use filter::shard_program;
use receive::ShardSocket;
pub use receive::{Datagrams, ShardReceiver};

/// The kernel's limit on a group is 65,535 sockets; nobody has so many cores.
const MAX_SHARDS: usize = 1024;

/// How sockets are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// The receive buffer asked for, in bytes, for each socket. The kernel doubles it for its
    /// own use, and without CAP_NET_ADMIN caps it at net.core.rmem_max.
    pub receive_buffer_bytes: usize,
}

/// The listening sockets of all shards.
///
/// Every listen address has one socket per shard, in a SO_REUSEPORT group with a filter that
/// selects the socket by [`shard_of`] the source address. So all that an exporter sends goes
/// to one shard, from whatever port and to whatever listen address.
#[derive(Debug)]
pub struct ShardSockets;

impl ShardSockets {
    /// Binds every address of `listen`, and returns one receiver per shard.
    ///
    /// `[::]` takes IPv4 too, unless `listen` has an IPv4 address with the same port. Port 0
    /// is any free port: see [`ShardReceiver::local_addresses`].
    ///
    /// # Errors
    ///
    /// An address cannot be bound: none is then. A port that another socket receives on is
    /// in use, even if it would share it.
    pub fn bind(
        listen: &[SocketAddr],
        shards: usize,
        options: &SocketOptions,
    ) -> Result<Vec<ShardReceiver>, BindError> {
        if listen.is_empty() {
            return Err(BindError::NoAddress);
        }
        if shards == 0 || shards > MAX_SHARDS {
            return Err(BindError::Shards {
                shards,
                most: MAX_SHARDS,
            });
        }
        let mut by_shard: Vec<Vec<ShardSocket>> = (0..shards).map(|_| Vec::new()).collect();
        for (index, &address) in listen.iter().enumerate() {
            let others = || listen.iter().take(index);
            if address.port() != 0 && others().any(|other| *other == address) {
                return Err(BindError::ListedTwice { address });
            }
            let only_v6 = listen
                .iter()
                .any(|other| other.is_ipv4() && other.port() == address.port());
            for (shard, socket) in by_shard
                .iter_mut()
                .zip(bind_group(address, shards, only_v6, options)?)
            {
                shard.push(socket);
            }
        }
        for socket in by_shard.iter_mut().flatten() {
            socket.open()?;
        }
        Ok(by_shard.into_iter().map(ShardReceiver::new).collect())
    }
}

/// Every address of this machine with `port`: `[::]`, or `0.0.0.0` where the kernel has no
/// IPv6.
#[must_use]
pub fn wildcard(port: u16) -> SocketAddr {
    let address = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, port)
}

/// Binds one socket per shard to `address`, closed to datagrams until they are opened.
fn bind_group(
    address: SocketAddr,
    shards: usize,
    only_v6: bool,
    options: &SocketOptions,
) -> Result<Vec<ShardSocket>, BindError> {
    let system = |what| {
        move |source| BindError::System {
            address,
            what,
            source,
        }
    };
    let first = create(address, only_v6, options)?;
    // Bound before it may share: another socket on the port is an error, even one of the same
    // user that would share too, and take a part of the datagrams.
    first
        .bind(&address.into())
        .map_err(|source| refused(address, source))?;
    let bound = first
        .local_addr()
        .map_err(system("getsockname"))?
        .as_socket()
        .unwrap_or(address);
    let mut sockets = vec![first];
    if shards > 1 {
        if let [first] = sockets.as_slice() {
            first.set_reuse_port(true).map_err(system("SO_REUSEPORT"))?;
        }
        for _ in 1..shards {
            let socket = create(address, only_v6, options)?;
            socket
                .set_reuse_port(true)
                .map_err(system("SO_REUSEPORT"))?;
            socket
                .bind(&bound.into())
                .map_err(|source| refused(bound, source))?;
            sockets.push(socket);
        }
        let program = filter::shard_program(shards as u32);
        if let [first, ..] = sockets.as_slice() {
            sys::attach_filter(first, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
                .map_err(system("SO_ATTACH_REUSEPORT_CBPF"))?;
        }
    }
    Ok(sockets
        .into_iter()
        .map(|socket| ShardSocket::new(socket, bound))
        .collect())
}

/// A socket that is set up, but not bound, and closed to datagrams: what came while its group
/// is incomplete would reach the wrong shard.
fn create(
    address: SocketAddr,
    only_v6: bool,
    options: &SocketOptions,
) -> Result<Socket, BindError> {
    let system = |what| {
        move |source| BindError::System {
            address,
            what,
            source,
        }
    };
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
        .map_err(|source| refused(address, source))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(only_v6).map_err(system("IPV6_V6ONLY"))?;
    }
    sys::attach_filter(&socket, libc::SO_ATTACH_FILTER, &bpf::closed_program())
        .map_err(system("SO_ATTACH_FILTER"))?;
    sys::set_option(&socket, libc::SO_TIMESTAMPNS, 1).map_err(system("SO_TIMESTAMPNS"))?;
    let bytes = libc::c_int::try_from(options.receive_buffer_bytes).unwrap_or(libc::c_int::MAX);
    // The first needs CAP_NET_ADMIN.
    sys::set_option(&socket, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| sys::set_option(&socket, libc::SO_RCVBUF, bytes))
        .map_err(system("SO_RCVBUF"))?;
    Ok(socket)
}

fn refused(address: SocketAddr, source: io::Error) -> BindError {
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => BindError::PortInUse { address },
        Some(libc::EACCES | libc::EPERM) => BindError::Permission { address },
        Some(libc::EADDRNOTAVAIL) => BindError::AddressNotLocal { address },
        Some(libc::EAFNOSUPPORT) if address.is_ipv6() => BindError::NoIpv6 { address },
        _ => BindError::System {
            address,
            what: "bind",
            source,
        },
    }
}

#[cfg(test)]
mod tests;
