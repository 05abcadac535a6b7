//! Generated traffic, collected, and read by others: DuckDB, pyarrow and Polars find what was generated.
//!
//! What single files and views look like to them is tested beside the store.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use forebay_replay::generate::Truth;
use libtest_mimic::Completion;
use serde_json::{Value, json};

use crate::Outcome;
use crate::collector::{collect, generate, truth_of};
use crate::needs;

pub(crate) fn others_find_what_was_generated() -> Outcome {
    let Some(python) = std::env::var_os("FOREBAY_PYTHON") else {
        return needs::missing("FOREBAY_PYTHON names no Python with duckdb, pyarrow and polars");
    };
    let folder = tempfile::tempdir()?;
    let flags = ["--flows=20k", "--exporters=30", "--rate=2k/s"];
    let capture = generate(folder.path(), "exports.pcap", &flags);
    let truth = truth_of(&capture);
    let datasets = ["parquet", "arrow"].map(|format| {
        let dataset = folder.path().join(format);
        let capture = capture.to_str().expect("UTF-8");
        let output = collect(
            &dataset,
            &["--format", format, "--rotate=4s", "--read", capture],
        );
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        assert!(log.contains("nothing lost"), "{log}");
        dataset
    });
    let found = read(&python, &datasets[0], &datasets[1]);
    let expected = sums(&truth);
    for reader in ["duckdb", "pyarrow", "polars", "pyarrow.ipc"] {
        assert_eq!(by_version(&found[reader]), expected, "{reader}");
    }
    let total = &truth.total;
    let ipv6: u64 = flows_of(&found["duckdb"], "ipv6");
    assert_eq!(
        (total.flows_ipv6, total.flows),
        (ipv6, ipv6 + flows_of(&found["duckdb"], "ipv4"))
    );
    assert_eq!(found["pyarrow"], found["duckdb"]);
    assert_eq!(found["polars"], found["duckdb"]);
    assert_eq!(found["pyarrow.ipc"], found["duckdb"]);
    assert_eq!(found["addresses"], json!([total.flows, 0]));
    let ledger = json!([
        total.datagrams,
        total.datagrams,
        total.flows,
        total.flows,
        total.options_records,
        0,
        truth.exporters.len()
    ]);
    assert_eq!(found["ledger"], ledger);
    Ok(Completion::Completed)
}

fn read(python: &OsStr, dataset: &Path, segments: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/readers.py");
    let output = Command::new(python)
        .arg(script)
        .args([dataset, segments])
        .output()
        .expect("Python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("prints JSON")
}

/// Flows, packets, bytes, reverse packets and bytes, by version.
type Sums = BTreeMap<u64, [u64; 5]>;

fn sums(truth: &Truth) -> Sums {
    let versions = truth.versions.iter().map(|version| {
        let counts = version.counts;
        let sums = [
            counts.flows,
            counts.packets,
            counts.bytes,
            counts.reverse_packets,
            counts.reverse_bytes,
        ];
        (u64::from(version.version), sums)
    });
    versions.collect()
}

/// Of rows of a version, a family, and sums.
fn by_version(rows: &Value) -> Sums {
    let mut found = Sums::new();
    for row in rows.as_array().expect("rows") {
        let number = |column: usize| row[column].as_u64().expect("a number");
        let sums = found.entry(number(0)).or_default();
        for (sum, column) in sums.iter_mut().zip(2..) {
            *sum += number(column);
        }
    }
    found
}

fn flows_of(rows: &Value, family: &str) -> u64 {
    let rows = rows.as_array().expect("rows").iter();
    let of_family = rows.filter(|row| row[1] == family);
    of_family
        .map(|row| row[2].as_u64().expect("a number"))
        .sum()
}
