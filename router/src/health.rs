//! Which collectors are up.
//!
//! A collector is down when nobody listens on its address, where that is one of this machine's; when its probe fails; or
//! when it refuses datagrams. Of another collector nothing can be known: it counts as up.
//!
//! One that refused is down from that datagram on, and up again when it did not refuse a trial: else what waits
//! for it would be sent to find out that it still refuses, and be lost.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use std::{fs, io, thread};

use crate::config::ProbeUrl;
use crate::routing::{Routing, Seen};

mod listeners;
mod probe;
mod trial;

use listeners::Listeners;
use trial::Trials;

/// How often it is looked who listens.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often collectors are probed.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// So many probes in a row must fail of who has answered before: one may be lost.
const PROBES_FAILED: u32 = 2;

/// Tells incarnations of different targets apart.
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// An address that datagrams go to, and whether somebody is there: shared by all threads.
#[derive(Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    probe: Option<ProbeUrl>,
    id: u32,
    up: AtomicBool,
    /// It is an address of this router's.
    loops: AtomicBool,
    /// How often it came back.
    returns: AtomicU32,
    /// Counted by the threads that send.
    refusals: AtomicU32,
    /// Those that were before it was known to be up: with more, it is down.
    forgiven: AtomicU32,
    /// What [`Health`] remembers: the sockets that listen, mixed into one number.
    sockets: AtomicU64,
    probes_failed: AtomicU32,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, probe: Option<ProbeUrl>) -> Arc<Self> {
        Arc::new(Self {
            address,
            probe,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            up: AtomicBool::new(true),
            loops: AtomicBool::new(false),
            returns: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
            forgiven: AtomicU32::new(0),
            sockets: AtomicU64::new(0),
            // Who never answered is down at the first that fails.
            probes_failed: AtomicU32::new(PROBES_FAILED - 1),
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn probe(&self) -> Option<&ProbeUrl> {
        self.probe.as_ref()
    }

    pub(crate) fn seen(&self) -> Seen {
        let returns = self.returns.load(Ordering::Acquire);
        Seen {
            address: self.address,
            up: self.up.load(Ordering::Acquire) && !self.refuses(),
            loops: self.loops.load(Ordering::Acquire),
            incarnation: u64::from(self.id) << 32 | u64::from(returns),
        }
    }

    /// A datagram was refused: it is down at once.
    pub(crate) fn refuse(&self) {
        self.refusals.fetch_add(1, Ordering::Release);
    }

    /// Whether what is sent to it would come back; returns what was known before.
    pub(crate) fn loop_back(&self, loops: bool) -> bool {
        self.loops.swap(loops, Ordering::AcqRel)
    }

    fn refusals(&self) -> u32 {
        self.refusals.load(Ordering::Acquire)
    }

    fn refuses(&self) -> bool {
        self.refusals() != self.forgiven.load(Ordering::Acquire)
    }

    /// The first so many refusals say nothing any more: it came back since.
    fn forgive(&self, refusals: u32) {
        // Before it can be seen to be up, as in `set`.
        self.returns.fetch_add(1, Ordering::Release);
        self.forgiven.store(refusals, Ordering::Release);
    }

    /// What is known now; `restarted` where others listen than before. A line to log where that changes something.
    pub(crate) fn set(&self, up: bool, restarted: bool) -> Option<&'static str> {
        let was_up = self.up.load(Ordering::Relaxed);
        if up && (!was_up || restarted) {
            // Before `up`: who sees it up sees that it came back.
            self.returns.fetch_add(1, Ordering::Release);
        }
        self.up.store(up, Ordering::Release);
        match (was_up, up) {
            (true, false) => Some("is down"),
            (false, true) => Some("is back"),
            (true, true) if restarted => Some("was started anew"),
            _ => None,
        }
    }
}

/// Looks who listens: on a thread of its own.
#[derive(Debug, Default)]
pub(crate) struct Health {
    trials: Trials,
    /// Where the router listens.
    listen: Vec<SocketAddr>,
}

impl Health {
    /// One that also looks whether a collector's address has become one of these.
    pub(crate) fn listening(listen: Vec<SocketAddr>) -> Self {
        Self {
            listen,
            ..Self::default()
        }
    }

    /// Looks once. `now_us` is of a clock that never goes back.
    pub(crate) fn look<'t>(
        &mut self,
        targets: impl IntoIterator<Item = &'t Arc<Target>>,
        now_us: i64,
    ) {
        self.look_at(targets, Listeners::read().as_ref(), now_us);
    }

    fn look_at<'t>(
        &mut self,
        targets: impl IntoIterator<Item = &'t Arc<Target>>,
        listeners: Option<&Listeners>,
        now_us: i64,
    ) {
        self.trials.begin_look();
        for target in targets {
            let address = target.address;
            let answers = target.probes_failed.load(Ordering::Relaxed) < PROBES_FAILED;
            let mut restarted = false;
            let mut listened = true;
            // Those before it is looked who listens.
            let refusals = target.refusals();
            // Without the list, or on another machine, nothing can be said.
            if let (Some(listeners), true) = (listeners, is_own_address(address.ip())) {
                let sockets = listeners.sockets(address);
                listened = sockets != 0;
                if listened {
                    let before = target.sockets.swap(sockets, Ordering::Relaxed);
                    restarted = before != 0 && before != sockets;
                }
                // Nobody needs to try whether somebody is there.
                if target.refuses() && listened {
                    target.forgive(refusals);
                }
            } else if target.refuses()
                && let Some(forgiven) = self.trials.passed(address, refusals, now_us)
            {
                target.forgive(forgiven);
            }
            let loops = looped(&self.listen, address);
            if let (Some(listen), false) = (loops, target.loop_back(loops.is_some())) {
                tracing::error!(
                    "a loop: {address} is this router's own {listen}: nothing is sent to it"
                );
            }
            let up = listened && answers && loops.is_none() && !target.refuses();
            if let Some(what) = target.set(up, restarted) {
                tracing::info!("collector {address} {what}");
            }
        }
        self.trials.end_look();
    }
}

