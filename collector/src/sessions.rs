//! The exporters of a shard: their transport sessions, templates and domains, within limits.
//!
//! ```text
//! address ──┬─ domain (version, id) ──┬─ session (port) ── templates, sequence
//!           │   counters, samplers    └─ session (port) ── …
//!           └─ domain …
//! ```

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;
use forebay_wire::Template;
use forebay_wire::template::{Definition, TemplateError};
use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::RawEntryMut;
use slab::Slab;

use crate::config::{Columns, Limits};
use crate::counters::{Counters, Scope};
use crate::domain::{Domain, WaitingSet};
use crate::plan::Plan;
use crate::plans::Plans;
use crate::sequence::Sequence;

/// Who sends: the identity that sequence numbers and templates belong to (RFC 7011 §8: a transport
/// session and observation domain), per export version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) version: u8,
    pub(crate) domain: u32,
}

/// What a template id means in a session.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    /// Flows.
    Data(Arc<Plan>),
    /// Options data.
    Options(Arc<Template>),
}

/// A layout and the domain whose data it lays out. Borrowed where it can be: it is asked for with
/// every set.
pub(crate) type InDomain<'a> = (Cow<'a, Layout>, &'a mut Domain);

#[derive(Debug, Clone)]
pub(crate) struct KnownTemplate {
    /// The template record as it came: an equal one changes nothing.
    pub(crate) raw: Arc<[u8]>,
    pub(crate) layout: Layout,
    /// When it was last sent, in microseconds since 1970.
    pub(crate) seen_us: i64,
}

/// What the sessions of a domain that know a template id agree on.
#[derive(Debug)]
pub(crate) struct Agreed {
    raw: Arc<[u8]>,
    layout: Layout,
    /// How many sessions know the id.
    sessions: usize,
    /// They do not agree. Stays until none of them is left, so that it costs no search.
    conflict: bool,
}

/// A transport session and observation domain.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    /// Index of its domain.
    pub(crate) domain: usize,
    pub(crate) sequence: Sequence,
    templates: AHashMap<u16, KnownTemplate>,
    /// When it was last heard, in datagrams of this shard.
    heard: u64,
}

#[derive(Debug)]
struct Exporter {
    name: Arc<str>,
    domains: Vec<usize>,
    sessions: Vec<usize>,
    /// Where the search for an old session goes on.
    cursor: usize,
    pending_bytes: usize,
}

/// Sessions that are compared to find an old one among an exporter's.
const SAMPLE: usize = 16;

/// All sessions of a shard.
#[derive(Debug)]
pub(crate) struct Sessions {
    limits: Limits,
    /// Sessions by key, the least recently heard first.
    order: LinkedHashMap<SessionKey, usize, ahash::RandomState>,
    sessions: Slab<Session>,
    domains: Slab<Domain>,
    exporters: AHashMap<IpAddr, Exporter>,
    plans: Plans,
    templates: usize,
    pending_bytes: usize,
    heard: u64,
    /// Counters of domains that were put out.
    pub(crate) put_out: Counters,
}

