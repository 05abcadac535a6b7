//! What a few exporters send: messages whose templates and data sets fit together often enough.

use std::net::SocketAddr;

use arbitrary::Arbitrary;
use forebay_wire::encode::{EncodeError, IpfixBuilder, V9Builder};
use forebay_wire::ipfix::RecordSequence;
use forebay_wire::v9::MessageSequence;
use forebay_wire::{ElementId, FieldSpecifier, Template, ipfix, v9};

use crate::books::Books;

/// Messages of a few exporters, and what happens between them.
#[derive(Debug, Arbitrary)]
pub struct Exchange(Vec<Step>);

#[derive(Debug, Arbitrary)]
enum Step {
    Message(Message),
    /// A message whose bytes are made up.
    Raw(Sender, Vec<u8>),
    Wait {
        milliseconds: i16,
    },
    Tick,
    Rotate,
    Restart,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Sender {
    address: u8,
    port: u8,
}

#[derive(Debug, Arbitrary)]
struct Message {
    sender: Sender,
    ipfix: bool,
    domain: u8,
    uptime_ms: u32,
    export_secs: i16,
    sequence: u8,
    sets: Vec<Set>,
}

#[derive(Debug, Arbitrary)]
enum Set {
    Templates(Vec<Layout>),
    Options(Vec<Layout>),
    Data { id: u8, records: Vec<Vec<u8>> },
    Body { id: u16, body: Vec<u8> },
    Withdraw(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Layout {
    id: u8,
    scopes: u8,
    fields: Vec<Field>,
}

#[derive(Debug, Arbitrary)]
enum Field {
    /// An element that has a column, or says a time or a sampling rate.
    Known {
        place: u8,
        length: u8,
    },
    Reverse {
        number: u8,
        length: u8,
    },
    Variable {
        number: u16,
    },
    Any {
        enterprise: u8,
        number: u16,
        length: u16,
    },
}

/// Elements that the collector knows what to do with.
const KNOWN: [u16; 74] = [
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 23, 24, 27, 28, 29, 30, 31,
    32, 34, 35, 48, 49, 50, 56, 57, 58, 59, 60, 61, 62, 63, 70, 71, 72, 80, 81, 85, 86, 89, 136,
    139, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 176, 177, 180, 225, 230, 231, 233,
    302, 304, 305, 306, 322, 323,
];
/// RFC 5103.
const REVERSE_ENTERPRISE: u32 = 29305;
const VARIABLE: u16 = u16::MAX;

impl Exchange {
    /// Sends it all.
    pub fn play(&self, books: &mut Books) {
        let mut datagram = Vec::new();
        for step in &self.0 {
            match step {
                Step::Message(message) => {
                    if message.write(&mut datagram).is_ok() {
                        books.decode(message.sender.address(), &datagram);
                    }
                }
                Step::Raw(sender, datagram) => books.decode(sender.address(), datagram),
                Step::Wait { milliseconds } => books.advance(i64::from(*milliseconds) * 1000),
                Step::Tick => books.tick(),
                Step::Rotate => books.rotate(),
                Step::Restart => books.restart(),
            }
        }
    }
}

impl Sender {
    fn address(self) -> SocketAddr {
        let port = u16::from(self.port % 8) + 1024;
        match self.address % 5 {
            4 => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port)),
            host => SocketAddr::from(([192, 0, 2, host], port)),
        }
    }
}

impl Message {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let domain = u32::from(self.domain % 4);
        let secs = (crate::START_US / 1_000_000) + i64::from(self.export_secs);
        let secs = u32::try_from(secs).unwrap_or_default();
        let sequence = u32::from(self.sequence);
        // The builders differ in what they end with, and in withdrawals.
        if self.ipfix {
            let mut builder = IpfixBuilder::new(
                out,
                ipfix::Header {
                    length: 0,
                    export_secs: secs,
                    sequence: RecordSequence(sequence),
                    observation_domain: domain,
                },
            );
            for set in &self.sets {
                match set {
                    Set::Templates(layouts) => {
                        builder.templates(&Layout::templates(layouts, true));
                    }
                    Set::Options(layouts) => {
                        builder.options_templates(&Layout::templates(layouts, true));
                    }
                    Set::Data { id, records } => {
                        builder.data(template_id(*id), records, |out, record| out.extend(record));
                    }
                    Set::Body { id, body } => {
                        builder.data(*id, [body], |out, body| out.extend(body));
                    }
                    Set::Withdraw(ids) => {
                        let ids: Vec<_> = ids.iter().map(|&id| template_id(id)).collect();
                        builder.withdraw_templates(&ids);
                    }
                }
            }
            builder.finish()
        } else {
            let mut builder = V9Builder::new(
                out,
                v9::Header {
                    count: 0,
                    uptime_ms: self.uptime_ms,
                    unix_secs: secs,
                    sequence: MessageSequence(sequence),
                    source_id: domain,
                },
            );
            for set in &self.sets {
                match set {
                    Set::Templates(layouts) => {
                        builder.templates(&Layout::templates(layouts, false));
                    }
                    Set::Options(layouts) => {
                        builder.options_templates(&Layout::templates(layouts, false));
                    }
                    Set::Data { id, records } => {
                        builder.data(template_id(*id), records, |out, record| out.extend(record));
                    }
                    Set::Body { id, body } => {
                        builder.data(*id, [body], |out, body| out.extend(body));
                    }
                    Set::Withdraw(_) => {}
                }
            }
            builder.finish()
        }
    }
}

/// Few, so that templates are met again and redefined.
fn template_id(id: u8) -> u16 {
    256 + u16::from(id % 6)
}

impl Layout {
    fn templates(layouts: &[Self], ipfix: bool) -> Vec<Template> {
        layouts
            .iter()
            .map(|layout| Template {
                id: template_id(layout.id),
                scope_count: 1 + u16::from(layout.scopes % 3),
                fields: layout
                    .fields
                    .iter()
                    .map(|field| field.specifier(ipfix))
                    .collect(),
            })
            .collect()
    }
}

impl Field {
    fn specifier(&self, ipfix: bool) -> FieldSpecifier {
        let (enterprise, number, length) = match *self {
            Self::Known { place, length } => {
                let number = KNOWN[usize::from(place) % KNOWN.len()];
                (0, number, u16::from(length % 17))
            }
            Self::Reverse { number, length } => {
                (REVERSE_ENTERPRISE, u16::from(number), u16::from(length % 9))
            }
            Self::Variable { number } => (0, number, VARIABLE),
            Self::Any {
                enterprise,
                number,
                length,
            } => (u32::from(enterprise), number, length),
        };
        FieldSpecifier {
            element: ElementId {
                enterprise: if ipfix { enterprise } else { 0 },
                number: if ipfix { number & 0x7fff } else { number },
            },
            length,
        }
    }
}
