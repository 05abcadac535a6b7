//! A router at work: a thread for each shard of the input forwards, one looks who listens, and one probes.
//!
//! A configuration is checked whole, then put where the threads find it between two batches.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use forebay_udp::{PacketError, PacketReceiver, ShardReceiver};
use thiserror::Error;

use crate::config::{Config, ConfigError, Limits};
use crate::forwarder::{Forwarder, recover};
use crate::health::{Health, LOOK_INTERVAL, PROBE_INTERVAL, Target, probe_all};
use crate::outlet::Outlet;
use crate::routing::Routing;
use crate::spool::{SpoolError, SpoolLock, SpoolOptions, Used, leftovers};
use crate::status::{Status, ThreadStatus};

/// Tells the time, in microseconds since whenever. It must never go back, as the time of day may: what is to be done in a
/// quarter of a second would wait for an hour.
pub type Clock = fn() -> i64;

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

/// Why a router does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// What waits for collectors has no place.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The system has no thread for it.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Why a configuration is not taken over.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// It makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What waits for collectors has no place.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Tells threads what to do.
#[derive(Debug)]
pub struct Control {
    stop: AtomicBool,
    deadline_us: AtomicI64,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            stop: AtomicBool::new(false),
            deadline_us: AtomicI64::new(i64::MAX),
        }
    }
}

impl Control {
    /// Ends receiving; what has come is sent on until `deadline_us`.
    pub fn stop(&self, deadline_us: i64) {
        self.deadline_us.store(deadline_us, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What threads share: looked at between batches.
#[derive(Debug)]
struct Shared {
    control: Arc<Control>,
    routing: Mutex<Arc<Routing>>,
    /// How often it was replaced.
    reloads: AtomicU64,
    reloads_failed: AtomicU64,
    told: Vec<Mutex<ThreadStatus>>,
    /// The threads that look after collectors end.
    ended: AtomicBool,
}

impl Shared {
    fn routing(&self) -> Arc<Routing> {
        Arc::clone(&lock(&self.routing))
    }

    fn status(&self) -> Status {
        let routing = self.routing();
        let seen = routing.targets.iter().map(|target| target.seen());
        Status {
            threads: self.told.iter().map(|told| lock(told).clone()).collect(),
            up: seen.map(|seen| (seen.address, seen.up)).collect(),
            reloads: self.reloads.load(Ordering::Relaxed),
            reloads_failed: self.reloads_failed.load(Ordering::Relaxed),
        }
    }
}

/// What a router is told that stays the same while it runs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How much each thread keeps of what the network sends.
    pub limits: Limits,
    /// The folder of what waits for collectors that are down. It is made when a route asks for it.
    pub spool: PathBuf,
    /// Bytes that may wait there for each collector. Default 1 GiB.
    pub spool_bytes: u64,
    /// How many threads forward.
    pub threads: usize,
    /// Where the sockets listen: a collector whose address becomes one of these is down.
    pub listen: Vec<SocketAddr>,
}

/// A router: threads that look after the collectors, and what all share.
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    setup: Setup,
    spool: Mutex<Option<SpoolLock>>,
    helpers: Mutex<Vec<JoinHandle<()>>>,
}

/// One thread's part. Runs on a thread of its caller's.
#[derive(Debug)]
pub struct Worker {
    forwarder: Forwarder,
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

impl Router {
    /// Looks which collectors are up, finds what an earlier run left to be sent, and makes the threads' parts.
    ///
    /// # Errors
    ///
    /// The spool's folder cannot be used, or a thread not be started.
    pub fn start(
        routing: Routing,
        setup: Setup,
        clock: Clock,
    ) -> Result<(Self, Vec<Worker>), StartError> {
        let routing = Arc::new(routing);
        let mut health = Health::listening(setup.listen.clone());
        probe_all(&routing);
        health.look(&routing.targets, clock());
        let spool = routing
            .uses_spool()
            .then(|| SpoolLock::take(&setup.spool))
            .transpose()?;
        // Where no route asks for it now, a reload may: new files must not take the names of those that are there.
        let found = match leftovers(&setup.spool) {
            Err(_) if spool.is_none() => Vec::new(),
            found => found?,
        };
        let first = found.iter().map(|left| left.number + 1).max().unwrap_or(0);
        let next = Arc::new(AtomicU64::new(first));
        let used: Arc<Used> = Arc::default();
        let threads = setup.threads.max(1);
        let mut forwarders: Vec<Forwarder> = (0..threads)
            .map(|thread| {
                let options = SpoolOptions {
                    folder: setup.spool.clone(),
                    bytes: setup.spool_bytes,
                    used: Arc::clone(&used),
                    thread,
                    threads,
                    next: Arc::clone(&next),
                };
                Forwarder::with_spool(Arc::clone(&routing), setup.limits, options)
            })
            .collect();
        if spool.is_some() {
            recover(&setup.spool, &found, &mut forwarders);
        }
        let shared = Arc::new(Shared {
            control: Arc::default(),
            routing: Mutex::new(routing),
            reloads: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            told: (0..threads).map(|_| Mutex::default()).collect(),
            ended: AtomicBool::new(false),
        });
        let looks = {
            let shared = Arc::clone(&shared);
            move || {
                while !shared.ended.load(Ordering::Relaxed) {
                    health.look(&shared.routing().targets, clock());
                    thread::park_timeout(LOOK_INTERVAL);
                }
            }
        };
        let probes = {
            let shared = Arc::clone(&shared);
            move || {
                while !shared.ended.load(Ordering::Relaxed) {
                    thread::park_timeout(PROBE_INTERVAL);
                    probe_all(&shared.routing());
                }
            }
        };
        let helpers = vec![
            thread::Builder::new()
                .name("health".to_owned())
                .spawn(looks)?,
            thread::Builder::new()
                .name("probes".to_owned())
                .spawn(probes)?,
        ];
        let workers = forwarders
            .into_iter()
            .enumerate()
            .map(|(number, forwarder)| Worker {
                forwarder,
                shared: Arc::clone(&shared),
                number,
                generation: 0,
                next_tick_us: 0,
                next_exporters_us: 0,
                next_complaint_us: 0,
                complained: Vec::new(),
                clock,
            });
        let workers = workers.collect();
        let router = Self {
            shared,
            setup,
            spool: Mutex::new(spool),
            helpers: Mutex::new(helpers),
        };
        Ok((router, workers))
    }