impl Sessions {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            order: LinkedHashMap::with_hasher(ahash::RandomState::new()),
            sessions: Slab::new(),
            domains: Slab::new(),
            exporters: AHashMap::new(),
            plans: Plans::default(),
            templates: 0,
            pending_bytes: 0,
            heard: 0,
            put_out: Counters::default(),
        }
    }

    /// The session of that key, made if it is new.
    pub(crate) fn enter(&mut self, key: SessionKey) -> usize {
        self.heard += 1;
        let index = match self.order.raw_entry_mut().from_key(&key) {
            RawEntryMut::Occupied(mut known) => {
                known.to_back();
                *known.get()
            }
            RawEntryMut::Vacant(_) => self.add(key),
        };
        self.sessions[index].heard = self.heard;
        index
    }

    fn add(&mut self, key: SessionKey) -> usize {
        self.make_room(key.address);
        let exporter = self
            .exporters
            .entry(key.address)
            .or_insert_with(|| Exporter {
                name: key.address.to_string().into(),
                domains: Vec::new(),
                sessions: Vec::new(),
                cursor: 0,
                pending_bytes: 0,
            });
        let same = |&&index: &&usize| {
            let domain = &self.domains[index];
            domain.version == key.version && domain.id == key.domain
        };
        let domain = match exporter.domains.iter().find(same) {
            Some(&index) => index,
            None => {
                let name = Arc::clone(&exporter.name);
                let vacant = self.domains.vacant_entry();
                let index = vacant.key();
                vacant.insert(Domain::new(key, name, index, self.heard));
                exporter.domains.push(index);
                index
            }
        };
        self.domains[domain].sessions += 1;
        let (templates, sequence) = (AHashMap::new(), Sequence::default());
        let session = Session {
            key,
            domain,
            sequence,
            templates,
            heard: 0,
        };
        let index = self.sessions.insert(session);
        exporter.sessions.push(index);
        self.order.insert(key, index);
        index
    }

    /// Puts out old sessions until one more of `address` fits.
    fn make_room(&mut self, address: IpAddr) {
        match self.exporters.get_mut(&address) {
            Some(exporter) if exporter.sessions.len() >= self.limits.domains_per_exporter => {
                // Its own sessions make room, so that one exporter cannot push out the others. The
                // oldest of a few is old enough, and found at once.
                let heard = |&index: &usize| self.sessions[index].heard;
                let sample = exporter
                    .sessions
                    .iter()
                    .cycle()
                    .skip(exporter.cursor)
                    .take(SAMPLE);
                let oldest = sample.copied().min_by_key(heard);
                exporter.cursor = (exporter.cursor + SAMPLE) % exporter.sessions.len().max(1);
                if let Some(index) = oldest {
                    self.put_out(self.sessions[index].key, "domains_per_exporter");
                }
            }
            Some(_) => {}
            None => {
                // An exporter is out with its last session.
                while self.exporters.len() >= self.limits.exporters && !self.order.is_empty() {
                    self.put_out_oldest("exporters");
                }
            }
        }
        if self.order.len() >= self.limits.domains {
            self.put_out_oldest("domains");
        }
    }

    fn put_out_oldest(&mut self, limit: &'static str) {
        if let Some((&key, _)) = self.order.front() {
            self.put_out(key, limit);
        }
    }

    fn put_out(&mut self, key: SessionKey, limit: &'static str) {
        let Some(index) = self.order.remove(&key) else {
            return;
        };
        self.put_out.reasons.add(Scope::Limit, limit, 1);
        let session = self.sessions.remove(index);
        self.templates -= session.templates.len();
        let domain = &mut self.domains[session.domain];
        for &id in session.templates.keys() {
            domain.forget(id);
        }
        domain.sessions -= 1;
        let alone = domain.sessions == 0;
        let Some(exporter) = self.exporters.get_mut(&key.address) else {
            return;
        };
        exporter.sessions.retain(|&other| other != index);
        if alone {
            let mut domain = self.domains.remove(session.domain);
            let waiting = domain.waiting.len() as u64;
            let bytes: usize = domain.waiting.iter().map(WaitingSet::bytes).sum();
            let reasons = &mut domain.counters.reasons;
            reasons.add(Scope::Set, "template_missing_exporter_put_out", waiting);
            self.pending_bytes -= bytes;
            exporter.pending_bytes -= bytes;
            exporter.domains.retain(|&other| other != session.domain);
            self.put_out.add(&domain.counters);
        }
        if exporter.sessions.is_empty() {
            self.exporters.remove(&key.address);
        }
    }

    /// A session and its domain.
    pub(crate) fn both(&mut self, index: usize) -> (&mut Session, &mut Domain) {
        let session = &mut self.sessions[index];
        let domain = &mut self.domains[session.domain];
        (session, domain)
    }

    /// Counts values that did not fit their columns. The domain may have been put out since.
    pub(crate) fn count_misfits(&mut self, (place, serial): (usize, u64), misfits: u64) {
        let domain = self.domains.get_mut(place);
        let counters = match domain.filter(|domain| domain.serial == serial) {
            Some(domain) => &mut domain.counters,
            None => &mut self.put_out,
        };
        counters
            .reasons
            .add(Scope::Value, "value_out_of_range", misfits);
    }

    /// The domain of an exporter, if it has been heard.
    pub(crate) fn find_domain(
        &mut self,
        address: IpAddr,
        version: u8,
        id: u32,
    ) -> Option<&mut Domain> {
        let domains = &self.exporters.get(&address)?.domains;
        let same = |&&index: &&usize| {
            let domain = &self.domains[index];
            domain.version == version && domain.id == id
        };
        let index = *domains.iter().find(same)?;
        self.domains.get_mut(index)
    }

    pub(crate) fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.iter().map(|(_, domain)| domain)
    }

    pub(crate) fn exporters(&self) -> usize {
        self.exporters.len()
    }

    pub(crate) fn templates(&self) -> usize {
        self.templates
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// The session of that key, if it is known.
    pub(crate) fn find(&self, key: &SessionKey) -> Option<usize> {
        self.order.get(key).copied()
    }

    /// What data sets of this id are laid out by, and the session's domain: by the session's own
    /// template, else the one that all of the domain's sessions which know the id agree on.
    pub(crate) fn layout(&mut self, index: usize, id: u16) -> Option<InDomain<'_>> {
        let session = &self.sessions[index];
        match session.templates.get(&id) {
            Some(known) => {
                let domain = &mut self.domains[session.domain];
                Some((Cow::Borrowed(&known.layout), domain))
            }
            None => agreed_layout(&mut self.domains, session.domain, id),
        }
    }

    /// What the sessions of a domain that know the id agree on.
    pub(crate) fn agreed_layout(&mut self, domain: usize, id: u16) -> Option<InDomain<'_>> {
        agreed_layout(&mut self.domains, domain, id)
    }

    /// Takes a template record. `Ok(true)` where it says something new.
    ///
    /// # Errors
    /// The template is refused.
    pub(crate) fn define(
        &mut self,
        index: usize,
        definition: &Definition<'_>,
        columns: &Columns,
        now_us: i64,
    ) -> Result<bool, TemplateError> {
        let (limits, id) = (self.limits, definition.id());
        let session = &mut self.sessions[index];
        let domain = &mut self.domains[session.domain];
        let known = session.templates.get_mut(&id);
        let changes = known.is_some();
        if let Some(known) = known
            && *known.raw == *definition.raw()
        {
            known.seen_us = known.seen_us.max(now_us);
            domain.counters.templates += 1;
            return Ok(false);
        }
        let template = without_empty_fields(definition.to_template(limits.fields_per_template)?);
        domain.counters.templates += 1;
        domain.counters.templates_changed += u64::from(changes);
        // Not the template: its scopes may all have been empty.
        let layout = if definition.is_options() {
            Layout::Options(Arc::new(template))
        } else {
            Layout::Data(self.plans.of_template(&template, &columns.extra))
        };
        let raw = Arc::<[u8]>::from(definition.raw());
        if changes {
            domain.forget(id);
        } else {
            if session.templates.len() >= limits.templates_per_domain
                && let Some(oldest) = session.oldest_template()
            {
                session.templates.remove(&oldest);
                domain.forget(oldest);
                domain
                    .counters
                    .reasons
                    .add(Scope::Limit, "templates_per_domain", 1);
                self.templates -= 1;
            }
            self.templates += 1;
        }
        let (session, domain) = self.both(index);
        domain.learn(id, &raw, &layout);
        session.templates.insert(
            id,
            KnownTemplate {
                raw,
                layout,
                seen_us: now_us,
            },
        );
        while self.templates > limits.templates && self.order.len() > 1 {
            self.put_out_oldest("templates");
        }
        Ok(true)
    }

    /// Keeps a data set until its template comes. Puts out the domain's oldest where the exporter's
    /// bound is reached.
    pub(crate) fn wait(&mut self, index: usize, set: WaitingSet) {
        let bytes = set.bytes();
        let domain = &mut self.domains[self.sessions[index].domain];
        let Some(exporter) = self.exporters.get_mut(&domain.address) else {
            return;
        };
        let mut lost = 0;
        while exporter.pending_bytes + bytes > self.limits.pending_bytes_per_exporter
            && let Some(oldest) = domain.waiting.pop_front()
        {
            exporter.pending_bytes -= oldest.bytes();
            self.pending_bytes -= oldest.bytes();
            lost += 1;
        }
        if exporter.pending_bytes + bytes > self.limits.pending_bytes_per_exporter
            || self.pending_bytes + bytes > self.limits.pending_bytes
        {
            lost += 1;
        } else {
            exporter.pending_bytes += bytes;
            self.pending_bytes += bytes;
            domain.waiting.push_back(set);
        }
        domain
            .counters
            .reasons
            .add(Scope::Set, "template_missing_too_many_bytes", lost);
    }

    /// Takes the waiting sets of a session's domain that `wanted` says.
    pub(crate) fn take_waiting(
        &mut self,
        domain: usize,
        wanted: impl Fn(&WaitingSet) -> bool,
    ) -> Vec<WaitingSet> {
        let domain = &mut self.domains[domain];
        if !domain.waiting.iter().any(&wanted) {
            // Most templates are waited for by none, and the others need not move.
            return Vec::new();
        }
        let (taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut domain.waiting)
            .into_iter()
            .partition(wanted);
        domain.waiting = kept.into();
        let bytes: usize = taken.iter().map(WaitingSet::bytes).sum();
        self.pending_bytes -= bytes;
        if let Some(exporter) = self.exporters.get_mut(&domain.address) {
            exporter.pending_bytes -= bytes;
        }
        taken
    }

    /// Gives up the sets that have waited since before `deadline_us`, or all.
    pub(crate) fn expire(&mut self, deadline_us: i64, reason: &'static str) {
        if self.pending_bytes == 0 {
            return;
        }
        let late = |set: &WaitingSet| set.received_us < deadline_us;
        let indices = self
            .domains
            .iter()
            .filter(|(_, domain)| domain.waiting.iter().any(late));
        for index in indices.map(|(index, _)| index).collect::<Vec<_>>() {
            let expired = self.take_waiting(index, late).len() as u64;
            self.domains[index]
                .counters
                .reasons
                .add(Scope::Set, reason, expired);
        }
    }

    /// Every template of every session, with when it was last sent.
    pub(crate) fn all_templates(&self) -> impl Iterator<Item = (SessionKey, &KnownTemplate)> {
        self.sessions
            .iter()
            .flat_map(|(_, session)| session.templates.values().map(|known| (session.key, known)))
    }
}

