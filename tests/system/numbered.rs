//! Exporters whose every flow has a number of its own: what shows that a flow is there, and there once.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use forebay_wire::encode::{FixedRecord, IpfixBuilder, V9Builder, fixed};
use forebay_wire::fixed::{FlowSequence, Header as FixedHeader, Version};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{ElementId, FieldSpecifier, Template};

use crate::flows::Flow;
use crate::route_network::Arrived;

/// How many flows a message holds.
pub(crate) const FLOWS: u32 = 24;
/// Between bursts, so that the socket's buffer need not hold them all.
const PAUSE: Duration = Duration::from_millis(2);
const MESSAGES_PER_BURST: u32 = 4;
/// 2026-11-21T16:40:00Z
const EXPORT_SECS: u32 = 1_795_279_200;
const UPTIME_MS: u32 = 3_600_000;
/// IPv6 addresses begin like this and end with the number.
const IPV6_PREFIX: [u8; 12] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0];

/// An exporter on loopback. The k-th of its flows has the k-th number after its first one.
pub(crate) struct Exporter {
    socket: UdpSocket,
    version: u8,
    next: u32,
    sequence: u32,
    /// Whether the next message tells the templates.
    pub(crate) tells_templates: bool,
}

impl Exporter {
    /// An exporter at `source` that speaks a version: 5, 9 (IPv4 flows) or 10 (IPv6 flows).
    pub(crate) fn new(source: IpAddr, target: SocketAddr, version: u8, first_number: u32) -> Self {
        let socket = UdpSocket::bind((source, 0)).expect("loopback's address can be sent from");
        socket.connect(target).expect("loopback is there");
        Self {
            socket,
            version,
            next: first_number,
            sequence: 0,
            tells_templates: true,
        }
    }

    /// Sends a message of [`FLOWS`] flows. That nobody listens is no failure: the collector may just have been killed.
    pub(crate) fn send(&mut self) {
        let message = self.message();
        let _refused = self.socket.send(&message);
    }

    /// Sends a message, and tells what it was.
    pub(crate) fn send_and_tell(&mut self) -> Arrived {
        let message = self.message();
        self.send_as_it_is(message)
    }

    /// Sends any bytes, and tells them.
    pub(crate) fn send_as_it_is(&self, payload: Vec<u8>) -> Arrived {
        self.socket.send(&payload).expect("somebody listens");
        let source = self.socket.local_addr().expect("it is bound");
        Arrived { source, payload }
    }

    /// Sends so many messages at a pace that a collector keeps up with.
    pub(crate) fn send_many(&mut self, messages: u32) {
        for message in 1..=messages {
            self.send();
            if message % MESSAGES_PER_BURST == 0 {
                thread::sleep(PAUSE);
            }
        }
    }

    fn message(&mut self) -> Vec<u8> {
        let numbers = self.next..self.next + FLOWS;
        self.next += FLOWS;
        let mut out = Vec::new();
        let written = match self.version {
            5 => {
                let header = FixedHeader {
                    version: Version::V5,
                    count: 0,
                    uptime_ms: UPTIME_MS,
                    unix_secs: EXPORT_SECS,
                    unix_nsecs: 0,
                    flow_sequence: FlowSequence(self.sequence),
                    engine_type: 0,
                    engine_id: 1,
                    sampling: 0,
                };
                self.sequence += FLOWS;
                fixed(&mut out, &header, numbers.map(v5_record))
            }
            9 => {
                let header = v9::Header {
                    count: 0,
                    uptime_ms: UPTIME_MS,
                    unix_secs: EXPORT_SECS,
                    sequence: MessageSequence(self.sequence),
                    source_id: 1,
                };
                self.sequence += 1;
                let mut builder = V9Builder::new(&mut out, header);
                if self.tells_templates {
                    builder.templates([&template(8, 4)]);
                }
                builder.data(256, numbers, |out, number| {
                    out.extend(Ipv4Addr::from_bits(number).octets());
                    counters(out, number);
                });
                builder.finish()
            }
            _ => {
                let header = ipfix::Header {
                    length: 0,
                    export_secs: EXPORT_SECS,
                    sequence: RecordSequence(self.sequence),
                    observation_domain: 1,
                };
                let mut builder = IpfixBuilder::new(&mut out, header);
                if self.tells_templates {
                    builder.templates([&template(27, 16)]);
                }
                builder.data(256, numbers, |out, number| {
                    out.extend(IPV6_PREFIX);
                    out.extend(number.to_be_bytes());
                    counters(out, number);
                });
                self.sequence = builder.next_sequence().0;
                builder.finish()
            }
        };
        written.expect("it fits");
        out
    }
}

/// A source address, packets and bytes.
fn template(source: u16, length: u16) -> Template {
    let field = |(number, length)| FieldSpecifier {
        element: ElementId::iana(number),
        length,
    };
    Template {
        id: 256,
        scope_count: 0,
        fields: [(source, length), (2, 4), (1, 4)].map(field).to_vec(),
    }
}

fn counters(out: &mut Vec<u8>, number: u32) {
    out.extend(1_u32.to_be_bytes());
    out.extend(number.to_be_bytes());
}

fn v5_record(number: u32) -> FixedRecord {
    FixedRecord {
        source: Ipv4Addr::from_bits(number),
        destination: Ipv4Addr::new(198, 51, 100, 1),
        next_hop: Ipv4Addr::UNSPECIFIED,
        input: 1,
        output: 2,
        packets: 1,
        octets: number,
        first_ms: UPTIME_MS - 1_000,
        last_ms: UPTIME_MS,
        source_port: 1234,
        destination_port: 443,
        tcp_flags: 0x18,
        protocol: 6,
        tos: 0,
        source_as: 0,
        destination_as: 0,
        source_mask: 0,
        destination_mask: 0,
        router: Ipv4Addr::UNSPECIFIED,
    }
}

/// The number that a flow carries, in its address and in its bytes.
#[track_caller]
pub(crate) fn number(flow: &Flow) -> u32 {
    let number = match flow.source.expect("it has an address") {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    };
    assert_eq!(flow.bytes, Some(u64::from(number)), "{flow:?}");
    number
}

/// The numbers of flows, each of which must be there once.
#[track_caller]
pub(crate) fn once(flows: &[Flow]) -> HashSet<u32> {
    let mut found = HashSet::with_capacity(flows.len());
    for flow in flows {
        assert!(found.insert(number(flow)), "twice: {flow:?}");
    }
    found
}

/// Exporters of all three versions that send until they are dropped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Sends to `target`, with numbers from those on that `numbers` has not given yet.
    pub(crate) fn start(target: SocketAddr, numbers: &AtomicU32) -> Self {
        /// More than an exporter sends in the time of a test.
        const EACH: u32 = 1 << 24;
        let mut exporters: Vec<Exporter> = [5, 9, 10, 5, 9, 10]
            .iter()
            .zip(1..)
            .map(|(&version, host)| {
                let source = Ipv4Addr::new(127, 0, 2, host).into();
                let first = numbers.fetch_add(EACH, Ordering::Relaxed);
                Exporter::new(source, target, version, first)
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for exporter in &mut exporters {
                    exporter.send_many(MESSAGES_PER_BURST);
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
