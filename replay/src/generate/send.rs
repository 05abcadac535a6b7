//! Generated traffic sent to a collector.
//!
//! ```text
//! Generator ─► burst of one exporter ─► its own socket, bound to its own address ─► target
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::Generator;
use super::config::{ConfigError, GenerateConfig};
use super::truth::Truth;

mod transmitter;

use transmitter::{Burst, Transmitter};

/// The most messages of a burst that are sent at once.
const MAX_BURST: usize = 64;

/// How fast to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as one thread can.
    Flood,
    /// So many flows a second in the mean, kept up by sleeping for milliseconds.
    FlowsPerSec(f64),
}

/// How far generating or sending has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages done with.
    pub datagrams: u64,
    /// Flows done with.
    pub flows: u64,
    /// Flows in all.
    pub of_flows: u64,
}

/// What became of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SendReport {
    /// Messages sent.
    pub datagrams: u64,
    /// Their bytes.
    pub datagram_bytes: u64,
    /// Their flows.
    pub flows: u64,
    /// Messages that the system refused to send. The truth counts them all the same.
    pub unsent_datagrams: u64,
    /// Their flows.
    pub unsent_flows: u64,
    /// How many times the system refused. Refused connections say that nobody listens at the target.
    pub send_errors: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl SendReport {
    /// Flows sent a second.
    #[must_use]
    pub fn flows_per_sec(&self) -> f64 {
        self.flows as f64 / self.elapsed.as_secs_f64()
    }
}

/// What was generated, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// What was generated, with the ports that it was sent from.
    pub truth: Truth,
    /// What became of it.
    pub report: SendReport,
}

/// Why nothing is sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// It cannot be generated.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The exporters' addresses begin on loopback and end elsewhere.
    #[error(
        "{exporters} exporters reach from {first} to {last}, beyond 127.255.255.254, where loopback ends: begin lower \
         or step less"
    )]
    BeyondLoopback {
        /// How many exporters.
        exporters: usize,
        /// The first one's address.
        first: IpAddr,
        /// The last one's address.
        last: IpAddr,
    },
    /// Exporters and target are not of one address family.
    #[error(
        "exporter {from} cannot send to {target}: one is IPv4 and the other IPv6; choose exporters' addresses of this \
         machine of the target's family: --first-exporter or --exporter-list"
    )]
    Families {
        /// An exporter's address.
        from: IpAddr,
        /// Where to.
        target: SocketAddr,
    },
    /// No rate to send at.
    #[error("{flows_per_sec} flows a second is no pace: give more than 0")]
    Pace {
        /// What was asked for.
        flows_per_sec: f64,
    },
    /// More files would have to be open than the system allows: each exporter has a socket.
    #[error(
        "exporter {index} of {exporters} gets no socket: {source}; each exporter takes one: raise the limit \
         (`ulimit -n`) or have fewer exporters"
    )]
    TooManyFiles {
        /// The exporter, counted from 1.
        index: usize,
        /// How many there are.
        exporters: usize,
        /// What the system said.
        source: io::Error,
    },
    /// An exporter's address cannot be sent from.
    #[error(
        "cannot send from {from} to {target}: {source}; exporters send from addresses of this machine, such as \
         127.0.1.1: from any other, replay a capture of them (--output), which takes CAP_NET_RAW"
    )]
    Bind {
        /// The exporter's address.
        from: SocketAddr,
        /// Where to.
        target: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Sends the traffic to `target` while generating it, each exporter's from its own address: all of it, or until `stop`.
///
/// Each exporter takes an open file, and its address must be one of this machine's, as all of 127.0.0.0/8 are.
///
/// # Errors
///
/// The configuration cannot be generated, or an exporter's address cannot be sent from. A message that cannot be sent
/// is counted in the report instead.
pub fn to_socket(
    config: GenerateConfig,
    target: SocketAddr,
    pace: Pace,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Sent, SendError> {
    let mut generator = Generator::new(config)?;
    let mut transmitter = Transmitter::bind(&generator, target, pace)?;
    let mut burst = Burst::default();
    let mut payload = Vec::new();
    transmitter.start();
    while !stop.load(Ordering::Relaxed)
        && let Some(message) = generator.next_message(&mut payload)
    {
        if burst.len == MAX_BURST || message.exporter != burst.exporter {
            burst.send(&mut transmitter, stop, progress);
            burst.exporter = message.exporter;
        }
        burst.push(&mut payload, message.flows);
    }
    burst.send(&mut transmitter, stop, progress);
    Ok(transmitter.finish(generator.truth(), progress))
}

/// Traffic in memory, so that generating it takes no time while it is sent.
#[derive(Debug)]
pub struct Prepared {
    generator: Generator,
    payloads: Vec<u8>,
    messages: Vec<PreparedMessage>,
}

#[derive(Debug, Clone, Copy)]
struct PreparedMessage {
    /// Where the payload ends; it begins where the one before ends.
    end: usize,
    exporter: u32,
    flows: u32,
}

impl Prepared {
    /// Generates all messages. They take about 55 bytes a flow.
    ///
    /// # Errors
    ///
    /// The configuration cannot be generated.
    pub fn new(config: GenerateConfig) -> Result<Self, ConfigError> {
        let mut generator = Generator::new(config)?;
        let mut payloads = Vec::new();
        let mut messages = Vec::new();
        let mut payload = Vec::new();
        while let Some(message) = generator.next_message(&mut payload) {
            payloads.extend_from_slice(&payload);
            messages.push(PreparedMessage {
                end: payloads.len(),
                exporter: message.exporter as u32,
                flows: message.flows as u32,
            });
        }
        Ok(Self {
            generator,
            payloads,
            messages,
        })
    }

    /// What was generated.
    #[must_use]
    pub fn truth(&self) -> Truth {
        self.generator.truth()
    }

    /// The messages in their order: which exporter's, counted from 0, and the payload.
    pub fn messages(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut start = 0;
        self.messages.iter().map(move |message| {
            let payload = &self.payloads[start..message.end];
            start = message.end;
            (message.exporter as usize, payload)
        })
    }

    /// Sends the messages as [`to_socket`] does. A second time they are the same: a collector sees sequence numbers that
    /// begin again, unless it too begins again.
    ///
    /// # Errors
    ///
    /// An exporter's address cannot be sent from.
    pub fn send(
        &self,
        target: SocketAddr,
        pace: Pace,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Sent, SendError> {
        let mut transmitter = Transmitter::bind(&self.generator, target, pace)?;
        let mut payloads: Vec<&[u8]> = Vec::with_capacity(MAX_BURST);
        let mut flows = Vec::with_capacity(MAX_BURST);
        let mut start = 0;
        transmitter.start();
        let bursts = self.messages.chunk_by(|a, b| a.exporter == b.exporter);
        for burst in bursts.flat_map(|burst| burst.chunks(MAX_BURST)) {
            payloads.clear();
            flows.clear();
            let mut exporter = 0;
            for message in burst {
                payloads.push(&self.payloads[start..message.end]);
                flows.push(u64::from(message.flows));
                start = message.end;
                exporter = message.exporter as usize;
            }
            transmitter.send(
                exporter,
                (&payloads, &flows),
                &AtomicBool::new(false),
                progress,
            );
        }
        Ok(transmitter.finish(self.truth(), progress))
    }
}
