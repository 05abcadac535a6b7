//! Collectors of others, and ours, behind the router: each exporter's totals are those that they find without it.
//!
//! Captures are sent over loopback from the exporters' own addresses, once to one collector and once to a router in
//! front of two.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use forebay_udp::capture::CaptureReader;
use forebay_udp::{Outgoing, RawSender};
use libtest_mimic::Completion;

use crate::Outcome;
use crate::collector::{Collector, free_udp_address, generate, own_loopback};
use crate::flows::stored;
use crate::needs;
use crate::support::{program, wait_for};

/// Datagrams that are sent at once, and how long it is waited until the next.
const BURST: usize = 8;
const PAUSE: Duration = Duration::from_millis(2);
/// Bytes that may wait in a socket before more is sent: small socket buffers hold that, and a burst.
const QUEUED: u64 = 64 << 10;

/// What a collector has of an exporter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    flows: u64,
    packets: u64,
    bytes: u64,
}

/// By the exporter's address.
type Totals = BTreeMap<String, Sums>;

/// A datagram of a capture.
struct Sent {
    source: SocketAddr,
    payload: Vec<u8>,
}

/// A collector at work.
trait Sink {
    fn address(&self) -> SocketAddr;
    /// Ends it, and returns what it has.
    fn end(self: Box<Self>) -> Totals;
}

pub(crate) fn nfcapd() -> Outcome {
    let (Some(nfcapd), Some(nfdump)) = (program("nfcapd"), program("nfdump")) else {
        return needs::missing("nfdump is not installed");
    };
    totals_are_the_same(&|folder| Box::new(Nfcapd::start(&nfcapd, &nfdump, folder)))
}

pub(crate) fn nfacctd() -> Outcome {
    let Some(nfacctd) = program("nfacctd") else {
        return needs::missing("nfacctd (pmacct) is not installed");
    };
    totals_are_the_same(&|folder| Box::new(Nfacctd::start(&nfacctd, folder)))
}

pub(crate) fn collect() -> Outcome {
    totals_are_the_same(&|folder| Box::new(Ours::start(folder)))
}

fn totals_are_the_same(start: &dyn Fn(&Path) -> Box<dyn Sink>) -> Outcome {
    if let Err(error) = RawSender::open() {
        return needs::missing(error.to_string());
    }
    let folder = tempfile::tempdir()?;
    let flags = [
        "--exporters=30",
        "--flows=20000",
        "--first-exporter=10.77.0.1",
    ];
    let generated = generate(folder.path(), "generated.pcap", &flags);
    let mut runs = vec![("generated", read(&[generated]))];
    if let Some(corpus) = std::env::var_os("FOREBAY_CORPUS") {
        runs.push(("corpus", read(&captures(Path::new(&corpus)))));
    }
    for (name, datagrams) in runs {
        let place = |what: &str| {
            let place = folder.path().join(format!("{name}-{what}"));
            fs::create_dir(&place).expect("a folder");
            place
        };
        let alone = start(&place("alone"));
        send(&datagrams, alone.address(), &[]);
        let expected = alone.end();
        assert!(expected.len() > 10, "{name}: {expected:?}");

        let sinks = [start(&place("first")), start(&place("second"))];
        let behind: Vec<SocketAddr> = sinks.iter().map(|sink| sink.address()).collect();
        let addresses: Vec<String> = behind.iter().map(ToString::to_string).collect();
        let to = format!("--to={}", addresses.join(","));
        let listen = free_udp_address(own_loopback());
        let router = Collector::start_router(listen, &[&to, "--hash=xxh3", "--threads=2"]);
        send(&datagrams, router.address(), &behind);
        router.wait_for_stat("/total/forwarded/datagrams", datagrams.len() as u64);
        let ended = router.end();
        assert!(ended.log.contains("nothing lost"), "{}", ended.log);

        let mut found = Totals::new();
        for sink in sinks {
            let totals = sink.end();
            // Each has some of the exporters, and all of them.
            assert!(!totals.is_empty() && totals.len() < expected.len());
            for (exporter, sums) in totals {
                assert_eq!(
                    found.insert(exporter.clone(), sums),
                    None,
                    "{exporter} twice"
                );
            }
        }
        assert_eq!(found, expected, "{name}");
    }
    Ok(Completion::Completed)
}

