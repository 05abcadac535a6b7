//! Typed views back to bytes: for generated traffic and for tests.
//!
//! ```text
//! V9Builder::new(out, header)   ─┐
//! IpfixBuilder::new(out, header) ┴ .templates(…) .options_templates(…) .data(…) ─ .finish()
//!                                                                                   │
//! +----------------+--------------------------+-------------------------- - -       │
//! | message header | set header | … | padding | set header | …                      │
//! +----------------+--------------------------+-------------------------- - -       │
//!    count, length ◄───────────────────────────────────────────────────────────────┘
//! ```
//!
//! Sets are padded to a multiple of four bytes (RFC 3954 §5.3, RFC 7011 §3.3.1). What cannot be written is
//! remembered and comes to light in `finish`.

use thiserror::Error;

use crate::ipfix::{self, RecordSequence};
use crate::set::Version;
use crate::template::{ElementId, Template};
use crate::v9;

mod fixed;
#[cfg(test)]
mod tests;

pub use fixed::{FixedRecord, fixed};

/// Why a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A length or a count does not fit into its 16 bits.
    #[error("{length} bytes or records do not fit into one message")]
    TooLong {
        /// What there is to write.
        length: usize,
    },
    /// The version cannot say this element: an enterprise's in v9, or a number over 32767 in IPFIX.
    #[error("NetFlow version {version} cannot say element {element}")]
    ElementOutOfRange {
        /// The version's number.
        version: u8,
        /// The element.
        element: ElementId,
    },
}

/// Writes a v9 message.
///
/// ```
/// use forebay_wire::encode::V9Builder;
/// use forebay_wire::v9::{Header, MessageSequence};
/// use forebay_wire::{ElementId, FieldSpecifier, Template};
///
/// let template = Template {
///     id: 256,
///     scope_count: 0,
///     fields: vec![FieldSpecifier { element: ElementId::iana(8), length: 4 }],
/// };
/// let header = Header {
///     count: 0, // counted by `finish`
///     uptime_ms: 1_000,
///     unix_secs: 1_700_000_000,
///     sequence: MessageSequence(7),
///     source_id: 1,
/// };
/// let mut datagram = Vec::new();
/// let mut builder = V9Builder::new(&mut datagram, header);
/// builder.templates([&template]);
/// builder.data(256, [[192, 0, 2, 1], [192, 0, 2, 2]], |out, address| out.extend(address));
/// builder.finish()?;
/// assert_eq!(datagram.len(), 20 + 12 + 12);
/// # Ok::<(), forebay_wire::encode::EncodeError>(())
/// ```
pub type V9Builder<'b> = Builder<'b, v9::Header>;

/// Writes an IPFIX message.
pub type IpfixBuilder<'b> = Builder<'b, ipfix::Header>;

/// Writes a message with sets: see [`V9Builder`] and [`IpfixBuilder`].
#[derive(Debug)]
pub struct Builder<'b, H> {
    header: H,
    version: Version,
    out: &'b mut Vec<u8>,
    template_records: usize,
    data_records: usize,
    error: Option<EncodeError>,
}

impl<'b> V9Builder<'b> {
    /// Starts a message in `out`, which is cleared. The header's count is made by [`Self::finish`].
    pub fn new(out: &'b mut Vec<u8>, header: v9::Header) -> Self {
        let v9::Header {
            count: _,
            uptime_ms,
            unix_secs,
            sequence,
            source_id,
        } = header;
        let words = [uptime_ms, unix_secs, sequence.0, source_id];
        Self::start(out, header, Version::V9, &words)
    }

    /// Writes the header, with the number of records as count.
    ///
    /// # Errors
    ///
    /// Something could not be written. What is in the buffer is no message then.
    pub fn finish(self) -> Result<(), EncodeError> {
        let records = self.template_records + self.data_records;
        self.finish_with(records)
    }
}

impl<'b> IpfixBuilder<'b> {
    /// Starts a message in `out`, which is cleared. The header's length is made by [`Self::finish`].
    pub fn new(out: &'b mut Vec<u8>, header: ipfix::Header) -> Self {
        let ipfix::Header {
            length: _,
            export_secs,
            sequence,
            observation_domain,
        } = header;
        let words = [export_secs, sequence.0, observation_domain];
        Self::start(out, header, Version::Ipfix, &words)
    }

    /// Adds a set that takes templates back; the id 2 stands for all of them (RFC 7011 §8.1).
    pub fn withdraw_templates(&mut self, ids: &[u16]) -> &mut Self {
        self.withdraw(2, ids)
    }

    /// Adds a set that takes options templates back; the id 3 stands for all of them.
    pub fn withdraw_options_templates(&mut self, ids: &[u16]) -> &mut Self {
        self.withdraw(3, ids)
    }

    fn withdraw(&mut self, set_id: u16, ids: &[u16]) -> &mut Self {
        let start = self.open_set(set_id);
        for &id in ids {
            self.u16(id);
            self.u16(0);
        }
        self.close_set(start, usize::MAX);
        self
    }

    /// The sequence number of the next message: it counts the data records before it.
    #[must_use]
    pub fn next_sequence(&self) -> RecordSequence {
        // A message holds fewer records than it has bytes: fewer than 2^32.
        let records = u32::try_from(self.data_records).unwrap_or(u32::MAX);
        RecordSequence(self.header.sequence.0.wrapping_add(records))
    }

