//! Sets of v9 (RFC 3954 §5.2: FlowSets) and IPFIX (RFC 7011 §3.3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |            Set ID             |  Length (with this header)    |
//! +-------------------------------+-------------------------------+
//! |  records …                                        | padding … |
//! ```

use thiserror::Error;

use crate::reader::is_zero;
use crate::template::Templates;

/// Length of a set's header.
pub const HEADER_LENGTH: usize = 4;

/// The least id of a data set, and so of a template.
pub const FIRST_DATA_ID: u16 = 256;

/// A version that has sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// NetFlow v9.
    V9,
    /// IPFIX.
    Ipfix,
}

impl Version {
    /// The number in the message's header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V9 => 9,
            Self::Ipfix => 10,
        }
    }
}

/// What a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetKind {
    /// Template records (id 0 in v9, 2 in IPFIX).
    Template,
    /// Options template records (id 1 in v9, 3 in IPFIX).
    OptionsTemplate,
    /// Data records. The set's id is their template's (from 256).
    Data,
    /// Nothing that is specified.
    Reserved,
}

/// Why the sets of a message end early. What came before is good; what comes after cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SetError {
    /// A set's length is less than its own header.
    #[error("the set at byte {offset} gives a length of {length}, less than its header")]
    TooShort {
        /// Where the set starts in the datagram.
        offset: usize,
        /// The length found.
        length: u16,
    },
    /// A set goes beyond the datagram.
    #[error("the set at byte {offset} needs {needed} bytes, {left} are left")]
    TooLong {
        /// Where the set starts in the datagram.
        offset: usize,
        /// The length found.
        needed: usize,
        /// How many bytes there are from there.
        left: usize,
    },
    /// After the last set there are too few bytes for another, and they are not zeros.
    #[error("{left} bytes at byte {offset} are no set and no padding")]
    TrailingBytes {
        /// Where they start in the datagram.
        offset: usize,
        /// How many there are.
        left: usize,
    },
}

impl SetError {
    /// The label of this error's counter.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooShort { .. } => "set_too_short",
            Self::TooLong { .. } => "set_too_long",
            Self::TrailingBytes { .. } => "trailing_bytes",
        }
    }

    /// Where in the datagram.
    #[must_use]
    pub const fn offset(self) -> usize {
        match self {
            Self::TooShort { offset, .. }
            | Self::TooLong { offset, .. }
            | Self::TrailingBytes { offset, .. } => offset,
        }
    }
}

/// One set.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    /// The version of the message, which decides what the id and a template's layout mean.
    pub version: Version,
    /// Where the set's header starts in the datagram.
    pub offset: usize,
    /// The set's id.
    pub id: u16,
    /// What follows the header: records, and possibly padding.
    pub body: &'a [u8],
}

impl<'a> Set<'a> {
    /// What the set holds.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> SetKind {
        match (self.version, self.id) {
            (_, FIRST_DATA_ID..) => SetKind::Data,
            (Version::V9, 0) | (Version::Ipfix, 2) => SetKind::Template,
            (Version::V9, 1) | (Version::Ipfix, 3) => SetKind::OptionsTemplate,
            _ => SetKind::Reserved,
        }
    }

    /// The template records of a set that holds such; none for any other.
    #[must_use]
    pub const fn templates(&self) -> Templates<'a> {
        Templates::new(self)
    }
}

/// Walks the sets of a message. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Sets<'a> {
    version: Version,
    rest: &'a [u8],
    offset: usize,
    end: usize,
}

impl<'a> Sets<'a> {
    /// The sets of `datagram` that start from `offset` on and before `end`.
    pub(crate) fn new(version: Version, datagram: &'a [u8], offset: usize, end: usize) -> Self {
        Self {
            version,
            rest: datagram.get(offset..).unwrap_or_default(),
            offset,
            end,
        }
    }

    fn fail<T>(&mut self, error: SetError) -> Option<Result<T, SetError>> {
        let padding = is_zero(self.rest);
        self.rest = &[];
        // Exporters fill up with zeros to a length they like; 1,220 of them have been seen. A header of zeros gives a
        // length of 0, so this is where they show.
        (!padding).then_some(Err(error))
    }
}

