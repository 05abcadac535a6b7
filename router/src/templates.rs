//! The templates that exporters sent last, so that a collector can be told them.
//!
//! A collector that comes up, comes back, or takes over an exporter knows none of its templates, and the exporter may
//! take half an hour to send them again. So the router sends them: just before the exporter's next message that goes to
//! that collector, in messages of its own that hold nothing but templates.
//!
//! # Sequence numbers
//!
//! These messages must show the collector no loss that was none, and repeat no flow.
//!
//! * IPFIX counts data records. A message without any has the number of the message that follows it: so it takes that
//!   one's.
//! * v9 counts messages. The number before that of the message that follows is the one that the collector saw last, or
//!   that went to another: so *k* messages take the *k* numbers before. A collector that is new to the exporter finds
//!   them in order; one that has seen these numbers takes them for repeated, and nothing in them counts twice.
//!
//! The rest of their headers is that of the message that follows, so that clocks and uptimes do not jump.
//!
//! Some exporters send templates from another port than data. Where a message's own session has no templates, those of
//! the exporter's other sessions of that domain are sent, each from its own port: with the header of its last message,
//! whose number a v9 session had last, and which an IPFIX session without data records has yet.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ahash::RandomState;
use forebay_wire::set::Version;
use forebay_wire::template::TemplateRecord;
use forebay_wire::{Message, SetKind, Sets};
use hashlink::LinkedHashMap;

use crate::config::Limits;

mod build;

use build::Follows;
pub(crate) use build::Scratch;

/// So many sessions of an exporter are searched for templates that a session lacks.
const SIBLINGS_MAX: usize = 64;

/// How long after they could not be sent templates are tried again, in nanoseconds: a collector without them can read
/// nothing, but where nothing can be sent they must not make it worse.
const AGAIN_NS: u64 = 100_000_000;
/// What keeping a template takes besides its bytes: a place in a map that may be half empty, and an allocation.
const OVERHEAD: usize = 2 * size_of::<(u16, Known)>() + 2 * size_of::<usize>();

/// Who sends: RFC 7011 §8, a transport session and observation domain, per version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SessionKey {
    port: u16,
    version: u8,
    domain: u32,
}

/// A template as it came.
#[derive(Debug)]
struct Known {
    /// The record.
    raw: Box<[u8]>,
    is_options: bool,
    /// When it came first with this layout, in nanoseconds since 1970.
    since_ns: u64,
}

impl Known {
    /// Bytes that it takes.
    const fn cost(&self) -> u64 {
        (self.raw.len() + OVERHEAD) as u64
    }

    /// The record, and whether it is an options template's.
    fn record(&self) -> (&[u8], bool) {
        (&self.raw, self.is_options)
    }
}

/// A template that may be known.
struct New<'a> {
    id: u16,
    raw: &'a [u8],
    is_options: bool,
    since_ns: u64,
    /// Of the message that it is in.
    header: Follows,
}

impl New<'_> {
    fn known(&self) -> Known {
        Known {
            raw: self.raw.into(),
            is_options: self.is_options,
            since_ns: self.since_ns,
        }
    }
}

#[derive(Debug)]
struct Session {
    templates: BTreeMap<u16, Known>,
    /// The header of its last message.
    last: Follows,
    /// The collector that its last message went to.
    told: Told,
    /// Those that get copies, their incarnations mixed.
    told_copies: Told,
}

/// Who knows the templates of a session.
#[derive(Debug)]
struct Told {
    incarnation: u64,
    /// When they must be sent again because they could not be sent.
    again_ns: u64,
}

#[derive(Debug)]
struct Exporter {
    sessions: LinkedHashMap<SessionKey, Session, RandomState>,
}

/// What the limits cost, and how full the memory is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TemplateCounts {
    /// Templates kept now.
    pub templates: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Sessions and observation domains that they belong to.
    pub domains: u64,
    /// Sessions that were forgotten for others, the least recently heard first.
    pub domains_evicted: u64,
    /// Templates that were not kept because their session had too many.
    pub refused: u64,
    /// Template records that could not be read; collectors will say so too.
    pub malformed: u64,
}

