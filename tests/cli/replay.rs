//! `forebay replay`: the paces by their flags, the report, and what it refuses.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Folder, command, done, fails, forebay};

/// So many flows of four exporters on loopback, a thousand datagrams a second.
fn capture(folder: &Folder, flows: &str) -> String {
    let path = folder.path("exports.pcap");
    done(&[
        "generate",
        "--output",
        &path,
        "--exporters=4",
        "--rate=25k",
        "--flows",
        flows,
    ]);
    path
}

fn listener() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address.to_string())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn the_report_says_what_was_reached() {
    let folder = Folder::new();
    let capture = capture(&folder, "1000");
    let (socket, to) = listener();
    let report = done(&[
        "replay", &capture, "--to", &to, "--flood", "--source", "own",
    ]);
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(
        lines[0],
        format!("{capture} to {to} from this machine's own address")
    );
    assert!(lines[1].contains(" datagrams, 1,000 flows, "), "{report}");
    assert!(lines[2].starts_with("rate      "), "{report}");
    let mut buffer = [0; 65_536];
    let (bytes, first) = socket.recv_from(&mut buffer).unwrap();
    assert!(bytes > 24);
    assert_eq!(socket.recv_from(&mut buffer).unwrap().1, first);

    let report = done(&[
        "replay",
        &capture,
        "--to",
        &to,
        "--flood",
        "--loop=3",
        "--rebase",
        "--prime",
        "--json",
        "--source=own",
    ]);
    let report = json(&report);
    assert_eq!(report["source"], "own");
    assert_eq!(report["sent"]["flows"], 3_000);
    assert_eq!(report["sent"]["loops"], 3);
    assert_eq!(report["sent"]["ended"], "recording");
    assert_eq!(report["sent"]["errors"]["datagrams"], 0);
    assert_eq!(report["recording"]["flows"], 1_000);
    assert_eq!(report["recording"]["exporters"], 4);
}

#[test]
fn recorded_addresses_of_loopback_can_be_bound() {
    let folder = Folder::new();
    // Not those of other tests, which may run at the same time.
    let path = folder.path("exports.pcap");
    done(&[
        "generate",
        "--output",
        &path,
        "--exporters=4",
        "--flows=500",
        "--first-exporter=127.77.0.1",
    ]);
    let (socket, to) = listener();
    done(&["replay", &path, "--to", &to, "--flood", "--source=bound"]);
    let mut sources = BTreeSet::new();
    let mut buffer = [0; 65_536];
    while sources.len() < 4 {
        sources.insert(socket.recv_from(&mut buffer).unwrap().1);
    }
    let expected: BTreeSet<SocketAddr> = (1..=4)
        .map(|host| SocketAddr::from(([127, 77, 0, host], 50_000)))
        .collect();
    assert_eq!(sources, expected);
}

#[test]
fn a_pace_lasts_as_long_as_it_must() {
    let folder = Folder::new();
    let capture = capture(&folder, "2000");
    let (_socket, to) = listener();
    let run = |flags: &[&str]| {
        let common = ["replay", &capture, "--to", &to, "--json", "--source=own"];
        let report = json(&done(&[&common[..], flags].concat()));
        let sent = &report["sent"];
        (
            sent["seconds"].as_f64().unwrap(),
            sent["datagrams"].as_u64().unwrap() as f64,
            sent["bytes"].as_u64().unwrap() as f64,
        )
    };
    // Earlier would be wrong on any machine; later is the machine's.
    let (seconds, datagrams, bytes) = run(&["--pps=1k"]);
    assert!(seconds >= datagrams / 1_000.0, "{seconds}");
    let (seconds, ..) = run(&["--fps=20k"]);
    assert!(seconds >= 0.1, "{seconds}");
    let (seconds, ..) = run(&["--delay=2ms"]);
    assert!(seconds >= datagrams * 0.002, "{seconds}");
    let (seconds, ..) = run(&["--mbps=10"]);
    assert!(seconds >= bytes * 8.0 / 10e6, "{seconds}");
    // 80 ms, but for the last datagrams, which are not waited for.
    let (seconds, ..) = run(&[]);
    assert!(seconds >= 0.07, "{seconds}");
    let (seconds, ..) = run(&["--speed=0.5"]);
    assert!(seconds >= 0.14, "{seconds}");
    // From nothing to 20,000 in 1 s: 2,000 flows take the square root of a fifth.
    let (seconds, ..) = run(&["--fps=0..20k", "--ramp=1s"]);
    assert!(seconds >= 0.447, "{seconds}");
    let (seconds, some, _) = run(&["--pps=1k", "--for=20ms", "--loop=0"]);
    assert!(seconds >= 0.02 && some < datagrams, "{seconds} {some}");
}

