//! `replay --search` against collectors of a known limit, with probes that fail, and interrupted.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::collector::{Collector, generate, own_loopback};
use crate::support::signal;

/// What the slow collector takes a second. The kernel's default buffer holds about 90 of these datagrams: 60 ms. That
/// bears a busy machine, and is full within a step at 3 % more.
const DATAGRAMS_PER_SECOND: f64 = 1_500.0;
const STEP: &str = "--step=2500ms";

/// How long the slow collector sleeps after each batch.
const TURN: Duration = Duration::from_millis(4);

/// How many datagrams it may take at once after it could not run for a while.
const BURST: u64 = 90;

/// A collector that counts flows, and writes down how many.
struct Counting {
    address: SocketAddr,
    folder: TempDir,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    /// One that takes so many datagrams a second.
    fn start(datagrams_per_second: f64) -> Self {
        let socket = UdpSocket::bind((own_loopback(), 0)).expect("a port is free");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let stop = Arc::new(AtomicBool::new(false));
        let mut counting = Self {
            address: socket.local_addr().expect("it is bound"),
            folder,
            stop: Arc::clone(&stop),
            thread: None,
        };
        let file = counting.file("stored");
        write(&file, 0);
        let collect = move || collect(&socket, datagrams_per_second, &file, &stop);
        counting.thread = Some(thread::spawn(collect));
        counting
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A recording of v5 messages of one exporter.
    fn recording(&self) -> PathBuf {
        let flags = ["--flows=30000", "--versions=5", "--exporters=1"];
        generate(self.folder.path(), "recording.pcap", &flags)
    }

    /// The search, that needs no right, and has so much of the rate of this collector to begin with.
    fn search(&self, probe: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command
            .arg("replay")
            .arg(self.recording())
            .args(["--to", &self.address.to_string(), "--source=own"])
            .args(["--search", "--probe", probe])
            .args(flags)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _told_by_the_test = thread.join();
        }
    }
}

/// Takes a batch, sleeps, and so on. What it may take is reckoned from the time, so that a sleep that takes longer does not
/// change the limit.
#[expect(clippy::disallowed_methods, reason = "its limit is one of time")]
fn collect(socket: &UdpSocket, rate: f64, stored: &Path, stop: &AtomicBool) {
    socket.set_nonblocking(true).expect("it can be");
    let start = Instant::now();
    let (mut taken, mut flows, mut written) = (0, 0, 0);
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let may_take = (start.elapsed().as_secs_f64() * rate) as u64;
        while taken < may_take {
            match socket.recv(&mut buffer) {
                Ok(_) => {
                    taken += 1;
                    flows += u64::from(u16::from_be_bytes([buffer[2], buffer[3]]));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // What was not needed is not kept for later.
                    taken = taken.max(may_take.saturating_sub(BURST));
                    break;
                }
                Err(error) => panic!("cannot receive: {error}"),
            }
        }
        if flows > written {
            write(stored, flows);
            written = flows;
        }
        thread::sleep(TURN);
    }
}

/// Nobody reads half a number.
fn write(file: &Path, count: u64) {
    let fresh = file.with_extension("fresh");
    fs::write(&fresh, count.to_string()).expect("written");
    fs::rename(&fresh, file).expect("renamed");
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text} {error}"))
}

pub(crate) fn a_known_limit_is_found_within_5_percent() {
    let collector = Counting::start(DATAGRAMS_PER_SECOND);
    let kernel = format!("kernel:{}", collector.address.port());
    let page = collector.file("report.html");
    let flags = [
        "--probe=command:cat stored",
        STEP,
        "--settle=1s",
        "--from=30k",
        "--json",
        "--html=report.html",
        &format!("--pid={}", std::process::id()),
    ];
    let output = collector.search(&kernel, &flags).output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let report = json(&output);
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{report}"));
    let (flows, datagrams) = (&report["sent"]["flows"], &report["sent"]["datagrams"]);
    let limit = DATAGRAMS_PER_SECOND * number(flows) / number(datagrams);
    let result = &report["result"];
    assert_eq!(result["ended"], "limit", "{report}");
    let (held, lost) = (&result["held"], &result["lost"]);
    let share = number(&held["rate"]) / limit;
    assert!(
        (0.95..1.05).contains(&share),
        "{share} of the limit: {report}"
    );
    assert!(
        number(&held["held"]) >= 3.0 && number(&lost["lost"]) == 2.0,
        "{report}"
    );
    assert!(
        number(&lost["rate"]) <= number(&held["rate"]) * 1.021,
        "{report}"
    );
    for step in report["steps"].as_array().expect("steps") {
        // Both probes see the same loss: a datagram that the kernel drops is one that is not stored.
        let [dropped, stored] = [0, 1].map(|probe| number(&step["counts"][probe]["missing_flows"]));
        let datagram = number(flows) / number(datagrams);
        assert!(
            (dropped - stored).abs() <= dropped * 0.01 + datagram,
            "{step}"
        );
        assert!(number(&step["cpu_seconds"]) >= 0.0 && number(&step["memory_bytes"]) > 0.0);
    }
    let page = fs::read_to_string(page).expect("a page");
    assert!(page.contains("</svg>") && page.contains("highest lossless rate"));
}