impl TemplateCounts {
    /// Adds another thread's.
    pub const fn add(&mut self, other: &Self) {
        self.templates += other.templates;
        self.bytes += other.bytes;
        self.domains += other.domains;
        self.domains_evicted += other.domains_evicted;
        self.refused += other.refused;
        self.malformed += other.malformed;
    }
}

/// The templates of a thread's exporters, within limits.
#[derive(Debug)]
pub(crate) struct Templates {
    limits: Limits,
    /// The least recently heard first.
    exporters: LinkedHashMap<IpAddr, Exporter, RandomState>,
    counts: TemplateCounts,
}

/// What is to be told before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Due {
    /// To the collector.
    pub(crate) collector: bool,
    /// To those that get copies.
    pub(crate) copies: bool,
}

impl Templates {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            exporters: LinkedHashMap::with_hasher(RandomState::new()),
            counts: TemplateCounts::default(),
        }
    }

    pub(crate) const fn counts(&self) -> TemplateCounts {
        self.counts
    }

    /// What the targets of a message must be told first, by their incarnations; it counts as told then. `None` for a
    /// target that does not get this message.
    ///
    /// The session, if templates of it are known, is the last to be forgotten from now on.
    #[inline]
    pub(crate) fn due(
        &mut self,
        source: SocketAddr,
        message: &Message<'_>,
        received_ns: u64,
        collector: Option<u64>,
        copies: Option<u64>,
    ) -> Due {
        let mut due = Due::default();
        let (Some((key, _)), Some(exporter)) = (
            session_of(source, message),
            self.exporters.to_back(&source.ip()),
        ) else {
            return due;
        };
        if let Some(session) = exporter.sessions.to_back(&key) {
            if let Some(header) = Follows::new(message) {
                session.last = header;
            }
            session.mark(received_ns, collector, copies, &mut due);
        } else {
            for session in exporter.siblings_mut(key) {
                session.mark(received_ns, collector, copies, &mut due);
            }
        }
        due
    }

    /// What was to be told before a message could not be sent: it will be due again, though not at once.
    #[cold]
    pub(crate) fn not_told(
        &mut self,
        source: SocketAddr,
        message: &Message<'_>,
        received_ns: u64,
        whom: Due,
    ) {
        let (Some((key, _)), Some(exporter)) = (
            session_of(source, message),
            self.exporters.get_mut(&source.ip()),
        ) else {
            return;
        };
        let again_ns = received_ns.saturating_add(AGAIN_NS);
        if let Some(session) = exporter.sessions.get_mut(&key) {
            session.not_told(again_ns, whom);
        } else {
            for session in exporter.siblings_mut(key) {
                session.not_told(again_ns, whom);
            }
        }
    }

    /// Keeps the templates of a message; whether it has any. `told` are the incarnations of those that get the
    /// message itself: the collector, and those of copies.
    #[inline]
    pub(crate) fn learn(
        &mut self,
        source: SocketAddr,
        message: &Message<'_>,
        received_ns: u64,
        told: (u64, u64),
    ) -> bool {
        let (Some((key, sets)), Some(header)) =
            (session_of(source, message), Follows::new(message))
        else {
            return false;
        };
        let mut has_templates = false;
        for set in sets {
            // What cannot be found is the collector's to tell.
            let Ok(set) = set else { break };
            if !matches!(set.kind(), SetKind::Template | SetKind::OptionsTemplate) {
                continue;
            }
            has_templates = true;
            for record in set.templates() {
                match record {
                    Ok(TemplateRecord::Define(definition)) => {
                        let raw = definition.raw();
                        let template = New {
                            id: definition.id(),
                            raw,
                            is_options: definition.is_options(),
                            since_ns: received_ns,
                            header,
                        };
                        self.keep(source.ip(), key, &template, told);
                    }
                    // RFC 7011 §8.4: over UDP, withdrawals "MUST be ignored".
                    Ok(_) => {}
                    Err(_) => self.counts.malformed += 1,
                }
            }
        }
        has_templates
    }

    /// Adds what another learned from older messages, which nobody was told.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.counts.domains_evicted += other.counts.domains_evicted;
        self.counts.refused += other.counts.refused;
        self.counts.malformed += other.counts.malformed;
        for (address, exporter) in other.exporters {
            for (key, session) in exporter.sessions {
                for (id, known) in &session.templates {
                    let template = New {
                        id: *id,
                        raw: &known.raw,
                        is_options: known.is_options,
                        since_ns: known.since_ns,
                        header: session.last,
                    };
                    self.keep(address, key, &template, (0, 0));
                }
                let exporter = self.exporters.get_mut(&address);
                if let Some(session) = exporter.and_then(|of| of.sessions.get_mut(&key)) {
                    let all = Due {
                        collector: true,
                        copies: true,
                    };
                    session.not_told(0, all);
                }
            }
        }
    }

    fn keep(&mut self, address: IpAddr, key: SessionKey, new: &New<'_>, told: (u64, u64)) {
        let raw = new.raw;
        if raw.len() + OVERHEAD > self.limits.template_bytes {
            self.counts.refused += 1;
            return;
        }
        let exporter = self.exporters.entry(address).or_insert_with(|| Exporter {
            sessions: LinkedHashMap::with_hasher(RandomState::new()),
        });
        if !exporter.sessions.contains_key(&key) {
            self.counts.domains += 1;
            let session = Session {
                templates: BTreeMap::new(),
                last: new.header,
                told: Told::new(told.0),
                told_copies: Told::new(told.1),
            };
            exporter.sessions.insert(key, session);
            if exporter.sessions.len() > self.limits.domains_per_exporter {
                let oldest = exporter.sessions.pop_front();
                forget(&mut self.counts, oldest.map(|(_, session)| session));
            }
        }
        let Some(session) = exporter.sessions.get_mut(&key) else {
            return;
        };
        let full = session.templates.len() >= self.limits.templates_per_domain;
        match session.templates.get_mut(&new.id) {
            // An earlier run knew it before.
            Some(same) if *same.raw == *raw => {
                same.since_ns = same.since_ns.min(new.since_ns);
                return;
            }
            // Out of a spool: a newer one is known.
            Some(newer) if newer.since_ns > new.since_ns => return,
            Some(other) => {
                self.counts.bytes -= other.cost();
                *other = new.known();
                self.counts.bytes += other.cost();
            }
            None if full => {
                self.counts.refused += 1;
                return;
            }
            None => {
                self.counts.templates += 1;
                let known = new.known();
                self.counts.bytes += known.cost();
                session.templates.insert(new.id, known);
            }
        }
        self.exporters.to_back(&address);
        self.evict();
    }

    /// Forgets the least recently heard until all is within the limits. Never what was heard last: that is at the back,
    /// and within the limits by itself unless they are tiny.
    fn evict(&mut self) {
        let (bytes, domains) = (
            self.limits.template_bytes as u64,
            self.limits.domains as u64,
        );
        while self.counts.bytes > bytes || self.counts.domains > domains {
            let Some((address, exporter)) = self.exporters.iter_mut().next() else {
                return;
            };
            let oldest = exporter.sessions.pop_front();
            if exporter.sessions.is_empty() {
                let address = *address;
                self.exporters.remove(&address);
            }
            forget(&mut self.counts, oldest.map(|(_, session)| session));
        }
    }

    /// Writes messages with the templates of the session that were valid when the message that follows came, or of the
    /// exporter's other sessions where that one has none. Hands over each with its source; returns how many there were.
    pub(crate) fn messages(
        &self,
        source: SocketAddr,
        follows: &Message<'_>,
        received_ns: u64,
        scratch: &mut Scratch,
        mut each: impl FnMut(SocketAddr, &[u8]),
    ) -> u64 {
        let (Some((key, _)), Some(exporter)) = (
            session_of(source, follows),
            self.exporters.get(&source.ip()),
        ) else {
            return 0;
        };
        // A newer layout would make nonsense of an older message.
        let valid = |known: &&Known| known.since_ns <= received_ns;
        if let (Some(session), Some(follows)) = (exporter.sessions.get(&key), Follows::new(follows))
        {
            let known = session.templates.values().filter(valid);
            scratch.write(&follows, known.map(Known::record));
            return scratch.each(|message| each(source, message));
        }
        let mut count = 0;
        for (key, session) in exporter.siblings(key) {
            let known = session.templates.values().filter(valid);
            scratch.write(&session.last.next(), known.map(Known::record));
            let source = SocketAddr::new(source.ip(), key.port);
            count += scratch.each(|message| each(source, message));
        }
        count
    }
}

