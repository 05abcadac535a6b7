//! Captures, statuses and lists that are odd, or do not add up.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use super::{capture, heavy, odd_hosts};
use crate::support::{Folder, done, fails, forebay, v5};

/// Answers one request with this object.
fn serve(object: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let body = object.to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
        lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("sent");
    });
    format!("http://{address}")
}

/// A router that heard these exporters: of each, ten datagrams.
fn router(exporters: &[&str]) -> String {
    let exporters = exporters.iter().map(|exporter| {
        json!({ "exporter": exporter, "datagrams": 10, "bytes": 900, "rejected": 0, "rejected_bytes": 0 })
    });
    serve(&json!({ "exporters": exporters.collect::<Value>() }))
}

fn collector(exporters: &[&str]) -> String {
    let domains = exporters.iter().map(|exporter| {
        json!({ "exporter": exporter, "export_version": 9, "datagrams": 5, "octets": 400, "records": 50 })
    });
    serve(&json!({ "domains": domains.collect::<Value>() }))
}

fn found(arguments: &[&str]) -> Value {
    let text = done(&[&["balance"], arguments, &["--shards", "2", "--json"]].concat());
    serde_json::from_str(&text).expect(&text)
}

#[test]
fn routers_add_up_and_so_do_collectors_but_not_one_with_the_other() {
    let total = |arguments: &[&str]| found(arguments)["total"].take();
    let routers = [router(&["192.0.2.1", "192.0.2.2"]), router(&["192.0.2.1"])];
    assert_eq!(
        total(&[&routers[0], &routers[1]]),
        json!({ "datagrams": 30, "bytes": 2700 })
    );
    let collectors = [collector(&["192.0.2.1"]), collector(&["192.0.2.2"])];
    assert_eq!(
        total(&[&collectors[0], &collectors[1]]),
        json!({ "datagrams": 10, "records": 100, "bytes": 800 })
    );
    let (router, collector) = (router(&["192.0.2.1"]), collector(&["192.0.2.1"]));
    let line = fails(2, &["balance", &router, &collector]);
    let expected = format!("{router} is a router and {collector} a collector: ");
    assert!(line.contains(&expected), "{line}");
}

