//! `forebay summarize` against DuckDB, nfdump and the truth of what was generated; and what is left where it fails.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use forebay_replay::generate::Truth;
use libtest_mimic::{Completion, Failed};
use serde_json::Value;

use crate::Outcome;
use crate::collector::{collect_whole, generate, truth_of};
use crate::needs;
use crate::support::{files, program, signal, wait_for};
use crate::truth::nfcapd::Nfcapd;
use crate::truth::replay;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The flow files of generated traffic, as Parquet and as segments, and their truth.
fn generated(folder: &Path, flags: &[&str]) -> ([PathBuf; 2], Truth) {
    let capture = generate(folder, "exports.pcap", flags);
    (collected(folder, &[text(&capture)]), truth_of(&capture))
}

fn collected(folder: &Path, captures: &[&str]) -> [PathBuf; 2] {
    ["parquet", "arrow"].map(|format| {
        let dataset = folder.join(format);
        let mut flags = vec!["--format", format, "--rotate=4s"];
        for capture in captures {
            flags.extend(["--read", capture]);
        }
        collect_whole(&dataset, &flags);
        dataset
    })
}

fn summarize(inputs: &[&Path], flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.arg("summarize").args(inputs).args(flags);
    command.stdin(Stdio::null());
    command
}

/// The rows of an answer, and what was told of it.
fn answer(inputs: &[&Path], flags: &[&str]) -> (Vec<Value>, Value) {
    let mut command = summarize(inputs, flags);
    let output = command
        .args(["--format=json", "--stats"])
        .output()
        .expect("starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    let rows = told
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let stats = errors.lines().last().expect("a line");
    (rows, serde_json::from_str(stats).expect(stats))
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

pub(crate) fn the_truth_is_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = [
        "--flows=60k",
        "--exporters=40",
        "--rate=4k/s",
        "--keys=20k",
        "--seed=5",
    ];
    let (datasets, truth) = generated(folder.path(), &flags);
    for dataset in &datasets {
        for flags in [&["--threads=1"][..], &["--threads=2"], &["--memory=1MiB"]] {
            let (rows, stats) = answer(&[dataset], flags);
            assert_eq!(rows.len() as u64, truth.distinct_5_tuples);
            assert_eq!(number(&stats["groups"]), truth.distinct_5_tuples);
            let sum = |name: &str| -> u64 {
                rows.iter()
                    .filter_map(|row| row.get(name))
                    .map(number)
                    .sum()
            };
            let total = &truth.total;
            let found = ["flows", "packets", "bytes"].map(sum);
            assert_eq!(found, [total.flows, total.packets, total.bytes]);
            assert_eq!(number(&stats["rows_read"]), total.flows);
        }
        let (rows, _) = answer(
            &[dataset],
            &["--by=exporter,export_version", "--values=flows,bytes"],
        );
        let found: BTreeMap<String, (u64, u64)> = (rows.iter())
            .map(|row| {
                let exporter = row["exporter"].as_str().expect("text").to_owned();
                (
                    exporter,
                    (number(&row["flows"]), row.get("bytes").map_or(0, number)),
                )
            })
            .collect();
        let expected = truth.exporters.iter().map(|exporter| {
            let counts = exporter.counts;
            (
                exporter.source.ip().to_string(),
                (counts.flows, counts.bytes),
            )
        });
        assert_eq!(found, expected.collect());
        let (rows, _) = answer(&[dataset], &["--by=family", "--values=flows"]);
        let of = |family: &str| {
            let found = rows.iter().find(|row| row["family"] == family);
            found.map_or(0, |row| number(&row["flows"]))
        };
        assert_eq!(
            (of("ipv4"), of("ipv6")),
            (truth.total.flows_ipv4, truth.total.flows_ipv6)
        );
    }
}

/// What is left out by statistics, by partitions and by time is left out, and the answer is that of all.
pub(crate) fn what_is_not_needed_is_not_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = ["--flows=40k", "--exporters=20", "--rate=1k/s", "--keys=5k"];
    let ([dataset, _], _) = generated(folder.path(), &flags);
    let (all, stats) = answer(
        &[&dataset],
        &["--by=received,exporter,src_addr", "--values=flows,bytes"],
    );
    let parts = number(&stats["parts"]);
    // Ten rotation intervals, two families.
    assert!(parts >= 16, "{parts}");
    assert_eq!(number(&stats["parts_left_out"]), 0);
    let mut times: Vec<&str> = all
        .iter()
        .map(|row| row["received"].as_str().expect("text"))
        .collect();
    times.sort_unstable();
    let (early, late) = (times[times.len() / 4], times[times.len() / 2]);
    let flows = |keep: &dyn Fn(&str) -> bool| -> u64 {
        let kept = all
            .iter()
            .filter(|row| keep(row["received"].as_str().expect("text")));
        kept.map(|row| number(&row["flows"])).sum()
    };
    let within = flows(&|time| early <= time && time < late);
    let filter = format!("received >= {early} and received < {late}");
    for flags in [
        vec![format!("--where={filter}")],
        vec![format!("--from={early}"), format!("--to={late}")],
    ] {
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.extend(["--by=family", "--values=flows"]);
        let (rows, stats) = answer(&[&dataset], &flags);
        let found: u64 = rows.iter().map(|row| number(&row["flows"])).sum();
        assert_eq!(found, within, "{flags:?}");
        // A quarter of the time is wanted.
        assert!(number(&stats["parts_left_out"]) >= parts / 2, "{stats}");
        assert!(
            number(&stats["rows_read"]) < number(&stats["rows"]) / 2,
            "{stats}"
        );
    }
    let (rows, stats) = answer(
        &[&dataset],
        &["--where=family = ipv6", "--by=family", "--values=flows"],
    );
    assert_eq!(rows.len(), 1);
    assert!(number(&stats["parts_left_out"]) >= parts / 3, "{stats}");
    let (rows, stats) = answer(&[&dataset], &["--where=dst_vlan = 4097"]);
    assert!(rows.is_empty());
    assert_eq!(number(&stats["parts_left_out"]), parts, "{stats}");
}

