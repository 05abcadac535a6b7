//! `forebay balance` on captures and lists made here.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use forebay_udp::Datagram;
use forebay_udp::capture::CaptureWriter;
use serde_json::{Value, json};

use crate::support::{Folder, NOON, done, fails, v5, v9, v9_record};

mod inputs;
mod route_file;

/// Writes datagrams as a capture: of exporter 10.0.0.N, so many seconds after noon, with this payload.
fn capture(folder: &Folder, name: &str, datagrams: &[(u8, u32, Vec<u8>)]) -> String {
    let path = folder.path(name);
    let mut capture = CaptureWriter::create(&path).expect("a capture");
    for (exporter, second, payload) in datagrams {
        let datagram = Datagram {
            source: SocketAddr::from((Ipv4Addr::new(10, 0, 0, *exporter), 50_000)),
            destination: "198.51.100.1:2055".parse().unwrap(),
            received_ns: u64::from(NOON + second) * 1_000_000_000,
            payload,
        };
        capture.write(&datagram).expect("it fits");
    }
    capture.finish().expect("written");
    path
}

/// Six routers, which all have odd numbers, over three seconds.
fn odd_hosts(folder: &Folder) -> String {
    let mut datagrams = Vec::new();
    for second in 0..3 {
        for exporter in [1, 3, 5, 7, 9, 11] {
            datagrams.push((exporter, second, v5()));
        }
    }
    // In the last second two send more: two records that can be counted, and two that can be guessed.
    datagrams.push((9, 2, v9(0, true, &[v9_record(1), v9_record(1)])));
    datagrams.push((11, 2, v9(0, false, &[v9_record(1), v9_record(1)])));
    datagrams.push((1, 2, b"hello".to_vec()));
    capture(folder, "odd.pcap", &datagrams)
}

/// Thirty that send alike, and one that sends as much as all of them.
fn heavy(folder: &Folder) -> String {
    let mut list = "exporter,records\n".to_owned();
    for host in 1..=30 {
        list.push_str(&format!("10.0.0.{host},10\n"));
    }
    list.push_str("10.0.0.77,300\n");
    folder.write("heavy.csv", list)
}

#[test]
fn a_capture_is_evaluated_as_a_table() {
    let folder = Folder::new();
    let text = done(&["balance", &odd_hosts(&folder), "--shards", "2..4"]);
    let expected = "\
6 exporters: 20 datagrams, 22 records (2 estimated: their templates were not seen before them), 1,536 bytes in 3 seconds
left out: 1 datagram of other versions or of something else
heaviest by records: 10.0.0.9 22.7 %, 10.0.0.11 22.7 %, 10.0.0.1 13.6 %
imbalance: the fullest shard, over the mean; 1.00 is even

   shards         hash     datagrams  records  bytes  floor  worst second  at
        2  prime  address       2.00     2.00   2.00   1.00          2.00  2026-11-21T16:40:02Z
        2  prime  xxh3          1.40     1.45   1.44   1.00          1.60  2026-11-21T16:40:02Z
>       3  prime  address       1.05     1.09   1.12   1.00          1.20  2026-11-21T16:40:02Z
        3  prime  xxh3          1.50     1.50   1.45   1.00          1.50  2026-11-21T16:40:02Z
        4         address       2.00     2.00   2.06   1.00          2.00  2026-11-21T16:40:02Z
        4         xxh3          2.00     2.00   2.06   1.00          2.00  2026-11-21T16:40:02Z

recommended: 3 shards by address: the fullest shard gets 1.09 times the mean records, and of the splits that are even \
(up to 1.10) it has the most prime shards; --collectors says for how many it is to be
";
    assert_eq!(text, expected);
}

#[test]
fn a_list_of_rates_is_evaluated_and_pins_are_advised() {
    let folder = Folder::new();
    let text = done(&[
        "balance",
        &heavy(&folder),
        "--shards",
        "2,3,5",
        "--collectors",
        "192.0.2.1:2055,192.0.2.2:2055,192.0.2.3:2055",
    ]);
    let expected = "\
31 exporters: 600 records a second
heaviest by records: 10.0.0.77 50.0 %, 10.0.0.1 1.7 %, 10.0.0.2 1.7 %
imbalance: the fullest collector, over its share; 1.00 is even

   shards         hash     records  floor
        2  prime  address        -      -
        2  prime  xxh3           -      -
        3  prime  address     2.00   1.50
        3  prime  xxh3        2.00   1.50
>       5  prime  address     1.80   1.50
        5  prime  xxh3        2.00   1.50

recommended: 5 shards by address: the fullest of 3 collectors gets 1.80 times its share of the records, and no split \
that was tried is more even
no hash can make it even: 10.0.0.77 alone sends 50.0 % of the records, so that the fullest gets 1.50 times its share \
at best
pin 10.0.0.77 (50.0 %) to 192.0.2.1:2055 and give 192.0.2.1:2055 weight 0: the fullest then gets 1.50 times its share
";
    assert_eq!(text, expected);
}

