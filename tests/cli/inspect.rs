//! `forebay inspect` on captures made here.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Folder, command, done, fails, forebay, ipfix, v5, v9, v9_record};

fn messages(arguments: &[&str]) -> Vec<Value> {
    let text = done(arguments);
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn a_message_is_shown_as_a_tree() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v9(7, true, &[v9_record(3)])]);
    let text = done(&["inspect", &capture]);
    let expected = "\
datagram 0  2026-11-21T16:40:00.000000000Z  192.0.2.1:50000 → 198.51.100.1:2055  NetFlow v9, 108 bytes
  count 2  uptime_ms 60000  export_time 2026-11-21T16:40:00Z  sequence 7  observation_domain 7
  set 0 at 20, 48 bytes: templates
    template 256 at 24: 10 fields
      sourceIPv4Address (8), 4 bytes
      destinationIPv4Address (12), 4 bytes
      sourceTransportPort (7), 2 bytes
      destinationTransportPort (11), 2 bytes
      protocolIdentifier (4), 1 byte
      packetDeltaCount (2), 4 bytes
      octetDeltaCount (1), 4 bytes
      sourceMacAddress (56), 6 bytes
      flowStartSysUpTime (22), 4 bytes
      flowEndSysUpTime (21), 4 bytes
  set 256 at 68, 40 bytes: records
    record 1 at 72
      sourceIPv4Address 10.0.0.1
      destinationIPv4Address 10.0.0.2
      sourceTransportPort 1234
      destinationTransportPort 443
      protocolIdentifier 6
      packetDeltaCount 3
      octetDeltaCount 300
      sourceMacAddress 02:00:00:00:00:01
      flowStartSysUpTime 58000
      flowEndSysUpTime 59500
";
    let (tree, summary) = text.split_at(expected.len().min(text.len()));
    assert_eq!(tree, expected);
    assert_eq!(
        summary,
        format!("{capture}: 1 packet read, 1 UDP datagram\n")
    );
}

#[test]
fn json_has_what_the_tree_has() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5(), ipfix()]);
    let shown = messages(&["inspect", "--json", &capture]);
    let [v5, ipfix] = shown.as_slice() else {
        panic!("{shown:?}");
    };
    assert_eq!(v5["version"], 5);
    assert_eq!(v5["header"]["engine_id"], 1);
    assert_eq!(
        v5["sets"][0]["records"][0]["destinationIPv4Address"],
        "10.5.0.2"
    );

    assert_eq!(ipfix["datagram"], 1);
    assert_eq!(ipfix["time"], "2026-11-21T16:40:00.001000000Z");
    assert_eq!(ipfix["source"], "192.0.2.1:50000");
    let template = &ipfix["sets"][0]["templates"][0];
    assert_eq!(
        (&template["id"], &template["change"]),
        (&300.into(), &"new".into())
    );
    assert_eq!(template["fields"][3]["length"], Value::Null);
    assert_eq!(template["fields"][4]["element"], "9/12235");
    let record = &ipfix["sets"][1]["records"][0];
    assert_eq!(record["sourceIPv6Address"], "2001:db8::1");
    assert_eq!(record["interfaceName"], "eth0");
    assert_eq!(record["9/12235"], "0xabcd");
    assert_eq!(record["flowStartMilliseconds"], "2026-11-21T16:40:00.000Z");
    assert!(
        shown
            .iter()
            .all(|message| message["problems"].as_array().unwrap().is_empty())
    );
}

#[test]
fn templates_are_remembered_and_missing_ones_told() {
    let folder = Folder::new();
    let data = v9(1, false, &[v9_record(1)]);
    let capture = folder.capture("a.pcap", &[data.clone(), v9(2, true, &[]), data]);
    let shown = messages(&["inspect", "--json", &capture]);
    let problem = &shown[0]["sets"][0]["problems"][0];
    assert_eq!(
        (&problem["reason"], &problem["offset"]),
        (&"template_missing".into(), &20.into())
    );
    assert_eq!(shown[2]["sets"][0]["records"][0]["packetDeltaCount"], 1);

    // From one capture to the next as well.
    let templates = folder.capture("templates.pcap", &[v9(1, true, &[])]);
    let records = folder.capture("records.pcap", &[v9(2, false, &[v9_record(9)])]);
    let shown = messages(&["inspect", "--json", &templates, &records]);
    assert_eq!(shown[1]["sets"][0]["records"][0]["packetDeltaCount"], 9);
}

#[test]
fn some_messages_can_be_chosen() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5(), v5(), v5()]);
    assert_eq!(
        messages(&["inspect", "--json", "--limit", "2", &capture]).len(),
        2
    );
    assert_eq!(
        messages(&["inspect", "--json", "--exporter", "192.0.2.1", &capture]).len(),
        3
    );
    assert_eq!(
        messages(&["inspect", "--json", "--exporter", "192.0.2.2", &capture]).len(),
        0
    );
}

#[test]
fn every_prefix_of_a_message_is_shown_with_its_problem() {
    let folder = Folder::new();
    for whole in [v5(), v9(1, true, &[v9_record(1), v9_record(2)]), ipfix()] {
        let prefixes: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
        let capture = folder.capture("prefixes.pcap", &prefixes);
        assert_eq!(
            messages(&["inspect", "--json", &capture]).len(),
            prefixes.len()
        );
        let text = done(&["inspect", &capture]);
        assert!(text.contains("PROBLEM at 0: "), "{text}");
        assert!(text.contains("(header_too_short)"), "{text}");
    }
}

#[test]
fn a_torn_capture_is_shown_as_far_as_it_goes() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5(), v5()]);
    let mut bytes = std::fs::read(&capture).unwrap();
    bytes.truncate(bytes.len() - 5);
    let torn = folder.write("torn.pcap", bytes);
    let ended = forebay(&["inspect", "--json", &torn]);
    assert_eq!(ended.stdout.lines().count(), 1);
    let line = fails(1, &["inspect", &torn]);
    assert!(
        line.contains(&torn) && line.contains("5 bytes are missing"),
        "{line}"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &vec![v9(1, true, &vec![v9_record(1); 20]); 500]);
    let mut child = command(&["inspect", &capture])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_byte_of_a_message_may_lie() {
    let folder = Folder::new();
    for whole in [v5(), v9(1, true, &[v9_record(1), v9_record(2)]), ipfix()] {
        let mut lies = Vec::new();
        for place in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut lie = whole.clone();
                lie[place] = byte;
                lies.push(lie);
            }
        }
        let capture = folder.capture("lies.pcap", &lies);
        assert_eq!(messages(&["inspect", "--json", &capture]).len(), lies.len());
        let text = done(&["inspect", &capture]);
        assert!(text.contains("(unknown_version)"), "{text}");
    }
}
