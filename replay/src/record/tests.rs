//! What is recorded is read again, in whole files, no more of them than wanted, each drop in one of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureFormat, CaptureReader, CaptureWriter};
use forebay_wire::encode::{IpfixBuilder, V9Builder};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{ElementId, FieldSpecifier, Message, Template};

use super::*;

const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_700_000_000 * SECOND;

/// A datagram that has left a capture: where from, and the payload.
type Taken = (String, Vec<u8>);

fn config(folder: &Path, name: &str) -> RecordConfig {
    RecordConfig {
        output: folder.join(name),
        format: None,
        compressed: false,
        rotation: Rotation::default(),
        retain: None,
    }
}

fn datagram(payload: &[u8], received_ns: u64) -> Datagram<'_> {
    Datagram {
        source: "192.0.2.1:50000".parse().expect("an address"),
        destination: "198.51.100.1:2055".parse().expect("an address"),
        received_ns,
        payload,
    }
}

fn read(path: &Path) -> Vec<Taken> {
    let mut capture = CaptureReader::open(path).expect("a capture");
    let mut all = Vec::new();
    while let Some(datagram) = capture.next().expect("whole") {
        all.push((datagram.source.to_string(), datagram.payload.to_vec()));
    }
    all
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    names.sort();
    names
}

fn numbered(count: u32) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| number.to_be_bytes().to_vec())
        .collect()
}

#[test]
fn a_file_is_hidden_until_it_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.pcap", "b.pcapng", "c.pcap.zst", "d.pcapng.zst"] {
        let mut recorder =
            Recorder::new(config(folder.path(), name), None, BEGIN).expect("it begins");
        let target = folder.path().join(name);
        let payloads = numbered(1000);
        for payload in &payloads {
            recorder
                .record(&datagram(payload, BEGIN))
                .expect("recorded");
        }
        assert!(!target.exists());
        let hidden = folder.path().join(format!(".{name}.tmp"));
        assert!(hidden.exists());
        assert_eq!(recorder.open_file(), Some(target.as_path()));
        let counts = recorder.finish(BEGIN + 1, 7).expect("closed");
        assert!(!hidden.exists());
        let found: Vec<Vec<u8>> = read(&target).into_iter().map(|taken| taken.1).collect();
        assert_eq!(found, payloads, "{name}");
        assert_eq!(
            (counts.recorded, counts.dropped, counts.received()),
            (1000, 7, 1007)
        );
        assert_eq!((counts.bytes, counts.files), (4000, 1));
        let first = fs::read(&target).expect("a file");
        assert_eq!(
            first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
            name.ends_with(".zst")
        );
    }
}

#[test]
fn nothing_recorded_is_an_empty_capture() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::new(config(folder.path(), "a.pcap"), None, BEGIN).expect("it begins");
    recorder.finish(BEGIN, 0).expect("closed");
    assert_eq!(read(&folder.path().join("a.pcap")), []);
    // Where others follow, an empty one is of no use.
    let rotating = RecordConfig {
        rotation: Rotation {
            datagrams: Some(2),
            ..Rotation::default()
        },
        ..config(folder.path(), "b.pcap")
    };
    let recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    assert_eq!(recorder.finish(BEGIN, 0).expect("closed").files, 0);
    assert_eq!(names(folder.path()), [folder.path().join("a.pcap")]);
}

#[test]
fn files_follow_by_count_and_the_oldest_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let earlier = folder.path().join("x-20200101T000000.000000Z.pcap");
    let other = folder.path().join("x-2020.pcap");
    for path in [&earlier, &other] {
        fs::write(path, "").expect("a file");
    }
    let rotating = RecordConfig {
        rotation: Rotation {
            datagrams: Some(10),
            ..Rotation::default()
        },
        retain: Some(3),
        ..config(folder.path(), "x.pcap")
    };
    let mut recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    // All at the same time: their names differ all the same.
    let payloads = numbered(45);
    for payload in &payloads {
        recorder
            .record(&datagram(payload, BEGIN))
            .expect("recorded");
    }
    let counts = recorder.finish(BEGIN, 0).expect("closed");
    assert_eq!((counts.recorded, counts.files, counts.removed), (45, 5, 3));
    let mut left = names(folder.path());
    assert!(left.contains(&other), "others' files stay");
    left.retain(|path| *path != other);
    assert_eq!(left.len(), 3);
    let found: Vec<Vec<u8>> = left
        .iter()
        .flat_map(|path| read(path))
        .map(|taken| taken.1)
        .collect();
    assert_eq!(found, payloads[20..]);
}

