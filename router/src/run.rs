//! A router at work: a thread for each shard of the input forwards, one looks who listens, and one probes.
//!
//! A configuration is checked whole, then put where the threads find it between two batches.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use thiserror::Error;

use crate::config::{Config, ConfigError, Limits};
use crate::health::{Health, LOOK_INTERVAL, PROBE_INTERVAL, Target, probe_all};
use crate::routing::Routing;
use crate::spool::{SpoolError, SpoolLock};
use crate::status::{Status, ThreadStatus};

mod left;
mod worker;

use left::Left;
pub use worker::{Input, Worker};

/// Tells the time, in microseconds since whenever. It must never go back, as the time of day may: what is to be done in a
/// quarter of a second would wait for an hour.
pub type Clock = fn() -> i64;

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
    fn new(routing: Arc<Routing>, threads: usize) -> Self {
        Self {
            control: Arc::default(),
            routing: Mutex::new(routing),
            reloads: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            told: (0..threads.max(1)).map(|_| Mutex::default()).collect(),
            ended: AtomicBool::new(false),
        }
    }

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

impl Router {
    /// Looks which collectors are up, and makes the threads' parts. What an earlier run left to be sent is read meanwhile.
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
        let health = look_once(&routing, &setup, clock());
        let spool = routing
            .uses_spool()
            .then(|| SpoolLock::take(&setup.spool))
            .transpose()?;
        let left = Left::find(&setup, spool.is_some())?;
        let mut forwarders = left.forwarders(&routing, &setup);
        let shared = Arc::new(Shared::new(routing, setup.threads));
        let mut helpers = vec![
            spawn("health", look_on(&shared, health, clock))?,
            spawn("probes", probe_on(&shared))?,
        ];
        let mut found = Vec::new();
        if spool.is_some() && !left.files.is_empty() {
            let (recovery, parts) = left.recovery(&shared.routing(), &setup, &mut forwarders);
            helpers.push(spawn("recovery", recovery)?);
            found = parts;
        }
        let mut found = found.into_iter();
        let workers = forwarders.into_iter().enumerate();
        let workers = workers.map(|(number, forwarder)| {
            Worker::new(number, forwarder, found.next(), Arc::clone(&shared), clock)
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
        Health::listening(self.setup.listen.clone()).look(routing.targets.iter().filter(is_new), 0);
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

/// Looks which collectors are up, before anything is sent to them.
fn look_once(routing: &Routing, setup: &Setup, now_us: i64) -> Health {
    let mut health = Health::listening(setup.listen.clone());
    probe_all(routing);
    health.look(&routing.targets, now_us);
    health
}

/// Looks who listens, until the router ends.
fn look_on(shared: &Arc<Shared>, mut health: Health, clock: Clock) -> impl FnOnce() + use<> {
    let shared = Arc::clone(shared);
    move || {
        while !shared.ended.load(Ordering::Relaxed) {
            health.look(&shared.routing().targets, clock());
            thread::park_timeout(LOOK_INTERVAL);
        }
    }
}

/// Probes, until the router ends.
fn probe_on(shared: &Arc<Shared>) -> impl FnOnce() + use<> {
    let shared = Arc::clone(shared);
    move || {
        while !shared.ended.load(Ordering::Relaxed) {
            thread::park_timeout(PROBE_INTERVAL);
            probe_all(&shared.routing());
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// A panic in another thread leaves what it told as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
