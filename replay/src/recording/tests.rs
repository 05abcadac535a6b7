use std::collections::HashMap;
use std::io::Cursor;

use forebay_udp::Datagram;
use forebay_udp::capture::CaptureWriter;
use forebay_wire::{ElementId, Records, SetKind, Template, TemplateRecord};
use proptest::prelude::*;

use super::*;
use crate::generate::{GenerateConfig, Generator, VersionShares};

/// A payload with its source and its time.
type Sent = (SocketAddr, u64, Vec<u8>);

/// Traffic of all versions and layouts.
fn traffic(seed: u64, flows: u64) -> Vec<Sent> {
    let mut generator = Generator::new(GenerateConfig {
        flows,
        seed,
        exporters: 12,
        flows_per_sec: 1_000.0,
        template_refresh: 3,
        ..GenerateConfig::default()
    })
    .unwrap();
    let mut payload = Vec::new();
    let mut sent = Vec::new();
    while let Some(message) = generator.next_message(&mut payload) {
        sent.push((message.source, message.at_ns, payload.clone()));
    }
    sent
}

fn capture(sent: &[Sent]) -> Vec<u8> {
    let mut writer = CaptureWriter::new("memory", Vec::new()).unwrap();
    for (source, received_ns, payload) in sent {
        let datagram = Datagram {
            source: *source,
            destination: "127.0.0.1:2055".parse().unwrap(),
            received_ns: *received_ns,
            payload,
        };
        writer.write(&datagram).unwrap();
    }
    writer.finish().unwrap()
}

fn read(file: Vec<u8>, filter: &Filter) -> Result<Recording, ReplayError> {
    let path = Path::new("test.pcap");
    let capture = CaptureReader::from_reader(path, Cursor::new(file))?;
    Recording::read(capture, path, filter)
}

fn recording(sent: &[Sent]) -> Recording {
    read(capture(sent), &Filter::default()).unwrap()
}

/// All payloads as they are in the loops after moving to `now_ns`.
fn loops(recording: &mut Recording, count: usize, now_ns: u64) -> Vec<Vec<(SocketAddr, Vec<u8>)>> {
    let period = recording.period_seconds(recording.period_ns()) as i64;
    let age = recording.age_seconds(now_ns);
    let mut all = Vec::new();
    for turn in 0..count {
        let mut payloads = Vec::new();
        for index in 0..recording.entries.len() {
            let seconds = if turn == 0 { age } else { period };
            recording.advance(index, turn == 0, seconds);
            let prepared = recording.get(index).unwrap();
            payloads.push((prepared.source, prepared.payload.to_vec()));
        }
        all.push(payloads);
    }
    all
}

/// The plain reader's view of a message: the number, what it counts, the header's time, and each field's value.
#[derive(Debug)]
struct Plain {
    sequence: Option<(u32, u32)>,
    seconds: u32,
    uptime_ms: Option<u32>,
    fields: Vec<(ElementId, Vec<u8>)>,
}

#[derive(Default)]
struct PlainReader {
    templates: HashMap<(SocketAddr, u8, u32, u16), Template>,
}

impl PlainReader {
    fn read(&mut self, source: SocketAddr, payload: &[u8]) -> Plain {
        let message = Message::parse(payload).unwrap();
        let key = (source, message.version(), message.observation_domain());
        let (sets, mut plain) = match &message {
            Message::Fixed(message) => {
                let records = message.records().chunks_exact(message.record_length());
                let fields = records.flat_map(|record| {
                    let fields = message.header.version.fields().iter();
                    fields.map(|field| {
                        let at = usize::from(field.offset);
                        let content = &record[at..at + usize::from(field.length)];
                        (field.element, content.to_vec())
                    })
                });
                let count = message.record_count() as u32;
                return Plain {
                    sequence: Some((message.header.flow_sequence.0, count)),
                    seconds: message.header.unix_secs,
                    uptime_ms: Some(message.header.uptime_ms),
                    fields: fields.collect(),
                };
            }
            Message::V9(message) => {
                let plain = Plain {
                    sequence: Some((message.header.sequence.0, 1)),
                    seconds: message.header.unix_secs,
                    uptime_ms: Some(message.header.uptime_ms),
                    fields: Vec::new(),
                };
                (message.sets(), plain)
            }
            Message::Ipfix(message) => {
                let plain = Plain {
                    sequence: Some((message.header.sequence.0, 0)),
                    seconds: message.header.export_secs,
                    uptime_ms: None,
                    fields: Vec::new(),
                };
                (message.sets(), plain)
            }
        };
        for set in sets.map(Result::unwrap) {
            for record in set.templates() {
                let TemplateRecord::Define(definition) = record.unwrap() else {
                    continue;
                };
                let template = definition.to_template(1_000).unwrap();
                self.templates
                    .insert((key.0, key.1, key.2, definition.id()), template);
            }
            if set.kind() != SetKind::Data {
                continue;
            }
            let template = &self.templates[&(key.0, key.1, key.2, set.id)];
            for record in Records::new(template, set.body) {
                let fields = record.unwrap().fields();
                plain
                    .fields
                    .extend(fields.map(|(field, content)| (field.element, content.to_vec())));
                if let Some((_, units)) = plain.sequence.as_mut().filter(|_| key.1 == 10) {
                    *units += 1;
                }
            }
        }
        plain
    }
}

