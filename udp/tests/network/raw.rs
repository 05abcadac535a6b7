//! Sends from any source.

use std::fs;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use forebay_udp::{Outgoing, RawSender};
use socket2::{Domain, Protocol, Socket, Type};

use crate::space::{ip, program};

const EMSGSIZE: i32 = 90;
const EAFNOSUPPORT: i32 = 97;
const EADDRNOTAVAIL: i32 = 99;
const ENETUNREACH: i32 = 101;
const ENOBUFS: i32 = 105;

const SOURCE_4: &str = "192.0.2.1:50000";
const SOURCE_6: &str = "[2001:db8::1]:50000";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn receiver(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).expect("loopback");
    let wait = Some(Duration::from_secs(10));
    socket.set_read_timeout(wait).expect("a socket");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 7 % 251) as u8).collect()
}

fn outgoing<'a>(source: &str, destination: SocketAddr, payload: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        source: address(source),
        destination,
        payload,
    }
}

fn send(sender: &mut RawSender, datagrams: &[Outgoing<'_>]) -> Vec<(usize, Option<i32>)> {
    let mut failed = Vec::new();
    sender.send(datagrams, |index, error| {
        failed.push((index, error.raw_os_error()));
    });
    failed
}

/// Takes a datagram, which the kernel has put together and whose checksum it has looked at.
#[track_caller]
fn expect(receiver: &UdpSocket, source: SocketAddr, payload: &[u8]) {
    let mut buffer = vec![0; 65_536];
    let (bytes, from) = receiver.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(from, source);
    assert!(buffer[..bytes] == *payload, "{bytes} of {}", payload.len());
}

#[track_caller]
fn expect_nothing(receiver: &UdpSocket) {
    receiver.set_nonblocking(true).expect("a socket");
    assert!(receiver.recv_from(&mut [0; 10]).is_err());
    receiver.set_nonblocking(false).expect("a socket");
}

pub(crate) fn sources_are_as_given() {
    let (v4, to_v4) = receiver("127.0.0.1:0");
    let (v6, to_v6) = receiver("[::1]:0");
    let mut sender = RawSender::open().expect("privileged");
    let payloads: Vec<[u8; 2]> = (0..300_u16).map(u16::to_be_bytes).collect();
    let datagrams: Vec<Outgoing<'_>> = payloads
        .iter()
        .zip(0_u16..)
        .map(|(payload, number)| {
            let last = number % 7 + 1;
            match number % 3 {
                0 => outgoing(&format!("[2001:db8::{last}]:{number}"), to_v6, payload),
                // An IPv4 address may come as one of IPv6.
                1 => outgoing(&format!("[::ffff:192.0.2.{last}]:{number}"), to_v4, payload),
                _ => outgoing(&format!("192.0.2.{last}:{number}"), to_v4, payload),
            }
        })
        .collect();
    assert_eq!(send(&mut sender, &datagrams), []);
    for datagram in &datagrams {
        let source = SocketAddr::new(datagram.source.ip().to_canonical(), datagram.source.port());
        let receiver = if source.is_ipv4() { &v4 } else { &v6 };
        expect(receiver, source, datagram.payload);
    }
    assert_eq!(send(&mut sender, &[]), []);
    expect_nothing(&v4);
    expect_nothing(&v6);
}

pub(crate) fn the_longest_and_the_shortest_datagram() {
    let mut sender = RawSender::open().expect("privileged");
    for (to, source, longest) in [
        ("127.0.0.1:0", SOURCE_4, 65_507),
        ("[::1]:0", SOURCE_6, 65_527),
    ] {
        let (receiver, to) = receiver(to);
        for bytes in [0, 1, 2, 3, longest - 1, longest] {
            let payload = payload(bytes);
            assert_eq!(send(&mut sender, &[outgoing(source, to, &payload)]), []);
            expect(&receiver, address(source), &payload);
        }
        let too_long = payload(longest + 1);
        let failed = send(&mut sender, &[outgoing(source, to, &too_long)]);
        assert_eq!(failed, [(0, Some(EMSGSIZE))]);
        expect_nothing(&receiver);
    }
}

pub(crate) fn what_does_not_fit_goes_in_fragments() {
    ip("link set lo mtu 1500");
    let mut sender = RawSender::open().expect("privileged");
    for (to, source) in [("127.0.0.1:0", SOURCE_4), ("[::1]:0", SOURCE_6)] {
        let (receiver, to) = receiver(to);
        // As long as fits, a little longer, and more fragments than are sent at a time.
        for bytes in [1452, 1453, 1472, 1473, 4000, 65_507] {
            let payload = payload(bytes);
            let two = [outgoing(source, to, &payload); 2];
            assert_eq!(send(&mut sender, &two), []);
            expect(&receiver, address(source), &payload);
            expect(&receiver, address(source), &payload);
        }
    }
    // Put together by the kernel, not sent whole.
    let made = counter("ReasmOKs") + counter("Ip6ReasmOKs");
    assert_eq!(made, 16, "6 of IPv4 and 10 of IPv6");
}

pub(crate) fn a_path_that_gets_narrower_costs_nothing() {
    let mut sender = RawSender::open().expect("privileged");
    let (v4, to_v4) = receiver("127.0.0.1:0");
    let (v6, to_v6) = receiver("[::1]:0");
    let (long, short) = (payload(3000), payload(100));
    let datagrams = [
        outgoing(SOURCE_4, to_v4, &short),
        outgoing(SOURCE_6, to_v6, &long),
        outgoing(SOURCE_4, to_v4, &long),
        outgoing(SOURCE_6, to_v6, &short),
        outgoing(SOURCE_4, to_v4, &short),
    ];
    for mtu in [65_536, 1500, 1400, 1300] {
        ip(&format!("link set lo mtu {mtu}"));
        assert_eq!(send(&mut sender, &datagrams), [], "{mtu}");
        for datagram in &datagrams {
            let receiver = if datagram.source.is_ipv4() { &v4 } else { &v6 };
            expect(receiver, datagram.source, datagram.payload);
        }
    }
}

pub(crate) fn a_datagram_in_two_batches_goes_once() {
    let (short, long) = (payload(100), payload(10_000));
    for (to, source) in [("127.0.0.1:0", SOURCE_4), ("[::1]:0", SOURCE_6)] {
        ip("link set lo mtu 1500");
        let mut sender = RawSender::open().expect("privileged");
        let (receiver, to) = receiver(to);
        // A batch is of 64 packets: it ends among the fragments of the last.
        let mut datagrams = vec![outgoing(source, to, &short); 60];
        datagrams.push(outgoing(source, to, &long));
        // The second time the path is narrower than it was.
        for mtu in [1500, 1300] {
            ip(&format!("link set lo mtu {mtu}"));
            assert_eq!(send(&mut sender, &datagrams), []);
            for datagram in &datagrams {
                expect(&receiver, datagram.source, datagram.payload);
            }
            expect_nothing(&receiver);
        }
    }
}

pub(crate) fn it_receives_nothing() {
    let sender = RawSender::open().expect("privileged");
    // 255, by which the kernel finds raw sockets that it is given the IP header by.
    #[rustfmt::skip]
    let v4 = [
        0x45, 0, 0, 24, 0, 0, 0, 0, 64, 255, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1,
        b'f', b'l', b'o', b'w',
    ];
    let localhost = Ipv6Addr::LOCALHOST.octets();
    let v6 = [
        &[0x60, 0, 0, 0, 0, 4, 255, 64][..],
        &localhost,
        &localhost,
        b"flow",
    ]
    .concat();
    for (domain, to, packet) in [
        (Domain::IPV4, address("127.0.0.1:0"), &v4[..]),
        (Domain::IPV6, address("[::1]:0"), &v6),
    ] {
        let other = Socket::new(domain, Type::RAW, Some(Protocol::from(255))).expect("privileged");
        assert_eq!(
            other.send_to(packet, &to.into()).expect("sent"),
            packet.len()
        );
        // It reached raw sockets.
        other
            .recv(&mut [MaybeUninit::uninit(); 100])
            .expect("a packet");
    }
    for sockets in ["/proc/net/raw", "/proc/net/raw6"] {
        let sockets = fs::read_to_string(sockets).expect("raw sockets");
        let mut lines = sockets.lines().map(str::split_whitespace);
        lines.next().expect("a line of names");
        let of_sender: Vec<_> = lines.map(|mut line| line.nth(4)).collect();
        // Bytes that wait to be sent, and to be read.
        assert_eq!(of_sender, [Some("00000000:00000000")], "{sockets}");
    }
    drop(sender);
}

pub(crate) fn each_datagram_that_does_not_go_is_told_once() {
    ip("link set lo mtu 1500");
    let (receiver, to) = receiver("127.0.0.1:0");
    let long = payload(65_000);
    let datagrams = [
        outgoing(SOURCE_4, to, b"first"),
        outgoing(SOURCE_6, to, b"neither family"),
        outgoing(SOURCE_4, address("[::1]:2055"), b"neither family"),
        outgoing("0.0.0.0:9", to, b"no source"),
        outgoing("224.0.0.1:9", to, b"no source"),
        outgoing("255.255.255.255:9", to, b"no source"),
        outgoing("[::]:9", address("[::1]:2055"), b"no source"),
        // There is no route; of the second there would be 44 fragments.
        outgoing(SOURCE_4, address("203.0.113.1:2055"), b"no way"),
        outgoing(SOURCE_4, address("203.0.113.1:2055"), &long),
        outgoing(SOURCE_6, address("[2001:db8::9]:2055"), &long),
        outgoing(SOURCE_4, address("255.255.255.255:2055"), b"everybody"),
        outgoing(SOURCE_4, to, b"last"),
    ];
    let mut sender = RawSender::open().expect("privileged");
    let mut failed = send(&mut sender, &datagrams);
    failed.sort_unstable();
    let expected = [
        (1, EAFNOSUPPORT),
        (2, EAFNOSUPPORT),
        (3, EADDRNOTAVAIL),
        (4, EADDRNOTAVAIL),
        (5, EADDRNOTAVAIL),
        (6, EADDRNOTAVAIL),
        (7, ENETUNREACH),
        (8, ENETUNREACH),
        (9, ENETUNREACH),
        (10, ENETUNREACH),
    ];
    assert_eq!(failed, expected.map(|(index, error)| (index, Some(error))));
    expect(&receiver, address(SOURCE_4), b"first");
    expect(&receiver, address(SOURCE_4), b"last");
    expect_nothing(&receiver);
}

pub(crate) fn a_full_queue_is_told() {
    // A link that takes a few packets a second, and a queue for a few more.
    ip("link add va type veth peer name vb");
    // IPv6 sends some packets of its own.
    fs::write("/proc/sys/net/ipv6/conf/va/disable_ipv6", "1").expect("a setting");
    ip("link set va up");
    ip("link set vb up");
    ip("address add 198.51.100.1/24 dev va");
    ip("neighbour add 198.51.100.2 lladdr 02:00:00:00:00:02 dev va");
    program(
        "tc",
        "qdisc add dev va root tbf rate 80kbit burst 1540 limit 6000",
    );
    let payload = payload(1000);
    let datagrams = [outgoing(SOURCE_4, address("198.51.100.2:2055"), &payload); 100];
    let mut sender = RawSender::open().expect("privileged");
    let failed = send(&mut sender, &datagrams);
    assert!(failed.len() > 80, "{} failed", failed.len());
    let mut indexes: Vec<usize> = failed.iter().map(|(index, _)| *index).collect();
    indexes.dedup();
    assert_eq!(indexes.len(), failed.len(), "each is told once");
    assert!(failed.iter().all(|(_, error)| *error == Some(ENOBUFS)));
    // What did not fail is on its way.
    let taken = program("tc", "-s qdisc show dev va");
    let number = |before: &str, after: &str| -> usize {
        let (_, rest) = taken.split_once(before).expect("tc tells");
        let (number, _) = rest.split_once(after).expect("tc tells");
        number
            .trim()
            .rsplit(' ')
            .next()
            .unwrap_or("")
            .parse()
            .expect("a number")
    };
    let passed = number("bytes ", " pkt") + number("backlog", "p requeues");
    assert_eq!(passed, datagrams.len() - failed.len(), "{taken}");
}

/// A counter of the namespace's IP.
fn counter(name: &str) -> u64 {
    if let Some(of_6) = name.strip_prefix("Ip6") {
        let all = fs::read_to_string("/proc/net/snmp6").expect("IPv6");
        let name = format!("Ip6{of_6}");
        let line = all.lines().find(|line| line.starts_with(&name));
        return line
            .and_then(|line| line.split_whitespace().last())
            .and_then(|number| number.parse().ok())
            .expect("a counter");
    }
    let all = fs::read_to_string("/proc/net/snmp").expect("IPv4");
    let mut lines = all.lines().filter(|line| line.starts_with("Ip: "));
    let names = lines.next().expect("a line of names").split(' ');
    let numbers = lines.next().expect("a line of numbers").split(' ');
    names
        .zip(numbers)
        .find(|(is, _)| *is == name)
        .and_then(|(_, number)| number.parse().ok())
        .expect("a counter")
}
