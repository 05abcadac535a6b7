//! One exporter: its clock, its sequence number, its templates, and the messages that it writes.

use std::net::SocketAddr;

use forebay_wire::encode::{self, Builder, EncodeError, FixedRecord, IpfixBuilder, V9Builder};
use forebay_wire::fixed::{self, FlowSequence};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};

use super::config::MAX_V5_FLOWS;
use super::flow::Flow;
use super::layout::{Layout, SetFor};
use super::population::{Family, Population};
use super::random::Random;
use super::repeat::Told;
use super::truth::{Counts, ExporterTruth};
use super::value::{Teller, as_number_16};

const V5_HEADER_BYTES: usize = 24;
const V5_RECORD_BYTES: usize = 48;
/// A set's header, and the most padding.
const SET_BYTES: usize = 4 + 3;
/// Which part of a translating gateway's IPv4 records are events.
const NAT_EVENT_SHARE: f64 = 0.25;
/// v5's sampling: deterministic, one of 100.
const V5_SAMPLING: u16 = 1 << 14 | 100;

/// What of a configuration the exporters follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) message_bytes: usize,
    pub(crate) ipv6_share: f64,
    pub(crate) duplicates: f64,
    pub(crate) template_refresh: u32,
}

/// What an exporter's messages are made of.
#[derive(Debug)]
pub(crate) enum Speech {
    V5 { sampling: u16 },
    V9(Layout),
    Ipfix(Layout),
}

impl Speech {
    /// v5, every other time sampled.
    pub(crate) const fn v5(turn: usize) -> Self {
        let sampling = if turn.is_multiple_of(2) {
            0
        } else {
            V5_SAMPLING
        };
        Self::V5 { sampling }
    }
}

/// Draws the flows of a network, and remembers which keys they had.
#[derive(Debug)]
pub(crate) struct FlowSource {
    pub(crate) population: Population,
    pub(crate) random: Random,
    pub(crate) seen_ipv4: KeySet,
    pub(crate) seen_ipv6: KeySet,
    /// What other exporters may tell too; `None` where none is to.
    pub(crate) told: Option<Told>,
}

/// A set of the keys of one address family, by rank.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<u64>);

impl KeySet {
    pub(crate) fn new(keys: u32) -> Self {
        Self(vec![0; keys.div_ceil(64) as usize])
    }

    #[inline]
    fn insert(&mut self, rank: u32) {
        self.0[rank as usize / 64] |= 1 << (rank % 64);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

impl FlowSource {
    /// Draws flows that an exporter tells of. As many as a share and what is owed to it come to are those that others
    /// have told.
    fn draw_some_again(
        &mut self,
        count: usize,
        family: Family,
        teller: &Teller,
        now_ms: u64,
        (share, debt): (f64, &mut f64),
    ) -> Vec<Flow> {
        let Some(told) = &mut self.told else {
            return self.draw(count, family, teller, now_ms);
        };
        let wanted = part(count, *debt, share);
        let mut flows = told.again(wanted, family, teller.place, now_ms, &mut self.random);
        *debt += count as f64 * share - flows.len() as f64;
        let new = self.draw(count - flows.len(), family, teller, now_ms);
        if let Some(told) = &mut self.told {
            told.remember(&new, family, teller.place, &mut self.random);
        }
        flows.extend(new);
        flows
    }

    fn draw(&mut self, count: usize, family: Family, teller: &Teller, now_ms: u64) -> Vec<Flow> {
        let Self {
            population,
            random,
            seen_ipv4,
            seen_ipv6,
            ..
        } = self;
        let seen = match family {
            Family::Ipv4 => seen_ipv4,
            Family::Ipv6 => seen_ipv6,
        };
        let flows = (0..count).map(|_| {
            let rank = population.draw(random);
            seen.insert(rank);
            let key = population.key(rank, family);
            Flow::draw(key, family, teller.place, now_ms, random)
        });
        flows.collect()
    }
}

/// An exporter.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) source: SocketAddr,
    pub(crate) speech: Speech,
    teller: Teller,
    /// The next message's, whatever the version counts.
    sequence: u32,
    messages: u64,
    /// How many flows of IPv6 it has sent too few.
    ipv6_debt: f64,
    /// How many events it has sent too few.
    nat_event_debt: f64,
    /// How many flows that others have told it has told too few.
    duplicate_debt: f64,
    counts: Counts,
}

impl Exporter {
    pub(crate) fn new(source: SocketAddr, speech: Speech, teller: Teller) -> Self {
        Self {
            source,
            speech,
            teller,
            sequence: 0,
            messages: 0,
            ipv6_debt: 0.0,
            nat_event_debt: 0.0,
            duplicate_debt: 0.0,
            counts: Counts::default(),
        }
    }

