use std::io::{Read, Write};
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
fn one_failed_probe_is_none_and_two_are_down_but_of_who_never_answered_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = listener.local_addr().unwrap();
    let url = format!("http://{page}/");
    drop(listener);
    let routing = routing(&[("203.0.113.1:2055".parse().unwrap(), Some(&url))]);
    let mut health = Health::default();
    let mut look = || {
        probe_all(&routing);
        health.look(&routing.targets, 0);
        up(&routing)[0]
    };
    assert!(!look());
    let listener = TcpListener::bind(page).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let _request = stream.read(&mut [0; 256]).unwrap();
    });
    assert!(look());
    server.join().unwrap();
    assert_eq!([look(), look(), look()], [true, false, false]);
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

/// Looks as at a collector on another machine, of which no list tells.
fn look_from_afar(health: &mut Health, routing: &Routing, now_us: i64) -> bool {
    health.look_at(&routing.targets, None, now_us);
    routing.targets[0].seen().up
}

#[test]
fn who_refuses_is_down_at_once_and_until_a_trial_is_not_refused() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let routing = routing(&[(address, None)]);
    let target = &routing.targets[0];
    let mut health = Health::default();
    assert!(look_from_afar(&mut health, &routing, 0));
    let first = target.seen().incarnation;

    drop(socket);
    target.refuse();
    // Before anybody looks.
    assert!(!target.seen().up);
    let second = 1_000_000;
    // Time alone does not bring it back: each trial is refused.
    for now in 1..120 {
        assert!(!look_from_afar(&mut health, &routing, now * second));
    }
    assert_eq!(target.seen().incarnation, first);

    // While messages are refused, a trial that is not says nothing.
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    for now in 120..150 {
        target.refuse();
        assert!(!look_from_afar(&mut health, &routing, now * second));
    }
    // Then it is up, after no more than a pause, and the pause after a trial that began before.
    let back = (150..170).find(|now| look_from_afar(&mut health, &routing, now * second));
    assert!(back.is_some_and(|now| now <= 162), "{back:?}");
    assert_ne!(target.seen().incarnation, first);
    // What was sent to find out was empty.
    let mut buffer = [0; 10];
    while let Ok(length) = socket.recv(&mut buffer) {
        assert_eq!(length, 0);
    }
    // It may refuse again.
    target.refuse();
    assert!(!target.seen().up);
}

#[test]
fn a_collector_here_that_refused_is_up_when_somebody_listens() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = socket.local_addr().unwrap();
    let routing = routing(&[(here, None)]);
    let mut health = Health::default();
    health.look(&routing.targets, 0);
    let first = routing.targets[0].seen().incarnation;
    routing.targets[0].refuse();
    assert_eq!(up(&routing), [false]);
    health.look(&routing.targets, 1);
    assert_eq!(up(&routing), [true]);
    assert_ne!(routing.targets[0].seen().incarnation, first);
    drop(socket);
    routing.targets[0].refuse();
    health.look(&routing.targets, 2);
    assert_eq!(up(&routing), [false]);
}

#[test]
fn own_addresses_are_those_that_the_machine_has() {
    for (address, own) in [
        ("127.0.0.1", true),
        ("127.9.9.9", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("203.0.113.1", false),
        ("2001:db8::1", false),
        ("0.0.0.0", false),
        ("255.255.255.255", false),
    ] {
        assert_eq!(is_own_address(address.parse().unwrap()), own, "{address}");
    }
}

#[test]
fn a_collector_whose_address_has_become_this_routers_is_down() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = socket.local_addr().unwrap();
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, here.port()));
    let elsewhere = SocketAddr::from(([203, 0, 113, 1], here.port()));
    let routing = routing(&[(here, None), (elsewhere, None)]);
    Health::default().look(&routing.targets, 0);
    assert_eq!(up(&routing), [true, true]);
    let loops = || routing.targets.iter().map(|target| target.seen().loops);
    assert!(loops().eq([false, false]));
    Health::listening(vec![any]).look(&routing.targets, 1);
    assert_eq!(up(&routing), [false, true]);
    assert!(loops().eq([true, false]));
    // It is another machine's again.
    Health::default().look(&routing.targets, 2);
    assert!(loops().eq([false, false]));
}
