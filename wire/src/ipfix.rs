//! IPFIX message header (RFC 7011 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |      Version Number (10)      |            Length             |
//! +-------------------------------+-------------------------------+
//! |                     Export Time (s)                           |
//! +---------------------------------------------------------------+
//! |                     Sequence Number                           |
//! +---------------------------------------------------------------+
//! |                  Observation Domain ID                        |
//! +---------------------------------------------------------------+
//! |  Sets …
//! ```

use thiserror::Error;

use crate::message::MessageError;
use crate::reader::{ReadError, Reader};
use crate::set::{Sets, Version};

/// Length of the header.
pub const HEADER_LENGTH: usize = 16;

/// IPFIX's sequence number: it counts *data records* of one transport session and observation domain, before this
/// message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordSequence(pub u32);

/// The header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the message, with the header.
    pub length: u16,
    /// When the header left the exporter, in seconds since 1970 UTC.
    pub export_secs: u32,
    /// How many data records came before this message.
    pub sequence: RecordSequence,
    /// The observation domain.
    pub observation_domain: u32,
}

/// What is wrong with a message of which the sets can be decoded all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Problem {
    /// The header's length is not the datagram's.
    #[error("the header gives a message length of {length}, the datagram has {datagram} bytes")]
    LengthMismatch {
        /// The header's.
        length: usize,
        /// The datagram's.
        datagram: usize,
    },
}

impl Problem {
    /// The label of this problem's counter.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::LengthMismatch { .. } => "message_length_mismatch",
        }
    }
}

/// An IPFIX message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The header's fields.
    pub header: Header,
    datagram: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the header. The version number is taken as read.
    ///
    /// # Errors
    ///
    /// The datagram is shorter than the header, or the header says that the message is.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(datagram);
        let header = Header::read(&mut reader).map_err(|_| MessageError::TooShort {
            needed: HEADER_LENGTH,
            length: datagram.len(),
        })?;
        if usize::from(header.length) < HEADER_LENGTH {
            return Err(MessageError::LengthTooShort {
                length: header.length,
            });
        }
        Ok(Self { header, datagram })
    }

    /// Walks the sets.
    ///
    /// A set that starts within the header's length is taken as far as the datagram goes, because there are exporters
    /// whose length is a few bytes short. What lies behind the length is not looked at: [`Self::problem`] tells of it.
    #[must_use]
    pub fn sets(&self) -> Sets<'a> {
        Sets::new(
            Version::Ipfix,
            self.datagram,
            HEADER_LENGTH,
            usize::from(self.header.length),
        )
    }

    /// What is wrong with the message as a whole.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let length = usize::from(self.header.length);
        (length != self.datagram.len()).then_some(Problem::LengthMismatch {
            length,
            datagram: self.datagram.len(),
        })
    }
}

impl Header {
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let _version = reader.u16()?;
        Ok(Self {
            length: reader.u16()?,
            export_secs: reader.u32()?,
            sequence: RecordSequence(reader.u32()?),
            observation_domain: reader.u32()?,
        })
    }
}
