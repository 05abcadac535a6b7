//! Forwarding allocates nothing per datagram, once the exporters are known.

#[path = "../../udp/tests/allocations/mod.rs"]
mod allocations;

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;

use allocations::allocations;
use forebay_router::{
    Collector, Config, CopyTo, Down, Forwarder, Hash, Limits, Outlet, Pin, Route, Routing,
};
use forebay_udp::{Datagram, Outgoing};
use forebay_wire::encode::{IpfixBuilder, V9Builder};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{ElementId, FieldSpecifier, Template};

/// Sends nothing, and refuses some.
#[derive(Default)]
struct Counter {
    sent: u64,
}

impl Outlet for Counter {
    fn send(&mut self, datagrams: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, io::Error)) {
        self.sent += datagrams.len() as u64;
        failed(0, io::Error::from_raw_os_error(105));
    }

    fn refused(&mut self, each: &mut dyn FnMut(SocketAddr)) {
        each(SocketAddr::from(([203, 0, 113, 99], 1)));
    }
}

fn routing() -> Routing {
    let address = |host| SocketAddr::from(([203, 0, 113, host], 2055));
    let collectors = (1..=7).map(|host| Collector {
        address: address(host),
        weight: 1,
        probe: None,
    });
    let route = Route {
        versions: vec![5, 9, 10],
        collectors: collectors.collect(),
        shards: NonZero::new(7).expect("not 0"),
        hash: Hash::Xxh3,
        down: Down::Spread,
        pins: vec![Pin {
            exporters: "10.0.0.0/30".parse().expect("a prefix"),
            collector: address(1),
        }],
        copies: vec![CopyTo {
            to: address(8),
            every: NonZero::new(10).expect("not 0"),
        }],
    };
    let config = Config {
        routes: vec![route],
        default: None,
    };
    Routing::new(&config, None).expect("it makes sense")
}

/// Messages of every kind, with templates and without, and some garbage.
fn payloads() -> Vec<Vec<u8>> {
    let template = Template {
        id: 256,
        scope_count: 0,
        fields: vec![FieldSpecifier {
            element: ElementId::iana(8),
            length: 4,
        }],
    };
    let mut payloads = vec![vec![], vec![0, 77], vec![0, 9, 1], vec![0, 5, 0, 0]];
    for templates in [true, false] {
        let header = v9::Header {
            count: 0,
            uptime_ms: 0,
            unix_secs: 0,
            sequence: MessageSequence(0),
            source_id: 1,
        };
        let mut message = Vec::new();
        let mut builder = V9Builder::new(&mut message, header);
        if templates {
            builder.templates([&template]);
        }
        builder.data(256, [[1; 4]; 300], |out, record| out.extend(record));
        builder.finish().expect("it fits");
        payloads.push(message);
        let header = ipfix::Header {
            length: 0,
            export_secs: 0,
            sequence: RecordSequence(0),
            observation_domain: 1,
        };
        let mut message = Vec::new();
        let mut builder = IpfixBuilder::new(&mut message, header);
        if templates {
            builder.templates([&template]);
        }
        builder.data(256, [[1; 4]; 300], |out, record| out.extend(record));
        builder.finish().expect("it fits");
        payloads.push(message);
    }
    payloads
}

#[test]
fn forwarding() {
    let limits = Limits {
        exporters: 50,
        ..Limits::default()
    };
    let mut forwarder = Forwarder::new(Arc::new(routing()), limits);
    let mut outlet = Counter::default();
    let payloads = payloads();
    // Of the exporters that send no templates, more than are counted apart: some are put out all the time.
    let datagrams = || {
        (0..1_000_u16).map(|number| {
            let payload = &payloads[usize::from(number) % payloads.len()];
            let has_templates = usize::from(number) % payloads.len() >= 4;
            let host = number % if has_templates { 20 } else { 100 };
            Datagram {
                source: SocketAddr::from(([10, 0, has_templates.into(), host as u8], 50_000)),
                destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
                received_ns: number.into(),
                payload,
            }
        })
    };
    // Tables grow, then they stay.
    for _ in 0..3 {
        forwarder.forward(datagrams(), &mut outlet);
    }
    let before = outlet.sent;
    let count = allocations(|| {
        for now_us in 0..10 {
            forwarder.forward(datagrams(), &mut outlet);
            forwarder.tend(now_us, &mut outlet);
        }
    });
    assert!(outlet.sent - before > 6_000);
    assert_eq!(forwarder.counters().unaccounted(), 0);
    assert_eq!(count, 0);
}
