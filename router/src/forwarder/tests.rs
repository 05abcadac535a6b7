use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::num::NonZero;

use forebay_wire::encode::{Builder, IpfixBuilder, V9Builder};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{ElementId, FieldSpecifier, Template};
use tempfile::TempDir;

use super::*;
use crate::config::{Config, CopyTo, Route};
use crate::routing::tests::{address, route};

mod any;
mod outage;
mod recovering;
mod telling;
mod waiting;

/// What was sent, and what the system refuses.
#[derive(Default)]
struct Recorder {
    sent: Vec<Sent>,
    /// The error of datagrams whose payload ends with this byte.
    fails: Option<(u8, i32)>,
    /// No message of nothing but templates goes out.
    fails_templates: bool,
    refuse: Vec<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
}

impl Outlet for Recorder {
    fn send(&mut self, datagrams: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, io::Error)) {
        for (index, datagram) in datagrams.iter().enumerate() {
            match self.fails {
                Some((last, number)) if datagram.payload.last() == Some(&last) => {
                    failed(index, io::Error::from_raw_os_error(number));
                }
                _ if self.fails_templates && is_templates(datagram.payload) => {
                    failed(index, io::Error::from_raw_os_error(105));
                }
                _ => self.sent.push(Sent {
                    source: datagram.source,
                    destination: datagram.destination,
                    payload: datagram.payload.to_vec(),
                }),
            }
        }
    }

    fn refused(&mut self, each: &mut dyn FnMut(SocketAddr)) {
        self.refuse.drain(..).for_each(each);
    }
}

impl Recorder {
    fn take(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    fn payloads(&self) -> Vec<&[u8]> {
        self.sent
            .iter()
            .map(|sent| sent.payload.as_slice())
            .collect()
    }
}

/// A forwarder and what is around it.
struct Rig {
    forwarder: Forwarder,
    routing: Arc<Routing>,
    outlet: Recorder,
    folder: TempDir,
    now_us: i64,
}

impl Rig {
    fn new(config: &Config) -> Self {
        Self::with_limits(config, Limits::default())
    }

    fn with_limits(config: &Config, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SpoolOptions {
            folder: folder.path().to_owned(),
            bytes: 1 << 20,
            used: Arc::default(),
            thread: 0,
            threads: 1,
            next: Arc::default(),
        };
        let routing = Arc::new(Routing::new(config, None).unwrap());
        Self {
            forwarder: Forwarder::with_spool(Arc::clone(&routing), limits, options),
            routing,
            outlet: Recorder::default(),
            folder,
            now_us: 1_000_000,
        }
    }

    fn forward(&mut self, datagrams: &[(SocketAddr, Vec<u8>)]) {
        let datagrams = datagrams
            .iter()
            .zip(1..)
            .map(|((source, payload), number)| Datagram {
                source: *source,
                destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
                received_ns: 1_700_000_000_000_000_000 + number,
                payload,
            });
        self.forwarder.forward(datagrams, &mut self.outlet);
        self.check();
    }

    fn set(&mut self, target: usize, up: bool) {
        self.routing.targets[target].set(up, false);
        self.tend();
    }

    fn tend(&mut self) {
        self.now_us += 1_000_000;
        self.forwarder.tend(self.now_us, &mut self.outlet);
        self.check();
    }

    fn tend_until_sent(&mut self) {
        for _ in 0..1_000 {
            if !self.forwarder.replays() {
                return;
            }
            self.tend();
        }
        panic!("the spool does not come to its end");
    }

    fn reload(&mut self, config: &Config) {
        let routing = Arc::new(Routing::new(config, Some(&self.routing)).unwrap());
        self.routing = Arc::clone(&routing);
        self.forwarder.adopt(routing);
        self.check();
    }

    /// Every datagram ended in one counter, however it is counted.
    fn check(&self) {
        let counters = self.forwarder.counters();
        assert_eq!(counters.unaccounted(), 0, "{counters:?}");
        let mut by_version = Tally::default();
        counters
            .by_version()
            .for_each(|(_, tally)| by_version.add(tally));
        assert_eq!(by_version, counters.received);
        let (mut by_exporter, _) = self.forwarder.exporters.others();
        self.forwarder
            .exporters
            .iter()
            .for_each(|(_, of)| by_exporter.add(&of));
        assert_eq!(by_exporter.received, counters.received);
        assert_eq!(by_exporter.rejected.datagrams, counters.rejected.total());
        assert_eq!(by_exporter.failed, counters.failed.total());
    }

    fn counters(&self) -> &Counters {
        self.forwarder.counters()
    }

