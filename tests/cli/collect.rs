//! `forebay collect` at work: sockets, signals, the status endpoint, exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Ended, Folder, command, done, fails, files, forebay, v5, v9, v9_record};

/// Longer than anything here takes, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that runs.
struct Collector {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: SocketAddr,
    http: SocketAddr,
    seen: String,
}

impl Collector {
    fn start(output: &str, more: &[&str]) -> Self {
        let arguments = [
            "collect",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--output",
            output,
        ];
        let mut child = command(&[&arguments, more].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut collector = Self {
            child,
            log,
            address: nowhere,
            http: nowhere,
            seen: String::new(),
        };
        collector.http = collector.address_after("status on http://");
        collector.address = collector.address_after("listening on ");
        collector
    }

    /// The address that the log tells after these words.
    fn address_after(&mut self, words: &str) -> SocketAddr {
        loop {
            let start = self.seen.len();
            let read = self.log.read_line(&mut self.seen).unwrap();
            assert!(read > 0, "the collector ended: {}", self.seen);
            if let Some((_, rest)) = self.seen[start..].split_once(words) {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, ',' | '"'))
                    .unwrap_or(rest.len());
                return rest[..end].parse().expect(rest);
            }
        }
    }

    fn send(&self, payloads: &[Vec<u8>]) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for payload in payloads {
            socket.send_to(payload, self.address).unwrap();
        }
    }

    /// What the status endpoint says: status line and body.
    fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn stats(&self) -> Value {
        serde_json::from_str(&self.get("/stats").1).expect("JSON")
    }

    /// Waits until the statistics say so.
    fn wait_for(&self, what: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let stats = self.stats();
            if what(&stats) {
                return stats;
            }
            assert!(begun.elapsed() < PATIENCE, "it never came to be: {stats:#}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(status.success());
    }

    fn end(mut self) -> Ended {
        self.signal("-TERM");
        let mut stderr = self.seen.split_off(0);
        self.log.read_to_string(&mut stderr).unwrap();
        let code = self
            .child
            .wait()
            .unwrap()
            .code()
            .expect("no signal ended it");
        Ended {
            code,
            stdout: String::new(),
            stderr,
        }
    }
}

/// A test that fails must leave no collector behind.
impl Drop for Collector {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

#[test]
fn datagrams_become_flow_files_until_a_signal_ends_it() {
    let folder = Folder::new();
    let flows = folder.path("flows");
    let collector = Collector::start(&flows, &["--shards", "2"]);
    assert_eq!(
        collector.get("/healthz"),
        ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned())
    );
    collector.send(&[v5(), v9(1, true, &[v9_record(3), v9_record(4)])]);
    let stats = collector.wait_for(|stats| stats["total"]["records"] == 3);
    assert_eq!(stats["total"]["datagrams"], 2);
    assert_eq!(stats["total"]["kernel_drops"], 0);
    let domains = stats["domains"].as_array().unwrap();
    let v9 = domains
        .iter()
        .find(|domain| domain["export_version"] == 9)
        .unwrap();
    assert_eq!(
        (&v9["exporter"], &v9["observation_domain"], &v9["templates"]),
        (&"127.0.0.1".into(), &7.into(), &1.into())
    );
    let (_, metrics) = collector.get("/metrics");
    assert!(
        metrics.contains("\nforebay_receive_datagrams_total 2\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("\nforebay_decode_records_total 3\n"),
        "{metrics}"
    );

    let ended = collector.end();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .ends_with("2 datagrams of 1 exporter, 3 flows stored; nothing lost\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        done(&["print", "--format", "json", &flows]).lines().count(),
        3
    );
    assert!(files(&flows, "arrows").is_empty(), "everything is settled");
}

#[test]
fn a_hangup_makes_flow_files_appear() {
    let folder = Folder::new();
    let flows = folder.path("flows");
    let collector = Collector::start(&flows, &["--rotate", "1h"]);
    collector.send(&[v5()]);
    collector.wait_for(|stats| stats["total"]["records"] == 1);
    collector.signal("-HUP");
    collector.wait_for(|stats| stats["files"]["flow_files"] == 1);
    assert_eq!(
        files(&flows, "parquet")
            .iter()
            .filter(|path| path.to_string_lossy().contains("family=ipv4"))
            .count(),
        1
    );
    assert_eq!(collector.end().code, 0);
}

#[test]
fn losses_have_their_exit_code_where_asked_for() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5(), b"no message".to_vec()]);
    let ended = forebay(&["collect", "--read", &capture, "--output", &folder.path("a")]);
    assert_eq!(ended.code, 0);
    assert!(
        ended
            .stderr
            .contains("lost: 1 datagram not decoded or stored (unknown_version)"),
        "{}",
        ended.stderr
    );
    let ended = forebay(&[
        "collect",
        "--fail-on-loss",
        "--read",
        &capture,
        "--output",
        &folder.path("b"),
    ]);
    assert_eq!(ended.code, 3);
    let whole = folder.capture("whole.pcap", &[v5()]);
    let ended = forebay(&[
        "collect",
        "--fail-on-loss",
        "--read",
        &whole,
        "--output",
        &folder.path("c"),
    ]);
    assert_eq!(ended.code, 0);
}