/// `balance` finds by the status of a router, and of the collector behind it, what it finds in the capture.
pub(crate) fn balance() -> Outcome {
    if let Err(error) = RawSender::open() {
        return needs::missing(error.to_string());
    }
    let folder = tempfile::tempdir()?;
    let flags = [
        "--exporters=20",
        "--flows=5000",
        "--first-exporter=10.78.0.1",
    ];
    let capture = generate(folder.path(), "generated.pcap", &flags);
    let datagrams = read(std::slice::from_ref(&capture));
    let collector = Collector::start(&folder.path().join("flows"), &["--rotate=1h"]);
    let to = format!("--to={}", collector.address());
    let router = Collector::start_router(free_udp_address(own_loopback()), &[&to]);
    send(&datagrams, router.address(), &[collector.address()]);
    collector.wait_for_stat("/total/datagrams", datagrams.len() as u64);

    let found = |input: &str| -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["balance", "--json", input])
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let of_capture = found(capture.to_str().expect("UTF-8"));
    let of_collector = found(&format!("http://{}", collector.http()));
    // Threads publish what they count from time to time.
    let of_router = wait_for("all datagrams in the router's status", || {
        let of_router = found(&format!("http://{}", router.http()));
        let datagrams = &of_router["total"]["datagrams"];
        (*datagrams == of_capture["total"]["datagrams"]).then_some(of_router)
    });
    assert_eq!(of_capture["exporters"], 20);
    assert_eq!(of_collector["total"], of_capture["total"]);
    // A router does not look at records.
    assert_eq!(of_router["measure"], "datagrams");
    for measure in ["datagrams", "bytes"] {
        assert_eq!(of_router["total"][measure], of_capture["total"][measure]);
        for split in [0, 7] {
            let imbalance = |found: &serde_json::Value, split: usize| {
                found["splits"][split]["imbalance"][measure].as_f64()
            };
            let expected = imbalance(&of_capture, split);
            assert!(expected >= Some(1.0));
            assert_eq!(imbalance(&of_router, split), expected);
            assert_eq!(imbalance(&of_collector, split), expected);
        }
    }
    Ok(Completion::Completed)
}

/// The captures that decoders are held against.
fn captures(corpus: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus).expect("FOREBAY_CORPUS is a folder");
    let mut captures: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it is listed").path())
        .filter(|path| path.extension().is_some_and(|is| is == "pcap"))
        .collect();
    captures.sort();
    captures
}

/// The messages in captures: of the versions that a router takes unless it is told otherwise.
fn read(captures: &[PathBuf]) -> Vec<Sent> {
    let mut datagrams = Vec::new();
    for path in captures {
        let mut capture = CaptureReader::open(path).expect("a capture");
        while let Some(datagram) = capture.next().expect("it is whole") {
            let version = datagram
                .payload
                .first_chunk()
                .map(|v| u16::from_be_bytes(*v));
            if matches!(version, Some(5 | 9 | 10)) && datagram.source.is_ipv4() {
                datagrams.push(Sent {
                    source: datagram.source,
                    payload: datagram.payload.to_vec(),
                });
            }
        }
    }
    datagrams
}

/// Sends datagrams from the addresses that they came from, no faster than those at `destination` and `behind` it read.
fn send(datagrams: &[Sent], destination: SocketAddr, behind: &[SocketAddr]) {
    let mut sender = RawSender::open().expect("it was tried");
    for burst in datagrams.chunks(BURST) {
        let outgoing: Vec<Outgoing<'_>> = burst
            .iter()
            .map(|sent| Outgoing {
                source: sent.source,
                destination,
                payload: &sent.payload,
            })
            .collect();
        sender.send(&outgoing, |_, error| panic!("it is not sent: {error}"));
        thread::sleep(PAUSE);
        for address in behind.iter().chain([&destination]) {
            wait_for("what was sent to be read", || {
                (queued(*address) <= Some(QUEUED)).then_some(())
            });
        }
    }
}

/// Bytes that wait in the socket at an IPv4 address of this machine, proc(5). `None` where there is no socket.
fn queued(address: SocketAddr) -> Option<u64> {
    let IpAddr::V4(ip) = address.ip() else {
        return None;
    };
    let ip = u32::from_ne_bytes(ip.octets());
    let local = format!("{ip:08X}:{:04X}", address.port());
    let sockets = fs::read_to_string("/proc/net/udp").expect("proc(5)");
    let of_thread = sockets.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        (fields.next()? == local).then_some(())?;
        let (_, queued) = fields.nth(2)?.split_once(':')?;
        u64::from_str_radix(queued, 16).ok()
    });
    of_thread.max()
}