pub(crate) fn a_collectors_stats_say_what_it_has_stored() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let collector = Collector::start(&folder.path().join("flows"), &[]);
    let recording = generate(folder.path(), "recording.pcap", &["--flows=20000"]);
    let (http, port) = (collector.http(), collector.address().port());
    let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .arg("replay")
        .arg(recording)
        .args(["--to", &collector.address().to_string(), "--source=bound"])
        .args(["--search", "--probe", &format!("http:http://{http}")])
        .args(["--probe", &format!("kernel:{port}")])
        .args(["--pid", &collector.id().to_string()])
        // As fast as a busy machine can.
        .args(["--from=5k", "--up-to=10k", "--step=500ms", "--settle=20s"])
        .arg("--json")
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let report = json(&output);
    assert_eq!(report["result"]["ended"], "highest", "{report}");
    assert_eq!(report["result"]["held"]["rate"], 10_000.0);
    let steps = report["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 4, "{report}");
    for step in steps {
        let sent = &step["sent"]["flows"];
        for count in &step["counts"].as_array().expect("counts")[..2] {
            assert_eq!(&count["count"], sent, "{step}");
        }
        assert!(step["cpu_seconds_per_million_flows"].is_number(), "{step}");
    }
    let records: u64 = steps
        .iter()
        .filter_map(|step| step["sent"]["flows"].as_u64())
        .sum();
    assert_eq!(collector.stat("/total/records"), records);
    // The recording goes on in time and number, from loop to loop and from step to step.
    assert_eq!(collector.stat("/total/sequence_lost"), 0);
    assert_eq!(collector.stat("/total/sequence_resets"), 0);
    collector.end();
}

/// Searches with a command that counts how often it is asked, and later does something else than it should.
fn with_failing_probe(later: &str) -> Output {
    let collector = Counting::start(1e9);
    fs::write(collector.file("asked"), "0").expect("written");
    // At least twice a step, and more often where a busy machine takes its time.
    let command = format!(
        "command:n=$(cat asked); echo $((n + 1)) > asked; if test $n -lt 8; then cat stored; else {later}; fi"
    );
    let flags = [
        "--step=300ms",
        "--from=2k",
        "--settle=20s",
        "--probe-timeout=2s",
    ];
    collector
        .search(&command, &flags)
        .output()
        .expect("it runs")
}

fn fails_with(output: &Output, what: &str) {
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error.matches('\n').count(), 1, "{error}");
    assert!(error.contains("probe command:n=$(cat asked)"), "{error}");
    assert!(error.contains(what), "{error}");
    let report = String::from_utf8_lossy(&output.stdout);
    let has_step = report
        .lines()
        .any(|line| line.trim_start().starts_with("1  ") && line.ends_with("held"));
    assert!(has_step, "{report}");
    assert!(report.contains("the highest that held: "), "{report}");
}

pub(crate) fn a_probe_that_fails_ends_the_search_and_keeps_what_was_measured() {
    let output = with_failing_probe("echo the table is locked >&2; exit 5");
    fails_with(&output, "exit status: 5");
    fails_with(&output, "the table is locked");
    fails_with(&with_failing_probe("echo many"), "it printed \"many\"");
}

pub(crate) fn a_probe_that_hangs_is_ended_with_the_search_and_what_was_measured_stays() {
    fails_with(&with_failing_probe("sleep 1000"), "no answer within 2 s");
}

pub(crate) fn a_probe_that_cannot_be_asked_at_all_is_told_before_anything_is_sent() {
    let collector = Counting::start(1e9);
    let unused = UdpSocket::bind((own_loopback(), 0)).expect("a port is free");
    let port = unused.local_addr().expect("it is bound").port();
    drop(unused);
    let probe = format!("kernel:{port}");
    let output = collector.search(&probe, &[]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains(&format!("no UDP socket has port {port}")),
        "{error}"
    );
    let stored = fs::read_to_string(collector.file("stored")).expect("a count");
    assert_eq!(stored, "0");
}

pub(crate) fn an_interrupt_prints_the_report_so_far() {
    let collector = Counting::start(1e9);
    let flags = [
        "--step=500ms",
        "--from=1k",
        "--settle=20s",
        "--html=report.html",
    ];
    let mut command = collector.search("command:cat stored", &flags);
    let mut search = Killed(command.spawn().expect("it starts"));
    let mut lines = BufReader::new(search.0.stdout.take().expect("it is piped")).lines();
    let mut line = || lines.next().expect("more to come").expect("UTF-8");
    assert!(line().starts_with("step  "));
    // Each step shows when it is over.
    let first = line();
    assert!(
        first.trim_start().starts_with("1  ") && first.ends_with("held"),
        "{first}"
    );
    signal(&search.0, "INT");
    let rest: Vec<String> = lines.map(|line| line.expect("UTF-8")).collect();
    let result = rest.last().expect("a result");
    assert!(result.starts_with("no result yet after "), "{rest:?}");
    assert!(result.contains("the highest that held: "), "{rest:?}");
    let mut error = String::new();
    let mut stderr = search.0.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut error).expect("UTF-8");
    assert!(error.contains("interrupted"), "{error}");
    assert_eq!(search.0.wait().expect("it ends").code(), Some(1));
    let page = fs::read_to_string(collector.file("report.html")).expect("a page");
    assert!(page.contains("no result yet after ") && page.contains("interrupted"));
}

/// A process that does not outlive a test that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}