impl Exporter {
    /// The sessions of the same version and domain. Among too many nobody looks: that is no exporter with a port for
    /// templates.
    fn siblings(&self, key: SessionKey) -> impl Iterator<Item = (&SessionKey, &Session)> {
        let few = self.sessions.len() <= SIBLINGS_MAX;
        let sessions = self.sessions.iter().filter(move |_| few);
        sessions.filter(move |(other, _)| other.is_sibling(key))
    }

    /// As [`siblings`](Self::siblings).
    fn siblings_mut(&mut self, key: SessionKey) -> impl Iterator<Item = &mut Session> {
        let few = self.sessions.len() <= SIBLINGS_MAX;
        let sessions = self.sessions.iter_mut().filter(move |_| few);
        let siblings = sessions.filter(move |(other, _)| other.is_sibling(key));
        siblings.map(|(_, session)| session)
    }
}

impl SessionKey {
    const fn is_sibling(self, other: Self) -> bool {
        self.version == other.version && self.domain == other.domain
    }
}

impl Session {
    /// Adds what must be told, which counts as told from now on.
    #[inline]
    const fn mark(
        &mut self,
        received_ns: u64,
        collector: Option<u64>,
        copies: Option<u64>,
        due: &mut Due,
    ) {
        if let Some(collector) = collector {
            due.collector |= self.told.mark(collector, received_ns);
        }
        if let Some(copies) = copies {
            due.copies |= self.told_copies.mark(copies, received_ns);
        }
    }