    pub(crate) fn truth(&self) -> ExporterTruth {
        let (version, layout, sampling_rate) = match &self.speech {
            Speech::V5 { sampling: 0 } => (5, "v5", None),
            Speech::V5 { sampling } => (5, "v5-sampled", Some(u32::from(sampling & 0x3fff))),
            Speech::V9(layout) => (9, layout.name, layout.sampling_rate),
            Speech::Ipfix(layout) => (10, layout.name, layout.sampling_rate),
        };
        ExporterTruth {
            source: self.source,
            version,
            layout: layout.to_owned(),
            observation_domain: self.teller.observation_domain,
            sampling_rate,
            counts: self.counts,
        }
    }

    /// Writes the message that leaves at `now_ns`, of `flows` flows or as many as fit; returns how many.
    pub(crate) fn write(
        &mut self,
        now_ns: u64,
        flows: usize,
        rules: Rules,
        source: &mut FlowSource,
        out: &mut Vec<u8>,
    ) -> usize {
        let before = self.counts.flows;
        let written = match &self.speech {
            &Speech::V5 { sampling } => self.write_v5(now_ns, flows, sampling, rules, source, out),
            Speech::V9(_) => self.write_v9(now_ns, flows, rules, source, out),
            Speech::Ipfix(_) => self.write_ipfix(now_ns, flows, rules, source, out),
        };
        written.expect("`message_bytes` is no longer than a message can be");
        self.messages += 1;
        self.counts.datagrams += 1;
        self.counts.datagram_bytes += out.len() as u64;
        (self.counts.flows - before) as usize
    }

    fn write_v5(
        &mut self,
        now_ns: u64,
        flows: usize,
        sampling: u16,
        rules: Rules,
        source: &mut FlowSource,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let fits = (rules.message_bytes - V5_HEADER_BYTES) / V5_RECORD_BYTES;
        let flows = flows.min(fits).min(MAX_V5_FLOWS);
        let now_ms = now_ns / 1_000_000;
        let teller = self.teller;
        let [_, _, engine_type, engine_id] = teller.observation_domain.to_be_bytes();
        let header = fixed::Header {
            version: fixed::Version::V5,
            count: 0,
            uptime_ms: teller.uptime_ms(now_ms),
            unix_secs: (now_ns / 1_000_000_000) as u32,
            unix_nsecs: (now_ns % 1_000_000_000) as u32,
            flow_sequence: FlowSequence(self.sequence),
            engine_type,
            engine_id,
            sampling,
        };
        let counts = &mut self.counts;
        let again = (rules.duplicates, &mut self.duplicate_debt);
        let flows = source.draw_some_again(flows, Family::Ipv4, &teller, now_ms, again);
        counts.flows += flows.len() as u64;
        counts.flows_ipv4 += flows.len() as u64;
        counts.add_counters(&flows);
        let records = flows.iter().map(|flow| v5_record(flow, &teller));
        encode::fixed(out, &header, records)?;
        self.sequence = self.sequence.wrapping_add(flows.len() as u32);
        Ok(())
    }