#[test]
fn json_holds_every_load() {
    let folder = Folder::new();
    let list = folder.write("even.csv", "10.0.0.1,5\n10.0.0.2,5\n10.0.0.3,6\n");
    let text = done(&[
        "balance", &list, "--shards", "2", "--hash", "address", "--json",
    ]);
    let found: Value = serde_json::from_str(&text).expect(&text);
    let expected = json!({
        "exporters": 3,
        "seconds": null,
        "per_second": true,
        "total": { "records": 16 },
        "records_estimated": 0,
        "left_out": { "other_datagrams": 0, "beyond_limit": 0 },
        "torn": [],
        "measure": "records",
        "collectors": null,
        "heaviest": [
            { "exporter": "10.0.0.3", "records": 6, "share": 0.375 },
            { "exporter": "10.0.0.1", "records": 5, "share": 0.3125 },
            { "exporter": "10.0.0.2", "records": 5, "share": 0.3125 },
        ],
        "splits": [{
            "shards": 2,
            "hash": "address",
            "prime": true,
            "imbalance": { "records": 1.375 },
            "floor": { "records": 1.0 },
            "worst_second": null,
            "moved": null,
            "shard_loads": [{ "records": 5 }, { "records": 11 }],
            "collector_loads": null,
        }],
        "recommendation": {
            "shards": 2,
            "hash": "address",
            "imbalance": 1.375,
            "moved": null,
            "reason": "lowest",
            "advice": {
                "pins": [{ "exporter": "10.0.0.1", "collector": "shard 0", "share": 0.3125 }],
                "weights": [1, 1],
                "imbalance": 1.25,
                "moved": null,
            },
            "text": [
                "recommended: 2 shards by address: the fullest shard gets 1.38 times the mean records, and no split \
                 that was tried is more even",
                "no hash that was tried makes it even: 3 exporters, of which 10.0.0.3 sends 37.5 % of the records, are \
                 too few or too different for that",
                "pin 10.0.0.1 (31.2 %) to shard 0: the fullest then gets 1.25 times its share",
            ],
        },
    });
    assert_eq!(found, expected, "{found:#}");
}

#[test]
fn the_recommendation_changes_with_the_number_of_collectors() {
    let folder = Folder::new();
    let mut list = "exporter,records\n".to_owned();
    for host in (1..400).step_by(2) {
        list.push_str(&format!("10.0.{}.{},100\n", host / 256, host % 256));
    }
    let list = folder.write("odd.csv", list);
    for (collectors, shards) in [("7", 7), ("11", 11)] {
        let text = done(&["balance", &list, "--collectors", collectors, "--json"]);
        let found: Value = serde_json::from_str(&text).expect(&text);
        let recommended = &found["recommendation"];
        assert_eq!(recommended["shards"], shards);
        assert_eq!(recommended["hash"], "address");
        assert!(recommended["imbalance"].as_f64() < Some(1.06));
        for split in found["splits"].as_array().expect("a list") {
            let is_even = split["shards"].as_u64().expect("a number") % 2 == 0;
            if is_even && split["hash"] == "address" {
                let loads = split["shard_loads"].as_array().expect("a list");
                let empty = loads.iter().filter(|load| load["records"] == 0);
                assert!(empty.count() >= loads.len() / 2, "{split}");
            }
        }
    }
}

#[test]
fn the_plot_has_a_line_for_each_hash_and_one_for_the_floor() {
    let folder = Folder::new();
    let plot = folder.path("imbalance.svg");
    done(&["balance", &heavy(&folder), "--plot", &plot]);
    let svg = fs::read_to_string(&plot).expect("a picture");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(
        svg.matches("stroke-width=\"2\" points=").count(),
        2,
        "{svg}"
    );
    for word in ["Imbalance of records", "address", "xxh3", "floor"] {
        assert!(svg.contains(word), "{word}");
    }
    // A point for each number of shards and hash.
    assert_eq!(svg.matches("<circle").count(), 2 * 30);
    // Of one number there is one label.
    done(&["balance", &heavy(&folder), "--shards", "7", "--plot", &plot]);
    let svg = fs::read_to_string(&plot).expect("a picture");
    assert_eq!(svg.lines().filter(|line| line.trim() == "7").count(), 1);
    // Of too few shards for the collectors there is nothing to see.
    let few = ["--collectors", "5", "--shards", "2..4", "--plot", &plot];
    let line = fails(1, &[&["balance", &heavy(&folder)][..], &few].concat());
    assert!(line.contains("is not drawn"), "{line}");
    let line = fails(1, &["balance", &heavy(&folder), "--plot", "/nowhere/a.svg"]);
    assert!(line.contains("/nowhere/a.svg"), "{line}");
}

#[test]
fn what_is_asked_wrongly_is_told_before_anything_is_read() {
    for (arguments, what) in [
        (&["a.csv", "--shards", "0"][..], "is no number of shards"),
        (&["a.csv", "--shards", "9..2"], "its end before its start"),
        (&["a.csv", "--hash", "md5"], "address, xxh3"),
        (
            &["a.csv", "--collectors", "many"],
            "write 7, or 192.0.2.1:2055",
        ),
        (&["a.csv", "a.pcap"], "give inputs of one kind"),
        (&["a.csv", "--shrads", "7"], "'--shards'"),
        (&[], "<INPUT>"),
        (&["https://127.0.0.1:9180"], "write http://"),
        (&["a.csv", "--plot", "a.png"], "a.png is no .svg"),
        (&["a.csv", "--plot", "svg"], "svg is no .svg"),
    ] {
        let arguments = [&["balance"], arguments].concat();
        let line = fails(2, &arguments);
        assert!(line.contains(what), "{line}");
    }
}
