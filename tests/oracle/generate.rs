//! Export traffic of all kinds: templates of known and unknown elements in right, reduced and odd lengths, options,
//! several exporters and domains, redefinitions, withdrawals.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use forebay_udp::Datagram;
use forebay_wire::element::{self, DataType};
use forebay_wire::encode::{self, FixedRecord, IpfixBuilder, V9Builder};
use forebay_wire::fixed::{self, FlowSequence};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::template::VARIABLE_LENGTH;
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{ElementId, FieldSpecifier, Template};
use proptest::collection::vec;
use proptest::prelude::*;

/// IANA's elements that fill columns, tell times or rates, or are passed over.
#[rustfmt::skip]
const ELEMENTS: [u16; 92] = [
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 27, 28, 29, 30, 32, 34, 48, 50, 56, 57, 58, 59,
    60, 61, 62, 63, 70, 71, 72, 80, 81, 82, 84, 85, 86, 89, 95, 136, 139, 150, 151, 152, 153, 154, 155, 156, 157, 158,
    159, 160, 176, 177, 178, 179, 180, 181, 182, 183, 210, 225, 226, 227, 228, 230, 231, 232, 243, 298, 299, 302, 304,
    305, 306, 309, 310, 311, 322, 323, 324, 325, 371, 433, 460,
];
/// Both families' addresses, which must occur together often to be of use.
const ADDRESSES: [u16; 6] = [8, 12, 27, 28, 15, 62];
/// Those of enterprises: the way back, and others. In v9 their numbers alone.
const ENTERPRISES: [(u32, u16); 9] = [
    (29_305, 1),
    (29_305, 2),
    (29_305, 85),
    (29_305, 86),
    (29_305, 8),
    (9, 12_235),
    (9, 1),
    (637, 92),
    (35_632, 8),
];
/// Numbers that only v9 can say.
const V9_ALONE: [u16; 6] = [33_000, 33_002, 40_001, 40_002, 40_003, 40_004];

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whatever the wire allows.
    All,
    /// What `netflow_parser` can decode as well: see the module `peer`.
    Peer,
}

/// A datagram of its own.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) source: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

impl Sent {
    pub(crate) fn datagram(&self) -> Datagram<'_> {
        Datagram {
            source: self.source,
            destination: SocketAddr::from(([192, 0, 2, 99], 2055)),
            received_ns: 1_700_000_123_456_789_000,
            payload: &self.payload,
        }
    }
}

#[derive(Debug, Clone)]
struct MessagePlan {
    version: u8,
    exporter: u8,
    port: u16,
    domain: u32,
    unix_secs: u32,
    uptime_ms: u32,
    sampling: u16,
    sets: Vec<SetPlan>,
}

#[derive(Debug, Clone)]
enum SetPlan {
    Templates(Vec<TemplatePlan>),
    Options(TemplatePlan),
    Data { id: u16, records: u8, seed: u64 },
    Withdraw(u16),
}

#[derive(Debug, Clone)]
struct TemplatePlan {
    id: u16,
    scopes: u16,
    fields: Vec<FieldPlan>,
}

#[derive(Debug, Clone, Copy)]
struct FieldPlan {
    element: ElementId,
    length: Length,
}

#[derive(Debug, Clone, Copy)]
enum Length {
    Natural,
    /// Fewer bytes than the type has.
    Reduced(u16),
    Odd(u16),
    Variable,
}

/// Messages in the order in which they are sent.
pub(crate) fn traffic(kind: Kind) -> impl Strategy<Value = Vec<Sent>> {
    vec(message(kind), 1..16).prop_map(move |plans| Builder::new(kind).build(&plans))
}

