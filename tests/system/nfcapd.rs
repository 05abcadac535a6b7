//! nfcapd as a second opinion on the same messages.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use forebay_replay::generate::{GenerateConfig, Pace, Prepared};
use libtest_mimic::Completion;

use crate::Outcome;
use crate::collector::{Collector, free_udp_address, own_loopback};
use crate::flows::{Flow, stored};
use crate::needs;
use crate::support::{program, wait_for};

/// As fast as sockets with small buffers take them.
const PACE: Pace = Pace::FlowsPerSec(20_000.0);

#[derive(Debug, PartialEq, Eq)]
struct Sums {
    flows: u64,
    packets: u64,
    bytes: u64,
}

pub(crate) fn counts_the_same() -> Outcome {
    let (Some(nfcapd), Some(nfdump)) = (program("nfcapd"), program("nfdump")) else {
        return needs::missing("nfdump is not installed");
    };
    let folder = tempfile::tempdir()?;
    let config = GenerateConfig {
        exporters: 30,
        flows: 30_000,
        ..GenerateConfig::default()
    };
    let messages = Prepared::new(config)?;
    let of_nfcapd = nfcapd_sums(&nfcapd, &nfdump, &messages, folder.path());

    let dataset = folder.path().join("flows");
    let collector = Collector::start(&dataset, &[]);
    messages.send(collector.address(), PACE, &mut |_| ())?;
    collector.wait_for_stat("/total/records", messages.truth().total.flows);
    let ended = collector.end();
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let flows = stored(&dataset);
    let sum = |one_way: fn(&Flow) -> Option<u64>, other_way: fn(&Flow) -> Option<u64>| {
        let of_flow = |flow: &Flow| {
            let ways = one_way(flow).unwrap_or(0) + other_way(flow).unwrap_or(0);
            ways * as_nfcapd_samples(flow)
        };
        flows.iter().map(of_flow).sum()
    };
    // nfdump adds the reverse direction (RFC 5103) to the sums.
    let ours = Sums {
        flows: flows.len() as u64,
        packets: sum(|flow| flow.packets, |flow| flow.reverse_packets),
        bytes: sum(|flow| flow.bytes, |flow| flow.reverse_bytes),
    };
    assert_eq!(ours, of_nfcapd);
    Ok(Completion::Completed)
}

/// nfcapd multiplies counters by the rate in v5's header. Rates from options data it does not apply to them here.
fn as_nfcapd_samples(flow: &Flow) -> u64 {
    match flow.version {
        5 => flow.sampling_rate.map_or(1, u64::from),
        _ => 1,
    }
}

fn nfcapd_sums(nfcapd: &Path, nfdump: &Path, messages: &Prepared, folder: &Path) -> Sums {
    let files = folder.join("nfcapd");
    fs::create_dir(&files).expect("a folder");
    let target = free_udp_address(own_loopback());
    let log = folder.join("nfcapd.log");
    let mut nfcapd = Command::new(nfcapd)
        .args(["-b", &target.ip().to_string()])
        .args(["-p", &target.port().to_string(), "-B", "8000000"])
        .arg("-w")
        .arg(&files)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).expect("a log"))
        .spawn()
        .expect("nfcapd starts");
    wait_for("nfcapd to listen", || {
        fs::read_to_string(&log)
            .ok()?
            .contains("Startup")
            .then_some(())
    });
    messages.send(target, PACE, &mut |_| ()).expect("sends");
    let terminate = format!("sleep 1; kill -TERM {}", nfcapd.id());
    let killed = Command::new("sh").args(["-c", &terminate]).status();
    assert!(killed.expect("sh starts").success());
    wait_for("nfcapd to end", || {
        nfcapd.try_wait().expect("its state is known")
    });
    let output = Command::new(nfdump)
        .arg("-R")
        .arg(&files)
        .arg("-I")
        .output();
    let told = String::from_utf8(output.expect("nfdump starts").stdout).expect("UTF-8");
    let number = |name: &str| -> u64 {
        let mut lines = told.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no {name} in {told}"))
    };
    Sums {
        flows: number("Flows:"),
        packets: number("Packets:"),
        bytes: number("Bytes:"),
    }
}