#[test]
fn files_follow_by_size_and_by_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let rotating = RecordConfig {
        rotation: Rotation {
            bytes: Some(2_000),
            period: Some(Duration::from_secs(60)),
            datagrams: None,
        },
        ..config(folder.path(), "x.pcap")
    };
    let mut recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    let payload = [1; 156];
    let turn = |recorder: &mut Recorder, now| recorder.turn(now, || 0).expect("a turn");
    // An empty file's time is never up.
    turn(&mut recorder, BEGIN + 90 * SECOND);
    let begin = BEGIN + 90 * SECOND;
    // Ten of 200 bytes each, with the headers, and the file's own.
    for _ in 0..11 {
        recorder
            .record(&datagram(&payload, begin))
            .expect("recorded");
    }
    turn(&mut recorder, begin);
    turn(&mut recorder, begin + 59 * SECOND);
    recorder
        .record(&datagram(&payload, begin + 59 * SECOND))
        .expect("recorded");
    turn(&mut recorder, begin + 60 * SECOND);
    assert!(recorder.open_file().is_none(), "its time is up");
    recorder
        .record(&datagram(&payload, begin + 90 * SECOND))
        .expect("recorded");
    let counts = recorder.finish(begin + 91 * SECOND, 0).expect("closed");
    assert_eq!((counts.files, counts.recorded), (3, 13));
    let each: Vec<usize> = names(folder.path())
        .iter()
        .map(|path| read(path).len())
        .collect();
    assert_eq!(each, [10, 2, 1]);
}

#[test]
fn compressed_files_follow_by_their_size_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let limit = 300_000;
    let rotating = RecordConfig {
        rotation: Rotation {
            bytes: Some(limit),
            ..Rotation::default()
        },
        ..config(folder.path(), "x.pcap.zst")
    };
    let mut recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    let mut state = 1_u64;
    for _ in 0..2_000 {
        let payload: Vec<u8> = (0..1000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        recorder
            .record(&datagram(&payload, BEGIN))
            .expect("recorded");
    }
    let counts = recorder.finish(BEGIN, 0).expect("closed");
    assert!(counts.files > 3, "{counts:?}");
    let files = names(folder.path());
    let all: usize = files.iter().map(|path| read(path).len()).sum();
    assert_eq!(all, 2_000);
    for path in files {
        let bytes = fs::metadata(&path).expect("a file").len();
        assert!(bytes < 2 * limit + (1 << 18), "{bytes}");
    }
}

/// Received and dropped, as the statistics at the end of a pcapng file say.
fn statistics(path: &Path) -> (u64, u64) {
    let file = fs::read(path).expect("a file");
    let block = &file[file.len() - 88..];
    assert_eq!(block[..8], [5, 0, 0, 0, 88, 0, 0, 0]);
    let value = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("8 bytes"));
    (value(48), value(60))
}

#[test]
fn each_drop_is_in_the_statistics_of_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let rotating = RecordConfig {
        rotation: Rotation {
            datagrams: Some(2),
            ..Rotation::default()
        },
        ..config(folder.path(), "x.pcapng")
    };
    let mut recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    for number in 0..3 {
        recorder.record(&datagram(b"a", BEGIN)).expect("recorded");
        recorder.record(&datagram(b"b", BEGIN)).expect("recorded");
        recorder
            .turn(BEGIN + number, || 5 * (number + 1))
            .expect("a turn");
    }
    recorder.record(&datagram(b"c", BEGIN)).expect("recorded");
    let counts = recorder.finish(BEGIN + 9, 17).expect("closed");
    assert_eq!(counts.received(), 7 + 17);
    let each: Vec<(u64, u64)> = names(folder.path())
        .iter()
        .map(|path| statistics(path))
        .collect();
    assert_eq!(each, [(7, 5), (7, 5), (7, 5), (3, 2)]);
}

