//! Packets below the IP stack.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use forebay_udp::{
    Outgoing, PacketCounts, PacketError, PacketOptions, PacketReceiver, PacketRing, RawSender,
    SendError, drop_network_privileges, shard_of,
};

use crate::inject::{inject, lock_filter};
use crate::space::{self, ip, try_ip};

/// A datagram that has left the ring.
type Taken = (SocketAddr, SocketAddr, Vec<u8>);

/// Far longer than it takes; it is waited for only when something is missing.
const LONG: Duration = Duration::from_secs(10);
/// Longer than a packet waits for its block to be full.
const SHORT: Duration = Duration::from_millis(200);
/// Datagrams for a port that nobody listens on.
const UNWANTED: u64 = 200;
/// What is sent to the far end of the link, though nobody has the addresses there.
const FAR: [&str; 2] = ["198.51.100.2:2055", "[2001:db8:1::2]:2055"];

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn options(listen: &[&str], exclude: &[&str]) -> PacketOptions {
    let addresses = |texts: &[&str]| texts.iter().map(|text| address(text)).collect();
    PacketOptions {
        interfaces: Vec::new(),
        listen: addresses(listen),
        exclude: addresses(exclude),
        shards: 1,
        ring_bytes: 4 << 20,
    }
}

fn open(options: &PacketOptions) -> PacketReceiver {
    PacketRing::open(options).expect("privileged").remove(0)
}

/// Takes as many datagrams as are expected, and makes sure that no more come.
#[track_caller]
fn take(receiver: &mut PacketReceiver, expected: usize) -> Vec<Taken> {
    let mut all = Vec::new();
    loop {
        let wait = if all.len() < expected { LONG } else { SHORT };
        let datagrams = receiver.receive(wait).expect("readable");
        let count = datagrams.len();
        all.extend(datagrams.map(|datagram| {
            assert!(datagram.received_ns > 1_700_000_000_000_000_000);
            (
                datagram.source,
                datagram.destination,
                datagram.payload.to_vec(),
            )
        }));
        if count == 0 {
            assert_eq!(all.len(), expected);
            return all;
        }
    }
}

/// Takes the only datagram that is wanted, whatever comes before it.
#[track_caller]
fn receive_one(receiver: &mut PacketReceiver) {
    let mut before = receiver.counts().packets;
    loop {
        match receiver.receive(LONG).expect("readable").len() {
            0 => {}
            count => return assert_eq!(count, 1),
        }
        let now = receiver.counts().packets;
        assert!(now > before, "none came");
        before = now;
    }
}

/// A link of two ends in this namespace: what is sent to the far end's network leaves by `va`
/// and comes in by `vb`, where it is nobody's.
fn link() {
    ip("link add va type veth peer name vb");
    ip("link set vb address 02:00:00:00:00:02");
    ip("link set va up");
    ip("link set vb up");
    far_network("va");
}

fn far_network(device: &str) {
    ip(&format!("address add 198.51.100.1/24 dev {device}"));
    ip(&format!("address add 2001:db8:1::1/64 dev {device} nodad"));
    for host in ["198.51.100.2", "198.51.100.3", "2001:db8:1::2"] {
        ip(&format!(
            "neighbour add {host} lladdr 02:00:00:00:00:02 dev {device}"
        ));
    }
}

fn send(datagrams: &[Outgoing<'_>]) {
    let mut sender = RawSender::open().expect("privileged");
    sender.send(datagrams, |index, error| panic!("{index}: {error}"));
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 7 % 251) as u8).collect()
}

/// Sends one of these to the far end by both protocols, and expects it once.
#[track_caller]
fn expect_once(receiver: &mut PacketReceiver, payload: &[u8]) {
    let datagrams = [("192.0.2.1:50000", FAR[0]), ("[2001:db8::1]:50000", FAR[1])].map(
        |(source, destination)| Outgoing {
            source: address(source),
            destination: address(destination),
            payload,
        },
    );
    send(&datagrams);
    let mut taken = take(receiver, 2);
    taken.sort();
    let mut expected =
        datagrams.map(|datagram| (datagram.source, datagram.destination, payload.to_vec()));
    expected.sort();
    assert!(taken == expected, "{} and {}", taken[0].0, taken[1].0);
}

