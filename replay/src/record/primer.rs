//! The templates that a file lacks which begins in mid-stream: from an earlier recording, and from what was recorded
//! before the file began.
//!
//! They are told just before the first message of the session that they belong to, in messages that hold nothing else,
//! with that message's times and with sequence numbers that make no gap. An exporter that sends nothing is told nothing
//! of.
//!
//! Some exporters send templates from another port than data. Where a session has data of which it has no template,
//! those of the exporter's other sessions of the same version and observation domain are told, with the numbers that
//! these had last.
//!
//! What is kept is bounded, for anybody can send templates: the session that was heard of least recently goes first.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureError, CaptureReader};
use forebay_wire::{Message, SetKind};

use super::RecordError;
use crate::templates::{MAX_TEMPLATE_BYTES, TemplateMessages, definitions, sequence, sets};

/// How much memory templates may take.
const MAX_BYTES: usize = 64 << 20;
/// How much those of one session may: many times what exporters send.
const MAX_SESSION_BYTES: usize = 1 << 20;
/// How many sessions of one address and domain are kept: exporters may share an address, behind a translator.
const MAX_SESSIONS: usize = 256;
/// About what a session takes without its templates, and what a template takes beside its bytes.
const SESSION_BYTES: usize = 1024;
const TEMPLATE_BYTES: usize = 64;

/// Templates as they were told last, by session.
#[derive(Debug)]
pub struct Primer {
    /// The sessions of each domain, by port.
    exporters: HashMap<Domain, BTreeMap<u16, Session>>,
    /// Which file is being written, counted from 1.
    file: u64,
    /// How many messages have been looked into.
    messages: u64,
    bytes: usize,
    bytes_max: usize,
    forgotten: u64,
    torn: Option<CaptureError>,
}

/// An exporter's observation domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Domain {
    exporter: IpAddr,
    version: u8,
    domain: u32,
}

#[derive(Debug)]
struct Session {
    /// The sequence number of its last message.
    last: u32,
    /// The last file that it told its templates in, or had them told.
    told_in: u64,
    /// Which of the messages was the last that its templates were of use to.
    used: u64,
    bytes: usize,
    templates: BTreeMap<u16, Known>,
}

#[derive(Debug)]
struct Known {
    raw: Box<[u8]>,
    is_options: bool,
}

/// One that knows nothing yet.
impl Default for Primer {
    fn default() -> Self {
        Self::with_room(MAX_BYTES)
    }
}

impl Primer {
    pub(super) fn with_room(bytes_max: usize) -> Self {
        Self {
            exporters: HashMap::new(),
            file: 0,
            messages: 0,
            bytes: 0,
            bytes_max,
            forgotten: 0,
            torn: None,
        }
    }