#[test]
fn what_is_there_already_is_not_written_over_half_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Recorder::new(config(folder.path(), "a.pcap"), None, BEGIN).expect("it begins");
    let second = Recorder::new(config(folder.path(), "a.pcap"), None, BEGIN).expect_err("refused");
    assert!(matches!(second, RecordError::Unfinished { .. }), "{second}");
    first.finish(BEGIN, 0).expect("closed");
    fs::create_dir(folder.path().join("folder")).expect("a folder");
    for (name, says) in [
        ("folder", "is there: choose"),
        ("a.pcap", "is there: choose"),
        ("nowhere/a.pcap", "cannot make"),
    ] {
        let error = Recorder::new(config(folder.path(), name), None, BEGIN).expect_err("refused");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn the_format_that_is_asked_for_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = RecordConfig {
        format: Some(CaptureFormat::Pcapng),
        ..config(folder.path(), "a.pcap")
    };
    Recorder::new(asked, None, BEGIN)
        .expect("it begins")
        .finish(BEGIN, 0)
        .expect("closed");
    let file = fs::read(folder.path().join("a.pcap")).expect("a file");
    assert!(file.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
}

fn template(id: u16, scope_count: u16, fields: u16) -> Template {
    let field = |number| FieldSpecifier {
        element: ElementId::iana(number),
        length: 4,
    };
    Template {
        id,
        scope_count,
        fields: (1..=fields).map(field).collect(),
    }
}

fn v9(sequence: u32, templates: &[Template], records: usize) -> Vec<u8> {
    let header = v9::Header {
        count: 0,
        uptime_ms: 1000 + sequence,
        unix_secs: 2000 + sequence,
        sequence: MessageSequence(sequence),
        source_id: 3,
    };
    let mut payload = Vec::new();
    let mut builder = V9Builder::new(&mut payload, header);
    let (options, plain): (Vec<_>, Vec<_>) =
        templates.iter().partition(|template| template.is_options());
    if !plain.is_empty() {
        builder.templates(plain);
    }
    if !options.is_empty() {
        builder.options_templates(options);
    }
    if records > 0 {
        builder.data(256, 0..records, |out, _| out.extend([1; 8]));
    }
    builder.finish().expect("it fits");
    payload
}

fn ipfix(sequence: u32, templates: &[Template], records: usize) -> Vec<u8> {
    let header = ipfix::Header {
        length: 0,
        export_secs: 2000 + sequence,
        sequence: RecordSequence(sequence),
        observation_domain: 3,
    };
    let mut payload = Vec::new();
    let mut builder = IpfixBuilder::new(&mut payload, header);
    if !templates.is_empty() {
        builder.templates(templates);
    }
    if records > 0 {
        builder.data(256, 0..records, |out, _| out.extend([1; 8]));
    }
    builder.finish().expect("it fits");
    payload
}

fn capture(path: &Path, datagrams: &[(&str, Vec<u8>)]) {
    let mut capture = CaptureWriter::create(path).expect("a capture");
    for (source, payload) in datagrams {
        let source = source.parse().expect("an address");
        let written = capture.write(&Datagram {
            source,
            ..datagram(payload, BEGIN)
        });
        written.expect("it fits");
    }
    capture.finish().expect("written");
}

/// Records datagrams, primed by those of a capture: what is in the file.
fn primed(earlier: &[(&str, Vec<u8>)], live: &[(&str, Vec<u8>)]) -> Vec<Taken> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("earlier.pcap");
    capture(&path, earlier);
    let primer = Primer::read(&path).expect("templates");
    let config = config(folder.path(), "now.pcap");
    let mut recorder = Recorder::new(config, Some(primer), BEGIN).expect("it begins");
    for (source, payload) in live {
        let source = source.parse().expect("an address");
        let recorded = recorder.record(&Datagram {
            source,
            ..datagram(payload, BEGIN)
        });
        recorded.expect("recorded");
    }
    let counts = recorder.finish(BEGIN, 0).expect("closed");
    let found = read(&folder.path().join("now.pcap"));
    assert_eq!(counts.recorded, live.len() as u64);
    assert_eq!(counts.primed, (found.len() - live.len()) as u64);
    found
}

const A: &str = "192.0.2.1:50000";
const B: &str = "192.0.2.2:50000";

