//! Template and options template records (RFC 3954 §5.2 and §6.1, RFC 7011 §3.4.1 and §3.4.2).
//!
//! ```text
//! +---------------------+---------------------+
//! |     Template ID     |     Field Count     |   template, both versions
//! +---------------------+---------------------+
//! |  field specifiers …
//!
//! +---------------------+---------------------+---------------------+
//! |     Template ID     |     Field Count     |  Scope Field Count  |   options template, IPFIX
//! +---------------------+---------------------+---------------------+
//! |  field specifiers …, scopes first
//!
//! +---------------------+---------------------+---------------------+
//! |     Template ID     |  Scope Length (B)   |  Option Length (B)  |   options template, v9
//! +---------------------+---------------------+---------------------+
//! |  field specifiers …, scopes first
//!
//! field specifier (RFC 7011 §3.2; v9 has no E bit and no enterprise number):
//! +-+-------------------+---------------------+---------------------+
//! |E|  element number   |    Field Length     |  Enterprise Number  |   the last only if E is set
//! +-+-------------------+---------------------+---------------------+
//! ```

use thiserror::Error;

use crate::reader::{ReadError, Reader, is_zero};
use crate::set::{FIRST_DATA_ID, Set, SetKind, Version};

#[cfg(test)]
mod tests;

/// The field length that means "each record says" (RFC 7011 §7). It occurs in v9 too, where no RFC allows it.
pub const VARIABLE_LENGTH: u16 = 65_535;

/// The longest record that a template may describe: no UDP datagram holds a longer one.
pub const MAX_RECORD_LENGTH: usize = 65_535;

/// The identity of an information element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElementId {
    /// Whose element it is: a private enterprise number, or 0 for IANA's and for all of v9's.
    pub enterprise: u32,
    /// Its number there: 15 bits in IPFIX, 16 in v9.
    pub number: u16,
}

impl ElementId {
    /// An element of IANA's registry.
    #[must_use]
    pub const fn iana(number: u16) -> Self {
        Self {
            enterprise: 0,
            number,
        }
    }

    /// An enterprise's element.
    #[must_use]
    pub const fn new(enterprise: u32, number: u16) -> Self {
        Self { enterprise, number }
    }
}

/// A field of a template: what it is and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldSpecifier {
    /// What it is.
    pub element: ElementId,
    /// How many bytes it takes, or [`VARIABLE_LENGTH`]. 0 occurs.
    pub length: u16,
}

impl FieldSpecifier {
    /// Whether each record gives the field's length.
    #[must_use]
    pub const fn is_variable(self) -> bool {
        self.length == VARIABLE_LENGTH
    }

    #[inline]
    fn read(version: Version, reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let (number, length) = (reader.u16()?, reader.u16()?);
        let element = if version == Version::Ipfix && number & 0x8000 != 0 {
            ElementId::new(reader.u32()?, number & 0x7fff)
        } else {
            ElementId::iana(number)
        };
        Ok(Self { element, length })
    }
}

/// Why a template record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The record goes beyond its set.
    #[error("the template record needs {needed} bytes, {left} are left in the set")]
    TooShort {
        /// How many bytes it takes at least.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// The id is one that no data set can have.
    #[error("template id {id} is less than 256")]
    ReservedId {
        /// The id found.
        id: u16,
    },
    /// There are no fields, in a place where that does not mean a withdrawal.
    #[error("template {id} has no fields")]
    NoFields {
        /// The template's id.
        id: u16,
    },
    /// There are more fields than the caller wants to keep.
    #[error("template {id} has {count} fields, the limit is {limit}")]
    TooManyFields {
        /// The template's id.
        id: u16,
        /// How many fields it has.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The records would take no bytes, so that a set would hold any number of them.
    #[error("template {id} describes records of no length")]
    ZeroLength {
        /// The template's id.
        id: u16,
    },
    /// The records would not fit into any datagram.
    #[error(
        "template {id} describes records of at least {length} bytes, more than a datagram holds"
    )]
    RecordTooLong {
        /// The template's id.
        id: u16,
        /// The least length of a record.
        length: usize,
    },
    /// An options template has no scope, or more scopes than fields.
    #[error("options template {id} has {scope_count} scopes in {count} fields")]
    BadScopeCount {
        /// The template's id.
        id: u16,
        /// How many fields are scopes.
        scope_count: usize,
        /// How many fields it has.
        count: usize,
    },
    /// A length in a v9 options template is no multiple of a field specifier's.
    #[error(
        "options template {id} has {scope_length} bytes of scopes and {option_length} of options, no multiples of 4"
    )]
    BadOptionsLength {
        /// The template's id.
        id: u16,
        /// Length of the scopes' specifiers.
        scope_length: u16,
        /// Length of the other specifiers.
        option_length: u16,
    },
}

