//! How fast traffic is generated: per version and in all, without sending it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_replay::generate::{GenerateConfig, Generator, VersionShares};

const FLOWS: u64 = 1_000_000;

fn generate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("generate");
    group
        .throughput(Throughput::Elements(FLOWS))
        .sample_size(10);
    let shares = |v5, v9, ipfix| VersionShares { v5, v9, ipfix };
    for (name, versions) in [
        ("mixed", shares(1, 1, 1)),
        ("v5", shares(1, 0, 0)),
        ("v9", shares(0, 1, 0)),
        ("ipfix", shares(0, 0, 1)),
    ] {
        let config = GenerateConfig {
            flows: FLOWS,
            versions,
            ..GenerateConfig::default()
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut generator = Generator::new(config.clone()).expect("the defaults are good");
                let mut payload = Vec::new();
                let mut bytes = 0;
                while generator.next_message(&mut payload).is_some() {
                    bytes += payload.len();
                }
                bytes
            });
        });
    }
    group.finish();
}

criterion_group!(benches, generate);
criterion_main!(benches);
