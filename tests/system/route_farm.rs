//! Collectors on loopback behind a router, and numbered exporters in front of it.
//!
//! Exporters tell their templates once: what a collector decodes that came later, it decodes by what the router told it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use forebay_udp::RawSender;
use tempfile::TempDir;

use crate::collector::{Collector, free_udp_address, own_loopback};
use crate::flows::stored;
use crate::numbered::{Exporter, FLOWS};

/// Numbers of an exporter: more than it sends in the time of a test.
pub(crate) const EACH: u32 = 1 << 20;

/// Why nothing can be sent with the exporters' addresses here.
pub(crate) fn cannot_forge() -> Option<String> {
    RawSender::open().err().map(|error| error.to_string())
}

/// Collectors behind a router.
pub(crate) struct Farm {
    pub(crate) folder: TempDir,
    pub(crate) addresses: Vec<SocketAddr>,
    /// One that is down is `None`.
    collectors: Vec<Option<Collector>>,
    datasets: Vec<PathBuf>,
    /// Messages of flows that collectors got that have ended.
    ended_messages: u64,
}

impl Farm {
    pub(crate) fn new(count: usize) -> Self {
        let mut farm = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            addresses: Vec::new(),
            collectors: Vec::new(),
            datasets: Vec::new(),
            ended_messages: 0,
        };
        for _ in 0..count {
            farm.addresses.push(free_udp_address(own_loopback()));
            farm.collectors.push(None);
        }
        (0..count).for_each(|index| farm.start(index));
        farm
    }

    /// Starts a collector that knows nothing of an earlier one.
    pub(crate) fn start(&mut self, index: usize) {
        let dataset = self
            .folder
            .path()
            .join(format!("flows-{}", self.datasets.len()));
        let flags = ["--shards=1", "--rotate=1h"];
        let collector = Collector::start_at(&dataset, self.addresses[index], &flags);
        self.datasets.push(dataset);
        self.collectors[index] = Some(collector);
    }

    /// Ends a collector, which writes out all that it got.
    pub(crate) fn end(&mut self, index: usize) {
        let collector = self.collectors[index].take().expect("it is up");
        // Under load it gets more before it ends.
        self.ended_messages += collector.stat("/total/records") / u64::from(FLOWS);
        let ended = collector.end();
        assert!(ended.status.success(), "{}", ended.log);
    }

    /// Messages of flows that came to collectors and were decoded.
    pub(crate) fn messages(&self) -> u64 {
        let up = self.collectors.iter().flatten();
        let records = up.map(|collector| collector.stat("/total/records"));
        self.ended_messages + records.sum::<u64>() / u64::from(FLOWS)
    }

    /// What the collectors that are up miss by sequence numbers, or could not decode.
    pub(crate) fn missing(&self) -> u64 {
        let up = self.collectors.iter().flatten();
        up.map(|collector| {
            let stats = collector.stats();
            let reasons = &stats["total"]["reasons"];
            assert!(
                reasons.as_object().is_none_or(serde_json::Map::is_empty),
                "{reasons}"
            );
            collector.stat("/total/sequence_lost")
        })
        .sum()
    }

    /// Ends all, and returns the flows of each dataset.
    pub(crate) fn finish(mut self) -> Vec<Vec<crate::flows::Flow>> {
        for index in 0..self.collectors.len() {
            if self.collectors[index].is_some() {
                self.end(index);
            }
        }
        self.datasets
            .iter()
            .map(|dataset| stored(dataset))
            .collect()
    }

    pub(crate) fn to(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        format!("--to={}", addresses.join(","))
    }

    /// A configuration file of these collectors.
    pub(crate) fn write(&self, name: &str, collectors: &[usize], more: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let collectors = collectors
            .iter()
            .map(|index| format!("\"{}\"", self.addresses[*index]));
        let collectors: Vec<String> = collectors.collect();
        let text = format!(
            "[[route]]\ncollectors = [{}]\n{more}",
            collectors.join(", ")
        );
        std::fs::write(&path, text).expect("a file");
        path
    }
}

/// The books of a router balance.
#[track_caller]
pub(crate) fn check_books(router: &Collector) {
    let stats = router.stats();
    let total = &stats["total"];
    let count = |name: &str| total[name]["datagrams"].as_u64().expect("a number");
    let reasons = |name: &str| {
        let reasons = total[name].as_object().expect("reasons");
        reasons
            .values()
            .map(|count| count.as_u64().expect("a number"))
            .sum::<u64>()
    };
    assert_eq!(
        count("received") + count("recovered"),
        count("forwarded") + reasons("rejected") + reasons("failed") + count("waiting"),
        "{stats}"
    );
    assert_eq!(total["kernel_drops"], 0, "{stats}");
}

/// No thread of a router at work may open raw sockets.
#[track_caller]
pub(crate) fn check_rights(router: &Collector) {
    const CAP_NET_RAW: u32 = 13;
    let tasks = std::fs::read_dir(format!("/proc/{}/task", router.id())).expect("it is alive");
    for task in tasks.flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).expect("it is alive");
        for set in ["CapEff:", "CapPrm:", "CapInh:"] {
            let line = status.lines().find_map(|line| line.strip_prefix(set));
            let rights = u64::from_str_radix(line.expect("proc(5)").trim(), 16).expect("proc(5)");
            assert_eq!(rights >> CAP_NET_RAW & 1, 0, "{set} {rights:x}");
        }
    }
}

pub(crate) fn forwarded(router: &Collector) -> u64 {
    router.stat("/total/forwarded/datagrams")
}

pub(crate) fn is_up(router: &Collector, collector: usize) -> bool {
    router.stats()["collectors"][collector]["up"]
        .as_bool()
        .expect("it is told")
}

/// An exporter's address.
pub(crate) fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 7, number).into()
}

/// Exporters of all versions that tell their templates once, and send until they are stopped.
pub(crate) struct Exporters {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Exporters {
    pub(crate) fn start(target: SocketAddr, count: u8) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut exporters: Vec<Exporter> =
                (0..count).map(|number| exporter(target, number)).collect();
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                for exporter in &mut exporters {
                    exporter.send_many(4);
                    exporter.tells_templates = false;
                    sent += 4;
                }
            }
            sent
        });
        Self { stop, thread }
    }

    /// Stops them and returns how many messages they sent.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("they send")
    }
}

pub(crate) fn exporter(target: SocketAddr, number: u8) -> Exporter {
    let version = [5, 9, 10][usize::from(number) % 3];
    Exporter::new(host(number), target, version, 1 + u32::from(number) * EACH)
}

/// How many of the numbers up to the last of each exporter are not there, all of them in one piece each.
#[track_caller]
pub(crate) fn lost_in_one_piece(found: &HashSet<u32>, exporters: u8) -> u64 {
    let mut lost = 0;
    for number in 0..u32::from(exporters) {
        let first = 1 + number * EACH;
        let last = (first..first + EACH)
            .rev()
            .find(|number| found.contains(number));
        let last = last.expect("each exporter's flows came");
        let missing: Vec<u32> = (first..last)
            .filter(|number| !found.contains(number))
            .collect();
        if let (Some(from), Some(to)) = (missing.first(), missing.last()) {
            assert_eq!(
                (to - from + 1) as usize,
                missing.len(),
                "exporter {number}: {missing:?}"
            );
        }
        lost += missing.len() as u64;
    }
    lost
}
