//! `netflow_parser`: what it finds in a capture.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use forebay_udp::capture::CaptureReader;
use netflow_parser::variable_versions::ipfix::FlowSetBody as IpfixBody;
use netflow_parser::variable_versions::v9::FlowSetBody as V9Body;
use netflow_parser::{AutoScopedParser, FieldValue, NetflowPacket};

use super::{Found, Tuple};

/// RFC 5103.
const REVERSE: u32 = 29305;

/// An element: its enterprise and its number.
type Element = (u32, u16);

/// Whose templates, and which: version, session, domain, id.
type Key = (u8, SocketAddr, u32, u16);

pub(super) fn find(capture: &Path) -> Found {
    let mut capture = CaptureReader::open(capture).expect("a capture");
    let mut parser = AutoScopedParser::default();
    let mut reader = Reader::default();
    while let Some(datagram) = capture.next().expect("it is whole") {
        let result = parser.parse_from_source(datagram.source, datagram.payload);
        assert!(result.error.is_none(), "{:?}", result.error);
        assert_eq!(result.packets.len(), 1, "a datagram is a message");
        for packet in result.packets {
            reader.packet(datagram.source, packet);
        }
    }
    reader.found
}

#[derive(Default)]
struct Reader {
    templates: HashMap<Key, Vec<Element>>,
    found: Found,
}

impl Reader {
    fn packet(&mut self, source: SocketAddr, packet: NetflowPacket) {
        match packet {
            NetflowPacket::V5(packet) => {
                self.found.part(source.ip(), 5).datagrams += 1;
                for flow in packet.flowsets {
                    let part = self.found.part(source.ip(), 5);
                    part.flows += 1;
                    part.packets += u64::from(flow.d_pkts);
                    part.bytes += u64::from(flow.d_octets);
                    self.found.tuples.insert(Tuple::new(
                        [flow.src_addr, flow.dst_addr].map(IpAddr::from),
                        [flow.src_port, flow.dst_port],
                        flow.protocol_number,
                    ));
                }
            }
            NetflowPacket::V9(packet) => {
                self.found.part(source.ip(), 9).datagrams += 1;
                let domain = packet.header.source_id;
                for set in packet.flowsets {
                    self.v9(source, domain, set.header.flowset_id, set.body);
                }
            }
            NetflowPacket::IPFix(packet) => {
                self.found.part(source.ip(), 10).datagrams += 1;
                let domain = packet.header.observation_domain_id;
                for set in packet.flowsets {
                    self.ipfix(source, domain, set.header.header_id, set.body);
                }
            }
            other => panic!("not generated: {other:?}"),
        }
    }

    fn v9(&mut self, source: SocketAddr, domain: u32, id: u16, body: V9Body) {
        match body {
            V9Body::Template(set) => {
                for template in set.templates {
                    self.found.part(source.ip(), 9).templates += 1;
                    let fields = template.fields.iter();
                    let elements = fields.map(|field| (0, field.field_type_number));
                    let key = (9, source, domain, template.template_id);
                    self.templates.insert(key, elements.collect());
                }
            }
            V9Body::OptionsTemplate(set) => {
                self.found.part(source.ip(), 9).options_templates += set.templates.len() as u64;
            }
            V9Body::OptionsData(data) => {
                self.found.part(source.ip(), 9).options_records += data.fields.len() as u64;
            }
            V9Body::Data(data) => {
                for record in &data.fields {
                    let values = record.iter().map(|(_, value)| value);
                    self.record((9, source, domain, id), values);
                }
            }
            other => panic!("not generated: {other:?}"),
        }
    }

    fn ipfix(&mut self, source: SocketAddr, domain: u32, id: u16, body: IpfixBody) {
        let templates = match body {
            IpfixBody::Template(template) => vec![template],
            IpfixBody::Templates(templates) => templates,
            IpfixBody::OptionsTemplate(_) => {
                self.found.part(source.ip(), 10).options_templates += 1;
                return;
            }
            IpfixBody::OptionsTemplates(templates) => {
                self.found.part(source.ip(), 10).options_templates += templates.len() as u64;
                return;
            }
            IpfixBody::OptionsData(data) => {
                self.found.part(source.ip(), 10).options_records += data.fields.len() as u64;
                return;
            }
            IpfixBody::Data(data) => {
                for record in &data.fields {
                    let values = record.iter().map(|(_, value)| value);
                    self.record((10, source, domain, id), values);
                }
                return;
            }
            other => panic!("not generated: {other:?}"),
        };
        for template in templates {
            self.found.part(source.ip(), 10).templates += 1;
            let elements = template.fields.iter().map(|field| {
                let enterprise = field.enterprise_number.unwrap_or(0);
                (enterprise, field.field_type_number)
            });
            let key = (10, source, domain, template.template_id);
            self.templates.insert(key, elements.collect());
        }
    }

    fn record<'v>(&mut self, key: Key, values: impl ExactSizeIterator<Item = &'v FieldValue>) {
        let (version, source, ..) = key;
        let elements = &self.templates[&key];
        assert_eq!(elements.len(), values.len());
        let record: HashMap<Element, Vec<u8>> =
            elements.iter().copied().zip(values.map(bytes)).collect();
        let content = |number| record.get(&(0, number));
        let number = |element| record.get(&element).map_or(0, |bytes| number(bytes));
        let address = |ipv4, ipv6| match (content(ipv4), content(ipv6)) {
            (Some(bytes), _) => IpAddr::from(<[u8; 4]>::try_from(&bytes[..]).expect("IPv4")),
            (None, Some(bytes)) => IpAddr::from(<[u8; 16]>::try_from(&bytes[..]).expect("IPv6")),
            (None, None) => panic!("no address"),
        };
        let part = self.found.part(source.ip(), version);
        part.flows += 1;
        part.packets += number((0, 2));
        part.bytes += number((0, 1));
        part.reverse_packets += number((REVERSE, 2));
        part.reverse_bytes += number((REVERSE, 1));
        self.found.tuples.insert(Tuple::new(
            [address(8, 27), address(12, 28)],
            [7, 11].map(|element| number((0, element)) as u16),
            number((0, 4)) as u8,
        ));
    }
}

fn bytes(value: &FieldValue) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = value.write_be_bytes(&mut bytes);
    written.expect("a value that was read");
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}
