//! NetFlow v9 message header (RFC 3954 §5.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |       Version Number (9)      |            Count              |
//! +-------------------------------+-------------------------------+
//! |                        sysUpTime (ms)                         |
//! +---------------------------------------------------------------+
//! |                       UNIX seconds                            |
//! +---------------------------------------------------------------+
//! |                      Sequence Number                          |
//! +---------------------------------------------------------------+
//! |                        Source ID                              |
//! +---------------------------------------------------------------+
//! |  FlowSets …
//! ```

use crate::message::MessageError;
use crate::reader::{ReadError, Reader};
use crate::set::{Sets, Version};

/// Length of the header.
pub const HEADER_LENGTH: usize = 20;

/// v9's sequence number: it counts *messages* of one exporter and source id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageSequence(pub u32);

/// The header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// By the RFC the number of records, of templates and of data. Exporters put the number of sets there too, or 1:
    /// nothing here relies on it.
    pub count: u16,
    /// Milliseconds since the exporter booted. Wraps after 49.7 days.
    pub uptime_ms: u32,
    /// When the message left the exporter, in seconds since 1970 UTC.
    pub unix_secs: u32,
    /// Which message this is.
    pub sequence: MessageSequence,
    /// The observation domain.
    pub source_id: u32,
}

/// A v9 message.
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
    /// The datagram is shorter than the header.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(datagram);
        let header = Header::read(&mut reader).map_err(|_| MessageError::TooShort {
            needed: HEADER_LENGTH,
            length: datagram.len(),
        })?;
        Ok(Self { header, datagram })
    }

    /// Walks the sets (v9: FlowSets) to the end of the datagram, whatever the header's count says.
    #[must_use]
    pub fn sets(&self) -> Sets<'a> {
        Sets::new(
            Version::V9,
            self.datagram,
            HEADER_LENGTH,
            self.datagram.len(),
        )
    }
}

impl Header {
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let _version = reader.u16()?;
        Ok(Self {
            count: reader.u16()?,
            uptime_ms: reader.u32()?,
            unix_secs: reader.u32()?,
            sequence: MessageSequence(reader.u32()?),
            source_id: reader.u32()?,
        })
    }
}
