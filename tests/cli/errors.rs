//! Everything that can be asked wrongly: one line that says what, where and what to do.

use std::net::UdpSocket;

use crate::support::{Folder, command, ended, fails, forebay, v5};

#[test]
fn a_flag_nobody_knows_is_wrong_usage_and_told_with_the_nearest() {
    let line = fails(2, &["inspect", "--jsn", "x.pcap"]);
    assert!(
        line.contains("'--jsn'") && line.contains("'--json'"),
        "{line}"
    );
    assert!(line.ends_with("see `forebay inspect --help`"), "{line}");
    let line = fails(2, &["inspct"]);
    assert!(
        line.contains("'inspct'") && line.contains("'inspect'"),
        "{line}"
    );
    assert!(line.ends_with("see `forebay --help`"), "{line}");
    let line = fails(2, &["collect", "--rotate", "60"]);
    assert!(
        line.contains("\"60\" is no duration") && line.contains("such as 60s"),
        "{line}"
    );
    let line = fails(2, &["generate", "--flows", "10"]);
    assert!(
        line.contains("--output <CAPTURE>|--to <ADDR:PORT>"),
        "{line}"
    );
}

#[test]
fn an_address_or_a_version_that_is_none_is_told_with_how_to_write_it() {
    for (arguments, what) in [
        (
            ["collect", "--http", "127.0.0.1"],
            "write it as 127.0.0.1:9180",
        ),
        (
            ["generate", "--to", "localhost"],
            "\"localhost\" is no address and port",
        ),
        (["doctor", "--listen", "::1"], "write ADDR:PORT"),
        (["collect", "--versions", "ipfix"], "10 for IPFIX"),
        (
            ["generate", "--versions", "v9"],
            "\"v9\" is no export version",
        ),
    ] {
        let line = fails(2, &arguments);
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5()]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut inspect = command(&["inspect", &capture]);
    inspect
        .stdout(full.unwrap())
        .stderr(std::process::Stdio::piped());
    let ended = ended(inspect.spawn().unwrap().wait_with_output().unwrap());
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .starts_with("forebay: cannot write to standard output: "),
        "{}",
        ended.stderr
    );
}

#[test]
fn no_command_shows_which_there_are() {
    let ended = forebay(&[]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("Usage: forebay <COMMAND>"),
        "{}",
        ended.stderr
    );
    let help = forebay(&["--help"]);
    assert_eq!(help.code, 0);
    for command in [
        "collect", "print", "inspect", "balance", "generate", "doctor", "demo",
    ] {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{}",
            help.stdout
        );
    }
}

