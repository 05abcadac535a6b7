//! `forebay generate`: its truth is what our collector finds, by exporter and version.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Ended, Folder, command, done, ended, fails};

fn truth_of(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_collector_finds_what_the_truth_says_of_each_exporter_and_version() {
    let folder = Folder::new();
    let (capture, flows) = (folder.path("a.pcap"), folder.path("flows"));
    let list = "192.0.2.1,2001:db8::1,192.0.2.77,198.51.100.3,2001:db8::9,203.0.113.5";
    done(&[
        "generate",
        "--flows=20k",
        "--keys=65536",
        "--versions=5:1,9:3,10:2",
        "--load=zipf",
        "--exporter-list",
        list,
        "--duplicates=0.25",
        "--rate=100k",
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
    let truth = truth_of(&format!("{capture}.truth.json"));

    let mut exporters: BTreeMap<(String, u64), [u64; 3]> = BTreeMap::new();
    let mut tuples = BTreeSet::new();
    let mut tellers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let columns =
        "exporter,export_version,src_addr,dst_addr,src_port,dst_port,protocol,packets,bytes";
    for line in done(&["print", "--format", "json", "--columns", columns, &flows]).lines() {
        let flow: Value = serde_json::from_str(line).unwrap();
        let exporter = flow["exporter"].as_str().unwrap().to_owned();
        let version = flow["export_version"].as_u64().unwrap();
        let [packets, bytes] = ["packets", "bytes"].map(|name| flow[name].as_u64().unwrap_or(0));
        let sums = exporters.entry((exporter.clone(), version)).or_default();
        sums[0] += 1;
        sums[1] += packets;
        sums[2] += bytes;
        let is_icmp = matches!(flow["protocol"].as_u64(), Some(1 | 58));
        let port = |name: &str| {
            if is_icmp {
                Value::Null
            } else {
                flow[name].clone()
            }
        };
        let tuple = format!(
            "{} {} {} {} {}",
            flow["src_addr"],
            flow["dst_addr"],
            port("src_port"),
            port("dst_port"),
            flow["protocol"]
        );
        if packets > 0 {
            let whole = format!("{tuple} {packets} {bytes}");
            tellers.entry(whole).or_default().insert(exporter);
        }
        tuples.insert(tuple);
    }
    let told =
        |of: &Value| ["flows", "packets", "bytes"].map(|name| of[name].as_u64().expect("a count"));
    let expected: BTreeMap<(String, u64), [u64; 3]> = truth["exporters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| {
            let source: std::net::SocketAddr = of["source"].as_str().unwrap().parse().unwrap();
            let version = of["version"].as_u64().unwrap();
            ((source.ip().to_string(), version), told(of))
        })
        .collect();
    assert_eq!(exporters, expected);
    assert_eq!(expected.len(), 6);
    let addresses: BTreeSet<&str> = list.split(',').collect();
    assert!(
        expected
            .keys()
            .all(|(address, _)| addresses.contains(address.as_str()))
    );
    let versions: Vec<(u64, u64)> = truth["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| {
            (
                of["version"].as_u64().unwrap(),
                of["exporters"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(versions, [(5, 1), (9, 3), (10, 2)]);
    for (version, _) in versions {
        let of_version = exporters.iter().filter(|((_, of), _)| *of == version);
        let sum = of_version.fold([0; 3], |sum: [u64; 3], (_, add)| {
            [sum[0] + add[0], sum[1] + add[1], sum[2] + add[2]]
        });
        let all = truth["versions"].as_array().unwrap();
        let of = all.iter().find(|of| of["version"] == version).unwrap();
        assert_eq!(sum, told(of), "version {version}");
    }
    assert_eq!(truth["distinct_5_tuples"], tuples.len());
    // Without times, which v9 and some layouts tell to the second: single packets of a frequent key may be alike by
    // chance, and are few, for the pool of keys is large.
    let again: usize = tellers.values().map(|of| of.len() - 1).sum();
    let duplicates = truth["duplicates"]["flows"].as_u64().unwrap() as f64;
    assert!((4_500.0..=5_000.0).contains(&duplicates), "{duplicates}");
    assert!(
        again as f64 > duplicates * 0.9 && (again as f64) < duplicates * 1.05,
        "{again}"
    );
}

#[test]
fn what_is_sent_has_a_truth_too() {
    let folder = Folder::new();
    let truth = folder.path("sent.json");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap().to_string();
    done(&[
        "generate",
        "--flows=500",
        "--exporters=3",
        "--flows-per-message=5",
        "--to",
        &to,
        "--truth",
        &truth,
    ]);
    let truth = truth_of(&truth);
    assert_eq!(truth["total"]["flows"], 500);
    let datagrams = truth["total"]["datagrams"].as_u64().unwrap();
    assert!((100..110).contains(&datagrams), "{datagrams}");
    let source = truth["exporters"][0]["source"].as_str().unwrap();
    assert!(source.starts_with("127.0.1.1:"), "{source}");
}

/// Interrupts a run once it is at work: exit code, and what it printed and told.
fn interrupted(arguments: &[&str], is_at_work: impl Fn() -> bool) -> Ended {
    let child = command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !is_at_work() {
        thread::sleep(Duration::from_millis(10));
    }
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-s", "INT", &pid]).status();
    assert!(killed.unwrap().success());
    ended(child.wait_with_output().unwrap())
}

#[test]
fn an_interrupt_keeps_no_part_of_a_capture() {
    let folder = Folder::new();
    let output = folder.path("a.pcap");
    let arguments = ["generate", "--flows=100G", "--rate=1G", "--output", &output];
    let part = folder.path("a.pcap.part");
    let ended = interrupted(&arguments, || {
        fs::metadata(&part).is_ok_and(|part| part.len() > 0)
    });
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(ended.stderr, "forebay: interrupted: nothing was written\n");
    for left in [&output, &part, &format!("{output}.truth.json")] {
        assert!(!fs::exists(left).unwrap(), "{left}");
    }
}

#[test]
fn an_interrupt_tells_what_was_sent_and_its_truth() {
    let folder = Folder::new();
    let truth = folder.path("sent.json");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap().to_string();
    // A burst of an exporter every half second.
    let slowly = [
        "generate",
        "--exporters=2",
        "--rate=400",
        "--to",
        &to,
        "--truth",
        &truth,
    ];
    let ended = interrupted(&slowly, || receiver.recv(&mut [0; 65_536]).is_ok());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.trim_end().ends_with(", until interrupted"),
        "{}",
        ended.stdout
    );
    // The first has been taken already.
    receiver.set_nonblocking(true).unwrap();
    let mut received = 1;
    while receiver.recv(&mut [0; 65_536]).is_ok() {
        received += 1;
    }
    let total = &truth_of(&truth)["total"];
    assert_eq!(total["datagrams"], received);
    assert!(total["flows"].as_u64().unwrap() < 1_000_000);
}

#[test]
fn who_cannot_be_sent_to_is_wrong_usage() {
    for (to, what) in [
        ("127.0.0.1:0", "nobody can be sent to at 127.0.0.1:0"),
        ("0.0.0.0:2055", "nobody can be sent to at 0.0.0.0:2055"),
        ("[::1]:2055", "one is IPv4 and the other IPv6"),
    ] {
        let line = fails(2, &["generate", "--to", to]);
        assert!(line.contains(what), "{line}");
    }
    let line = fails(2, &["replay", "a.pcap", "--to", "[::]:2055"]);
    assert!(line.contains("nobody can be sent to"), "{line}");
}

#[test]
fn exporters_that_cannot_be_are_wrong_usage() {
    let folder = Folder::new();
    let output = folder.path("a.pcap");
    for (more, what) in [
        (
            &["--exporter-prefix=10.1.0.0/30", "--exporters=4"][..],
            "no room for 4 exporters by steps of 1",
        ),
        (
            &["--exporter-prefix=10.1.0.0/24", "--exporter-step=9"],
            "no room for 50 exporters by steps of 9",
        ),
        (
            &["--exporter-list=10.0.0.1,10.0.0.1"],
            "--exporter-list has 10.0.0.1 twice",
        ),
        (
            &["--exporter-list=10.0.0.1", "--exporters=2"],
            "2 exporters need as many addresses",
        ),
        (
            &["--first-exporter=10.0.0.1", "--exporter-list=10.0.0.1"],
            "cannot be used with",
        ),
        (
            &["--exporters=1", "--duplicates=0.1"],
            "more than one exporter",
        ),
        (
            &["--duplicates=0.9"],
            "--duplicates is 0.9, but must be from 0 to 0.75",
        ),
        (&["--versions=9:0"], "--versions are all 0"),
        (&["--versions=9:many"], "\"many\" is no number of parts"),
    ] {
        let arguments = [&["generate", "--output", &output], more].concat();
        let line = fails(2, &arguments);
        assert!(line.contains(what), "{line}");
    }
    done(&[
        "generate",
        "--flows=100",
        "--exporter-prefix=10.1.0.0/16",
        "--exporter-step=1000",
        "--output",
        &output,
    ]);
    let truth = truth_of(&format!("{output}.truth.json"));
    assert_eq!(truth["exporters"][49]["source"], "10.1.191.105:50000");
}
