//! A message: one export datagram, of any version.
//!
//! ```text
//!  0                   1
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//! +-------------------------------+------------------- - -
//! |        version number         |  the version's own header
//! +-------------------------------+------------------- - -
//! ```
//!
//! Every version opens with its number in 16 bits: 1, 5, 7, 9, and 10 for IPFIX (RFC 7011 §3.1).

use thiserror::Error;

use crate::{fixed, ipfix, v9};

/// Why a datagram is no message. Nothing of it can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The datagram ends within the header.
    #[error("the header needs {needed} bytes, the datagram has {length}")]
    TooShort {
        /// Length of the header.
        needed: usize,
        /// Length of the datagram.
        length: usize,
    },
    /// The first two bytes name no version that is known here.
    #[error("version {version} is not 1, 5, 7, 9 or 10")]
    UnknownVersion {
        /// The number found.
        version: u16,
    },
    /// The length in an IPFIX header is less than that header.
    #[error("the IPFIX header gives a message length of {length}, less than the header itself")]
    LengthTooShort {
        /// The length found.
        length: u16,
    },
}

impl MessageError {
    /// The label of this error's counter.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooShort { .. } => "header_too_short",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::LengthTooShort { .. } => "message_length_too_short",
        }
    }
}

/// A message of any version.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// NetFlow v1, v5 or v7: records of one fixed layout.
    Fixed(fixed::Message<'a>),
    /// NetFlow v9.
    V9(v9::Message<'a>),
    /// IPFIX.
    Ipfix(ipfix::Message<'a>),
}

impl<'a> Message<'a> {
    /// Reads the header of a datagram's payload. What follows the header is checked as it is walked.
    ///
    /// # Errors
    ///
    /// The payload is no message of a known version, or ends within the header.
    ///
    /// ```
    /// use forebay_wire::{Message, MessageError};
    ///
    /// let error = Message::parse(&[0, 42, 0, 1]).unwrap_err();
    /// assert_eq!(error, MessageError::UnknownVersion { version: 42 });
    /// assert_eq!(error.reason(), "unknown_version");
    /// ```
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<Self, MessageError> {
        let Some((&version, _)) = payload.split_first_chunk() else {
            return Err(MessageError::TooShort {
                needed: 2,
                length: payload.len(),
            });
        };
        match u16::from_be_bytes(version) {
            9 => v9::Message::parse(payload).map(Self::V9),
            10 => ipfix::Message::parse(payload).map(Self::Ipfix),
            5 => fixed::Message::parse(fixed::Version::V5, payload).map(Self::Fixed),
            7 => fixed::Message::parse(fixed::Version::V7, payload).map(Self::Fixed),
            1 => fixed::Message::parse(fixed::Version::V1, payload).map(Self::Fixed),
            version => Err(MessageError::UnknownVersion { version }),
        }
    }

    /// The version's number as in the header: 1, 5, 7, 9 or 10.
    #[must_use]
    pub const fn version(&self) -> u8 {
        match self {
            Self::Fixed(message) => message.header.version.number(),
            Self::V9(_) => 9,
            Self::Ipfix(_) => 10,
        }
    }

    /// The observation domain: v9's Source ID; v5's engine type and id as `type * 256 + id`; 0 in v1 and v7, which have
    /// none.
    #[must_use]
    pub const fn observation_domain(&self) -> u32 {
        match self {
            Self::Fixed(message) => message.header.observation_domain(),
            Self::V9(message) => message.header.source_id,
            Self::Ipfix(message) => message.header.observation_domain,
        }
    }
}
