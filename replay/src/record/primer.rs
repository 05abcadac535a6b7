//! The templates that a recording lacks which begins in mid-stream, from an earlier one.
//!
//! They are told just before the first message of the session that they belong to, in messages that hold nothing else,
//! with that message's times and with sequence numbers that make no gap: v9 counts messages, so *k* of them take the *k*
//! numbers before; IPFIX counts data records, of which there are none, so they take its number. An exporter that sends
//! nothing is told nothing of.
//!
//! Some exporters send templates from another port than data. Where a session has no templates, those of the exporter's
//! other sessions of the same version and observation domain are told, with the numbers that these had last.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureError, CaptureReader};
use forebay_wire::template::TemplateRecord;
use forebay_wire::{Message, Set, SetKind, ipfix, v9};

use super::RecordError;

/// Longer messages are begun anew: these fit every path.
const MESSAGE_BYTES: usize = 1232;
/// Longer ones fit no message beside its header.
const MAX_TEMPLATE_BYTES: usize = 65_000;
/// How many bytes of templates are kept.
const MAX_BYTES: usize = 64 << 20;
/// Room that each takes besides.
const EACH_BYTES: usize = 64;

/// Templates as they were told last, by session.
#[derive(Debug, Default)]
pub struct Primer {
    /// The sessions of each domain, by port.
    exporters: HashMap<Domain, BTreeMap<u16, Session>>,
    templates: u64,
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
    templates: BTreeMap<u16, Known>,
}

#[derive(Debug)]
struct Known {
    raw: Box<[u8]>,
    is_options: bool,
}

impl Primer {
    /// Reads the templates of a capture. Of one that is torn, what comes before that is used.
    ///
    /// # Errors
    ///
    /// The capture cannot be read, or has no templates.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let mut capture = CaptureReader::open(path)?;
        let mut primer = Self::default();
        let mut bytes = 0;
        loop {
            let datagram = match capture.next() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => break,
                Err(error @ (CaptureError::TornTail { .. } | CaptureError::Damaged { .. })) => {
                    primer.torn = Some(error);
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            bytes += primer.learn(datagram.source, datagram.payload);
            if bytes > MAX_BYTES {
                return Err(RecordError::TooManyTemplates {
                    path: path.to_owned(),
                    limit: MAX_BYTES,
                });
            }
        }
        for sessions in primer.exporters.values_mut() {
            sessions.retain(|_, session| !session.templates.is_empty());
        }
        primer.exporters.retain(|_, sessions| !sessions.is_empty());
        let sessions = primer.exporters.values().flat_map(BTreeMap::values);
        primer.templates = sessions.map(|session| session.templates.len() as u64).sum();
        if primer.templates == 0 {
            return Err(RecordError::NoTemplates {
                path: path.to_owned(),
                is_torn: primer.torn.is_some(),
            });
        }
        Ok(primer)
    }

    /// How many templates there are.
    #[must_use]
    pub const fn templates(&self) -> u64 {
        self.templates
    }

    /// Why the capture ended before its end, if it did.
    #[must_use]
    pub const fn torn(&self) -> Option<&CaptureError> {
        self.torn.as_ref()
    }

    /// Whether there is nothing to tell, any more.
    pub(super) fn is_empty(&self) -> bool {
        self.exporters.is_empty()
    }

    /// Takes a message's templates; returns how many bytes of memory that takes.
    fn learn(&mut self, source: SocketAddr, payload: &[u8]) -> usize {
        let Some((domain, sequence, message)) = read(source, payload) else {
            return 0;
        };
        let mut bytes = 0;
        let sessions = self.exporters.entry(domain).or_default();
        let session = sessions.entry(source.port()).or_insert_with(|| {
            bytes += EACH_BYTES;
            Session {
                last: sequence,
                templates: BTreeMap::new(),
            }
        });
        session.last = sequence;
        for set in sets(&message) {
            for record in set.templates().map_while(Result::ok) {
                // Over UDP withdrawals mean nothing (RFC 7011, section 8.4).
                let TemplateRecord::Define(definition) = record else {
                    continue;
                };
                let raw = definition.raw();
                if raw.len() > MAX_TEMPLATE_BYTES {
                    continue;
                }
                let known = Known {
                    raw: raw.into(),
                    is_options: definition.is_options(),
                };
                let before = session.templates.insert(definition.id(), known);
                bytes += raw.len() + EACH_BYTES;
                bytes -= before
                    .map_or(0, |before| before.raw.len() + EACH_BYTES)
                    .min(bytes);
            }
        }
        bytes
    }

