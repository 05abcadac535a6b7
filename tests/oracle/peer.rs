//! `netflow_parser` as another decoder of the same messages.
//!
//! It gives each field as a typed value. That is put back into bytes and handed to the plain decoder's columns, so that
//! what is compared is everything before them: framing, templates, scoping, redefinition, field boundaries, values.
//!
//! What it cannot do is not generated: v1; field lengths of 0; variable length in v9; TCP flags of 2 bytes, of which it
//! drops those that no header has; withdrawals, which it obeys over UDP as well; options templates of scopes alone;
//! messages without sets; templates from another port of the exporter.

use std::collections::HashMap;

use forebay_udp::Datagram;
use forebay_wire::template::VARIABLE_LENGTH;
use forebay_wire::{ElementId, FieldSpecifier, Message};
use netflow_parser::variable_versions::ipfix::FlowSetBody as IpfixBody;
use netflow_parser::variable_versions::v9::{FlowSetBody as V9Body, ScopeDataField};
use netflow_parser::{AutoScopedParser, FieldValue, NetflowPacket};
use proptest::prelude::*;

use crate::plain::{Header, PlainDecoder, PlainRecord, columns};

/// The field length to generate instead of `length`, so that the other decoder can take it.
pub(crate) fn length(version: u8, element: ElementId, length: u16, natural: Option<u16>) -> u16 {
    match (element.number, length) {
        // It drops the flags that no header has.
        (6, _) => 1,
        // It refuses a template with such a field.
        (_, 0) => natural.unwrap_or(4),
        (_, VARIABLE_LENGTH) if version == 9 => natural.unwrap_or(4),
        (_, length) => length,
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Peer {
    parser: AutoScopedParser,
    /// Templates as it understood them, by version, source, domain and id.
    templates: HashMap<(u8, std::net::SocketAddr, u32, u16), Vec<FieldSpecifier>>,
    /// Makes columns of fields, and remembers what options say.
    columns: PlainDecoder,
}

impl Peer {
    /// Decodes a datagram to the data records that it holds, in their order.
    pub(crate) fn decode(
        &mut self,
        datagram: &Datagram<'_>,
    ) -> Result<Vec<PlainRecord>, TestCaseError> {
        let result = self
            .parser
            .parse_from_source(datagram.source, datagram.payload);
        assert!(
            result.error.is_none(),
            "the other decoder: {:?}",
            result.error
        );
        let mut records = Vec::new();
        for packet in result.packets {
            match packet {
                NetflowPacket::V9(packet) => {
                    let domain = packet.header.source_id;
                    for set in packet.flowsets {
                        let id = set.header.flowset_id;
                        records.extend(self.v9(datagram, domain, id, set.body));
                    }
                }
                NetflowPacket::IPFix(packet) => {
                    let domain = packet.header.observation_domain_id;
                    for set in packet.flowsets {
                        let id = set.header.header_id;
                        records.extend(self.ipfix(datagram, domain, id, set.body));
                    }
                }
                NetflowPacket::V5(packet) => {
                    for record in packet.flowsets {
                        let fields = v5(&record);
                        records.push(self.columns.record_of_fields(datagram, None, fields));
                    }
                }
                NetflowPacket::V7(packet) => {
                    for record in packet.flowsets {
                        let fields = v7(&record);
                        records.push(self.columns.record_of_fields(datagram, None, fields));
                    }
                }
                other => panic!("the other decoder has learned {other:?}"),
            }
        }
        Ok(records)
    }

    fn v9(
        &mut self,
        datagram: &Datagram<'_>,
        domain: u32,
        id: u16,
        body: V9Body,
    ) -> Vec<PlainRecord> {
        let source = datagram.source;
        match body {
            V9Body::Template(set) => {
                for template in set.templates {
                    let fields = template.fields.iter();
                    let fields = fields
                        .map(|field| specifier(0, field.field_type_number, field.field_length));
                    self.templates
                        .insert((9, source, domain, template.template_id), fields.collect());
                }
                Vec::new()
            }
            V9Body::OptionsTemplate(set) => {
                for template in set.templates {
                    // The scopes are told apart in the data, and mean nothing here.
                    let fields = template.option_fields.iter();
                    let fields = fields
                        .map(|field| specifier(0, field.field_type_number, field.field_length));
                    self.templates
                        .insert((9, source, domain, template.template_id), fields.collect());
                }
                Vec::new()
            }
            V9Body::Data(data) => {
                let template = self.templates[&(9, source, domain, id)].clone();
                let records = data.fields.iter().map(|record| {
                    let values = record.iter().map(|(_, value)| value);
                    self.columns
                        .record_of_fields(datagram, Some(id), pair(&template, values))
                });
                records.collect()
            }
            V9Body::OptionsData(data) => {
                let template = self.templates[&(9, source, domain, id)].clone();
                for record in &data.fields {
                    assert!(
                        record
                            .scope_fields
                            .iter()
                            .all(|scope| !scope_bytes(scope).is_empty())
                    );
                    let values = record.options_fields.iter().map(|(_, value)| value);
                    self.columns.learn(datagram, &pair(&template, values));
                }
                Vec::new()
            }
            V9Body::NoTemplate(_) | V9Body::Empty => Vec::new(),
        }
    }

    fn ipfix(
        &mut self,
        datagram: &Datagram<'_>,
        domain: u32,
        id: u16,
        body: IpfixBody,
    ) -> Vec<PlainRecord> {
        let source = datagram.source;
        let templates: Vec<_> = match body {
            IpfixBody::Template(template) => vec![(template.template_id, template.fields)],
            IpfixBody::Templates(templates) => templates
                .into_iter()
                .map(|template| (template.template_id, template.fields))
                .collect(),
            IpfixBody::OptionsTemplate(template) => vec![(template.template_id, template.fields)],
            IpfixBody::OptionsTemplates(templates) => templates
                .into_iter()
                .map(|template| (template.template_id, template.fields))
                .collect(),
            IpfixBody::Data(data) => {
                let template = self.templates[&(10, source, domain, id)].clone();
                let records = data.fields.iter().map(|record| {
                    let values = record.iter().map(|(_, value)| value);
                    self.columns
                        .record_of_fields(datagram, Some(id), pair(&template, values))
                });
                return records.collect();
            }
            IpfixBody::OptionsData(data) => {
                let template = self.templates[&(10, source, domain, id)].clone();
                for record in &data.fields {
                    let values = record.iter().map(|(_, value)| value);
                    self.columns.learn(datagram, &pair(&template, values));
                }
                return Vec::new();
            }
            IpfixBody::NoTemplate(_) | IpfixBody::Empty => return Vec::new(),
            other => panic!("not generated: {other:?}"),
        };
        for (id, fields) in templates {
            let fields = fields.iter().map(|field| {
                specifier(
                    field.enterprise_number.unwrap_or(0),
                    field.field_type_number,
                    field.field_length,
                )
            });
            self.templates
                .insert((10, source, domain, id), fields.collect());
        }
        Vec::new()
    }
}

fn specifier(enterprise: u32, number: u16, length: u16) -> FieldSpecifier {
    FieldSpecifier {
        element: ElementId { enterprise, number },
        length,
    }
}

fn scope_bytes(scope: &ScopeDataField) -> &[u8] {
    match scope {
        ScopeDataField::System(bytes)
        | ScopeDataField::Interface(bytes)
        | ScopeDataField::LineCard(bytes)
        | ScopeDataField::NetFlowCache(bytes)
        | ScopeDataField::Template(bytes)
        | ScopeDataField::Unknown(_, bytes) => bytes,
    }
}

/// Fields with their values as bytes.
fn pair<'v>(
    template: &[FieldSpecifier],
    values: impl ExactSizeIterator<Item = &'v FieldValue>,
) -> Vec<(FieldSpecifier, Vec<u8>)> {
    assert_eq!(template.len(), values.len());
    let values = values.map(|value| {
        let mut bytes = Vec::new();
        value
            .write_be_bytes(&mut bytes)
            .expect("a value that was read");
        bytes
    });
    template.iter().copied().zip(values).collect()
}

/// What the plain decoder makes of fields that another has found.
impl PlainDecoder {
    /// The record of these fields, in a message with that datagram's header.
    fn record_of_fields(
        &mut self,
        datagram: &Datagram<'_>,
        template_id: Option<u16>,
        fields: Vec<(FieldSpecifier, Vec<u8>)>,
    ) -> PlainRecord {
        let message = Message::parse(datagram.payload).expect("what the other takes");
        let header = Header::of(datagram, &message);
        let facts = self.facts.entry(header.domain()).or_default();
        let header = header.with_start(facts);
        columns::record(template_id, fields, &header, facts)
    }

    /// Takes what an options data record says: its fields but v9's scopes.
    fn learn(&mut self, datagram: &Datagram<'_>, fields: &[(FieldSpecifier, Vec<u8>)]) {
        let message = Message::parse(datagram.payload).expect("what the other takes");
        let domain = Header::of(datagram, &message).domain();
        self.facts.entry(domain).or_default().learn(fields);
    }
}

macro_rules! fixed_record {
    ($name:ident, $record:ty, $($number:literal = $field:ident),* ) => {
        fn $name(record: &$record) -> Vec<(FieldSpecifier, Vec<u8>)> {
            vec![$({
                let bytes = bytes(record.$field);
                (specifier(0, $number, bytes.len() as u16), bytes)
            }),*]
        }
    };
}

fixed_record!(
    v5,
    netflow_parser::static_versions::v5::FlowSet,
    8 = src_addr,
    12 = dst_addr,
    15 = next_hop,
    10 = input,
    14 = output,
    2 = d_pkts,
    1 = d_octets,
    22 = first,
    21 = last,
    7 = src_port,
    11 = dst_port,
    6 = tcp_flags,
    4 = protocol_number,
    5 = tos,
    16 = src_as,
    17 = dst_as,
    9 = src_mask,
    13 = dst_mask
);
fixed_record!(
    v7,
    netflow_parser::static_versions::v7::FlowSet,
    8 = src_addr,
    12 = dst_addr,
    15 = next_hop,
    10 = input,
    14 = output,
    2 = d_pkts,
    1 = d_octets,
    22 = first,
    21 = last,
    7 = src_port,
    11 = dst_port,
    6 = tcp_flags,
    4 = protocol_number,
    5 = tos,
    16 = src_as,
    17 = dst_as,
    9 = src_mask,
    13 = dst_mask
);

fn bytes(value: impl Bytes) -> Vec<u8> {
    value.bytes()
}

trait Bytes {
    fn bytes(self) -> Vec<u8>;
}

macro_rules! bytes_of {
    ($($type:ty: $method:ident),*) => {
        $(impl Bytes for $type {
            fn bytes(self) -> Vec<u8> {
                self.$method().to_vec()
            }
        })*
    };
}

bytes_of!(u8: to_be_bytes, u16: to_be_bytes, u32: to_be_bytes, std::net::Ipv4Addr: octets);