#[test]
fn a_torn_capture_fails_but_what_came_before_is_stored() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5(), v5()]);
    let mut bytes = std::fs::read(&capture).unwrap();
    bytes.truncate(bytes.len() - 1);
    let torn = folder.write("torn.pcap", bytes);
    let flows = folder.path("flows");
    let ended = forebay(&["collect", "--read", &torn, "--output", &flows]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .lines()
            .last()
            .unwrap()
            .starts_with("forebay: capture "),
        "{}",
        ended.stderr
    );
    assert_eq!(
        done(&["print", "--format", "json", &flows]).lines().count(),
        1
    );
}

#[test]
fn a_folder_has_one_collector() {
    let folder = Folder::new();
    let flows = folder.path("flows");
    let collector = Collector::start(&flows, &[]);
    let line = fails(
        1,
        &["collect", "--listen", "127.0.0.1:0", "--output", &flows],
    );
    assert!(
        line.contains(&flows) && line.contains("in use by another collector"),
        "{line}"
    );
    assert_eq!(collector.end().code, 0);
}

#[test]
fn a_log_for_programs_is_json() {
    let folder = Folder::new();
    let collector = Collector::start(&folder.path("flows"), &["--log", "json"]);
    let ended = collector.end();
    assert_eq!(ended.code, 0);
    for line in ended.stderr.lines() {
        let message: Value = serde_json::from_str(line).expect(line);
        assert!(
            message["level"].is_string() && message["message"].is_string(),
            "{line}"
        );
    }
    let last: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["message"], &last["kernel_drops"]),
        (&"ended".into(), &0.into())
    );
}

#[test]
fn generated_traffic_arrives_as_its_truth_says() {
    let folder = Folder::new();
    let (capture, flows) = (folder.path("a.pcap"), folder.path("flows"));
    done(&[
        "generate",
        "--flows",
        "20k",
        "--keys",
        "4096",
        "--exporters",
        "9",
        "--output",
        &capture,
    ]);
    done(&[
        "collect",
        "--fail-on-loss",
        "--read",
        &capture,
        "--output",
        &flows,
    ]);
    let truth = std::fs::read_to_string(format!("{capture}.truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let (mut count, mut bytes) = (0, 0);
    for line in done(&["print", "--format", "json", "--columns", "bytes", &flows]).lines() {
        let flow: Value = serde_json::from_str(line).unwrap();
        count += 1;
        bytes += flow["bytes"].as_u64().unwrap_or(0);
    }
    assert_eq!(
        (count, bytes),
        (20_000, truth["total"]["bytes"].as_u64().unwrap())
    );
}

#[test]
fn a_capture_that_never_ends_is_ended_by_the_grace_period_or_a_second_signal() {
    for (grace, signals, words) in [
        ("100ms", 1, "not ended in time"),
        ("1h", 2, "ended at once"),
    ] {
        let folder = Folder::new();
        let mut child = command(&[
            "collect",
            "--read",
            "-",
            "--grace",
            grace,
            "--output",
            &folder.path("flows"),
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        // A capture's beginning, and then nothing.
        let capture = std::fs::read(folder.capture("a.pcap", &[v5()])).unwrap();
        child.stdin.as_mut().unwrap().write_all(&capture).unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        log.read_line(&mut text).unwrap();
        assert!(text.contains("reading -"), "{text}");
        for _ in 0..signals {
            let id = child.id().to_string();
            assert!(
                Command::new("kill")
                    .args(["-TERM", &id])
                    .status()
                    .unwrap()
                    .success()
            );
            // Two at a time would be one.
            log.read_line(&mut text).unwrap();
        }
        log.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_signal_ends_it_though_nobody_reads_its_log() {
    let folder = Folder::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["collect", "--listen", "127.0.0.1:0", "--output"])
        .arg(folder.path("flows"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("listening") {
        assert!(log.read_line(&mut text).unwrap() > 0, "{text}");
    }
    drop(log);
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}