#[test]
fn what_a_router_does_not_know_is_told() {
    let exporters = json!([
        { "exporter": "192.0.2.1", "datagrams": 10, "bytes": 900, "rejected": 0, "rejected_bytes": 0 }
    ]);
    let router = serve(&json!({ "exporters": exporters, "other_exporters": { "evicted": 1500 } }));
    let ended = forebay(&["balance", &router, "--versions", "9"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let told: Vec<&str> = ended.stderr.lines().collect();
    let [versions, exporters] = told.as_slice() else {
        panic!("{}", ended.stderr);
    };
    assert!(
        versions.contains("does not tell versions apart"),
        "{versions}"
    );
    assert!(
        exporters.contains("forgot 1,500 that were silent"),
        "{exporters}"
    );
}

#[test]
fn what_is_no_status_is_told() {
    let other = serve(&json!({ "status": "ok" }));
    let line = fails(1, &["balance", &other]);
    assert!(
        line.contains(&format!("{other}/stats does not answer as a router")),
        "{line}"
    );
}

#[test]
fn what_comes_before_a_tear_counts_and_the_tear_is_told() {
    let folder = Folder::new();
    let whole = odd_hosts(&folder);
    let mut bytes = fs::read(&whole).expect("a capture");
    bytes.truncate(bytes.len() - 3);
    let torn = folder.write("torn.pcap", &bytes);
    // The last datagram is no message.
    let mut expected = found(&[&whole]);
    expected["left_out"]["other_datagrams"] = json!(0);
    let ended = forebay(&["balance", &torn, "--shards", "2", "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let told = report["torn"][0].take();
    let told = told.as_str().expect("a sentence");
    assert!(
        told.contains("torn.pcap ends inside the record at byte"),
        "{told}"
    );
    assert_eq!(ended.stderr, format!("forebay: {told}\n"));
    report["torn"] = json!([]);
    assert_eq!(report, expected);
    // Of two captures, the other one is read all the same.
    let both = forebay(&["balance", &torn, &whole]);
    assert_eq!(both.code, 0, "{}", both.stderr);
    assert!(
        both.stdout.starts_with("6 exporters: 40 datagrams"),
        "{}",
        both.stdout
    );
}

#[test]
fn where_nothing_counts_there_is_nothing_to_balance() {
    let folder = Folder::new();
    let empty = capture(&folder, "empty.pcap", &[]);
    let other = capture(&folder, "other.pcap", &[(1, 0, b"hello".to_vec())]);
    let v5 = capture(&folder, "v5.pcap", &[(1, 0, v5()), (2, 0, v5())]);
    let mut bytes = fs::read(&v5).expect("a capture");
    bytes.truncate(50);
    let torn = folder.write("torn.pcap", &bytes);
    let no_list = folder.write("empty.csv", "");
    let header = folder.write("header.csv", "exporter,records\n");
    let idle = folder.write("idle.csv", "10.0.0.1,0\n10.0.0.2,0\n");
    let (router, collector) = (router(&[]), collector(&["192.0.2.1"]));
    for (arguments, what) in [
        (&[&*empty][..], "no UDP datagram is in it"),
        (&[&other], "none of its 1 UDP datagram is a message"),
        (
            &[&v5, "--versions", "9,10"],
            "none of its 2 UDP datagrams is a message of the versions that count (9, 10)",
        ),
        (&[&torn], "no UDP datagram is in it; capture "),
        (&[&no_list], "no exporter with a rate above 0"),
        (&[&header], "no exporter with a rate above 0"),
        (&[&idle, &header], "no exporter with a rate above 0"),
        (&[&router], "no exporter was heard yet"),
        (
            &[&collector, "--versions", "5"],
            "with the versions that count (5)",
        ),
    ] {
        let line = fails(1, &[&["balance"], arguments].concat());
        let expected = format!("forebay: nothing to balance in {}", arguments[0]);
        assert!(line.starts_with(&expected) && line.contains(what), "{line}");
    }
}

#[test]
fn lists_of_different_rates_do_not_add_up() {
    let folder = Folder::new();
    let records = folder.write("records.csv", "10.0.0.1,5\n");
    let same = folder.write("same.csv", "records,exporter\n7,10.0.0.1\n");
    let both = folder.write("both.csv", "exporter,bytes,datagrams\n10.0.0.2,900,2\n");
    let empty = folder.write("empty.csv", "");
    assert_eq!(found(&[&empty, &records, &same])["total"]["records"], 12);
    let line = fails(2, &["balance", &empty, &records, &both]);
    let expected = format!("{records} has records and {both} has datagrams, bytes: ");
    assert!(line.contains(&expected), "{line}");
}

#[test]
fn what_is_read_is_not_replaced() {
    let folder = Folder::new();
    let list = heavy(&folder);
    let before = fs::read(&list).expect("a list");
    let same = folder.path("./heavy.csv");
    let collectors = ["--collectors", "192.0.2.1:2055"];
    let line = fails(
        2,
        &[&["balance", &list, "--output", &same], &collectors[..]].concat(),
    );
    assert!(
        line.contains("--output: ") && line.contains("is an input"),
        "{line}"
    );
    assert_eq!(fs::read(&list).expect("a list"), before);
}

#[test]
fn input_that_cannot_be_read_fails_by_its_name() {
    let folder = Folder::new();
    let list = folder.write("a.csv", "exporter,records\n10.0.0.1,5\n10.0.0.2,many\n");
    let line = fails(1, &["balance", &list]);
    assert!(
        line.contains(&format!("{list}:3: \"many\" is no rate")),
        "{line}"
    );
    let latin = folder.write("latin.csv", b"exporter,records\n10.0.0.1,5\n# M\xfcnchen\n");
    let line = fails(1, &["balance", &latin]);
    assert!(
        line.contains(&format!("{latin}:3: ")) && line.contains("UTF-8"),
        "{line}"
    );
    let unnamed = folder.write("rates.txt", "10.0.0.1,5\n");
    let line = fails(1, &["balance", &unnamed]);
    assert!(
        line.ends_with("; a list of exporters is named .csv"),
        "{line}"
    );
    let line = fails(1, &["balance", "127.0.0.1:9180"]);
    assert!(line.ends_with("is written http://127.0.0.1:9180"), "{line}");
    let missing = folder.path("missing.csv");
    assert!(fails(1, &["balance", &missing]).contains(&missing));
    let missing = folder.path("missing.pcap");
    assert!(fails(1, &["balance", &missing]).contains(&missing));
    // Nothing listens there: 127.0.0.1 is free at port 1, where only root could be.
    let line = fails(1, &["balance", "http://127.0.0.1:1"]);
    assert!(
        line.contains("http://127.0.0.1:1/stats") && line.contains("--http"),
        "{line}"
    );
}
