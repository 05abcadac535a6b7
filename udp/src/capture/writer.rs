//! Writing a capture: nanosecond pcap of raw IP.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Datagram;

/// Link type "raw IP": packets of either version, without a link layer.
const RAW_IP: u32 = 101;
const SNAPLEN: u32 = 262_144;
const UDP_HEADER_BYTES: u16 = 8;
const UDP: u8 = 17;
const HOPS: u8 = 64;

/// Writes datagrams to a capture file, with the headers that they had or would have.
///
/// ```
/// # use forebay_udp::Datagram;
/// # use forebay_udp::capture::{CaptureReader, CaptureWriter};
/// let datagram = Datagram {
///     source: "192.0.2.1:50000".parse()?,
///     destination: "198.51.100.1:2055".parse()?,
///     received_ns: 1_700_000_000_123_456_789,
///     payload: b"flows",
/// };
/// let mut writer = CaptureWriter::new("memory", Vec::new())?;
/// writer.write(&datagram)?;
/// let file = writer.finish()?;
///
/// let mut reader = CaptureReader::from_reader("memory", std::io::Cursor::new(file))?;
/// assert_eq!(reader.next()?, Some(datagram));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CaptureWriter<W: Write> {
    path: PathBuf,
    output: W,
}

/// A capture that cannot be written, or a datagram that has no place in one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureWriteError {
    /// The file cannot be made.
    #[error("cannot create capture {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed on the way.
    #[error("cannot write capture {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One address is IPv4 and the other IPv6.
    #[error("a datagram from {source_address} to {destination} is neither IPv4 nor IPv6")]
    Families {
        /// The sender.
        source_address: SocketAddr,
        /// The receiver.
        destination: SocketAddr,
    },
    /// No IP packet holds it.
    #[error("a datagram of {bytes} bytes does not fit an IP packet")]
    TooLong {
        /// The payload's length.
        bytes: usize,
    },
    /// pcap counts seconds in 32 bits.
    #[error("the time {received_ns} ns is after 2106, where pcap's seconds end")]
    TooLate {
        /// Time of receipt since the Unix epoch.
        received_ns: u64,
    },
}

impl CaptureWriter<BufWriter<File>> {
    /// Makes a capture file, over one that is there.
    ///
    /// # Errors
    ///
    /// The file cannot be made or written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, CaptureWriteError> {
        let path = path.as_ref();
        match File::create(path) {
            Ok(file) => Self::new(path, BufWriter::with_capacity(1 << 18, file)),
            Err(source) => Err(CaptureWriteError::Create {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a capture in `output`, which errors call `name`. Every datagram takes several
    /// writes: give it a buffer.
    ///
    /// # Errors
    ///
    /// `output` cannot be written.
    pub fn new(name: impl Into<PathBuf>, output: W) -> Result<Self, CaptureWriteError> {
        let mut writer = Self {
            path: name.into(),
            output,
        };
        // Magic, version 2.4, two unused fields, snapshot length, link type.
        writer.put(&0xa1b2_3c4d_u32.to_le_bytes())?;
        writer.put(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        writer.put(&SNAPLEN.to_le_bytes())?;
        writer.put(&RAW_IP.to_le_bytes())?;
        Ok(writer)
    }

    /// Appends a datagram.
    ///
    /// A destination that is every address, as a socket's is, becomes that of the source's
    /// family.
    ///
    /// # Errors
    ///
    /// The output cannot be written, or there is no IP packet of such addresses, length or
    /// time; nothing of the datagram is written then.
    pub fn write(&mut self, datagram: &Datagram<'_>) -> Result<(), CaptureWriteError> {
        let too_long = || CaptureWriteError::TooLong {
            bytes: datagram.payload.len(),
        };
        let udp_bytes = u16::try_from(datagram.payload.len())
            .ok()
            .and_then(|bytes| bytes.checked_add(UDP_HEADER_BYTES))
            .ok_or_else(too_long)?;
        let (source, mut destination) = (datagram.source.ip(), datagram.destination.ip());
        if destination.is_unspecified() && source.is_ipv4() != destination.is_ipv4() {
            destination = match source {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
        }
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let total = udp_bytes.checked_add(20).ok_or_else(too_long)?;
                let (source, destination) = (source.octets(), destination.octets());
                let ip = ipv4_header(source, destination, total);
                let addresses = Sum::default().add(&source).add(&destination);
                self.packet(datagram, &ip, addresses, udp_bytes)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (source, destination) = (source.octets(), destination.octets());
                let mut ip = [0; 40];
                ip[0] = 0x60;
                ip[4..6].copy_from_slice(&udp_bytes.to_be_bytes());
                ip[6..8].copy_from_slice(&[UDP, HOPS]);
                ip[8..24].copy_from_slice(&source);
                ip[24..40].copy_from_slice(&destination);
                let addresses = Sum::default().add(&source).add(&destination);
                self.packet(datagram, &ip, addresses, udp_bytes)
            }
            _ => Err(CaptureWriteError::Families {
                source_address: datagram.source,
                destination: datagram.destination,
            }),
        }
    }

    /// Flushes and returns the output.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn finish(mut self) -> Result<W, CaptureWriteError> {
        match self.output.flush() {
            Ok(()) => Ok(self.output),
            Err(source) => Err(CaptureWriteError::Write {
                path: self.path,
                source,
            }),
        }
    }

    fn packet(
        &mut self,
        datagram: &Datagram<'_>,
        ip: &[u8],
        addresses: Sum,
        udp_bytes: u16,
    ) -> Result<(), CaptureWriteError> {
        let received_ns = datagram.received_ns;
        let seconds = u32::try_from(received_ns / 1_000_000_000)
            .map_err(|_| CaptureWriteError::TooLate { received_ns })?;
        let nanoseconds = (received_ns % 1_000_000_000) as u32;
        let packet_bytes = ip.len() as u32 + u32::from(udp_bytes);

        let mut udp = [0; 8];
        udp[0..2].copy_from_slice(&datagram.source.port().to_be_bytes());
        udp[2..4].copy_from_slice(&datagram.destination.port().to_be_bytes());
        udp[4..6].copy_from_slice(&udp_bytes.to_be_bytes());
        // RFC 768: over a pseudo header of addresses, protocol and length, the UDP header and
        // the payload; a sum of zero is sent as all ones.
        let checksum = addresses
            .add(&[0, UDP])
            .add(&udp_bytes.to_be_bytes())
            .add(&udp)
            .add(datagram.payload)
            .checksum();
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());

        for value in [seconds, nanoseconds, packet_bytes, packet_bytes] {
            self.put(&value.to_le_bytes())?;
        }
        self.put(ip)?;
        self.put(&udp)?;
        self.put(datagram.payload)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CaptureWriteError> {
        match self.output.write_all(bytes) {
            Ok(()) => Ok(()),
            Err(source) => Err(CaptureWriteError::Write {
                path: self.path.clone(),
                source,
            }),
        }
    }
}

/// RFC 791, section 3.1, without options.
fn ipv4_header(source: [u8; 4], destination: [u8; 4], total: u16) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    // Not to be fragmented, so that no identification is needed (RFC 6864).
    header[6] = 0x40;
    header[8..10].copy_from_slice(&[HOPS, UDP]);
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let checksum = Sum::default().add(&header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// The one's complement sum of RFC 1071, over parts of even length but the last.
#[derive(Debug, Clone, Copy, Default)]
struct Sum(u64);

impl Sum {
    fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for word in words {
            sum += u64::from(u32::from_be_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(sum + u64::from(u32::from_be_bytes(last)))
    }

    fn checksum(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !(sum as u16)
    }
}