#[test]
fn a_capture_that_cannot_be_read_fails_by_its_name() {
    let folder = Folder::new();
    let missing = folder.path("missing.pcap");
    let text = folder.write("notes.txt", "hello world");
    let packed = folder.write("a.pcap.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    let empty = folder.write("empty.pcap", "");
    let directory = folder.path("");
    for (path, what) in [
        (&missing, "No such file or directory"),
        (&text, "is no capture: it begins with 68 65 6c 6c 6f"),
        (&packed, "`gunzip` it"),
        (&empty, "it is empty"),
        (&directory, "directory"),
    ] {
        for arguments in [
            vec!["inspect", path],
            vec!["collect", "--output", &folder.path("flows"), "--read", path],
        ] {
            let line = fails(1, &arguments);
            assert!(
                line.contains(path.as_str()) && line.contains(what),
                "{line}"
            );
        }
    }
}

#[test]
fn flows_that_are_not_there_fail_by_their_name() {
    let folder = Folder::new();
    let empty = folder.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let missing = folder.path("flows");
    let text = folder.write("notes.parquet", "hello world");
    for (path, what) in [
        (&missing, "there is nothing at"),
        (&empty, "no flow files"),
        (&text, "is no flow file"),
    ] {
        let line = fails(1, &["print", path]);
        assert!(
            line.contains(path.as_str()) && line.contains(what),
            "{line}"
        );
    }
}

#[test]
fn a_configuration_is_checked_whole_before_anything_is_opened() {
    let folder = Folder::new();
    let flows = folder.path("flows");
    let collect =
        |config: &str, code| fails(code, &["collect", "--output", &flows, "--config", config]);

    let unknown = folder.write(
        "unknown.toml",
        "listen = ['127.0.0.1:0']\n\nrotat = '60s'\n",
    );
    let line = collect(&unknown, 2);
    assert!(
        line.ends_with("unknown.toml:3: unknown key \"rotat\": did you mean \"rotate\"?"),
        "{line}"
    );

    let column = folder.write(
        "column.toml",
        "[[column]]\nname = 'x'\nelement = '9/12235'\ntyp = 'u8'\n",
    );
    let line = collect(&column, 2);
    assert!(
        line.ends_with("column.toml:4: unknown key \"typ\": did you mean \"type\"?"),
        "{line}"
    );

    let value = folder.write("value.toml", "queue-size = '1 parsec'\n");
    let line = collect(&value, 2);
    assert!(
        line.contains("value.toml:1: queue-size: \"1 parsec\" is no size"),
        "{line}"
    );

    let broken = folder.write("broken.toml", "listen = [\n");
    assert!(collect(&broken, 2).contains("broken.toml:"));

    let missing = folder.path("missing.toml");
    let line = collect(&missing, 1);
    assert!(
        line.contains("cannot read configuration") && line.contains(&missing),
        "{line}"
    );

    let zero = folder.write("zero.toml", "retain-size = 0\n");
    assert!(collect(&zero, 2).contains("zero.toml: retain-size is 0B"));

    let directory = folder.path("");
    assert!(collect(&directory, 1).contains(&directory));
    assert!(!std::path::Path::new(&flows).exists(), "nothing was made");
}

#[test]
fn a_port_in_use_is_told_with_who_to_ask() {
    let folder = Folder::new();
    let flows = folder.path("flows");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let line = fails(
        1,
        &[
            "collect",
            "--output",
            &flows,
            "--listen",
            &address.to_string(),
        ],
    );
    assert!(
        line.contains(&address.to_string()) && line.contains("ss -ulpn"),
        "{line}"
    );
    assert!(!std::path::Path::new(&flows).exists(), "nothing was made");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = taken.local_addr().unwrap().to_string();
    let line = fails(
        1,
        &[
            "collect",
            "--output",
            &flows,
            "--listen",
            "127.0.0.1:0",
            "--http",
            &http,
        ],
    );
    assert!(line.contains(&http) && line.contains("--http"), "{line}");
}

#[test]
fn an_output_that_is_a_file_is_told() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5()]);
    let line = fails(1, &["collect", "--read", &capture, "--output", &capture]);
    assert!(
        line.contains(&capture) && line.contains("not a folder"),
        "{line}"
    );
}

#[test]
fn what_cannot_be_generated_is_wrong_usage() {
    let folder = Folder::new();
    let path = folder.path("a.pcap");
    for (flag, value, what) in [
        ("--versions", "7", "version 7 cannot be generated"),
        (
            "--ipv6-share",
            "2",
            "--ipv6-share is 2, but must be from 0 to 1",
        ),
        ("--exporters", "0", "--exporters is 0"),
        ("--flows", "many", "\"many\" is no number"),
    ] {
        let line = fails(2, &["generate", "--output", &path, flag, value]);
        assert!(line.contains(what), "{line}");
    }
    let line = fails(
        1,
        &[
            "generate",
            "--flows",
            "10",
            "--output",
            "/nowhere/at/all.pcap",
        ],
    );
    assert!(line.contains("/nowhere/at/all.pcap"), "{line}");
}

#[test]
fn doctor_tells_a_taken_port_as_a_failure() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let ended = forebay(&[
        "doctor",
        "--json",
        "--output",
        &folder.path("flows"),
        "--listen",
        &address,
    ]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let checks: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let port = checks
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["check"] == "port")
        .unwrap();
    assert_eq!(port["status"], "fail");
    assert!(port["advice"].as_str().unwrap().contains("ss -ulpn"));
}
