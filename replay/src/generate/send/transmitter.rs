//! The sockets of the exporters, the pace, and what becomes of what is sent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forebay_udp::Sender;

use super::super::Generator;
use super::super::truth::Truth;
use super::{MAX_BURST, Pace, Progress, SendError, SendReport, Sent};

/// Shorter waits are saved up: a sleep takes about 60 µs more than asked for.
const LEAST_SLEEP: Duration = Duration::from_millis(1);
/// How long a wait may be before it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(50);
/// After how many bursts progress is told.
const BURSTS_PER_PROGRESS: u64 = 512;

/// Messages of one exporter that are sent together.
#[derive(Debug, Default)]
pub(super) struct Burst {
    pub(super) exporter: usize,
    /// As many as have ever been used at a time.
    payloads: Vec<Vec<u8>>,
    flows: Vec<u64>,
    pub(super) len: usize,
}

impl Burst {
    /// Takes a payload; gives a buffer for the next.
    pub(super) fn push(&mut self, payload: &mut Vec<u8>, flows: usize) {
        if self.len == self.payloads.len() {
            self.payloads.push(Vec::new());
        }
        std::mem::swap(&mut self.payloads[self.len], payload);
        self.flows.push(flows as u64);
        self.len += 1;
    }

    pub(super) fn send(
        &mut self,
        transmitter: &mut Transmitter,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
    ) {
        let mut payloads: [&[u8]; MAX_BURST] = [&[]; MAX_BURST];
        for (slice, payload) in payloads.iter_mut().zip(&self.payloads) {
            *slice = payload;
        }
        let burst = (&payloads[..self.len], &self.flows[..]);
        transmitter.send(self.exporter, burst, stop, progress);
        self.len = 0;
        self.flows.clear();
    }
}

/// The exporters' sockets, and what became of what they sent.
#[derive(Debug)]
pub(super) struct Transmitter {
    senders: Vec<Sender>,
    pace: Pace,
    started: Instant,
    report: SendReport,
    bursts: u64,
    of_flows: u64,
}

impl Transmitter {
    pub(super) fn bind(
        generator: &Generator,
        target: SocketAddr,
        pace: Pace,
    ) -> Result<Self, SendError> {
        if let Pace::FlowsPerSec(flows_per_sec) = pace
            && !(flows_per_sec > 0.0 && flows_per_sec.is_finite())
        {
            return Err(SendError::Pace { flows_per_sec });
        }
        let exporters = &generator.exporters;
        let count = exporters.len();
        if generator.config().exporter_list.is_empty()
            && let ([first, ..], [.., last]) = (&exporters[..], &exporters[..])
        {
            let (first, last) = (first.source.ip(), last.source.ip());
            let beyond = IpAddr::from([127, 255, 255, 255]);
            if first.is_loopback() && last >= beyond {
                return Err(SendError::BeyondLoopback {
                    exporters: count,
                    first,
                    last,
                });
            }
        }
        let is_other = |from: &IpAddr| from.is_ipv4() != target.ip().to_canonical().is_ipv4();
        let mut addresses = exporters.iter().map(|exporter| exporter.source.ip());
        if let Some(from) = addresses.find(is_other) {
            return Err(SendError::Families { from, target });
        }
        let port = generator.config().exporter_port;
        let senders = exporters.iter().zip(1..).map(|(exporter, index)| {
            let from = SocketAddr::new(exporter.source.ip(), port);
            Sender::bind(from, target).map_err(|source| {
                // The process's limit, and the machine's.
                if matches!(source.raw_os_error(), Some(24 | 23)) {
                    SendError::TooManyFiles {
                        index,
                        exporters: count,
                        source,
                    }
                } else {
                    SendError::Bind {
                        from,
                        target,
                        source,
                    }
                }
            })
        });
        Ok(Self {
            senders: senders.collect::<Result<_, _>>()?,
            pace,
            started: now(),
            report: SendReport::default(),
            bursts: 0,
            of_flows: generator.config().flows,
        })
    }

    pub(super) fn start(&mut self) {
        self.started = now();
    }

    /// Sends messages of one exporter, of which `flows` tells how many each holds, when their time has come or `stop` says
    /// so.
    pub(super) fn send(
        &mut self,
        exporter: usize,
        (payloads, flows): (&[&[u8]], &[u64]),
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
    ) {
        self.wait(stop);
        let mut next = 0;
        let mut refused = false;
        while next < payloads.len() {
            match self.senders[exporter].send(&payloads[next..]) {
                Ok(sent) => {
                    let sent = next..next + sent;
                    next = sent.end;
                    self.report.datagrams += sent.len() as u64;
                    self.report.flows += flows[sent.clone()].iter().sum::<u64>();
                    self.report.datagram_bytes += payloads[sent]
                        .iter()
                        .map(|payload| payload.len() as u64)
                        .sum::<u64>();
                    refused = false;
                }
                // Told of an earlier message: this one has not been tried.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !refused => {
                    self.report.send_errors += 1;
                    refused = true;
                }
                Err(_) => {
                    self.report.send_errors += 1;
                    self.report.unsent_datagrams += 1;
                    self.report.unsent_flows += flows[next];
                    next += 1;
                    refused = false;
                }
            }
        }
        self.bursts += 1;
        if self.bursts.is_multiple_of(BURSTS_PER_PROGRESS) {
            progress(&self.progress());
        }
    }

    /// Sleeps while what has been sent is ahead of the pace.
    fn wait(&self, stop: &AtomicBool) {
        let Pace::FlowsPerSec(flows_per_sec) = self.pace else {
            return;
        };
        let flows = self.report.flows + self.report.unsent_flows;
        // Longer than any traffic lasts, where the pace is next to nothing.
        let due =
            Duration::try_from_secs_f64(flows as f64 / flows_per_sec).unwrap_or(Duration::MAX);
        loop {
            let ahead = due.saturating_sub(now() - self.started);
            if ahead < LEAST_SLEEP || stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(ahead.min(LOOK));
        }
    }

    fn progress(&self) -> Progress {
        let SendReport {
            datagrams,
            flows,
            unsent_datagrams,
            unsent_flows,
            ..
        } = self.report;
        Progress {
            datagrams: datagrams + unsent_datagrams,
            flows: flows + unsent_flows,
            of_flows: self.of_flows,
        }
    }

    pub(super) fn finish(mut self, mut truth: Truth, progress: &mut dyn FnMut(&Progress)) -> Sent {
        self.report.elapsed = now() - self.started;
        progress(&self.progress());
        for (exporter, sender) in truth.exporters.iter_mut().zip(&self.senders) {
            // A bound socket has an address.
            if let Ok(source) = sender.local_address() {
                exporter.source = source;
            }
        }
        Sent {
            truth,
            report: self.report,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pace of sending is one of this clock"
)]
fn now() -> Instant {
    Instant::now()
}
