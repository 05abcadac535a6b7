//! nfcapd as a collector of the generated traffic, and nfdump to read what it has stored.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use super::{Found, ICMP, Tuple};
use crate::collector::{free_udp_address, own_loopback};
use crate::support::wait_for;

/// A flow: exporter, addresses, ports, protocol, packets and bytes, and those of the reverse direction (RFC 5103).
const FLOW: &str = "fmt:%ra,%sa,%da,%sp,%dp,%pr,%ipkt,%ibyt,%opkt,%obyt";

/// One at work. It is killed when dropped.
pub(crate) struct Nfcapd {
    child: Child,
    files: PathBuf,
    address: SocketAddr,
}

impl Nfcapd {
    #[track_caller]
    pub(crate) fn start(program: &Path, folder: &Path) -> Self {
        let (files, log) = (folder.join("nfcapd"), folder.join("nfcapd.log"));
        fs::create_dir(&files).expect("a folder");
        let address = free_udp_address(own_loopback());
        let child = Command::new(program)
            .args(["-b", &address.ip().to_string()])
            .args(["-p", &address.port().to_string(), "-B", "8000000"])
            .arg("-w")
            .arg(&files)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("nfcapd starts");
        let started = Self {
            child,
            files,
            address,
        };
        wait_for("nfcapd to listen", || {
            let log = fs::read_to_string(&log).ok()?;
            log.contains("Startup").then_some(())
        });
        started
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it when it has taken what was sent: the folder of its files.
    #[track_caller]
    pub(crate) fn end(mut self) -> PathBuf {
        let terminate = format!("sleep 1; kill -TERM {}", self.child.id());
        let killed = Command::new("sh").args(["-c", &terminate]).status();
        assert!(killed.expect("sh starts").success());
        wait_for("nfcapd to end", || {
            self.child.try_wait().expect("its state is known")
        });
        self.files.clone()
    }
}

impl Drop for Nfcapd {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

pub(super) fn find(nfdump: &Path, files: &Path) -> Found {
    let mut found = Found::default();
    let stored = fs::read_dir(files).expect("a folder");
    for file in stored.map(|entry| entry.expect("listed").path()) {
        exporters(nfdump, &file, &mut found);
    }
    // In full length, without scaling, all of them.
    let arguments = ["-q", "-6", "-N", "-o", FLOW, "-R"];
    let told = told(Command::new(nfdump).args(arguments).arg(files));
    for line in told.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [
            exporter,
            from,
            to,
            source_port,
            destination_port,
            protocol,
            counts @ ..,
        ] = &fields[..]
        else {
            panic!("no flow: {line}");
        };
        let exporter: IpAddr = number(exporter, line);
        let protocol: u8 = number(protocol, line);
        let key = found.parts.keys().find(|(of, _)| *of == exporter);
        let &(_, version) = key.expect("an exporter that it told of");
        let part = found.part(exporter, version);
        let to_add = [
            &mut part.packets,
            &mut part.bytes,
            &mut part.reverse_packets,
            &mut part.reverse_bytes,
        ];
        assert_eq!(counts.len(), to_add.len(), "{line}");
        for (sum, count) in to_add.into_iter().zip(counts) {
            *sum += number::<u64>(count, line);
        }
        // It writes ICMP's type and code with a point between.
        let port = |port| match protocol {
            of if ICMP.contains(&of) => 0,
            _ => number(port, line),
        };
        found.tuples.insert(Tuple::new(
            [from, to].map(|address| number(address, line)),
            [port(source_port), port(destination_port)],
            protocol,
        ));
    }
    found
}

/// Takes what it says of each exporter: `SysID: 1, IP: 127.0.0.1, version: 9, ID: 0, …, packets: 105, flows: 1747`. Packets
/// are datagrams.
fn exporters(nfdump: &Path, file: &Path, found: &mut Found) {
    let told = told(Command::new(nfdump).arg("-E").arg(file));
    for line in told.lines().filter(|line| line.starts_with("SysID:")) {
        let value = |name: &str| {
            let mut pairs = line.split(',').filter_map(|pair| pair.split_once(':'));
            let found = pairs.find(|(of, _)| of.trim() == name);
            found.map_or("", |(_, value)| value.trim())
        };
        let part = found.part(number(value("IP"), line), number(value("version"), line));
        part.datagrams += number::<u64>(value("packets"), line);
        part.flows += number::<u64>(value("flows"), line);
    }
}

#[track_caller]
fn told(command: &mut Command) -> String {
    let output = command.output().expect("nfdump starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn number<T: FromStr>(text: &str, line: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no number or address: {line}"))
}
