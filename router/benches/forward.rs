//! The engine by itself: from datagrams in memory to batches that nobody sends.
//!
//! `cargo bench -p forebay-router`; one datagram is about 1,450 bytes, of one of 200 exporters, a third each v5, v9 and
//! IPFIX.

use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_router::{Collector, Config, Down, Forwarder, Hash, Limits, Outlet, Route, Routing};
use forebay_udp::{Datagram, Outgoing};
use forebay_wire::encode::{IpfixBuilder, V9Builder};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{ElementId, FieldSpecifier, Template};

const EXPORTERS: u32 = 200;
const DATAGRAMS: u32 = 6_000;
/// As many as a receive gives.
const BATCH: usize = 64;

/// Looks at each datagram, and sends none.
struct Nowhere;

impl Outlet for Nowhere {
    fn send(&mut self, datagrams: &[Outgoing<'_>], _failed: &mut dyn FnMut(usize, io::Error)) {
        for datagram in datagrams {
            black_box((
                datagram.source,
                datagram.destination,
                datagram.payload.len(),
            ));
        }
    }

    fn refused(&mut self, _each: &mut dyn FnMut(SocketAddr)) {}
}

fn forwarder(collectors: u8) -> Forwarder {
    let collectors = (1..=collectors).map(|host| Collector {
        address: SocketAddr::from(([203, 0, 113, host], 2055)),
        weight: 1,
        probe: None,
    });
    let route = Route {
        versions: vec![5, 9, 10],
        collectors: collectors.collect(),
        shards: NonZero::new(7).expect("not 0"),
        hash: Hash::Address,
        down: Down::Hold,
        pins: Vec::new(),
        copies: Vec::new(),
    };
    let config = Config {
        routes: vec![route],
        default: None,
    };
    let routing = Routing::new(&config, None).expect("it makes sense");
    Forwarder::new(Arc::new(routing), Limits::default())
}

/// A message of 25 or so flows; every twentieth tells the template.
fn payload(number: u32) -> Vec<u8> {
    let template = Template {
        id: 256,
        scope_count: 0,
        fields: (1..=14)
            .map(|number| FieldSpecifier {
                element: ElementId::iana(number),
                length: 4,
            })
            .collect(),
    };
    let tells = (number / EXPORTERS).is_multiple_of(20);
    let mut out = Vec::new();
    match number % 3 {
        0 => {
            out = vec![0, 5, 0, 29];
            out.resize(24 + 29 * 48, 0);
        }
        1 => {
            let header = v9::Header {
                count: 0,
                uptime_ms: 0,
                unix_secs: 0,
                sequence: MessageSequence(number),
                source_id: 0,
            };
            let mut builder = V9Builder::new(&mut out, header);
            if tells {
                builder.templates([&template]);
            }
            builder.data(256, [[0; 56]; 25], |out, record| out.extend(record));
            builder.finish().expect("it fits");
        }
        _ => {
            let header = ipfix::Header {
                length: 0,
                export_secs: 0,
                sequence: RecordSequence(number),
                observation_domain: 0,
            };
            let mut builder = IpfixBuilder::new(&mut out, header);
            if tells {
                builder.templates([&template]);
            }
            builder.data(256, [[0; 56]; 25], |out, record| out.extend(record));
            builder.finish().expect("it fits");
        }
    }
    out
}

fn forward(criterion: &mut Criterion) {
    let payloads: Vec<Vec<u8>> = (0..DATAGRAMS).map(payload).collect();
    let datagrams = |address: fn(u32) -> u32| -> Vec<Datagram<'_>> {
        let datagrams = payloads.iter().zip(0..).map(|(payload, number)| Datagram {
            source: SocketAddr::from((address(number).to_be_bytes(), 50_000)),
            destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
            received_ns: number.into(),
            payload,
        });
        datagrams.collect()
    };
    let few = datagrams(|number| 0x0a00_0000 + number % EXPORTERS);
    // No two have one sender: what a flood of forged addresses costs.
    let forged = datagrams(|number| number.wrapping_mul(0x9e37_79b1));
    let mut group = criterion.benchmark_group("forward");
    group.throughput(Throughput::Elements(DATAGRAMS.into()));
    for (name, collectors, datagrams) in [
        ("1 collector", 1, &few),
        ("7 collectors", 7, &few),
        ("7 collectors, forged exporters", 7, &forged),
    ] {
        let mut forwarder = forwarder(collectors);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for batch in datagrams.chunks(BATCH) {
                    forwarder.forward(batch.iter().copied(), &mut Nowhere);
                }
            });
        });
        assert_eq!(forwarder.counters().unaccounted(), 0);
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