/// Ends a program that says nothing of how far it is: what it has read it is given a moment to count.
fn end(child: &mut Child, address: SocketAddr, signal: &str) {
    wait_for("all to be read", || {
        (queued(address) == Some(0)).then_some(())
    });
    let kill = format!("sleep 1; kill -{signal} {}", child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    assert!(killed.expect("sh starts").success());
    wait_for("it to end", || {
        child.try_wait().expect("its state is known")
    });
}

/// A program that is killed if the test ends before it.
struct Running(Child);

impl Running {
    /// Starts a program that is ready when its log, at `log`, says `ready`, and it listens at `address`.
    fn start(command: &mut Command, address: SocketAddr, log: &Path, ready: &str) -> Self {
        let file = File::create(log).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("it starts");
        let running = Self(child);
        wait_for("it to listen", || {
            fs::read_to_string(log)
                .ok()?
                .contains(ready)
                .then_some(())?;
            queued(address).map(drop)
        });
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

struct Nfcapd {
    running: Running,
    address: SocketAddr,
    files: PathBuf,
    nfdump: PathBuf,
}

impl Nfcapd {
    fn start(nfcapd: &Path, nfdump: &Path, folder: &Path) -> Self {
        let files = folder.join("files");
        fs::create_dir(&files).expect("a folder");
        let address = free_udp_address(own_loopback());
        let mut command = Command::new(nfcapd);
        command
            .args(["-b", &address.ip().to_string()])
            .args(["-p", &address.port().to_string(), "-B", "8000000"])
            .arg("-w")
            .arg(&files);
        Self {
            running: Running::start(&mut command, address, &folder.join("log"), "Startup"),
            address,
            files,
            nfdump: nfdump.to_owned(),
        }
    }
}

impl Sink for Nfcapd {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn end(mut self: Box<Self>) -> Totals {
        end(&mut self.running.0, self.address, "TERM");
        let output = Command::new(&self.nfdump)
            .arg("-R")
            .arg(&self.files)
            .args(["-q", "-N", "-o", "fmt:%ra;%pkt;%byt"])
            .output()
            .expect("nfdump starts");
        let told = String::from_utf8(output.stdout).expect("UTF-8");
        let mut totals = Totals::new();
        for line in told.lines().filter(|line| line.contains(';')) {
            let cells: Vec<&str> = line.split(';').map(str::trim).collect();
            let [exporter, packets, bytes] = cells[..] else {
                panic!("{line}");
            };
            let sums = totals.entry(exporter.to_owned()).or_default();
            sums.flows += 1;
            sums.packets += packets.parse::<u64>().expect(line);
            sums.bytes += bytes.parse::<u64>().expect(line);
        }
        totals
    }
}

struct Nfacctd {
    running: Running,
    address: SocketAddr,
    output: PathBuf,
}

impl Nfacctd {
    fn start(nfacctd: &Path, folder: &Path) -> Self {
        let address = free_udp_address(own_loopback());
        let (output, pid) = (folder.join("output.csv"), folder.join("pid"));
        let text = format!(
            "daemonize: false\n\
             nfacctd_ip: {}\n\
             nfacctd_port: {}\n\
             nfacctd_pipe_size: 8000000\n\
             pidfile: {}\n\
             plugins: print\n\
             aggregate: peer_src_ip, flows\n\
             print_output: csv\n\
             print_output_file: {}\n\
             print_refresh_time: 3600\n",
            address.ip(),
            address.port(),
            pid.display(),
            output.display()
        );
        let configuration = folder.join("nfacctd.conf");
        fs::write(&configuration, text).expect("a configuration");
        let mut command = Command::new(nfacctd);
        command.arg("-f").arg(configuration);
        Self {
            running: Running::start(&mut command, address, &folder.join("log"), "cache entries"),
            address,
            output,
        }
    }
}

impl Sink for Nfacctd {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn end(mut self: Box<Self>) -> Totals {
        end(&mut self.running.0, self.address, "INT");
        // Its writer is a process of its own, and has the lines in a buffer until it ends.
        let told = wait_for("its totals", || {
            let told = fs::read_to_string(&self.output).ok()?;
            told.lines().nth(1)?;
            told.ends_with('\n').then_some(told)
        });
        let mut totals = Totals::new();
        for line in told.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let [exporter, packets, flows, bytes] = cells[..] else {
                panic!("{line}");
            };
            let number = |text: &str| text.parse::<u64>().expect(line);
            let sums = Sums {
                flows: number(flows),
                packets: number(packets),
                bytes: number(bytes),
            };
            totals.insert(exporter.to_owned(), sums);
        }
        totals
    }
}

struct Ours {
    collector: Collector,
    dataset: PathBuf,
}

impl Ours {
    fn start(folder: &Path) -> Self {
        let dataset = folder.join("flows");
        Self {
            collector: Collector::start(&dataset, &["--rotate=1h"]),
            dataset,
        }
    }
}

impl Sink for Ours {
    fn address(&self) -> SocketAddr {
        self.collector.address()
    }

    fn end(self: Box<Self>) -> Totals {
        // It takes what is in its sockets before it ends.
        let ended = self.collector.end();
        assert!(!ended.log.contains("dropped here"), "{}", ended.log);
        let mut totals = Totals::new();
        for flow in stored(&self.dataset) {
            let sums = totals.entry(flow.exporter.to_string()).or_default();
            sums.flows += 1;
            sums.packets += flow.packets.unwrap_or(0);
            sums.bytes += flow.bytes.unwrap_or(0);
        }
        totals
    }
}
