//! A recording at work: what was sent is in the files, from where it came, and what is not was counted.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use forebay_replay::generate::{GenerateConfig, Generator};
use forebay_udp::capture::{CaptureReader, CaptureWriter};
use forebay_udp::{Datagram, Sender};
use libtest_mimic::Completion;

use crate::Outcome;
use crate::collector::{free_udp_address, generate, own_loopback};
use crate::needs;
use crate::route_network::spaces::{self, FAR, Space, join};
use crate::support::{self, files, name, program, wait_for};

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");

/// A recording as a process. One that is dropped is killed.
struct Recording {
    child: Child,
    log: PathBuf,
}

impl Recording {
    /// Starts one, and waits until it takes datagrams.
    #[track_caller]
    fn start(mut command: Command, folder: &Path, output: &Path, flags: &[&str]) -> Self {
        let log = folder.join(format!("{}.log", name(output)));
        let child = command
            .args(["record", "--output"])
            .arg(output)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("it starts");
        let mut started = Self { child, log };
        wait_for("the recording to begin", || {
            let ended = started.child.try_wait().expect("its state is known");
            assert!(ended.is_none(), "{}", started.log());
            started.log().contains(", writing to ").then_some(())
        });
        started
    }

    fn here(folder: &Path, output: &Path, flags: &[&str]) -> Self {
        Self::start(Command::new(FOREBAY), folder, output, flags)
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    fn signal(&self, signal: &str) {
        support::signal(&self.child, signal);
    }

    /// Ends it: its exit code and its last line.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        self.signal("INT");
        let status = wait_for("the recording to end", || {
            self.child.try_wait().expect("its state is known")
        });
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        let last = log.lines().last().unwrap_or_default().to_owned();
        (status.code(), last)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A datagram, by where it came from and went to.
type Seen = (SocketAddr, SocketAddr, Vec<u8>);

fn read(path: &Path) -> Vec<Seen> {
    let mut capture = CaptureReader::open(path).expect("a capture");
    let mut seen = Vec::new();
    while let Some(datagram) = capture.next().expect("it is whole") {
        seen.push((
            datagram.source,
            datagram.destination,
            datagram.payload.to_vec(),
        ));
    }
    seen
}

/// Sends generated messages of a few exporters: what was sent, in its order.
fn send(target: SocketAddr, flows: u64, seed: u64) -> Vec<Seen> {
    let config = GenerateConfig {
        exporters: 6,
        flows,
        seed,
        ..GenerateConfig::default()
    };
    let mut generator = Generator::new(config).expect("it can be generated");
    let mut senders: Vec<Sender> = (0..6)
        .map(|host| {
            let from = Ipv4Addr::new(127, 9, seed as u8, host + 1);
            Sender::bind((from, 0).into(), target).expect("loopback")
        })
        .collect();
    let mut payload = Vec::new();
    let mut sent = Vec::new();
    while let Some(message) = generator.next_message(&mut payload) {
        let sender = &mut senders[message.exporter];
        assert_eq!(sender.send(&[payload.as_slice()]).expect("sent"), 1);
        let from = sender.local_address().expect("bound");
        sent.push((from, target, payload.clone()));
    }
    sent
}

pub(crate) fn what_is_sent_is_recorded_from_where_it_came() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (output, seed) in [
        ("a.pcap", 1),
        ("b.pcapng", 2),
        ("c.pcap.zst", 3),
        ("d.pcapng.zst", 4),
    ] {
        let output = folder.path().join(output);
        let one = free_udp_address(own_loopback());
        // Of every address: the one that was sent to is recorded all the same.
        let every = free_udp_address(Ipv4Addr::UNSPECIFIED.into());
        let flags = [format!("--listen={one}"), format!("--listen={every}")];
        let flags = flags.each_ref().map(String::as_str);
        let recording = Recording::here(folder.path(), &output, &flags);
        let mut sent = send(one, 5_000, seed);
        sent.extend(send(
            SocketAddr::new(own_loopback(), every.port()),
            5_000,
            seed,
        ));
        assert!(!output.exists(), "not before it is whole");
        let (code, last) = recording.end();
        assert_eq!(code, Some(0), "{last}");
        assert!(last.ends_with("in 1 file; nothing lost"), "{last}");
        // The sockets take turns: the order is that of each exporter.
        let [mut sent, mut found] = [sent, read(&output)].map(|all| {
            let of = |port: u16| {
                all.iter()
                    .filter(move |seen| seen.1.port() == port)
                    .cloned()
            };
            [
                of(one.port()).collect::<Vec<_>>(),
                of(every.port()).collect(),
            ]
        });
        assert!(sent == found, "{}", output.display());
        let count = sent
            .iter_mut()
            .chain(&mut found)
            .map(|of| of.len())
            .sum::<usize>()
            / 2;
        assert!(
            last.starts_with(&format!("{count} datagrams recorded")),
            "{last}"
        );
    }
}

pub(crate) fn files_follow_each_other_whole_and_the_oldest_go() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("captures/x.pcapng");
    fs::create_dir(folder.path().join("captures")).expect("a folder");
    let target = free_udp_address(own_loopback());
    let listen = format!("--listen={target}");
    let flags = [
        listen.as_str(),
        "--rotate-count=50",
        "--rotate=1h",
        "--retain=4",
    ];
    let recording = Recording::here(folder.path(), &output, &flags);
    let mut sent = send(target, 12_000, 1);
    let whole = || {
        let mut all = files(&folder.path().join("captures"));
        all.retain(|path| !name(path).starts_with('.'));
        all
    };
    // A hangup begins another file.
    wait_for("files", || (whole().len() == 4).then_some(()));
    let before = whole();
    std::thread::sleep(Duration::from_millis(300));
    recording.signal("HUP");
    wait_for("another file", || (whole() != before).then_some(()));
    sent.extend(send(target, 2_000, 2));
    let (code, last) = recording.end();
    assert_eq!(code, Some(0), "{last}");
    assert!(
        last.contains("removed by retention; nothing lost"),
        "{last}"
    );
    let left = files(&folder.path().join("captures"));
    assert_eq!(left.len(), 4, "{left:?}");
    let each: Vec<Vec<Seen>> = left.iter().map(|path| read(path)).collect();
    assert!(each.iter().all(|of| (1..=50).contains(&of.len())));
    let found = each.concat();
    assert!(sent.ends_with(&found), "the last ones, in order");
}

