//! `forebay dedupe` from generated traffic on: against its truth, read by others, ended by signals, on a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use forebay_replay::generate::Truth;
use forebay_store::free_bytes;
use libtest_mimic::Completion;
use serde_json::{Value, json};

use crate::Outcome;
use crate::collector::{collect_whole, generate, truth_of};
use crate::needs;
use crate::small_disk;
use crate::support::{files, is_flow_file, name, signal, wait_for};

/// Not every layout tells the type of service.
const KEY: &str = "--key=src_addr,dst_addr,src_port,dst_port,protocol";
/// The input, for what runs on the small file system.
const INPUT: &str = "FOREBAY_DEDUPE_INPUT";

fn command(flags: &[&str], input: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command
        .arg("dedupe")
        .args(flags)
        .arg("--output")
        .arg(output)
        .arg(input);
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end: its report.
#[track_caller]
fn dedupe(flags: &[&str], input: &Path, output: &Path) -> Value {
    let ended = command(flags, input, output)
        .arg("--json")
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{errors}");
    serde_json::from_slice(&ended.stdout).expect("prints JSON")
}

/// Flows of which several exporters saw some: the dataset of them, and what is true of it.
fn dataset(folder: &Path, format: &str, flags: &[&str]) -> (PathBuf, Truth) {
    let capture = generate(folder, "exports.pcap", flags);
    let truth = truth_of(&capture);
    let output = folder.join(format);
    let capture = capture.to_str().expect("UTF-8");
    let flags = ["--format", format, "--rotate=1h", "--read", capture];
    collect_whole(&output, &flags);
    (output, truth)
}

/// All rows of a dataset as JSON lines, in some order of their own.
fn rows(dataset: &Path) -> Vec<String> {
    let shown = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["print", "--format=json"])
        .arg(dataset)
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{errors}");
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    let mut rows: Vec<String> = shown.lines().map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

/// Flows so rare that none are alike by chance, and so many that they span hours.
const RARE: [&str; 5] = [
    "--flows=20k",
    "--exporters=12",
    "--duplicates=0.3",
    "--rate=1/s",
    "--seed=3",
];

pub(crate) fn what_is_removed_is_what_was_told_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut kept: Option<Vec<String>> = None;
    for input_format in ["parquet", "arrow"] {
        let (input, truth) = dataset(
            folder.path(),
            input_format,
            &[&RARE[..], &["--keys=4M"]].concat(),
        );
        let [flows, again] = [truth.total.flows, truth.duplicates.flows];
        for (number, flags) in [
            &["--threads=1"][..],
            &["--threads=2", "--format=arrow"],
            &["--threads=4", "--memory=1MiB", "--compression=lz4"],
            &["--threads=3", "--memory=1MiB", "--format=arrow"],
        ]
        .into_iter()
        .enumerate()
        {
            let output = folder.path().join(format!("{input_format}-{number}"));
            let report = dedupe(&[flags, &[KEY]].concat(), &input, &output);
            assert_eq!(report["flows_in"], flows);
            assert_eq!(report["flows_removed"], again, "{flags:?}");
            assert_eq!(report["flows_kept"], flows - again);
            let is_small = flags.iter().any(|flag| flag.contains("memory"));
            assert_eq!(report["spilled_bytes"].as_u64() > Some(0), is_small);
            let rows = rows(&output);
            assert_eq!(rows.len() as u64, flows - again);
            assert!(
                kept.get_or_insert_with(|| rows.clone()) == &rows,
                "{input_format} {flags:?}"
            );
        }
    }
}

pub(crate) fn others_read_it() -> Outcome {
    let Some(python) = std::env::var_os("FOREBAY_PYTHON") else {
        return needs::missing("FOREBAY_PYTHON names no Python with duckdb and pyarrow");
    };
    let folder = tempfile::tempdir()?;
    let (input, truth) = dataset(
        folder.path(),
        "arrow",
        &[&RARE[..], &["--keys=4M"]].concat(),
    );
    let output = folder.path().join("deduped");
    dedupe(&[KEY], &input, &output);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/dedupe.py");
    let read = Command::new(python).arg(script).arg(&output).output()?;
    let errors = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&read.stdout)?;
    let (total, again) = (truth.total, truth.duplicates);
    let kept = total.flows - again.flows;
    let packets = total.packets - again.packets;
    let expected = json!([kept, total.flows, total.flows, kept, packets]);
    assert_eq!(found["duckdb"], expected);
    assert_eq!(found["pyarrow"], expected);
    assert_eq!(found["type"], "VARCHAR[]");
    Ok(Completion::Completed)
}

/// A run that is in the middle of it: its hidden folder is there.
fn begun(input: &Path, output: &Path) -> (Child, PathBuf) {
    let mut child = command(&["--threads=1", "--memory=1MiB"], input, output)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let name = name(output);
    let hidden = output.with_file_name(format!(".{name}.tmp"));
    wait_for("the run to begin", || {
        let ended = child.try_wait().expect("its state is known");
        assert!(ended.is_none(), "it ended too soon");
        hidden.join("scratch").exists().then_some(())
    });
    (child, hidden)
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("it ends")
}

pub(crate) fn a_run_that_is_ended_leaves_nothing_and_one_that_is_killed_nothing_for_long() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = [
        "--flows=600k",
        "--exporters=12",
        "--duplicates=0.3",
        "--rate=2k/s",
    ];
    let (input, _) = dataset(folder.path(), "arrow", &flags);
    let output = folder.path().join("deduped");
    for name in ["INT", "TERM"] {
        let (child, hidden) = begun(&input, &output);
        signal(&child, name);
        let ended = ended(child);
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{log}");
        assert!(log.contains("interrupted"), "{log}");
        assert!(!output.exists() && !hidden.exists());
    }
    let (mut child, hidden) = begun(&input, &output);
    child.kill().expect("it can be killed");
    ended(child);
    assert!(hidden.exists() && !output.exists());
    let report = dedupe(&[], &input, &output);
    assert_eq!(report["flows_in"], 600_000);
    assert!(output.join("views.sql").exists() && !hidden.exists());
    let temporary = files(&output)
        .into_iter()
        .find(|path| name(path).starts_with('.'));
    assert_eq!(temporary, None);
}

pub(crate) fn a_full_disk_leaves_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let disk = folder.path().join("disk");
    fs::create_dir(&disk)?;
    let (input, _) = dataset(
        folder.path(),
        "parquet",
        &["--flows=300k", "--exporters=12"],
    );
    small_disk::run("dedupe", "6m", &disk, Some((INPUT, &input)))
}

pub(crate) fn on_small_disk(disk: &Path) {
    let input = PathBuf::from(std::env::var_os(INPUT).expect("an input"));
    let free = free_bytes(disk).expect("asks");
    let output = disk.join("deduped");
    let temp = disk.to_str().expect("UTF-8");
    // The files do not fit; then not even the rows that are put aside.
    for flags in [
        &["--compression=none"][..],
        &["--memory=1MiB", "--temp", temp],
    ] {
        let ended = command(flags, &input, &output).output().expect("it starts");
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{log}");
        assert!(log.contains("No space left on device"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert_eq!(
            fs::read_dir(disk).expect("lists").count(),
            0,
            "something is left"
        );
        assert_eq!(free_bytes(disk).expect("asks"), free);
    }
    assert!(files(&input).iter().any(|path| is_flow_file(path)));
}
