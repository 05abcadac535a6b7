//! Batch → segment: what appending a batch costs, beside a plain write of as many bytes.
//!
//! `cargo bench -p forebay-store --bench segment`

#[path = "support/cpu.rs"]
mod cpu;
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use cpu::{CpuTime, now};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_store::{Dataset, Family, FlowSchema, SegmentWriter};
use support::{Generator, START_US};

const ROWS: usize = 8192;
/// A file begins anew after so many batches, to stay within the page cache.
const BATCHES: u64 = 128;

fn segment(criterion: &mut Criterion<CpuTime>) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dataset = Dataset::open(dir.path()).expect("opens");
    let schema = Arc::new(FlowSchema::default());
    let mut generator = Generator::new(1);
    let set = generator.batch(&schema, ROWS).present();
    let create =
        || SegmentWriter::create(&dataset, 0, Family::Ipv4, START_US, set, &schema).expect("makes");

    let mut group = criterion.benchmark_group("segment");
    group.throughput(Throughput::Elements(ROWS as u64));
    let mut writer = create();
    let mut bytes = 0;
    group.bench_function("append", |bencher| {
        bencher.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    if writer.rows() >= BATCHES * ROWS as u64 {
                        let full = std::mem::replace(&mut writer, create());
                        let closed = full.close().expect("closes").expect("has rows");
                        fs::remove_file(closed.path).expect("removes");
                    }
                    let batch = generator.batch(&schema, ROWS);
                    let start = now();
                    bytes = writer.append(batch).expect("appends");
                    now() - start
                })
                .sum()
        });
    });

    let path = dir.path().join("plain");
    let block = vec![1; bytes as usize];
    let mut file = File::create(&path).expect("makes");
    let mut written = 0;
    group.bench_function(format!("plain write of {bytes} bytes"), |bencher| {
        bencher.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    if written >= BATCHES {
                        file = File::create(&path).expect("makes");
                        written = 0;
                    }
                    written += 1;
                    let start = now();
                    file.write_all(&block).expect("writes");
                    now() - start
                })
                .sum()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = segment
}
criterion_main!(benches);
