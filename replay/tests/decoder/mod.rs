//! A plain decoder of export messages: slow, obvious, and strict about everything that a good exporter does right.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forebay_replay::generate::{Counts, Truth};
use forebay_wire::element::REVERSE_ENTERPRISE;
use forebay_wire::set::Sets;
use forebay_wire::value::unix_time_of_ntp;
use forebay_wire::{ElementId, Message, Records, SetKind, Template, TemplateRecord};

/// What has been decoded of all exporters' messages.
#[derive(Default)]
pub(crate) struct Decoder {
    exporters: BTreeMap<usize, Exporter>,
    keys: HashSet<FlowKey>,
    /// The same without the types and codes of ICMP.
    keys_without_icmp: HashSet<FlowKey>,
}

/// Addresses, ports and protocol.
type FlowKey = (IpAddr, IpAddr, u64, u64, u64);

#[derive(Default)]
struct Exporter {
    version: u8,
    domain: u32,
    templates: HashMap<u16, Template>,
    /// What the next message must have.
    sequence: u32,
    /// When the exporter booted, by its options.
    boot_ms: Option<u64>,
    counts: Counts,
}

/// A record: the contents by element.
struct Fields<'a>(HashMap<ElementId, &'a [u8]>);

impl<'a> Fields<'a> {
    fn content(&self, number: u16) -> Option<&'a [u8]> {
        self.0.get(&ElementId::iana(number)).copied()
    }

    fn number(&self, number: u16) -> Option<u64> {
        self.content(number).map(unsigned)
    }

    fn reverse(&self, number: u16) -> Option<u64> {
        let id = ElementId::new(REVERSE_ENTERPRISE, number);
        self.0.get(&id).copied().map(unsigned)
    }

    fn address(&self, ipv4: u16, ipv6: u16) -> IpAddr {
        match (self.content(ipv4), self.content(ipv6)) {
            (Some(content), None) => Ipv4Addr::from(<[u8; 4]>::try_from(content).unwrap()).into(),
            (None, Some(content)) => Ipv6Addr::from(<[u8; 16]>::try_from(content).unwrap()).into(),
            both => panic!("{both:?}: not one address"),
        }
    }

    fn key(&self) -> FlowKey {
        let [source_port, destination_port, protocol] =
            [7, 11, 4].map(|number| self.number(number).unwrap());
        (
            self.address(8, 27),
            self.address(12, 28),
            source_port,
            destination_port,
            protocol,
        )
    }

    /// When the first and the last packet were seen, in microseconds since 1970.
    fn times(&self, export_ms: u64, uptime_ms: Option<u32>) -> Option<(u64, u64)> {
        let pair = |first, last| Some((self.number(first)?, self.number(last)?));
        if let Some((first, last)) = pair(22, 21) {
            let uptime_ms = uptime_ms.expect("uptimes mean nothing without a base");
            // Before the export, whether the clock has wrapped or not.
            let unix_us =
                |then: u64| (export_ms - u64::from(uptime_ms.wrapping_sub(then as u32))) * 1000;
            return Some((unix_us(first), unix_us(last)));
        }
        if let Some((first, last)) = pair(150, 151) {
            return Some((first * 1_000_000, last * 1_000_000));
        }
        if let Some((first, last)) = pair(152, 153) {
            return Some((first * 1000, last * 1000));
        }
        pair(154, 155).map(|(first, last)| (micros_of_ntp(first), micros_of_ntp(last)))
    }
}

fn micros_of_ntp(ntp: u64) -> u64 {
    let time = unix_time_of_ntp((ntp >> 32) as u32, ntp as u32);
    time.secs * 1_000_000 + u64::from(time.nanos) / 1000
}

