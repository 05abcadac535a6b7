//! Sending a recording as fast as one thread can, in its CPU time.
//!
//! `cargo bench -p forebay-replay --bench send`; the recording has 200 exporters, a third each v5, v9 and IPFIX, in
//! datagrams of up to 1,450 bytes. They go over loopback into a socket whose buffer is full, so that the sending thread
//! does the receiving kernel's work too, but for the copy to the receiver.
//!
//! Segmentation offload cuts one long buffer into datagrams of equal length in the kernel: it is measured with such ones
//! next to `sendmmsg` with the same.

#[path = "../../store/benches/support/cpu.rs"]
mod cpu;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::AtomicBool;

use cpu::CpuTime;
use criterion::{Criterion, Throughput};
use forebay_replay::generate::{GenerateConfig, Generator};
use forebay_replay::{Filter, Pace, PlayOptions, Player, Recording, Source};
use forebay_udp::capture::{CaptureReader, CaptureWriter};
use forebay_udp::{Datagram, Sender};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};

const FLOWS: u64 = 500_000;
const PAYLOAD_BYTES: usize = 1450;
/// As many as a buffer of a call holds, 65,507 bytes.
const SEGMENTS: usize = 45;

fn recording() -> Recording {
    let mut generator = Generator::new(GenerateConfig {
        flows: FLOWS,
        exporters: 200,
        ..GenerateConfig::default()
    })
    .expect("it can be generated");
    let mut writer = CaptureWriter::new("memory", Vec::new()).expect("memory");
    let mut payload = Vec::new();
    while let Some(message) = generator.next_message(&mut payload) {
        let datagram = Datagram {
            source: message.source,
            destination: SocketAddr::from(([127, 0, 0, 1], 2055)),
            received_ns: message.at_ns,
            payload: &payload,
        };
        writer.write(&datagram).expect("memory");
    }
    let file = writer.finish().expect("memory");
    let capture = CaptureReader::from_reader("memory", std::io::Cursor::new(file));
    Recording::read(
        capture.expect("a capture"),
        "memory".as_ref(),
        &Filter::default(),
    )
    .expect("a recording")
}

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .configure_from_args();
    play(&mut criterion);
    offload(&mut criterion);
    criterion.final_summary();
}

fn play(criterion: &mut Criterion<CpuTime>) {
    let sink = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let target = sink.local_addr().expect("bound");
    let mut group = criterion.benchmark_group("replay");
    for (name, source) in [
        ("raw", Source::Recorded),
        ("bound", Source::Bound),
        ("own", Source::Own),
    ] {
        for (how, rebase) in [("", false), (", rebased", true)] {
            let recording = recording();
            group.throughput(Throughput::Elements(recording.datagrams()));
            let options = PlayOptions {
                rebase,
                ..PlayOptions::default()
            };
            let mut player = match Player::new(recording, target, source, options) {
                Ok(player) => player,
                Err(error) => {
                    eprintln!("{name}: left out: {error}");
                    continue;
                }
            };
            let never = AtomicBool::new(false);
            group.bench_function(format!("{name}{how}"), |bencher| {
                bencher.iter(|| {
                    let report = player.play(Pace::Flood, None, &never);
                    assert_eq!(report.errors.datagrams, 0, "{:?}", report.errors);
                });
            });
        }
    }
    group.finish();
}

/// Equal datagrams of one exporter.
fn offload(criterion: &mut Criterion<CpuTime>) {
    let sink = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let target = sink.local_addr().expect("bound");
    let mut group = criterion.benchmark_group("equal datagrams");
    group.throughput(Throughput::Elements(SEGMENTS as u64));
    let buffer = [7; SEGMENTS * PAYLOAD_BYTES];
    let payloads: Vec<&[u8]> = buffer.chunks(PAYLOAD_BYTES).collect();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut sender = Sender::bind(any, target).expect("loopback");
    group.bench_function("sendmmsg", |bencher| {
        bencher.iter(|| assert_eq!(sender.send(&payloads).expect("sent"), SEGMENTS));
    });
    let socket = UdpSocket::bind(any).expect("loopback");
    socket.connect(target).expect("loopback");
    setsockopt(&socket, UdpGsoSegment, &(PAYLOAD_BYTES as i32)).expect("Linux 4.18");
    group.bench_function("segmentation offload", |bencher| {
        bencher.iter(|| assert_eq!(socket.send(&buffer).expect("sent"), buffer.len()));
    });
    group.finish();
}
