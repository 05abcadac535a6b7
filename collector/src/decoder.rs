//! The decoder of a shard: datagrams in, batches of flows out. It takes no locks, reads no clock and
//! does no I/O.

use std::net::IpAddr;
use std::sync::Arc;

use forebay_udp::Datagram;
use forebay_udp::capture::CaptureCounts;
use forebay_wire::message::Message;
use forebay_wire::set::{Set, SetKind, Sets, Version};
use forebay_wire::template::TemplateRecord;
use forebay_wire::{fixed, ipfix, v9};

use crate::config::DecoderConfig;
use crate::counters::{Counters, Scope};
use crate::domain::WaitingSet;
use crate::options;
use crate::plan::{FIXED_PLANS, Plan};
use crate::rows::{Batches, Context, Output};
use crate::saved::{self, Saved, SavedDomain, SavedTemplate};
use crate::sequence::Arrival;
use crate::sessions::{Layout, SessionKey, Sessions};
use crate::status::{DomainStatus, Tables};
use crate::time::ExportTime;

#[cfg(test)]
mod tests;

/// A batch is handed over when its first row is this old.
const BATCH_AGE_US: i64 = 1_000_000;
/// A datagram that is this much older than its window belongs to it all the same: sockets are read
/// in turn, and captures of several interfaces are out of order by as much.
const OUT_OF_ORDER_US: i64 = 1_000_000;

/// What a shard knows, and the batches that it fills.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    sessions: Sessions,
    batches: Batches,
    fixed_plans: [Plan; FIXED_PLANS],
    /// Counts that belong to no exporter's domain.
    unassigned: Counters,
    /// The rotation window, in microseconds since 1970.
    window: std::ops::Range<i64>,
    /// Templates that came with the message being decoded.
    new_templates: Vec<u16>,
    /// Whether templates or options data have come that a restart should know.
    changed: bool,
}

impl Decoder {
    /// A decoder that has heard nothing yet.
    pub fn new(config: DecoderConfig) -> Self {
        let plan = |(version, number): (fixed::Version, usize)| {
            Plan::of_fixed(
                version.fields(),
                version.record_length(),
                &config.columns.extra,
                number,
            )
        };
        let fixed_plans: [_; FIXED_PLANS] = [
            (fixed::Version::V1, 0),
            (fixed::Version::V5, 1),
            (fixed::Version::V7, 2),
        ];
        Self {
            sessions: Sessions::new(config.limits),
            batches: Batches::new(config.columns.schema.clone(), config.batch_rows),
            fixed_plans: fixed_plans.map(plan),
            unassigned: Counters::default(),
            window: 0..0,
            new_templates: Vec::new(),
            changed: false,
            config,
        }
    }

    /// Decodes a datagram.
    pub fn decode(&mut self, datagram: &Datagram<'_>) {
        let received_us = self.enter_window((datagram.received_ns / 1000).cast_signed());
        let message = match Message::parse(datagram.payload) {
            Ok(message) => message,
            Err(error) => return self.reject(datagram, error.reason()),
        };
        if !self.config.versions.contains(&message.version()) {
            return self.reject(datagram, "version_not_accepted");
        }
        let index = self.sessions.enter(SessionKey {
            address: datagram.source.ip(),
            port: datagram.source.port(),
            version: message.version(),
            domain: message.observation_domain(),
        });
        let domain = self.sessions.both(index).1;
        domain.counters.datagrams += 1;
        domain.counters.octets += datagram.payload.len() as u64;
        domain.counters.messages += 1;
        domain.last_us = received_us;
        let port = datagram.source.port();
        match message {
            Message::Fixed(message) => self.fixed(index, &message, received_us, port),
            Message::V9(message) => self.v9(index, &message, received_us, port),
            Message::Ipfix(message) => self.ipfix(index, &message, received_us, port),
        }
        if !self.batches.misfits.is_empty() {
            self.count_misfits();
        }
    }

