//! The truth of generated traffic, held against what others find in it: our collector, `netflow_parser` and nfcapd, on
//! every layout, for each exporter and version.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_replay::generate::{Counts, Truth};
use libtest_mimic::Completion;

use crate::Outcome;
use crate::collector::{Collector, generate, truth_of};
use crate::flows::stored;
use crate::needs;
use crate::support::program;

pub(crate) mod nfcapd;
mod parser;

/// Twice as many exporters of each version as it has layouts, a third of the flows told by several.
const TRAFFIC: [&str; 6] = [
    "--exporters=22",
    "--versions=5:2,9:3,10:6",
    "--flows=40k",
    "--duplicates=0.3",
    "--ipv6-share=0.3",
    "--rate=100k",
];
/// v5 and v5 sampled, v9, IPFIX.
const LAYOUTS: usize = 2 + 3 + 6;
/// As fast as sockets with small buffers take them.
const PACE: &str = "--fps=20k";

const ICMP: [u8; 2] = [1, 58];

/// What is found of one exporter and version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Part {
    datagrams: u64,
    flows: u64,
    packets: u64,
    bytes: u64,
    reverse_packets: u64,
    reverse_bytes: u64,
    templates: u64,
    options_templates: u64,
    options_records: u64,
}

/// What is found in all.
#[derive(Debug, Default)]
struct Found {
    parts: BTreeMap<(IpAddr, u8), Part>,
    tuples: HashSet<Tuple>,
}

/// Who talked to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tuple {
    addresses: [IpAddr; 2],
    ports: [u16; 2],
    protocol: u8,
}

impl Tuple {
    /// ICMP has no ports: some tell its type and code there.
    fn new(addresses: [IpAddr; 2], ports: [u16; 2], protocol: u8) -> Self {
        Self {
            addresses,
            ports: if ICMP.contains(&protocol) {
                [0; 2]
            } else {
                ports
            },
            protocol,
        }
    }
}

impl Found {
    fn part(&mut self, exporter: IpAddr, version: u8) -> &mut Part {
        self.parts.entry((exporter, version)).or_default()
    }

    /// Holds it against the truth, as far as `told` says that it can be found. `told` knows the rate at which an
    /// exporter's v5 header says that it samples.
    #[track_caller]
    fn agrees(&self, truth: &Truth, told: impl Fn(Part, Option<u32>) -> Part) {
        let mut expected = BTreeMap::new();
        for exporter in &truth.exporters {
            let rate = exporter.sampling_rate.filter(|_| exporter.version == 5);
            let part = told(Part::of(&exporter.counts), rate);
            let key = (exporter.source.ip(), exporter.version);
            assert_eq!(self.parts.get(&key), Some(&part), "{exporter:?}");
            expected.insert(key, part);
        }
        assert_eq!(self.parts, expected);
        assert_eq!(self.tuples.len() as u64, truth.distinct_5_tuples);
        let of_ipv6 = self
            .tuples
            .iter()
            .filter(|tuple| tuple.addresses[0].is_ipv6());
        assert_eq!(of_ipv6.count() as u64, truth.distinct_5_tuples_ipv6);
    }
}

impl Part {
    fn of(counts: &Counts) -> Self {
        Self {
            datagrams: counts.datagrams,
            flows: counts.flows,
            packets: counts.packets,
            bytes: counts.bytes,
            reverse_packets: counts.reverse_packets,
            reverse_bytes: counts.reverse_bytes,
            templates: counts.templates,
            options_templates: counts.options_templates,
            options_records: counts.options_records,
        }
    }

    const fn without_templates(self) -> Self {
        Self {
            templates: 0,
            options_templates: 0,
            options_records: 0,
            ..self
        }
    }
}

/// Generates the traffic, of exporters that nobody else's are, and reads its truth.
fn traffic(folder: &Path, first_exporter: &str) -> (PathBuf, Truth) {
    let first = format!("--first-exporter={first_exporter}");
    let flags = [&TRAFFIC[..], &[first.as_str()]].concat();
    let capture = generate(folder, "all.pcap.zst", &flags);
    let truth = truth_of(&capture);
    check_sums(&truth);
    (capture, truth)
}