pub(crate) fn loopback_is_seen_once_and_beside_sockets() {
    let v4 = UdpSocket::bind("127.0.0.1:2055").expect("loopback");
    let v6 = UdpSocket::bind("[::1]:2055").expect("loopback");
    let mut receiver = open(&options(&["[::]:2055"], &["127.0.0.1:9995"]));
    let mut expected = Vec::new();
    for number in 0..100_u8 {
        for (from, to) in [(&v4, "127.0.0.1"), (&v6, "[::1]")] {
            let destination = address(&format!("{to}:2055"));
            from.send_to(&[number; 100], destination).expect("sent");
            let source = from.local_addr().expect("bound");
            expected.push((source, destination, vec![number; 100]));
        }
        // Another port, and what is left out.
        v4.send_to(&[1; 100], "127.0.0.1:2056").expect("sent");
        v4.send_to(&[1; 100], "127.0.0.1:9995").expect("sent");
    }
    let mut taken = take(&mut receiver, 200);
    taken.sort();
    expected.sort();
    assert_eq!(taken, expected);
    let counts = receiver.counts();
    assert_eq!((counts.packets, counts.datagrams), (200, 200));
    assert_eq!(receiver.kernel_drops(), 0);
    // The sockets have them too.
    let mut buffer = [0; 200];
    for socket in [v4, v6] {
        socket.set_nonblocking(true).expect("a socket");
        for number in 0..100 {
            assert_eq!(socket.recv(&mut buffer).expect("a datagram"), 100);
            assert_eq!(buffer[..100], [number; 100]);
        }
    }
}

pub(crate) fn a_source_reaches_one_shard() {
    const SHARDS: usize = 3;
    link();
    let mut all = options(&["0.0.0.0:2055", "[::]:4739"], &[]);
    all.shards = SHARDS;
    let mut receivers = PacketRing::open(&all).expect("privileged");
    let payload = payload(1450);
    let mut datagrams = Vec::new();
    for host in 1..=60 {
        for port in [50_000, 50_001] {
            for (source, destination) in [
                (format!("192.0.2.{host}:{port}"), "198.51.100.2:2055"),
                (format!("[2001:db8::{host}]:{port}"), "[2001:db8:1::2]:4739"),
            ] {
                datagrams.push(Outgoing {
                    source: address(&source),
                    destination: address(destination),
                    payload: &payload,
                });
            }
        }
    }
    send(&datagrams);
    let mut by_shard: BTreeMap<usize, usize> = BTreeMap::new();
    for datagram in &datagrams {
        *by_shard
            .entry(shard_of(datagram.source.ip(), SHARDS))
            .or_default() += 1;
    }
    for (shard, receiver) in receivers.iter_mut().enumerate() {
        for (source, _, bytes) in take(receiver, by_shard[&shard]) {
            assert_eq!(shard_of(source.ip(), SHARDS), shard, "{source}");
            assert!(bytes == payload);
        }
    }
}

pub(crate) fn tagged_packets_are_seen_once() {
    link();
    let mut receiver = open(&options(&["[::]:2055"], &[]));
    // IPv4 with 192.0.2.1:50000 → 198.51.100.2:2055 and no checksum; IPv6 must have one.
    let v4 = [
        &[0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0x8e, 0x96][..],
        &[192, 0, 2, 1, 198, 51, 100, 2],
        &[0xc3, 0x50, 0x08, 0x07, 0, 12, 0, 0],
        b"flow",
    ]
    .concat();
    let frame = |tags: &[u8]| [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], tags, &[8, 0], &v4].concat();
    let tagged = [
        frame(&[]),
        frame(&[0x81, 0, 0x20, 7]),
        frame(&[0x88, 0xa8, 0, 8]),
        // Priority alone, in VLAN 0.
        frame(&[0x81, 0, 0xe0, 0]),
    ];
    inject("va", &tagged);
    for (source, destination, payload) in take(&mut receiver, tagged.len()) {
        assert_eq!(source, address("192.0.2.1:50000"));
        assert_eq!(destination, address(FAR[0]));
        assert_eq!(payload, b"flow");
    }
}

