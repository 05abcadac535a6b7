//! Datagrams written by hand from the specifications, and a walk through everything in one.

use std::collections::HashMap;

use forebay_wire::{Message, Records, Set, SetKind, TemplateRecord, Value, element};

/// NetFlow v1, one record.
#[rustfmt::skip]
pub(crate) const V1: &[u8] = &[
    0, 1, 0, 1,                 // version, count
    0, 1, 0x38, 0x80,           // uptime 80,000 ms
    0x65, 0x53, 0xf1, 0,        // 1,700,000,000 s
    0, 0, 0, 5,                 // 5 ns
    192, 0, 2, 1,               // source
    198, 51, 100, 2,            // destination
    203, 0, 113, 3,             // next hop
    0, 4, 0, 5,                 // interfaces
    0, 0, 0, 6, 0, 0, 2, 0x58,  // 6 packets, 600 bytes
    0, 0, 0, 7, 0, 0, 0, 8,     // first, last
    0x30, 0x39, 0, 80,          // ports 12345, 80
    0, 0,                       // padding
    6, 0x10, 0x1b,              // protocol, type of service, flags
    0, 0, 0,                    // padding
    0, 0, 0, 0, 0, 0, 0, 0,     // reserved
];

/// NetFlow v5, two records.
#[rustfmt::skip]
pub(crate) const V5: &[u8] = &[
    0, 5, 0, 2,                 // version, count
    0, 1, 0x38, 0x80,           // uptime 80,000 ms
    0x65, 0x53, 0xf1, 0,        // 1,700,000,000 s
    0, 0, 0, 5,                 // 5 ns
    0, 0, 0, 42,                // flow sequence
    1, 2,                       // engine
    0x80, 100,                  // random, one of 100
    192, 0, 2, 1,               // source
    198, 51, 100, 2,            // destination
    203, 0, 113, 3,             // next hop
    0, 4, 0, 5,                 // interfaces
    0, 0, 0, 6, 0, 0, 2, 0x58,  // 6 packets, 600 bytes
    0, 0, 0, 7, 0, 0, 0, 8,     // first, last
    0x30, 0x39, 0, 80,          // ports 12345, 80
    0, 0x1b, 6, 0x10,           // padding, flags, protocol, type of service
    0xfd, 0xe9, 0xfd, 0xea,     // AS 65001, 65002
    24, 16, 0, 0,               // masks, padding
    192, 0, 2, 9,
    198, 51, 100, 9,
    0, 0, 0, 0,
    0, 4, 0, 5,
    0, 0, 0, 1, 0, 0, 0, 84,
    0, 0, 0, 9, 0, 0, 0, 9,
    0, 0, 8, 0,                 // ICMP type 8, code 0
    0, 0, 1, 0,
    0, 0, 0, 0,
    0, 0, 0, 0,
];

/// NetFlow v7, one record.
#[rustfmt::skip]
pub(crate) const V7: &[u8] = &[
    0, 7, 0, 1,                 // version, count
    0, 1, 0x38, 0x80,           // uptime 80,000 ms
    0x65, 0x53, 0xf1, 0,        // 1,700,000,000 s
    0, 0, 0, 5,                 // 5 ns
    0, 0, 0, 42,                // flow sequence
    0, 0, 0, 0,                 // reserved
    192, 0, 2, 1,               // source
    198, 51, 100, 2,            // destination
    203, 0, 113, 3,             // next hop
    0, 4, 0, 5,                 // interfaces
    0, 0, 0, 6, 0, 0, 2, 0x58,  // 6 packets, 600 bytes
    0, 0, 0, 7, 0, 0, 0, 8,     // first, last
    0x30, 0x39, 0, 80,          // ports 12345, 80
    0, 0x1b, 6, 0x10,           // validity, flags, protocol, type of service
    0xfd, 0xe9, 0xfd, 0xea,     // AS 65001, 65002
    24, 16, 0, 0,               // masks, validity
    192, 0, 2, 254,             // short-cut router
];

/// NetFlow v9: a template, an options template, data of both (RFC 3954 §5 and §6), and padding behind.
#[rustfmt::skip]
pub(crate) const V9: &[u8] = &[
    0, 9, 0, 5,                 // version, count of records
    0, 1, 0x38, 0x80,           // uptime 80,000 ms
    0x65, 0x53, 0xf1, 0,        // 1,700,000,000 s
    0, 0, 0, 42,                // sequence
    0, 0, 0, 7,                 // source id
    0, 0, 0, 24,                // template set
    1, 0, 0, 4,                 // template 256, four fields
    0, 8, 0, 4, 0, 12, 0, 4, 0, 2, 0, 4, 0, 4, 0, 1,
    0, 1, 0, 24,                // options template set
    1, 1, 0, 4, 0, 8,           // template 257, four bytes of scopes, eight of options
    0, 1, 0, 4,                 // scope: system
    0, 34, 0, 4, 0, 35, 0, 1,   // sampling interval and algorithm
    0, 0,                       // padding
    1, 0, 0, 32,                // data set of 256
    192, 0, 2, 1, 198, 51, 100, 2, 0, 0, 0, 6, 6,
    192, 0, 2, 9, 198, 51, 100, 9, 0, 0, 0, 1, 17,
    0, 0,                       // padding
    1, 1, 0, 16,                // data set of 257
    10, 0, 0, 1, 0, 0, 0, 100, 2,
    0, 0, 0,                    // padding
    0, 0, 0, 0, 0, 0, 0, 0,     // zeros behind the last set
];

