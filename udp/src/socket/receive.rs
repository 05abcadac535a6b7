//! A shard's end of the sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socket2::Socket;

use super::BindError;
use crate::sys::{self, Slots};
use crate::{Datagram, sockaddr};

/// Batches taken from busy sockets before the others are looked at.
const BATCHES_PER_POLL: u32 = 16;

/// Receives what the kernel delivers to one shard: one socket per listen address.
///
/// ```no_run
/// # use std::time::{Duration, SystemTime, UNIX_EPOCH};
/// # use forebay_udp::{ShardSockets, SocketOptions, wildcard};
/// let options = SocketOptions { receive_buffer_bytes: 64 << 20 };
/// for mut receiver in ShardSockets::bind(&[wildcard(2055), wildcard(4739)], 2, &options)? {
///     std::thread::spawn(move || -> std::io::Result<()> {
///         loop {
///             for datagram in receiver.receive(Duration::from_millis(100))? {
///                 println!("{}: {} bytes", datagram.source, datagram.payload.len());
///             }
///         }
///     });
/// }
/// # Ok::<(), forebay_udp::BindError>(())
/// ```
pub struct ShardReceiver {
    sockets: Vec<ShardSocket>,
    local_addresses: Vec<SocketAddr>,
    poll: Vec<libc::pollfd>,
    slots: Box<Slots>,
    /// The socket to ask next.
    turn: usize,
    batches_since_poll: u32,
    truncated: u64,
}

pub(super) struct ShardSocket {
    socket: Socket,
    pub(super) local_address: SocketAddr,
    /// Whether it was asked to tell what address its datagrams were sent to.
    tells_destination: bool,
    /// Whether it may hold datagrams.
    ready: bool,
    /// The kernel's counter as last seen; it wraps.
    drops_seen: u32,
    drops: u64,
}

impl ShardReceiver {
    pub(super) fn new(sockets: Vec<ShardSocket>) -> Self {
        Self {
            local_addresses: sockets.iter().map(|socket| socket.local_address).collect(),
            poll: sockets
                .iter()
                .map(|socket| libc::pollfd {
                    fd: socket.socket.as_raw_fd(),
                    events: libc::POLLIN,
                    revents: 0,
                })
                .collect(),
            sockets,
            slots: Slots::new(),
            turn: 0,
            batches_since_poll: 0,
            truncated: 0,
        }
    }

    /// Takes up to 64 datagrams that came to one of the sockets, waiting for the first at most
    /// `wait` (in whole milliseconds, rounded up). None come when the time is up, when a signal
    /// interrupts the wait, or when all that came had a wrong checksum.
    ///
    /// The sockets take turns: none waits for another longer than a few batches.
    ///
    /// # Errors
    ///
    /// The system refuses to read a socket.
    pub fn receive(&mut self, wait: Duration) -> io::Result<Datagrams<'_>> {
        let mut wait = Some(wait);
        loop {
            if self.batches_since_poll >= BATCHES_PER_POLL && self.sockets.len() > 1 {
                self.poll(Duration::ZERO)?;
            }
            while let Some(turn) = self.next_ready() {
                let Some(socket) = self.sockets.get_mut(turn) else {
                    break;
                };
                self.batches_since_poll += 1;
                match sys::receive(socket.socket.as_fd(), &mut self.slots) {
                    Ok(batch) => {
                        self.truncated += batch.truncated;
                        return Ok(Datagrams {
                            slots: &self.slots,
                            next: 0,
                            count: batch.count,
                            destination: socket.local_address,
                            tells_destination: socket.tells_destination,
                        });
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        socket.ready = false;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            let Some(wait) = wait.take() else { break };
            if self.poll(wait)? == 0 {
                break;
            }
        }
        Ok(Datagrams {
            slots: &self.slots,
            next: 0,
            count: 0,
            destination: SocketAddr::from(([0, 0, 0, 0], 0)),
            tells_destination: false,
        })
    }

    /// Has datagrams tell the address that they were sent to from now on, where a socket receives
    /// on every address of this machine: without this their destination is the socket's address.
    ///
    /// # Errors
    ///
    /// The system refuses it.
    pub fn tell_destinations(&mut self) -> io::Result<()> {
        for socket in &mut self.sockets {
            if !socket.local_address.ip().is_unspecified() {
                continue;
            }
            // ip(7) and ipv6(7); the latter tells those of IPv4 as IPv4-mapped.
            let (level, option) = match socket.local_address.ip() {
                IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
                IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            };
            sys::set_option_of(&socket.socket, level, option, 1)?;
            socket.tells_destination = true;
        }
        Ok(())
    }

    /// The addresses that the sockets are bound to, in the order of the listen addresses.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// The smallest receive buffer that the kernel granted, comparable to
    /// [`receive_buffer_bytes`](super::SocketOptions::receive_buffer_bytes). Where it is
    /// smaller, net.core.rmem_max is the limit.
    pub fn granted_buffer_bytes(&self) -> usize {
        let granted = |socket: &ShardSocket| socket.socket.recv_buffer_size().unwrap_or(0) / 2;
        self.sockets.iter().map(granted).min().unwrap_or(0)
    }

    /// Datagrams that the kernel dropped since the sockets were bound, because the receive
    /// buffer was full or the checksum wrong: exact at the time of the call, and one system call
    /// per socket.
    ///
    /// Ask at least once in 2³² drops of a socket: the kernel's counter wraps.
    pub fn kernel_drops(&mut self) -> u64 {
        for socket in &mut self.sockets {
            // It worked when the socket was opened: it cannot fail now.
            if let Ok(seen) = sys::drops(socket.socket.as_fd()) {
                socket.drops += u64::from(seen.wrapping_sub(socket.drops_seen));
                socket.drops_seen = seen;
            }
        }
        self.sockets.iter().map(|socket| socket.drops).sum()
    }

    /// Datagrams cut because they did not fit the buffer, which no UDP datagram can do.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// The next socket that may hold datagrams.
    fn next_ready(&mut self) -> Option<usize> {
        let sockets = self.sockets.iter().enumerate();
        let turn = sockets
            .clone()
            .skip(self.turn)
            .chain(sockets.take(self.turn))
            .find(|(_, socket)| socket.ready)
            .map(|(index, _)| index)?;
        self.turn = turn + 1;
        Some(turn)
    }

    /// Finds out which sockets hold datagrams; returns how many.
    fn poll(&mut self, wait: Duration) -> io::Result<usize> {
        self.batches_since_poll = 0;
        let ready = match sys::poll(&mut self.poll, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            result => result?,
        };
        for (socket, poll) in self.sockets.iter_mut().zip(&self.poll) {
            // An error is ready too: reading it tells.
            socket.ready = poll.revents != 0;
        }
        Ok(ready)
    }
}

impl fmt::Debug for ShardReceiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ShardReceiver")
            .field("local_addresses", &self.local_addresses)
            .finish_non_exhaustive()
    }
}