impl<'a> Iterator for Sets<'a> {
    type Item = Result<Set<'a>, SetError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.offset >= self.end {
            return None;
        }
        let (offset, left) = (self.offset, self.rest.len());
        let Some((&[id_high, id_low, length_high, length_low], _)) = self.rest.split_first_chunk()
        else {
            return self.fail(SetError::TrailingBytes { offset, left });
        };
        let length = u16::from_be_bytes([length_high, length_low]);
        let needed = usize::from(length);
        if needed < HEADER_LENGTH {
            return self.fail(SetError::TooShort { offset, length });
        }
        let Some((set, rest)) = self.rest.split_at_checked(needed) else {
            return self.fail(SetError::TooLong {
                offset,
                needed,
                left,
            });
        };
        self.rest = rest;
        self.offset += needed;
        Some(Ok(Set {
            version: self.version,
            offset,
            id: u16::from_be_bytes([id_high, id_low]),
            body: set.get(HEADER_LENGTH..).unwrap_or_default(),
        }))
    }
}

impl std::iter::FusedIterator for Sets<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(version: Version, datagram: &[u8], end: usize) -> Vec<Result<(usize, u16), SetError>> {
        Sets::new(version, datagram, 2, end)
            .map(|set| set.map(|set| (set.offset, set.id)))
            .collect()
    }

    #[test]
    fn sets_follow_each_other_to_the_end() {
        let datagram = [9, 9, 1, 0, 0, 5, 7, 0, 0, 0, 4];
        let sets: Vec<_> = Sets::new(Version::V9, &datagram, 2, datagram.len())
            .map(Result::unwrap)
            .collect();
        let [data, template] = sets.as_slice() else {
            panic!("{sets:?}");
        };
        assert_eq!((data.offset, data.id, data.body), (2, 256, &[7][..]));
        assert_eq!((template.offset, template.id), (7, 0));
        assert!(template.body.is_empty());
    }

    #[test]
    fn the_id_says_the_kind_in_each_version() {
        let kind = |version, id| {
            let body = &[];
            Set {
                version,
                offset: 0,
                id,
                body,
            }
            .kind()
        };
        for (id, v9, ipfix) in [
            (0, SetKind::Template, SetKind::Reserved),
            (1, SetKind::OptionsTemplate, SetKind::Reserved),
            (2, SetKind::Reserved, SetKind::Template),
            (3, SetKind::Reserved, SetKind::OptionsTemplate),
            (255, SetKind::Reserved, SetKind::Reserved),
            (256, SetKind::Data, SetKind::Data),
            (u16::MAX, SetKind::Data, SetKind::Data),
        ] {
            assert_eq!(
                (kind(Version::V9, id), kind(Version::Ipfix, id)),
                (v9, ipfix)
            );
        }
    }

    #[test]
    fn zeros_behind_the_last_set_are_padding() {
        for zeros in [1, 3, 4, 64, 1220] {
            let mut datagram = vec![9, 9, 1, 0, 0, 4];
            datagram.resize(6 + zeros, 0);
            assert_eq!(
                walk(Version::V9, &datagram, datagram.len()),
                [Ok((2, 256))],
                "{zeros}"
            );
        }
    }

    #[test]
    fn a_set_shorter_than_its_header_ends_the_walk() {
        let datagram = [9, 9, 1, 0, 0, 3, 1, 0, 0, 4];
        assert_eq!(
            walk(Version::V9, &datagram, 10),
            [Err(SetError::TooShort {
                offset: 2,
                length: 3
            })]
        );
    }

    #[test]
    fn a_set_beyond_the_datagram_ends_the_walk() {
        let datagram = [9, 9, 1, 0, 0, 4, 1, 0, 0, 5];
        assert_eq!(
            walk(Version::V9, &datagram, 10),
            [
                Ok((2, 256)),
                Err(SetError::TooLong {
                    offset: 6,
                    needed: 5,
                    left: 4
                })
            ]
        );
    }

    #[test]
    fn what_is_too_short_for_a_set_is_told() {
        assert_eq!(
            walk(Version::V9, &[9, 9, 1, 0, 0], 5),
            [Err(SetError::TrailingBytes { offset: 2, left: 3 })]
        );
    }

    #[test]
    fn a_set_that_starts_within_the_message_may_end_behind_it() {
        let datagram = [9, 9, 1, 0, 0, 5, 7, 1, 0, 0, 4];
        for (end, sets) in [(0, 0), (2, 0), (3, 1), (5, 1), (7, 1), (8, 2), (99, 2)] {
            assert_eq!(walk(Version::Ipfix, &datagram, end).len(), sets, "{end}");
        }
    }
}