pub(crate) fn packets_of_vlan_interfaces_are_seen_once() {
    ip("link add va type veth peer name vb");
    ip("link set vb address 02:00:00:00:00:02");
    ip("link set va up");
    ip("link set vb up");
    if !try_ip("link add link va name va.7 type vlan id 7") {
        space::end_for_want_of("this kernel has no VLAN interfaces");
    }
    ip("link set va.7 up");
    far_network("va.7");
    let mut receiver = open(&options(&["[::]:2055"], &[]));
    expect_once(&mut receiver, b"no such VLAN here");
    ip("link add link vb name vb.7 type vlan id 7");
    ip("link set vb.7 up");
    expect_once(&mut receiver, b"by its interface");
    let mut of_link = options(&["[::]:2055"], &[]);
    of_link.interfaces = vec!["lo".to_owned(), "vb.7".to_owned()];
    expect_once(&mut open(&of_link), b"by its name");
    ip("link del va.7");
    ip("link add link va name va.8 type vlan id 8 protocol 802.1ad");
    ip("link set va.8 up");
    ip("link add link va.8 name va.8.7 type vlan id 7");
    ip("link set va.8.7 up");
    ip("link add link vb name vb.8 type vlan id 8 protocol 802.1ad");
    ip("link set vb.8 up");
    ip("link add link vb.8 name vb.8.7 type vlan id 7");
    ip("link set vb.8.7 up");
    far_network("va.8.7");
    expect_once(&mut receiver, b"a tag in a tag");
}

pub(crate) fn interfaces_are_told_apart() {
    link();
    let mut of_link = options(&["[::]:2055"], &[]);
    of_link.interfaces = vec!["lo".to_owned(), "va".to_owned()];
    let mut near = open(&of_link);
    of_link.interfaces = vec!["lo".to_owned(), "vb".to_owned()];
    expect_once(&mut open(&of_link), b"by its name");
    // What goes out by an interface is not seen there.
    assert_eq!(take(&mut near, 0), []);
}

pub(crate) fn a_bridge_and_its_ports_are_seen_once() {
    link();
    ip("link add name bridge type bridge");
    ip("link set vb master bridge");
    ip("link set bridge address 02:00:00:00:00:02");
    ip("link set bridge up");
    // Ports learn and forward at once: there is no spanning tree.
    let mut receiver = open(&options(&["[::]:2055"], &[]));
    expect_once(&mut receiver, b"over a bridge");
}

pub(crate) fn fragments_come_as_one_datagram() {
    link();
    ip("link set va mtu 1400");
    let mut receiver = open(&options(&["[::]:2055"], &[]));
    let fragments = |counts: PacketCounts| (counts.fragments, counts.reassembled);
    expect_once(&mut receiver, &payload(1340));
    assert_eq!(fragments(receiver.counts()), (0, 0));
    expect_once(&mut receiver, &payload(1400));
    assert_eq!(fragments(receiver.counts()), (4, 2));
    expect_once(&mut receiver, &payload(65_507));
    assert_eq!(fragments(receiver.counts()).1, 4);
    assert_eq!(receiver.kernel_drops(), 0);
}