fn python() -> Option<OsString> {
    std::env::var_os("FOREBAY_PYTHON")
}

const NO_PYTHON: &str = "FOREBAY_PYTHON names no Python with duckdb and pyarrow";

/// Asks `forebay` and DuckDB the same; what the comparison tells.
fn compare(python: &OsString, arguments: &[&Path]) -> Result<Value, Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python)
        .arg(root.join("tests/system/summarize.py"))
        .arg(env!("CARGO_BIN_EXE_forebay"))
        .arg(root.join("store/src/views.sql"))
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let told: Value = serde_json::from_slice(&output.stdout)?;
    assert!(number(&told["equal"]) > 100, "{told}");
    Ok(told)
}

pub(crate) fn duckdb_agrees_on_random_files() -> Outcome {
    let Some(python) = python() else {
        return needs::missing(NO_PYTHON);
    };
    for seed in ["1", "2", "3"] {
        let folder = tempfile::tempdir()?;
        let dataset = folder.path().join("flows");
        let told = compare(&python, &[Path::new("--random"), &dataset, Path::new(seed)])?;
        assert!(number(&told["parts_left_out"]) > 0, "{told}");
        assert!(number(&told["spilled"]) > 0, "{told}");
    }
    Ok(Completion::Completed)
}

pub(crate) fn duckdb_agrees_on_generated_traffic() -> Outcome {
    let Some(python) = python() else {
        return needs::missing(NO_PYTHON);
    };
    let folder = tempfile::tempdir()?;
    let flags = ["--flows=60k", "--exporters=40", "--rate=4k/s", "--keys=20k"];
    let ([parquet, segments], _) = generated(folder.path(), &flags);
    let told = compare(&python, &[&parquet, &segments])?;
    assert!(number(&told["spilled"]) > 0, "{told}");
    Ok(Completion::Completed)
}

