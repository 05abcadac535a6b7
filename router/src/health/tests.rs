use std::net::{TcpListener, UdpSocket};
use std::num::NonZero;

use super::*;
use crate::config::{Collector, Config, Down, Route};
use crate::hash::Hash;

fn routing(collectors: &[(SocketAddr, Option<&str>)]) -> Routing {
    let collectors = collectors.iter().map(|(address, probe)| Collector {
        address: *address,
        weight: 1,
        probe: probe.map(|probe| probe.parse().unwrap()),
    });
    let route = Route {
        versions: vec![5],
        collectors: collectors.collect(),
        shards: NonZero::new(7).unwrap(),
        hash: Hash::Address,
        down: Down::Hold,
        pins: Vec::new(),
        copies: Vec::new(),
    };
    let config = Config {
        routes: vec![route],
        default: None,
    };
    Routing::new(&config, None).unwrap()
}

fn up(routing: &Routing) -> Vec<bool> {
    routing
        .targets
        .iter()
        .map(|target| target.seen().up)
        .collect()
}

#[test]
fn a_collector_here_is_up_while_somebody_listens() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = socket.local_addr().unwrap();
    let elsewhere = "203.0.113.1:2055".parse().unwrap();
    let routing = routing(&[(here, None), (elsewhere, None)]);
    let incarnation = || routing.targets[0].seen().incarnation;
    let mut health = Health::default();
    health.look(&routing.targets, 0);
    assert_eq!(up(&routing), [true, true]);
    let first = incarnation();
    health.look(&routing.targets, 1);
    assert_eq!(incarnation(), first);

    drop(socket);
    health.look(&routing.targets, 2);
    assert_eq!(up(&routing), [false, true]);
    let socket = UdpSocket::bind(here).unwrap();
    health.look(&routing.targets, 3);
    assert_eq!(up(&routing), [true, true]);
    let second = incarnation();
    assert_ne!(second, first);

    // A restart that was too quick to be seen.
    drop(socket);
    let _socket = UdpSocket::bind(here).unwrap();
    health.look(&routing.targets, 4);
    assert_eq!(up(&routing), [true, true]);
    assert_ne!(incarnation(), second);
}

#[test]
fn one_failed_probe_is_none_and_two_are_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let routing = routing(&[("203.0.113.1:2055".parse().unwrap(), Some(&url))]);
    let mut health = Health::default();
    for expected in [true, false, false] {
        probe_all(&routing);
        health.look(&routing.targets, 0);
        assert_eq!(up(&routing), [expected]);
    }
}

#[test]
fn what_comes_back_here_is_a_loop() {
    let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    for (listen, target, expected) in [
        (&["127.0.0.1:2055"][..], "127.0.0.1:2055", true),
        (&["127.0.0.1:2055"], "127.0.0.2:2055", false),
        (&["127.0.0.1:2055"], "127.0.0.1:2056", false),
        (&["[::]:4739", "0.0.0.0:2055"], "127.0.0.9:2055", true),
        (&["[::]:2055"], "127.0.0.1:2055", true),
        (&["[::]:2055"], "[::1]:2055", true),
        (&["0.0.0.0:2055"], "[::1]:2055", false),
        (&["0.0.0.0:2055"], "203.0.113.1:2055", false),
        (&["127.0.0.1:2055"], "[::ffff:127.0.0.1]:2055", true),
    ] {
        let found = looped(&addresses(listen), target.parse().unwrap());
        assert_eq!(found.is_some(), expected, "{listen:?} {target}");
    }
}