    fn reject(&mut self, datagram: &Datagram<'_>, reason: &'static str) {
        self.unassigned.datagrams += 1;
        self.unassigned.octets += datagram.payload.len() as u64;
        self.unassigned.reasons.add(Scope::Datagram, reason, 1);
    }

    fn fixed(&mut self, index: usize, message: &fixed::Message<'_>, received_us: i64, port: u16) {
        let header = &message.header;
        let (session, domain) = self.sessions.both(index);
        if let Some(problem) = message.problem() {
            domain
                .counters
                .reasons
                .add(Scope::Message, problem.reason(), 1);
        }
        let plan = match header.version {
            fixed::Version::V1 => &self.fixed_plans[0],
            fixed::Version::V5 => &self.fixed_plans[1],
            fixed::Version::V7 => &self.fixed_plans[2],
        };
        let export = ExportTime::of_uptime(header.unix_secs, header.unix_nsecs, header.uptime_ms);
        // An interval of 0 does not say that every packet was looked at: many exporters that sample
        // leave it so.
        let rate = Some(u32::from(header.sampling_interval())).filter(|&rate| rate > 0);
        let context = Context {
            received_us,
            port,
            export,
            rate,
        };
        let records = self
            .batches
            .decode(plan, None, message.records(), &context, domain);
        if header.version != fixed::Version::V1 {
            // Records that the header counts and that are not there show as a gap.
            let units = u32::try_from(records).ok();
            let arrival =
                session
                    .sequence
                    .arrive(header.flow_sequence.0, units, Some(header.uptime_ms));
            count(&mut domain.counters, arrival);
        }
    }

    fn v9(&mut self, index: usize, message: &v9::Message<'_>, received_us: i64, port: u16) {
        let header = &message.header;
        let (session, domain) = self.sessions.both(index);
        let arrival = session
            .sequence
            .arrive(header.sequence.0, Some(1), Some(header.uptime_ms));
        count(&mut domain.counters, arrival);
        let export = ExportTime::of_uptime(header.unix_secs, 0, header.uptime_ms);
        self.sets(
            index,
            message.sets(),
            &Context {
                received_us,
                port,
                export,
                rate: None,
            },
        );
    }

    fn ipfix(&mut self, index: usize, message: &ipfix::Message<'_>, received_us: i64, port: u16) {
        let header = &message.header;
        let domain = self.sessions.both(index).1;
        if let Some(problem) = message.problem() {
            domain
                .counters
                .reasons
                .add(Scope::Message, problem.reason(), 1);
        }
        let export = ExportTime::of_ipfix(header.export_secs, domain.system_init_ms);
        let context = Context {
            received_us,
            port,
            export,
            rate: None,
        };
        let units = self.sets(index, message.sets(), &context);
        let (session, domain) = self.sessions.both(index);
        let arrival = session.sequence.arrive(header.sequence.0, units, None);
        count(&mut domain.counters, arrival);
    }

    /// Decodes the sets of a message. Returns how many data records they held, if that is known.
    fn sets(&mut self, index: usize, sets: Sets<'_>, context: &Context) -> Option<u32> {
        let mut units = Some(0u32);
        let mut context = *context;
        for set in sets {
            match set {
                Ok(set) => {
                    let records = match set.kind() {
                        SetKind::Data => self.data_set(index, &set, &context),
                        SetKind::Template | SetKind::OptionsTemplate => {
                            self.template_set(index, &set, context.received_us);
                            Some(0)
                        }
                        SetKind::Reserved => {
                            let domain = self.sessions.both(index).1;
                            domain
                                .counters
                                .reasons
                                .add(Scope::Set, "set_reserved_id", 1);
                            Some(0)
                        }
                    };
                    units = units
                        .zip(records)
                        .map(|(units, records)| units.wrapping_add(records));
                    // Options data may have told the boot time.
                    if set.version == Version::Ipfix {
                        let domain = self.sessions.both(index).1;
                        let export_secs = (context.export.unix_us / 1_000_000) as u32;
                        context.export = ExportTime::of_ipfix(export_secs, domain.system_init_ms);
                    }
                }
                Err(error) => {
                    let domain = self.sessions.both(index).1;
                    domain.counters.reasons.add(Scope::Set, error.reason(), 1);
                    units = None;
                }
            }
        }
        if !self.new_templates.is_empty() {
            self.decode_waiting(index);
        }
        units
    }