impl ShardSocket {
    pub(super) fn new(socket: Socket, local_address: SocketAddr) -> Self {
        Self {
            socket,
            local_address,
            tells_destination: false,
            ready: false,
            drops_seen: 0,
            drops: 0,
        }
    }

    /// Lets datagrams in.
    pub(super) fn open(&mut self) -> Result<(), BindError> {
        let address = self.local_address;
        let system = |what| {
            move |source| BindError::System {
                address,
                what,
                source,
            }
        };
        sys::set_option(&self.socket, libc::SO_DETACH_FILTER, 0)
            .map_err(system("SO_DETACH_FILTER"))?;
        // What came while it was closed counts as sent before we listened, not as lost.
        self.drops_seen = sys::drops(self.socket.as_fd()).map_err(system("SO_MEMINFO"))?;
        Ok(())
    }
}

/// The datagrams of one [`ShardReceiver::receive`].
#[derive(Clone)]
pub struct Datagrams<'a> {
    slots: &'a Slots,
    next: usize,
    count: usize,
    destination: SocketAddr,
    tells_destination: bool,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Datagram<'a>;

    #[inline]
    fn next(&mut self) -> Option<Datagram<'a>> {
        if self.next == self.count {
            return None;
        }
        let message = self.slots.message(self.next)?;
        self.next += 1;
        let mut destination = self.destination;
        if self.tells_destination
            && let Some(told) = told_destination(message.control)
        {
            destination.set_ip(told);
        }
        Some(Datagram {
            source: sockaddr::decode(message.name),
            destination,
            received_ns: timestamp_ns(message.control).unwrap_or_else(now_ns),
            payload: message.payload,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Datagrams<'_> {}

impl fmt::Debug for Datagrams<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.clone()).finish()
    }
}

/// The time in an SCM_TIMESTAMPNS control message: `struct cmsghdr` (length, level, type) and
/// `struct timespec`. cmsg(3), socket(7).
#[inline]
pub(super) fn timestamp_ns(control: &[u8]) -> Option<u64> {
    let level = i32::from_ne_bytes(*control.get(8..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*control.get(12..)?.first_chunk()?);
    if (level, kind) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
        return None;
    }
    let seconds = u64::from_ne_bytes(*control.get(16..)?.first_chunk()?);
    let nanoseconds = u64::from_ne_bytes(*control.get(24..)?.first_chunk()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// The address in the control message behind that of the time: `struct in_pktinfo` (interface,
/// local address, the header's destination) or `struct in6_pktinfo` (destination, interface).
/// ip(7), ipv6(7).
fn told_destination(control: &[u8]) -> Option<IpAddr> {
    let mut rest = control;
    loop {
        let length = usize::from_ne_bytes(*rest.first_chunk()?);
        let level = i32::from_ne_bytes(*rest.get(8..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*rest.get(12..)?.first_chunk()?);
        let told = match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                Some(IpAddr::from(*rest.get(24..)?.first_chunk::<4>()?))
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let address = Ipv6Addr::from(*rest.get(16..)?.first_chunk::<16>()?);
                Some(address.to_canonical())
            }
            _ => None,
        };
        if told.is_some() {
            return told;
        }
        // CMSG_ALIGN; no control message is shorter than its header.
        rest = rest.get(length.max(16).next_multiple_of(8)..)?;
    }
}

#[cold]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge: where the kernel gives no time of receipt, it is now"
)]
fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