pub(crate) fn duckdb_agrees_on_the_corpus() -> Outcome {
    let Some(python) = python() else {
        return needs::missing(NO_PYTHON);
    };
    let Some(corpus) = std::env::var_os("FOREBAY_CORPUS") else {
        return needs::missing("FOREBAY_CORPUS is not set");
    };
    let mut captures: Vec<PathBuf> = (fs::read_dir(&corpus)?)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|is| is == "pcap"))
        .collect();
    captures.sort();
    assert!(!captures.is_empty(), "no captures in {}", corpus.display());
    let captures: Vec<&str> = captures.iter().map(|path| text(path)).collect();
    let folder = tempfile::tempdir()?;
    let [parquet, segments] = collected(folder.path(), &captures);
    compare(&python, &[&parquet, &segments])?;
    Ok(Completion::Completed)
}

/// Addresses, ports and protocol; the ports of ICMP are type and code, which others write otherwise.
type FiveTuple = (String, String, String, String, u64);

/// Packets, bytes and flows by 5-tuple.
type Sums = BTreeMap<FiveTuple, [u64; 3]>;

fn add(sums: &mut Sums, words: [&str; 4], protocol: u64, counts: [u64; 3]) {
    let [source, destination, source_port, destination_port] = words;
    let ports = match protocol {
        1 | 58 => ["", ""],
        _ => [source_port, destination_port],
    };
    let key = (
        source.into(),
        destination.into(),
        ports[0].into(),
        ports[1].into(),
        protocol,
    );
    for (sum, count) in sums.entry(key).or_default().iter_mut().zip(counts) {
        *sum += count;
    }
}

pub(crate) fn nfdump_agrees_on_5_tuples() -> Outcome {
    let (Some(nfcapd), Some(nfdump)) = (program("nfcapd"), program("nfdump")) else {
        return needs::missing("nfdump is not installed");
    };
    let folder = tempfile::tempdir()?;
    let flags = ["--flows=30k", "--exporters=20", "--keys=5k", "--versions=9"];
    let capture = generate(folder.path(), "exports.pcap", &flags);
    let collector = Nfcapd::start(&nfcapd, folder.path());
    replay(&capture, collector.address());
    let captured = collector.end();
    let output = Command::new(nfdump)
        .arg("-R")
        .arg(captured)
        .args(["-A", "srcip,dstip,srcport,dstport,proto", "-q", "-N", "-6"])
        .args(["-o", "fmt:%sa|%da|%sp|%dp|%pr|%pkt|%byt|%fl"])
        .output()?;
    let told = String::from_utf8(output.stdout)?;
    let mut theirs = Sums::new();
    for line in told.lines().filter(|line| line.contains('|')) {
        let words: Vec<&str> = line.split('|').map(str::trim).collect();
        let [words @ .., protocol, packets, bytes, flows] = words.as_slice() else {
            return Err(format!("no row: {line}").into());
        };
        let words = <[&str; 4]>::try_from(words).map_err(|_| format!("no row: {line}"))?;
        let counts = [packets.parse()?, bytes.parse()?, flows.parse()?];
        add(&mut theirs, words, protocol.parse()?, counts);
    }

    let [dataset, _] = collected(folder.path(), &[text(&capture)]);
    let (rows, _) = answer(&[&dataset], &[]);
    let mut ours = Sums::new();
    for row in &rows {
        let port = |name: &str| row.get(name).map_or(0, number).to_string();
        let ports = [port("src_port"), port("dst_port")];
        let words = [
            row["src_addr"].as_str().expect("text"),
            row["dst_addr"].as_str().expect("text"),
            &ports[0],
            &ports[1],
        ];
        let counts = ["packets", "bytes", "flows"].map(|name| row.get(name).map_or(0, number));
        add(&mut ours, words, number(&row["protocol"]), counts);
    }
    assert!(ours.len() > 2_000, "{}", ours.len());
    for (key, counts) in &ours {
        assert_eq!(Some(counts), theirs.get(key), "{key:?}");
    }
    assert_eq!(ours.len(), theirs.len());
    Ok(Completion::Completed)
}