    const fn not_told(&mut self, again_ns: u64, whom: Due) {
        if whom.collector {
            self.told.again_ns = again_ns;
        }
        if whom.copies {
            self.told_copies.again_ns = again_ns;
        }
    }
}

impl Told {
    const fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            again_ns: u64::MAX,
        }
    }

    /// Whether it must be told, which counts as told from now on.
    #[inline]
    const fn mark(&mut self, incarnation: u64, received_ns: u64) -> bool {
        let is_due = self.incarnation != incarnation || received_ns >= self.again_ns;
        if is_due {
            self.incarnation = incarnation;
            // What got lost after this message came, as where it comes out of a spool, is not told with it.
            if received_ns.saturating_add(AGAIN_NS) >= self.again_ns {
                self.again_ns = u64::MAX;
            }
        }
        is_due
    }
}

fn forget(counts: &mut TemplateCounts, session: Option<Session>) {
    let Some(session) = session else { return };
    counts.domains -= 1;
    counts.domains_evicted += 1;
    counts.templates -= session.templates.len() as u64;
    for known in session.templates.values() {
        counts.bytes -= known.cost();
    }
}

/// Whether templates are in a message.
pub(crate) fn defines_templates(message: &Message<'_>) -> bool {
    let sets = match message {
        Message::Fixed(_) => return false,
        Message::V9(message) => message.sets(),
        Message::Ipfix(message) => message.sets(),
    };
    let mut readable = sets.map_while(Result::ok);
    readable.any(|set| matches!(set.kind(), SetKind::Template | SetKind::OptionsTemplate))
}

/// The session of a message that can have templates, and its sets.
#[inline]
fn session_of<'a>(source: SocketAddr, message: &Message<'a>) -> Option<(SessionKey, Sets<'a>)> {
    let (version, domain, sets) = match message {
        Message::Fixed(_) => return None,
        Message::V9(message) => (Version::V9, message.header.source_id, message.sets()),
        Message::Ipfix(message) => {
            let domain = message.header.observation_domain;
            (Version::Ipfix, domain, message.sets())
        }
    };
    let key = SessionKey {
        port: source.port(),
        version: version.number(),
        domain,
    };
    Some((key, sets))
}

#[cfg(test)]
mod tests;