/// IPFIX: the same, with an enterprise's element, fields of variable length and a withdrawal (RFC 7011 §3, §7, §8.1).
#[rustfmt::skip]
pub(crate) const IPFIX: &[u8] = &[
    0, 10, 0, 146,              // version, length
    0x65, 0x53, 0xf1, 0,        // 1,700,000,000 s
    0, 0, 0, 42,                // sequence
    0, 0, 0, 7,                 // observation domain
    0, 2, 0, 28,                // template set
    1, 0, 0, 4,                 // template 256, four fields
    0, 27, 0, 16,               // sourceIPv6Address
    0, 1, 0, 4,                 // octetDeltaCount, reduced
    0x80, 1, 0, 8, 0, 0, 0x72, 0x79, // reverseOctetDeltaCount
    0, 82, 255, 255,            // interfaceName
    0, 3, 0, 20,                // options template set
    1, 1, 0, 2, 0, 1,           // template 257, two fields, one a scope
    1, 46, 0, 8,                // scope: selectorId
    1, 49, 0, 4,                // samplingPacketInterval
    0, 0,                       // padding
    0, 2, 0, 8,                 // template set
    1, 44, 0, 0,                // withdraws 300
    1, 0, 0, 57,                // data set of 256
    0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    0, 0, 2, 0x58, 0, 0, 0, 0, 0, 0, 0, 9,
    4, b'e', b't', b'h', b'0',
    0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
    0, 0,
    0, 0,
    // To here the second record has 20 bytes of its least 29: it is padding.
    1, 1, 0, 16,                // data set of 257
    0, 0, 0, 0, 0, 0, 0, 3,
    0, 0, 3, 0xe8,
    0,                          // too short for a set
];

/// All of them.
pub(crate) const ALL: [&[u8]; 5] = [V1, V5, V7, V9, IPFIX];

/// What a walk through a datagram found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Data records of templates.
    pub(crate) records: usize,
    /// Data records of options templates.
    pub(crate) options_records: usize,
    /// Templates and options templates.
    pub(crate) templates: usize,
    /// Withdrawals.
    pub(crate) withdrawals: usize,
    /// Data sets without a template.
    pub(crate) unknown: usize,
    /// Sets of an id that means nothing.
    pub(crate) reserved: usize,
    /// What was wrong, in order.
    pub(crate) reasons: Vec<&'static str>,
    /// Each field of each record in words, for comparison.
    pub(crate) fields: Vec<String>,
}

/// Looks at everything in `datagram`.
pub(crate) fn walk(datagram: &[u8]) -> Found {
    let mut found = Found::default();
    let sets = match Message::parse(datagram) {
        Err(error) => {
            found.reasons.push(error.reason());
            return found;
        }
        Ok(Message::Fixed(message)) => {
            found
                .reasons
                .extend(message.problem().map(|problem| problem.reason()));
            found.records = message.record_count();
            for record in message.records().chunks(message.record_length()) {
                for field in message.header.version.fields() {
                    let content = &record[usize::from(field.offset)..][..usize::from(field.length)];
                    found.field(field.element, content);
                }
            }
            return found;
        }
        Ok(Message::V9(message)) => message.sets(),
        Ok(Message::Ipfix(message)) => {
            found
                .reasons
                .extend(message.problem().map(|problem| problem.reason()));
            message.sets()
        }
    };
    let mut templates = HashMap::new();
    for set in sets {
        match set {
            Err(error) => found.reasons.push(error.reason()),
            Ok(set) => found.set(&set, &mut templates),
        }
    }
    found
}

impl Found {
    fn set(&mut self, set: &Set<'_>, templates: &mut HashMap<u16, forebay_wire::Template>) {
        match set.kind() {
            SetKind::Template | SetKind::OptionsTemplate => {
                for record in set.templates() {
                    match record {
                        Ok(TemplateRecord::Define(definition)) => {
                            match definition.to_template(4096) {
                                Ok(template) => {
                                    self.templates += 1;
                                    templates.insert(template.id, template);
                                }
                                Err(error) => self.reasons.push(error.reason()),
                            }
                        }
                        Ok(
                            TemplateRecord::Withdraw { .. } | TemplateRecord::WithdrawAll { .. },
                        ) => {
                            self.withdrawals += 1;
                        }
                        Err(error) => self.reasons.push(error.reason()),
                    }
                }
            }
            SetKind::Data => {
                let Some(template) = templates.get(&set.id) else {
                    self.unknown += 1;
                    return;
                };
                for record in Records::new(template, set.body) {
                    match record {
                        Ok(record) if template.is_options() => {
                            self.options_records += 1;
                            self.record(set, &record);
                        }
                        Ok(record) => {
                            self.records += 1;
                            self.record(set, &record);
                        }
                        Err(error) => self.reasons.push(error.reason()),
                    }
                }
            }
            SetKind::Reserved => self.reserved += 1,
        }
    }

    fn record(&mut self, set: &Set<'_>, record: &forebay_wire::Record<'_, '_>) {
        assert!(record.bytes().len() <= set.body.len());
        for (field, content) in record.fields() {
            self.field(field.element, content);
        }
    }

    fn field(&mut self, id: forebay_wire::ElementId, content: &[u8]) {
        let value = element::lookup(id).map_or(Value::Octets(content), |element| {
            Value::new(element.data_type, content)
        });
        match id.name() {
            Some(name) => self.fields.push(format!("{name}={value}")),
            None => self.fields.push(format!("{id}={value}")),
        }
    }
}