/// Probes all collectors that have something to ask, at the same time. A name that nobody resolves may take long: not for
/// the thread that looks.
pub(crate) fn probe_all(routing: &Routing) {
    thread::scope(|scope| {
        for target in &routing.targets {
            let Some(url) = &target.probe else { continue };
            let run = move || {
                if probe::is_well(url) {
                    target.probes_failed.store(0, Ordering::Relaxed);
                } else {
                    let failed = target.probes_failed.load(Ordering::Relaxed);
                    let failed = failed.saturating_add(1);
                    target.probes_failed.store(failed, Ordering::Relaxed);
                }
            };
            // Without a thread the last answer stands.
            let _no_thread: io::Result<_> = thread::Builder::new()
                .name("probe".to_owned())
                .spawn_scoped(scope, run);
        }
    });
}

/// Whether an address is one of this machine's. It sends to its own from the same, but for an interface's second of a
/// network.
pub(crate) fn is_own_address(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_own = |source| source == address || can_be_bound(address);
    address.is_loopback() || !address.is_unspecified() && source_to(address).is_some_and(is_own)
}

/// The address from which the system would send to another. `None` where it would not, as to all of a network.
fn source_to(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Sends nothing. Any port will do.
    socket.connect((address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether a socket can be bound to an address. With `ip_nonlocal_bind`, it can to every address, ip-sysctl: that says
/// nothing then.
fn can_be_bound(address: IpAddr) -> bool {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let every = file(&format!("/proc/sys/net/{family}/ip_nonlocal_bind"));
    every.is_some_and(|every| every.trim() == "0") && UdpSocket::bind((address, 0)).is_ok()
}

/// Where a datagram for `target` comes back to, if one of these addresses is listened on.
#[must_use]
pub fn looped(listen: &[SocketAddr], target: SocketAddr) -> Option<SocketAddr> {
    let listen = listen.iter().copied();
    listen
        .filter(|listen| listen.port() == target.port())
        .find(|listen| {
            let address = listen.ip().to_canonical();
            if address.is_unspecified() {
                let reached = address.is_ipv6() || target.ip().to_canonical().is_ipv4();
                reached && is_own_address(target.ip())
            } else {
                address == target.ip().to_canonical()
            }
        })
}

fn file(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

const ANY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

#[cfg(test)]
mod tests;
