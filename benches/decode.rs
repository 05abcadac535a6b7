//! Decode: export messages to columns, per version, beside netflow_parser, in CPU time.
//!
//! `cargo bench --bench decode`

#[path = "../store/benches/support/cpu.rs"]
mod cpu;

use std::hint::black_box;
use std::net::SocketAddr;

use cpu::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_collector::{Decoder, DecoderConfig};
use forebay_replay::generate::{GenerateConfig, Generator, VersionShares};
use forebay_udp::Datagram;
use netflow_parser::NetflowParser;

/// Messages as 200 exporters send them, in their order.
struct Traffic {
    messages: Vec<(usize, SocketAddr, u64, Vec<u8>)>,
    flows: u64,
}

impl Traffic {
    fn new(versions: VersionShares) -> Self {
        let config = GenerateConfig {
            exporters: 200,
            flows: 200_000,
            versions,
            ..GenerateConfig::default()
        };
        let mut generator = Generator::new(config).expect("a sound configuration");
        let mut messages = Vec::new();
        let mut payload = Vec::new();
        while let Some(message) = generator.next_message(&mut payload) {
            messages.push((
                message.exporter,
                message.source,
                message.at_ns,
                payload.clone(),
            ));
        }
        Self {
            messages,
            flows: generator.truth().total.flows,
        }
    }

    fn decode(&self, decoder: &mut Decoder) {
        for (_, source, received_ns, payload) in &self.messages {
            decoder.decode(&Datagram {
                source: *source,
                destination: ([127, 0, 0, 1], 2055).into(),
                received_ns: *received_ns,
                payload,
            });
            while let Some(output) = decoder.next_output() {
                black_box(&output);
            }
        }
    }

    /// netflow_parser keeps the templates of one exporter.
    fn parse(&self, parsers: &mut [NetflowParser]) {
        for (exporter, _, _, payload) in &self.messages {
            drop(black_box(parsers[*exporter].parse_bytes(payload)));
        }
    }
}

fn decode(criterion: &mut Criterion<CpuTime>) {
    let only = |v5, v9, ipfix| VersionShares { v5, v9, ipfix };
    let cases = [
        ("v5", only(1, 0, 0)),
        ("v9", only(0, 1, 0)),
        ("ipfix", only(0, 0, 1)),
        ("mixed", only(1, 1, 1)),
    ];
    for (name, versions) in cases {
        let traffic = Traffic::new(versions);
        let mut group = criterion.benchmark_group(format!("decode/{name}"));
        group
            .throughput(Throughput::Elements(traffic.flows))
            .sample_size(20);
        let mut decoder = Decoder::new(DecoderConfig::default());
        group.bench_function("forebay", |bencher| {
            bencher.iter(|| traffic.decode(&mut decoder))
        });
        let mut parsers: Vec<_> = (0..200).map(|_| NetflowParser::default()).collect();
        group.bench_function("netflow_parser", |bencher| {
            bencher.iter(|| traffic.parse(&mut parsers));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decode
}
criterion_main!(benches);
