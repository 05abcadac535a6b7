//! What can be wrong with a capture file.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A capture file that cannot be read, or not to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("cannot open capture {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed on the way.
    #[error("cannot read capture {} at byte {offset}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Where the record begins that could not be read.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is no capture: {first}", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
        /// What it begins with.
        first: FirstBytes,
    },
    /// A pcap file of a link layer that is not known here.
    #[error(
        "capture {} has link type {link_type}, which is not supported: Ethernet (1), Linux cooked \
         (113, 276), raw IP (12, 101, 228, 229) and loopback (0, 108) are",
        path.display()
    )]
    UnsupportedLinkType {
        /// The file.
        path: PathBuf,
        /// Its LINKTYPE number.
        link_type: u32,
    },
    /// A record that contradicts the format: what follows cannot be found.
    #[error(
        "capture {} is damaged at byte {offset}: {problem}; what comes before it was read",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        problem: Damage,
    },
    /// The file ends inside a record, as when the capturing program was killed. What came
    /// before was read whole.
    #[error(
        "capture {} ends inside the record at byte {offset} ({missing} bytes are missing); what \
         comes before it was read",
        path.display()
    )]
    TornTail {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// At least so many bytes are missing.
        missing: u64,
    },
}

/// What contradicts the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// No link layer sends such frames.
    #[error("a frame of {0} bytes")]
    FrameBytes(u32),
    /// Too short for what it is, or not a multiple of four.
    #[error("a block of {0} bytes")]
    BlockBytes(u32),
    /// A section header without byte-order magic.
    #[error("a section without byte order")]
    ByteOrder,
    /// A packet of an interface that was not described.
    #[error("a packet of an unknown interface")]
    Interface,
    /// An interface description that is too short, or one too many.
    #[error("an interface description that is too short, or one too many")]
    InterfaceDescription,
    /// A packet that is longer than the block it is in.
    #[error("a packet longer than its block")]
    PacketBeyondBlock,
}

/// The beginning of a file that is no capture: up to eight bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FirstBytes {
    bytes: [u8; 8],
    length: usize,
}

impl FirstBytes {
    pub(super) fn of(file: &[u8]) -> Self {
        let mut bytes = [0; 8];
        let length = bytes.len().min(file.len());
        for (to, from) in bytes.iter_mut().zip(file) {
            *to = *from;
        }
        Self { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for FirstBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02x?}", self.as_slice())
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.as_slice();
        match bytes {
            [] => return formatter.write_str("it is empty"),
            [0x1f, 0x8b, ..] => {
                return formatter.write_str(
                    "it is compressed by gzip; `gunzip` it, or pipe it in and read `-`",
                );
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                return formatter.write_str(
                    "it is compressed by zstd; `unzstd` it, or pipe it in and read `-`",
                );
            }
            [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                return formatter
                    .write_str("it is compressed by xz; `unxz` it, or pipe it in and read `-`");
            }
            _ => {}
        }
        formatter.write_str("it begins with")?;
        for byte in bytes {
            write!(formatter, " {byte:02x}")?;
        }
        if bytes
            .iter()
            .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        {
            formatter.write_str(" (\"")?;
            for byte in bytes {
                write!(formatter, "{}", char::from(*byte))?;
            }
            formatter.write_str("\")")?;
        }
        formatter.write_str(
            ", not with d4 c3 b2 a1 or 4d 3c b2 a1 (pcap, either way round) or 0a 0d 0d 0a (pcapng)",
        )
    }
}
