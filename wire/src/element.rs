//! Information elements: what the numbers in a template mean (RFC 7012, IANA's "IPFIX Information Elements").
//!
//! ```text
//!          enterprise  number   name                     type
//! 8            0          8     sourceIPv4Address        ipv4Address
//! 29305/1    29305        1     reverseOctetDeltaCount   unsigned64    (RFC 5103: the way back)
//! 9/12235      9      12235     not known here
//! ```
//!
//! Nothing is decoded by these names: an element that is not in the table is a value like any other. They serve
//! people, in what is shown and in configuration.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::template::ElementId;

mod table;
#[cfg(test)]
mod tests;

use table::ELEMENTS;

/// The enterprise whose elements mean the reverse direction of IANA's of the same number (RFC 5103 §6.1).
pub const REVERSE_ENTERPRISE: u32 = 29_305;

/// The largest number of an enterprise's element: the field specifier has 15 bits for it.
const MAX_ENTERPRISE_NUMBER: u16 = 0x7fff;

/// An abstract data type (RFC 7012 §3.1; RFC 6313 for the lists; RFC 9740 for `unsigned256`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `octetArray`
    OctetArray,
    /// `unsigned8`
    Unsigned8,
    /// `unsigned16`
    Unsigned16,
    /// `unsigned32`
    Unsigned32,
    /// `unsigned64`
    Unsigned64,
    /// `unsigned256`
    Unsigned256,
    /// `signed8`
    Signed8,
    /// `signed16`
    Signed16,
    /// `signed32`
    Signed32,
    /// `signed64`
    Signed64,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `boolean`
    Boolean,
    /// `macAddress`
    MacAddress,
    /// `string`
    String,
    /// `dateTimeSeconds`
    DateTimeSeconds,
    /// `dateTimeMilliseconds`
    DateTimeMilliseconds,
    /// `dateTimeMicroseconds`
    DateTimeMicroseconds,
    /// `dateTimeNanoseconds`
    DateTimeNanoseconds,
    /// `ipv4Address`
    Ipv4Address,
    /// `ipv6Address`
    Ipv6Address,
    /// `basicList`
    BasicList,
    /// `subTemplateList`
    SubTemplateList,
    /// `subTemplateMultiList`
    SubTemplateMultiList,
}

impl DataType {
    /// The type's name in the registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OctetArray => "octetArray",
            Self::Unsigned8 => "unsigned8",
            Self::Unsigned16 => "unsigned16",
            Self::Unsigned32 => "unsigned32",
            Self::Unsigned64 => "unsigned64",
            Self::Unsigned256 => "unsigned256",
            Self::Signed8 => "signed8",
            Self::Signed16 => "signed16",
            Self::Signed32 => "signed32",
            Self::Signed64 => "signed64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Boolean => "boolean",
            Self::MacAddress => "macAddress",
            Self::String => "string",
            Self::DateTimeSeconds => "dateTimeSeconds",
            Self::DateTimeMilliseconds => "dateTimeMilliseconds",
            Self::DateTimeMicroseconds => "dateTimeMicroseconds",
            Self::DateTimeNanoseconds => "dateTimeNanoseconds",
            Self::Ipv4Address => "ipv4Address",
            Self::Ipv6Address => "ipv6Address",
            Self::BasicList => "basicList",
            Self::SubTemplateList => "subTemplateList",
            Self::SubTemplateMultiList => "subTemplateMultiList",
        }
    }
}

/// An information element that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Its number in IANA's registry, or (from 32768) among those that only v9 can say.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// What its content is.
    pub data_type: DataType,
}

const fn element(number: u16, name: &'static str, data_type: DataType) -> Element {
    Element {
        number,
        name,
        data_type,
    }
}

/// The element that `id` stands for. For a reverse element, the forward one: [`ElementId::name`] tells them apart.
#[must_use]
pub fn lookup(id: ElementId) -> Option<&'static Element> {
    if id.enterprise != 0 && id.enterprise != REVERSE_ENTERPRISE {
        return None;
    }
    let index = ELEMENTS
        .binary_search_by_key(&id.number, |element| element.number)
        .ok()?;
    ELEMENTS.get(index)
}

