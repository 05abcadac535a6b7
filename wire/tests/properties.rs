//! Properties of what is read: no input panics, and what is written is read the same.

mod common;

use std::net::Ipv4Addr;

use common::{ALL, walk};
use forebay_wire::encode::{self, FixedRecord, IpfixBuilder, V9Builder};
use forebay_wire::fixed::{self, FlowSequence};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::template::VARIABLE_LENGTH;
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{
    ElementId, FieldSpecifier, Message, Records, Set, SetKind, Template, TemplateRecord,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that open as a message does, so that more of them get past the header.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let version = prop::sample::select(vec![1_u8, 5, 7, 9, 10]);
    (version, vec(any::<u8>(), 0..300)).prop_map(|(version, rest)| {
        let mut datagram = vec![0, version];
        datagram.extend(rest);
        datagram
    })
}

/// A template, with the contents of some records: none is shorter than three bytes, nor all zeros, so that padding is
/// not taken for one.
fn layout(enterprises: bool) -> impl Strategy<Value = (Template, Vec<Vec<Vec<u8>>>)> {
    let field = (
        0..=0x7fff_u16,
        prop::option::of(1..u32::MAX),
        0..20_u16,
        0..5_u8,
    );
    (256..=u16::MAX, vec(field, 0..12), 0..4_usize, any::<u16>()).prop_flat_map(
        move |(id, fields, records, scopes)| {
            let mut fields: Vec<_> = fields
                .into_iter()
                .map(|(number, enterprise, length, variable)| FieldSpecifier {
                    element: ElementId {
                        enterprise: enterprise.filter(|_| enterprises).unwrap_or(0),
                        number,
                    },
                    length: if variable == 0 {
                        VARIABLE_LENGTH
                    } else {
                        length
                    },
                })
                .collect();
            fields.push(FieldSpecifier {
                element: ElementId::iana(8),
                length: 4,
            });
            let template = Template {
                id,
                scope_count: scopes % u16::try_from(fields.len()).unwrap(),
                fields,
            };
            let contents: Vec<_> = template
                .fields
                .iter()
                .map(|field| match field.length {
                    VARIABLE_LENGTH => vec(any::<u8>(), 0..400).boxed(),
                    length => vec(1..=u8::MAX, usize::from(length)).boxed(),
                })
                .collect();
            (Just(template), vec(contents, records))
        },
    )
}

fn write(template: &Template, out: &mut Vec<u8>, contents: &[Vec<u8>]) {
    for (field, content) in template.fields.iter().zip(contents) {
        if field.is_variable() {
            encode::variable_length(out, content);
        } else {
            out.extend(content);
        }
    }
}

/// The one template and the records of a message's sets.
fn read<'a, E: std::fmt::Debug>(
    sets: impl Iterator<Item = Result<Set<'a>, E>>,
) -> (Template, Vec<Vec<Vec<u8>>>) {
    let mut template = None;
    let mut records = Vec::new();
    for set in sets.map(Result::unwrap) {
        if set.kind() == SetKind::Data {
            let template = template.as_ref().unwrap();
            records.extend(Records::new(template, set.body).map(|record| {
                let fields = record.unwrap();
                let fields = fields.fields().map(|(_, content)| content.to_vec());
                fields.collect::<Vec<_>>()
            }));
        }
        for record in set.templates() {
            let Ok(TemplateRecord::Define(definition)) = record else {
                panic!("{record:?}");
            };
            assert_eq!(
                definition.fields().count(),
                definition.to_template(99).unwrap().fields.len()
            );
            template = Some(definition.to_template(99).unwrap());
        }
    }
    (template.unwrap(), records)
}