pub(crate) fn fragments_for_others_leave_nothing_unfinished() {
    // As many as may be unfinished at a time, and one more.
    const DATAGRAMS: usize = 513;
    link();
    let mut receiver = open(&options(&["[::]:2055"], &[FAR[0]]));
    let payload = payload(1500);
    let (v4, v6) = ("192.0.2.1:50000", "[2001:db8::1]:50000");
    for (source, destination, wanted) in [
        (v4, "198.51.100.2:9995", "198.51.100.3:2055"),
        (v4, FAR[0], "198.51.100.3:2055"),
        (v6, "[2001:db8:1::2]:9995", FAR[1]),
    ] {
        let datagram = Outgoing {
            source: address(source),
            destination: address(destination),
            payload: &payload,
        };
        let wanted = Outgoing {
            destination: address(wanted),
            payload: b"flows",
            ..datagram
        };
        let before = receiver.counts();
        send(&[datagram; DATAGRAMS]);
        send(&[wanted]);
        receive_one(&mut receiver);
        let counts = receiver.counts();
        let elsewhere = counts.fragments_elsewhere - before.fragments_elsewhere;
        assert_eq!(elsewhere, DATAGRAMS as u64, "{destination}");
        assert_eq!(counts.fragments_over_limit, 0, "{destination}");
    }
    assert_eq!(receiver.kernel_drops(), 0);
}

pub(crate) fn what_is_left_out_can_change() {
    link();
    let mut receiver = open(&options(&["0.0.0.0:2055"], &["198.51.100.2:2055"]));
    let to = |destination: &str| Outgoing {
        source: address("192.0.2.1:50000"),
        destination: address(destination),
        payload: b"flows",
    };
    let both = [to("198.51.100.2:2055"), to("198.51.100.3:2055")];
    let destinations = |taken: Vec<Taken>| -> Vec<SocketAddr> {
        taken
            .into_iter()
            .map(|(_, destination, _)| destination)
            .collect()
    };
    send(&both);
    assert_eq!(destinations(take(&mut receiver, 1)), [both[1].destination]);
    receiver
        .set_exclude(&[both[1].destination])
        .expect("it fits");
    send(&both);
    assert_eq!(destinations(take(&mut receiver, 1)), [both[0].destination]);
    let many: Vec<SocketAddr> = (1..1000)
        .map(|port| SocketAddr::from(([192, 0, 2, 1], port)))
        .collect();
    receiver.set_exclude(&many).expect_err("too many");
    send(&both);
    assert_eq!(destinations(take(&mut receiver, 1)), [both[0].destination]);
    // Only what the filter lets through comes up.
    assert_eq!(receiver.counts().packets, 3);
}

pub(crate) fn what_is_left_out_stays_when_the_system_refuses_another() {
    link();
    let before = open_sockets();
    let mut receiver = open(&options(&["[::]:2055"], &[]));
    let mut rings = open_sockets();
    rings.retain(|socket| !before.contains(socket));
    let [_of_ipv4, of_ipv6] = rings[..] else {
        panic!("two rings: {rings:?}");
    };
    lock_filter(of_ipv6);
    let refused = receiver.set_exclude(&FAR.map(address)).expect_err("locked");
    assert!(matches!(refused, PacketError::System { .. }), "{refused}");
    expect_once(&mut receiver, b"both as before");
}

/// The numbers of this process's sockets, in the order of their opening.
fn open_sockets() -> Vec<i32> {
    let entries = fs::read_dir("/proc/self/fd").expect("Linux");
    let mut sockets: Vec<i32> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        })
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .collect();
    sockets.sort_unstable();
    sockets
}

/// A receiver in whose ring is first what nobody wants, as the kernel cannot tell: fragments,
/// over 12 MiB of them. One datagram that is wanted comes last.
fn with_much_unwanted() -> PacketReceiver {
    link();
    ip("link set va mtu 1280");
    let mut large = options(&["[::]:2055"], &[]);
    large.ring_bytes = 128 << 20;
    let receiver = open(&large);
    let payload = payload(65_000);
    let [elsewhere, wanted] = ["[2001:db8:1::2]:9995", FAR[1]].map(|destination| Outgoing {
        source: address("[2001:db8::1]:50000"),
        destination: address(destination),
        payload: &payload,
    });
    for _ in 0..UNWANTED / 10 {
        send(&[elsewhere; 10]);
    }
    send(&[wanted]);
    receiver
}

