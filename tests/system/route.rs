//! The router at work, between numbered exporters and collectors on loopback.
//!
//! Exporters tell their templates once: what a collector decodes that came later, it decodes by what the router told it.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use forebay_router::{Config, Down, Hash, Route, Routing};
use forebay_udp::RawSender;
use libtest_mimic::Completion;
use tempfile::TempDir;

use crate::Outcome;
use crate::collector::{Collector, free_udp_address, own_loopback};
use crate::flows::stored;
use crate::needs;
use crate::numbered::{Exporter, FLOWS, once};
use crate::support::{program, wait_for};

/// Numbers of an exporter: more than it sends in the time of a test.
const EACH: u32 = 1 << 20;

/// Why nothing can be sent with the exporters' addresses here.
fn cannot_forge() -> Option<String> {
    RawSender::open().err().map(|error| error.to_string())
}

/// Collectors behind a router.
struct Farm {
    folder: TempDir,
    addresses: Vec<SocketAddr>,
    /// One that is down is `None`.
    collectors: Vec<Option<Collector>>,
    datasets: Vec<PathBuf>,
    /// Messages of flows that collectors got that have ended.
    ended_messages: u64,
}

impl Farm {
    fn new(count: usize) -> Self {
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
    fn start(&mut self, index: usize) {
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
    fn end(&mut self, index: usize) {
        let collector = self.collectors[index].take().expect("it is up");
        // Under load it gets more before it ends.
        self.ended_messages += collector.stat("/total/records") / u64::from(FLOWS);
        let ended = collector.end();
        assert!(ended.status.success(), "{}", ended.log);
    }

    /// Messages of flows that came to collectors and were decoded.
    fn messages(&self) -> u64 {
        let up = self.collectors.iter().flatten();
        let records = up.map(|collector| collector.stat("/total/records"));
        self.ended_messages + records.sum::<u64>() / u64::from(FLOWS)
    }

    /// What the collectors that are up miss by sequence numbers, or could not decode.
    fn missing(&self) -> u64 {
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
    fn finish(mut self) -> Vec<Vec<crate::flows::Flow>> {
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

    fn to(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        format!("--to={}", addresses.join(","))
    }

    /// A configuration file of these collectors.
    fn write(&self, name: &str, collectors: &[usize], more: &str) -> PathBuf {
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
fn check_books(router: &Collector) {
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
fn check_rights(router: &Collector) {
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

fn forwarded(router: &Collector) -> u64 {
    router.stat("/total/forwarded/datagrams")
}

fn is_up(router: &Collector, collector: usize) -> bool {
    router.stats()["collectors"][collector]["up"]
        .as_bool()
        .expect("it is told")
}

/// An exporter's address.
fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 7, number).into()
}

/// Exporters of all versions that tell their templates once, and send until they are stopped.
struct Exporters {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Exporters {
    fn start(target: SocketAddr, count: u8) -> Self {
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
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("they send")
    }
}

fn exporter(target: SocketAddr, number: u8) -> Exporter {
    let version = [5, 9, 10][usize::from(number) % 3];
    Exporter::new(host(number), target, version, 1 + u32::from(number) * EACH)
}

/// How many of the numbers up to the last of each exporter are not there, all of them in one piece each.
#[track_caller]
fn lost_in_one_piece(found: &HashSet<u32>, exporters: u8) -> u64 {
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

pub(crate) fn every_message_goes_to_the_collector_that_the_table_names() -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    const EXPORTERS: u8 = 24;
    let farm = Farm::new(3);
    let listen = free_udp_address(own_loopback());
    let flags = [farm.to(), "--shards=7".to_owned(), "--hash=xxh3".to_owned()];
    let flags: Vec<&str> = flags
        .iter()
        .map(String::as_str)
        .chain(["--threads=2"])
        .collect();
    let mut sent = 0;
    // Another process, with other threads, splits them the same.
    for threads in [None, Some("--threads=3")] {
        let flags: Vec<&str> = flags
            .iter()
            .copied()
            .filter(|flag| threads.is_none() || !flag.starts_with("--threads"))
            .collect();
        let router = Collector::start_router(listen, &[&flags[..], threads.as_slice()].concat());
        check_rights(&router);
        let mut exporters: Vec<Exporter> = (0..EXPORTERS)
            .map(|number| {
                let first = 1 + u32::from(number) * EACH + sent;
                let version = [5, 9, 10][usize::from(number) % 3];
                Exporter::new(host(number), router.address(), version, first)
            })
            .collect();
        for exporter in &mut exporters {
            exporter.send_many(8);
        }
        sent += 8 * FLOWS;
        let messages = u64::from(EXPORTERS) * 8;
        wait_for("all messages to be forwarded", || {
            (forwarded(&router) >= messages).then_some(())
        });
        check_books(&router);
        let ended = router.end();
        assert!(ended.status.success(), "{}", ended.log);
        assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    }
    let all = u64::from(sent / FLOWS) * u64::from(EXPORTERS);
    wait_for("all messages at the collectors", || {
        (farm.messages() >= all).then_some(())
    });
    let addresses = farm.addresses.clone();
    let routing = Routing::new(
        &Config {
            routes: vec![Route {
                versions: vec![5, 9, 10],
                collectors: addresses
                    .iter()
                    .map(|address| forebay_router::Collector {
                        address: *address,
                        weight: 1,
                        probe: None,
                    })
                    .collect(),
                shards: NonZero::new(7).expect("not 0"),
                hash: Hash::Xxh3,
                down: Down::Hold,
                pins: Vec::new(),
                copies: Vec::new(),
            }],
            default: None,
        },
        None,
    )?;
    let mut all_found = HashSet::new();
    let mut used = HashSet::new();
    for (address, flows) in addresses.iter().zip(farm.finish()) {
        for flow in &flows {
            let exporter: IpAddr = flow.exporter.parse()?;
            let expected = routing.collector_of(flow.version.into(), exporter);
            assert_eq!(expected, Some(*address), "{exporter}");
            used.insert(*address);
        }
        let found = once(&flows);
        assert!(all_found.is_disjoint(&found));
        all_found.extend(found);
    }
    assert_eq!(used.len(), 3);
    for number in 0..u32::from(EXPORTERS) {
        let first = 1 + number * EACH;
        assert!((first..first + sent).all(|number| all_found.contains(&number)));
    }
    assert_eq!(all_found.len() as u32, sent * u32::from(EXPORTERS));
    Ok(Completion::Completed)
}

pub(crate) fn a_reload_under_load_loses_and_repeats_nothing() -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    const EXPORTERS: u8 = 12;
    let farm = Farm::new(3);
    let config = farm.write("route.toml", &[0, 1], "shards = 2\nhash = 'address'\n");
    let flag = format!("--config={}", config.display());
    let router = Collector::start_router(free_udp_address(own_loopback()), &[&flag, "--threads=2"]);
    let exporters = Exporters::start(router.address(), EXPORTERS);
    wait_for("messages", || (forwarded(&router) > 100).then_some(()));

    // A file that makes no sense changes nothing, and is told.
    farm.write("route.toml", &[0, 0], "");
    router.signal("HUP");
    router.wait_for_stat("/reloads_failed", 1);
    assert!(router.log().contains("is there twice"), "{}", router.log());
    assert_eq!(router.stat("/reloads"), 0);

    // The third collector takes shards of both. Nobody says so: the file is looked at.
    farm.write("route.toml", &[0, 1, 2], "shards = 3\nhash = 'address'\n");
    router.wait_for_stat("/reloads", 1);
    let before = forwarded(&router);
    wait_for("messages", || {
        (forwarded(&router) > before + 100).then_some(())
    });
    // And back, by a signal.
    farm.write("route.toml", &[0, 1], "shards = 2\nhash = 'address'\n");
    router.signal("HUP");
    router.wait_for_stat("/reloads", 2);
    let before = forwarded(&router);
    wait_for("messages", || {
        (forwarded(&router) > before + 100).then_some(())
    });

    let sent = exporters.stop();
    wait_for("all to be forwarded", || {
        (forwarded(&router) >= sent).then_some(())
    });
    check_books(&router);
    assert_eq!(forwarded(&router), sent);
    wait_for("all messages at the collectors", || {
        (farm.messages() >= sent).then_some(())
    });
    assert!(router.stat("/total/template_messages") > 0);
    let ended = router.end();
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let flows = farm.finish();
    assert!(flows.iter().all(|flows| !flows.is_empty()));
    let found = once(&flows.concat());
    assert_eq!(lost_in_one_piece(&found, EXPORTERS), 0);
    assert_eq!(found.len() as u64, sent * u64::from(FLOWS));
    Ok(Completion::Completed)
}

pub(crate) fn packets_are_taken_beside_a_collector_and_never_twice() -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    const EXPORTERS: u8 = 12;
    let farm = Farm::new(3);
    // The first has the port that exporters send to. On loopback, what is sent to the others passes the ring too.
    let beside = farm.addresses[0];
    let config = farm.write("route.toml", &[1], "");
    let flag = format!("--config={}", config.display());
    let flags = [&flag, "--input=packets", "--threads=2"];
    let router = Collector::start_router(beside, &flags);
    let exporters = Exporters::start(beside, EXPORTERS);
    wait_for("messages", || (forwarded(&router) > 100).then_some(()));
    farm.write("route.toml", &[1, 2], "shards = 2\nhash = 'address'\n");
    router.signal("HUP");
    router.wait_for_stat("/reloads", 1);
    let before = forwarded(&router);
    wait_for("messages", || {
        (forwarded(&router) > before + 100).then_some(())
    });
    let sent = exporters.stop();
    wait_for("all to be forwarded", || {
        (forwarded(&router) >= sent).then_some(())
    });
    wait_for("all messages at both", || {
        (farm.messages() >= 2 * sent).then_some(())
    });
    check_books(&router);
    let ended = router.end();
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let flows = farm.finish();
    let beside = once(&flows[0]);
    assert_eq!(beside.len() as u64, sent * u64::from(FLOWS));
    assert!(!flows[2].is_empty());
    assert_eq!(once(&flows[1..].concat()), beside);
    Ok(Completion::Completed)
}

/// A collector ends and comes back under load. What was sent to it before it was known to be down is lost, and nothing
/// else.
fn outage(policy: &str, count: usize) -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    const EXPORTERS: u8 = 12;
    let mut farm = Farm::new(count);
    let spool = farm.folder.path().join("spool");
    let flags = [
        farm.to(),
        "--threads=2".to_owned(),
        format!("--down={policy}"),
        format!("--spool={}", spool.display()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let router = Collector::start_router(free_udp_address(own_loopback()), &flags);
    let exporters = Exporters::start(router.address(), EXPORTERS);
    wait_for("messages", || (forwarded(&router) > 100).then_some(()));
    farm.end(0);
    wait_for("the collector to be down", || {
        (!is_up(&router, 0)).then_some(())
    });
    let before = router.stat("/total/received/datagrams");
    router.wait_for_stat("/total/received/datagrams", before + 200);
    if policy == "spool" {
        assert!(router.stat("/total/waiting/datagrams") > 0);
    }
    farm.start(0);
    wait_for("the collector to be up", || is_up(&router, 0).then_some(()));
    let before = router.stat("/total/received/datagrams");
    router.wait_for_stat("/total/received/datagrams", before + 200);
    let sent = exporters.stop();
    wait_for("all to be forwarded", || {
        (forwarded(&router) >= sent).then_some(())
    });
    check_books(&router);
    assert_eq!(router.stat("/total/waiting/datagrams"), 0);
    assert_eq!(forwarded(&router), sent);
    // Messages on their way: the counts stand still when all are there.
    let mut last = 0;
    wait_for("the collectors to have all", || {
        let now = farm.messages();
        thread::sleep(std::time::Duration::from_millis(500));
        let still = now == std::mem::replace(&mut last, now);
        still.then_some(())
    });
    if policy == "spool" {
        // The collector that is new got all of its exporters' messages since, in order.
        assert_eq!(farm.missing(), 0);
    }
    let ended = router.end();
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let found = once(&farm.finish().concat());
    let lost = lost_in_one_piece(&found, EXPORTERS);
    assert_eq!(lost + found.len() as u64, sent * u64::from(FLOWS));
    // A quarter of a second between two looks, and four times that on a busy machine.
    assert!(
        lost < sent * u64::from(FLOWS) / 2,
        "{lost} of {sent} messages"
    );
    Ok(Completion::Completed)
}

pub(crate) fn what_waits_for_a_collector_comes_in_order_when_it_is_back() -> Outcome {
    outage("spool", 2)
}

pub(crate) fn the_others_take_over_from_a_collector_that_is_down() -> Outcome {
    outage("spread", 3)
}

pub(crate) fn what_waits_at_the_end_is_sent_after_the_next_start() -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    let mut farm = Farm::new(1);
    farm.end(0);
    let spool = farm.folder.path().join("spool");
    let spool = format!("--spool={}", spool.display());
    let to = farm.to();
    let listen = free_udp_address(own_loopback());
    let start = |threads| Collector::start_router(listen, &[&to, &spool, "--down=spool", threads]);
    let router = start("--threads=3");
    let mut exporters: Vec<Exporter> = (0..9).map(|number| exporter(listen, number)).collect();
    for exporter in &mut exporters {
        exporter.send_many(20);
    }
    router.wait_for_stat("/total/waiting/datagrams", 180);
    let ended = router.end();
    assert!(
        ended.log.contains("180 datagrams wait for the next start"),
        "{}",
        ended.log
    );

    let router = start("--threads=2");
    router.wait_for_stat("/total/recovered/datagrams", 180);
    // Two cannot have the folder.
    let other = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["route", &to, &spool, "--down=spool", "--listen"])
        .arg(free_udp_address(own_loopback()).to_string())
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(said.contains("is another router's"), "{said}");
    for exporter in &mut exporters {
        exporter.send();
    }
    farm.start(0);
    router.wait_for_stat("/total/forwarded/datagrams", 189);
    check_books(&router);
    wait_for("all messages at the collector", || {
        (farm.messages() >= 189).then_some(())
    });
    assert_eq!(farm.missing(), 0);
    router.end();
    let found = once(&farm.finish().concat());
    assert_eq!(found.len() as u32, 189 * FLOWS);
    Ok(Completion::Completed)
}

pub(crate) fn from_its_own_address_it_needs_no_right_and_knows_who_refuses() {
    let farm = Farm::new(2);
    let copy = farm.write(
        "route.toml",
        &[0],
        &format!("[[route.copy]]\nto = '{}'\n", farm.addresses[1]),
    );
    let flag = format!("--config={}", copy.display());
    let router = Collector::start_router(
        free_udp_address(own_loopback()),
        &[&flag, "--source=own", "--threads=1"],
    );
    let mut exporter = exporter(router.address(), 1);
    exporter.send_many(40);
    wait_for("all messages at both", || {
        (farm.messages() >= 80).then_some(())
    });
    check_books(&router);
    assert_eq!(router.stat("/total/copied/datagrams"), 40);
    router.end();
    let flows = farm.finish();
    assert_eq!(once(&flows[0]), once(&flows[1]));
    assert!(flows[0].iter().all(|flow| *flow.exporter != *"127.0.7.1"));
}

pub(crate) fn without_the_right_to_forge_it_says_which() -> Outcome {
    let (None, Some(setpriv)) = (cannot_forge(), program("setpriv")) else {
        return needs::missing("there is no setpriv, or no right to give up");
    };
    let output = Command::new(setpriv)
        .args([
            "--bounding-set=-net_raw",
            "--inh-caps=-net_raw",
            env!("CARGO_BIN_EXE_forebay"),
        ])
        .args(["route", "--to=203.0.113.1:2055", "--listen"])
        .arg(free_udp_address(own_loopback()).to_string())
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for what in ["CAP_NET_RAW", "setcap cap_net_raw+ep", "--source own"] {
        assert!(said.contains(what), "{said}");
    }
    Ok(Completion::Completed)
}

pub(crate) fn garbage_is_counted_and_stops_nothing() {
    let farm = Farm::new(1);
    let listen = free_udp_address(own_loopback());
    let flags = [&farm.to(), "--source=own", "--fail-on-loss", "--log=json"];
    let router = Collector::start_router(listen, &flags);
    let socket = std::net::UdpSocket::bind((host(200), 0)).expect("loopback");
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for length in 0..50_u16 {
        for version in [0_u16, 5, 7, 9, 10, 11, 0xffff] {
            let mut payload = vec![0xff; usize::from(length)];
            let bytes = version.to_be_bytes();
            for (place, byte) in payload.iter_mut().zip(bytes) {
                *place = byte;
            }
            socket.send_to(&payload, listen).expect("sent");
            let end = match (length, version) {
                (0 | 1, _) => "too_short",
                (_, 5 | 9 | 10) => "forwarded",
                (_, 7) => "no_route",
                _ => "unknown_version",
            };
            *expected.entry(end).or_default() += 1;
        }
    }
    router.wait_for_stat("/total/received/datagrams", 350);
    check_books(&router);
    let forwarded = expected.remove("forwarded").expect("some were");
    assert_eq!(router.stat("/total/forwarded/datagrams"), forwarded);
    let rejected: u64 = expected.values().sum();
    for (reason, count) in expected {
        assert_eq!(
            router.stat(&format!("/total/rejected/{reason}")),
            count,
            "{reason}"
        );
    }
    let ended = router.end();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.log);
    let last = ended.log.lines().last().expect("a summary");
    let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(
        (&last["message"], &last["received"]),
        (&"ended".into(), &350.into())
    );
    assert_eq!(last["rejected"], rejected);
    farm.finish();
}