pub(crate) fn what_the_kernel_drops_is_counted_and_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("x.pcapng");
    let target = free_udp_address(own_loopback());
    let listen = format!("--listen={target}");
    let flags = [listen.as_str(), "--receive-buffer=64KiB", "--fail-on-loss"];
    let recording = Recording::here(folder.path(), &output, &flags);
    let first = send(target, 500, 1).len();
    // A recorder that is held up drops.
    recording.signal("STOP");
    let second = send(target, 50_000, 2).len();
    recording.signal("CONT");
    let (code, last) = recording.end();
    assert_eq!(code, Some(3), "{last}");
    let sent = (first + second) as u64;
    let recorded = read(&output).len() as u64;
    assert!(recorded >= first as u64 && recorded < sent);
    assert_eq!(statistics(&output), (sent, sent - recorded));
    assert!(last.contains("datagrams dropped here"), "{last}");
    let digits = |text: &str| text.replace(',', "");
    assert!(
        digits(&last).contains(&format!(
            "({sent} received = {recorded} recorded + {} dropped)",
            sent - recorded
        )),
        "{last}"
    );
}

/// Received and dropped, as the statistics that the file ends with say.
fn statistics(path: &Path) -> (u64, u64) {
    let mut file = Vec::new();
    let opened = File::open(path).expect("a file");
    { opened }.read_to_end(&mut file).expect("it is read");
    let block = &file[file.len() - 88..];
    assert_eq!(block[..8], [5, 0, 0, 0, 88, 0, 0, 0]);
    let value = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("8 bytes"));
    (value(48), value(60))
}

pub(crate) fn a_recording_in_mid_stream_is_primed_by_the_one_before() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = generate(
        folder.path(),
        "whole.pcap",
        &["--exporters=6", "--flows=20k", "--versions=9,10"],
    );
    let (before, after) = (
        folder.path().join("before.pcap"),
        folder.path().join("after.pcap"),
    );
    let target = free_udp_address(own_loopback());
    let listen = format!("--listen={target}");
    let all = read(&whole);
    let (early, late) = all.split_at(all.len() / 2);
    let mut senders: Vec<(SocketAddr, Sender)> = Vec::new();
    let mut replay = |datagrams: &[Seen]| {
        for (source, _, payload) in datagrams {
            let index = senders.iter().position(|(of, _)| of == source);
            let index = index.unwrap_or_else(|| {
                let sender = Sender::bind((source.ip(), 0).into(), target).expect("loopback");
                senders.push((*source, sender));
                senders.len() - 1
            });
            assert_eq!(senders[index].1.send(&[payload]).expect("sent"), 1);
        }
    };
    let recording = Recording::here(folder.path(), &before, &[&listen]);
    replay(early);
    assert_eq!(recording.end().0, Some(0));
    let prime = format!("--prime={}", before.display());
    let recording = Recording::here(folder.path(), &after, &[&listen, &prime]);
    replay(late);
    let (code, last) = recording.end();
    assert_eq!(code, Some(0), "{last}");
    assert!(last.contains(" put in; nothing lost"), "{last}");
    // Its own payloads are as they were sent, and what is more makes the collector find every flow, and no gap.
    let found = read(&after);
    let put_in = found.len() - late.len();
    assert!(put_in >= 6, "{put_in}");
    is_whole_by_itself(&after);

    // So does each file of a rotation, by what was recorded before it.
    let parts = folder.path().join("parts");
    fs::create_dir(&parts).expect("a folder");
    let flags = [&listen, &prime, "--rotate-count=150"];
    let recording = Recording::here(folder.path(), &parts.join("x.pcapng.zst"), &flags);
    replay(late);
    let (code, last) = recording.end();
    assert_eq!(code, Some(0), "{last}");
    let parts = files(&parts);
    assert!(parts.len() > 2, "{parts:?}");
    for part in parts {
        is_whole_by_itself(&part);
    }
}