fn message(kind: Kind) -> impl Strategy<Value = MessagePlan> {
    let version = match kind {
        Kind::All => {
            prop_oneof![1 => Just(1_u8), 1 => Just(5), 1 => Just(7), 5 => Just(9), 5 => Just(10)]
                .boxed()
        }
        Kind::Peer => {
            prop_oneof![1 => Just(5_u8), 1 => Just(7), 5 => Just(9), 5 => Just(10)].boxed()
        }
    };
    let sender = (0..2_u8, 0..2_u16, 0..2_u32);
    let clock = (1_600_000_000..1_800_000_000_u32, any::<u32>(), any::<u16>());
    (version, sender, clock, vec(set(), 1..8)).prop_map(
        |(version, (exporter, port, domain), (unix_secs, uptime_ms, sampling), sets)| MessagePlan {
            version,
            exporter,
            port,
            domain,
            unix_secs,
            uptime_ms,
            sampling,
            sets,
        },
    )
}

fn set() -> impl Strategy<Value = SetPlan> {
    prop_oneof![
        4 => vec(template(14), 1..3).prop_map(SetPlan::Templates),
        2 => template(6).prop_map(SetPlan::Options),
        14 => (256..259_u16, 0..9_u8, any::<u64>())
            .prop_map(|(id, records, seed)| SetPlan::Data { id, records, seed }),
        1 => (255..259_u16).prop_map(SetPlan::Withdraw),
    ]
}

fn template(fields: usize) -> impl Strategy<Value = TemplatePlan> {
    let plan = (256..259_u16, 1..3_u16, vec(field(), 1..fields));
    plan.prop_map(|(id, scopes, fields)| TemplatePlan { id, scopes, fields })
}

fn field() -> impl Strategy<Value = FieldPlan> {
    let iana =
        |numbers: &'static [u16]| proptest::sample::select(numbers).prop_map(ElementId::iana);
    let element = prop_oneof![
        8 => iana(&ELEMENTS),
        3 => iana(&ADDRESSES),
        1 => iana(&V9_ALONE),
        2 => proptest::sample::select(&ENTERPRISES[..]).prop_map(|(e, n)| ElementId::new(e, n)),
        1 => (0..600_u16).prop_map(ElementId::iana),
    ];
    let length = prop_oneof![
        12 => Just(Length::Natural),
        3 => (1..8_u16).prop_map(Length::Reduced),
        2 => (0..20_u16).prop_map(Length::Odd),
        1 => Just(Length::Variable),
    ];
    (element, length).prop_map(|(element, length)| FieldPlan { element, length })
}

/// The length that an element's type has; `None` where any will do.
fn natural_length(data_type: Option<DataType>) -> Option<u16> {
    Some(match data_type? {
        DataType::Unsigned8 | DataType::Signed8 | DataType::Boolean => 1,
        DataType::Unsigned16 | DataType::Signed16 => 2,
        DataType::Unsigned32 | DataType::Signed32 | DataType::Float32 => 4,
        DataType::Ipv4Address | DataType::DateTimeSeconds => 4,
        DataType::MacAddress => 6,
        DataType::Unsigned64 | DataType::Signed64 | DataType::Float64 => 8,
        DataType::DateTimeMilliseconds => 8,
        DataType::DateTimeMicroseconds | DataType::DateTimeNanoseconds => 8,
        DataType::Ipv6Address => 16,
        DataType::Unsigned256 => 32,
        _ => return None,
    })
}

/// A transport session and observation domain.
type Session = (u8, u8, u16, u32);

struct Builder {
    kind: Kind,
    /// The template that each session sent last.
    templates: HashMap<(Session, u16), Template>,
    sequence: u32,
}

