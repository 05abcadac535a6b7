//! `forebay print` on flow files that `collect` made of captures.

use serde_json::{Value, json};

use crate::support::{Folder, done, fails, files, ipfix, v5, v9, v9_record};

/// The flow files of a capture with three flows: by v5, by v9, and an IPv6 one by IPFIX.
fn flows(folder: &Folder) -> String {
    let capture = folder.capture("a.pcap", &[v5(), v9(1, true, &[v9_record(3)]), ipfix()]);
    let flows = folder.path("flows");
    done(&["collect", "--read", &capture, "--output", &flows]);
    flows
}

fn print(arguments: &[&str]) -> Vec<Value> {
    let text = done(arguments);
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn json_has_every_column_that_is_not_null() {
    let folder = Folder::new();
    let mut shown = print(&["print", "--format", "json", &flows(&folder)]);
    shown.sort_by_key(|flow| flow["export_version"].as_u64());
    let [v5, v9, ipfix] = shown.as_slice() else {
        panic!("{shown:?}");
    };
    assert_eq!(
        *v9,
        json!({
            "received": "2026-11-21T16:40:00.001000Z",
            "exporter": "192.0.2.1",
            "exporter_port": 50_000,
            "observation_domain": 7,
            "export_version": 9,
            "template_id": 256,
            "first": "2026-11-21T16:39:58.000000Z",
            "last": "2026-11-21T16:39:59.500000Z",
            "src_addr": "10.0.0.1",
            "dst_addr": "10.0.0.2",
            "src_port": 1234,
            "dst_port": 443,
            "protocol": 6,
            "packets": 3,
            "bytes": 300,
            "src_mac": "02:00:00:00:00:01",
        })
    );
    assert_eq!(v5["next_hop"], "10.5.0.3");
    assert_eq!(v5.get("template_id"), None);
    assert_eq!(ipfix["src_addr"], "2001:db8::1");
    assert_eq!(ipfix["bytes"], 1500);
    assert_eq!(ipfix["first"], "2026-11-21T16:40:00.000000Z");
}

#[test]
fn csv_has_a_header_and_empty_fields_for_null() {
    let folder = Folder::new();
    let flows = flows(&folder);
    let columns = "export_version,src_addr,dst_port,next_hop,exporter";
    let text = done(&["print", "--format", "csv", "--columns", columns, &flows]);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "10,2001:db8::1,,,192.0.2.1",
            "5,10.5.0.1,5353,10.5.0.3,192.0.2.1",
            "9,10.0.0.1,443,,192.0.2.1",
            columns,
        ]
    );

    let text = done(&["print", "--format", "csv", &flows]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    let width = lines[0].split(',').count();
    assert!(
        lines.iter().all(|line| line.split(',').count() == width),
        "{text}"
    );
    assert!(
        lines[0].starts_with("received,exporter,exporter_port,"),
        "{}",
        lines[0]
    );
    assert!(
        lines[0].contains(",src_addr,dst_addr,next_hop,src_port,"),
        "{}",
        lines[0]
    );
}

#[test]
fn the_table_fits_people() {
    let folder = Folder::new();
    let text = done(&["print", &flows(&folder)]);
    let header = text.lines().next().unwrap();
    for title in [
        "first",
        "duration",
        "proto",
        "source",
        "destination",
        "packets",
        "bytes",
        "exporter",
    ] {
        assert!(header.contains(title), "{header}");
    }
    let v9 = text
        .lines()
        .find(|line| line.contains("10.0.0.1:1234"))
        .unwrap();
    let words: Vec<&str> = v9.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "2026-11-21T16:39:58.000000Z",
            "1.500",
            "TCP",
            "10.0.0.1:1234",
            "10.0.0.2:443",
            "3",
            "300",
            "192.0.2.1"
        ]
    );
    assert!(
        text.lines().any(|line| line.contains(" 2001:db8::1 ")),
        "{text}"
    );
}

