//! The router: datagrams of a few exporters that move between collectors, and are told what templates
//! it knows.
#![no_main]

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;

use forebay_fuzz::{Frames, only_templates};
use forebay_router::{
    Collector, Config, CopyTo, Down, Forwarder, Hash, Limits, Outlet, Route, Routing,
};
use forebay_udp::{Datagram, Outgoing};
use libfuzzer_sys::fuzz_target;

/// Holds what is sent against what came.
#[derive(Default)]
struct Checker {
    /// The datagrams of this batch, in order; what is sent besides holds templates.
    came: Vec<Vec<u8>>,
    sent: u64,
}

impl Outlet for Checker {
    fn send(&mut self, datagrams: &[Outgoing<'_>], _failed: &mut dyn FnMut(usize, io::Error)) {
        for datagram in datagrams {
            self.sent += 1;
            if !self.came.iter().any(|came| came == datagram.payload) {
                only_templates(datagram.payload);
            }
        }
    }

    fn refused(&mut self, _each: &mut dyn FnMut(SocketAddr)) {}
}

fn routing(collector: u8, before: Option<&Routing>) -> Arc<Routing> {
    let address = |host| SocketAddr::from(([203, 0, 113, host], 2055));
    let route = Route {
        versions: vec![5, 9, 10],
        collectors: vec![Collector {
            address: address(collector),
            weight: 1,
            probe: None,
        }],
        shards: NonZero::<u32>::MIN,
        hash: Hash::Address,
        down: Down::Hold,
        pins: Vec::new(),
        copies: vec![CopyTo {
            to: address(9),
            every: NonZero::new(3).expect("not 0"),
        }],
    };
    let config = Config {
        routes: vec![route],
        default: None,
    };
    Arc::new(Routing::new(&config, before).expect("it makes sense"))
}

fuzz_target!(|input: &[u8]| {
    let limits = Limits {
        exporters: 3,
        domains: 6,
        domains_per_exporter: 3,
        templates_per_domain: 8,
        template_bytes: 2_000,
    };
    let mut current = routing(1, None);
    let mut forwarder = Forwarder::new(Arc::clone(&current), limits);
    let mut checker = Checker::default();
    for (number, frame) in (0_u16..).zip(Frames(input)) {
        if number % 3 == 2 {
            current = routing(1 + (number % 2) as u8, Some(&current));
            forwarder.adopt(Arc::clone(&current));
        }
        checker.came = vec![frame.to_vec()];
        let [host, port] = [number % 4, number % 2];
        let datagram = Datagram {
            source: SocketAddr::from(([192, 0, 2, host as u8], 50_000 + port)),
            destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
            received_ns: number.into(),
            payload: frame,
        };
        forwarder.forward([datagram].into_iter(), &mut checker);
        let counters = forwarder.counters();
        assert_eq!(counters.unaccounted(), 0);
        let all =
            counters.forwarded.datagrams + counters.copied.datagrams + counters.templates_sent;
        assert_eq!(checker.sent, all);
    }
});
