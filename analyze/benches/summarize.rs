//! Flows → groups, from segments in the page cache: what reading, hashing, finding and ordering cost together.
//!
//! `cargo bench -p forebay-analyze --bench summarize`

#[path = "../../store/benches/support/cpu.rs"]
mod cpu;
#[path = "../../store/benches/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cpu::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_analyze::{Control, InputOptions, Inputs, Key, MemoryLimit, Summary, Value, summarize};
use forebay_store::{Dataset, Family, FlowSchema, SegmentWriter, SettleOptions, keep, settle};
use support::{Generator, START_US};

const ROWS: usize = 8192;
const BATCHES: usize = 128;

fn segment(dataset: &Dataset) -> PathBuf {
    let schema = Arc::new(FlowSchema::default());
    let mut generator = Generator::new(1);
    let set = generator.batch(&schema, ROWS).present();
    let mut writer =
        SegmentWriter::create(dataset, 0, Family::Ipv4, START_US, set, &schema).expect("makes");
    for _ in 0..BATCHES {
        writer
            .append(generator.batch(&schema, ROWS))
            .expect("appends");
    }
    writer.close().expect("closes").expect("has rows").path
}

/// How many groups there are; what is told of them is made, too.
fn groups(path: &Path, summary: &Summary) -> usize {
    let control = Control::default();
    let options = InputOptions {
        skip_bad: false,
        threads: 1,
    };
    let paths = [path.to_owned()];
    let mut inputs = Inputs::open(&paths, options, &control).expect("opens");
    let answer = summarize(&mut inputs, summary, &control).expect("summarizes");
    answer.map(|batch| batch.expect("reads").num_rows()).sum()
}

fn by(names: &[&str], values: &[Value]) -> Summary {
    let schema = FlowSchema::default();
    let key = |name: &&str| Key::parse(name, &schema).expect("a key");
    Summary {
        by: names.iter().map(key).collect(),
        values: values.to_vec(),
        memory: MemoryLimit(1 << 30),
        ..Summary::default()
    }
}

fn summarizing(criterion: &mut Criterion<CpuTime>) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dataset = Dataset::open(dir.path()).expect("opens");
    let kept = keep(&dataset, &segment(&dataset)).expect("keeps");
    let settled = settle(&dataset, &segment(&dataset), &SettleOptions::default());
    let [kept, settled] =
        [kept, settled.expect("settles")].map(|file| file.path.expect("has rows"));

    let mut group = criterion.benchmark_group("summarize");
    group.sample_size(10);
    group.throughput(Throughput::Elements((ROWS * BATCHES) as u64));
    let five_tuple = Summary {
        memory: MemoryLimit(1 << 30),
        ..Summary::default()
    };
    let spilling = Summary {
        memory: MemoryLimit(16 << 20),
        ..five_tuple.clone()
    };
    let top = Summary {
        top: Some(10),
        ..five_tuple.clone()
    };
    for (name, path, summary) in [
        ("5-tuple", &kept, &five_tuple),
        ("5-tuple from Parquet", &settled, &five_tuple),
        ("5-tuple with 16 MiB", &kept, &spilling),
        ("5-tuple, the top 10", &kept, &top),
        ("protocol", &kept, &by(&["protocol"], &[Value::Bytes])),
        (
            "exporter",
            &kept,
            &by(&["exporter", "minute"], &Value::DEFAULT[..3]),
        ),
        (
            "different sources",
            &kept,
            &by(&["dst_port"], &[Value::SrcCount]),
        ),
    ] {
        println!("{name}: {} groups", groups(path, summary));
        group.bench_function(name, |bencher| bencher.iter(|| groups(path, summary)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = summarizing
}
criterion_main!(benches);
