//! Sending from any source address and port.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};

use super::lane::{Batch, Lane, Patience, Refused, SEND_BUFFER_BYTES};
use super::path::Paths;
use super::{Outgoing, SendError};
use crate::packet::{Ends, Packets};
use crate::sys::{self, Slot};
use crate::{bpf, shard_of};

/// Counters of identifications: sources share them only by chance, so that one comes around
/// late.
const IDENTIFICATIONS: usize = 1024;

/// Sends datagrams from any source address and port, by raw sockets.
///
/// The IP and UDP headers are made here: the UDP checksum always, the TTL or hop limit 64. A
/// datagram that does not fit the path to its destination goes in fragments; IPv4 routers on
/// the way may fragment further.
///
/// What routers say of a narrower path, they say to the source, which is not this machine: the
/// length of packets is that of the interface and of the route (`ip route … mtu`). Nor does the
/// system tell of packets that it drops later, as when a neighbour does not answer for its
/// hardware address.
///
/// ```no_run
/// # use forebay_udp::{Outgoing, RawSender};
/// let mut sender = RawSender::open()?;
/// let datagram = Outgoing {
///     source: "192.0.2.1:50000".parse()?,
///     destination: "198.51.100.1:2055".parse()?,
///     payload: b"flows",
/// };
/// sender.send(&[datagram], |index, error| eprintln!("datagram {index}: {error}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawSender {
    v4: Lane,
    /// `None` where the kernel has no IPv6.
    v6: Option<Lane>,
    /// For fragments that a later refusal asks for.
    spare: Box<Slot>,
    ways: Ways,
}

/// What is known of the ways of datagrams.
struct Ways {
    paths: Paths,
    identifications: Box<[u32; IDENTIFICATIONS]>,
    now: Instant,
}

impl RawSender {
    /// Opens the raw sockets.
    ///
    /// # Errors
    ///
    /// The program lacks CAP_NET_RAW, or the system refuses for another reason.
    pub fn open() -> Result<Self, SendError> {
        let v4 = open(Domain::IPV4)?;
        let v6 = match open(Domain::IPV6) {
            Ok(socket) => Some(Lane::new(socket)),
            Err(SendError::System { source, .. })
                if source.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        let hash = RandomState::new();
        // From anywhere: who knew the next one could forge a fragment (RFC 7739).
        let mut identifications = Box::new([0; IDENTIFICATIONS]);
        for (number, identification) in identifications.iter_mut().enumerate() {
            *identification = hash.hash_one(number) as u32;
        }
        Ok(Self {
            v4: Lane::new(v4),
            v6,
            spare: Box::new(Slot::EMPTY),
            ways: Ways {
                paths: Paths::new(),
                identifications,
                now: now(),
            },
        })
    }

    /// Sends the datagrams. `failed` is told, once each, the index of every one that did not
    /// go, and why:
    ///
    /// * EAFNOSUPPORT: source and destination are not both IPv4 or both IPv6, or the kernel
    ///   has no IPv6;
    /// * EADDRNOTAVAIL: the source is no address that a host can have;
    /// * EMSGSIZE: no IP packet holds it;
    /// * ENOBUFS or EAGAIN: there was no room for it, and none came in the short time that is
    ///   waited;
    /// * whatever else the system says, as that there is no route.
    ///
    /// Datagrams of one address family go in the order given.
    pub fn send(&mut self, datagrams: &[Outgoing<'_>], mut failed: impl FnMut(usize, io::Error)) {
        let mut patience = Patience::new();
        self.ways.now = now();
        let mut v4 = self.v4.batch();
        let mut v6 = self.v6.as_mut().map(Lane::batch);
        let mut line = Line {
            datagrams,
            ways: &mut self.ways,
            spare: &mut self.spare,
        };
        for (index, datagram) in datagrams.iter().enumerate() {
            let prepared = prepare(datagram).and_then(|prepared| {
                let batch = match prepared.ends {
                    Ends::V4(..) => Some(&mut v4),
                    Ends::V6(..) => v6.as_mut(),
                };
                let batch = batch.ok_or(libc::EAFNOSUPPORT)?;
                Ok((prepared, batch))
            });
            match prepared {
                Ok((prepared, batch)) => {
                    line.add(index, &prepared, batch, &mut patience, &mut failed);
                }
                Err(number) => failed(index, io::Error::from_raw_os_error(number)),
            }
        }
        for batch in std::iter::once(&mut v4).chain(&mut v6) {
            line.flush(batch, &mut patience, &mut failed);
        }
    }
}

impl fmt::Debug for RawSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RawSender")
            .field("ipv6", &self.v6.is_some())
            .finish_non_exhaustive()
    }
}

/// A datagram whose addresses can be sent from and to.
struct Prepared<'a> {
    source: IpAddr,
    ends: Ends,
    udp: [u8; 8],
    payload: &'a [u8],
    /// What the route is looked up by, and what the socket is given: without the port, which
    /// raw sockets take for a protocol.
    destination: SocketAddr,
}