fn unsigned(content: &[u8]) -> u64 {
    assert!((1..=8).contains(&content.len()));
    content
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

impl Decoder {
    /// Decodes a message that left at `at_ns`; returns how many flows it holds.
    pub(crate) fn decode(&mut self, exporter: usize, at_ns: u64, payload: &[u8]) -> usize {
        let message = Message::parse(payload).unwrap();
        let exporter = self.exporters.entry(exporter).or_default();
        let is_first = exporter.counts.datagrams == 0;
        exporter.counts.datagrams += 1;
        exporter.counts.datagram_bytes += payload.len() as u64;
        let identity = (message.version(), message.observation_domain());
        assert!(is_first || identity == (exporter.version, exporter.domain));
        (exporter.version, exporter.domain) = identity;

        let (sequence, export_ms, flows, options);
        let mut uptime_ms = None;
        match &message {
            Message::Fixed(message) => {
                assert_eq!(message.problem(), None);
                let header = message.header;
                let (secs, nanos) = (header.unix_secs.into(), u64::from(header.unix_nsecs));
                assert_eq!(
                    (secs, nanos),
                    (at_ns / 1_000_000_000, at_ns % 1_000_000_000)
                );
                export_ms = secs * 1000 + nanos / 1_000_000;
                uptime_ms = Some(header.uptime_ms);
                sequence = header.flow_sequence.0;
                let records = message.records().chunks_exact(message.record_length());
                flows = records.map(v5_fields).collect();
                options = Vec::new();
            }
            Message::V9(message) => {
                let header = message.header;
                assert_eq!(u64::from(header.unix_secs), at_ns / 1_000_000_000);
                export_ms = u64::from(header.unix_secs) * 1000;
                uptime_ms = Some(header.uptime_ms);
                sequence = header.sequence.0;
                let templates;
                (templates, flows, options) = exporter.read(message.sets());
                let records = templates + flows.len() + options.len();
                assert_eq!(usize::from(header.count), records);
            }
            Message::Ipfix(message) => {
                assert_eq!(message.problem(), None);
                let header = message.header;
                assert_eq!(u64::from(header.export_secs), at_ns / 1_000_000_000);
                export_ms = u64::from(header.export_secs) * 1000;
                sequence = header.sequence.0;
                (_, flows, options) = exporter.read(message.sets());
            }
        }

        assert!(is_first || sequence == exporter.sequence, "{sequence}");
        let counted = match message {
            Message::Fixed(_) => flows.len(),
            Message::V9(_) => 1,
            Message::Ipfix(_) => flows.len() + options.len(),
        };
        exporter.sequence = sequence.wrapping_add(counted as u32);

        exporter.counts.options_records += options.len() as u64;
        for fields in &options {
            // systemInitTimeMilliseconds
            exporter.boot_ms = fields.number(160).or(exporter.boot_ms);
        }
        let uptime_by_options = exporter.boot_ms.map(|boot_ms| (export_ms - boot_ms) as u32);
        let uptime_ms = uptime_ms.or(uptime_by_options);
        for fields in &flows {
            exporter.flow(fields, export_ms, uptime_ms);
            let (source, destination, mut source_port, mut destination_port, protocol) =
                fields.key();
            self.keys.insert(fields.key());
            if [1, 58].contains(&protocol) {
                (source_port, destination_port) = (0, 0);
            }
            let ports = (source_port, destination_port);
            self.keys_without_icmp
                .insert((source, destination, ports.0, ports.1, protocol));
        }
        flows.len()
    }

    /// Holds a truth against what has been decoded.
    pub(crate) fn check(&self, truth: &Truth) {
        for (index, told) in truth.exporters.iter().enumerate() {
            let Some(decoded) = self.exporters.get(&index) else {
                assert_eq!(told.counts, Counts::default(), "{index}");
                continue;
            };
            assert_eq!(told.counts, decoded.counts, "{index}: {}", told.layout);
            assert_eq!(told.version, decoded.version);
            assert_eq!(told.observation_domain, decoded.domain);
        }
        let of_ipv4 = self.keys.iter().filter(|key| key.0.is_ipv4()).count();
        assert_eq!(truth.distinct_5_tuples, self.keys.len() as u64);
        assert_eq!(self.keys.len(), self.keys_without_icmp.len());
        assert_eq!(truth.distinct_5_tuples_ipv4, of_ipv4 as u64);
        assert_eq!(
            truth.distinct_5_tuples_ipv6,
            (self.keys.len() - of_ipv4) as u64
        );

        let mut total = Totals::default();
        let mut versions: BTreeMap<u8, (usize, Totals)> = BTreeMap::new();
        for exporter in &truth.exporters {
            total.add(&exporter.counts);
            let (count, totals) = versions.entry(exporter.version).or_default();
            *count += 1;
            totals.add(&exporter.counts);
        }
        assert_eq!(total, Totals::of(&truth.total));
        let told: BTreeMap<_, _> = truth
            .versions
            .iter()
            .map(|of| (of.version, (of.exporters, Totals::of(&of.counts))))
            .collect();
        assert_eq!(told, versions);
    }
}

/// The counts that matter most, summed by hand.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals([u64; 8]);

impl Totals {
    fn of(counts: &Counts) -> Self {
        let mut totals = Self::default();
        totals.add(counts);
        totals
    }

    fn add(&mut self, counts: &Counts) {
        let counts = [
            counts.datagrams,
            counts.datagram_bytes,
            counts.flows,
            counts.packets,
            counts.bytes,
            counts.reverse_packets,
            counts.templates + counts.options_templates,
            counts.options_records + counts.nat_events,
        ];
        for (total, count) in self.0.iter_mut().zip(counts) {
            *total += count;
        }
    }
}

fn v5_fields(record: &[u8]) -> Fields<'_> {
    let fields = forebay_wire::fixed::V5_FIELDS.iter().map(|field| {
        let start = usize::from(field.offset);
        let content = &record[start..][..usize::from(field.length)];
        (field.element, content)
    });
    Fields(fields.collect())
}