proptest! {
    #[test]
    fn no_bytes_panic(datagram in datagram()) {
        walk(&datagram);
    }

    #[test]
    fn no_change_to_a_good_datagram_panics(
        which in 0..ALL.len(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut datagram = ALL[which].to_vec();
        for (index, byte) in changes {
            let index = index.index(datagram.len());
            datagram[index] = byte;
        }
        datagram.truncate(cut.index(datagram.len()) + 1);
        walk(&datagram);
    }

    #[test]
    fn what_is_written_in_v9_is_read_the_same((template, records) in layout(false)) {
        let header = v9::Header {
            count: 0,
            uptime_ms: 1,
            unix_secs: 2,
            sequence: MessageSequence(3),
            source_id: 4,
        };
        let mut datagram = Vec::new();
        let mut builder = V9Builder::new(&mut datagram, header);
        if template.is_options() {
            builder.options_templates([&template]);
        } else {
            builder.templates([&template]);
        }
        builder.data(template.id, &records, |out, contents| write(&template, out, contents));
        builder.finish().unwrap();
        let Ok(Message::V9(message)) = Message::parse(&datagram) else {
            panic!("not v9");
        };
        let count = u16::try_from(1 + records.len()).unwrap();
        prop_assert_eq!(message.header, v9::Header { count, ..header });
        prop_assert_eq!(read(message.sets()), (template, records));
    }

    #[test]
    fn what_is_written_in_ipfix_is_read_the_same((template, records) in layout(true)) {
        let header = ipfix::Header {
            length: 0,
            export_secs: 2,
            sequence: RecordSequence(3),
            observation_domain: 4,
        };
        let mut datagram = Vec::new();
        let mut builder = IpfixBuilder::new(&mut datagram, header);
        if template.is_options() {
            builder.options_templates([&template]);
        } else {
            builder.templates([&template]);
        }
        builder.data(template.id, &records, |out, contents| write(&template, out, contents));
        builder.finish().unwrap();
        let Ok(Message::Ipfix(message)) = Message::parse(&datagram) else {
            panic!("not IPFIX");
        };
        let length = u16::try_from(datagram.len()).unwrap();
        prop_assert_eq!(message.header, ipfix::Header { length, ..header });
        prop_assert_eq!(message.problem(), None);
        prop_assert_eq!(read(message.sets()), (template, records));
    }

    #[test]
    fn what_is_written_in_fixed_records_is_read_the_same(
        version in prop::sample::select(vec![fixed::Version::V1, fixed::Version::V5, fixed::Version::V7]),
        words in any::<[u32; 8]>(),
        halves in any::<[u16; 7]>(),
        bytes in any::<[u8; 5]>(),
        copies in 0..30_u16,
    ) {
        let header = fixed::Header {
            version,
            count: copies,
            uptime_ms: words[0],
            unix_secs: words[1],
            unix_nsecs: words[2],
            flow_sequence: FlowSequence(if version == fixed::Version::V1 { 0 } else { words[3] }),
            engine_type: 0,
            engine_id: 0,
            sampling: if version == fixed::Version::V5 { halves[6] } else { 0 },
        };
        let record = FixedRecord {
            source: Ipv4Addr::from(words[0]),
            destination: Ipv4Addr::from(words[1]),
            next_hop: Ipv4Addr::from(words[2]),
            input: halves[0],
            output: halves[1],
            packets: words[4],
            octets: words[5],
            first_ms: words[6],
            last_ms: words[7],
            source_port: halves[2],
            destination_port: halves[3],
            tcp_flags: bytes[0],
            protocol: bytes[1],
            tos: bytes[2],
            source_as: halves[4],
            destination_as: halves[5],
            source_mask: bytes[3],
            destination_mask: bytes[4],
            router: Ipv4Addr::from(words[3]),
        };
        let mut datagram = Vec::new();
        encode::fixed(&mut datagram, &header, (0..copies).map(|_| record)).unwrap();
        let Ok(Message::Fixed(message)) = Message::parse(&datagram) else {
            panic!("not fixed");
        };
        prop_assert_eq!(message.header, header);
        prop_assert_eq!(message.problem(), None);
        prop_assert_eq!(message.record_count(), usize::from(copies));
        for bytes in message.records().chunks(message.record_length()) {
            for field in version.fields() {
                let content = &bytes[usize::from(field.offset)..][..usize::from(field.length)];
                let value = content.iter().fold(0, |value, &byte| value << 8 | u32::from(byte));
                let expected: u32 = match field.element.number {
                    8 => record.source.into(),
                    12 => record.destination.into(),
                    15 => record.next_hop.into(),
                    10 => record.input.into(),
                    14 => record.output.into(),
                    2 => record.packets,
                    1 => record.octets,
                    22 => record.first_ms,
                    21 => record.last_ms,
                    7 => record.source_port.into(),
                    11 => record.destination_port.into(),
                    6 => record.tcp_flags.into(),
                    4 => record.protocol.into(),
                    5 => record.tos.into(),
                    16 => record.source_as.into(),
                    17 => record.destination_as.into(),
                    9 => record.source_mask.into(),
                    13 => record.destination_mask.into(),
                    43 => record.router.into(),
                    number => panic!("element {number}"),
                };
                prop_assert_eq!(value, expected, "element {}", field.element);
            }
        }
    }
}