    fn write_v9(
        &mut self,
        now_ns: u64,
        flows: usize,
        rules: Rules,
        source: &mut FlowSource,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let now_ms = now_ns / 1_000_000;
        let header = v9::Header {
            count: 0,
            uptime_ms: self.teller.uptime_ms(now_ms),
            unix_secs: (now_ns / 1_000_000_000) as u32,
            sequence: MessageSequence(self.sequence),
            source_id: self.teller.observation_domain,
        };
        let mut builder = V9Builder::new(out, header);
        self.write_sets(&mut builder, now_ms, flows, rules, source);
        builder.finish()?;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    fn write_ipfix(
        &mut self,
        now_ns: u64,
        flows: usize,
        rules: Rules,
        source: &mut FlowSource,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let export_secs = (now_ns / 1_000_000_000) as u32;
        let header = ipfix::Header {
            length: 0,
            export_secs,
            sequence: RecordSequence(self.sequence),
            observation_domain: self.teller.observation_domain,
        };
        let mut builder = IpfixBuilder::new(out, header);
        // The header has whole seconds, and no flow ends after it.
        let now_ms = u64::from(export_secs) * 1000;
        self.write_sets(&mut builder, now_ms, flows, rules, source);
        self.sequence = builder.next_sequence().0;
        builder.finish()
    }

    fn write_sets<H>(
        &mut self,
        builder: &mut Builder<'_, H>,
        now_ms: u64,
        flows: usize,
        rules: Rules,
        source: &mut FlowSource,
    ) {
        let (Speech::V9(layout) | Speech::Ipfix(layout)) = &self.speech else {
            return;
        };
        let teller = self.teller;
        let counts = &mut self.counts;
        if self.messages.is_multiple_of(rules.template_refresh.into()) {
            builder.templates(layout.sets.iter().map(|set| &set.template));
            counts.templates += layout.sets.len() as u64;
            if let Some(options) = &layout.options {
                builder.options_templates([&options.template]);
                builder.data(options.template.id, [&options.columns], |out, columns| {
                    columns.append_options(out, &teller);
                });
                counts.options_templates += 1;
                counts.options_records += 1;
            }
        }

        let before = *counts;
        let ipv6 = part(flows, self.ipv6_debt, rules.ipv6_share);
        let nat_event_share = if layout.has_nat_events() {
            NAT_EVENT_SHARE
        } else {
            0.0
        };
        let nat_events = part(flows - ipv6, self.nat_event_debt, nat_event_share);
        // IPv4, which the other shares are taken from, comes last: it gets the room that is left.
        for set in layout.sets.iter().rev() {
            let (family, wanted) = match set.set_for {
                SetFor::Ipv4 => (Family::Ipv4, flows - ipv6 - nat_events),
                SetFor::Ipv6 => (Family::Ipv6, ipv6),
                SetFor::NatEvents => (Family::Ipv4, nat_events),
            };
            let room = rules
                .message_bytes
                .saturating_sub(builder.len() + SET_BYTES);
            let records = wanted.min(room / set.columns.stride());
            if records == 0 {
                continue;
            }
            let flows = if set.set_for == SetFor::NatEvents {
                // Events have no counters, and are one gateway's.
                source.draw(records, family, &teller, now_ms)
            } else {
                let again = (rules.duplicates, &mut self.duplicate_debt);
                source.draw_some_again(records, family, &teller, now_ms, again)
            };
            let told = records as u64;
            counts.flows += told;
            match set.set_for {
                SetFor::Ipv4 => counts.flows_ipv4 += told,
                SetFor::Ipv6 => counts.flows_ipv6 += told,
                SetFor::NatEvents => {
                    counts.flows_ipv4 += told;
                    counts.nat_events += told;
                }
            }
            if set.set_for != SetFor::NatEvents {
                counts.add_counters(&flows);
            }
            if set.is_biflow {
                counts.add_reverse_counters(&flows);
            }
            let rows = set.columns.rows(&flows, &teller);
            let rows = rows.chunks_exact(set.columns.stride());
            builder.data(set.template.id, rows, |out, row| {
                set.columns.append(out, row)
            });
        }
        // What had no room is made up for by the next messages, or the shares would depend on the lengths of records.
        let written = (counts.flows - before.flows) as f64;
        let ipv6 = (counts.flows_ipv6 - before.flows_ipv6) as f64;
        let nat_events = (counts.nat_events - before.nat_events) as f64;
        self.ipv6_debt += written * rules.ipv6_share - ipv6;
        self.nat_event_debt += (written - ipv6) * nat_event_share - nat_events;
    }
}

impl Counts {
    fn add_counters(&mut self, flows: &[Flow]) {
        for flow in flows {
            self.packets += flow.packets;
            self.bytes += flow.bytes;
        }
    }

    fn add_reverse_counters(&mut self, flows: &[Flow]) {
        for flow in flows {
            self.reverse_packets += flow.reverse_packets();
            self.reverse_bytes += flow.reverse_bytes();
        }
    }
}

/// How many of `flows` a share and what is owed to it come to.
fn part(flows: usize, debt: f64, share: f64) -> usize {
    // A float that is less than 0 becomes 0.
    ((flows as f64 * share + debt) as usize).min(flows)
}

fn v5_record(flow: &Flow, teller: &Teller) -> FixedRecord {
    let key = &flow.key;
    FixedRecord {
        source: key.source.ipv4.into(),
        destination: key.destination.ipv4.into(),
        next_hop: teller.place.next_hop_ipv4(flow.output).into(),
        input: flow.input as u16,
        output: flow.output as u16,
        packets: flow.packets as u32,
        octets: flow.bytes as u32,
        first_ms: teller.uptime_ms(flow.first_ms),
        last_ms: teller.uptime_ms(flow.last_ms),
        source_port: key.source_port,
        destination_port: key.destination_port,
        tcp_flags: flow.tcp_flags,
        protocol: key.protocol,
        tos: key.service.tos,
        source_as: as_number_16(&key.source),
        destination_as: as_number_16(&key.destination),
        source_mask: key.source.mask_ipv4,
        destination_mask: key.destination.mask_ipv4,
        router: std::net::Ipv4Addr::UNSPECIFIED,
    }
}
