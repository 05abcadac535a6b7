//! Sending on and taking in, in CPU time of the thread: raw and own sends, a socket and a packet
//! ring.
//!
//! `cargo bench -p forebay-udp --bench send`; one datagram is 1,450 bytes, as exporters send
//! them. The program runs again in a network namespace of its own; where there is none, only
//! what takes no privilege is measured.
//!
//! Sends go to nobody over a veth link, into a socket over loopback, and into a socket with a
//! packet ring beside it: there the sending thread does the receiving kernel's work too.

#[path = "../../store/benches/support/cpu.rs"]
mod cpu;

use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use cpu::{CpuTime, now};
use criterion::{BenchmarkGroup, Criterion, Throughput};
use forebay_udp::{
    Datagram, Outgoing, OwnSender, PacketOptions, PacketRing, RawSender, ShardSockets,
    SocketOptions,
};

const PAYLOAD_BYTES: usize = 1450;
/// Datagrams that a sender is given at a time, as many as a receiver gives.
const BATCH: usize = 64;
/// What the kernel charges a buffer for one such datagram, rounded up.
const CHARGED_BYTES: usize = 4096;
/// Datagrams that are queued before they are taken.
const QUEUED: usize = 4096;
/// Says that this is the program that was run again.
const INSIDE: &str = "FOREBAY_BENCH_NAMESPACE";
/// Nobody, at the other end of a link.
const NOBODY: &str = "198.51.100.2:2055";
/// Nobody, behind that one: the kernel keeps such a route from one raw send to the next.
const BEHIND: &str = "203.0.113.2:2055";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn main() {
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside {
        // Root of a user namespace may not have buffers of any length: that is the second choice.
        for rights in [&["--net"][..], &["--net", "--map-root-user"]] {
            let mut probe = Command::new("unshare");
            if probe
                .args(rights)
                .arg("true")
                .status()
                .is_ok_and(|status| status.success())
            {
                let error = Command::new("unshare")
                    .args(rights)
                    .arg(std::env::current_exe().expect("it runs"))
                    .args(std::env::args_os().skip(1))
                    .env(INSIDE, "1")
                    .exec();
                panic!("unshare: {error}");
            }
        }
        eprintln!("no network namespace: raw sends and packet rings are left out");
    }
    if inside {
        ip("link set lo up");
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("link set far up");
        ip("address add 198.51.100.1/24 dev near");
        ip("neighbour add 198.51.100.2 lladdr 02:00:00:00:00:02 dev near");
        ip("route add 203.0.113.0/24 via 198.51.100.2");
    }
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .configure_from_args();
    send(&mut criterion, inside);
    receive(&mut criterion, inside);
    criterion.final_summary();
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {words}");
}

/// Benches a way to send: to nobody, to a socket, and to a socket that a ring listens beside.
fn send_to_each(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    inside: bool,
    mut send: impl FnMut(&[Outgoing<'_>]),
) {
    let payload = [7; PAYLOAD_BYTES];
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let to_socket = socket.local_addr().expect("bound");
    let mut destinations = vec![("a socket", to_socket)];
    if inside {
        destinations.push(("nobody", address(NOBODY)));
        destinations.push(("nobody by a gateway", address(BEHIND)));
        destinations.push(("a socket and a ring", to_socket));
    }
    for (to, destination) in destinations {
        let ring = to.ends_with("ring").then(|| ring(destination));
        let datagrams: Vec<Outgoing<'_>> = (0..BATCH)
            .map(|host| Outgoing {
                source: SocketAddr::from(([192, 0, 2, host as u8], 50_000)),
                destination,
                payload: &payload,
            })
            .collect();
        group.bench_function(format!("{name} to {to}"), |bencher| {
            bencher.iter(|| send(&datagrams));
        });
        drop(ring);
    }
}

fn send(criterion: &mut Criterion<CpuTime>, inside: bool) {
    let mut group = criterion.benchmark_group("send");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut own = OwnSender::open().expect("a socket");
    send_to_each(&mut group, "own", inside, |datagrams| {
        own.send(datagrams, |index, error| panic!("{index}: {error}"));
    });
    if inside {
        let mut raw = RawSender::open().expect("privileged");
        send_to_each(&mut group, "raw", inside, |datagrams| {
            raw.send(datagrams, |index, error| panic!("{index}: {error}"));
        });
    }
    group.finish();
}

fn ring(destination: SocketAddr) -> forebay_udp::PacketReceiver {
    let options = PacketOptions {
        interfaces: Vec::new(),
        listen: vec![destination],
        exclude: Vec::new(),
        shards: 1,
        ring_bytes: 64 << 20,
    };
    PacketRing::open(&options).expect("privileged").remove(0)
}

/// Queues datagrams, then takes them all; returns the time that the taking took.
fn take(
    datagrams: u64,
    fit: usize,
    destination: SocketAddr,
    mut receive: impl FnMut() -> usize,
) -> Duration {
    let payload = [7; PAYLOAD_BYTES];
    let mut sender = OwnSender::open().expect("a socket");
    let mut left = datagrams;
    let mut elapsed = Duration::ZERO;
    while left > 0 {
        let queued = (fit as u64).min(left);
        let batch = [Outgoing {
            source: destination,
            destination,
            payload: &payload,
        }; BATCH];
        let mut sent = 0;
        while sent < queued {
            let count = BATCH.min((queued - sent) as usize);
            sender.send(&batch[..count], |index, error| panic!("{index}: {error}"));
            sent += count as u64;
        }
        let start = now();
        let mut taken = 0;
        while taken < queued {
            let count = receive() as u64;
            assert_ne!(count, 0, "all that was sent is there: {taken} of {queued}");
            taken += count;
        }
        elapsed += now() - start;
        left -= queued;
    }
    elapsed
}

fn look_at(datagram: &Datagram<'_>) {
    black_box((datagram.source, datagram.received_ns, datagram.payload[0]));
}

fn receive(criterion: &mut Criterion<CpuTime>, inside: bool) {
    let wait = Duration::from_secs(1);
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Elements(1));
    let options = SocketOptions {
        receive_buffer_bytes: QUEUED * CHARGED_BYTES,
    };
    let any = [address("127.0.0.1:0")];
    let mut receiver = ShardSockets::bind(&any, 1, &options)
        .expect("loopback")
        .remove(0);
    let destination = receiver.local_addresses()[0];
    let fit = QUEUED.min(receiver.granted_buffer_bytes() * 2 / CHARGED_BYTES);
    group.bench_function("socket", |bencher| {
        bencher.iter_custom(|datagrams| {
            take(datagrams, fit, destination, || {
                let datagrams = receiver.receive(wait).expect("readable");
                datagrams.inspect(look_at).count()
            })
        });
    });
    assert_eq!(receiver.kernel_drops(), 0, "the buffer was to hold all");
    if inside {
        // A socket's buffer is soon full; the ring has them all.
        let destination = address("127.0.0.1:2056");
        let _listens = UdpSocket::bind(destination).expect("loopback");
        let mut receiver = ring(destination);
        group.bench_function("ring", |bencher| {
            bencher.iter_custom(|datagrams| {
                take(datagrams, QUEUED, destination, || {
                    let datagrams = receiver.receive(wait).expect("readable");
                    datagrams.inspect(look_at).count()
                })
            });
        });
        assert_eq!(receiver.kernel_drops(), 0, "the ring was to hold all");
    }
    group.finish();
}
