//! The whole line from a capture: datagrams to segments, and on to Parquet, in CPU time of the
//! whole process.
//!
//! `cargo bench --bench line`

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_replay::generate::{GenerateConfig, to_capture};

const FLOWS: u64 = 1_000_000;

/// Runs `forebay collect` on the capture: user and system time of the process.
fn collect(capture: &Path, output: &Path, options: &[&str]) -> Duration {
    let _earlier = std::fs::remove_dir_all(output);
    let before = children_cpu();
    let status = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .arg("collect")
        .arg("--read")
        .arg(capture)
        .arg("--output")
        .arg(output)
        .args(options)
        .output()
        .expect("forebay runs");
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    children_cpu() - before
}

/// The time that ended children of this process were on a processor (proc(5): cutime, cstime).
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc is mounted");
    // The name in parentheses may hold anything; cutime and cstime are fields 16 and 17.
    let fields = stat
        .rsplit(')')
        .next()
        .expect("has a name")
        .split_whitespace();
    let ticks: u64 = fields
        .skip(13)
        .take(2)
        .map(|n| n.parse::<u64>().expect("a number"))
        .sum();
    // USER_HZ has been 100 on Linux since its first port.
    Duration::from_millis(ticks * 10)
}

fn line(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let capture = dir.path().join("capture.pcap");
    let config = GenerateConfig {
        exporters: 200,
        flows: FLOWS,
        ..GenerateConfig::default()
    };
    to_capture(config, &capture, &AtomicBool::new(false), &mut |_| {}).expect("generates");
    let mut group = criterion.benchmark_group("line");
    group
        .throughput(Throughput::Elements(FLOWS))
        .sample_size(10);
    for (name, options) in [
        ("segments", &["--format", "arrow"][..]),
        ("parquet-zstd", &["--compression", "zstd"]),
        ("parquet-lz4", &["--compression", "lz4"]),
    ] {
        let output = dir.path().join("flows");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| collect(&capture, &output, options))
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, line);
criterion_main!(benches);