    /// Reads the templates of a capture. Of one that is torn, what comes before that is used.
    ///
    /// # Errors
    ///
    /// The capture cannot be read, or has no templates.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let mut capture = CaptureReader::open(path)?;
        let mut primer = Self::default();
        loop {
            match capture.next() {
                Ok(Some(datagram)) => {
                    if let Some((domain, message)) = read(&datagram) {
                        primer.learn(domain, datagram.source, &message);
                    }
                }
                Ok(None) => break,
                Err(error @ (CaptureError::TornTail { .. } | CaptureError::Damaged { .. })) => {
                    primer.torn = Some(error);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if primer.templates() == 0 {
            return Err(RecordError::NoTemplates {
                path: path.to_owned(),
                is_torn: primer.torn.is_some(),
            });
        }
        Ok(primer)
    }

    /// How many templates are known.
    #[must_use]
    pub fn templates(&self) -> u64 {
        let sessions = self.exporters.values().flat_map(BTreeMap::values);
        sessions.map(|session| session.templates.len() as u64).sum()
    }

    /// How many templates were not kept, for there were too many.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Why the capture ended before its end, if it did.
    #[must_use]
    pub const fn torn(&self) -> Option<&CaptureError> {
        self.torn.as_ref()
    }

    /// Another file begins: every session that sends is to be told of in it.
    pub fn begin_file(&mut self) {
        self.file += 1;
    }

    /// Hands over the messages that are to come before this one, and takes what it tells; returns how many they are.
    ///
    /// # Errors
    ///
    /// Those of `put`.
    pub fn prime<E>(
        &mut self,
        datagram: &Datagram<'_>,
        put: impl FnMut(&Datagram<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let Some((domain, message)) = read(datagram) else {
            return Ok(0);
        };
        let told = self.tell(domain, datagram, &message, put)?;
        self.learn(domain, datagram.source, &message);
        Ok(told)
    }

    fn tell<E>(
        &mut self,
        domain: Domain,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        mut put: impl FnMut(&Datagram<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let Some(sessions) = self.exporters.get_mut(&domain) else {
            return Ok(0);
        };
        let port = datagram.source.port();
        // It has no use for others' templates as long as it knows its own.
        let own = sessions.get(&port);
        let needs_others = sets(message).any(|set| {
            let is_known = || own.is_some_and(|own| own.templates.contains_key(&set.id));
            set.kind() == SetKind::Data && !is_known()
        });
        let mut count = 0;
        for (&from, session) in sessions.iter_mut() {
            if from != port && !needs_others {
                continue;
            }
            session.used = self.messages;
            if session.told_in == self.file {
                continue;
            }
            session.told_in = self.file;
            for payload in session.messages(datagram.payload, message, from == port) {
                put(&Datagram {
                    source: SocketAddr::new(datagram.source.ip(), from),
                    payload: &payload,
                    ..*datagram
                })?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn learn(&mut self, domain: Domain, source: SocketAddr, message: &Message<'_>) {
        self.messages += 1;
        let port = source.port();
        let number = sequence(message).unwrap_or_default();
        if let Some(sessions) = self.exporters.get_mut(&domain)
            && let Some(session) = sessions.get_mut(&port)
        {
            session.last = number;
            session.used = self.messages;
        }
        for definition in definitions(message) {
            let raw = definition.raw();
            let sessions = self.exporters.entry(domain).or_default();
            let is_new = !sessions.contains_key(&port);
            if is_new && sessions.len() >= MAX_SESSIONS {
                let oldest = sessions.iter().min_by_key(|(_, session)| session.used);
                let oldest = oldest.map(|(&port, _)| port);
                if let Some(session) = oldest.and_then(|port| sessions.remove(&port)) {
                    self.bytes -= session.bytes;
                    self.forgotten += session.templates.len() as u64;
                }
            }
            let session = sessions.entry(port).or_insert_with(|| Session {
                last: number,
                told_in: self.file,
                used: self.messages,
                bytes: SESSION_BYTES,
                templates: BTreeMap::new(),
            });
            let before = if is_new { 0 } else { session.bytes };
            if !session.keep(definition.id(), raw, definition.is_options()) {
                self.forgotten += 1;
            }
            self.bytes = self.bytes - before + session.bytes;
        }
        if self.bytes > self.bytes_max {
            self.forget();
        }
    }

    /// Forgets the sessions that were used least recently, so many at once that this is rare.
    fn forget(&mut self) {
        let sessions = self.exporters.iter().flat_map(|(&domain, sessions)| {
            let each = sessions.iter();
            each.map(move |(&port, session)| (session.used, domain, port))
        });
        let mut sessions: Vec<_> = sessions.collect();
        sessions.sort_unstable_by_key(|&(used, ..)| used);
        for (_, domain, port) in sessions {
            if self.bytes <= self.bytes_max / 4 * 3 {
                break;
            }
            let Some(of_domain) = self.exporters.get_mut(&domain) else {
                continue;
            };
            if let Some(session) = of_domain.remove(&port) {
                self.bytes -= session.bytes;
                self.forgotten += session.templates.len() as u64;
            }
            if of_domain.is_empty() {
                self.exporters.remove(&domain);
            }
        }
    }
}

impl Session {
    /// Takes a template as it is told now; whether there is room for it.
    fn keep(&mut self, id: u16, raw: &[u8], is_options: bool) -> bool {
        let cost = |raw: &[u8]| raw.len() + TEMPLATE_BYTES;
        // What it replaces says something else, and must go in any case.
        if let Some(before) = self.templates.get_mut(&id) {
            if *before.raw == *raw && before.is_options == is_options {
                return true;
            }
            self.bytes -= cost(&before.raw);
            self.templates.remove(&id);
        }
        if raw.len() > MAX_TEMPLATE_BYTES || self.bytes + cost(raw) > MAX_SESSION_BYTES {
            return false;
        }
        self.bytes += cost(raw);
        let raw = raw.into();
        self.templates.insert(id, Known { raw, is_options });
        true
    }

    /// Messages with the header of the one that follows, `payload`.
    fn messages(&self, payload: &[u8], message: &Message<'_>, is_own: bool) -> Vec<Vec<u8>> {
        let (Some(mut messages), Some(number)) =
            (TemplateMessages::like(payload, message), sequence(message))
        else {
            return Vec::new();
        };
        for known in self.templates.values() {
            messages.add(&known.raw, known.is_options);
        }
        if is_own {
            messages.before(number).collect()
        } else {
            messages.with(self.last).collect()
        }
    }
}

/// Whose message a datagram is, if its version has templates.
fn read<'p>(datagram: &Datagram<'p>) -> Option<(Domain, Message<'p>)> {
    let message = Message::parse(datagram.payload).ok()?;
    sequence(&message)?;
    let domain = Domain {
        exporter: datagram.source.ip(),
        version: message.version(),
        domain: message.observation_domain(),
    };
    Some((domain, message))
}