/// So many names for the same flows that it takes a while to read them all.
fn long_input(folder: &Path, names: usize) -> PathBuf {
    let ([dataset, _], _) = generated(folder, &["--flows=200k", "--versions=9", "--ipv6-share=0"]);
    let many = folder.join("many");
    fs::create_dir(&many).expect("a folder");
    let file = files(&dataset).into_iter().find(|path| {
        text(path).contains("family=ipv4") && path.extension().is_some_and(|is| is == "parquet")
    });
    let file = file.expect("a flow file");
    for name in 0..names {
        fs::hard_link(&file, many.join(format!("{name}.parquet"))).expect("links");
    }
    many
}

pub(crate) fn an_interrupt_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let many = long_input(folder.path(), 1_000);
    let [output, temp] = ["output", "temp"].map(|name| {
        let path = folder.path().join(name);
        fs::create_dir(&path).expect("a folder");
        path
    });
    for name in ["INT", "TERM"] {
        let mut command = summarize(
            &[&many],
            &["--by=received,src_addr,dst_addr,bytes", "--memory=4MiB"],
        );
        command.arg("--output").arg(output.join("answer.parquet"));
        command.arg("--temp").arg(&temp);
        let child = command.stderr(Stdio::piped()).spawn().expect("starts");
        wait_for("the answer to be begun", || {
            (!files(&output).is_empty()).then_some(())
        });
        signal(&child, name);
        let ended = child.wait_with_output().expect("ends");
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{log}");
        assert!(log.contains("interrupted"), "{log}");
        assert_eq!(files(&output), Vec::<PathBuf>::new());
        assert_eq!(files(&temp), Vec::<PathBuf>::new());
    }
}

/// Runs the words behind it where `$1` is a small file system, then tells the exit code and what is left there.
const SMALL_DISK: &str = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit; cd \"$1\"; shift; \"$@\"; echo \"code $?\"; ls -A";

fn on_small_disk(folder: &Path, command: &Command) -> Output {
    Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh"])
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args())
        .output()
        .expect("unshare starts")
}

pub(crate) fn a_full_disk_leaves_nothing() -> Outcome {
    if program("unshare").is_none() {
        return needs::missing("unshare is not installed");
    }
    let folder = tempfile::tempdir()?;
    let (datasets, _) = generated(folder.path(), &["--flows=100k", "--keys=80k"]);
    let disk = folder.path().join("disk");
    fs::create_dir(&disk)?;
    let [parquet, _] = &datasets;
    for (flags, space) in [
        // What goes aside has no room; what is written has none.
        (
            vec!["--output=answer.parquet", "--memory=1MiB", "--temp=."],
            "temporary file",
        ),
        (vec!["--output=answer.parquet"], "answer.parquet"),
        (vec!["--output=answer.arrow"], "answer.arrow"),
        (vec!["--output=answer.csv"], "answer.csv"),
    ] {
        let mut command = summarize(&[parquet], &flags);
        command.arg("--by=received,src_addr,dst_addr,src_port,dst_port");
        let output = on_small_disk(&disk, &command);
        let errors = String::from_utf8_lossy(&output.stderr);
        let first = errors.lines().next().unwrap_or_default();
        if first.starts_with("unshare:") || first.starts_with("mount:") {
            return needs::missing(format!("no small file system can be mounted: {first}"));
        }
        // Nothing is listed behind the code.
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "code 1\n",
            "{flags:?}: {errors}"
        );
        assert!(errors.contains(space), "{flags:?}: {errors}");
        assert!(errors.contains("No space left"), "{flags:?}: {errors}");
    }
    Ok(Completion::Completed)
}
