//! A slow and obvious decoder to hold the collector's against: every record of every set is walked field by field,
//! and every column looks for its element by name, anew in each record.
//!
//! It shares nothing with the collector but the walk over sets and records (`forebay_wire`). It keeps everything it
//! hears, and drops the data sets that come before their template.

pub(crate) mod columns;
pub(crate) mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use forebay_store::Family;
use forebay_udp::Datagram;
use forebay_wire::set::{Sets, Version};
use forebay_wire::{
    ElementId, FieldSpecifier, Message, Records, Set, SetKind, Template, TemplateRecord, fixed,
};

use rows::{Cell, Row};

/// Uptime wraps after 49.7 days: no flow by uptime lies further from its message than this.
const AGE_MAX_US: i64 = 50 * 86_400 * 1_000_000;
/// How far ahead of its message a flow may end.
const AHEAD_MAX_US: i64 = 1_000_000;

/// A data record, field by field.
#[derive(Debug, Clone)]
pub(crate) struct PlainRecord {
    pub(crate) fields: Vec<(FieldSpecifier, Vec<u8>)>,
    pub(crate) family: Family,
    /// What its row must hold.
    pub(crate) row: Row,
    /// Whether its times count from the exporter's start.
    times_by_uptime: bool,
    /// When its message left the exporter, in microseconds since 1970.
    export_us: i64,
}

impl PlainRecord {
    /// The first field of an element that has any content by its template: what its column is filled with.
    pub(crate) fn first(&self, element: ElementId) -> Option<&[u8]> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(field, _)| field.element == element && field.length > 0);
        found.map(|(_, content)| content.as_slice())
    }

    /// The times of a row, if they count from the exporter's start and cannot be: the end before the start, or dates
    /// that are off.
    pub(crate) fn impossible_times(&self, row: &Row) -> Option<String> {
        let (Some(Cell::Time(first)), Some(Cell::Time(last))) = (row.get("first"), row.get("last"))
        else {
            return Some("none".to_owned());
        };
        let (age_us, ahead_us) = (self.export_us - first, last - self.export_us);
        let ahead_max_us = match self.first(ElementId::iana(160)) {
            // The exporter's own reckoning.
            Some(_) => AGE_MAX_US,
            None => AHEAD_MAX_US,
        };
        let possible = first <= last && age_us <= AGE_MAX_US && ahead_us <= ahead_max_us;
        (self.times_by_uptime && !possible)
            .then(|| format!("{first} to {last} by a message of {}", self.export_us))
    }
}

/// What was counted of one export version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PlainCounts {
    pub(crate) datagrams: u64,
    pub(crate) data_records: u64,
    pub(crate) options_records: u64,
    pub(crate) templates: u64,
    pub(crate) options_templates: u64,
    pub(crate) sets_without_template: u64,
}

/// What options data have said of an observation domain.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    rate: Option<u64>,
    samplers: BTreeMap<(u16, u64), u64>,
    system_init_ms: Option<u64>,
}

/// What a message's records have in common.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    source: SocketAddr,
    received_us: i64,
    version: u8,
    domain: u32,
    unix_ms: i64,
    /// Milliseconds since the exporter's start, modulo 2^32.
    uptime_ms: Option<u32>,
    sampling_interval: u16,
}

impl Header {
    pub(crate) fn of(datagram: &Datagram<'_>, message: &Message<'_>) -> Self {
        let (unix_ms, uptime_ms, sampling_interval) = match message {
            Message::Fixed(message) => {
                let header = &message.header;
                let unix_ms =
                    i64::from(header.unix_secs) * 1000 + i64::from(header.unix_nsecs / 1_000_000);
                (unix_ms, Some(header.uptime_ms), header.sampling_interval())
            }
            Message::V9(message) => (
                i64::from(message.header.unix_secs) * 1000,
                Some(message.header.uptime_ms),
                0,
            ),
            Message::Ipfix(message) => (i64::from(message.header.export_secs) * 1000, None, 0),
        };
        Self {
            source: datagram.source,
            received_us: (datagram.received_ns / 1000).cast_signed(),
            version: message.version(),
            domain: message.observation_domain(),
            unix_ms,
            uptime_ms,
            sampling_interval,
        }
    }

    pub(crate) fn domain(&self) -> Domain {
        (self.source.ip(), self.version, self.domain)
    }

    /// With what the exporter has said of its start.
    pub(crate) fn with_start(mut self, facts: &Facts) -> Self {
        if let (10, Some(start_ms)) = (self.version, facts.system_init_ms) {
            self.uptime_ms = Some(columns::uptime_at(self.unix_ms, start_ms));
        }
        self
    }
}

/// Exporter address, version and observation domain.
pub(crate) type Domain = (IpAddr, u8, u32);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PlainDecoder {
    templates: BTreeMap<(Domain, u16), BTreeMap<u16, Template>>,
    pub(crate) facts: BTreeMap<Domain, Facts>,
    pub(crate) counts: BTreeMap<u8, PlainCounts>,
    /// Datagrams that are no message.
    pub(crate) rejected: u64,
}

impl PlainDecoder {
    /// Decodes a datagram to the data records that it holds, in their order.
    pub(crate) fn decode(&mut self, datagram: &Datagram<'_>) -> Vec<PlainRecord> {
        let Ok(message) = Message::parse(datagram.payload) else {
            self.rejected += 1;
            return Vec::new();
        };
        let header = Header::of(datagram, &message);
        self.counts.entry(header.version).or_default().datagrams += 1;
        match message {
            Message::Fixed(message) => self.fixed(&message, &header),
            Message::V9(message) => self.sets(message.sets(), &header),
            Message::Ipfix(message) => self.sets(message.sets(), &header),
        }
    }

