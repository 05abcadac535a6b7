//! A shard's end of the rings.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::slice;
use std::time::Duration;

use socket2::Socket;

use super::block::Place;
use super::filter::Wanted;
use super::sieve::{Located, PacketCounts, Sieve};
use super::{PacketError, RETIRE, check_length, system};
use crate::sys::{self, RingMemory};
use crate::{Datagram, bpf};

/// Datagrams that are handed over at a time.
const BATCH: usize = 64;
/// Blocks taken from one ring before the other is looked at.
const BLOCKS_PER_TURN: u32 = 4;
/// Blocks in which nothing is wanted that are read at a time.
const BLOCKS_FOR_NOTHING: u32 = 16;

/// Receives the packets of one shard: from a ring for IPv4, one for IPv6, or both.
///
/// ```no_run
/// # use std::time::Duration;
/// # use forebay_udp::{PacketOptions, PacketRing, wildcard};
/// let options = PacketOptions {
///     interfaces: Vec::new(),
///     listen: vec![wildcard(2055)],
///     exclude: vec!["192.0.2.9:2055".parse()?],
///     shards: 1,
///     ring_bytes: 64 << 20,
/// };
/// for mut receiver in PacketRing::open(&options)? {
///     for datagram in receiver.receive(Duration::from_millis(100))? {
///         println!("{}: {} bytes", datagram.source, datagram.payload.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PacketReceiver {
    rings: Vec<Ring>,
    poll: Vec<libc::pollfd>,
    /// The ring to ask next, and how many blocks it gave in this turn.
    turn: usize,
    blocks_in_turn: u32,
    sieve: Sieve,
    found: Vec<Located>,
    /// Nothing more is taken in, whatever is wanted.
    closed: bool,
}

/// One protocol's packets.
pub(super) struct Ring {
    socket: Socket,
    memory: RingMemory,
    ipv6: bool,
    /// The block that is read, and where, once it has been looked at.
    block: usize,
    place: Option<Place>,
    drops: u64,
}

impl PacketReceiver {
    /// How long after it came a packet is there, at the latest: five times as long as the kernel
    /// is asked to wait for more, for its timers are coarse.
    pub const LATEST: Duration = RETIRE.saturating_mul(5);

    /// Opens the rings to what is wanted.
    pub(super) fn new(rings: Vec<Ring>, wanted: Wanted) -> Result<Self, PacketError> {
        let receiver = Self {
            poll: rings
                .iter()
                .map(|ring| libc::pollfd {
                    fd: ring.socket.as_raw_fd(),
                    events: libc::POLLIN,
                    revents: 0,
                })
                .collect(),
            rings,
            turn: 0,
            blocks_in_turn: 0,
            sieve: Sieve::new(wanted),
            found: Vec::with_capacity(BATCH),
            closed: false,
        };
        receiver.attach(&receiver.sieve.wanted)?;
        Ok(receiver)
    }