/// The collector finds every flow of a capture, and no gap.
#[track_caller]
fn is_whole_by_itself(capture: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let collected = Command::new(FOREBAY)
        .args(["collect", "--fail-on-loss", "--read"])
        .arg(capture)
        .arg("--output")
        .arg(folder.path().join("flows"))
        .output()
        .expect("the collector starts");
    let said = String::from_utf8_lossy(&collected.stderr);
    assert_eq!(collected.status.code(), Some(0), "{said}");
    assert!(said.contains("nothing lost"), "{said}");
}

pub(crate) fn tshark_reads_it_without_complaint() -> Outcome {
    for needed in ["tshark", "capinfos"] {
        if program(needed).is_none() {
            return needs::missing(format!("there is no {needed}"));
        }
    }
    let folder = tempfile::tempdir()?;
    for (output, seed) in [("a.pcap", 11), ("b.pcapng", 12), ("c.pcapng.zst", 13)] {
        let output = folder.path().join(output);
        let target = free_udp_address(own_loopback());
        let listen = format!("--listen={target}");
        let recording = Recording::here(folder.path(), &output, &[&listen]);
        let sent = send(target, 3_000, seed).len();
        assert_eq!(recording.end().0, Some(0));
        let tshark = Command::new("tshark")
            .args(["-n", "-r"])
            .arg(&output)
            .args([
                "-o",
                "udp.check_checksum:TRUE",
                "-o",
                "ip.check_checksum:TRUE",
            ])
            .args(["-d", &format!("udp.port=={},cflow", target.port())])
            .args(["-T", "fields", "-e", "ip.checksum.status"])
            .args([
                "-e",
                "udp.checksum.status",
                "-e",
                "_ws.malformed",
                "-e",
                "cflow.version",
            ])
            .output()?;
        let said = String::from_utf8_lossy(&tshark.stderr);
        assert!(tshark.status.success(), "{said}");
        assert!(
            !said.contains("cut short") && !said.contains("damaged"),
            "{said}"
        );
        let text = String::from_utf8_lossy(&tshark.stdout);
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            assert!(
                matches!(fields[..], ["1", "1", "", "5" | "9" | "10"]),
                "{line}"
            );
        }
        assert_eq!(text.lines().count(), sent);
        let capinfos = Command::new("capinfos").arg(&output).output()?;
        assert!(capinfos.status.success());
        let text = String::from_utf8_lossy(&capinfos.stdout);
        assert!(text.contains("nanoseconds (9)"), "{text}");
    }
    Ok(Completion::Completed)
}