    /// Goes on with another configuration, from the next batch on.
    ///
    /// # Errors
    ///
    /// The configuration makes no sense, or the spool's folder cannot be used: the one before stays.
    pub fn reload(&self, config: &Config) -> Result<(), ReloadError> {
        let result = self.try_reload(config);
        if result.is_err() {
            self.refuse_reload();
        }
        result
    }

    /// Counts a configuration that was refused before it came here.
    pub fn refuse_reload(&self) {
        self.shared.reloads_failed.fetch_add(1, Ordering::Relaxed);
    }

    fn try_reload(&self, config: &Config) -> Result<(), ReloadError> {
        let running = self.shared.routing();
        let routing = Routing::new(config, Some(&running))?;
        let mut spool = lock(&self.spool);
        if routing.uses_spool() && spool.is_none() {
            *spool = Some(SpoolLock::take(&self.setup.spool)?);
        }
        // Collectors that are new may be down; the others are looked after.
        let is_new = |target: &&Arc<Target>| {
            let mut known = running.targets.iter();
            !known.any(|known| Arc::ptr_eq(known, target))
        };
        Health::default().look(routing.targets.iter().filter(is_new), 0);
        *lock(&self.shared.routing) = Arc::new(routing);
        self.shared.reloads.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// What to tell the threads through.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.shared.control)
    }

    /// A way to read the status from another thread.
    pub fn watch(&self) -> impl Fn() -> Status + Send + Sync + Clone + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.status()
    }

    /// What the router is doing.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Ends the threads that look after collectors: those that forward have ended before.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for helper in lock(&self.helpers).drain(..) {
            helper.thread().unpark();
            // A panic is a bug of ours and was reported by its thread.
            let _panicked = helper.join();
        }
    }
}

impl Worker {
    /// Forwards until [`Control::stop`], then what the input still holds.
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
        self.next_exporters_us = 0;
        let now_us = (self.clock)();
        self.tell(&mut input, now_us);
        result
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

/// A panic in another thread leaves what it told as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