    fn of_target(&self, target: usize) -> &TargetCounters {
        self.forwarder.targets().nth(target).unwrap().1
    }
}

fn exporter(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 50_000))
}

fn one_route(route: Route) -> Config {
    Config {
        routes: vec![route],
        default: None,
    }
}

fn down(down: Down, weights: &[u32]) -> Config {
    one_route(Route {
        down,
        ..route(weights)
    })
}

/// A v5 message without records, with a number.
fn v5(number: u32) -> Vec<u8> {
    let mut payload = vec![0, 5, 0, 0];
    payload.resize(16, 0);
    payload.extend(number.to_be_bytes());
    payload.resize(24, 0);
    payload
}

fn template() -> Template {
    Template {
        id: 256,
        scope_count: 0,
        fields: vec![FieldSpecifier {
            element: ElementId::iana(8),
            length: 4,
        }],
    }
}

fn fill<H>(builder: &mut Builder<'_, H>, with_template: bool) {
    if with_template {
        builder.templates([&template()]);
    }
    builder.data(256, [[1, 2, 3, 4]], |out, record| out.extend(record));
}

fn v9(number: u32, with_template: bool) -> Vec<u8> {
    let header = v9::Header {
        count: 0,
        uptime_ms: 1,
        unix_secs: 1,
        sequence: MessageSequence(number),
        source_id: 1,
    };
    let mut out = Vec::new();
    let mut builder = V9Builder::new(&mut out, header);
    fill(&mut builder, with_template);
    builder.finish().unwrap();
    out
}

fn ipfix(number: u32, with_template: bool) -> Vec<u8> {
    let header = ipfix::Header {
        length: 0,
        export_secs: 1,
        sequence: RecordSequence(number),
        observation_domain: 1,
    };
    let mut out = Vec::new();
    let mut builder = IpfixBuilder::new(&mut out, header);
    fill(&mut builder, with_template);
    builder.finish().unwrap();
    out
}

/// The number in a message's header.
fn number(payload: &[u8]) -> u32 {
    match Message::parse(payload).unwrap() {
        Message::V9(message) => message.header.sequence.0,
        Message::Ipfix(message) => message.header.sequence.0,
        Message::Fixed(_) => u32::from_be_bytes(payload[16..20].try_into().unwrap()),
    }
}

fn is_templates(payload: &[u8]) -> bool {
    !payload.ends_with(&[1, 2, 3, 4])
}

#[test]
fn every_datagram_goes_to_its_collector_once_as_it_is_and_in_order() {
    let mut rig = Rig::new(&one_route(route(&[1, 1, 1])));
    let datagrams: Vec<_> = (0..1_000)
        .map(|number| (exporter((number % 20) as u8), v5(number)))
        .collect();
    for batch in datagrams.chunks(150) {
        rig.forward(batch);
    }
    assert_eq!(rig.outlet.sent.len(), 1_000);
    for host in 0..20 {
        let source = exporter(host);
        let of = rig.outlet.sent.iter().filter(|sent| sent.source == source);
        let collector = rig.routing.collector_of(5, source.ip()).unwrap();
        let numbers: Vec<u32> = of
            .inspect(|sent| assert_eq!(sent.destination, collector))
            .map(|sent| number(&sent.payload))
            .collect();
        let expected: Vec<u32> = (u32::from(host)..1_000).step_by(20).collect();
        assert_eq!(numbers, expected);
    }
    assert_eq!(rig.counters().forwarded, rig.counters().received);
    let shards = &rig.forwarder.routes()[0].shards;
    assert_eq!(
        shards.iter().map(|shard| shard.datagrams).sum::<u64>(),
        1_000
    );
}

#[test]
fn what_has_no_place_is_rejected_or_goes_to_the_default() {
    let five_only = Route {
        versions: vec![5],
        ..route(&[1])
    };
    let datagrams = [
        vec![],
        vec![0],
        vec![0, 42, 1],
        vec![9, 9],
        v9(1, true),
        v5(1),
    ]
    .map(|payload| (exporter(1), payload));
    let mut config = one_route(five_only);
    let mut rig = Rig::new(&config);
    rig.forward(&datagrams);
    let rejected: BTreeMap<_, _> = rig.counters().rejected.iter().collect();
    assert_eq!(
        rejected,
        [("too_short", 2), ("unknown_version", 2), ("no_route", 1)].into()
    );
    assert_eq!(rig.outlet.payloads(), [v5(1)]);
    assert_eq!(rig.counters().received.messages, 2);
    let by_exporter: Vec<_> = rig.forwarder.exporters.iter().collect();
    let mut rejected = rig.counters().received;
    rejected.take(rig.counters().forwarded);
    assert_eq!(by_exporter[0].1.rejected, rejected);

    config.default = Some(address(9));
    let mut rig = Rig::new(&config);
    rig.forward(&datagrams);
    let to_default = rig
        .outlet
        .sent
        .iter()
        .filter(|sent| sent.destination == address(9));
    assert_eq!(to_default.count(), 5);
    assert_eq!(rig.counters().forwarded.datagrams, 6);
}

