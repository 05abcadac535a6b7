//! Templates in messages, and messages that hold nothing else, to be put before messages that need them.

use forebay_wire::template::{Definition, TemplateRecord};
use forebay_wire::{Message, Set, ipfix, v9};

/// Longer messages are begun anew: these fit every path. A template that is longer makes a message of its own.
const MESSAGE_BYTES: usize = 1232;
/// Longer templates fit no message beside its header.
pub(crate) const MAX_TEMPLATE_BYTES: usize = 65_000;

/// The sets of a message, as far as they are whole.
pub(crate) fn sets<'a>(message: &Message<'a>) -> impl Iterator<Item = Set<'a>> + use<'a> {
    let sets = match message {
        Message::Fixed(_) => None,
        Message::V9(message) => Some(message.sets()),
        Message::Ipfix(message) => Some(message.sets()),
    };
    sets.into_iter().flatten().map_while(Result::ok)
}

/// The templates that a message tells.
pub(crate) fn definitions<'a>(
    message: &Message<'a>,
) -> impl Iterator<Item = Definition<'a>> + use<'a> {
    sets(message).flat_map(|set| definitions_of(&set))
}

/// The templates that a set tells.
pub(crate) fn definitions_of<'a>(set: &Set<'a>) -> impl Iterator<Item = Definition<'a>> + use<'a> {
    let records = set.templates().map_while(Result::ok);
    records.filter_map(|record| match record {
        TemplateRecord::Define(definition) => Some(definition),
        // Over UDP they mean nothing (RFC 7011, section 8.4).
        TemplateRecord::Withdraw { .. } | TemplateRecord::WithdrawAll { .. } => None,
    })
}

/// The sequence number of a message whose version has templates.
pub(crate) const fn sequence(message: &Message<'_>) -> Option<u32> {
    match message {
        Message::Fixed(_) => None,
        Message::V9(message) => Some(message.header.sequence.0),
        Message::Ipfix(message) => Some(message.header.sequence.0),
    }
}

/// Messages that hold nothing but templates, with the header, and so the times, of a message that they go with.
#[derive(Debug)]
pub(crate) struct TemplateMessages<'h> {
    header: &'h [u8],
    layout: &'static HeaderLayout,
    made: Vec<Made>,
}

#[derive(Debug)]
struct Made {
    payload: Vec<u8>,
    templates: u16,
}

/// What headers of a version have, and where.
#[derive(Debug)]
struct HeaderLayout {
    bytes: usize,
    sequence_at: usize,
    /// Whether sequence numbers count messages, and the header's second field counts records: v9. IPFIX numbers data
    /// records, and its header has the message's length there.
    counts_messages: bool,
    /// Set ids of templates and of options templates: RFC 3954, sections 5.2 and 6.1; RFC 7011, section 3.3.2.
    sets: [u16; 2],
}

const V9: HeaderLayout = HeaderLayout {
    bytes: v9::HEADER_LENGTH,
    sequence_at: 12,
    counts_messages: true,
    sets: [0, 1],
};
const IPFIX: HeaderLayout = HeaderLayout {
    bytes: ipfix::HEADER_LENGTH,
    sequence_at: 8,
    counts_messages: false,
    sets: [2, 3],
};

impl<'h> TemplateMessages<'h> {
    /// With the header of this message, which `payload` is; `None` for a version without templates.
    pub(crate) fn like(payload: &'h [u8], message: &Message<'_>) -> Option<Self> {
        let layout = match message {
            Message::Fixed(_) => return None,
            Message::V9(_) => &V9,
            Message::Ipfix(_) => &IPFIX,
        };
        Some(Self {
            header: payload.get(..layout.bytes)?,
            layout,
            made: Vec::new(),
        })
    }

    /// Adds a template, in a set of its own: that costs four bytes. One that fits no message is left out.
    pub(crate) fn add(&mut self, raw: &[u8], is_options: bool) {
        if raw.len() > MAX_TEMPLATE_BYTES {
            return;
        }
        let set_bytes = (4 + raw.len()).next_multiple_of(4);
        let has_room = |made: &Made| made.payload.len() + set_bytes <= MESSAGE_BYTES;
        if !self.made.last().is_some_and(has_room) {
            self.made.push(Made {
                payload: self.header.to_vec(),
                templates: 0,
            });
        }
        let Some(made) = self.made.last_mut() else {
            return;
        };
        made.templates += 1;
        let id = self.layout.sets[usize::from(is_options)];
        made.payload.extend(id.to_be_bytes());
        // Both fit: no template is longer than a message.
        made.payload.extend((set_bytes as u16).to_be_bytes());
        made.payload.extend(raw);
        made.payload
            .resize(made.payload.len().next_multiple_of(4), 0);
    }

    /// How many messages there are.
    pub(crate) const fn len(&self) -> usize {
        self.made.len()
    }

    /// The messages, numbered to come just before the one with this number: v9 counts messages, so *k* of them take the
    /// *k* numbers before; IPFIX counts data records, of which there are none, so they take that number.
    pub(crate) fn before(self, number: u32) -> impl Iterator<Item = Vec<u8>> {
        let count = self.made.len() as u32;
        let step = u32::from(self.layout.counts_messages);
        let first = number.wrapping_sub(count * step);
        self.numbered(first, step)
    }

    /// The messages, each with this number.
    pub(crate) fn with(self, number: u32) -> impl Iterator<Item = Vec<u8>> {
        self.numbered(number, 0)
    }

    fn numbered(self, first: u32, step: u32) -> impl Iterator<Item = Vec<u8>> {
        let layout = self.layout;
        self.made
            .into_iter()
            .zip(0..)
            .map(move |(mut made, index)| {
                let number = first.wrapping_add(step * index);
                let second = if layout.counts_messages {
                    made.templates
                } else {
                    made.payload.len() as u16
                };
                replace(&mut made.payload, 2, &second.to_be_bytes());
                replace(&mut made.payload, layout.sequence_at, &number.to_be_bytes());
                made.payload
            })
    }
}

fn replace<const N: usize>(payload: &mut [u8], at: usize, value: &[u8; N]) {
    if let Some(field) = payload.get_mut(at..at + N) {
        field.copy_from_slice(value);
    }
}