impl TemplateError {
    /// The label of this error's counter.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooShort { .. } => "template_too_short",
            Self::ReservedId { .. } => "template_reserved_id",
            Self::NoFields { .. } => "template_no_fields",
            Self::TooManyFields { .. } => "template_too_many_fields",
            Self::ZeroLength { .. } => "template_zero_length",
            Self::RecordTooLong { .. } => "template_record_too_long",
            Self::BadScopeCount { .. } => "template_bad_scope_count",
            Self::BadOptionsLength { .. } => "template_bad_options_length",
        }
    }
}

impl From<ReadError> for TemplateError {
    fn from(ReadError { needed, left }: ReadError) -> Self {
        Self::TooShort { needed, left }
    }
}

/// The layout of a data record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    /// The id of the data sets it describes.
    pub id: u16,
    /// How many of the leading fields are scopes: 0 in a template, at least 1 in an options template.
    pub scope_count: u16,
    /// The fields, in the order of the record. An element may occur more than once.
    pub fields: Vec<FieldSpecifier>,
}

impl Template {
    /// Whether it describes options data: facts about the exporter rather than flows.
    #[must_use]
    pub const fn is_options(&self) -> bool {
        self.scope_count > 0
    }

    /// Length of each record, if it is the same for all.
    #[must_use]
    pub fn record_length(&self) -> Option<usize> {
        let fixed = self.fields.iter().all(|field| !field.is_variable());
        fixed.then(|| self.minimum_length())
    }

    /// The least length of a record: a variable-length field takes at least the byte that gives its length.
    #[must_use]
    pub fn minimum_length(&self) -> usize {
        self.fields
            .iter()
            .map(|field| {
                if field.is_variable() {
                    1
                } else {
                    usize::from(field.length)
                }
            })
            .sum()
    }
}

/// A record of a template set.
#[derive(Debug, Clone, Copy)]
pub enum TemplateRecord<'a> {
    /// Defines a template.
    Define(Definition<'a>),
    /// Takes a template back (IPFIX: a field count of 0).
    Withdraw {
        /// The template's id.
        id: u16,
    },
    /// Takes back every template, or every options template, of the observation domain (IPFIX: a field count of 0 for
    /// the id 2 or 3).
    WithdrawAll {
        /// Whether the options templates are meant.
        options: bool,
    },
}

/// A template as it is on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Definition<'a> {
    id: u16,
    version: Version,
    scope_count: usize,
    count: usize,
    options: bool,
    specifiers: &'a [u8],
    raw: &'a [u8],
    offset: usize,
}

impl<'a> Definition<'a> {
    /// The template's id.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Whether it is an options template.
    #[must_use]
    pub const fn is_options(&self) -> bool {
        self.options
    }

    /// How many of the leading fields are scopes.
    #[must_use]
    pub const fn scope_count(&self) -> usize {
        self.scope_count
    }

    /// Where the record starts in the datagram.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The record's bytes, from the id to the last field specifier.
    ///
    /// Within one version, equal bytes are equal templates, so that a template sent again is recognised without
    /// reading it. (A template and an options template never have the same bytes: their lengths differ modulo 4.)
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The field specifiers, in the order of the record.
    pub fn fields(&self) -> impl Iterator<Item = FieldSpecifier> + use<'a> {
        let (version, mut reader) = (self.version, Reader::new(self.specifiers));
        std::iter::from_fn(move || FieldSpecifier::read(version, &mut reader).ok())
    }

    /// Checks the template and copies it out, with at most `max_fields` fields.
    ///
    /// # Errors
    ///
    /// It has more fields than that, or no record can have its layout.
    pub fn to_template(&self, max_fields: usize) -> Result<Template, TemplateError> {
        let (id, count, scope_count) = (self.id, self.count, self.scope_count);
        if count > max_fields {
            return Err(TemplateError::TooManyFields {
                id,
                count,
                limit: max_fields,
            });
        }
        let bad_scope_count = TemplateError::BadScopeCount {
            id,
            scope_count,
            count,
        };
        // RFC 7011 §3.4.2.2: "The Scope Field Count MUST NOT be zero."
        if self.options && scope_count == 0 || scope_count > count {
            return Err(bad_scope_count);
        }
        let template = Template {
            id,
            scope_count: u16::try_from(scope_count).map_err(|_| bad_scope_count)?,
            fields: self.fields().collect(),
        };
        match template.minimum_length() {
            0 => Err(TemplateError::ZeroLength { id }),
            1..=MAX_RECORD_LENGTH => Ok(template),
            length => Err(TemplateError::RecordTooLong { id, length }),
        }
    }
}