    /// Decodes a data set, or keeps it until its template comes.
    fn data_set(&mut self, index: usize, set: &Set<'_>, context: &Context) -> Option<u32> {
        let limit = self.config.limits.samplers_per_domain;
        let Some((layout, domain)) = self.sessions.layout(index, set.id) else {
            self.sessions.wait(
                index,
                WaitingSet {
                    port: context.port,
                    template_id: set.id,
                    received_us: context.received_us,
                    export: context.export,
                    body: set.body.into(),
                },
            );
            self.sessions.both(index).1.counters.sets_waited += 1;
            return None;
        };
        let records = match &*layout {
            Layout::Data(plan) => {
                let id = Some(set.id);
                self.batches.decode(plan, id, set.body, context, domain)
            }
            Layout::Options(template) => {
                self.changed = true;
                options::learn_all(template, set.body, domain, limit)
            }
        };
        // A set has at most 65,531 bytes, and a record at least one.
        Some(records as u32)
    }

    fn template_set(&mut self, index: usize, set: &Set<'_>, now_us: i64) {
        for record in set.templates() {
            let error = match record {
                Ok(TemplateRecord::Define(definition)) => {
                    match self
                        .sessions
                        .define(index, &definition, &self.config.columns, now_us)
                    {
                        Ok(true) => {
                            self.new_templates.push(definition.id());
                            self.changed = true;
                            continue;
                        }
                        Ok(false) => continue,
                        Err(error) => error,
                    }
                }
                // RFC 7011 §8.4: withdrawals "MUST be ignored by Collecting Processes collecting
                // via UDP".
                Ok(TemplateRecord::Withdraw { .. } | TemplateRecord::WithdrawAll { .. }) => {
                    self.sessions.both(index).1.counters.withdrawals += 1;
                    continue;
                }
                Err(error) => error,
            };
            let domain = self.sessions.both(index).1;
            domain
                .counters
                .reasons
                .add(Scope::Template, error.reason(), 1);
        }
    }

    /// Decodes the sets that waited for the templates that have just come.
    fn decode_waiting(&mut self, index: usize) {
        let limit = self.config.limits.samplers_per_domain;
        let mut templates = std::mem::take(&mut self.new_templates);
        let (session, domain) = self.sessions.both(index);
        let index_of_domain = session.domain;
        let now_us = domain.last_us;
        let key = session.key;
        if !domain.waiting.is_empty() {
            templates.sort_unstable();
            let wanted = |set: &WaitingSet| templates.binary_search(&set.template_id).is_ok();
            for set in self.sessions.take_waiting(index_of_domain, wanted) {
                let key = SessionKey {
                    port: set.port,
                    ..key
                };
                // Limits may have put its session out. It is not made anew: that could put out the
                // one whose message this is.
                let layout = match self.sessions.find(&key) {
                    Some(session) => self.sessions.layout(session, set.template_id),
                    None => self
                        .sessions
                        .agreed_layout(index_of_domain, set.template_id),
                };
                let Some((layout, domain)) = layout else {
                    // Sessions do not agree, or another template put it out at once: it waits on.
                    self.sessions.wait(index, set);
                    continue;
                };
                // It may be an hour's or a minute's first: the rows belong where it was received,
                // but that window may be written already, so they go with those of now. Where the clock
                // went back, it was received later than now.
                let received_us = set.received_us.min(now_us).max(self.window.start);
                let WaitingSet { port, export, .. } = set;
                let context = Context {
                    received_us,
                    port,
                    export,
                    rate: None,
                };
                match &*layout {
                    Layout::Data(plan) => {
                        let id = Some(set.template_id);
                        self.batches.decode(plan, id, &set.body, &context, domain);
                    }
                    Layout::Options(template) => {
                        self.changed = true;
                        options::learn_all(template, &set.body, domain, limit);
                    }
                }
                domain.counters.sets_recovered += 1;
            }
        }
        templates.clear();
        self.new_templates = templates;
    }

