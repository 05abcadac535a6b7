//! Messages that hold nothing but templates.

use forebay_wire::{Message, ipfix, v9};

/// Longer messages are begun anew, so that none is fragmented on any usual path. A template that is longer by itself
/// makes a message of its own.
const MESSAGE_BYTES: usize = 1_400;
/// The longest payload of a UDP datagram, over IPv4.
const PAYLOAD_MAX: usize = 65_507;
const SET_HEADER: usize = 4;

/// The header of the message that follows: templates take theirs from it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Follows {
    V9(v9::Header),
    Ipfix(ipfix::Header),
}

impl Follows {
    /// `None` for a version without templates.
    pub(crate) const fn new(message: &Message<'_>) -> Option<Self> {
        match message {
            Message::Fixed(_) => None,
            Message::V9(message) => Some(Self::V9(message.header)),
            Message::Ipfix(message) => Some(Self::Ipfix(message.header)),
        }
    }

    /// What would follow the message of this header, if it has no data records.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::V9(mut header) => {
                header.sequence.0 = header.sequence.0.wrapping_add(1);
                Self::V9(header)
            }
            Self::Ipfix(_) => self,
        }
    }

    const fn header_bytes(&self) -> usize {
        match self {
            Self::V9(_) => v9::HEADER_LENGTH,
            Self::Ipfix(_) => ipfix::HEADER_LENGTH,
        }
    }

    /// RFC 3954 §5.2 and §6.1, RFC 7011 §3.3.2.
    const fn set_id(&self, is_options: bool) -> u16 {
        match (self, is_options) {
            (Self::V9(_), false) => 0,
            (Self::V9(_), true) => 1,
            (Self::Ipfix(_), false) => 2,
            (Self::Ipfix(_), true) => 3,
        }
    }
}

/// Where messages are written: kept, so that writing allocates no more after a while.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    /// Where each message ends, and how many records it has.
    ends: Vec<(usize, u16)>,
}

impl Scratch {
    /// Writes the messages.
    pub(super) fn write<'k>(
        &mut self,
        follows: &Follows,
        records: impl Iterator<Item = (&'k [u8], bool)>,
    ) {
        self.bytes.clear();
        self.ends.clear();
        let header = follows.header_bytes();
        let mut message: Option<Open> = None;
        for (record, is_options) in records {
            let alone = header + SET_HEADER + record.len() + 3;
            if alone > PAYLOAD_MAX {
                continue;
            }
            // A set header and padding at most.
            let most = SET_HEADER + record.len() + 6;
            let too_long = |open: &Open| self.bytes.len() - open.start + most > MESSAGE_BYTES;
            if message.as_ref().is_some_and(too_long) {
                self.close(message.take());
            }
            let open = message.get_or_insert_with(|| {
                let start = self.bytes.len();
                self.bytes.resize(start + header, 0);
                Open {
                    start,
                    set: None,
                    records: 0,
                }
            });
            if open
                .set
                .is_none_or(|(_, of_options)| of_options != is_options)
            {
                close_set(&mut self.bytes, open.set.take());
                open.set = Some((self.bytes.len(), is_options));
                self.bytes.extend(follows.set_id(is_options).to_be_bytes());
                self.bytes.extend([0, 0]);
            }
            self.bytes.extend(record);
            open.records += 1;
        }
        self.close(message);
        self.number(follows);
    }

    fn close(&mut self, message: Option<Open>) {
        if let Some(open) = message {
            close_set(&mut self.bytes, open.set);
            self.ends.push((self.bytes.len(), open.records));
        }
    }

    /// Writes the headers, for which the messages must be known all.
    fn number(&mut self, follows: &Follows) {
        let count = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        let mut rest = self.bytes.as_mut_slice();
        let mut start = 0;
        for (index, &(end, records)) in (0..).zip(&self.ends) {
            let Some((message, others)) = rest.split_at_mut_checked(end - start) else {
                return;
            };
            let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
            match follows {
                Follows::V9(header) => {
                    let sequence = header.sequence.0.wrapping_sub(count - index);
                    put(message, &[0, 9], &records.to_be_bytes());
                    put_words(
                        message,
                        [
                            header.uptime_ms,
                            header.unix_secs,
                            sequence,
                            header.source_id,
                        ],
                    );
                }
                Follows::Ipfix(header) => {
                    put(message, &[0, 10], &length.to_be_bytes());
                    let sequence = header.sequence.0;
                    put_words(
                        message,
                        [header.export_secs, sequence, header.observation_domain],
                    );
                }
            }
            rest = others;
            start = end;
        }
    }

    /// Hands over each message; returns how many there were.
    pub(super) fn each(&self, mut each: impl FnMut(&[u8])) -> u64 {
        let mut start = 0;
        for &(end, _) in &self.ends {
            each(self.bytes.get(start..end).unwrap_or_default());
            start = end;
        }
        self.ends.len() as u64
    }
}

/// A message that is not at its end.
struct Open {
    start: usize,
    /// Where its last set begins, and whether that is one of options templates.
    set: Option<(usize, bool)>,
    records: u16,
}

/// Fills the set up to a multiple of four bytes, and puts in its length.
fn close_set(bytes: &mut Vec<u8>, set: Option<(usize, bool)>) {
    let Some((start, _)) = set else { return };
    let length = (bytes.len() - start).next_multiple_of(4);
    bytes.resize(start + length, 0);
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    if let Some(place) = bytes.get_mut(start + 2..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn put(message: &mut [u8], version: &[u8; 2], second: &[u8; 2]) {
    if let [a, b, c, d, ..] = message {
        [*a, *b] = *version;
        [*c, *d] = *second;
    }
}

/// Puts words behind the first four bytes.
fn put_words<const N: usize>(message: &mut [u8], words: [u32; N]) {
    for (place, word) in message.chunks_exact_mut(4).skip(1).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}