/// Walks the template records of a set. Ends after the first error: without a record's length the next is not found.
#[derive(Debug, Clone)]
pub struct Templates<'a> {
    version: Version,
    set_id: u16,
    options: bool,
    start: usize,
    reader: Reader<'a>,
}

impl<'a> Templates<'a> {
    pub(crate) const fn new(set: &Set<'a>) -> Self {
        let (options, body) = match set.kind() {
            SetKind::Template => (false, set.body),
            SetKind::OptionsTemplate => (true, set.body),
            SetKind::Data | SetKind::Reserved => (false, [].as_slice()),
        };
        Self {
            version: set.version,
            set_id: set.id,
            options,
            start: set.offset + crate::set::HEADER_LENGTH,
            reader: Reader::new(body),
        }
    }

    /// Where the next record starts in the datagram. After an error: where the bad one does.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.start + self.reader.offset()
    }

    fn read(&self, reader: &mut Reader<'a>) -> Result<TemplateRecord<'a>, TemplateError> {
        let (id, count) = (reader.u16()?, reader.u16()?);
        if count == 0 && self.version == Version::Ipfix {
            // RFC 7011 §8.1: a Template ID of 2 or 3 withdraws all templates, or all options templates.
            if id == self.set_id {
                return Ok(TemplateRecord::WithdrawAll {
                    options: self.options,
                });
            }
            if id >= FIRST_DATA_ID {
                return Ok(TemplateRecord::Withdraw { id });
            }
        }
        if id < FIRST_DATA_ID {
            return Err(TemplateError::ReservedId { id });
        }
        let (scope_count, count) = match (self.options, self.version) {
            (false, _) => (0, usize::from(count)),
            (true, Version::Ipfix) => (usize::from(reader.u16()?), usize::from(count)),
            (true, Version::V9) => {
                let (scope_length, option_length) = (count, reader.u16()?);
                if scope_length % 4 != 0 || option_length % 4 != 0 {
                    return Err(TemplateError::BadOptionsLength {
                        id,
                        scope_length,
                        option_length,
                    });
                }
                let (scopes, options) = (scope_length / 4, option_length / 4);
                (
                    usize::from(scopes),
                    usize::from(scopes) + usize::from(options),
                )
            }
        };
        if count == 0 {
            return Err(TemplateError::NoFields { id });
        }
        let specifiers = reader.rest();
        // A field count that lies fails here at once, not after a walk.
        let needed = 4 * count;
        if specifiers.len() < needed {
            return Err(ReadError {
                needed,
                left: specifiers.len(),
            }
            .into());
        }
        for _ in 0..count {
            FieldSpecifier::read(self.version, reader)?;
        }
        let length = specifiers.len() - reader.left();
        let (specifiers, _) = specifiers.split_at_checked(length).unwrap_or_default();
        let length = reader.offset() - self.reader.offset();
        let (raw, _) = self
            .reader
            .rest()
            .split_at_checked(length)
            .unwrap_or_default();
        Ok(TemplateRecord::Define(Definition {
            id,
            version: self.version,
            scope_count,
            count,
            options: self.options,
            specifiers,
            raw,
            offset: self.offset(),
        }))
    }
}

impl<'a> Iterator for Templates<'a> {
    type Item = Result<TemplateRecord<'a>, TemplateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.left() < 4 || is_zero(self.reader.rest()) {
            return None;
        }
        let mut reader = self.reader;
        let record = self.read(&mut reader);
        if record.is_ok() {
            self.reader = reader;
        } else {
            // Keeps the offset of the bad record.
            self.start += self.reader.offset();
            self.reader = Reader::new(&[]);
        }
        Some(record)
    }
}

impl std::iter::FusedIterator for Templates<'_> {}