#[test]
fn only_what_is_asked_for_is_sent_and_the_rest_is_told() {
    let folder = Folder::new();
    let capture = capture(&folder, "1000");
    let (_socket, to) = listener();
    let report = done(&[
        "replay",
        &capture,
        "--to",
        &to,
        "--flood",
        "--source=own",
        "--versions=9,10",
        "--exporter=127.0.1.2",
    ]);
    assert!(
        report.contains("left out") && report.contains("of other exporters or versions"),
        "{report}"
    );
    let line = fails(
        1,
        &["replay", &capture, "--to", &to, "--exporter=192.0.2.0/24"],
    );
    assert!(line.contains("of other exporters or versions"), "{line}");
}

#[test]
fn wrong_usage_is_told_with_what_to_write() {
    let folder = Folder::new();
    let capture = capture(&folder, "100");
    let to = "127.0.0.1:9";
    for (flags, what) in [
        (
            &["--pps=0"][..],
            "0 is no rate to send at: give more than 0",
        ),
        (&["--fps=fast"], "\"fast\" is no rate: write a number"),
        (&["--fps=1k..2k"], "give --ramp TIME"),
        (&["--ramp=5s"], "give both, such as --fps 10k..2M"),
        (
            &["--fps=1k", "--ramp=5s"],
            "give both, such as --fps 10k..2M",
        ),
        (&["--fps=1..0", "--ramp=5s"], "a ramp from 1 to 0"),
        (&["--speed=-1"], "-1 is no rate"),
        (&["--speed", "-1"], "-1 is no rate"),
        (&["--loop", "-1"], "0 is until interrupted"),
        (&["--speed=nan"], "NaN is no rate"),
        (&["--pps=1", "--flood"], "cannot be used with"),
        (&["--delay=10"], "\"10\" is no duration"),
        (&["--versions=8"], "there is no export version 8"),
        (&["--exporter=192.0.2.0/33"], "is no address or prefix"),
        (&["--source=raw"], "possible values: recorded, bound, own"),
    ] {
        let line = fails(2, &[&["replay", &capture, "--to", to], flags].concat());
        assert!(line.contains(what), "{line}");
    }
    let line = fails(2, &["replay", &capture]);
    assert!(line.contains("--to <ADDR:PORT>"), "{line}");
}

#[test]
fn a_capture_that_cannot_be_sent_is_told() {
    let folder = Folder::new();
    let to = ["--to", "127.0.0.1:9"];
    let nothing = folder.capture("dns.pcap", &[b"\0\x01hello".to_vec()]);
    for (path, what) in [
        (
            nothing.as_str(),
            "has no export messages to send: none of its 1 UDP datagrams is NetFlow or IPFIX",
        ),
        (&folder.path("nowhere.pcap"), "cannot open capture"),
        (
            &folder.write("text.pcap", "hello, this is text"),
            "is no capture",
        ),
    ] {
        let line = fails(1, &[&["replay", path][..], &to].concat());
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn what_comes_before_a_tear_is_sent_and_the_tear_is_told() {
    let folder = Folder::new();
    let capture = capture(&folder, "1000");
    let (_socket, to) = listener();
    let mut bytes = fs::read(&capture).unwrap();
    bytes.truncate(bytes.len() - 100);
    let torn = folder.write("torn.pcap", &bytes);
    let flags = ["--to", &to, "--flood", "--source=own", "--json"];
    let whole = json(&done(&[&["replay", &capture][..], &flags].concat()));
    let ended = forebay(&[&["replay", &torn][..], &flags].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("torn.pcap ends inside the record at byte"),
        "{}",
        ended.stderr
    );
    let report = json(&ended.stdout);
    let datagrams = |of: &Value| of["sent"]["datagrams"].as_u64().unwrap();
    assert_eq!(datagrams(&report), datagrams(&whole) - 1);
    assert!(report["recording"]["torn"].is_string());
}

#[test]
fn a_target_that_refuses_is_a_failure_after_the_report() {
    let folder = Folder::new();
    let capture = capture(&folder, "5000");
    // Free a moment ago, and nobody takes it: ports are given out in turns.
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let to = closed.to_string();
    let ended = forebay(&["replay", &capture, "--to", &to, "--source=own", "--pps=2k"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("5,000 flows"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("is something listening there?"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_interrupt_prints_what_was_reached() {
    let folder = Folder::new();
    let capture = capture(&folder, "1000");
    let (socket, to) = listener();
    let mut child = command(&[
        "replay",
        &capture,
        "--to",
        &to,
        "--source=own",
        "--pps=50",
        "--loop=0",
    ])
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    // It sends: from here on it listens to signals.
    socket.recv_from(&mut [0; 65_536]).unwrap();
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-s", "INT", &pid]).status();
    assert!(killed.unwrap().success());
    let status = child.wait().unwrap();
    let mut report = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut report)
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(report.contains(", until interrupted"), "{report}");
    assert!(report.contains("sent      "), "{report}");
}
