//! What was sent is received, once, by the right shard, or counted as dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::receive::timestamp_ns;
use super::super::{ShardSockets, SocketOptions, shard_of};
use super::{LONG, address, bind, send, take_all};
use crate::sockaddr;

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

#[test]
fn a_source_reaches_one_shard_from_every_port_to_every_address() {
    for shards in [1, 2, 3, 7] {
        let mut receivers = bind(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"], shards);
        let targets = receivers[0].local_addresses().to_vec();
        for receiver in &receivers {
            assert_eq!(receiver.local_addresses(), targets);
        }
        let mut sent = Vec::new();
        for last in 1..=60 {
            for target in &targets {
                for _ in 0..2 {
                    let payload = [last; 5];
                    let source = send(loopback(last), *target, &[&payload]);
                    sent.push((source, *target, payload.to_vec()));
                }
            }
        }
        let mut received = Vec::new();
        for (shard, receiver) in receivers.iter_mut().enumerate() {
            let taken = take_all(receiver);
            assert!(!taken.is_empty(), "{shards} shards: none for {shard}");
            for taken in taken {
                assert_eq!(shard_of(taken.source.ip(), shards), shard);
                received.push((taken.source, taken.destination, taken.payload));
            }
            assert_eq!(receiver.kernel_drops(), 0);
            assert_eq!(receiver.truncated(), 0);
        }
        sent.sort();
        received.sort();
        assert_eq!(sent, received);
    }
}

#[test]
fn a_socket_of_every_address_tells_which_one_it_was_if_asked() {
    let mut receivers = bind(&["0.0.0.0:0"], 1);
    let bound = receivers[0].local_addresses()[0];
    let target = SocketAddr::new(loopback(7), bound.port());
    send(loopback(1), target, &[b"flow"]);
    assert_eq!(take_all(&mut receivers[0])[0].destination, bound);
    receivers[0].tell_destinations().expect("it can");
    send(loopback(1), target, &[b"flow", b"flow"]);
    let taken = take_all(&mut receivers[0]);
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|taken| taken.destination == target));
    // The kernel's time is there all the same: it does not go back.
    assert!(taken[0].received_ns <= taken[1].received_ns);
}

#[test]
fn a_socket_of_both_families_tells_addresses_of_both() {
    if super::super::wildcard(0).is_ipv4() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let mut receivers = bind(&["[::]:0"], 1);
    receivers[0].tell_destinations().expect("it can");
    let port = receivers[0].local_addresses()[0].port();
    for to in [loopback(9), "::1".parse().unwrap()] {
        let target = SocketAddr::new(to, port);
        let from = if to.is_ipv4() { loopback(1) } else { to };
        send(from, target, &[b"flow"]);
        assert_eq!(take_all(&mut receivers[0])[0].destination, target);
    }
}

#[test]
fn ipv6_sources_have_their_shard() {
    if super::super::wildcard(0).is_ipv4() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    for shards in [1, 2, 3, 7] {
        let mut receivers = bind(&["[::1]:0"], shards);
        let target = receivers[0].local_addresses()[0];
        let source = send(target.ip(), target, &[b"six"]);
        let taken = take_all(&mut receivers[shard_of(source.ip(), shards)]);
        assert_eq!(taken.len(), 1);
        assert_eq!(
            (taken[0].source, &taken[0].payload[..]),
            (source, &b"six"[..])
        );
    }
}

#[test]
fn the_longest_and_the_shortest_datagram() {
    let mut receiver = bind(&["127.0.0.1:0"], 1).remove(0);
    let target = receiver.local_addresses()[0];
    let longest: Vec<u8> = (0..65_507u32).map(|index| (index * 31) as u8).collect();
    send(loopback(1), target, &[&longest, b"", &longest]);
    let taken = take_all(&mut receiver);
    assert_eq!(taken.len(), 3);
    assert!(taken[0].payload == longest);
    assert!(taken[1].payload.is_empty());
    assert!(taken[2].payload == longest);
    assert_eq!(receiver.truncated(), 0);
}

#[test]
fn more_than_a_batch_comes_in_order() {
    let mut receiver = bind(&["127.0.0.1:0"], 1).remove(0);
    let target = receiver.local_addresses()[0];
    let payloads: Vec<[u8; 2]> = (0..200u16).map(u16::to_be_bytes).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(<[u8; 2]>::as_slice).collect();
    send(loopback(1), target, &payloads);
    assert_eq!(receiver.receive(LONG).unwrap().len(), 64);
    let rest = take_all(&mut receiver);
    assert_eq!(rest.len(), 136);
    assert!(
        rest.iter()
            .map(|taken| &taken.payload[..])
            .eq(payloads[64..].iter().copied())
    );
}