/// The element of a name, such as `octetDeltaCount` or `reverseOctetDeltaCount`.
#[must_use]
pub fn by_name(name: &str) -> Option<ElementId> {
    let of = |matches: &dyn Fn(&str) -> bool| {
        ELEMENTS
            .iter()
            .find(|element| matches(element.name))
            .map(|element| element.number)
    };
    if let Some(number) = of(&|known| known == name) {
        return Some(ElementId::iana(number));
    }
    let forward = name.strip_prefix("reverse")?;
    of(&|known| capitalised(known).eq(forward.chars()))
        .filter(|&number| number <= MAX_ENTERPRISE_NUMBER)
        .map(|number| ElementId::new(REVERSE_ENTERPRISE, number))
}

/// What a v9 scope field's number means (RFC 3954 §6.1). It is no information element, though exporters put such there
/// as well.
#[must_use]
pub const fn v9_scope_name(number: u16) -> Option<&'static str> {
    match number {
        1 => Some("System"),
        2 => Some("Interface"),
        3 => Some("LineCard"),
        4 => Some("Cache"),
        5 => Some("Template"),
        _ => None,
    }
}

fn capitalised(name: &str) -> impl Iterator<Item = char> {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars)
}

/// An element's name, as it is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    reverse: bool,
    forward: &'static str,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.reverse {
            return f.write_str(self.forward);
        }
        f.write_str("reverse")?;
        capitalised(self.forward).try_for_each(|char| fmt::Write::write_char(f, char))
    }
}

impl ElementId {
    /// The element's name, if it is known.
    #[must_use]
    pub fn name(self) -> Option<Name> {
        let element = lookup(self)?;
        Some(Name {
            reverse: self.enterprise == REVERSE_ENTERPRISE,
            forward: element.name,
        })
    }
}

/// As in configuration: `8`, `9/12235`.
impl fmt::Display for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.enterprise == 0 {
            write!(f, "{}", self.number)
        } else {
            write!(f, "{}/{}", self.enterprise, self.number)
        }
    }
}

/// Why a text names no element.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseElementError {
    /// It looks like a number, or a number after an enterprise, and is out of range.
    #[error(
        "\"{text}\" is no element number: write NUMBER (to 65535) or ENTERPRISE/NUMBER (to 4294967295/32767)"
    )]
    BadNumber {
        /// The text.
        text: String,
    },
    /// It is no name of the registry.
    #[error(
        "no information element is called \"{text}\"; did you mean \"{nearest}\"? Others are written NUMBER or \
         ENTERPRISE/NUMBER"
    )]
    UnknownName {
        /// The text.
        text: String,
        /// The name that is most like it.
        nearest: String,
    },
}

/// Reads `8`, `9/12235` or a name.
///
/// ```
/// use forebay_wire::ElementId;
///
/// assert_eq!("octetDeltaCount".parse(), Ok(ElementId::iana(1)));
/// assert_eq!("29305/1".parse(), Ok("reverseOctetDeltaCount".parse::<ElementId>().unwrap()));
/// let error = "octetDeltaCont".parse::<ElementId>().unwrap_err();
/// assert!(error.to_string().contains("did you mean \"octetDeltaCount\"?"));
/// ```
impl FromStr for ElementId {
    type Err = ParseElementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return parse_numbers(text).ok_or_else(|| ParseElementError::BadNumber {
                text: text.to_owned(),
            });
        }
        by_name(text).ok_or_else(|| ParseElementError::UnknownName {
            text: text.to_owned(),
            nearest: nearest_name(text),
        })
    }
}

fn parse_numbers(text: &str) -> Option<ElementId> {
    let (enterprise, number) = match text.split_once('/') {
        Some((enterprise, number)) => (enterprise.parse().ok()?, number.parse().ok()?),
        None => (0, text.parse().ok()?),
    };
    (enterprise == 0 || number <= MAX_ENTERPRISE_NUMBER).then_some(ElementId { enterprise, number })
}

fn nearest_name(text: &str) -> String {
    let text: Vec<char> = text.to_ascii_lowercase().chars().take(64).collect();
    ELEMENTS
        .iter()
        .flat_map(|element| {
            [false, true].map(|reverse| Name {
                reverse,
                forward: element.name,
            })
        })
        .map(|name| name.to_string())
        .min_by_key(|name| edit_distance(&text, &name.to_ascii_lowercase()))
        .unwrap_or_default()
}

/// How many letters must be put in, left out or changed to make one of the other (Levenshtein).
fn edit_distance(a: &[char], b: &str) -> usize {
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, letter) in b.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), left);
        for (cell, &other) in row.iter_mut().skip(1).zip(a) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}
