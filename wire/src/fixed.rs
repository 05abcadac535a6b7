//! NetFlow v1, v5 and v7: messages whose records have one fixed layout.
//!
//! No RFC specifies them; the layouts are Cisco's published ones. The three headers share their first 16 bytes, v5 and
//! v7 the next four as well.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |    version (1, 5 or 7)        |       count of records        |
//! +-------------------------------+-------------------------------+
//! |                        sysUpTime (ms)                         |
//! +---------------------------------------------------------------+
//! |                        UNIX seconds                           |
//! +---------------------------------------------------------------+
//! |                        nanoseconds                            |  v1 ends here: 16 bytes
//! +---------------------------------------------------------------+
//! |                       flow sequence                           |
//! +---------------+---------------+---+---------------------------+
//! |  engine type  |   engine id   |mod|    sampling interval      |  v5; reserved in v7
//! +---------------+---------------+---+---------------------------+
//! |  records of 48 (v5) or 52 (v1, v7) bytes …
//! ```

use thiserror::Error;

use crate::message::MessageError;
use crate::reader::{ReadError, Reader};

mod layout;

pub use layout::{FixedField, V1_FIELDS, V5_FIELDS, V7_FIELDS};

/// A version with fixed records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// NetFlow v1.
    V1,
    /// NetFlow v5.
    V5,
    /// NetFlow v7 (Catalyst switches).
    V7,
}

impl Version {
    /// The number in the message's header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V5 => 5,
            Self::V7 => 7,
        }
    }

    /// Length of the message's header.
    #[must_use]
    pub const fn header_length(self) -> usize {
        match self {
            Self::V1 => 16,
            Self::V5 | Self::V7 => 24,
        }
    }

    /// Length of a record.
    #[must_use]
    pub const fn record_length(self) -> usize {
        match self {
            Self::V5 => 48,
            Self::V1 | Self::V7 => 52,
        }
    }

    /// Where each field of a record lies and which information element it is.
    #[must_use]
    pub const fn fields(self) -> &'static [FixedField] {
        match self {
            Self::V1 => V1_FIELDS,
            Self::V5 => V5_FIELDS,
            Self::V7 => V7_FIELDS,
        }
    }
}

/// The sequence number of v5 and v7: it counts *flows* of one exporter and engine, before this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowSequence(pub u32);

/// The header's fields. What the version does not have is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which of the three.
    pub version: Version,
    /// How many records follow, if it is true: see [`Message::problem`].
    pub count: u16,
    /// Milliseconds since the exporter booted. Wraps after 49.7 days.
    pub uptime_ms: u32,
    /// When the message left the exporter, in seconds since 1970 UTC.
    pub unix_secs: u32,
    /// Nanoseconds past [`Self::unix_secs`].
    pub unix_nsecs: u32,
    /// How many flows came before this message (v5, v7).
    pub flow_sequence: FlowSequence,
    /// Type of the switching engine (v5).
    pub engine_type: u8,
    /// Slot of the switching engine (v5).
    pub engine_id: u8,
    /// Sampling mode in the upper two bits, interval in the lower fourteen (v5).
    pub sampling: u16,
}

impl Header {
    #[inline]
    fn read(version: Version, reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let _version = reader.u16()?;
        let mut header = Self {
            version,
            count: reader.u16()?,
            uptime_ms: reader.u32()?,
            unix_secs: reader.u32()?,
            unix_nsecs: reader.u32()?,
            flow_sequence: FlowSequence(0),
            engine_type: 0,
            engine_id: 0,
            sampling: 0,
        };
        if version != Version::V1 {
            header.flow_sequence = FlowSequence(reader.u32()?);
            let rest = *reader.take_array()?;
            if version == Version::V5 {
                let [engine_type, engine_id, high, low] = rest;
                header.engine_type = engine_type;
                header.engine_id = engine_id;
                header.sampling = u16::from_be_bytes([high, low]);
            }
        }
        Ok(header)
    }

    /// How packets were chosen: 0 not told, 1 every n-th, 2 at random (as information element 35).
    #[must_use]
    pub const fn sampling_mode(&self) -> u8 {
        // Two bits are left.
        (self.sampling >> 14).to_be_bytes()[1]
    }

    /// Of how many packets one was looked at. 0 where the exporter does not tell.
    #[must_use]
    pub const fn sampling_interval(&self) -> u16 {
        self.sampling & 0x3fff
    }

    /// v5's engine as an observation domain: `engine type * 256 + engine id`. 0 in v1 and v7.
    #[must_use]
    pub const fn observation_domain(&self) -> u32 {
        u32::from_be_bytes([0, 0, self.engine_type, self.engine_id])
    }
}

/// What is wrong with a message of which the whole records can be decoded all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Problem {
    /// The header counts more records than there are.
    #[error("the header counts {count} records, {present} are there")]
    CountTooLarge {
        /// The header's.
        count: u16,
        /// How many whole records there are.
        present: usize,
    },
    /// Bytes follow the last record that the header counts.
    #[error("{left} bytes follow the last of {count} records")]
    TrailingBytes {
        /// The header's count.
        count: u16,
        /// How many bytes follow.
        left: usize,
    },
}

impl Problem {
    /// The label of this problem's counter.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::CountTooLarge { .. } => "count_too_large",
            Self::TrailingBytes { .. } => "trailing_bytes",
        }
    }
}

/// A v1, v5 or v7 message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The header's fields.
    pub header: Header,
    records: &'a [u8],
    left: usize,
}

impl<'a> Message<'a> {
    /// Reads the header. The version number is taken as read.
    ///
    /// # Errors
    ///
    /// The datagram is shorter than the header.
    #[inline]
    pub fn parse(version: Version, datagram: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(datagram);
        let header = Header::read(version, &mut reader).map_err(|_| MessageError::TooShort {
            needed: version.header_length(),
            length: datagram.len(),
        })?;
        let body = reader.rest();
        let whole = body.len() / version.record_length();
        let length = whole.min(usize::from(header.count)) * version.record_length();
        let (records, rest) = body.split_at_checked(length).unwrap_or((body, &[]));
        Ok(Self {
            header,
            records,
            left: rest.len(),
        })
    }

    /// The records that are there and counted, and nothing but whole records of [`Self::record_length`] bytes.
    #[must_use]
    pub const fn records(&self) -> &'a [u8] {
        self.records
    }

    /// Length of a record.
    #[must_use]
    pub const fn record_length(&self) -> usize {
        self.header.version.record_length()
    }

    /// How many records [`Self::records`] holds.
    #[must_use]
    pub const fn record_count(&self) -> usize {
        self.records.len() / self.record_length()
    }

    /// What is wrong with the message as a whole.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let (count, present) = (self.header.count, self.record_count());
        if present < usize::from(count) {
            Some(Problem::CountTooLarge { count, present })
        } else if self.left > 0 {
            Some(Problem::TrailingBytes {
                count,
                left: self.left,
            })
        } else {
            None
        }
    }
}
