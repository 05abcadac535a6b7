//! Where generated traffic goes: capture files and sockets.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use forebay_replay::generate::{
    GenerateConfig, Generator, Pace, Prepared, Progress, SendError, Sent, Truth, to_capture,
    to_socket,
};
use forebay_replay::{Filter, Recording};
use forebay_udp::capture::CaptureReader;

static NEVER: AtomicBool = AtomicBool::new(false);

fn config() -> GenerateConfig {
    GenerateConfig {
        exporters: 12,
        flows: 5000,
        ..GenerateConfig::default()
    }
}

/// Each message: which exporter's, when, and the payload.
fn messages(config: GenerateConfig) -> Vec<(usize, u64, Vec<u8>)> {
    let mut generator = Generator::new(config).unwrap();
    let mut payload = Vec::new();
    let mut messages = Vec::new();
    while let Some(message) = generator.next_message(&mut payload) {
        messages.push((message.exporter, message.at_ns, payload.clone()));
    }
    messages
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_capture_holds_the_messages_and_the_truth_lies_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("traffic.pcap");
    let mut progress = Vec::new();
    let truth = to_capture(config(), &path, &NEVER, &mut |done| progress.push(*done)).unwrap();

    assert_eq!(
        names(directory.path()),
        ["traffic.pcap", "traffic.pcap.truth.json"]
    );
    let json = fs::read(directory.path().join("traffic.pcap.truth.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Truth>(&json).unwrap(), truth);

    let mut capture = CaptureReader::open(&path).unwrap();
    let messages = messages(config());
    for (exporter, at_ns, payload) in &messages {
        let datagram = capture.next().unwrap().unwrap();
        assert_eq!(datagram.payload, payload);
        assert_eq!(datagram.received_ns, *at_ns);
        assert_eq!(datagram.source, truth.exporters[*exporter].source);
        assert_eq!(datagram.destination, "127.0.0.1:2055".parse().unwrap());
    }
    assert_eq!(capture.next().unwrap(), None);
    assert_eq!(truth.total.datagrams, messages.len() as u64);
    let done = Progress {
        datagrams: messages.len() as u64,
        flows: 5000,
        of_flows: 5000,
    };
    assert_eq!(progress.last(), Some(&done));
}

#[test]
fn the_name_says_what_the_capture_is() {
    let directory = tempfile::tempdir().unwrap();
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const PCAP: [u8; 4] = 0xa1b2_3c4d_u32.to_le_bytes();
    const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
    for (name, begins) in [
        ("a.pcap", PCAP),
        ("a", PCAP),
        ("a.pcapng", PCAPNG),
        ("a.pcap.zst", ZSTD),
        ("a.pcapng.zst", ZSTD),
        ("a.zst", ZSTD),
    ] {
        let path = directory.path().join(name);
        to_capture(config(), &path, &NEVER, &mut |_| ()).unwrap();
        let file = fs::read(&path).unwrap();
        assert_eq!(file[..4], begins, "{name}");
        if begins == ZSTD {
            let kind = zstd::decode_all(&file[..]).unwrap();
            let expected = if name.contains("pcapng") {
                PCAPNG
            } else {
                PCAP
            };
            assert_eq!(kind[..4], expected, "{name}");
        }
        let recording = Recording::open(&path, &Filter::default()).unwrap();
        assert_eq!(recording.flows(), config().flows, "{name}");
        assert!(recording.torn().is_none());
    }
}

#[test]
fn a_capture_that_cannot_be_written_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // A directory is in the way of the truth's name.
    let path = directory.path().join("a");
    let taken = directory.path().join("a.truth.json");
    fs::create_dir(&taken).unwrap();
    let error = to_capture(config(), &path, &NEVER, &mut |_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("cannot write {}: ", taken.display())),
        "{error}"
    );
    assert_eq!(names(directory.path()), ["a.truth.json"]);

    let path = directory.path().join("missing/traffic.pcap");
    let error = to_capture(config(), &path, &NEVER, &mut |_| ())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot create capture "), "{error}");
}

#[test]
fn what_is_no_file_is_not_replaced_by_a_capture() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    // As a device or a pipe would be.
    let socket = directory.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for path in [folder, socket] {
        let error = to_capture(config(), &path, &NEVER, &mut |_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains("is there and is no file"), "{error}");
        assert!(!fs::metadata(&path).unwrap().is_file());
    }
    assert_eq!(names(directory.path()), ["folder", "socket"]);
}

