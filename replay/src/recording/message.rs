//! What is in a message: its flows, what its sequence number counts, and what of it advances.

use std::collections::HashMap;
use std::net::IpAddr;

use forebay_wire::set::HEADER_LENGTH as SET_HEADER_BYTES;
use forebay_wire::template::Definition;
use forebay_wire::{Message, SetKind, Sets, fixed};

use super::layout::{Layout, Times, kind};
use super::shift::{Kind, Patch};
use crate::templates::{definitions, definitions_of};

/// More fields do not fit into a datagram.
const MAX_FIELDS: usize = u16::MAX as usize / 4;

/// The templates of all streams.
pub(super) struct Templates {
    layouts: HashMap<(u32, u16), Layout>,
    /// What streams of the same exporter, version and observation domain have told, by group and id: some exporters tell
    /// templates from one port and send data from another.
    shared: HashMap<(u32, u16), Shared>,
    /// The group that each stream is of.
    groups: Vec<u32>,
}

/// What streams of a group say of an id.
enum Shared {
    /// The only stream that says anything, or the first of those that all say the same.
    Agreed { teller: u32, is_only: bool },
    /// Some have said otherwise than others.
    Disputed,
}

/// What a message holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) flows: u32,
    /// Data sets of which no template is known.
    pub(super) uncounted_sets: u64,
    /// The message's number, and by how much the next one's is more.
    pub(super) sequence: Option<(u32, u32)>,
}

impl Templates {
    /// For streams of these exporters, versions and observation domains.
    pub(super) fn new(streams: impl Iterator<Item = (IpAddr, u8, u32)>) -> Self {
        let mut numbers: HashMap<_, u32> = HashMap::new();
        let groups = streams.map(|key| {
            // There are no more of them than streams.
            let next = numbers.len() as u32;
            *numbers.entry(key).or_insert(next)
        });
        Self {
            groups: groups.collect(),
            layouts: HashMap::new(),
            shared: HashMap::new(),
        }
    }

    /// Takes the templates of a message that are the first of their ids.
    pub(super) fn learn_first(&mut self, stream: u32, message: &Message<'_>) {
        for definition in definitions(message) {
            if !self.layouts.contains_key(&(stream, definition.id())) {
                self.learn(stream, &definition);
            }
        }
    }

    fn learn(&mut self, stream: u32, definition: &Definition<'_>) {
        let (Some(layout), Some(&group)) =
            (layout_of(definition), self.groups.get(stream as usize))
        else {
            return;
        };
        let id = definition.id();
        let first = Shared::Agreed {
            teller: stream,
            is_only: true,
        };
        let shared = self.shared.entry((group, id)).or_insert(first);
        if let Shared::Agreed { teller, is_only } = shared {
            *is_only &= *teller == stream;
            let differs = self.layouts.get(&(*teller, id)) != Some(&layout);
            // Who speaks for itself alone may say something new.
            if differs && !*is_only {
                *shared = Shared::Disputed;
            }
        }
        self.layouts.insert((stream, id), layout);
    }

    /// Looks into a message; what advances is added to `patches`.
    pub(super) fn look_into(
        &mut self,
        stream: u32,
        message: &Message<'_>,
        patches: &mut Vec<Patch>,
    ) -> Content {
        match message {
            Message::Fixed(message) => fixed_content(message, patches),
            Message::V9(message) => {
                header(patches, 4, Kind::Uptime);
                header(patches, 8, Kind::Seconds);
                header(patches, 12, Kind::Sequence);
                let (mut content, _) = self.sets(stream, message.sets(), patches);
                content.sequence = Some((message.header.sequence.0, 1));
                content
            }
            Message::Ipfix(message) => {
                header(patches, 4, Kind::Seconds);
                header(patches, 8, Kind::Sequence);
                let (mut content, records) = self.sets(stream, message.sets(), patches);
                content.sequence = Some((message.header.sequence.0, records));
                content
            }
        }
    }

    /// What is in the sets, and how many data records.
    fn sets(&mut self, stream: u32, sets: Sets<'_>, patches: &mut Vec<Patch>) -> (Content, u32) {
        let mut content = Content::default();
        let mut records = 0;
        for set in sets.map_while(Result::ok) {
            if set.kind() != SetKind::Data {
                for definition in definitions_of(&set) {
                    self.learn(stream, &definition);
                }
                continue;
            }
            let Some(layout) = self.layout(stream, set.id) else {
                content.uncounted_sets += 1;
                continue;
            };
            let start = set.offset + SET_HEADER_BYTES;
            let count = layout.walk(set.body, |times| patches.extend(patch(start, times)));
            // A datagram holds no more records than bytes.
            let count = count as u32;
            records += count;
            if !layout.is_options {
                content.flows += count;
            }
        }
        (content, records)
    }

    /// The stream's own layout, or the one that all of its group agree on that have told one.
    fn layout(&self, stream: u32, id: u16) -> Option<&Layout> {
        let own = self.layouts.get(&(stream, id));
        own.or_else(|| {
            let group = *self.groups.get(stream as usize)?;
            match self.shared.get(&(group, id))? {
                Shared::Agreed { teller, .. } => self.layouts.get(&(*teller, id)),
                Shared::Disputed => None,
            }
        })
    }
}

fn layout_of(definition: &Definition<'_>) -> Option<Layout> {
    let template = definition.to_template(MAX_FIELDS).ok()?;
    Some(Layout::new(&template))
}

fn fixed_content(message: &fixed::Message<'_>, patches: &mut Vec<Patch>) -> Content {
    let version = message.header.version;
    header(patches, 4, Kind::Uptime);
    header(patches, 8, Kind::Seconds);
    let mut content = Content {
        // The header counts them in 16 bits.
        flows: message.record_count() as u32,
        ..Content::default()
    };
    if version != fixed::Version::V1 {
        header(patches, 16, Kind::Sequence);
        content.sequence = Some((message.header.flow_sequence.0, content.flows));
    }
    for field in version.fields() {
        let times = kind(field.element, field.length).map(|kind| Times {
            offset: field.offset.into(),
            stride: message.record_length(),
            count: message.record_count(),
            kind,
        });
        patches.extend(times.and_then(|times| patch(version.header_length(), times)));
    }
    content
}

fn header(patches: &mut Vec<Patch>, offset: u16, kind: Kind) {
    patches.push(Patch {
        offset,
        stride: 0,
        count: 1,
        kind,
    });
}

/// `None` where there are no records; no payload has more bytes than 16 bits count.
fn patch(start: usize, times: Times) -> Option<Patch> {
    let Times {
        offset,
        stride,
        count,
        kind,
    } = times;
    Some(Patch {
        offset: u16::try_from(start + offset).ok()?,
        stride: u16::try_from(stride).ok()?,
        count: u16::try_from(count).ok().filter(|&count| count > 0)?,
        kind,
    })
}