/// The error is the system's number for it.
#[inline]
fn prepare<'a>(datagram: &Outgoing<'a>) -> Result<Prepared<'a>, i32> {
    let ends = Ends::new(datagram.source.ip(), datagram.destination.ip());
    let ends = ends.ok_or(libc::EAFNOSUPPORT)?;
    if !is_host(datagram.source.ip()) {
        return Err(libc::EADDRNOTAVAIL);
    }
    let ports = (datagram.source.port(), datagram.destination.port());
    let udp = ends.udp_header(ports.0, ports.1, datagram.payload);
    let mut destination = datagram.destination;
    destination.set_ip(destination.ip().to_canonical());
    destination.set_port(0);
    Ok(Prepared {
        source: datagram.source.ip(),
        ends,
        udp: udp.ok_or(libc::EMSGSIZE)?,
        payload: datagram.payload,
        destination,
    })
}

/// Whether a host can have the address. The kernel would send from an unspecified one too, but
/// put its own in its place, which the checksum does not know of.
#[inline]
fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(Ipv4Addr::BROADCAST));
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

/// One call's datagrams on their way out.
struct Line<'s, 'd, 'a> {
    datagrams: &'d [Outgoing<'a>],
    ways: &'s mut Ways,
    spare: &'s mut Slot,
}

impl<'a> Line<'_, '_, 'a> {
    /// Puts the packets of a datagram in the batch, and sends the batch whenever it is full.
    #[inline]
    fn add(
        &mut self,
        index: usize,
        prepared: &Prepared<'a>,
        batch: &mut Batch<'_, 'a>,
        patience: &mut Patience,
        failed: &mut impl FnMut(usize, io::Error),
    ) {
        let mut packets = self.ways.packets(prepared);
        loop {
            if batch.is_full() {
                self.flush(batch, patience, failed);
                if batch.is_done(index) {
                    break;
                }
            }
            let more = batch.push(index, prepared.destination, |slot| {
                packets.next(&mut slot.head)
            });
            if !more {
                break;
            }
        }
    }

    fn flush(
        &mut self,
        batch: &mut Batch<'_, 'a>,
        patience: &mut Patience,
        failed: &mut impl FnMut(usize, io::Error),
    ) {
        let refused = |socket: BorrowedFd<'_>, index, error: io::Error| {
            if error.raw_os_error() != Some(libc::EMSGSIZE) {
                return Refused::Failed(error);
            }
            match self.send_shorter(socket, index) {
                Ok(()) => Refused::Settled,
                Err(error) => Refused::Failed(error),
            }
        };
        batch.flush(patience, refused, failed);
    }

    /// Sends one datagram in packets as long as the path takes now.
    #[cold]
    fn send_shorter(&mut self, socket: BorrowedFd<'_>, index: usize) -> io::Result<()> {
        let Some(datagram) = self.datagrams.get(index) else {
            return Ok(());
        };
        let slot = &mut *self.spare;
        // The system has put a message about it in the socket's error queue, too.
        sys::refusals(socket, |_| {});
        let prepared = prepare(datagram).map_err(io::Error::from_raw_os_error)?;
        self.ways.paths.learn(prepared.destination, self.ways.now);
        let mut packets = self.ways.packets(&prepared);
        let mut patience = Patience::new();
        slot.set_name(prepared.destination);
        while let Some(rest) = packets.next(&mut slot.head) {
            while let Err(error) = sys::send_slots(socket, std::slice::from_ref(slot), &[rest]) {
                if !patience.allows(&error) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Ways {
    #[inline]
    fn packets<'a>(&mut self, prepared: &Prepared<'a>) -> Packets<'a> {
        let mtu = self.paths.mtu(prepared.destination, self.now);
        let number = shard_of(prepared.source, IDENTIFICATIONS);
        let counter = self.identifications.get_mut(number);
        let identification = counter.map_or(0, |counter| {
            // The kernel takes an IPv4 packet with 0 for one that wants another.
            *counter = match counter.wrapping_add(1) {
                next if next as u16 == 0 => next + 1,
                next => next,
            };
            *counter
        });
        Packets::new(
            prepared.ends,
            prepared.udp,
            prepared.payload,
            identification,
            mtu,
        )
    }
}

fn open(domain: Domain) -> Result<Socket, SendError> {
    // IPPROTO_RAW: the sender gives the IP header (raw(7); ipv6(7) has no word of it, but the
    // kernel does the same there).
    let protocol = Some(Protocol::from(libc::IPPROTO_RAW));
    let socket = Socket::new(domain, Type::RAW, protocol).map_err(SendError::raw)?;
    // Else packets of that protocol number, which anybody may send, would fill its buffer.
    sys::attach_filter(&socket, libc::SO_ATTACH_FILTER, &bpf::closed_program())
        .map_err(SendError::system("SO_ATTACH_FILTER"))?;
    // Without this, a packet that the interface's queue has no room for is dropped, and the
    // system says that it was sent.
    let (level, option) = match domain {
        Domain::IPV4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
        _ => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    sys::set_option_of(&socket, level, option, 1).map_err(SendError::system("IP_RECVERR"))?;
    if domain == Domain::IPV6 {
        sys::set_option_of(&socket, libc::IPPROTO_IPV6, libc::IPV6_HDRINCL, 1)
            .map_err(SendError::system("IPV6_HDRINCL"))?;
    }
    // The first needs CAP_NET_ADMIN; a smaller buffer only means more waiting.
    sys::set_option(&socket, libc::SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
        .or_else(|_| sys::set_option(&socket, libc::SO_SNDBUF, SEND_BUFFER_BYTES))
        .map_err(SendError::system("SO_SNDBUF"))?;
    Ok(socket)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge: it times nothing but when the system is asked again, once a call"
)]
fn now() -> Instant {
    Instant::now()
}