    /// Takes up to 64 datagrams, waiting for the first at most `wait` (in whole milliseconds,
    /// rounded up). None come when the time is up, when a signal interrupts the wait, or when no
    /// packet that was looked at held a datagram that is wanted: at most 8 MiB of them are looked
    /// at, so that the caller has its turn whatever comes; all of them after
    /// [`close`](Self::close).
    ///
    /// A packet is there a few milliseconds after it came, or sooner where there are many.
    ///
    /// # Errors
    ///
    /// The system refuses to wait, or tells an error of a socket.
    pub fn receive(&mut self, wait: Duration) -> io::Result<PacketDatagrams<'_>> {
        self.found.clear();
        self.sieve.assembled.clear();
        for ring in &mut self.rings {
            ring.release_if_read();
        }
        let mut from = self.fill();
        while from.is_none() && self.poll(wait)? {
            from = self.fill();
            // Once closed there is an end of it, and none must mean that it is reached.
            if !self.closed {
                break;
            }
        }
        let block = from
            .and_then(|ring| self.rings.get(ring))
            .and_then(|ring| ring.memory.block(ring.block));
        Ok(PacketDatagrams {
            found: self.found.iter(),
            block: block.unwrap_or_default(),
            assembled: &self.sieve.assembled,
        })
    }

    /// Packets that the rings had no room for: exact at the time of the call, and one system call
    /// per ring.
    pub fn kernel_drops(&mut self) -> u64 {
        for ring in &mut self.rings {
            // It is a packet socket with a ring: it cannot fail.
            if let Ok(drops) = sys::ring_drops(ring.socket.as_fd()) {
                ring.drops += u64::from(drops);
            }
        }
        self.rings.iter().map(|ring| ring.drops).sum()
    }

    /// What became of the packets so far.
    #[must_use]
    pub fn counts(&self) -> PacketCounts {
        self.sieve.counts()
    }

    /// Leaves out other destinations than before; what is in the ring already, too.
    ///
    /// # Errors
    ///
    /// There are more than the kernel's filter holds, or the system refuses it: all is as it was
    /// then.
    pub fn set_exclude(&mut self, exclude: &[SocketAddr]) -> Result<(), PacketError> {
        let now = &self.sieve.wanted;
        let wanted = Wanted::new(now.interfaces.clone(), &now.listen, exclude);
        check_length(&wanted)?;
        if let Err(error) = self.attach(&wanted) {
            // The rings before the one that failed have the new filter: they are given the old
            // one again. Here too the first error ends it, at that same ring.
            let _same = self.attach(&self.sieve.wanted);
            return Err(error);
        }
        self.sieve.wanted = wanted;
        Ok(())
    }

    /// Takes in no more packets. What came before is there for [`receive`](Self::receive): all of
    /// it, once one that waits [`LATEST`](Self::LATEST) gives none.
    ///
    /// # Errors
    ///
    /// The system refuses it.
    pub fn close(&mut self) -> Result<(), PacketError> {
        self.closed = true;
        self.attach(&self.sieve.wanted)
    }

    /// Gives the rings the filter of what is wanted.
    fn attach(&self, wanted: &Wanted) -> Result<(), PacketError> {
        for ring in &self.rings {
            let program = match ring.ipv6 {
                _ if self.closed => bpf::closed_program().to_vec(),
                true => wanted.ipv6_program(),
                false => wanted.ipv4_program(),
            };
            sys::attach_filter(&ring.socket, libc::SO_ATTACH_FILTER, &program)
                .map_err(system("SO_ATTACH_FILTER"))?;
        }
        Ok(())
    }

    /// Reads packets of the first ring that has some, in turns; returns which, if there were
    /// datagrams in them. There may be more packets if there were none.
    fn fill(&mut self) -> Option<usize> {
        let count = self.rings.len();
        let mut idle = 0;
        let mut for_nothing = 0;
        while idle < count && for_nothing < BLOCKS_FOR_NOTHING {
            let turn = self.turn % count;
            let ring = self.rings.get_mut(turn)?;
            let ready = ring.memory.block(ring.block).is_some();
            if !ready || self.blocks_in_turn >= BLOCKS_PER_TURN {
                self.turn = turn + 1;
                self.blocks_in_turn = 0;
                idle += usize::from(!ready);
                continue;
            }
            idle = 0;
            ring.read(&mut self.sieve, &mut self.found);
            self.blocks_in_turn += u32::from(ring.is_read());
            if !self.found.is_empty() {
                return Some(turn);
            }
            // Nothing refers to the block.
            ring.release_if_read();
            for_nothing += 1;
        }
        None
    }

    /// Waits until a ring has packets; returns whether one does.
    fn poll(&mut self, wait: Duration) -> io::Result<bool> {
        let ready = match sys::poll(&mut self.poll, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            result => result? > 0,
        };
        for (ring, poll) in self.rings.iter().zip(&self.poll) {
            if poll.revents & libc::POLLERR != 0
                && let Some(error) = ring.socket.take_error()?
            {
                return Err(error);
            }
        }
        Ok(ready)
    }
}

impl fmt::Debug for PacketReceiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PacketReceiver")
            .field("wanted", &self.sieve.wanted)
            .finish_non_exhaustive()
    }
}

impl Ring {
    pub(super) fn new(socket: Socket, memory: RingMemory, ipv6: bool) -> Self {
        Self {
            socket,
            memory,
            ipv6,
            block: 0,
            place: None,
            drops: 0,
        }
    }

    /// Reads packets, until there are as many datagrams as are handed over at a time, or the
    /// block is at its end.
    fn read(&mut self, sieve: &mut Sieve, found: &mut Vec<Located>) {
        let Some(block) = self.memory.block(self.block) else {
            return;
        };
        let place = self.place.get_or_insert_with(|| Place::first(block));
        while place.left > 0 && found.len() < BATCH {
            match place.next(block) {
                Some(packet) => found.extend(sieve.take(&packet)),
                None => sieve.lose(std::mem::take(&mut place.left)),
            }
        }
    }

    fn is_read(&self) -> bool {
        matches!(self.place, Some(Place { left: 0, .. }))
    }

    /// Gives the block back, once nothing refers to it.
    fn release_if_read(&mut self) {
        if self.is_read() {
            self.memory.release(self.block);
            self.block = (self.block + 1) % self.memory.blocks();
            self.place = None;
        }
    }
}

/// The datagrams of one [`PacketReceiver::receive`].
#[derive(Clone)]
pub struct PacketDatagrams<'a> {
    found: slice::Iter<'a, Located>,
    block: &'a [u8],
    assembled: &'a [u8],
}

impl<'a> Iterator for PacketDatagrams<'a> {
    type Item = Datagram<'a>;

    #[inline]
    fn next(&mut self) -> Option<Datagram<'a>> {
        let located = self.found.next()?;
        let bytes = if located.assembled {
            self.assembled
        } else {
            self.block
        };
        Some(Datagram {
            source: located.source,
            destination: located.destination,
            received_ns: located.received_ns,
            payload: bytes.get(located.payload.clone()).unwrap_or_default(),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.found.size_hint()
    }
}

impl ExactSizeIterator for PacketDatagrams<'_> {}

impl fmt::Debug for PacketDatagrams<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.clone()).finish()
    }
}