/// The truth is one: exporters, versions and all together say the same, and no layout is missing.
fn check_sums(truth: &Truth) {
    let layouts: BTreeSet<&str> = truth
        .exporters
        .iter()
        .map(|of| of.layout.as_str())
        .collect();
    assert_eq!(layouts.len(), LAYOUTS, "{layouts:?}");
    let sum = |versions: &[u8]| {
        let of = truth.exporters.iter();
        let of = of.filter(|exporter| versions.contains(&exporter.version));
        let parts: Vec<Part> = of.map(|exporter| Part::of(&exporter.counts)).collect();
        let each = |count: fn(&Part) -> u64| parts.iter().map(count).sum::<u64>();
        [
            each(|part| part.datagrams),
            each(|part| part.flows),
            each(|part| part.packets),
            each(|part| part.bytes),
        ]
    };
    let counts = |of: &Counts| [of.datagrams, of.flows, of.packets, of.bytes];
    assert_eq!(sum(&[5, 9, 10]), counts(&truth.total));
    for version in &truth.versions {
        assert_eq!(sum(&[version.version]), counts(&version.counts));
    }
    let total = &truth.total;
    for some in [
        total.flows_ipv6,
        total.nat_events,
        total.reverse_bytes,
        total.options_records,
        truth.duplicates.flows,
    ] {
        assert!(some > 0, "{truth:?}");
    }
}

/// Sends a capture to a collector, each exporter from its own address.
pub(crate) fn replay(capture: &Path, to: SocketAddr) {
    let sent = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .arg("replay")
        .arg(capture)
        .args(["--to", &to.to_string(), "--source=bound", PACE])
        .output()
        .expect("it starts");
    let error = String::from_utf8_lossy(&sent.stderr);
    assert!(sent.status.success(), "{error}");
}

pub(crate) fn netflow_parser_finds_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (capture, truth) = traffic(folder.path(), "2001:db8:79::1");
    parser::find(&capture).agrees(&truth, |part, _| part);
}

pub(crate) fn our_collector_finds_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (capture, truth) = traffic(folder.path(), "127.79.0.1");
    let dataset = folder.path().join("flows");
    let collector = Collector::start(&dataset, &[]);
    replay(&capture, collector.address());
    collector.wait_for_stat("/total/records", truth.total.flows);
    let stats = collector.stats();
    let ended = collector.end();
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let mut found = Found::default();
    for domain in stats["domains"].as_array().expect("a list") {
        let exporter = domain["exporter"].as_str().expect("an address");
        let version = domain["export_version"].as_u64().expect("a version") as u8;
        let part = found.part(exporter.parse().expect("an address"), version);
        part.datagrams += domain["datagrams"].as_u64().expect("a count");
    }
    for flow in stored(&dataset) {
        let exporter = flow.exporter.parse().expect("an address");
        let part = found.part(exporter, flow.version);
        part.flows += 1;
        part.packets += flow.packets.unwrap_or(0);
        part.bytes += flow.bytes.unwrap_or(0);
        part.reverse_packets += flow.reverse_packets.unwrap_or(0);
        part.reverse_bytes += flow.reverse_bytes.unwrap_or(0);
        found.tuples.insert(Tuple::new(
            [flow.source, flow.destination].map(|address| address.expect("told")),
            [flow.source_port, flow.destination_port].map(|port| port.unwrap_or(0)),
            flow.protocol.expect("told"),
        ));
    }
    found.agrees(&truth, |part, _| part.without_templates());
}

pub(crate) fn nfcapd_finds_it() -> Outcome {
    let (Some(nfcapd), Some(nfdump)) = (program("nfcapd"), program("nfdump")) else {
        return needs::missing("nfdump is not installed");
    };
    let folder = tempfile::tempdir()?;
    let (capture, truth) = traffic(folder.path(), "127.80.0.1");
    let running = nfcapd::Nfcapd::start(&nfcapd, folder.path());
    replay(&capture, running.address());
    let files = running.end();
    nfcapd::find(&nfdump, &files).agrees(&truth, |part, rate| {
        // It multiplies by the rate in v5's header; rates from options data it does not apply here.
        let times = u64::from(rate.unwrap_or(1));
        Part {
            packets: part.packets * times,
            bytes: part.bytes * times,
            ..part.without_templates()
        }
    });
    Ok(Completion::Completed)
}