    /// Sees to it that the datagram's window is the open one. Returns the time to store.
    fn enter_window(&mut self, received_us: i64) -> i64 {
        if self.window.contains(&received_us) {
            return received_us;
        }
        let early = self.window.start - received_us;
        if (1..=OUT_OF_ORDER_US).contains(&early) {
            return self.window.start;
        }
        self.rotate();
        self.window = window(received_us, self.config.rotation_seconds);
        received_us
    }

    /// Ends the open batches and the window they belong to.
    pub fn rotate(&mut self) {
        self.batches.rotate();
        self.count_misfits();
    }

    /// Tells domains of values that did not fit their columns.
    fn count_misfits(&mut self) {
        for (domain, count) in self.batches.misfits.drain(..) {
            self.sessions.count_misfits(domain, count);
        }
    }

    /// Hands over batches that are old and gives up on data sets that have waited too long. To be
    /// called every second or so.
    pub fn tick(&mut self, now_us: i64) {
        self.batches.hand_over(now_us - BATCH_AGE_US);
        self.count_misfits();
        let wait_us = i64::from(self.config.limits.pending_seconds) * 1_000_000;
        self.sessions
            .expire(now_us - wait_us, "template_missing_too_long");
    }

    /// Ends a window that is over. To be called when no datagram waits: those that do say by their
    /// own times when it is.
    pub fn idle(&mut self, now_us: i64) {
        if now_us >= self.window.end && self.window.end > 0 {
            self.rotate();
            self.window = window(now_us, self.config.rotation_seconds);
        }
    }

    /// Gives up the data sets that still wait: no template will come.
    pub fn finish(&mut self) {
        self.sessions.expire(i64::MAX, "template_missing_at_end");
        self.rotate();
    }

    /// The next batch to write.
    pub fn next_output(&mut self) -> Option<Output> {
        self.batches.ready.pop_front()
    }

    /// Counts the packets of a capture whose datagrams could not be read.
    pub fn count_unreadable(&mut self, counts: &CaptureCounts) {
        let reasons = [
            ("capture_truncated", counts.truncated),
            ("capture_malformed", counts.malformed),
            ("capture_unsupported_link", counts.unsupported_link),
            ("fragments_malformed", counts.fragments_malformed),
            ("fragments_expired", counts.fragments_expired),
            ("fragments_over_limit", counts.fragments_over_limit),
        ];
        for (reason, count) in reasons {
            self.unassigned.datagrams += count;
            self.unassigned.reasons.add(Scope::Datagram, reason, count);
        }
    }

    /// Hands over what there is, whatever its age.
    pub fn flush(&mut self) {
        self.batches.hand_over(i64::MAX);
        self.count_misfits();
    }