pub(crate) fn off_the_wire_in_another_network() -> Outcome {
    for needed in ["ip", "nsenter", "tcpreplay"] {
        if program(needed).is_none() {
            return needs::missing(format!("there is no {needed}"));
        }
    }
    if let Some(why) = spaces::missing() {
        return needs::missing(why);
    }
    let folder = tempfile::tempdir()?;
    let (near, far) = (Space::new(), Space::new());
    let ends = ["10.7.0.1", "10.7.0.2"].map(|end| end.parse().expect("an address"));
    join(&near, "near", &[ends[0]], &far, &[ends[1]]);
    let frames = folder.path().join("frames.pcap");
    let sent = write_frames(&frames);
    // Some more that the filter must leave out is in it.
    let wanted: Vec<Seen> = sent
        .into_iter()
        .filter(|seen| seen.1.port() == 2055)
        .collect();
    for output in ["ring.pcapng", "ring.pcap.zst"] {
        let output = folder.path().join(output);
        let recording = Recording::start(
            far.command(FOREBAY),
            folder.path(),
            &output,
            &["--interface", FAR, "--listen=2055"],
        );
        let replayed = near
            .command("tcpreplay")
            .args(["--quiet", "--pps=2000", "-i", "near"])
            .arg(&frames)
            .output()?;
        let said = String::from_utf8_lossy(&replayed.stderr);
        assert!(replayed.status.success(), "{said}");
        let (code, last) = recording.end();
        assert_eq!(code, Some(0), "{last}");
        assert!(last.ends_with("in 1 file; nothing lost"), "{last}");
        let mut found = read(&output);
        // IPv4 and IPv6 come from rings of their own: order is within each.
        let mut expected = wanted.clone();
        found.sort_by_key(|seen| seen.0.is_ipv6());
        expected.sort_by_key(|seen| seen.0.is_ipv6());
        assert!(found == expected, "{} of {}", found.len(), expected.len());
    }
    // Held up, with a small ring, it drops; and says so.
    let output = folder.path().join("small.pcapng");
    let recording = Recording::start(
        far.command(FOREBAY),
        folder.path(),
        &output,
        &[
            "--interface",
            FAR,
            "--listen=0.0.0.0:2055",
            "--ring-size=512KiB",
        ],
    );
    recording.signal("STOP");
    let loops = 40;
    let replayed = near
        .command("tcpreplay")
        .args([
            "--quiet",
            "--pps=20000",
            "--loop",
            &loops.to_string(),
            "-i",
            "near",
        ])
        .arg(&frames)
        .output()?;
    assert!(replayed.status.success());
    recording.signal("CONT");
    let (code, last) = recording.end();
    assert_eq!(code, Some(0), "{last}");
    let ipv4 = wanted.iter().filter(|seen| seen.0.is_ipv4()).count() as u64 * loops;
    let recorded = read(&output).len() as u64;
    assert!(recorded < ipv4, "{recorded} of {ipv4}");
    assert_eq!(statistics(&output), (ipv4, ipv4 - recorded));
    Ok(Completion::Completed)
}

/// Writes messages of exporters of both families as Ethernet frames, some to another port.
fn write_frames(path: &Path) -> Vec<Seen> {
    let config = GenerateConfig {
        exporters: 8,
        flows: 10_000,
        ..GenerateConfig::default()
    };
    let mut generator = Generator::new(config).expect("it can be generated");
    let mut capture = CaptureWriter::new("memory", Vec::new()).expect("memory");
    let mut payload = Vec::new();
    let mut sent = Vec::new();
    while let Some(message) = generator.next_message(&mut payload) {
        let host = message.exporter as u8 + 1;
        let port = if message.exporter == 7 { 2056 } else { 2055 };
        let (source, destination): (IpAddr, IpAddr) = if host.is_multiple_of(2) {
            let address = |network, host| IpAddr::from([0x2001, 0xdb8, network, 0, 0, 0, 0, host]);
            (address(1, host.into()), address(2, 1))
        } else {
            (
                IpAddr::from([192, 0, 2, host]),
                IpAddr::from([198, 51, 100, 1]),
            )
        };
        let datagram = Datagram {
            source: SocketAddr::new(source, 50_000 + u16::from(host)),
            destination: SocketAddr::new(destination, port),
            received_ns: message.at_ns,
            payload: &payload,
        };
        capture.write(&datagram).expect("it fits");
        sent.push((datagram.source, datagram.destination, payload.clone()));
    }
    let raw = capture.finish().expect("memory");
    // The same with link type Ethernet, and to everyone.
    let (header, mut records) = raw.split_at(24);
    let mut framed = header.to_vec();
    framed[20..24].copy_from_slice(&1_u32.to_le_bytes());
    while !records.is_empty() {
        let length = u32::from_le_bytes(records[8..12].try_into().expect("4 bytes"));
        let (record, rest) = records.split_at(16 + length as usize);
        framed.extend(&record[..8]);
        framed.extend([length + 14; 2].map(u32::to_le_bytes).concat());
        framed.extend([0xff; 6]);
        framed.extend([2, 0, 0, 0, 0, 1]);
        framed.extend(if record[16] >> 4 == 6 {
            [0x86, 0xdd]
        } else {
            [8, 0]
        });
        framed.extend(&record[16..]);
        records = rest;
    }
    fs::write(path, framed).expect("a file");
    sent
}

pub(crate) fn a_port_that_is_taken_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = UdpSocket::bind((own_loopback(), 0)).expect("a port is free");
    let listen = taken.local_addr().expect("bound").to_string();
    let refused = Command::new(FOREBAY)
        .args(["record", "--listen", &listen, "--output"])
        .arg(folder.path().join("x.pcap"))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&listen) && said.contains("in use"), "{said}");
    assert!(files(folder.path()).is_empty(), "nothing is left behind");
}