impl Exporter {
    /// How many templates there are; the records of flows and of options.
    fn read<'a>(&mut self, sets: Sets<'a>) -> (usize, Vec<Fields<'a>>, Vec<Fields<'a>>) {
        let mut templates = 0;
        let (mut flows, mut options) = (Vec::new(), Vec::new());
        for set in sets {
            let set = set.unwrap();
            assert!(set.body.len().is_multiple_of(4), "sets are padded");
            match set.kind() {
                SetKind::Template | SetKind::OptionsTemplate => {
                    for template in set.templates() {
                        let TemplateRecord::Define(definition) = template.unwrap() else {
                            panic!("nothing is withdrawn");
                        };
                        let template = definition.to_template(64).unwrap();
                        templates += 1;
                        if template.is_options() {
                            self.counts.options_templates += 1;
                        } else {
                            self.counts.templates += 1;
                        }
                        self.templates.insert(template.id, template);
                    }
                }
                SetKind::Data => {
                    let template = self
                        .templates
                        .get(&set.id)
                        .expect("the template came first");
                    for record in Records::new(template, set.body) {
                        let record = record.unwrap();
                        let scopes = usize::from(template.scope_count);
                        let fields = record.fields().skip(scopes);
                        let fields = fields.map(|(field, content)| (field.element, content));
                        let fields = Fields(fields.collect());
                        if template.is_options() {
                            options.push(fields);
                        } else {
                            flows.push(fields);
                        }
                    }
                }
                SetKind::Reserved => panic!("set {}", set.id),
            }
        }
        (templates, flows, options)
    }

    fn flow(&mut self, fields: &Fields<'_>, export_ms: u64, uptime_ms: Option<u32>) {
        let counts = &mut self.counts;
        let (source, destination) = (fields.address(8, 27), fields.address(12, 28));
        assert_eq!(source.is_ipv4(), destination.is_ipv4());
        counts.flows += 1;
        if source.is_ipv4() {
            counts.flows_ipv4 += 1;
        } else {
            counts.flows_ipv6 += 1;
        }
        let (packets, bytes) = (fields.number(2), fields.number(1));
        if fields.number(230).is_some() {
            assert_eq!((packets, bytes), (None, None));
            assert!(fields.number(323).unwrap() <= export_ms);
            counts.nat_events += 1;
            return;
        }
        let (packets, bytes) = (packets.unwrap(), bytes.unwrap());
        counts.packets += packets;
        counts.bytes += bytes;
        counts.reverse_packets += fields.reverse(2).unwrap_or(0);
        counts.reverse_bytes += fields.reverse(1).unwrap_or(0);
        assert!((40 * packets..=1500 * packets).contains(&bytes));

        let (first, last) = fields.times(export_ms, uptime_ms).unwrap();
        assert!(first <= last && last <= export_ms * 1000);
        assert!(last - first <= 61_000_000);
        let is_tcp = fields.number(4) == Some(6);
        assert!(fields.number(6).is_none_or(|flags| (flags != 0) == is_tcp));
    }
}
