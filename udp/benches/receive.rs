//! Taking datagrams in: from a socket over loopback, and from a capture.
//!
//! Only the receiving side of the socket is timed: what is sent lies in the socket's buffer
//! first. `cargo bench -p forebay-udp`; one datagram is 1,450 bytes, as exporters send them.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::io::{Cursor, sink};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_udp::capture::{CaptureReader, CaptureWriter};
use forebay_udp::{Datagram, Sender, ShardReceiver, ShardSockets, SocketOptions};

const PAYLOAD_BYTES: usize = 1450;
/// What the kernel charges a buffer for one such datagram, rounded up.
const CHARGED_BYTES: usize = 4096;
const CAPTURE_DATAGRAMS: usize = 100_000;

/// Fills every socket in turn, then takes all out; returns the time that the taking took.
fn drain(receiver: &mut ShardReceiver, senders: &mut [Sender], datagrams: u64) -> Duration {
    let payload = [7; PAYLOAD_BYTES];
    let payloads = [&payload[..]; 1024];
    let fits = receiver.granted_buffer_bytes() * 2 / CHARGED_BYTES;
    let mut left = datagrams;
    let mut elapsed = Duration::ZERO;
    while left > 0 {
        let mut queued = 0;
        for sender in senders.iter_mut() {
            let mut space = fits.min(16_384);
            while space > 0 && left > 0 {
                let count = space
                    .min(payloads.len())
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                let sent = sender.send(&payloads[..count]).expect("loopback");
                (space, left, queued) = (space - sent, left - sent as u64, queued + sent);
            }
        }
        let start = Instant::now();
        let mut taken = 0;
        while taken < queued {
            for datagram in receiver.receive(Duration::ZERO).expect("readable") {
                black_box((datagram.source, datagram.received_ns, datagram.payload[0]));
                taken += 1;
            }
        }
        elapsed += start.elapsed();
    }
    assert_eq!(receiver.kernel_drops(), 0, "the buffer was to hold all");
    elapsed
}

fn sockets(criterion: &mut Criterion) {
    let options = SocketOptions {
        receive_buffer_bytes: 64 << 20,
    };
    for (name, sockets) in [("one", 1), ("two", 2)] {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0)); sockets];
        let mut receiver = ShardSockets::bind(&listen, 1, &options)
            .expect("loopback")
            .remove(0);
        let mut senders: Vec<Sender> = receiver
            .local_addresses()
            .iter()
            .map(|target| {
                Sender::bind(SocketAddr::from(([127, 0, 0, 9], 0)), *target).expect("loopback")
            })
            .collect();
        for throughput in [
            Throughput::Elements(1),
            Throughput::Bytes(PAYLOAD_BYTES as u64),
        ] {
            let unit = match throughput {
                Throughput::Bytes(_) => "bytes",
                _ => "datagrams",
            };
            let mut group = criterion.benchmark_group(format!("receive/{name}-socket"));
            group.throughput(throughput);
            group.bench_function(unit, |bencher| {
                bencher.iter_custom(|datagrams| drain(&mut receiver, &mut senders, datagrams));
            });
        }
    }
}

fn capture(criterion: &mut Criterion) {
    let payload = [7; PAYLOAD_BYTES];
    let datagram = |index: usize| Datagram {
        source: SocketAddr::from(([192, 0, 2, index as u8], 50_000)),
        destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
        received_ns: 1_700_000_000_000_000_000 + index as u64,
        payload: &payload,
    };
    let mut writer = CaptureWriter::new("memory", Vec::new()).expect("memory");
    for index in 0..CAPTURE_DATAGRAMS {
        writer.write(&datagram(index)).expect("memory");
    }
    let file = writer.finish().expect("memory");
    let bytes = (CAPTURE_DATAGRAMS * PAYLOAD_BYTES) as u64;

    let mut group = criterion.benchmark_group("capture");
    for (unit, throughput) in [
        ("datagrams", Throughput::Elements(CAPTURE_DATAGRAMS as u64)),
        ("bytes", Throughput::Bytes(bytes)),
    ] {
        group.throughput(throughput);
        group.bench_function(format!("read/{unit}"), |bencher| {
            bencher.iter_batched(
                || Cursor::new(file.clone()),
                |file| {
                    let mut reader = CaptureReader::from_reader("memory", file).expect("a capture");
                    let mut sum = 0;
                    while let Some(datagram) = reader.next().expect("whole") {
                        sum += datagram.payload.len();
                    }
                    assert_eq!(sum as u64, bytes);
                },
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("write/datagrams", |bencher| {
        let mut writer = CaptureWriter::new("nowhere", sink()).expect("nowhere");
        let datagram = datagram(1);
        bencher.iter(|| writer.write(black_box(&datagram)));
    });
    group.finish();
}

criterion_group!(benches, sockets, capture);
criterion_main!(benches);