    fn fixed(&mut self, message: &fixed::Message<'_>, header: &Header) -> Vec<PlainRecord> {
        let records = message.records().chunks_exact(message.record_length());
        let records: Vec<_> = records
            .map(|record| {
                let fields = message.header.version.fields().iter().map(|field| {
                    let (start, length) = (usize::from(field.offset), usize::from(field.length));
                    let specifier = FieldSpecifier {
                        element: field.element,
                        length: field.length,
                    };
                    (specifier, record[start..start + length].to_vec())
                });
                columns::record(None, fields.collect(), header, &Facts::default())
            })
            .collect();
        let counts = self.counts.entry(header.version).or_default();
        counts.data_records += records.len() as u64;
        records
    }

    fn sets(&mut self, sets: Sets<'_>, header: &Header) -> Vec<PlainRecord> {
        let mut records = Vec::new();
        for set in sets.map_while(Result::ok) {
            match set.kind() {
                SetKind::Template | SetKind::OptionsTemplate => self.define(&set, header),
                SetKind::Data => records.extend(self.data_set(&set, header)),
                SetKind::Reserved => {}
            }
        }
        records
    }

    fn define(&mut self, set: &Set<'_>, header: &Header) {
        for record in set.templates().map_while(Result::ok) {
            let TemplateRecord::Define(definition) = record else {
                continue;
            };
            let Ok(template) = definition.to_template(usize::MAX) else {
                continue;
            };
            let counts = self.counts.entry(header.version).or_default();
            match template.is_options() {
                true => counts.options_templates += 1,
                false => counts.templates += 1,
            }
            let sessions = self
                .templates
                .entry((header.domain(), template.id))
                .or_default();
            sessions.insert(header.source.port(), template);
        }
    }

    /// The session's own template, else what all sessions of the exporter and domain agree on.
    fn template(&self, id: u16, header: &Header) -> Option<&Template> {
        let sessions = self.templates.get(&(header.domain(), id))?;
        sessions.get(&header.source.port()).or_else(|| {
            let layouts: BTreeSet<Vec<_>> = sessions
                .values()
                .map(|template| {
                    let fields = template.fields.iter();
                    let fields = fields.map(|f| (f.element.enterprise, f.element.number, f.length));
                    // The scopes belong to the layout as well.
                    fields.chain([(0, template.scope_count, 0)]).collect()
                })
                .collect();
            sessions.values().next().filter(|_| layouts.len() == 1)
        })
    }

    fn data_set(&mut self, set: &Set<'_>, header: &Header) -> Vec<PlainRecord> {
        let Some(template) = self.template(set.id, header).cloned() else {
            let counts = self.counts.entry(header.version).or_default();
            counts.sets_without_template += 1;
            return Vec::new();
        };
        let facts = self.facts.entry(header.domain()).or_default();
        let records = Records::new(&template, set.body).map_while(Result::ok);
        let records = records.map(|record| {
            let fields = record.fields();
            fields
                .map(|(field, content)| (field, content.to_vec()))
                .collect::<Vec<_>>()
        });
        let counts = self.counts.entry(header.version).or_default();
        if template.is_options() {
            for fields in records {
                counts.options_records += 1;
                let scopes = match set.version {
                    Version::V9 => usize::from(template.scope_count),
                    Version::Ipfix => 0,
                };
                facts.learn(fields.get(scopes..).unwrap_or_default());
            }
            return Vec::new();
        }
        let header = header.clone().with_start(facts);
        let records: Vec<_> = records
            .map(|fields| columns::record(Some(set.id), fields, &header, facts))
            .collect();
        counts.data_records += records.len() as u64;
        records
    }
}

impl Facts {
    /// Takes what one options data record says: `fields` without the scopes of v9, which have numbers of their own.
    pub(crate) fn learn(&mut self, fields: &[(FieldSpecifier, Vec<u8>)]) {
        // The last of several counts.
        let number = |wanted: u16| {
            let found = fields.iter().rfind(|(field, content)| {
                field.element == ElementId::iana(wanted) && (1..=8).contains(&content.len())
            });
            found.map(|(_, content)| columns::unsigned(content))
        };
        let probability = fields
            .iter()
            .rfind(|(field, _)| field.element == ElementId::iana(311))
            .and_then(|(_, content)| Some(f64::from_be_bytes(content.as_slice().try_into().ok()?)));
        let rate = number(34)
            .or(number(50))
            .or_else(|| columns::interval(number(305)?, number(306)?))
            .or_else(|| number(310)?.checked_div(number(309)?))
            .or_else(|| {
                probability
                    .filter(|p| *p > 0.0 && *p <= 1.0)
                    .map(|p| (1.0 / p).round() as u64)
            })
            .filter(|rate| (1..=u64::from(u32::MAX)).contains(rate));
        let sampler = [48, 302]
            .into_iter()
            .find_map(|element| Some((element, number(element)?)));
        match (rate, sampler) {
            (Some(rate), Some(sampler)) => _ = self.samplers.insert(sampler, rate),
            (Some(rate), None) => self.rate = Some(rate),
            (None, _) => {}
        }
        self.system_init_ms = number(160).or(self.system_init_ms);
    }
}