#[test]
fn sent_is_received_plus_dropped_by_the_kernel() {
    for shards in [1, 3] {
        let options = SocketOptions {
            receive_buffer_bytes: 10_000,
        };
        let listen = [address("127.0.0.1:0"), address("127.0.0.1:0")];
        let mut receivers = ShardSockets::bind(&listen, shards, &options).unwrap();
        let targets = receivers[0].local_addresses().to_vec();
        let (mut sent, mut received) = (0, 0);
        for round in 0..3 {
            for last in 1..=20 {
                for target in &targets {
                    let payloads = vec![&[0u8; 500][..]; 50 * round];
                    send(loopback(last), *target, &payloads);
                    sent += payloads.len() as u64;
                }
            }
            // No datagram follows: the count is right all the same.
            let dropped: u64 = receivers
                .iter_mut()
                .map(super::ShardReceiver::kernel_drops)
                .sum();
            received += receivers
                .iter_mut()
                .map(|receiver| take_all(receiver).len() as u64)
                .sum::<u64>();
            assert_eq!(sent, received + dropped);
            assert_eq!(dropped > 0, round > 0);
        }
    }
}

#[test]
fn a_busy_socket_does_not_starve_another() {
    let mut receiver = bind(&["127.0.0.1:0", "127.0.0.1:0"], 1).remove(0);
    let targets = receiver.local_addresses().to_vec();
    let flood = vec![&[0u8; 10][..]; 64];
    // The first socket is always full; what comes to the second is found in a few rounds.
    for _ in 0..10 {
        for _ in 0..5 {
            send(loopback(1), targets[0], &flood);
            receiver.receive(LONG).unwrap();
        }
        send(loopback(1), targets[1], &[b"rare"]);
        let mut rounds = 0;
        loop {
            send(loopback(1), targets[0], &flood);
            let datagrams = receiver.receive(LONG).unwrap();
            rounds += 1;
            if datagrams
                .into_iter()
                .any(|datagram| datagram.destination == targets[1])
            {
                break;
            }
            assert!(rounds < 40);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this is about waiting")]
fn waiting_ends_with_a_datagram_or_with_the_time() {
    let mut receiver = bind(&["127.0.0.1:0", "127.0.0.1:0"], 1).remove(0);
    let target = receiver.local_addresses()[1];
    let start = Instant::now();
    assert_eq!(
        receiver.receive(Duration::from_millis(30)).unwrap().len(),
        0
    );
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(receiver.receive(Duration::ZERO).unwrap().len(), 0);

    let sender = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        send(loopback(1), target, &[b"late"]);
    });
    let start = Instant::now();
    assert_eq!(receiver.receive(LONG).unwrap().len(), 1);
    assert!(start.elapsed() < LONG);
    sender.join().unwrap();
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "this is about the time of receipt"
)]
fn the_time_of_receipt_is_the_kernels() {
    let now_ns = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(since.as_nanos()).unwrap()
    };
    let mut receiver = bind(&["127.0.0.1:0"], 1).remove(0);
    let target = receiver.local_addresses()[0];
    let before = now_ns();
    send(loopback(1), target, &[b"one"]);
    let after = now_ns();
    // Not when it is read, but when it came.
    thread::sleep(Duration::from_millis(50));
    let taken = take_all(&mut receiver);
    assert!((before..=after).contains(&taken[0].received_ns));
}

#[test]
fn addresses_as_the_kernel_writes_them() {
    let inet = [
        &(libc::AF_INET as u16).to_ne_bytes()[..],
        &[0x08, 0x07, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(sockaddr::decode(&inet.concat()), address("192.0.2.1:2055"));
    let inet6 = |octets: [u8; 16], scope: u32| {
        [
            &(libc::AF_INET6 as u16).to_ne_bytes()[..],
            &[0x08, 0x07, 1, 2, 3, 4],
            &octets,
            &scope.to_ne_bytes(),
        ]
        .concat()
    };
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    assert_eq!(
        sockaddr::decode(&inet6(octets("2001:db8::1"), 0)),
        address("[2001:db8::1]:2055")
    );
    assert_eq!(
        sockaddr::decode(&inet6(octets("fe80::1"), 3)),
        address("[fe80::1%3]:2055")
    );
    assert_eq!(
        sockaddr::decode(&inet6(octets("::ffff:192.0.2.1"), 0)),
        address("192.0.2.1:2055")
    );
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    assert_eq!(sockaddr::decode(&[]), unknown);
    assert_eq!(sockaddr::decode(&[0; 28]), unknown);
    assert_eq!(timestamp_ns(&[]), None);
    assert_eq!(timestamp_ns(&[0; 32]), None);
}
