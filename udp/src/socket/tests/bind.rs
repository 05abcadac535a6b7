//! Which addresses can be had, and what is said when not.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use socket2::{Domain, Socket, Type};

use super::super::{BindError, ShardSockets, SocketOptions, bind_group, refused, wildcard};
use super::{OPTIONS, address, bind, send, take_all};

fn error(listen: &[&str], shards: usize) -> BindError {
    let listen: Vec<_> = listen.iter().map(|text| address(text)).collect();
    match ShardSockets::bind(&listen, shards, &OPTIONS) {
        Ok(receivers) => panic!("bound {receivers:?}"),
        Err(error) => error,
    }
}

#[test]
fn a_port_that_somebody_has_is_in_use() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    for shards in [1, 2] {
        assert!(matches!(
            error(&[&taken], shards),
            BindError::PortInUse { .. }
        ));
    }
    let port = other.local_addr().unwrap().port();
    assert_eq!(
        error(&[&taken], 1).to_string(),
        format!(
            "cannot listen on 127.0.0.1:{port}: UDP port {port} is in use; is another collector \
             running? see `ss -ulpn 'sport = :{port}'`"
        )
    );
}

#[test]
fn a_port_that_would_be_shared_is_in_use() {
    // Ours, twice.
    for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let receivers = bind(&["127.0.0.1:0"], first);
        let taken = receivers[0].local_addresses()[0].to_string();
        assert!(matches!(
            error(&[&taken], second),
            BindError::PortInUse { .. }
        ));
    }
    // A stranger's of the same user.
    let other = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    other.set_reuse_port(true).unwrap();
    other.bind(&address("127.0.0.1:0").into()).unwrap();
    let taken = other.local_addr().unwrap().as_socket().unwrap().to_string();
    assert!(matches!(error(&[&taken], 2), BindError::PortInUse { .. }));
}

#[test]
fn nothing_stays_bound_after_an_error() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses = [&free, &taken].map(|socket| socket.local_addr().unwrap().to_string());
    drop(free);
    error(&[&addresses[0], &addresses[1]], 2);
    bind(&[&addresses[0]], 1);
}

#[test]
fn addresses_that_cannot_be() {
    assert_eq!(
        error(&["192.0.2.1:2055"], 1).to_string(),
        "cannot listen on 192.0.2.1:2055: this machine has no address 192.0.2.1; see `ip \
         address`, or listen on every address with 0.0.0.0"
    );
    let port = bind(&["127.0.0.1:0"], 1)[0].local_addresses()[0].port();
    let twice = format!("127.0.0.1:{port}");
    assert_eq!(
        error(&[&twice, &twice], 1).to_string(),
        format!("cannot listen on 127.0.0.1:{port}: it is listed twice; remove one")
    );
    assert_eq!(error(&[], 1).to_string(), "no address to listen on");
    for shards in [0, 1025] {
        assert_eq!(
            error(&["127.0.0.1:0"], shards).to_string(),
            format!("cannot receive on {shards} shards: from 1 to 1024 are possible")
        );
    }
    let denied = refused(
        address("0.0.0.0:162"),
        io::Error::from_raw_os_error(libc::EACCES),
    );
    assert_eq!(
        denied.to_string(),
        "cannot listen on 0.0.0.0:162: no permission for UDP port 162; use a port from 1024 on, \
         or give the program CAP_NET_BIND_SERVICE"
    );
    let no_ipv6 = io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
    assert_eq!(
        refused(address("[::]:2055"), no_ipv6).to_string(),
        "cannot listen on [::]:2055: this machine has no IPv6; listen on an IPv4 address"
    );
}

#[test]
fn every_address_of_both_families() {
    let wildcard = wildcard(0);
    if wildcard.is_ipv4() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    for shards in [1, 2] {
        let mut receivers = bind(&[&wildcard.to_string()], shards);
        let port = receivers[0].local_addresses()[0].port();
        let v4 = send(
            Ipv4Addr::LOCALHOST.into(),
            (Ipv4Addr::LOCALHOST, port).into(),
            &[b"four"],
        );
        let v6 = send(
            "::1".parse().unwrap(),
            address(&format!("[::1]:{port}")),
            &[b"six"],
        );
        let mut sources: Vec<_> = receivers
            .iter_mut()
            .flat_map(take_all)
            .map(|taken| (taken.payload, taken.source))
            .collect();
        sources.sort();
        // IPv4 sources are not mapped.
        assert_eq!(sources, [(b"four".to_vec(), v4), (b"six".to_vec(), v6)]);
    }
}

#[test]
fn both_wildcards_of_one_port_are_two_addresses() {
    if wildcard(0).is_ipv4() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let port = bind(&["[::]:0"], 1)[0].local_addresses()[0].port();
    let both = [format!("[::]:{port}"), format!("0.0.0.0:{port}")];
    let mut receiver = bind(&[&both[0], &both[1]], 1).remove(0);
    send(
        Ipv4Addr::LOCALHOST.into(),
        (Ipv4Addr::LOCALHOST, port).into(),
        &[b"four"],
    );
    let taken = take_all(&mut receiver);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].destination, address(&both[1]));
}

#[test]
fn the_granted_buffer_is_told() {
    let granted = |bytes: usize| {
        let options = SocketOptions {
            receive_buffer_bytes: bytes,
        };
        let receivers = ShardSockets::bind(&[address("127.0.0.1:0")], 1, &options).unwrap();
        receivers[0].granted_buffer_bytes()
    };
    assert_eq!(granted(100_000), 100_000);
    // Without the privilege, no more than the system's limit.
    let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let more = limit + 50_000;
    assert!([limit, more].contains(&granted(more)));
}

#[test]
fn closed_until_the_group_is_complete() {
    let mut group = bind_group(address("127.0.0.1:0"), 2, false, &OPTIONS).unwrap();
    let target = group[0].local_address;
    send(Ipv4Addr::LOCALHOST.into(), target, &[&b"early"[..]; 10]);
    for socket in &mut group {
        socket.open().unwrap();
    }
    send(Ipv4Addr::LOCALHOST.into(), target, &[b"late"]);
    let mut receivers: Vec<_> = group
        .into_iter()
        .map(|socket| super::ShardReceiver::new(vec![socket]))
        .collect();
    let taken: Vec<_> = receivers.iter_mut().flat_map(take_all).collect();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].payload, b"late");
    let drops: u64 = receivers
        .iter_mut()
        .map(super::ShardReceiver::kernel_drops)
        .sum();
    assert_eq!(drops, 0);
}
