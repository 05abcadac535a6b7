//! Sends on loopback that need no privilege, and what is refused.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{Outgoing, OwnSender, RawSender, SendError};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn receiver(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("loopback");
    let wait = Some(Duration::from_secs(10));
    socket.set_read_timeout(wait).expect("a socket");
    socket
}

fn send(sender: &mut OwnSender, datagrams: &[Outgoing<'_>]) -> Vec<(usize, Option<i32>)> {
    let mut failed = Vec::new();
    sender.send(datagrams, |index, error| {
        failed.push((index, error.raw_os_error()));
    });
    failed
}

#[test]
fn own_datagrams_go_to_every_destination_in_order() {
    let mut receivers = vec![receiver("127.0.0.1:0"), receiver("127.0.0.2:0")];
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        receivers.push(receiver("[::1]:0"));
    }
    let payloads: Vec<[u8; 2]> = (0..300_u16).map(u16::to_be_bytes).collect();
    let destinations: Vec<SocketAddr> = receivers
        .iter()
        .map(|receiver| receiver.local_addr().unwrap())
        .collect();
    let datagrams: Vec<Outgoing<'_>> = payloads
        .iter()
        .zip(destinations.iter().cycle())
        .map(|(payload, &destination)| Outgoing {
            source: address("192.0.2.1:9"),
            destination,
            payload,
        })
        .collect();
    let mut sender = OwnSender::open().unwrap();
    assert_eq!(send(&mut sender, &datagrams), []);
    let mut buffer = [0; 10];
    for (first, receiver) in receivers.iter().enumerate() {
        for payload in payloads.iter().skip(first).step_by(receivers.len()) {
            let (bytes, source) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..bytes], *payload);
            assert!(source.ip().is_loopback(), "{source}");
        }
    }
    assert_eq!(sender.refused().count(), 0);
}

#[test]
fn each_own_datagram_that_does_not_go_is_told_once() {
    let receiver = receiver("127.0.0.1:0");
    let destination = receiver.local_addr().unwrap();
    let long = vec![7; 65_508];
    let of = |destination, payload| Outgoing {
        source: destination,
        destination,
        payload,
    };
    let datagrams = [
        of(destination, &b"first"[..]),
        of(destination, &long),
        of(address("127.0.0.1:0"), b"port 0"),
        of(destination, b"second"),
    ];
    let mut sender = OwnSender::open().unwrap();
    let failed = send(&mut sender, &datagrams);
    assert_eq!(failed, [(1, Some(libc::EMSGSIZE)), (2, Some(libc::EINVAL))]);
    let mut buffer = [0; 10];
    for expected in [&b"first"[..], b"second"] {
        let bytes = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..bytes], expected);
    }
}

#[test]
fn a_refusal_is_told_and_costs_no_other_datagram() {
    let listening = receiver("127.0.0.1:0");
    let closed = receiver("127.0.0.1:0").local_addr().unwrap();
    let to = [closed, listening.local_addr().unwrap()];
    let datagrams: Vec<Outgoing<'_>> = (0..200)
        .map(|index| Outgoing {
            source: closed,
            destination: to[index % 2],
            payload: b"flow",
        })
        .collect();
    let mut sender = OwnSender::open().unwrap();
    assert_eq!(send(&mut sender, &datagrams), []);
    assert_eq!(sender.refused().collect::<Vec<_>>(), [closed]);
    let mut buffer = [0; 10];
    for _ in 0..100 {
        assert_eq!(listening.recv(&mut buffer).unwrap(), 4);
    }
    // Told once, and again only if it refuses again.
    assert_eq!(sender.refused().count(), 0);
    assert_eq!(send(&mut sender, &datagrams[1..2]), []);
    assert_eq!(listening.recv(&mut buffer).unwrap(), 4);
    sender.refused().for_each(drop);
    assert_eq!(send(&mut sender, &datagrams[1..2]), []);
    assert_eq!(sender.refused().count(), 0);
}

#[test]
fn without_the_privilege_the_error_says_what_to_do() {
    let denied = SendError::raw(io::Error::from_raw_os_error(libc::EPERM));
    let said = denied.to_string();
    let program = std::env::current_exe().unwrap();
    assert!(said.contains("CAP_NET_RAW"), "{said}");
    assert!(
        said.ends_with(&format!(
            "`sudo setcap cap_net_raw+ep {}`",
            program.display()
        )),
        "{said}"
    );
    // Where this is run by a user, that is what opening says.
    if let Err(error) = RawSender::open() {
        assert!(matches!(error, SendError::Permission { .. }), "{error}");
    }
}
