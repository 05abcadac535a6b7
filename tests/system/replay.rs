//! Replayed traffic, as others see it: in another network namespace, in tshark, in our inspect and our collector.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureReader, CaptureWriter};
use libtest_mimic::Completion;
use serde_json::Value;

use crate::Outcome;
use crate::collector::{Collector, generate};
use crate::needs;
use crate::route_network::spaces::{self, FAR, Space, join};
use crate::support::{program, signal, wait_for};

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
/// How far the intervals between arrivals may be from the recorded ones: half of those of each length, in nanoseconds.
/// The machine may be busy, so that single ones are far off.
const HALF_NS: u64 = 20_000_000;
const ALL_NS: u64 = 1_000_000_000;
const FAR_MAC: &str = "02:00:00:00:00:02";
/// The intervals of [`record_uneven`]: together, soon, and later by more than may be off.
const INTERVALS_NS: [u64; 3] = [0, 1_000_000, 119_000_000];

pub(crate) fn ipv4_arrives_as_it_was_recorded() -> Outcome {
    arrives_as_recorded(false)
}

pub(crate) fn ipv6_arrives_as_it_was_recorded() -> Outcome {
    arrives_as_recorded(true)
}

/// Why there is nothing to capture with.
fn missing(programs: &[&str]) -> Option<String> {
    programs
        .iter()
        .find(|name| program(name).is_none())
        .map(|name| format!("there is no {name}"))
        .or_else(spaces::missing)
}

/// What a datagram must arrive as.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    source: SocketAddr,
    payload: Vec<u8>,
    at_ns: u64,
}

fn read(capture: &Path, port: u16) -> Vec<Seen> {
    let mut reader = CaptureReader::open(capture).expect("a capture");
    let mut seen = Vec::new();
    while let Some(datagram) = reader.next().expect("it is whole") {
        if datagram.destination.port() == port {
            seen.push(Seen {
                source: datagram.source,
                payload: datagram.payload.to_vec(),
                at_ns: datagram.received_ns,
            });
        }
    }
    seen
}

fn arrives_as_recorded(ipv6: bool) -> Outcome {
    if let Some(why) = missing(&["ip", "nsenter", "dumpcap"]) {
        return needs::missing(why);
    }
    let folder = tempfile::tempdir()?;
    let recorded = folder.path().join("recorded.pcap");
    let sent = record_uneven(&recorded, ipv6);
    let (near, far) = (Space::new(), Space::new());
    let ends = if ipv6 {
        ["2001:db8:7::1", "2001:db8:7::2"]
    } else {
        ["10.7.0.1", "10.7.0.2"]
    };
    let [here, there] = ends.map(|end| end.parse().expect("an address"));
    join(&near, "near", &[here], &far, &[there]);
    // The kernel keeps what is sent until it knows its neighbour: for IPv6 that takes seconds on a fresh link.
    far.ip(&format!("link set {FAR} address {FAR_MAC}"));
    near.ip(&format!(
        "neighbour replace {there} lladdr {FAR_MAC} dev near nud permanent"
    ));
    let arrived = Dumpcap::start(&far, FAR, &folder.path().join("arrived.pcapng"));
    let target = SocketAddr::new(there, 9995);
    let output = near
        .command(FOREBAY)
        .args(["replay", "--json", "--to", &target.to_string()])
        .arg(&recorded)
        .output()?;
    let report = succeeded(&output);
    assert_eq!(report["source"], "recorded");
    assert_eq!(report["sent"]["datagrams"], sent.len());
    let arrived = read(&arrived.end(sent.len(), target.port()), target.port());
    assert_eq!(arrived.len(), sent.len());
    for (arrived, sent) in arrived.iter().zip(&sent) {
        assert_eq!(arrived.source, sent.source);
        assert!(arrived.payload == sent.payload, "not what was recorded");
    }
    let interval = |of: &[Seen]| of[1].at_ns.saturating_sub(of[0].at_ns);
    for recorded_ns in INTERVALS_NS {
        let pairs = arrived.windows(2).zip(sent.windows(2));
        let of_length = pairs.filter(|(_, sent)| interval(sent) == recorded_ns);
        let mut off: Vec<u64> = of_length
            .map(|(arrived, _)| interval(arrived).abs_diff(recorded_ns))
            .collect();
        off.sort_unstable();
        assert!(off.len() >= 16, "{recorded_ns}: {off:?}");
        assert!(
            off[off.len() / 2] <= HALF_NS,
            "half of {recorded_ns} are off by {off:?}"
        );
        assert!(
            off.last() <= Some(&ALL_NS),
            "some of {recorded_ns} are off by {off:?}"
        );
    }
    Ok(Completion::Completed)
}