#[test]
fn what_cannot_be_sent_is_counted_with_its_reason() {
    let mut rig = Rig::new(&one_route(Route {
        copies: vec![CopyTo {
            to: address(9),
            every: NonZero::<u32>::MIN,
        }],
        ..route(&[1, 1])
    }));
    // Of 4 in 200, the number's last byte is the payload's: v5's header ends with zeros, so it goes behind.
    let datagrams: Vec<_> = (0..200_u8)
        .map(|last| {
            let mut payload = v5(7);
            payload.push(last % 50);
            (exporter(last), payload)
        })
        .collect();
    rig.outlet.fails = Some((13, 105));
    rig.forward(&datagrams);
    let failed: Vec<_> = rig.counters().failed.iter().collect();
    assert_eq!(failed, [("no_buffer", 4)]);
    assert_eq!(rig.counters().copies_failed.total(), 4);
    assert_eq!(rig.counters().forwarded.datagrams, 196);
    assert_eq!(rig.counters().copied.datagrams, 196);
    assert_eq!(rig.outlet.sent.len(), 392);
    for (host, counters) in rig.forwarder.exporters.iter() {
        let IpAddr::V4(host) = host else {
            panic!("{host}")
        };
        let expected = u64::from(host.octets()[3] % 50 == 13);
        assert_eq!(counters.failed, expected);
    }
}

#[test]
fn copies_are_all_messages_or_one_in_many_and_templates_always() {
    let copy = |host, every| CopyTo {
        to: address(host),
        every: NonZero::new(every).unwrap(),
    };
    let mut rig = Rig::new(&one_route(Route {
        copies: vec![copy(8, 1), copy(9, 10)],
        ..route(&[1, 1])
    }));
    let datagrams: Vec<_> = (0..100).map(|of| (exporter(1), v5(of))).collect();
    rig.forward(&datagrams);
    let sent = rig.outlet.take();
    let to = |host| {
        let sent = sent
            .iter()
            .filter(move |sent| sent.destination == address(host));
        sent.map(|sent| number(&sent.payload)).collect::<Vec<_>>()
    };
    assert_eq!(to(8), (0..100).collect::<Vec<_>>());
    assert_eq!(to(9), (0..100).step_by(10).collect::<Vec<_>>());
    assert_eq!(rig.counters().copied.datagrams, 110);

    rig.forward(&[
        (exporter(1), v5(0)),
        (exporter(1), v9(1, true)),
        (exporter(1), v9(2, false)),
    ]);
    let to_9 = rig
        .outlet
        .sent
        .iter()
        .filter(|sent| sent.destination == address(9));
    assert_eq!(
        to_9.map(|sent| number(&sent.payload)).collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn a_reload_moves_only_those_whose_collector_changes() {
    let mut rig = Rig::new(&one_route(route(&[1, 1, 1])));
    let hosts = 0..=255;
    let sources: Vec<SocketAddr> = hosts.map(exporter).collect();
    let send = |rig: &mut Rig, number, with_template| {
        let batch: Vec<_> = sources
            .iter()
            .map(|of| (*of, v9(number, with_template)))
            .collect();
        rig.forward(&batch);
        rig.outlet.take()
    };
    let before = send(&mut rig, 1, true);
    // The third has another address now.
    let mut changed = route(&[1, 1, 1]);
    changed.collectors[2].address = address(9);
    rig.reload(&one_route(changed));
    let after = send(&mut rig, 2, false);
    let (templates, after): (Vec<Sent>, Vec<Sent>) = after
        .into_iter()
        .partition(|sent| is_templates(&sent.payload));
    assert_eq!(after.len(), before.len());
    let mut moved = 0;
    for (before, after) in before.iter().zip(&after) {
        if before.destination == address(3) {
            assert_eq!(after.destination, address(9));
            moved += 1;
        } else {
            assert_eq!(after.destination, before.destination);
        }
    }
    assert!(moved > 50);
    assert_eq!(templates.len(), moved);
    assert!(templates.iter().all(|sent| sent.destination == address(9)));
}