fn agreed_layout(domains: &mut Slab<Domain>, domain: usize, id: u16) -> Option<InDomain<'_>> {
    let domain = &mut domains[domain];
    let agreed = domain.agreed.get(&id).filter(|agreed| !agreed.conflict)?;
    domain.counters.sets_by_sibling += 1;
    Some((Cow::Owned(agreed.layout.clone()), domain))
}

/// Fields of no length tell nothing, but a thousand of them would make each record of a single byte
/// take a thousand steps.
fn without_empty_fields(mut template: Template) -> Template {
    let scopes = template.fields.iter().take(template.scope_count.into());
    // There are no more of them than scopes.
    template.scope_count -= scopes.filter(|field| field.length == 0).count() as u16;
    template.fields.retain(|field| field.length > 0);
    template
}

impl Session {
    /// The template that was not sent for the longest time. A search, but only for an exporter that
    /// has reached its limit.
    fn oldest_template(&self) -> Option<u16> {
        self.templates
            .iter()
            .min_by_key(|(_, known)| known.seen_us)
            .map(|(&id, _)| id)
    }
}

impl Domain {
    /// One more session knows the id.
    fn learn(&mut self, id: u16, raw: &Arc<[u8]>, layout: &Layout) {
        let agreed = self.agreed.entry(id).or_insert_with(|| Agreed {
            raw: Arc::clone(raw),
            layout: layout.clone(),
            sessions: 0,
            conflict: false,
        });
        agreed.sessions += 1;
        agreed.conflict |= agreed.raw != *raw;
    }

    /// A session that knew the id does no more.
    fn forget(&mut self, id: u16) {
        if let Some(agreed) = self.agreed.get_mut(&id) {
            agreed.sessions -= 1;
            if agreed.sessions == 0 {
                self.agreed.remove(&id);
            }
        }
    }
}