#[test]
fn limit_and_inputs_choose_flows() {
    let folder = Folder::new();
    let flows = flows(&folder);
    assert_eq!(
        print(&["print", "--format", "json", "--limit", "2", &flows]).len(),
        2
    );
    assert_eq!(
        print(&["print", "--format", "json", "--limit", "0", &flows]).len(),
        0
    );
    let pattern = format!("{flows}/family=ipv6/*/*/*.parquet");
    assert_eq!(print(&["print", "--format", "json", &pattern]).len(), 1);
    for file in files(&flows, "parquet") {
        let path = file.to_str().unwrap();
        if path.contains("family=ipv4") {
            assert_eq!(print(&["print", "--format", "json", path]).len(), 2);
        }
    }
}

#[test]
fn segments_print_as_flow_files_do() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v9(1, true, &[v9_record(3)])]);
    let (parquet, arrow) = (folder.path("parquet"), folder.path("arrow"));
    done(&[
        "collect",
        "--read",
        &capture,
        "--output",
        &parquet,
        "--compression",
        "lz4",
    ]);
    done(&[
        "collect", "--read", &capture, "--output", &arrow, "--format", "arrow",
    ]);
    assert!(!files(&arrow, "arrows").is_empty());
    assert_eq!(
        print(&["print", "--format", "json", &parquet]),
        print(&["print", "--format", "json", &arrow])
    );
}

#[test]
fn configured_columns_are_printed_like_others() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[ipfix()]);
    let flows = folder.path("flows");
    let config = folder.write(
        "collect.toml",
        "[[column]]\nname = 'interface'\nelement = 'interfaceName'\ntype = 'string'\n\
         [[column]]\nname = 'nbar'\nelement = '9/12235'\ntype = 'u32'\n\
         [[column]]\nname = 'raw'\nelement = '9/12235'\ntype = 'binary'\n",
    );
    done(&[
        "collect", "--read", &capture, "--output", &flows, "--config", &config,
    ]);
    let shown = print(&[
        "print",
        "--format",
        "json",
        "--columns",
        "interface,nbar,raw",
        &flows,
    ]);
    assert_eq!(
        shown,
        [json!({"interface": "eth0", "nbar": 0xabcd, "raw": "abcd"})]
    );
    let text = done(&["print", "--format", "csv", &flows]);
    assert!(
        text.lines()
            .next()
            .unwrap()
            .ends_with(",interface,nbar,raw"),
        "{text}"
    );
}

#[test]
fn a_column_that_is_not_there_is_told_with_the_nearest() {
    let folder = Folder::new();
    let line = fails(2, &["print", "--columns", "src_adr", &flows(&folder)]);
    assert!(
        line.ends_with("no column is called \"src_adr\": did you mean \"src_addr\"?"),
        "{line}"
    );
}

#[test]
fn a_filter_chooses_flows() {
    let folder = Folder::new();
    let flows = flows(&folder);
    for (filter, versions) in [
        (
            "protocol = tcp and dst_port in (80, 443) and src_addr in 10.0.0.0/8",
            vec![9],
        ),
        ("src_addr in 2001:db8::/32 or port = 53", vec![5, 10]),
        ("not dst_port = 443", vec![5]),
        ("dst_port is null", vec![10]),
        ("bytes > 1e6", vec![]),
    ] {
        let shown = print(&["print", "--format", "json", "--where", filter, &flows]);
        let mut found: Vec<u64> = shown
            .iter()
            .map(|flow| flow["export_version"].as_u64().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, versions, "{filter}");
    }
    let limited = ["--where", "bytes > 0", "--limit", "1"];
    let shown = print(&[&["print", "--format", "json", &flows][..], &limited[..]].concat());
    assert_eq!(shown.len(), 1);
    // A column that is not shown can be asked for.
    let text = done(&[
        "print",
        "--format",
        "csv",
        "--columns",
        "dst_port",
        "--where",
        "export_version = 9",
        &flows,
    ]);
    assert_eq!(text, "dst_port\n443\n");
    let line = fails(2, &["print", "--where", "src_prt = 80", &flows]);
    assert!(
        line.ends_with(
            "--where: no column is called \"src_prt\" (character 1): did you mean \"src_port\"?"
        ),
        "{line}"
    );
}
