//! `forebay summarize` on flow files that `collect` made of captures.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Folder, done, fails, files, forebay, ipfix, v5, v9, v9_record};

/// The flow files of a capture with four flows: by v5, two of one 5-tuple by v9, and an IPv6 one by IPFIX.
fn flows(folder: &Folder) -> String {
    let records = [v9_record(3), v9_record(5)];
    let capture = folder.capture("a.pcap", &[v5(), v9(1, true, &records), ipfix()]);
    let flows = folder.path("flows");
    done(&["collect", "--read", &capture, "--output", &flows]);
    flows
}

fn rows(arguments: &[&str]) -> Vec<Value> {
    let text = done(&[&["summarize", "--format", "json"][..], arguments].concat());
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn five_tuples_of_both_families_are_one_answer() {
    let folder = Folder::new();
    let flows = flows(&folder);
    let found = rows(&[&flows]);
    assert_eq!(
        found,
        [
            json!({
                "src_addr": "10.0.0.1", "dst_addr": "10.0.0.2", "src_port": 1234, "dst_port": 443,
                "protocol": 6, "flows": 2, "packets": 8, "bytes": 800,
                "first": "2026-11-21T16:39:58.000000Z", "last": "2026-11-21T16:39:59.500000Z",
            }),
            json!({
                "src_addr": "10.5.0.1", "dst_addr": "10.5.0.2", "src_port": 53, "dst_port": 5353,
                "protocol": 17, "flows": 1, "packets": 5, "bytes": 500,
                "first": "2026-11-21T16:39:50.000000Z", "last": "2026-11-21T16:39:51.000000Z",
            }),
            // It has no ports and no packets.
            json!({
                "src_addr": "2001:db8::1", "dst_addr": "2001:db8::2", "flows": 1, "bytes": 1500,
                "first": "2026-11-21T16:40:00.000000Z", "last": "2026-11-21T16:40:00.000000Z",
            }),
        ]
    );
}

#[test]
fn keys_and_values_are_those_asked_for_in_their_order() {
    let folder = Folder::new();
    let flows = flows(&folder);
    let text = done(&[
        "summarize",
        "--by",
        "date,dst_port_class,src_prefix/8/32",
        "--values",
        "bytes,duration,exporters",
        "--sort",
        "bytes",
        "--format",
        "csv",
        &flows,
    ]);
    assert_eq!(
        text,
        "date,dst_port_class,src_prefix/8/32,bytes,duration,exporters\n\
         2026-11-21,,2001:db8::/32,1500,0,1\n\
         2026-11-21,system,10.0.0.0/8,800,1.5,1\n\
         2026-11-21,user,10.0.0.0/8,500,1,1\n"
    );
    let least = rows(&[
        "--by", "protocol", "--values", "flows", "--min", "flows=2", &flows,
    ]);
    assert_eq!(least, [json!({"protocol": 6, "flows": 2})]);
    let top = rows(&[
        "--by", "protocol", "--values", "bytes", "--top", "2", &flows,
    ]);
    assert_eq!(
        top,
        [json!({"bytes": 1500}), json!({"protocol": 6, "bytes": 800})]
    );
    let sorted = rows(&[
        "--by",
        "protocol",
        "--values",
        "bytes",
        "--sort",
        "bytes:asc",
        "--top",
        "1",
        &flows,
    ]);
    assert_eq!(sorted, [json!({"protocol": 17, "bytes": 500})]);
    let downwards = [
        "--by",
        "protocol",
        "--values",
        "bytes",
        "--sort",
        "-protocol,bytes",
        &flows,
    ];
    assert_eq!(rows(&downwards)[0], json!({"protocol": 17, "bytes": 500}));
    let sorted = rows(&[
        "--by", "protocol", "--values", "bytes", "--sort", "protocol", "--top", "1", &flows,
    ]);
    assert_eq!(sorted, [json!({"protocol": 6, "bytes": 800})]);
}

#[test]
fn only_flows_that_are_meant_are_counted() {
    let folder = Folder::new();
    let flows = flows(&folder);
    let count = |flags: &[&str]| -> u64 {
        let arguments = [&["--by", "family", "--values", "flows"], flags, &[&flows]].concat();
        rows(&arguments)
            .iter()
            .map(|row| row["flows"].as_u64().unwrap())
            .sum()
    };
    assert_eq!(
        count(&["--where", "protocol = tcp or src_addr in 2001:db8::/32"]),
        3
    );
    // The messages came at .000, .001 and .002.
    assert_eq!(count(&["--from", "2026-11-21T16:40:00.001Z"]), 3);
    assert_eq!(count(&["--to", "2026-11-21T16:40:00.001Z"]), 1);
    assert_eq!(
        count(&["--from", "2026-11-21 16:40", "--to", "2026-11-22"]),
        4
    );
    assert_eq!(count(&["--from", "2026-11-22"]), 0);
}

/// How many flows are counted, and how many files were left out unopened.
fn counted(flags: &[&str], flows: &str) -> (u64, u64) {
    let values = [
        "summarize",
        "--by=family",
        "--values=flows",
        "--format=json",
        "--stats",
    ];
    let ended = forebay(&[&values, flags, &[flows]].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let number = |value: &Value| value.as_u64().unwrap();
    let lines = ended.stdout.lines();
    let rows = lines.map(|line| serde_json::from_str::<Value>(line).expect(line));
    let stats: Value = serde_json::from_str(&ended.stderr).expect(&ended.stderr);
    let count = rows.map(|row| number(&row["flows"])).sum();
    (count, number(&stats["files_left_out"]))
}

#[test]
fn files_of_other_hours_are_not_opened_unless_their_folders_lie() {
    let folder = Folder::new();
    for format in ["parquet", "arrow"] {
        let capture = folder.capture("a.pcap", &[v5(), v9(1, true, &[v9_record(3)]), ipfix()]);
        let flows = folder.path(format);
        done(&[
            "collect", "--read", &capture, "--output", &flows, "--format", format,
        ]);
        for (flags, expected) in [
            (&[][..], (3, 0)),
            (
                &["--from=2026-11-21 16:00", "--to=2026-11-21 17:00"],
                (3, 0),
            ),
            (&["--from=2026-11-21 16:40:00.002"], (1, 0)),
            (&["--from=2026-11-21 16:59:59.999999"], (0, 0)),
            (&["--from=2026-11-21 17:00"], (0, 2)),
            (&["--to=2026-11-21 16:00"], (0, 2)),
            (&["--to=2026-11-21 16:00:00.000001"], (0, 0)),
        ] {
            assert_eq!(counted(flags, &flows), expected, "{flags:?}");
        }
        // Not even if they are damaged; but the rows themselves can be asked.
        let extension = if format == "arrow" { "arrows" } else { format };
        let paths = files(&flows, extension);
        let ipv4 = paths
            .iter()
            .find(|path| path.to_str().unwrap().contains("ipv4"));
        let ipv4 = ipv4.unwrap();
        let whole = fs::read(ipv4).unwrap();
        fs::write(ipv4, "no flows").unwrap();
        assert_eq!(counted(&["--from=2026-11-22"], &flows), (0, 2));
        let line = fails(1, &["summarize", "--where=received >= 2026-11-22", &flows]);
        assert!(line.contains(ipv4.to_str().unwrap()), "{line}");
        fs::write(ipv4, whole).unwrap();

        // An hour, a day and a name that are not those of the file: 2 of its flows.
        let this = ["--from=2026-11-21 16:00", "--to=2026-11-21 17:00"];
        let mut place = ipv4.clone();
        for lie in ["hour=03", "date=2025-01-01", "renamed"] {
            let folder = match lie {
                "hour=03" => place.parent().unwrap(),
                "date=2025-01-01" => place.parent().unwrap().parent().unwrap(),
                _ => place.as_path(),
            };
            let other = match lie {
                "renamed" => folder.with_file_name(format!("{lie}.{extension}")),
                _ => folder.with_file_name(lie),
            };
            let rest = place.strip_prefix(folder).unwrap();
            let moved = if rest.as_os_str().is_empty() {
                other.clone()
            } else {
                other.join(rest)
            };
            fs::rename(folder, &other).unwrap();
            place = moved;
            assert_eq!(counted(&this, &flows), (3, 0), "{lie}");
            assert_eq!(counted(&["--from=2026-11-22"], &flows), (0, 1), "{lie}");
        }
        let line = fails(
            2,
            &["summarize", "--from=2026-11-22", "--to=2026-11-22", &flows],
        );
        assert!(line.contains("--from is not before --to"), "{line}");
    }
}

#[test]
fn the_table_fits_people() {
    let folder = Folder::new();
    let text = done(&[
        "summarize",
        "--by",
        "protocol,src_addr",
        "--values",
        "flows,bytes,duration",
        &flows(&folder),
    ]);
    assert_eq!(
        text,
        "protocol  src_addr     flows  bytes  duration\n\
         TCP       10.0.0.1         2    800     1.500\n\
         UDP       10.5.0.1         1    500     1.000\n\
         -         2001:db8::1      1  1,500     0.000\n"
    );
}

#[test]
fn a_file_has_the_form_of_its_name() {
    let folder = Folder::new();
    let flows = flows(&folder);
    let expected = done(&["summarize", "--format", "csv", &flows]);
    for (name, begins) in [
        ("a.csv", "src_addr,dst_addr,"),
        ("a.jsonl", "{\"src_addr\":\"10.0.0.1\","),
        ("a.txt", "src_addr "),
        ("a.parquet", "PAR1"),
        ("a.arrow", "ARROW1"),
    ] {
        let path = folder.write(name, "old");
        let told = done(&["summarize", "--output", &path, &flows]);
        assert_eq!(told, format!("{path}: 3 groups of 4 flows\n"));
        let written = fs::read(&path).unwrap();
        assert!(written.starts_with(begins.as_bytes()), "{name}");
        if name == "a.csv" {
            assert_eq!(written, expected.as_bytes());
        }
    }
    // Only the files that were asked for.
    let names: Vec<_> = fs::read_dir(folder.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().starts_with('.')),
        "{names:?}"
    );
    let path = folder.path("answer");
    let line = fails(2, &["summarize", "--output", &path, &flows]);
    assert!(line.contains("tells no form by its ending"), "{line}");
    done(&["summarize", "--output", &path, "--format", "csv", &flows]);
    assert_eq!(fs::read(&path).unwrap(), expected.as_bytes());
}

#[test]
fn a_damaged_file_is_named_and_passed_over_only_if_asked() {
    let folder = Folder::new();
    let flows = flows(&folder);
    let file = files(&flows, "parquet")
        .into_iter()
        .find(|path| path.to_str().unwrap().contains("family=ipv6"));
    let file = file.unwrap();
    let written = fs::read(&file).unwrap();
    fs::write(&file, &written[..written.len() / 2]).unwrap();
    let path = file.to_str().unwrap();
    let answer = folder.path("a.csv");
    let line = fails(1, &["summarize", "--output", &answer, &flows]);
    assert!(line.contains(path), "{line}");
    assert!(fs::metadata(&answer).is_err());
    let ended = forebay(&[
        "summarize",
        "--skip-bad",
        "--format",
        "csv",
        "--values",
        "flows",
        "--by",
        "family",
        &flows,
    ]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "family,flows\nipv4,3\n")
    );
    assert!(
        ended.stderr.starts_with(&format!("passed over {path}: ")),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_makes_no_sense_is_told_before_anything_is_read() {
    let folder = Folder::new();
    let flows = flows(&folder);
    for (flags, told) in [
        (&["--by", "src_prt"][..], "did you mean \"src_port\"?"),
        (&["--by", "src_prefix/200"], "is no prefix"),
        (&["--values", "byte"], "did you mean \"bytes\"?"),
        (
            &["--where", "bytes >"],
            "--where: the end at character 8: a value is expected there",
        ),
        (&["--where", "byts > 1"], "did you mean \"bytes\"?"),
        (&["--min", "flows"], "flows=10"),
        (
            &["--min", "first=10"],
            "no number that groups can have at least",
        ),
        (&["--sort", "packet"], "did you mean \"packets\"?"),
        (&["--sort", "--top"], "a name such as bytes or -bytes"),
        (&["--by", "protocol,protocol"], "asked for twice"),
        (&["--from", "noon"], "is no time"),
        (&["--threads", "0"], "--threads is 0"),
        (&["--memory", "much"], "is no size"),
        (
            &["--memory", "512"],
            "--memory is 512B, but must be at least 1MiB",
        ),
    ] {
        let line = fails(2, &[&["summarize", flows.as_str()], flags].concat());
        assert!(line.contains(told), "{line}");
    }
    let line = fails(1, &["summarize", &folder.path("nowhere")]);
    assert!(line.contains("there is nothing at"), "{line}");
}

#[test]
fn an_answer_of_no_flows_has_its_columns() {
    let folder = Folder::new();
    let text = done(&[
        "summarize",
        "--where",
        "protocol = 99",
        "--format",
        "csv",
        &flows(&folder),
    ]);
    assert_eq!(
        text,
        "src_addr,dst_addr,src_port,dst_port,protocol,flows,packets,bytes,first,last\n"
    );
}

#[test]
fn configured_columns_are_keys_and_conditions() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[ipfix()]);
    let flows = folder.path("flows");
    let config = folder.write(
        "collect.toml",
        "[[column]]\nname = 'interface'\nelement = 'interfaceName'\ntype = 'string'\n\
         [[column]]\nname = 'nbar'\nelement = '9/12235'\ntype = 'u32'\n",
    );
    done(&[
        "collect", "--read", &capture, "--output", &flows, "--config", &config,
    ]);
    let found = rows(&[
        "--by",
        "interface,nbar",
        "--values",
        "flows",
        "--where",
        "interface = eth0 and nbar = 0xabcd",
        &flows,
    ]);
    assert_eq!(
        found,
        [json!({"interface": "eth0", "nbar": 0xabcd, "flows": 1})]
    );
    assert!(rows(&["--where", "interface = eth1", &flows]).is_empty());
    // They are known where no file of the time has them.
    let later = [
        "--from=2026-11-22",
        "--by=nbar",
        "--where=interface = eth0",
        &flows,
    ];
    assert!(rows(&later).is_empty());
    let line = fails(2, &["summarize", "--from=2026-11-22", "--by=nbat", &flows]);
    assert!(line.contains("did you mean \"nbar\"?"), "{line}");
}