    /// Writes the header, with the length.
    ///
    /// # Errors
    ///
    /// Something could not be written. What is in the buffer is no message then.
    pub fn finish(self) -> Result<(), EncodeError> {
        let length = self.out.len();
        self.finish_with(length)
    }
}

impl<'b, H> Builder<'b, H> {
    fn start(out: &'b mut Vec<u8>, header: H, version: Version, words: &[u32]) -> Self {
        out.clear();
        // The last two bytes are a count or a length, and known at the end.
        out.extend([0, version.number(), 0, 0]);
        out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        Self {
            header,
            version,
            out,
            template_records: 0,
            data_records: 0,
            error: None,
        }
    }

    /// How many bytes the message has so far.
    #[expect(clippy::len_without_is_empty, reason = "there is a header always")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// How many data records have been added, of options data too.
    #[must_use]
    pub fn data_records(&self) -> usize {
        self.data_records
    }

    /// Adds a set of templates. Scopes are not looked at.
    pub fn templates<'t>(
        &mut self,
        templates: impl IntoIterator<Item = &'t Template>,
    ) -> &mut Self {
        let start = self.open_set(if self.version == Version::V9 { 0 } else { 2 });
        for template in templates {
            self.u16(template.id);
            self.length(template.fields.len());
            self.fields(template);
            self.template_records += 1;
        }
        self.close_set(start, usize::MAX);
        self
    }

    /// Adds a set of options templates: their first [`Template::scope_count`] fields are the scopes.
    pub fn options_templates<'t>(
        &mut self,
        templates: impl IntoIterator<Item = &'t Template>,
    ) -> &mut Self {
        let start = self.open_set(if self.version == Version::V9 { 1 } else { 3 });
        for template in templates {
            self.options_template(template);
            self.template_records += 1;
        }
        self.close_set(start, usize::MAX);
        self
    }

    /// Adds a data set of `records`, each of which `write` appends to the buffer.
    pub fn data<R>(
        &mut self,
        id: u16,
        records: impl IntoIterator<Item = R>,
        mut write: impl FnMut(&mut Vec<u8>, R),
    ) -> &mut Self {
        let start = self.open_set(id);
        let mut shortest = usize::MAX;
        for record in records {
            let before = self.out.len();
            write(self.out, record);
            shortest = shortest.min(self.out.len().saturating_sub(before));
            self.data_records += 1;
        }
        self.close_set(start, shortest);
        self
    }

    fn open_set(&mut self, id: u16) -> usize {
        let start = self.out.len();
        self.u16(id);
        self.u16(0);
        start
    }

    fn close_set(&mut self, start: usize, shortest_record: usize) {
        let length = self.out.len().saturating_sub(start);
        let padding = length.next_multiple_of(4) - length;
        // RFC 7011 §3.3.1: "The padding length MUST be shorter than any allowable record in this Set."
        let padding = if padding < shortest_record {
            padding
        } else {
            0
        };
        self.out.extend(std::iter::repeat_n(0, padding));
        self.put_length(start + 2, length + padding);
    }

    /// Puts a length or count over the two bytes at `offset`.
    fn put_length(&mut self, offset: usize, length: usize) {
        match (u16::try_from(length), self.out.get_mut(offset..)) {
            (Ok(length), Some([high, low, ..])) => [*high, *low] = length.to_be_bytes(),
            _ => self.fail(EncodeError::TooLong { length }),
        }
    }

    fn finish_with(mut self, length_or_count: usize) -> Result<(), EncodeError> {
        if self.out.len() > usize::from(u16::MAX) {
            let length = self.out.len();
            self.fail(EncodeError::TooLong { length });
        }
        self.put_length(2, length_or_count);
        self.error.map_or(Ok(()), Err)
    }

    fn options_template(&mut self, template: &Template) {
        let count = template.fields.len();
        let scopes = usize::from(template.scope_count).min(count);
        self.u16(template.id);
        match self.version {
            Version::Ipfix => {
                self.length(count);
                self.length(scopes);
            }
            Version::V9 => {
                self.length(4 * scopes);
                self.length(4 * (count - scopes));
            }
        }
        self.fields(template);
    }

    fn fields(&mut self, template: &Template) {
        for field in &template.fields {
            let ElementId { enterprise, number } = field.element;
            let out_of_range = match self.version {
                Version::V9 => enterprise != 0,
                Version::Ipfix => number > 0x7fff,
            };
            if out_of_range {
                self.fail(EncodeError::ElementOutOfRange {
                    version: self.version.number(),
                    element: field.element,
                });
            }
            if enterprise == 0 {
                self.u16(number);
                self.u16(field.length);
            } else {
                self.u16(number | 0x8000);
                self.u16(field.length);
                self.out.extend(enterprise.to_be_bytes());
            }
        }
    }

    fn u16(&mut self, value: u16) {
        self.out.extend(value.to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        match u16::try_from(length) {
            Ok(length) => self.u16(length),
            Err(_) => self.fail(EncodeError::TooLong { length }),
        }
    }

    fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }
}

/// Appends a field of variable length: its length in 1 or 3 bytes, then its `content` (RFC 7011 §7). What is beyond
/// 65,535 bytes is left out: no message holds as much anyway, as `finish` will say.
pub fn variable_length(out: &mut Vec<u8>, content: &[u8]) {
    match u8::try_from(content.len()) {
        Ok(length @ ..=254) => out.push(length),
        _ => {
            out.push(255);
            let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(content.iter().take(usize::from(u16::MAX)));
}
