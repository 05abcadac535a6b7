//! `forebay record`: what it refuses, and who reads what it writes. What it records is held by tests/system.

use std::fs;
use std::net::UdpSocket;

use crate::support::{Folder, done, fails, forebay, v5};

#[test]
fn what_makes_no_sense_is_wrong_usage_and_opens_nothing() {
    let folder = Folder::new();
    let output = folder.path("a.pcap");
    // The port is taken: that would be another error.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let arguments = ["record", "--listen", &listen, "--output", &output];
    for (more, what) in [
        (
            &["--retain", "3"][..],
            "--retain counts files, but there is only one",
        ),
        (&["--retain", "0", "--rotate", "60s"], "--retain is 0"),
        (&["--prime"], "--prime without a capture"),
        (&["--rotate", "0"], "--rotate is 0"),
        (&["--rotate-size", "0"], "--rotate-size is 0"),
        (&["--rotate-count", "0"], "--rotate-count is 0"),
        (
            &["--receive-buffer", "1KiB"],
            "--receive-buffer is 1KiB, but must be from 64KiB",
        ),
        (
            &["--interface", "lo", "--ring-size", "4GiB"],
            "--ring-size is 4GiB",
        ),
        (&["--format", "erf"], "'erf'"),
        (
            &["--interface", "lo", "--listen", "0.0.0.0:0"],
            "its number is needed",
        ),
    ] {
        let line = fails(2, &[&arguments, more].concat());
        assert!(line.contains(what), "{line}");
    }
    let line = fails(2, &["record", "--listen", &listen]);
    assert!(line.contains("--output"), "{line}");
    assert!(!fs::exists(&output).unwrap());
}

#[test]
fn what_cannot_be_opened_is_told_in_a_line() {
    let folder = Folder::new();
    let output = folder.path("a.pcap");
    let ended = forebay(&["record", "--interface", "nothere0", "--output", &output]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    let said = ended.stderr;
    assert!(
        said.contains("there is none of that name") || said.contains("CAP_NET_RAW"),
        "{said}"
    );
    let nowhere = folder.path("nowhere/a.pcap");
    let line = fails(
        1,
        &["record", "--listen", "127.0.0.1:0", "--output", &nowhere],
    );
    assert!(
        line.contains("nowhere") && line.contains("No such file"),
        "{line}"
    );
    let line = fails(
        1,
        &[
            "record",
            "--listen",
            "127.0.0.1:0",
            "--output",
            &folder.path("."),
        ],
    );
    assert!(line.contains("/."), "{line}");
    let without = folder.capture("v5.pcap", &[v5()]);
    let arguments = ["record", "--listen", "127.0.0.1:0", "--output", &output];
    let line = fails(1, &[&arguments[..], &["--prime", &without]].concat());
    assert!(line.contains("v5.pcap tells no templates"), "{line}");
    let line = fails(
        1,
        &[&arguments[..], &["--prime", "/nowhere/a.pcap"]].concat(),
    );
    assert!(
        line.contains("cannot open capture /nowhere/a.pcap"),
        "{line}"
    );
    assert!(!fs::exists(&output).unwrap());
}

#[test]
fn a_compressed_capture_is_read_by_every_command() {
    let folder = Folder::new();
    let plain = folder.path("a.pcap");
    done(&[
        "generate",
        "--flows",
        "2k",
        "--exporters",
        "4",
        "--output",
        &plain,
    ]);
    let file = fs::read(&plain).unwrap();
    let packed = folder.write("a.pcap.zst", zstd::encode_all(&*file, 3).unwrap());
    let same = |command: &[&str]| {
        let of = |path: &str| done(&[command, &[path]].concat()).replace(".zst", "");
        assert_eq!(of(&packed), of(&plain), "{command:?}");
    };
    same(&["inspect", "--json"]);
    same(&["balance", "--collectors", "2", "--json"]);
    for (path, flows) in [(&plain, "one"), (&packed, "two")] {
        let output = folder.path(flows);
        done(&[
            "collect",
            "--fail-on-loss",
            "--read",
            path,
            "--output",
            &output,
        ]);
    }
    let count = |flows: &str| {
        done(&["print", "--format", "csv", &folder.path(flows)])
            .lines()
            .count()
    };
    assert_eq!(count("one"), 2001);
    assert_eq!(count("two"), 2001);
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap().to_string();
    let report = done(&[
        "replay", &packed, "--flood", "--source", "own", "--json", "--to", &to,
    ]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["sent"]["flows"], 2000);
    // A torn one gives what is before the tear, and says so.
    let torn = fs::read(&packed).unwrap();
    let torn = folder.write("torn.pcap.zst", &torn[..torn.len() - 9]);
    let ended = forebay(&["inspect", &torn]);
    assert!(
        ended.stderr.contains("ends inside the record"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_device_is_never_replaced() {
    let folder = Folder::new();
    let link = folder.path("null.pcap");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let line = fails(1, &["record", "--listen", "127.0.0.1:0", "--output", &link]);
    assert!(
        line.contains("null.pcap is there: choose another name"),
        "{line}"
    );
}
