//! Writing a capture: nanosecond pcap, or pcapng, of raw IP.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::blocks;
use crate::Datagram;
use crate::packet::{self, Ends};

/// Link type "raw IP": packets of either version, without a link layer.
const RAW_IP: u16 = 101;
const SNAPLEN: u32 = 262_144;
const UDP: u8 = 17;

/// A kind of capture file. All times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureFormat {
    /// Classic pcap, which every program reads.
    #[default]
    Pcap,
    /// pcapng, which also holds what was dropped.
    Pcapng,
}

/// What became of a capture's datagrams before they were written: pcapng's interface statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureStatistics {
    /// When receiving began, in nanoseconds since the Unix epoch.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// Datagrams that came: those that were written and those that were dropped.
    pub received: u64,
    /// Datagrams that the kernel dropped, for there was no room for them.
    pub dropped: u64,
}

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
    format: CaptureFormat,
    bytes: u64,
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
    /// Makes a pcap file, over one that is there.
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
    /// Begins a pcap file in `output`, which errors call `name`. Every datagram takes several
    /// writes: give it a buffer.
    ///
    /// # Errors
    ///
    /// `output` cannot be written.
    pub fn new(name: impl Into<PathBuf>, output: W) -> Result<Self, CaptureWriteError> {
        Self::with_format(name, output, CaptureFormat::Pcap)
    }

    /// As [`new`](Self::new), with a file of either kind.
    ///
    /// # Errors
    ///
    /// `output` cannot be written.
    pub fn with_format(
        name: impl Into<PathBuf>,
        output: W,
        format: CaptureFormat,
    ) -> Result<Self, CaptureWriteError> {
        let mut writer = Self {
            path: name.into(),
            output,
            format,
            bytes: 0,
        };
        match format {
            CaptureFormat::Pcap => {
                // Magic, version 2.4, two unused fields, snapshot length, link type.
                writer.put(&0xa1b2_3c4d_u32.to_le_bytes())?;
                writer.put(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
                writer.put(&SNAPLEN.to_le_bytes())?;
                writer.put(&u32::from(RAW_IP).to_le_bytes())?;
            }
            CaptureFormat::Pcapng => {
                writer.put(&blocks::section_block())?;
                writer.put(&blocks::interface_block(RAW_IP, SNAPLEN))?;
            }
        }
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
        let (source, mut destination) = (datagram.source.ip(), datagram.destination.ip());
        if destination.is_unspecified() && source.is_ipv4() != destination.is_ipv4() {
            destination = match source {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
        }
        let ends = Ends::new(source, destination).ok_or(CaptureWriteError::Families {
            source_address: datagram.source,
            destination: datagram.destination,
        })?;
        let ports = (datagram.source.port(), datagram.destination.port());
        let udp = ends.udp_header(ports.0, ports.1, datagram.payload).ok_or(
            CaptureWriteError::TooLong {
                bytes: datagram.payload.len(),
            },
        )?;
        let [_, _, _, _, length @ .., _, _] = udp;
        let udp_bytes = u16::from_be_bytes(length);
        match ends {
            Ends::V4(source, destination) => {
                let ip = packet::whole_ipv4_header(source, destination, udp_bytes);
                self.packet(datagram, &ip, &udp)
            }
            Ends::V6(source, destination) => {
                let ip = packet::ipv6_header(source, destination, udp_bytes, UDP);
                self.packet(datagram, &ip, &udp)
            }
        }
    }

    /// Appends what became of the datagrams that came; in pcap, which has no place for it,
    /// nothing.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn write_statistics(
        &mut self,
        statistics: &CaptureStatistics,
    ) -> Result<(), CaptureWriteError> {
        match self.format {
            CaptureFormat::Pcap => Ok(()),
            CaptureFormat::Pcapng => self.put(&blocks::statistics_block(statistics)),
        }
    }

    /// Where it is written.
    pub fn output(&self) -> &W {
        &self.output
    }

    /// How many bytes the capture has so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
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
        udp: &[u8],
    ) -> Result<(), CaptureWriteError> {
        let received_ns = datagram.received_ns;
        let packet_bytes = (ip.len() + udp.len() + datagram.payload.len()) as u32;
        match self.format {
            CaptureFormat::Pcap => {
                let seconds = u32::try_from(received_ns / 1_000_000_000)
                    .map_err(|_| CaptureWriteError::TooLate { received_ns })?;
                let nanoseconds = (received_ns % 1_000_000_000) as u32;
                for value in [seconds, nanoseconds, packet_bytes, packet_bytes] {
                    self.put(&value.to_le_bytes())?;
                }
                self.put(ip)?;
                self.put(udp)?;
                self.put(datagram.payload)
            }
            CaptureFormat::Pcapng => {
                self.put(&blocks::packet_head(received_ns, packet_bytes))?;
                self.put(ip)?;
                self.put(udp)?;
                self.put(datagram.payload)?;
                let tail = blocks::packet_tail(packet_bytes);
                self.put(tail.as_slice())
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CaptureWriteError> {
        match self.output.write_all(bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(source) => Err(CaptureWriteError::Write {
                path: self.path.clone(),
                source,
            }),
        }
    }
}
