//! `forebay dedupe` and `forebay merge`: what they write, report and refuse.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Folder, done, fails, files};

/// A dataset in which five exporters tell some flows again, and how many flows and duplicates there are.
fn dataset(folder: &Folder, name: &str, seed: u64) -> (String, u64, u64) {
    let (capture, flows) = (folder.path(&format!("{name}.pcap")), folder.path(name));
    done(&[
        "generate",
        "--flows=2000",
        "--exporters=5",
        "--duplicates=0.3",
        "--rate=1",
        &format!("--seed={seed}"),
        "--output",
        &capture,
    ]);
    done(&["collect", "--read", &capture, "--output", &flows]);
    let truth = fs::read_to_string(format!("{capture}.truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let count = |of: &str| truth[of]["flows"].as_u64().unwrap();
    (flows, count("total"), count("duplicates"))
}

/// Not every layout tells the type of service.
const KEY: &str = "--key=src_addr,dst_addr,src_port,dst_port,protocol";

fn lines(dataset: &str) -> BTreeSet<String> {
    let shown = done(&["print", "--format=json", dataset]);
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn duplicates_are_removed_counted_and_told_by_exporters() {
    let folder = Folder::new();
    let (flows, total, duplicates) = dataset(&folder, "flows", 1);
    let output = folder.path("deduped");
    let report = done(&["dedupe", KEY, "--json", "--output", &output, &flows]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["flows_in"], total);
    assert_eq!(report["flows_removed"], duplicates);
    assert_eq!(report["flows_kept"], total - duplicates);
    let pairs = report["pairs"].as_array().unwrap().iter();
    let of_pairs: u64 = pairs.map(|pair| pair["flows"].as_u64().unwrap()).sum();
    assert_eq!(of_pairs, duplicates);

    let kept: Vec<Value> = lines(&output)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(kept.len() as u64, total - duplicates);
    let mut seen = 0;
    for flow in &kept {
        let by = flow["seen_by"].as_u64().unwrap();
        let list: Vec<&str> = flow["seen_exporters"]
            .as_str()
            .unwrap()
            .split(' ')
            .collect();
        assert_eq!(list.len() as u64, by);
        assert!(list.contains(&flow["exporter"].as_str().unwrap()));
        seen += by;
    }
    assert_eq!(seen, total);
    assert!(Path::new(&output).join("views.sql").exists());

    let text = done(&["dedupe", KEY, "--dry-run", &flows]);
    assert!(text.contains("2,000  flows read"), "{text}");
    assert!(text.contains("kept of, removed of"), "{text}");
    let other = folder.path("in the same way");
    done(&[
        "dedupe",
        KEY,
        "--format=arrow",
        "--threads=3",
        "--memory=1MiB",
        "--output",
        &other,
        &flows,
    ]);
    assert_eq!(lines(&other), lines(&output));
    assert!(!files(&other, "arrows").is_empty());
}

#[test]
fn merged_datasets_have_all_flows() {
    let folder = Folder::new();
    let (one, first, _) = dataset(&folder, "one", 1);
    let (other, second, _) = dataset(&folder, "other", 2);
    let output = folder.path("merged");
    let text = done(&["merge", "--output", &output, &other, &one]);
    assert!(
        text.contains(&format!("{output}: 4,000 flows in ")),
        "{text}"
    );
    let mut both = lines(&one);
    both.extend(lines(&other));
    assert_eq!(both.len() as u64, first + second);
    assert_eq!(lines(&output), both);
    let same = folder.path("same");
    let report = done(&[
        "dedupe",
        "--key=none",
        "--json",
        "--output",
        &same,
        &one,
        &other,
    ]);
    assert_eq!(lines(&same), both);
    // Nothing was compared, so there is nothing to tell of that.
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["flows_in"], &report["flows_kept"]),
        (&4000.into(), &4000.into())
    );
    let of_comparing = |name: &&String| name.contains("compared") || name.contains("again");
    let names: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert!(!names.iter().any(of_comparing), "{names:?}");
    assert!(report.get("pairs").is_none());
}

#[test]
fn whose_rows_are_kept_is_a_choice() {
    let folder = Folder::new();
    let (flows, ..) = dataset(&folder, "flows", 1);
    let report = done(&["dedupe", KEY, "--dry-run", "--json", &flows]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let worst = report["pairs"][0]["kept"].as_str().unwrap();
    let all: BTreeSet<&str> = report["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|pair| {
            [
                pair["kept"].as_str().unwrap(),
                pair["removed"].as_str().unwrap(),
            ]
        })
        .collect();
    let others: Vec<&str> = all.into_iter().filter(|name| *name != worst).collect();
    let order = folder.write(
        "order",
        format!("# the best first\n\n{}\n", others.join("\n")),
    );
    let keep = format!("--keep=exporter-order:{order}");
    let report = done(&["dedupe", KEY, "--dry-run", "--json", &keep, &flows]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let pairs = report["pairs"].as_array().unwrap();
    assert!(!pairs.is_empty() && pairs.iter().all(|pair| pair["kept"] != worst));
}

#[test]
fn a_damaged_file_is_named_and_passed_over_only_where_that_was_asked() {
    let folder = Folder::new();
    let (flows, total, _) = dataset(&folder, "flows", 1);
    let found = files(&flows, "parquet");
    let ipv4 = found
        .iter()
        .find(|path| path.to_string_lossy().contains("family=ipv4"))
        .unwrap();
    let whole = fs::read(ipv4).unwrap();
    // A page in the middle; the file's end, with all that tells of it, is whole.
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle - 3000..middle + 3000].fill(0xa5);
    for bytes in [&whole[..whole.len() - 100], &damaged] {
        fs::write(ipv4, bytes).unwrap();
        let output = folder.path("output");
        let line = fails(1, &["dedupe", "--output", &output, &flows]);
        assert!(line.contains(ipv4.to_str().unwrap()), "{line}");
        assert!(!Path::new(&output).exists());

        let report = done(&[
            "dedupe",
            "--skip-bad",
            "--json",
            "--output",
            &output,
            &flows,
        ]);
        let report: Value = serde_json::from_str(&report).unwrap();
        let skipped = report["files_skipped"].as_array().unwrap();
        assert_eq!(skipped.len(), 1);
        assert_eq!(skipped[0]["path"], ipv4.to_str().unwrap());
        let left = report["flows_in"].as_u64().unwrap();
        assert!(left > 0 && left < total);
        assert_eq!(
            lines(&output).len() as u64,
            report["flows_kept"].as_u64().unwrap()
        );
        fs::remove_dir_all(output).unwrap();
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let folder = Folder::new();
    let (flows, ..) = dataset(&folder, "flows", 1);
    let output = folder.path("output");
    let within = format!("{flows}/some/where");
    for (flags, told) in [
        (vec!["dedupe", &flows], "dedupe needs --output"),
        (vec!["merge", &flows], "merge needs --output"),
        (
            vec!["dedupe", "--output", &output, "--dry-run", &flows],
            "--dry-run",
        ),
        (
            vec!["merge", "--output", &within, &flows],
            "would count twice",
        ),
        (
            vec!["dedupe", "--dry-run", "--key=src_adr", &flows],
            "did you mean \"src_addr\"?",
        ),
        (
            vec!["dedupe", "--dry-run", "--key=tos,src_addr,tos", &flows],
            "--key: \"tos\" is asked for twice",
        ),
        (
            vec!["dedupe", "--dry-run", "--count-delta=x%", &flows],
            "is no number and no percentage",
        ),
        (
            vec!["dedupe", "--dry-run", "--keep=last", &flows],
            "exporter-order:FILE",
        ),
        (
            vec!["dedupe", "--dry-run", "--start-delta=2", &flows],
            "is no duration",
        ),
        (
            vec!["dedupe", "--dry-run", "--memory=1023KiB", &flows],
            "--memory is 1023KiB, but must be at least 1MiB",
        ),
        (
            vec!["dedupe", "--dry-run", "--threads=0", &flows],
            "--threads is 0",
        ),
        (
            vec![
                "dedupe",
                "--format=arrow",
                "--compression=lz4",
                "--output",
                &output,
                &flows,
            ],
            "--compression is for Parquet",
        ),
    ] {
        let line = fails(2, &flags);
        assert!(line.contains(told), "{line}");
    }
    let line = fails(1, &["dedupe", "--output", &flows, &flows]);
    assert!(line.contains("is not empty"), "{line}");
    let line = fails(
        1,
        &["dedupe", "--dry-run", "--keep=exporter-order:/none", &flows],
    );
    assert!(line.contains("cannot read /none"), "{line}");
    assert!(!Path::new(&output).exists());
}
