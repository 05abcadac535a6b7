//! Segment → Parquet: what settling costs, and the bytes per flow.
//!
//! `cargo bench -p forebay-store --bench settle`

#[path = "support/cpu.rs"]
mod cpu;
mod support;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use cpu::CpuTime;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use forebay_store::{
    Compression, Dataset, Family, FlowSchema, SegmentReader, SegmentWriter, SettleOptions, settle,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use support::{Generator, START_US};

const ROWS: usize = 8192;
const BATCHES: usize = 64;

fn settling(criterion: &mut Criterion<CpuTime>) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dataset = Dataset::open(dir.path()).expect("opens");
    let schema = Arc::new(FlowSchema::default());
    let mut generator = Generator::new(1);
    let set = generator.batch(&schema, ROWS).present();
    let mut writer =
        SegmentWriter::create(&dataset, 0, Family::Ipv4, START_US, set, &schema).expect("makes");
    for _ in 0..BATCHES {
        writer
            .append(generator.batch(&schema, ROWS))
            .expect("appends");
    }
    let closed = writer.close().expect("closes").expect("has rows");
    let copy = dir.path().join("copy");
    fs::copy(&closed.path, &copy).expect("copies");

    let mut group = criterion.benchmark_group("settle");
    group.sample_size(10);
    group.throughput(Throughput::Elements(closed.rows));
    println!(
        "segment: {:.1} bytes/flow",
        closed.bytes as f64 / closed.rows as f64
    );
    for (name, compression) in [
        ("zstd", Compression::Zstd),
        ("lz4", Compression::Lz4),
        ("none", Compression::None),
    ] {
        let mut bytes = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || fs::hard_link(&copy, &closed.path).unwrap_or_default(),
                |()| {
                    let options = SettleOptions { compression };
                    let settled = settle(&dataset, &closed.path, &options).expect("settles");
                    bytes = settled.bytes;
                    fs::remove_file(settled.path.expect("has rows")).expect("removes");
                },
                BatchSize::PerIteration,
            );
        });
        println!(
            "{name}: {:.1} bytes/flow",
            bytes as f64 / closed.rows as f64
        );
    }
    group.bench_function("zstd, by the parquet crate's column writers", |bencher| {
        bencher.iter(|| by_parquet(&copy, &dir.path().join("flows.parquet")));
    });
    group.finish();
}

/// What settling would be without encoders of our own.
fn by_parquet(segment: &Path, target: &Path) {
    let mut reader = SegmentReader::open(segment, None).expect("opens");
    let schema = reader.schema().expect("is whole");
    let properties = WriterProperties::builder()
        .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
        .build();
    let file = File::create(target).expect("makes");
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).expect("begins");
    while let Some(batch) = reader.next_batch().expect("reads") {
        writer.write(&batch).expect("writes");
    }
    let file = writer.into_inner().expect("ends");
    file.sync_all().expect("syncs");
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = settling
}
criterion_main!(benches);