fn taken(source: &str, payload: Vec<u8>) -> Taken {
    (source.to_owned(), payload)
}

#[test]
fn templates_come_just_before_their_sessions_first_message_and_make_no_gap() {
    let old = template(256, 0, 5);
    let new = template(256, 0, 2);
    let earlier = [
        (A, v9(10, &[old], 0)),
        (A, v9(11, std::slice::from_ref(&new), 3)),
        (B, ipfix(100, std::slice::from_ref(&new), 2)),
        ("192.0.2.9:1", v9(1, std::slice::from_ref(&new), 0)),
    ];
    let live = [
        (B, ipfix(5000, &[], 4)),
        (A, v9(700, &[], 2)),
        (A, v9(701, &[], 2)),
        (B, ipfix(5004, &[], 4)),
    ];
    let found = primed(&earlier, &live);
    let mut of_v9 = v9(700, std::slice::from_ref(&new), 0);
    // v9 counts messages.
    of_v9[12..16].copy_from_slice(&699_u32.to_be_bytes());
    let expected = [
        taken(B, ipfix(5000, &[new], 0)),
        taken(B, live[0].1.clone()),
        taken(A, of_v9),
        taken(A, live[1].1.clone()),
        taken(A, live[2].1.clone()),
        taken(B, live[3].1.clone()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn many_templates_take_several_messages_with_the_numbers_before() {
    let templates: Vec<Template> = (0..40)
        .map(|id| template(256 + id, u16::from(id % 2 == 1), 11))
        .collect();
    let found = primed(&[(A, v9(3, &templates, 0))], &[(A, v9(0, &[], 1))]);
    let (live, made) = found.split_last().expect("something");
    assert_eq!(live.1, v9(0, &[], 1));
    assert!(made.len() > 1);
    let mut known = Vec::new();
    for ((_, payload), number) in made.iter().zip((0..made.len() as u32).rev()) {
        assert!(payload.len() <= 1232);
        let Ok(Message::V9(message)) = Message::parse(payload) else {
            panic!("no v9 message");
        };
        assert_eq!(message.header.sequence.0, 0_u32.wrapping_sub(number + 1));
        let before = known.len();
        for set in message.sets() {
            for record in set.expect("a set").templates() {
                let forebay_wire::template::TemplateRecord::Define(definition) =
                    record.expect("a template")
                else {
                    panic!("no template");
                };
                known.push(definition.to_template(100).expect("it fits"));
            }
        }
        assert_eq!(usize::from(message.header.count), known.len() - before);
    }
    assert_eq!(known, templates);
}

#[test]
fn a_session_without_templates_is_told_those_of_its_siblings() {
    let known = template(256, 0, 2);
    let other_port = "192.0.2.1:50001";
    let earlier = [
        (A, v9(10, std::slice::from_ref(&known), 0)),
        (A, v9(11, &[], 1)),
    ];
    let live = [
        (other_port, v9(70, &[template(300, 0, 1)], 0)),
        (other_port, v9(71, &[], 1)),
        (A, v9(12, &[], 1)),
    ];
    let found = primed(&earlier, &live);
    let mut told = v9(71, &[known], 0);
    // The number that its own session had last.
    told[12..16].copy_from_slice(&11_u32.to_be_bytes());
    let expected = [
        taken(other_port, live[0].1.clone()),
        taken(A, told),
        taken(other_port, live[1].1.clone()),
        taken(A, live[2].1.clone()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_capture_without_templates_primes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("earlier.pcap");
    capture(&path, &[(A, v9(1, &[], 2)), (B, b"nothing".to_vec())]);
    let error = Primer::read(&path).expect_err("refused");
    assert!(matches!(error, RecordError::NoTemplates { .. }), "{error}");
    // Of one that is torn, what comes before that is used.
    capture(
        &path,
        &[(A, v9(1, &[template(256, 0, 2)], 2)), (A, v9(2, &[], 2))],
    );
    let whole = fs::read(&path).expect("a file");
    fs::write(&path, &whole[..whole.len() - 3]).expect("a file");
    let primer = Primer::read(&path).expect("templates");
    assert_eq!(primer.templates(), 1);
    assert!(primer.torn().is_some());
}