fn long(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// By how much a value advances when its message's time does by so many seconds, of which the boot does some.
fn advanced(element: ElementId, before: &[u8], seconds: u64, boot: u64) -> Vec<u8> {
    let value = long(before);
    let after = match element.number {
        21 | 22 => (value + (seconds - boot) * 1000) & 0xffff_ffff,
        150 | 151 => value + seconds,
        152 | 153 | 258 | 323 => value + seconds * 1000,
        154..=157 => value + (seconds << 32),
        160 => value + boot * 1000,
        _ => return before.to_vec(),
    };
    after.to_be_bytes()[8 - before.len()..].to_vec()
}

#[test]
fn what_is_sent_is_what_was_recorded() {
    let sent = traffic(1, 3_000);
    let recording = recording(&sent);
    assert_eq!(recording.datagrams(), sent.len() as u64);
    assert_eq!(recording.flows(), 3_000);
    assert_eq!(*recording.left_out(), LeftOut::default());
    let began = sent[0].1;
    for (index, (source, at_ns, payload)) in sent.iter().enumerate() {
        let prepared = recording.get(index).unwrap();
        assert_eq!((prepared.source, prepared.payload), (*source, &payload[..]));
        assert_eq!(recording.at_ns(index), Some(at_ns - began));
    }
    assert!(recording.get(sent.len()).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// In all versions, loops go on where the last ended: numbers without a gap, all times by the same, and nothing
    /// else is changed.
    #[test]
    fn a_loop_is_a_continuation(seed: u64, prime: bool, later in 0_u64..1_000_000) {
        let sent = traffic(seed, 2_000);
        let now_ns = sent[0].1 + later * 1_000_000_000;
        let mut recorded = recording(&sent);
        if prime {
            recorded.prime();
        }
        let mut untouched = PlainReader::default();
        let plain: Vec<Plain> = (0..recorded.entries.len())
            .map(|index| {
                let prepared = recorded.get(index).unwrap();
                untouched.read(prepared.source, prepared.payload)
            })
            .collect();
        let period = recorded.period_seconds(recorded.period_ns());
        let mut reader = PlainReader::default();
        let mut expected = HashMap::new();
        for (turn, payloads) in (0_u64..).zip(loops(&mut recorded, 3, now_ns)) {
            let (seconds, boot) = (later + turn * period, later);
            for ((source, payload), before) in payloads.iter().zip(&plain) {
                let after = reader.read(*source, payload);
                let version = payload[1];
                let (number, units) = after.sequence.unwrap();
                // An exporter has one domain here.
                if let Some(expected) = expected.insert((*source, version), number.wrapping_add(units)) {
                    prop_assert_eq!(number, expected, "loop {} of version {}", turn, version);
                }
                prop_assert_eq!(u64::from(after.seconds), u64::from(before.seconds) + seconds);
                if let (Some(after), Some(before)) = (after.uptime_ms, before.uptime_ms) {
                    prop_assert_eq!(after, before.wrapping_add((turn * period * 1000) as u32));
                }
                prop_assert_eq!(after.fields.len(), before.fields.len());
                for ((element, after), (_, before)) in after.fields.iter().zip(&before.fields) {
                    let wanted = advanced(*element, before, seconds, boot);
                    prop_assert_eq!(after, &wanted, "element {}", element);
                }
            }
        }
        // The last times of a loop are not after the first of the next.
        prop_assert!(recorded.span() <= Duration::from_secs(period));
    }

    /// Whatever is in the datagrams: nothing panics, nothing is sent that was not captured, and lengths stay.
    #[test]
    fn damaged_messages_are_sent_as_they_are_long(
        seed in 0_u64..4,
        damage in prop::collection::vec((0_usize..1_000, 0_usize..1_500, any::<u8>()), 1..400),
    ) {
        let mut sent = traffic(seed, 1_000);
        for (datagram, at, byte) in damage {
            let count = sent.len();
            let payload = &mut sent[datagram % count].2;
            // Not the version: then it would be no message.
            let at = 2 + at % (payload.len() - 2);
            payload[at] = byte;
        }
        let Ok(mut recorded) = read(capture(&sent), &Filter::default()) else {
            return Ok(());
        };
        recorded.prime();
        let lengths: Vec<u16> = recorded.entries.iter().map(|entry| entry.bytes).collect();
        for payloads in loops(&mut recorded, 2, u64::MAX) {
            let after: Vec<u16> = payloads.iter().map(|(_, payload)| payload.len() as u16).collect();
            prop_assert_eq!(&after, &lengths);
        }
    }
}

#[test]
fn templates_come_first_and_are_numbered_before_the_first() {
    // Templates at the end only, so that the rest of the recording tells none.
    let sent = traffic(7, 2_000);
    let mut primed = recording(&sent);
    let before = primed.datagrams();
    primed.prime();
    let made = (primed.datagrams() - before) as usize;
    assert!(made >= primed.streams.iter().filter(|of| of.version > 8).count());
    assert_eq!(primed.flows(), 2_000);
    let mut reader = PlainReader::default();
    for index in 0..made {
        let prepared = primed.get(index).unwrap();
        assert_eq!(primed.size(index).0, 0);
        assert!(prepared.payload.len() <= 1232);
        assert!(
            reader
                .read(prepared.source, prepared.payload)
                .fields
                .is_empty()
        );
    }
    let mut all = PlainReader::default();
    for (source, _, payload) in &sent {
        all.read(*source, payload);
    }
    assert!(all.templates.len() > 10);
    assert_eq!(reader.templates, all.templates);
}

#[test]
fn flows_that_come_before_their_template_are_counted() {
    let mut sent = traffic(3, 2_000);
    // In one exporter's stream, backwards in time: the first templates come last.
    sent.reverse();
    let began = sent.last().unwrap().1;
    for (datagram, index) in sent.iter_mut().zip(0..) {
        datagram.1 = began + index;
    }
    assert_eq!(recording(&sent).flows(), 2_000);
}

#[test]
fn a_template_from_another_port_counts_if_no_other_contradicts_it() {
    let message = |source: &str, payload: &[u8]| (source.parse().unwrap(), 0, payload.to_vec());
    let template = |length: u8| {
        let mut payload = vec![0, 10, 0, 28, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([0, 2, 0, 12, 1, 0, 0, 1, 0, 1, 0, length]);
        payload
    };
    let mut data = vec![0, 10, 0, 28, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    data.extend([1, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8]);
    let mut sent = vec![
        message("192.0.2.1:1", &template(4)),
        message("192.0.2.1:2", &data),
    ];
    assert_eq!(recording(&sent).flows(), 2);
    sent.insert(1, message("192.0.2.1:3", &template(2)));
    let two = recording(&sent);
    assert_eq!((two.flows(), two.left_out().uncounted_sets), (0, 1));
    sent[1] = message("192.0.2.2:1", &template(2));
    assert_eq!(recording(&sent).flows(), 2);
    // Who tells them alone may change them.
    sent.push(message("192.0.2.1:1", &template(2)));
    sent.push(message("192.0.2.1:2", &data));
    assert_eq!(recording(&sent).flows(), 2 + 4);
}

#[test]
fn an_exporter_may_send_each_message_from_another_port() {
    let template = vec![
        0, 10, 0, 28, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4,
    ];
    let data = vec![
        0, 10, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 8, 1, 2, 3, 4,
    ];
    let from = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
    let mut sent = vec![(from(1), 0, template)];
    sent.extend((2..=60_001).map(|port| (from(port), 0, data.clone())));
    // What is known of a port is not known once for each other.
    assert_eq!(recording(&sent).flows(), 60_000);
}

#[test]
fn only_what_the_filter_takes_is_there() {
    let sent = traffic(5, 2_000);
    let of = |version: u8| sent.iter().filter(|of| of.2[1] == version).count() as u64;
    for version in [5, 9, 10] {
        let filter = Filter {
            versions: vec![version],
            exporters: Vec::new(),
        };
        let some = read(capture(&sent), &filter).unwrap();
        assert_eq!(some.datagrams(), of(version));
        assert_eq!(some.left_out().filtered, sent.len() as u64 - of(version));
    }
    let one = sent[0].0;
    let filter = Filter {
        versions: Vec::new(),
        exporters: vec![one.ip().to_string().parse().unwrap()],
    };
    assert_eq!(read(capture(&sent), &filter).unwrap().sources(), [one]);
    let none = Filter {
        versions: vec![7],
        exporters: Vec::new(),
    };
    let error = read(capture(&sent), &none).unwrap_err().to_string();
    assert!(error.contains("of other exporters or versions"), "{error}");
}

#[test]
fn a_capture_without_export_messages_is_told_from_an_empty_one() {
    let source = "192.0.2.1:53".parse().unwrap();
    let error = |sent: &[Sent]| {
        read(capture(sent), &Filter::default())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&[]),
        "test.pcap has no export messages to send: no UDP datagram is in it"
    );
    assert_eq!(
        error(&[(source, 1, b"hello".to_vec()), (source, 2, Vec::new())]),
        "test.pcap has no export messages to send: none of its 2 UDP datagrams is NetFlow or IPFIX"
    );
}

#[test]
fn what_comes_before_a_tear_is_used() {
    let sent = traffic(9, 1_000);
    let file = capture(&sent);
    let whole = read(file.clone(), &Filter::default()).unwrap();
    assert!(whole.torn().is_none());
    let torn = read(file[..file.len() - 1].to_vec(), &Filter::default()).unwrap();
    assert_eq!(torn.datagrams(), whole.datagrams() - 1);
    let error = torn.torn().unwrap().to_string();
    assert!(error.contains("ends inside the record"), "{error}");
    // Inside the first record: nothing comes before.
    let error = read(file[..60].to_vec(), &Filter::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no UDP datagram is in it; "), "{error}");
    assert!(error.contains("ends inside the record"), "{error}");
}

#[test]
fn a_clock_that_was_set_back_does_not_turn_the_order() {
    let (source, _, payload) = traffic(1, 100).remove(0);
    let at = |seconds: u64| (source, seconds * 1_000_000_000, payload.clone());
    let back = recording(&[at(100), at(102), at(50), at(103)]);
    let times: Vec<_> = (0..4).map(|index| back.at_ns(index).unwrap()).collect();
    assert_eq!(times, [0, 2_000_000_000, 2_000_000_000, 3_000_000_000]);
    assert_eq!(back.period_ns(), 4_000_000_000);
}

#[test]
fn a_capture_that_is_larger_than_the_memory_is_refused_before_it_is_full() {
    // One exporter's, with records of variable length.
    let mut generator = Generator::new(GenerateConfig {
        flows: 20_000,
        versions: VersionShares {
            v5: 0,
            v9: 0,
            ipfix: 1,
        },
        exporters: 6,
        ..GenerateConfig::default()
    })
    .unwrap();
    let layouts: Vec<_> = generator.truth().exporters;
    let mut payload = Vec::new();
    let mut sent = Vec::new();
    while let Some(message) = generator.next_message(&mut payload) {
        if layouts[message.exporter].layout == "ipfix-application" {
            sent.push((message.source, message.at_ns, payload.clone()));
        }
    }
    let file = capture(&sent);
    let within = |limit: u64| {
        let path = Path::new("test.pcap");
        let capture = CaptureReader::from_reader(path, Cursor::new(file.clone())).unwrap();
        Recording::read_within(limit, capture, path, &Filter::default())
    };
    let whole = within(u64::MAX).unwrap();
    let before = whole.memory();
    let error = within(before / 2).unwrap_err();
    let ReplayError::TooLarge {
        datagrams, bytes, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!((before / 2..before / 2 + 2_000).contains(bytes), "{bytes}");
    assert!((1..sent.len()).contains(datagrams), "{datagrams}");
    let error = error.to_string();
    assert!(error.contains("by --exporter or --versions"), "{error}");
    // What advances is known last, and may be more than was thought: fields behind those of variable length have no stride.
    let all = memory_of(&whole.payloads, whole.entries.len(), whole.patches.len());
    assert!(all > before, "{all} {before}");
    assert!(within(all - 1).is_err());
    assert!(within(all).is_ok());
}
