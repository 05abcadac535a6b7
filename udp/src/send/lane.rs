//! The packets that wait for the next system call, of one socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use socket2::Socket;

use crate::sys::{self, BATCH, Slot};

/// How long one call of a sender waits, in all, for room in the socket's buffer or in the
/// interface's queue.
const PATIENCE: Duration = Duration::from_millis(20);
/// The first pause; each one after is twice as long.
const PAUSE: Duration = Duration::from_micros(100);

/// What the senders ask for, for each socket: many batches of long datagrams.
pub(super) const SEND_BUFFER_BYTES: libc::c_int = 4 << 20;

/// A socket and the beginnings of the packets that are to go out by it.
pub(super) struct Lane {
    pub(super) socket: Socket,
    slots: Box<[Slot; BATCH]>,
}

/// A batch in the making. It borrows the payloads, which a [`Lane`] outlives.
pub(super) struct Batch<'l, 'a> {
    lane: &'l mut Lane,
    payloads: [&'a [u8]; BATCH],
    count: usize,
    /// The datagram that failed or was dealt with last: what else there is of it is not sent.
    done: Option<usize>,
}

/// How long a call may wait yet.
pub(super) struct Patience {
    left: Duration,
    pause: Duration,
}

/// What to do about a packet that was refused.
pub(super) enum Refused {
    /// Send it again.
    Again,
    /// Its datagram has been dealt with: all of it.
    Settled,
    /// Its datagram has failed.
    Failed(io::Error),
}

impl Lane {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            slots: Box::new([Slot::EMPTY; BATCH]),
        }
    }

    pub(super) fn batch<'a>(&mut self) -> Batch<'_, 'a> {
        Batch {
            lane: self,
            payloads: [&[]; BATCH],
            count: 0,
            done: None,
        }
    }
}

impl<'a> Batch<'_, 'a> {
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.lane.socket.as_fd()
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == BATCH
    }

    /// Whether the datagram failed, or was dealt with, before all of its packets were here.
    pub(super) fn is_done(&self, index: usize) -> bool {
        self.done == Some(index)
    }

    /// Adds a packet, if `write` makes one; there must be room.
    #[inline]
    pub(super) fn push(
        &mut self,
        index: usize,
        destination: SocketAddr,
        write: impl FnOnce(&mut Slot) -> Option<&'a [u8]>,
    ) -> bool {
        let room = (
            self.lane.slots.get_mut(self.count),
            self.payloads.get_mut(self.count),
        );
        let (Some(slot), Some(payload)) = room else {
            return false;
        };
        let Some(rest) = write(slot) else {
            return false;
        };
        slot.index = index;
        slot.set_name(destination);
        *payload = rest;
        self.count += 1;
        true
    }

    /// Sends what is here. `refused` decides about every packet that the system does not take,
    /// and `failed` is told of every datagram that did not go. Returns whether any call ended
    /// before all was sent: the error that ended it is lost then.
    pub(super) fn flush(
        &mut self,
        patience: &mut Patience,
        mut refused: impl FnMut(BorrowedFd<'_>, usize, io::Error) -> Refused,
        failed: &mut impl FnMut(usize, io::Error),
    ) -> bool {
        let mut at = 0;
        let mut cut_short = false;
        while at < self.count {
            let slots = self.lane.slots.get(at..self.count).unwrap_or_default();
            let payloads = self.payloads.get(at..self.count).unwrap_or_default();
            let Some(index) = slots.first().map(|slot| slot.index) else {
                break;
            };
            if self.done == Some(index) {
                at += slots.iter().take_while(|slot| slot.index == index).count();
                continue;
            }
            let error = match sys::send_slots(self.lane.socket.as_fd(), slots, payloads) {
                Ok(sent) => {
                    at += sent;
                    cut_short |= sent < slots.len();
                    continue;
                }
                Err(error) => error,
            };
            if patience.allows(&error) {
                continue;
            }
            match refused(self.lane.socket.as_fd(), index, error) {
                Refused::Again => {}
                Refused::Settled => self.done = Some(index),
                Refused::Failed(error) => {
                    self.done = Some(index);
                    failed(index, error);
                }
            }
        }
        self.count = 0;
        cut_short
    }
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            left: PATIENCE,
            pause: PAUSE,
        }
    }

    /// Whether to try again after this error; waits where that makes sense.
    #[cold]
    pub(super) fn allows(&mut self, error: &io::Error) -> bool {
        match error.raw_os_error() {
            Some(libc::EINTR) => true,
            // The socket's buffer; the interface's queue, of which nothing tells that it has
            // room again.
            Some(libc::EAGAIN | libc::ENOBUFS) if !self.left.is_zero() => {
                let pause = self.pause.min(self.left);
                thread::sleep(pause);
                self.left -= pause;
                self.pause *= 2;
                true
            }
            _ => false,
        }
    }
}
