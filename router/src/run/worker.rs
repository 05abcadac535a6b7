//! A thread that forwards: from its input to its outlet, until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use forebay_udp::{PacketError, PacketReceiver, ShardReceiver};

use super::{Clock, Shared, lock};
use crate::forwarder::Forwarder;
use crate::outlet::Outlet;

/// How long a receive waits for datagrams before other things are looked after.
const WAIT: Duration = Duration::from_millis(100);
/// The same while a spool is emptied.
const REPLAY_WAIT: Duration = Duration::from_millis(1);
/// How long a thread lets datagrams gather when few came: waking up for each costs more than taking it.
const GATHER: Duration = Duration::from_micros(500);
/// Fewer datagrams than this in one receive are few.
const FEW: usize = 16;
/// The socket buffer from which on datagrams may gather.
const GATHER_BUFFER_BYTES: usize = 8 << 20;
/// How often a thread tells its counters, in microseconds.
const TICK_US: i64 = 250_000;
/// How often it tells those of its exporters, which may be many.
const EXPORTERS_US: i64 = 1_000_000;
/// How often at most a thread logs that sends to an address fail.
const COMPLAIN_US: i64 = 10_000_000;

/// Where datagrams come in.
#[derive(Debug)]
pub enum Input {
    /// Sockets.
    Sockets(ShardReceiver),
    /// Packets as they pass the interfaces. What goes to the collectors is not taken.
    Packets(Box<PacketReceiver>),
}

/// One thread's part. Runs on a thread of its caller's.
#[derive(Debug)]
pub struct Worker {
    forwarder: Forwarder,
    /// Where what an earlier run left will come from.
    found: Option<Receiver<Forwarder>>,
    shared: Arc<Shared>,
    number: usize,
    generation: u64,
    next_tick_us: i64,
    next_exporters_us: i64,
    next_complaint_us: i64,
    /// Failures that were logged.
    complained: Vec<(SocketAddr, u64)>,
    clock: Clock,
}

impl Worker {
    pub(super) const fn new(
        number: usize,
        forwarder: Forwarder,
        found: Option<Receiver<Forwarder>>,
        shared: Arc<Shared>,
        clock: Clock,
    ) -> Self {
        Self {
            forwarder,
            found,
            shared,
            number,
            generation: 0,
            next_tick_us: 0,
            next_exporters_us: 0,
            next_complaint_us: 0,
            complained: Vec::new(),
            clock,
        }
    }

    /// Forwards until [`Control::stop`](super::Control::stop), then what the input still holds.
    ///
    /// # Errors
    ///
    /// The input cannot be read.
    pub fn run(mut self, mut input: Input, mut outlet: impl Outlet) -> io::Result<()> {
        let gathers = input.gathers();
        let mut closed = false;
        let result = loop {
            let stopping = self.shared.control.stopping();
            if stopping && !closed {
                input.close();
                closed = true;
            }
            let wait = match (stopping, self.forwarder.replays()) {
                (true, false) => input.latest(),
                (_, true) => REPLAY_WAIT,
                (false, false) => WAIT,
            };
            let received = match &mut input {
                Input::Sockets(receiver) => receiver
                    .receive(wait)
                    .map(|datagrams| self.forwarder.forward(datagrams, &mut outlet)),
                Input::Packets(receiver) => receiver
                    .receive(wait)
                    .map(|datagrams| self.forwarder.forward(datagrams, &mut outlet)),
            };
            let received = match received {
                Ok(received) => received,
                Err(error) => break Err(error),
            };
            let now_us = (self.clock)();
            self.adopt_new_routing(&mut input);
            self.take_found();
            self.forwarder.tend(now_us, &mut outlet);
            let late = now_us >= self.shared.control.deadline_us.load(Ordering::Relaxed);
            if stopping && (late || received == 0 && !self.forwarder.replays()) {
                break Ok(());
            }
            if now_us >= self.next_tick_us {
                self.next_tick_us = now_us + TICK_US;
                self.tell(&mut input, now_us);
            }
            if gathers && (1..FEW).contains(&received) && !stopping {
                thread::sleep(GATHER);
            }
        };
        self.forwarder.close_spools();
        self.next_exporters_us = 0;
        let now_us = (self.clock)();
        self.tell(&mut input, now_us);
        result
    }

