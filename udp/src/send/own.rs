//! Sending from this machine's own addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::lane::{Batch, Lane, Patience, Refused, SEND_BUFFER_BYTES};
use super::{Outgoing, SendError};
use crate::{bpf, sys};

/// Destinations that refused, until they are asked for.
const MAX_REFUSED: usize = 64;
/// Refusals of earlier datagrams that a packet is sent again after.
const MAX_AGAIN: usize = 4;

/// Sends datagrams from a socket of this machine: one address and port for all, whatever their
/// [`source`](Outgoing::source).
///
/// The kernel makes checksums and fragments, and tells which destinations refused earlier
/// datagrams, as a machine does where nobody listens: see [`refused`](Self::refused).
pub struct OwnSender {
    v4: Lane,
    /// `None` where the kernel has no IPv6.
    v6: Option<Lane>,
    refused: Vec<SocketAddr>,
}

impl OwnSender {
    /// Opens a socket for IPv4, and one for IPv6.
    ///
    /// # Errors
    ///
    /// The system has no more sockets.
    pub fn open() -> Result<Self, SendError> {
        let v6 = match open(Domain::IPV6) {
            Ok(socket) => Some(Lane::new(socket)),
            Err(SendError::System { source, .. })
                if matches!(
                    source.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                ) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            v4: Lane::new(open(Domain::IPV4)?),
            v6,
            refused: Vec::with_capacity(MAX_REFUSED),
        })
    }

    /// Sends the datagrams. `failed` is told, once each, the index of every one that did not
    /// go, and why: as [`RawSender::send`](super::RawSender::send) does, and EINVAL for port 0.
    /// A refusal of an earlier datagram is no failure of this one: it is sent all the same.
    ///
    /// Datagrams of one address family go in the order given.
    pub fn send(&mut self, datagrams: &[Outgoing<'_>], mut failed: impl FnMut(usize, io::Error)) {
        let mut patience = Patience::new();
        let mut v4 = self.v4.batch();
        let mut v6 = self.v6.as_mut().map(Lane::batch);
        let refused = &mut self.refused;
        for (index, datagram) in datagrams.iter().enumerate() {
            let mut destination = datagram.destination;
            destination.set_ip(destination.ip().to_canonical());
            let batch = match destination {
                SocketAddr::V4(_) => Some(&mut v4),
                SocketAddr::V6(_) => v6.as_mut(),
            };
            let Some(batch) = batch else {
                failed(index, io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
                continue;
            };
            if batch.is_full() {
                flush(batch, &mut patience, refused, &mut failed);
            }
            batch.push(index, destination, |_| Some(datagram.payload));
        }
        for batch in std::iter::once(&mut v4).chain(&mut v6) {
            flush(batch, &mut patience, refused, &mut failed);
        }
    }

    /// Destinations that refused a datagram (ECONNREFUSED: nobody listens there), as far as the
    /// sends since the last call came to know: each once, at most 64. The kernel tells of a
    /// datagram with a later one, so the last before a pause are not among them.
    pub fn refused(&mut self) -> impl Iterator<Item = SocketAddr> {
        self.refused.drain(..)
    }
}

impl fmt::Debug for OwnSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OwnSender")
            .field("ipv6", &self.v6.is_some())
            .finish_non_exhaustive()
    }
}

fn flush(
    batch: &mut Batch<'_, '_>,
    patience: &mut Patience,
    refused: &mut Vec<SocketAddr>,
    failed: &mut impl FnMut(usize, io::Error),
) {
    let mut ask = |socket: BorrowedFd<'_>| {
        sys::refusals(socket, |destination| {
            if refused.len() < MAX_REFUSED && !refused.contains(&destination) {
                refused.push(destination);
            }
        })
    };
    let mut again = (usize::MAX, 0);
    let on_error = |socket: BorrowedFd<'_>, index, error| {
        again = match again {
            (last, times) if last == index => (index, times + 1),
            _ => (index, 1),
        };
        // An error that the queue explains is that of an earlier datagram.
        if ask(socket) > 0 && again.1 <= MAX_AGAIN {
            Refused::Again
        } else {
            Refused::Failed(error)
        }
    };
    if batch.flush(patience, on_error, failed) {
        ask(batch.socket());
    }
}

fn open(domain: Domain) -> Result<Socket, SendError> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
        .map_err(SendError::system("a UDP socket"))?;
    let any: IpAddr = match domain {
        Domain::IPV4 => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let (level, option) = match domain {
        Domain::IPV4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
        _ => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    if domain == Domain::IPV6 {
        socket
            .set_only_v6(true)
            .map_err(SendError::system("IPV6_V6ONLY"))?;
    }
    socket
        .bind(&SocketAddr::new(any, 0).into())
        .map_err(SendError::system("bind"))?;
    sys::set_option_of(&socket, level, option, 1).map_err(SendError::system("IP_RECVERR"))?;
    sys::attach_filter(&socket, libc::SO_ATTACH_FILTER, &bpf::closed_program())
        .map_err(SendError::system("SO_ATTACH_FILTER"))?;
    sys::set_option(&socket, libc::SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
        .or_else(|_| sys::set_option(&socket, libc::SO_SNDBUF, SEND_BUFFER_BYTES))
        .map_err(SendError::system("SO_SNDBUF"))?;
    Ok(socket)
}
