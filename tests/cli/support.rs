//! Starting the program, and captures to feed it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use forebay_udp::Datagram;
use forebay_udp::capture::CaptureWriter;
use forebay_wire::encode::{FixedRecord, IpfixBuilder, V9Builder, fixed};
use forebay_wire::fixed::FlowSequence;
use forebay_wire::ipfix::RecordSequence;
use forebay_wire::v9::MessageSequence;
use forebay_wire::{ElementId, FieldSpecifier, Template};
use tempfile::TempDir;

/// 2026-11-21T16:40:00Z
pub(crate) const NOON: u32 = 1_795_279_200;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(arguments);
    command
}

/// Runs the program to its end.
#[track_caller]
pub(crate) fn forebay(arguments: &[&str]) -> Ended {
    ended(command(arguments).output().expect("the program starts"))
}

#[track_caller]
pub(crate) fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Runs the program, which must do what it is asked, and returns what it printed.
#[track_caller]
pub(crate) fn done(arguments: &[&str]) -> String {
    let Ended {
        code,
        stdout,
        stderr,
    } = forebay(arguments);
    assert_eq!(code, 0, "{stderr}");
    stdout
}

/// Runs the program, which must fail with that code, and returns its one line of error.
#[track_caller]
pub(crate) fn fails(code: i32, arguments: &[&str]) -> String {
    let ended = forebay(arguments);
    assert_eq!(ended.code, code, "{}", ended.stderr);
    let line = ended.stderr.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "more than one line: {line}");
    assert!(line.starts_with("forebay: "), "{line}");
    line.to_owned()
}

/// A folder that goes with the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// Writes datagrams of 192.0.2.1 as a capture: one a millisecond.
    pub(crate) fn capture(&self, name: &str, payloads: &[Vec<u8>]) -> String {
        let path = self.path(name);
        let mut capture = CaptureWriter::create(&path).expect("a capture");
        for (payload, number) in payloads.iter().zip(0..) {
            let datagram = Datagram {
                source: "192.0.2.1:50000".parse().unwrap(),
                destination: "198.51.100.1:2055".parse().unwrap(),
                received_ns: u64::from(NOON) * 1_000_000_000 + number * 1_000_000,
                payload,
            };
            capture.write(&datagram).expect("it fits");
        }
        capture.finish().expect("written");
        path
    }
}

/// All files below a folder whose names end like this.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == extension)
                && !path.ends_with(Path::new("staging"))
            {
                found.push(path);
            }
        }
    }
    found
}

pub(crate) fn field(number: u16, length: u16) -> FieldSpecifier {
    FieldSpecifier {
        element: ElementId::iana(number),
        length,
    }
}

/// A template of source and destination address, ports, protocol, packets, bytes, source MAC and uptime at the first
/// and last packet.
pub(crate) fn v9_template() -> Template {
    let fields = [
        (8, 4),
        (12, 4),
        (7, 2),
        (11, 2),
        (4, 1),
        (2, 4),
        (1, 4),
        (56, 6),
        (22, 4),
        (21, 4),
    ];
    Template {
        id: 256,
        scope_count: 0,
        fields: fields
            .map(|(number, length)| field(number, length))
            .to_vec(),
    }
}

/// A record of [`v9_template`]: 10.0.0.1:1234 to 10.0.0.2:443, TCP, so many packets of 100 bytes.
pub(crate) fn v9_record(packets: u32) -> Vec<u8> {
    let mut record = vec![10, 0, 0, 1, 10, 0, 0, 2];
    record.extend(1234_u16.to_be_bytes());
    record.extend(443_u16.to_be_bytes());
    record.push(6);
    record.extend(packets.to_be_bytes());
    record.extend((packets * 100).to_be_bytes());
    record.extend([2, 0, 0, 0, 0, 1]);
    record.extend(58_000_u32.to_be_bytes());
    record.extend(59_500_u32.to_be_bytes());
    record
}

/// A v9 message up for a minute, with the template or without.
pub(crate) fn v9(sequence: u32, template: bool, records: &[Vec<u8>]) -> Vec<u8> {
    let header = forebay_wire::v9::Header {
        count: 0,
        uptime_ms: 60_000,
        unix_secs: NOON,
        sequence: MessageSequence(sequence),
        source_id: 7,
    };
    let mut datagram = Vec::new();
    let mut builder = V9Builder::new(&mut datagram, header);
    if template {
        builder.templates([&v9_template()]);
    }
    if !records.is_empty() {
        builder.data(256, records, |out, record| out.extend(record));
    }
    builder.finish().expect("it fits");
    datagram
}

/// An IPFIX message with an IPv6 flow, whose template has a variable-length field and an enterprise's.
pub(crate) fn ipfix() -> Vec<u8> {
    let header = forebay_wire::ipfix::Header {
        length: 0,
        export_secs: NOON,
        sequence: RecordSequence(0),
        observation_domain: 3,
    };
    let enterprise = FieldSpecifier {
        element: ElementId::new(9, 12_235),
        length: 2,
    };
    let template = Template {
        id: 300,
        scope_count: 0,
        fields: vec![
            field(27, 16),
            field(28, 16),
            field(1, 8),
            field(82, u16::MAX),
            enterprise,
            field(152, 8),
        ],
    };
    let mut datagram = Vec::new();
    let mut builder = IpfixBuilder::new(&mut datagram, header);
    builder.templates([&template]);
    builder.data(300, [()], |out, ()| {
        out.extend(
            "2001:db8::1"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets(),
        );
        out.extend(
            "2001:db8::2"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets(),
        );
        out.extend(1500_u64.to_be_bytes());
        out.extend(b"\x04eth0");
        out.extend([0xab, 0xcd]);
        out.extend((u64::from(NOON) * 1_000).to_be_bytes());
    });
    builder.finish().expect("it fits");
    datagram
}

/// A v5 message of one flow.
pub(crate) fn v5() -> Vec<u8> {
    let header = forebay_wire::fixed::Header {
        version: forebay_wire::fixed::Version::V5,
        count: 1,
        uptime_ms: 60_000,
        unix_secs: NOON,
        unix_nsecs: 0,
        flow_sequence: FlowSequence(0),
        engine_type: 0,
        engine_id: 1,
        sampling: 0,
    };
    let record = FixedRecord {
        source: "10.5.0.1".parse().unwrap(),
        destination: "10.5.0.2".parse().unwrap(),
        next_hop: "10.5.0.3".parse().unwrap(),
        input: 1,
        output: 2,
        packets: 5,
        octets: 500,
        first_ms: 50_000,
        last_ms: 51_000,
        source_port: 53,
        destination_port: 5353,
        tcp_flags: 0,
        protocol: 17,
        tos: 0,
        source_as: 65_001,
        destination_as: 65_002,
        source_mask: 24,
        destination_mask: 16,
        router: "0.0.0.0".parse().unwrap(),
    };
    let mut datagram = Vec::new();
    fixed(&mut datagram, &header, [record]).expect("it fits");
    datagram
}