impl Builder {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            templates: HashMap::new(),
            sequence: 0,
        }
    }

    fn build(mut self, plans: &[MessagePlan]) -> Vec<Sent> {
        let sets = |plan: &&MessagePlan| {
            // The other decoder refuses a message without sets.
            self.kind == Kind::All
                || plan
                    .sets
                    .iter()
                    .any(|set| !matches!(set, SetPlan::Withdraw(_)))
        };
        let plans: Vec<_> = plans.iter().filter(sets).collect();
        plans.into_iter().map(|plan| self.message(plan)).collect()
    }

    fn message(&mut self, plan: &MessagePlan) -> Sent {
        // The other decoder keeps templates by port, as the RFC has it; ours looks further.
        let port = if self.kind == Kind::Peer {
            0
        } else {
            plan.port
        };
        let session = (plan.version, plan.exporter, port, plan.domain);
        self.sequence = self.sequence.wrapping_add(1);
        let mut payload = Vec::new();
        match plan.version {
            9 => self.v9(plan, session, &mut payload),
            10 => self.ipfix(plan, session, &mut payload),
            version => self.fixed(plan, version, &mut payload),
        }
        let address = Ipv4Addr::new(192, 0, 2, plan.exporter + 1);
        Sent {
            source: (address, 4000 + port).into(),
            payload,
        }
    }

    fn fixed(&self, plan: &MessagePlan, version: u8, payload: &mut Vec<u8>) {
        let header = fixed::Header {
            version: match version {
                1 => fixed::Version::V1,
                5 => fixed::Version::V5,
                _ => fixed::Version::V7,
            },
            count: 0,
            uptime_ms: plan.uptime_ms,
            unix_secs: plan.unix_secs,
            unix_nsecs: plan.uptime_ms % 1_000_000_000,
            flow_sequence: FlowSequence(self.sequence),
            engine_type: 0,
            engine_id: plan.domain as u8,
            sampling: plan.sampling,
        };
        let mut random = Random(u64::from(plan.unix_secs) | 1);
        let records = (0..plan.sets.len()).map(|_| {
            let mut word = || random.next() as u32;
            FixedRecord {
                source: word().into(),
                destination: word().into(),
                next_hop: word().into(),
                input: word() as u16,
                output: word() as u16,
                packets: word(),
                octets: word(),
                // Mostly in order, and before the message.
                first_ms: plan.uptime_ms.wrapping_sub(word() % 100_000),
                last_ms: plan.uptime_ms.wrapping_sub(word() % 50_000),
                source_port: word() as u16,
                destination_port: word() as u16,
                tcp_flags: word() as u8,
                protocol: if word() % 3 == 0 { 1 } else { word() as u8 },
                tos: word() as u8,
                source_as: word() as u16,
                destination_as: word() as u16,
                source_mask: word() as u8,
                destination_mask: word() as u8,
                router: word().into(),
            }
        });
        encode::fixed(payload, &header, records).expect("few records");
    }

    fn v9(&mut self, plan: &MessagePlan, session: Session, payload: &mut Vec<u8>) {
        let header = v9::Header {
            count: 0,
            uptime_ms: plan.uptime_ms,
            unix_secs: plan.unix_secs,
            sequence: MessageSequence(self.sequence),
            source_id: plan.domain,
        };
        let mut builder = V9Builder::new(payload, header);
        for set in &plan.sets {
            match set {
                SetPlan::Templates(templates) => {
                    let templates = self.define(templates, session, false);
                    builder.templates(&templates);
                }
                SetPlan::Options(template) => {
                    let templates = self.define(std::slice::from_ref(template), session, true);
                    builder.options_templates(&templates);
                }
                SetPlan::Data { id, records, seed } => {
                    let records = self.records(session, *id, *records, *seed);
                    builder.data(*id, records, |out, record| out.extend(record));
                }
                SetPlan::Withdraw(_) => {}
            }
        }
        builder.finish().expect("a message of a few sets");
    }

    fn ipfix(&mut self, plan: &MessagePlan, session: Session, payload: &mut Vec<u8>) {
        let header = ipfix::Header {
            length: 0,
            export_secs: plan.unix_secs,
            sequence: RecordSequence(self.sequence),
            observation_domain: plan.domain,
        };
        let mut builder = IpfixBuilder::new(payload, header);
        for set in &plan.sets {
            match set {
                SetPlan::Templates(templates) => {
                    let templates = self.define(templates, session, false);
                    builder.templates(&templates);
                }
                SetPlan::Options(template) => {
                    let templates = self.define(std::slice::from_ref(template), session, true);
                    builder.options_templates(&templates);
                }
                SetPlan::Data { id, records, seed } => {
                    let records = self.records(session, *id, *records, *seed);
                    builder.data(*id, records, |out, record| out.extend(record));
                }
                // The other decoder obeys withdrawals over UDP too, which RFC 7011 §8.4 forbids.
                SetPlan::Withdraw(_) if self.kind == Kind::Peer => {}
                SetPlan::Withdraw(id) => {
                    builder.withdraw_templates(&[if *id == 255 { 2 } else { *id }]);
                }
            }
        }
        builder.finish().expect("a message of a few sets");
    }

    fn define(&mut self, plans: &[TemplatePlan], session: Session, options: bool) -> Vec<Template> {
        let plans = plans.iter().map(|plan| {
            let fields = plan
                .fields
                .iter()
                .map(|field| self.specifier(*field, session.0));
            let mut fields: Vec<_> = fields.collect();
            // Content that is never zero, so that no record is taken for padding, nor padding for a record.
            let marker = FieldSpecifier {
                element: ElementId::iana(148),
                length: 4,
            };
            fields.push(marker);
            let scopes = if options {
                // The marker is none: the other decoder wants an option behind the scopes.
                plan.scopes.min(fields.len() as u16 - 1)
            } else {
                0
            };
            Template {
                id: plan.id,
                scope_count: scopes,
                fields,
            }
        });
        let templates: Vec<_> = plans.collect();
        for template in &templates {
            self.templates
                .insert((session, template.id), template.clone());
        }
        templates
    }

    fn specifier(&self, plan: FieldPlan, version: u8) -> FieldSpecifier {
        let ElementId { enterprise, number } = plan.element;
        let element = match version {
            9 => ElementId::iana(number),
            _ => ElementId::new(enterprise, number & 0x7fff),
        };
        let data_type = element::lookup(element).map(|element| element.data_type);
        let natural = natural_length(data_type);
        let length = match (plan.length, natural) {
            (Length::Natural, Some(length)) => length,
            (Length::Natural, None) => 5,
            (Length::Reduced(length), Some(natural)) if natural <= 8 => length.min(natural),
            (Length::Reduced(_), natural) => natural.unwrap_or(3),
            (Length::Odd(length), _) => length,
            (Length::Variable, _) => VARIABLE_LENGTH,
        };
        let length = match self.kind {
            Kind::All => length,
            Kind::Peer => crate::peer::length(version, element, length, natural),
        };
        FieldSpecifier { element, length }
    }

    /// Records by the template that the session, or another of its domain, has sent; random bytes where none has.
    fn records(&self, session: Session, id: u16, count: u8, seed: u64) -> Vec<Vec<u8>> {
        let mut random = Random(seed | 1);
        let (version, exporter, port, domain) = session;
        let ports = [port, 1 - port];
        let mut known = ports
            .into_iter()
            .filter_map(|port| self.templates.get(&((version, exporter, port, domain), id)));
        let Some(template) = known.next() else {
            return vec![random.octets(usize::from(count) * 7)];
        };
        (0..count).map(|_| random.record(template)).collect()
    }
}

/// Xorshift: content that a seed tells.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// Zeros, a small number, or any.
    fn content(&mut self, length: usize) -> Vec<u8> {
        let small = 1 + (self.next() >> 40) as usize % 2;
        let random = match self.next() >> 33 & 3 {
            0 => 0,
            1 => small.min(length),
            _ => length,
        };
        let mut content = vec![0; length - random];
        content.extend(self.octets(random));
        content
    }

    fn record(&mut self, template: &Template) -> Vec<u8> {
        let mut record = Vec::new();
        let (last, fields) = template.fields.split_last().expect("the marker");
        for field in fields {
            if field.is_variable() {
                let length = match self.next() >> 33 & 15 {
                    0 => 250 + (self.next() >> 40) as usize % 10,
                    length => length as usize,
                };
                encode::variable_length(&mut record, &self.content(length));
            } else {
                record.extend(self.content(field.length.into()));
            }
        }
        let marker = self.octets(last.length.into());
        record.extend(marker.into_iter().map(|octet| octet | 1));
        record
    }
}
