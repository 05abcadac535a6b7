//! How many data records a message holds.
//!
//! v1, v5 and v7 say so, and their length bears it out. In v9 and IPFIX the template tells where a record ends; where it
//! is not known (it came before the capture began, or never), the number is an estimate, and counted as one.

use std::collections::HashMap;
use std::net::SocketAddr;

use forebay_wire::set::{Set, SetKind, Sets};
use forebay_wire::template::TemplateRecord;
use forebay_wire::{Message, Records, Template};

/// How many templates are remembered; the data of others is estimated.
const TEMPLATES_MAX: usize = 65_536;

/// The most fields of a template.
const FIELDS_MAX: usize = 1_024;

/// The length of a record where none has been seen: about that of v5's, and of v9's usual IPv4 templates.
const RECORD_BYTES: u64 = 50;

/// How many data records there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordCount {
    /// Counted and estimated ones. Options data is not among them.
    pub records: u64,
    /// Those of them that are an estimate, because their template is not known.
    pub estimated: u64,
}

/// Counts data records message by message, by the templates that came before.
#[derive(Debug, Default)]
pub struct RecordCounter {
    templates: HashMap<Key, Layout>,
    /// Bytes and number of the records that could be counted by a template.
    known_bytes: u64,
    known_records: u64,
}

/// Transport session, version, observation domain and template id.
type Key = (SocketAddr, u8, u32, u16);

#[derive(Debug)]
enum Layout {
    /// Options data: no flows.
    Options,
    /// Records of one length.
    Fixed(u64),
    /// Records that must be walked.
    Variable(Box<Template>),
}

impl RecordCounter {
    /// Counts the records of a message from `exporter`, and remembers its templates.
    pub fn count(&mut self, exporter: SocketAddr, message: &Message<'_>) -> RecordCount {
        let session = (exporter, message.version(), message.observation_domain());
        match message {
            Message::Fixed(message) => RecordCount {
                records: message.record_count() as u64,
                estimated: 0,
            },
            Message::V9(message) => self.sets(session, message.sets()),
            Message::Ipfix(message) => self.sets(session, message.sets()),
        }
    }

    fn sets(&mut self, session: (SocketAddr, u8, u32), sets: Sets<'_>) -> RecordCount {
        let mut count = RecordCount::default();
        // After the first set that is wrong, nothing can be found.
        for set in sets.map_while(Result::ok) {
            let (exporter, version, domain) = session;
            let key = |id| (exporter, version, domain, id);
            match set.kind() {
                SetKind::Data => self.data(key(set.id), &set, &mut count),
                SetKind::Template | SetKind::OptionsTemplate => {
                    for record in set.templates().map_while(Result::ok) {
                        if let TemplateRecord::Define(definition) = record
                            && let Ok(template) = definition.to_template(FIELDS_MAX)
                        {
                            self.remember(key(template.id), template);
                        }
                    }
                }
                SetKind::Reserved => {}
            }
        }
        count
    }

    fn data(&mut self, key: Key, set: &Set<'_>, count: &mut RecordCount) {
        let bytes = set.body.len() as u64;
        let records = match self.templates.get(&key) {
            Some(Layout::Options) => return,
            Some(Layout::Fixed(length)) => bytes / length,
            Some(Layout::Variable(template)) => Records::new(template, set.body)
                .map_while(Result::ok)
                .count() as u64,
            None => {
                let estimate = self.estimate(bytes);
                count.records += estimate;
                count.estimated += estimate;
                return;
            }
        };
        count.records += records;
        self.known_records += records;
        self.known_bytes += bytes;
    }

    /// As many records as fit where they are as long as others were on average, and at least one.
    fn estimate(&self, bytes: u64) -> u64 {
        let length = self
            .known_bytes
            .checked_div(self.known_records)
            .unwrap_or(RECORD_BYTES);
        (bytes / length.max(1)).max(1)
    }

    fn remember(&mut self, key: Key, template: Template) {
        if self.templates.len() >= TEMPLATES_MAX && !self.templates.contains_key(&key) {
            return;
        }
        let layout = match template.record_length() {
            _ if template.is_options() => Layout::Options,
            // No layout of no length is read from the wire.
            Some(length) => Layout::Fixed(length.max(1) as u64),
            None => Layout::Variable(Box::new(template)),
        };
        self.templates.insert(key, layout);
    }
}