    /// Hands over the messages that are to come before this one; returns how many.
    pub(super) fn tell<E>(
        &mut self,
        datagram: &Datagram<'_>,
        mut put: impl FnMut(&Datagram<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let Some((domain, _, message)) = read(datagram.source, datagram.payload) else {
            return Ok(0);
        };
        let Some(sessions) = self.exporters.get_mut(&domain) else {
            return Ok(0);
        };
        let port = datagram.source.port();
        let told = match sessions.remove_entry(&port) {
            Some(own) => BTreeMap::from([own]),
            // It has no use for others' templates until it has data.
            None if !sets(&message).any(|set| set.kind() == SetKind::Data) => return Ok(0),
            None => std::mem::take(sessions),
        };
        if sessions.is_empty() {
            self.exporters.remove(&domain);
        }
        let mut count = 0;
        for (from, session) in told {
            for payload in session.messages(datagram.payload, &message, from == port) {
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
}

impl Session {
    /// Messages with the header of the one that follows, `payload`.
    fn messages(&self, payload: &[u8], message: &Message<'_>, is_own: bool) -> Vec<Vec<u8>> {
        let Some(layout) = HeaderLayout::of(message) else {
            return Vec::new();
        };
        let header = payload.get(..layout.bytes).unwrap_or_default();
        let mut made: Vec<Made> = Vec::new();
        for known in self.templates.values() {
            let set_bytes = (4 + known.raw.len()).next_multiple_of(4);
            let is_full = |made: &Made| made.payload.len() + set_bytes > MESSAGE_BYTES;
            if made.last().is_none_or(is_full) {
                made.push(Made {
                    payload: header.to_vec(),
                    records: 0,
                });
            }
            let Some(last) = made.last_mut() else {
                continue;
            };
            let id = layout.sets[usize::from(known.is_options)];
            last.records += 1;
            last.payload.extend(id.to_be_bytes());
            // Both fit: no template is longer than a message.
            last.payload.extend((set_bytes as u16).to_be_bytes());
            last.payload.extend(&known.raw);
            let padded = last.payload.len().next_multiple_of(4);
            last.payload.resize(padded, 0);
        }
        let count = made.len() as u32;
        let numbered = made.into_iter().zip(0..).map(|(mut made, index)| {
            let number = match (is_own, layout.counts_messages) {
                (false, _) => self.last,
                (true, true) => layout.sequence.wrapping_sub(count - index),
                (true, false) => layout.sequence,
            };
            let second = if layout.counts_messages {
                made.records
            } else {
                made.payload.len() as u16
            };
            replace(&mut made.payload, 2, &second.to_be_bytes());
            replace(&mut made.payload, layout.sequence_at, &number.to_be_bytes());
            made.payload
        });
        numbered.collect()
    }
}

/// A message that is being made.
struct Made {
    payload: Vec<u8>,
    records: u16,
}

/// What headers of a version have, and where.
struct HeaderLayout {
    bytes: usize,
    sequence: u32,
    sequence_at: usize,
    /// Whether sequence numbers count messages, and the header the records: v9. IPFIX counts data records, and the header
    /// bytes.
    counts_messages: bool,
    /// Set ids of templates and of options templates: RFC 3954, sections 5.2 and 6.1; RFC 7011, section 3.3.2.
    sets: [u16; 2],
}

impl HeaderLayout {
    /// `None` for a version without templates.
    const fn of(message: &Message<'_>) -> Option<Self> {
        match message {
            Message::Fixed(_) => None,
            Message::V9(message) => Some(Self {
                bytes: v9::HEADER_LENGTH,
                sequence: message.header.sequence.0,
                sequence_at: 12,
                counts_messages: true,
                sets: [0, 1],
            }),
            Message::Ipfix(message) => Some(Self {
                bytes: ipfix::HEADER_LENGTH,
                sequence: message.header.sequence.0,
                sequence_at: 8,
                counts_messages: false,
                sets: [2, 3],
            }),
        }
    }
}

/// Whose message a payload is and its sequence number, if its version has templates.
fn read(source: SocketAddr, payload: &[u8]) -> Option<(Domain, u32, Message<'_>)> {
    let message = Message::parse(payload).ok()?;
    let sequence = HeaderLayout::of(&message)?.sequence;
    let domain = Domain {
        exporter: source.ip(),
        version: message.version(),
        domain: message.observation_domain(),
    };
    Some((domain, sequence, message))
}

fn sets<'a>(message: &Message<'a>) -> impl Iterator<Item = Set<'a>> + use<'a> {
    let sets = match message {
        Message::Fixed(_) => None,
        Message::V9(message) => Some(message.sets()),
        Message::Ipfix(message) => Some(message.sets()),
    };
    sets.into_iter().flatten().map_while(Result::ok)
}

fn replace<const N: usize>(payload: &mut [u8], at: usize, value: &[u8; N]) {
    if let Some(field) = payload.get_mut(at..at + N) {
        field.copy_from_slice(value);
    }
}
