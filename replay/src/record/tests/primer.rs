//! Templates that a file lacks are put in: those of an earlier recording, and those of the files before.

use std::net::{Ipv4Addr, SocketAddr};

use forebay_udp::capture::CaptureWriter;
use forebay_wire::encode::{IpfixBuilder, V9Builder};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{ElementId, FieldSpecifier, Message, Template};

use super::*;

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

/// Records datagrams in files of so many, each primed by those before: what is in each file.
fn rotated(live: &[(&str, Vec<u8>)], datagrams: u64) -> (Vec<Vec<Taken>>, RecordCounts) {
    let folder = tempfile::tempdir().expect("a folder");
    let rotating = RecordConfig {
        rotation: Rotation {
            datagrams: Some(datagrams),
            ..Rotation::default()
        },
        ..config(folder.path(), "x.pcap")
    };
    let primer = Some(Primer::default());
    let mut recorder = Recorder::new(rotating, primer, BEGIN).expect("it begins");
    for (source, payload) in live {
        let source = source.parse().expect("an address");
        let recorded = recorder.record(&Datagram {
            source,
            ..datagram(payload, BEGIN)
        });
        recorded.expect("recorded");
    }
    let counts = recorder.finish(BEGIN, 0).expect("closed");
    let files = names(folder.path());
    (files.iter().map(|path| read(path)).collect(), counts)
}

#[test]
fn each_file_of_a_rotation_begins_with_the_last_templates() {
    let [old, new] = [5, 2].map(|fields| template(256, 0, fields));
    let live = [
        (A, v9(1, &[old], 1)),
        (B, ipfix(100, std::slice::from_ref(&new), 2)),
        (A, v9(2, std::slice::from_ref(&new), 0)),
        (A, v9(3, &[], 1)),
        // The second file.
        (B, ipfix(102, &[], 2)),
        (B, ipfix(104, &[], 2)),
        (A, v9(4, &[], 1)),
        (A, v9(5, &[], 1)),
        // The third.
        (A, v9(6, &[], 1)),
    ];
    let (files, counts) = rotated(&live, 4);
    let told = |sequence: u32| v9(sequence, std::slice::from_ref(&new), 0);
    // With the times of the message that follows, and the number before its own.
    let told_before = |sequence: u32| {
        let mut told = told(sequence);
        told[12..16].copy_from_slice(&(sequence - 1).to_be_bytes());
        told
    };
    let as_sent = |range: std::ops::Range<usize>| {
        let sent = live[range].iter();
        sent.map(|(source, payload)| taken(source, payload.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        files[0],
        as_sent(0..4),
        "nothing is put in while all is told"
    );
    let second = [
        &[taken(B, ipfix(102, std::slice::from_ref(&new), 0))][..],
        &as_sent(4..6),
        &[taken(A, told_before(4))],
        &as_sent(6..8),
    ];
    assert_eq!(files[1], second.concat());
    assert_eq!(
        files[2],
        [vec![taken(A, told_before(6))], as_sent(8..9)].concat()
    );
    assert_eq!((counts.recorded, counts.primed, counts.files), (9, 3, 3));
}

#[test]
fn data_from_another_port_has_its_templates_in_each_file() {
    let other_port = "192.0.2.1:50001";
    let known = template(256, 0, 2);
    let live = [
        (A, v9(1, std::slice::from_ref(&known), 0)),
        (other_port, v9(2, &[template(300, 0, 1)], 1)),
        (other_port, v9(3, &[], 1)),
        (other_port, v9(4, &[], 1)),
    ];
    let (files, _) = rotated(&live, 2);
    let sources: Vec<&str> = files[1].iter().map(|of| of.0.as_str()).collect();
    assert_eq!(sources, [A, other_port, other_port, other_port]);
}

#[test]
fn what_anybody_tells_takes_no_more_memory_than_there_may_be() {
    // A session that is heard of all the time, and others that are not: forged addresses, ports and ids.
    const ROOM: usize = 4 << 20;
    let mut primer = Primer::with_room(ROOM);
    primer.begin_file();
    let long = template(256, 0, 300);
    let mut prime = |source: SocketAddr, payload: &[u8]| {
        let told = primer.prime(
            &Datagram {
                source,
                ..datagram(payload, BEGIN)
            },
            |_| Ok::<(), ()>(()),
        );
        told.expect("nothing fails");
    };
    let steady: SocketAddr = A.parse().expect("an address");
    let one = v9(1, std::slice::from_ref(&long), 0);
    let many: Vec<Template> = (0..10).map(|id| template(300 + id, 0, 300)).collect();
    let many = v9(2, &many, 0);
    for number in 0..1_000_u32 {
        prime(steady, &one);
        prime(
            SocketAddr::from((Ipv4Addr::from(0x0a00_0000 | number), 2055)),
            &many,
        );
        prime(SocketAddr::from(([192, 0, 2, 9], number as u16)), &one);
        let ids = template(256 + (number % 60_000) as u16, 0, 300);
        prime(B.parse().expect("an address"), &v9(3, &[ids], 0));
    }
    assert!(primer.bytes() <= ROOM, "{}", primer.bytes());
    assert!(primer.forgotten() > 0);
    primer.begin_file();
    let mut told = Vec::new();
    let counted = primer.prime(&datagram(&v9(4, &[], 1), BEGIN), |made| {
        told.push(made.payload.to_vec());
        Ok::<(), ()>(())
    });
    assert_eq!(counted, Ok(1));
    let Ok(Message::V9(message)) = Message::parse(&told[0]) else {
        panic!("no v9 message");
    };
    assert_eq!(message.header.count, 1);
}