/// Writes messages of twenty exporters, at uneven times: 2 s in all.
fn record_uneven(path: &Path, ipv6: bool) -> Vec<Seen> {
    let mut writer = CaptureWriter::create(path).expect("a capture");
    let mut sent = Vec::new();
    let mut at_ns = 1_700_000_000_000_000_000;
    for number in 0_u16..50 {
        // In turns.
        at_ns += INTERVALS_NS[usize::from(number % 3)];
        let host = number % 20 + 1;
        let address = if ipv6 {
            [0x2001, 0xdb8, 9, 0, 0, 0, 0, host].into()
        } else {
            [192, 0, 2, host as u8].into()
        };
        let source = SocketAddr::new(address, 50_000 + number % 7);
        // As long as exporters make them; what is in the records is nothing to a replay.
        let mut payload = vec![0, 5, 0, 29];
        payload.resize(24 + 29 * 48, number as u8);
        let destination = if ipv6 {
            "[2001:db8::1]:2055"
        } else {
            "198.51.100.1:2055"
        };
        let datagram = Datagram {
            source,
            destination: destination.parse().expect("an address"),
            received_ns: at_ns,
            payload: &payload,
        };
        writer.write(&datagram).expect("it fits");
        sent.push(Seen {
            source,
            payload,
            at_ns,
        });
    }
    writer.finish().expect("written");
    sent
}

/// The report of a replay that must have done what was asked.
#[track_caller]
fn succeeded(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What captures in a namespace.
struct Dumpcap {
    child: Child,
    capture: PathBuf,
}

impl Dumpcap {
    fn start(space: &Space, interface: &str, capture: &Path) -> Self {
        let child = space
            .command("dumpcap")
            // A buffer that holds all, in case it does not get to read for a while.
            .args(["-q", "-B", "64", "-i", interface])
            // Nobody listens: what the system says of that quotes the messages.
            .args(["-f", "udp", "-w"])
            .arg(capture)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dumpcap starts");
        // It writes the file's beginning after it has opened the interface.
        wait_for("a capture", || {
            let bytes = capture.metadata().ok()?.len();
            (bytes > 0).then_some(())
        });
        Self {
            child,
            capture: capture.to_owned(),
        }
    }

    /// Ends it when so many datagrams to the port are there, or will not come.
    fn end(mut self, datagrams: usize, port: u16) -> PathBuf {
        wait_for("what was sent, in the capture", || {
            let mut reader = CaptureReader::open(&self.capture).ok()?;
            let mut count = 0;
            // What is not yet written whole is an end.
            while let Ok(Some(datagram)) = reader.next() {
                count += usize::from(datagram.destination.port() == port);
            }
            (count >= datagrams).then_some(())
        });
        signal(&self.child, "INT");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "dumpcap: {status}");
        self.capture.clone()
    }
}