    /// What is known of each exporter's observation domains.
    pub fn domains(&self) -> impl Iterator<Item = DomainStatus> + '_ {
        self.sessions.domains().map(|domain| DomainStatus {
            exporter: Arc::clone(&domain.name),
            version: domain.version,
            observation_domain: domain.id,
            last_us: domain.last_us,
            serial: domain.serial,
            sets_waiting: domain.waiting.len() as u64,
            counters: domain.counters.clone(),
        })
    }

    /// What a restart should know: templates, and what options data said.
    pub fn saved(&self) -> Saved {
        let templates = self
            .sessions
            .all_templates()
            .map(|(key, known)| SavedTemplate {
                address: saved::octets(key.address),
                port: key.port,
                version: key.version,
                domain: key.domain,
                options: matches!(known.layout, Layout::Options(_)),
                raw: known.raw.to_vec(),
                seen_us: known.seen_us,
            });
        let telling = self.sessions.domains().filter(|domain| {
            domain.rate.is_some() || domain.system_init_ms.is_some() || !domain.samplers.is_empty()
        });
        let domains = telling.map(|domain| SavedDomain {
            address: saved::octets(domain.address),
            version: domain.version,
            domain: domain.id,
            rate: domain.rate,
            system_init_ms: domain.system_init_ms,
            samplers: domain
                .samplers
                .iter()
                .map(|(&(e, id), &rate)| (e, id, rate))
                .collect(),
            seen_us: domain.last_us,
        });
        Saved {
            templates: templates.collect(),
            domains: domains.collect(),
        }
    }

    /// What a restart should know, if that has changed since the last call.
    pub fn take_changed(&mut self) -> Option<Saved> {
        std::mem::take(&mut self.changed).then(|| self.saved())
    }

    /// Takes what an earlier run knew of those exporters that `ours` says are this shard's.
    pub fn restore(&mut self, saved: &Saved, ours: impl Fn(IpAddr) -> bool) {
        for template in &saved.templates {
            let address = saved::address(template.address);
            let (version, id) = match (template.version, template.options) {
                (9, options) => (Version::V9, u16::from(options)),
                (_, options) => (Version::Ipfix, 2 + u16::from(options)),
            };
            if !ours(address) {
                continue;
            }
            let index = self.sessions.enter(SessionKey {
                address,
                port: template.port,
                version: template.version,
                domain: template.domain,
            });
            let set = Set {
                version,
                offset: 0,
                id,
                body: &template.raw,
            };
            for record in set.templates() {
                if let Ok(TemplateRecord::Define(definition)) = record {
                    let columns = &self.config.columns;
                    // It was accepted before; limits that are lower now may refuse it.
                    let _taken =
                        self.sessions
                            .define(index, &definition, columns, template.seen_us);
                }
            }
            self.sessions.both(index).1.counters = Counters::default();
            // The next file holds what this shard knows, and nothing else of its exporters.
            self.changed = true;
        }
        for saved in &saved.domains {
            let address = saved::address(saved.address);
            if let Some(domain) = self
                .sessions
                .find_domain(address, saved.version, saved.domain)
            {
                domain.rate = saved.rate;
                domain.system_init_ms = saved.system_init_ms;
                let samplers = saved.samplers.iter().map(|&(e, id, rate)| ((e, id), rate));
                domain.samplers = samplers
                    .take(self.config.limits.samplers_per_domain)
                    .collect();
            }
        }
    }

    /// How full the tables are.
    pub fn tables(&self) -> Tables {
        Tables {
            exporters: self.sessions.exporters(),
            templates: self.sessions.templates(),
            pending_bytes: self.sessions.pending_bytes(),
        }
    }

    /// Counts that belong to no exporter: of datagrams that are no message, and of those domains
    /// that limits put out.
    pub fn unassigned(&self) -> Counters {
        let mut counters = self.unassigned.clone();
        counters.add(&self.sessions.put_out);
        counters
    }
}

fn count(counters: &mut Counters, arrival: Arrival) {
    match arrival {
        Arrival::InOrder => {}
        Arrival::Gap(units) => counters.sequence_lost += u64::from(units),
        Arrival::Late(units) => {
            counters.sequence_late += u64::from(units);
            // A gap of at least as many was counted before.
            counters.sequence_lost = counters.sequence_lost.saturating_sub(u64::from(units));
        }
        Arrival::Repeated => counters.sequence_repeated += 1,
        Arrival::Reset => counters.sequence_resets += 1,
    }
}

/// The aligned window that a time lies in. It ends at full hours too, since files lie in one.
fn window(time_us: i64, seconds: u32) -> std::ops::Range<i64> {
    const HOUR_US: i64 = 3_600_000_000;
    let width = i64::from(seconds.max(1)) * 1_000_000;
    let hour = time_us - time_us.rem_euclid(HOUR_US);
    let start = (time_us - time_us.rem_euclid(width)).max(hour);
    start..(time_us - time_us.rem_euclid(width) + width).min(hour + HOUR_US)
}