pub(crate) fn the_caller_has_its_turn_though_nothing_is_wanted() {
    let mut receiver = with_much_unwanted();
    assert_eq!(receiver.receive(LONG).expect("readable").len(), 0);
    let seen = receiver.counts().fragments_elsewhere;
    assert!((1..UNWANTED).contains(&seen), "{seen} of {UNWANTED}");
    receive_one(&mut receiver);
    assert_eq!(receiver.counts().fragments_elsewhere, UNWANTED);
    assert_eq!(receiver.kernel_drops(), 0);
}

pub(crate) fn once_it_is_closed_none_means_that_nothing_is_left() {
    let mut receiver = with_much_unwanted();
    receiver.close().expect("it closes");
    let datagrams = receiver.receive(PacketReceiver::LATEST).expect("readable");
    assert_eq!(datagrams.len(), 1);
    assert_eq!(receiver.counts().fragments_elsewhere, UNWANTED);
}

pub(crate) fn what_came_before_it_is_closed_is_there() {
    link();
    let mut receiver = open(&options(&["0.0.0.0:2055"], &[]));
    let datagrams = [Outgoing {
        source: address("192.0.2.1:50000"),
        destination: address(FAR[0]),
        payload: b"flows",
    }; 200];
    send(&datagrams);
    receiver.close().expect("it closes");
    receiver.set_exclude(&[]).expect("and stays closed");
    send(&datagrams);
    let mut received = 0;
    loop {
        let datagrams = receiver.receive(PacketReceiver::LATEST).expect("readable");
        if datagrams.len() == 0 {
            break;
        }
        received += datagrams.len();
    }
    assert_eq!(received, datagrams.len());
}

pub(crate) fn sent_is_received_plus_dropped_by_the_kernel() {
    link();
    let mut small = options(&["0.0.0.0:2055"], &[]);
    small.ring_bytes = 512 << 10;
    let mut receiver = open(&small);
    let payload = payload(1400);
    let datagrams = [Outgoing {
        source: address("192.0.2.1:50000"),
        destination: address(FAR[0]),
        payload: &payload,
    }; 1000];
    send(&datagrams);
    let mut received = 0;
    loop {
        let count = receiver.receive(SHORT).expect("readable").len();
        if count == 0 {
            break;
        }
        received += count;
    }
    let dropped = receiver.kernel_drops();
    assert!(dropped > 0, "{received} received");
    assert_eq!(received as u64 + dropped, 1000);
    assert_eq!(receiver.kernel_drops(), dropped, "it is a sum");
    // And there is room again.
    send(&datagrams[..100]);
    take(&mut receiver, 100);
    assert_eq!(receiver.kernel_drops(), dropped);
}

pub(crate) fn what_is_open_works_without_privileges() {
    link();
    let options = options(&["0.0.0.0:2055"], &["198.51.100.2:2055"]);
    let mut receiver = open(&options);
    let mut sender = RawSender::open().expect("privileged");
    drop_network_privileges().expect("they can always be given up");
    let refused = PacketRing::open(&options).expect_err("not privileged");
    assert!(
        matches!(refused, PacketError::Permission { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("setcap cap_net_raw+ep /"),
        "{refused}"
    );
    let refused = RawSender::open().expect_err("not privileged");
    assert!(matches!(refused, SendError::Permission { .. }), "{refused}");

    receiver.set_exclude(&[]).expect("it takes no privilege");
    let datagram = Outgoing {
        source: address("192.0.2.1:50000"),
        destination: address(FAR[0]),
        payload: b"flows",
    };
    sender.send(&[datagram], |index, error| panic!("{index}: {error}"));
    assert_eq!(take(&mut receiver, 1).len(), 1);
    assert_eq!(receiver.kernel_drops(), 0);
    receiver.close().expect("it takes no privilege");
    sender.send(&[datagram], |index, error| panic!("{index}: {error}"));
    assert_eq!(take(&mut receiver, 0), []);
}