impl Drop for Dumpcap {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Traffic of all three versions, of exporters on loopback.
fn traffic(folder: &Path) -> PathBuf {
    let flags = ["--exporters=12", "--flows=6k", "--rate=50k", "--seed=3"];
    generate(folder, "traffic.pcap", &flags)
}

pub(crate) fn loops_are_one_sequence_to_tshark_and_inspect() -> Outcome {
    if let Some(why) = missing(&["ip", "nsenter", "dumpcap", "tshark"]) {
        return needs::missing(why);
    }
    let folder = tempfile::tempdir()?;
    let recorded = traffic(folder.path());
    let replayed = |name: &str, flags: &[&str]| -> Result<PathBuf, std::io::Error> {
        let space = Space::new();
        let arrived = Dumpcap::start(&space, "lo", &folder.path().join(name));
        let output = space
            .command(FOREBAY)
            .args(["replay", "--to=127.0.0.1:2055", "--loop=3", "--pps=5k"])
            .args(["--source=recorded", "--json"])
            .args(flags)
            .arg(&recorded)
            .output()?;
        let report = succeeded(&output);
        assert_eq!(report["sent"]["loops"], 3);
        let datagrams = report["sent"]["datagrams"].as_u64().expect("a number");
        Ok(arrived.end(datagrams as usize, 2055))
    };
    let plain = replayed("plain.pcapng", &[])?;
    let rebased = replayed("rebased.pcapng", &["--rebase"])?;
    let primed = replayed("primed.pcapng", &["--rebase", "--prime"])?;
    // In all versions, the same messages again are no sequence.
    assert_eq!(
        unexpected(&plain).into_keys().collect::<Vec<_>>(),
        ["10", "5", "9"]
    );
    for capture in [&rebased, &primed] {
        assert_eq!(unexpected(capture), BTreeMap::new(), "tshark");
    }
    let gaps = |capture: &Path| -> BTreeMap<u64, u64> { inspected_gaps(capture) };
    assert_eq!(gaps(&plain).into_keys().collect::<Vec<_>>(), [5, 9, 10]);
    for capture in [&rebased, &primed] {
        assert_eq!(gaps(capture), BTreeMap::new(), "inspect");
    }
    Ok(Completion::Completed)
}

/// How many messages of each version have a number that tshark does not expect, or, in v5, of which it expects nothing,
/// that does not follow from the number and count that it shows of the one before.
fn unexpected(capture: &Path) -> BTreeMap<String, u64> {
    let output = Command::new("tshark")
        .args(["-n", "-d", "udp.port==2055,cflow", "-r"])
        .arg(capture)
        .args(["-Y", "cflow", "-T", "fields"])
        .args(["-e", "ip.src", "-e", "cflow.version"])
        .args(["-e", "cflow.sequence", "-e", "cflow.count"])
        .args(["-e", "cflow.sequence_analysis.expected_sn"])
        .output()
        .expect("tshark runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut next = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [source, version, number, count, expected] = fields[..] else {
            panic!("tshark: {line}");
        };
        let mut is_unexpected = !expected.is_empty() && expected != number;
        if version == "5" {
            let [number, count] = [number, count].map(|text| text.parse::<u32>().expect(line));
            let expected = next.insert(source.to_owned(), number.wrapping_add(count));
            is_unexpected |= expected.is_some_and(|expected| expected != number);
        }
        if is_unexpected {
            *counts.entry(version.to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

/// How many messages of each version have a number that does not follow from what our inspect shows of the one before.
fn inspected_gaps(capture: &Path) -> BTreeMap<u64, u64> {
    let output = Command::new(FOREBAY)
        .args(["inspect", "--json"])
        .arg(capture)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut expected = BTreeMap::new();
    let mut gaps = BTreeMap::new();
    let mut messages = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).expect("JSON");
        let (Some(version), header) = (message["version"].as_u64(), &message["header"]) else {
            continue;
        };
        messages += 1;
        let records = |set: &Value| set["records"].as_array().map_or(0, Vec::len);
        let sets = message["sets"].as_array().expect("sets");
        let units = match version {
            9 => 1,
            _ => sets.iter().map(records).sum::<usize>() as u64,
        };
        let number = header["sequence"].as_u64().expect("a number");
        let next = (number + units) % (1 << 32);
        // An exporter has one engine or observation domain here.
        let source = message["source"].as_str().expect("a source").to_owned();
        if let Some(expected) = expected.insert(source, next)
            && expected != number
        {
            *gaps.entry(version).or_insert(0) += 1;
        }
    }
    assert!(messages > 100, "inspect shows the capture");
    gaps
}

pub(crate) fn a_collector_misses_nothing_over_loops() -> Outcome {
    if forebay_udp::RawSender::open().is_err() {
        return needs::missing("no right to send from other addresses");
    }
    let folder = tempfile::tempdir()?;
    let recorded = traffic(folder.path());
    let run = |name: &str, flags: &[&str]| -> [u64; 2] {
        let collector = Collector::start(&folder.path().join(name), &[]);
        let output = Command::new(FOREBAY)
            .args(["replay", "--loop=4", "--pps=2k", "--json", "--to"])
            .arg(collector.address().to_string())
            .args(flags)
            .arg(&recorded)
            .output()
            .expect("it runs");
        let report = succeeded(&output);
        assert_eq!(report["sent"]["flows"], 24_000);
        let datagrams = report["sent"]["datagrams"].as_u64().expect("a number");
        collector.wait_for_stat("/total/messages", datagrams);
        let found = ["/total/records", "/total/sequence_lost"].map(|stat| collector.stat(stat));
        let ended = collector.end();
        assert!(ended.status.success(), "{}", ended.log);
        found
    };
    assert_eq!(run("rebased", &["--rebase"]), [24_000, 0]);
    assert_eq!(run("primed", &["--rebase", "--prime"]), [24_000, 0]);
    Ok(Completion::Completed)
}

pub(crate) fn what_cannot_be_reached_is_told() -> Outcome {
    if let Some(why) = missing(&["ip", "nsenter"]) {
        return needs::missing(why);
    }
    let folder = tempfile::tempdir()?;
    let recorded = traffic(folder.path());
    let space = Space::new();
    for source in ["recorded", "own"] {
        let output = space
            .command(FOREBAY)
            .args([
                "replay",
                "--to=203.0.113.1:2055",
                "--flood",
                "--source",
                source,
            ])
            .arg(&recorded)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("forebay: "), "{said}");
        assert!(
            said.contains("datagrams to 203.0.113.1:2055 were not sent: Network is unreachable"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(report.contains("sent      0 datagrams"), "{report}");
    }
    Ok(Completion::Completed)
}

pub(crate) fn without_the_right_it_says_what_it_does_instead() -> Outcome {
    let (true, Some(setpriv)) = (forebay_udp::RawSender::open().is_ok(), program("setpriv")) else {
        return needs::missing("there is no setpriv, or no right to give up");
    };
    let folder = tempfile::tempdir()?;
    let recorded = traffic(folder.path());
    let replay = |flags: &[&str]| {
        Command::new(&setpriv)
            .args(["--bounding-set=-net_raw", "--inh-caps=-net_raw", FOREBAY])
            .args(["replay", "--flood"])
            .args(flags)
            .arg(&recorded)
            .stdin(Stdio::null())
            .output()
            .expect("it runs")
    };
    let refused = replay(&["--source=recorded", "--to=203.0.113.1:2055"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for what in ["CAP_NET_RAW", "setcap cap_net_raw+ep"] {
        assert!(said.contains(what), "{said}");
    }
    // Somebody has to listen, or that would be the failure.
    let listener = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let to = format!("--to={}", listener.local_addr()?);
    let bound = replay(&[&to, "--exporter=127.0.1.0/24"]);
    let said = String::from_utf8_lossy(&bound.stderr);
    assert!(bound.status.success(), "{said}");
    assert!(
        said.contains("sending from the recorded ones on loopback"),
        "{said}"
    );
    Ok(Completion::Completed)
}