/// Runs `send` against a socket and returns what it received, by sender.
fn receive(send: impl FnOnce(SocketAddr) -> Sent) -> (Sent, HashMap<SocketAddr, Vec<Vec<u8>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = socket.local_addr().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let receiver = thread::spawn(move || {
        let mut received: HashMap<SocketAddr, Vec<Vec<u8>>> = HashMap::new();
        let mut buffer = [0; 65_536];
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((length, source)) => {
                    let payloads = received.entry(source).or_default();
                    payloads.push(buffer[..length].to_vec());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return received,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let sent = send(target);
    (sent, receiver.join().unwrap())
}

fn check_received(
    config: GenerateConfig,
    sent: &Sent,
    received: &HashMap<SocketAddr, Vec<Vec<u8>>>,
) {
    let mut expected: HashMap<SocketAddr, Vec<Vec<u8>>> = HashMap::new();
    for (exporter, _, payload) in messages(config.clone()) {
        let source = sent.truth.exporters[exporter].source;
        assert_eq!(source.ip(), Ipv4Addr::new(127, 0, 1, 1 + exporter as u8));
        assert_ne!(source.port(), 0);
        expected.entry(source).or_default().push(payload);
    }
    assert_eq!(*received, expected);
    let total = &sent.truth.total;
    assert_eq!(sent.report.datagrams, total.datagrams);
    assert_eq!(sent.report.datagram_bytes, total.datagram_bytes);
    assert_eq!(sent.report.flows, config.flows);
    assert_eq!(
        (sent.report.unsent_datagrams, sent.report.send_errors),
        (0, 0)
    );
}

// The pace leaves a receiver on a busy machine its time: about 80 messages fit its buffer.
const GENTLE: Pace = Pace::FlowsPerSec(20_000.0);

#[test]
fn each_exporter_sends_its_messages_from_its_own_address() {
    let (sent, received) =
        receive(|target| to_socket(config(), target, GENTLE, &NEVER, &mut |_| ()).unwrap());
    check_received(config(), &sent, &received);
    // 5000 flows at that pace take a quarter of a second, but for the last burst.
    assert!(
        sent.report.elapsed >= Duration::from_millis(230),
        "{:?}",
        sent.report
    );
}

#[test]
fn prepared_messages_are_sent_alike_and_again() {
    let prepared = Prepared::new(config()).unwrap();
    let expected = messages(config())
        .into_iter()
        .map(|(exporter, _, payload)| (exporter, payload));
    let held = prepared
        .messages()
        .map(|(exporter, payload)| (exporter, payload.to_vec()));
    assert!(held.eq(expected));
    for _ in 0..2 {
        let mut last = None;
        let (sent, received) = receive(|target| {
            prepared
                .send(target, GENTLE, &mut |done| last = Some(*done))
                .unwrap()
        });
        check_received(config(), &sent, &received);
        assert_eq!(
            last.map(|done| (done.flows, done.of_flows)),
            Some((5000, 5000))
        );
    }
}

#[test]
fn where_nobody_listens_every_message_is_accounted_for() {
    let target = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let sent = to_socket(config(), target, Pace::Flood, &NEVER, &mut |_| ()).unwrap();
    let (report, total) = (sent.report, sent.truth.total);
    assert!(report.send_errors > 0, "{report:?}");
    assert_eq!(report.datagrams + report.unsent_datagrams, total.datagrams);
    assert_eq!(report.flows + report.unsent_flows, total.flows);
}

#[test]
fn what_cannot_be_sent_from_is_said() {
    let target = "127.0.0.1:9".parse().unwrap();
    let problem = |config, pace| {
        let error = to_socket(config, target, pace, &NEVER, &mut |_| ()).unwrap_err();
        error.to_string()
    };
    let config = |first_exporter: Ipv4Addr| GenerateConfig {
        first_exporter: first_exporter.into(),
        ..config()
    };
    assert_eq!(
        problem(config(Ipv4Addr::new(127, 255, 255, 250)), Pace::Flood),
        "12 exporters reach from 127.255.255.250 to 128.0.0.5, beyond 127.255.255.254, where loopback ends: begin \
         lower or step less"
    );
    assert_eq!(
        problem(config(Ipv4Addr::new(192, 0, 2, 1)), Pace::Flood),
        "cannot send from 192.0.2.1:0 to 127.0.0.1:9: Cannot assign requested address (os error 99); exporters send \
         from addresses of this machine, such as 127.0.1.1: from any other, replay a capture of them (--output), which \
         takes CAP_NET_RAW"
    );
    assert_eq!(
        problem(config(Ipv4Addr::LOCALHOST), Pace::FlowsPerSec(0.0)),
        "0 flows a second is no pace: give more than 0"
    );
    let none = GenerateConfig {
        exporters: 0,
        ..GenerateConfig::default()
    };
    let error = to_socket(none, target, Pace::Flood, &NEVER, &mut |_| ()).unwrap_err();
    assert!(matches!(error, SendError::Config(_)), "{error}");
}
