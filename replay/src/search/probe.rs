//! What a collector has counted so far, however it can be asked.

use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

mod command;
mod http;
mod kernel;

/// A way to ask a collector, and what must be remembered from one time to the next.
#[derive(Debug)]
pub struct Probe {
    kind: Kind,
    /// How long asking may take.
    limit: Duration,
}

#[derive(Debug)]
enum Kind {
    Kernel(kernel::Sockets),
    Http(String),
    Command(String),
}

/// What a probe counts. All but drops should grow by what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Data records that the collector has decoded.
    ReceivedRecords,
    /// Data records that it has stored.
    StoredRecords,
    /// Datagrams that a router has taken.
    ReceivedDatagrams,
    /// Datagrams that a router has passed on.
    ForwardedDatagrams,
    /// Datagrams that the kernel dropped because the collector did not take them in time.
    DroppedDatagrams,
}

/// A number that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// What is counted.
    pub of: Counted,
    /// How many so far.
    pub count: u64,
}

/// What a probe says at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The counts, always the same in the same order.
    pub counts: Vec<Count>,
    /// What waits in the sockets' buffers, as the kernel accounts it, where that is known.
    pub waiting_bytes: Option<u64>,
}

/// A probe that does not answer, or not with counts.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// Nobody has that port.
    #[error(
        "probe kernel:{port}: no UDP socket has port {port}: is the collector running on this host, in this network \
         namespace?"
    )]
    NoSocket {
        /// The port.
        port: u16,
    },
    /// A socket whose drops were counted is closed.
    #[error(
        "probe kernel:{port}: the collector has closed its socket: did it end, or start again?"
    )]
    SocketClosed {
        /// The port.
        port: u16,
    },
    /// The kernel's table cannot be read.
    #[error("probe kernel:{port}: cannot read {path}: {source}")]
    Table {
        /// The port.
        port: u16,
        /// The table.
        path: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The status endpoint does not answer.
    #[error(
        "probe {url}: {source}: is a collector or router running with --http, and does it answer in time?"
    )]
    Http {
        /// The page.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// It answers with something else than counts.
    #[error(
        "probe {url}: the answer is not a collector's or router's: it has no number at {missing}"
    )]
    NoStats {
        /// The page.
        url: String,
        /// Where a number should be.
        missing: &'static str,
    },
    /// The shell cannot be started.
    #[error("probe command:{command}: cannot start sh: {source}")]
    Start {
        /// The command.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The command says that it failed.
    #[error("probe command:{command}: it failed ({status}){told}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The first line that it wrote to standard error, after a colon.
        told: String,
    },
    /// The command takes too long, or leaves something behind that does.
    #[error("probe command:{command}: no answer within {} s: it was killed; --probe-timeout gives it longer", limit.as_secs_f64())]
    Hangs {
        /// The command.
        command: String,
        /// How long it had.
        limit: Duration,
    },
    /// The command prints something else than a count.
    #[error(
        "probe command:{command}: it printed \"{printed}\": it must print one whole number, the count of records so far"
    )]
    NoCount {
        /// The command.
        command: String,
        /// The beginning of what it printed.
        printed: String,
    },
    /// A count is lower than it was.
    #[error(
        "probe {probe}: its count went back from {before} to {after}: did the collector start again?"
    )]
    WentBack {
        /// The probe.
        probe: String,
        /// The earlier count.
        before: u64,
        /// The later count.
        after: u64,
    },
    /// The search was interrupted while the probe was asked.
    #[error("interrupted")]
    Interrupted,
}

impl Probe {
    /// Drops of all UDP sockets of this host with that port.
    #[must_use]
    pub fn kernel(port: u16) -> Self {
        Self {
            kind: Kind::Kernel(kernel::Sockets::new(port)),
            limit: Duration::MAX,
        }
    }

    /// `/stats` of our collector or router, at an address such as `http://127.0.0.1:9180`.
    #[must_use]
    pub fn http(url: &str, limit: Duration) -> Self {
        Self {
            kind: Kind::Http(http::with_path(url)),
            limit,
        }
    }

    /// A shell command that prints the count of records stored so far.
    #[must_use]
    pub fn command(command: &str, limit: Duration) -> Self {
        Self {
            kind: Kind::Command(command.to_owned()),
            limit,
        }
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// There is no answer in time, or another than counts.
    pub fn read(&mut self, stop: &AtomicBool) -> Result<Reading, ProbeError> {
        match &mut self.kind {
            Kind::Kernel(sockets) => sockets.read(),
            Kind::Http(url) => http::read(url, self.limit, stop),
            Kind::Command(command) => command::read(command, self.limit, stop),
        }
    }
}

/// As it is asked for.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Kernel(sockets) => write!(f, "kernel:{}", sockets.port()),
            Kind::Http(url) => f.write_str(url),
            Kind::Command(command) => write!(f, "command:{command}"),
        }
    }
}