    /// Takes over what an earlier run left, once it is read.
    fn take_found(&mut self) {
        let Some(found) = &self.found else { return };
        match found.try_recv() {
            Ok(found) => self.forwarder.absorb(found),
            Err(TryRecvError::Empty) => return,
            // A panic: it is there at the next start.
            Err(TryRecvError::Disconnected) => self.forwarder.recovery_ended(),
        }
        self.found = None;
    }

    fn adopt_new_routing(&mut self, input: &mut Input) {
        let generation = self.shared.reloads.load(Ordering::Acquire);
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let routing = self.shared.routing();
        // With the ones before: what was sent to them may be on its way in yet.
        let before = self.forwarder.targets().map(|(address, _)| address);
        let exclude: Vec<SocketAddr> = routing.addresses().chain(before).collect();
        match input.exclude(&exclude) {
            Ok(()) => self.forwarder.adopt(routing),
            // It would take in again what it sends.
            Err(error) => tracing::error!("the configuration stays as it was: {error}"),
        }
    }

    fn tell(&mut self, input: &mut Input, now_us: i64) {
        if now_us >= self.next_complaint_us {
            self.next_complaint_us = now_us + COMPLAIN_US;
            self.complain();
        }
        let Some(told) = self.shared.told.get(self.number) else {
            return;
        };
        let mut told = lock(told);
        let forwarder = &self.forwarder;
        told.counters.clone_from(forwarder.counters());
        told.routes.clear();
        told.routes.extend_from_slice(forwarder.routes());
        told.targets.clear();
        let targets = forwarder.targets();
        told.targets
            .extend(targets.map(|(address, counters)| (address, counters.clone())));
        if now_us >= self.next_exporters_us {
            self.next_exporters_us = now_us + EXPORTERS_US;
            told.exporters.clear();
            told.exporters.extend(forwarder.exporters.iter());
            told.others = forwarder.exporters.others();
        }
        told.templates = forwarder.templates.counts();
        told.kernel_drops = input.kernel_drops();
        told.unreadable = input.unreadable();
    }

    /// Logs what could not be sent since the last time.
    fn complain(&mut self) {
        let mut complained = Vec::new();
        for (address, reasons) in self.forwarder.failures() {
            let total = reasons.total();
            let known = self.complained.iter().find(|(known, _)| *known == address);
            let before = known.map_or(0, |(_, count)| *count);
            if total > before {
                let reasons: Vec<&str> = reasons.iter().map(|(reason, _)| reason).collect();
                let (new, reasons) = (total - before, reasons.join(", "));
                tracing::warn!("not sent to {address}: {new} ({reasons})");
            }
            complained.push((address, total));
        }
        self.complained = complained;
    }
}

impl Input {
    /// Whether it holds enough that datagrams may gather in it.
    fn gathers(&self) -> bool {
        match self {
            Self::Sockets(receiver) => receiver.granted_buffer_bytes() >= GATHER_BUFFER_BYTES,
            // The kernel hands packets over in blocks.
            Self::Packets(_) => false,
        }
    }

    /// Lets no more packets into the rings, which would have some in the making at any time. A
    /// socket has none when one receive finds none.
    fn close(&mut self) {
        if let Self::Packets(receiver) = self
            && let Err(error) = receiver.close()
        {
            tracing::error!("packets are taken until the end: {error}");
        }
    }

    /// How long after it came a datagram can be received, at the latest.
    fn latest(&self) -> Duration {
        match self {
            Self::Sockets(_) => Duration::ZERO,
            Self::Packets(_) => PacketReceiver::LATEST,
        }
    }

    fn kernel_drops(&mut self) -> u64 {
        match self {
            Self::Sockets(receiver) => receiver.kernel_drops(),
            Self::Packets(receiver) => receiver.kernel_drops(),
        }
    }

    fn unreadable(&self) -> Vec<(&'static str, u64)> {
        match self {
            Self::Sockets(receiver) => vec![("truncated", receiver.truncated())],
            Self::Packets(receiver) => {
                let counts = receiver.counts();
                vec![
                    ("malformed", counts.malformed),
                    ("truncated", counts.truncated),
                    ("checksum", counts.checksum),
                    ("fragments_malformed", counts.fragments_malformed),
                    ("fragments_expired", counts.fragments_expired),
                    ("fragments_over_limit", counts.fragments_over_limit),
                ]
            }
        }
    }

    /// Takes nothing that is sent to these addresses.
    fn exclude(&mut self, addresses: &[SocketAddr]) -> Result<(), PacketError> {
        match self {
            Self::Sockets(_) => Ok(()),
            Self::Packets(receiver) => receiver.set_exclude(addresses),
        }
    }
}
