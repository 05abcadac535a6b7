//! Capture files: the UDP datagrams in pcap and pcapng.
//!
//! ```text
//! file → record (pcap, pcapng) → frame (link layer) → IP, fragments put together → UDP
//! ```
//!
//! [`CaptureReader`] takes Ethernet with VLAN tags, Linux cooked v1 and v2, raw IP and
//! loopback; IPv4 with options and IPv6 with extension headers; in classic pcap of
//! either time unit and byte order, and in pcapng with any number of sections and
//! interfaces; compressed by zstd or not. It does not check checksums, nor does it filter: every
//! whole UDP datagram is handed over, whatever its ports.
//!
//! The format is read here rather than by a library: what is needed is small, it must
//! not allocate per packet, and a torn tail must be told from damage.

mod blocks;
pub(crate) mod bytes;
mod error;
pub(crate) mod fragments;
pub(crate) mod frame;
mod pcap;
mod pcapng;
mod window;
mod writer;

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::Datagram;
pub use error::{CaptureError, Damage, FirstBytes};
use fragments::Fragments;
use frame::{Found, Link, Udp};
use pcap::Pcap;
use pcapng::{PacketHeader, Section};
use window::Window;
pub use writer::{CaptureFormat, CaptureStatistics, CaptureWriteError, CaptureWriter};

/// What a zstd frame begins with: RFC 8878, section 3.1.1.
const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// The largest window that a frame may ask for, 2²⁷ bytes: what `zstd` itself takes unasked.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The longest frame a record may hold: libpcap's largest snapshot length.
const MAX_FRAME_BYTES: u32 = 262_144;

/// Reads the UDP datagrams of a capture file.
///
/// ```no_run
/// # use forebay_udp::capture::CaptureReader;
/// let mut capture = CaptureReader::open("exports.pcap")?;
/// while let Some(datagram) = capture.next()? {
///     println!("{}: {} bytes", datagram.source, datagram.payload.len());
/// }
/// # Ok::<(), forebay_udp::capture::CaptureError>(())
/// ```
pub struct CaptureReader {
    path: PathBuf,
    window: Window,
    format: Format,
    /// Bytes of the record last returned, still in front of the window.
    unread: u64,
    fragments: Fragments,
    counts: CaptureCounts,
    finished: bool,
}

/// What became of a capture's packets.
///
/// `packets` = (`datagrams` − `reassembled`) + `fragments` + `not_ip` + `not_udp` +
/// `malformed` + `truncated` + `unsupported_link`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureCounts {
    /// Packet records read.
    pub packets: u64,
    /// Datagrams handed over.
    pub datagrams: u64,
    /// Packets without IP.
    pub not_ip: u64,
    /// IP packets of other protocols.
    pub not_udp: u64,
    /// Packets with lengths that contradict each other.
    pub malformed: u64,
    /// Packets that the capture's snapshot length cut before the end of the datagram.
    pub truncated: u64,
    /// Packets of an interface with an unsupported link type.
    pub unsupported_link: u64,
    /// Packets that hold a fragment.
    pub fragments: u64,
    /// Datagrams put together from fragments; they are among `datagrams`.
    pub reassembled: u64,
    /// Datagrams dropped because their fragments overlap, contradict each other, are more
    /// than 256, or make
    /// no UDP datagram.
    pub fragments_malformed: u64,
    /// Datagrams given up because a fragment was missing for 30 s, or at the end.
    pub fragments_expired: u64,
    /// Datagrams given up because too many were unfinished at a time.
    pub fragments_over_limit: u64,
}

enum Format {
    Pcap(Pcap, Link),
    /// `None` before the first section.
    Pcapng(Option<Section>),
}

/// A packet in the window.
struct Packet {
    header: PacketHeader,
    /// Where its frame begins, from the window's beginning.
    at: usize,
    captured: usize,
}

/// A datagram whose payload is not borrowed yet.
struct Located {
    udp: Udp,
    received_ns: u64,
    /// Whether the payload's range is into the reassembled datagram or into the window.
    reassembled: bool,
}

impl CaptureReader {
    /// Opens a capture file; `-` is standard input.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or read, or is no capture.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref();
        let opened = if path == Path::new("-") {
            // Not `Stdin`, which has a buffer of its own.
            io::stdin().as_fd().try_clone_to_owned().map(File::from)
        } else {
            File::open(path)
        };
        match opened {
            Ok(file) => Self::from_reader(path, file),
            Err(source) => Err(CaptureError::Open {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Reads a capture from `input`, which errors call `name`.
    ///
    /// # Errors
    ///
    /// `input` cannot be read, or is no capture.
    pub fn from_reader(
        name: impl Into<PathBuf>,
        input: impl Read + Send + 'static,
    ) -> Result<Self, CaptureError> {
        let mut reader = Self {
            path: name.into(),
            window: Window::new(Box::new(input)),
            format: Format::Pcapng(None),
            unread: 0,
            fragments: Fragments::default(),
            counts: CaptureCounts::default(),
            finished: false,
        };
        reader.ensure(4)?;
        if reader.window.bytes().starts_with(&ZSTD_MAGIC) {
            reader.decompress()?;
        }
        let Some(pcap) = Pcap::recognise(reader.window.bytes()) else {
            if pcapng::recognise(reader.window.bytes()) {
                return Ok(reader);
            }
            reader.ensure(8)?;
            return Err(CaptureError::NotACapture {
                first: FirstBytes::of(reader.window.bytes()),
                path: reader.path,
            });
        };
        reader.require(pcap::FILE_HEADER_BYTES)?;
        let link_type = pcap.link_type(reader.window.bytes()).unwrap_or(u32::MAX);
        let Some(link) = Link::from_type(link_type) else {
            return Err(CaptureError::UnsupportedLinkType {
                path: reader.path,
                link_type,
            });
        };
        reader.format = Format::Pcap(pcap, link);
        reader.unread = pcap::FILE_HEADER_BYTES as u64;
        Ok(reader)
    }

    /// The next UDP datagram; `None` at the end.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is damaged, or ends inside a record. There is no going on
    /// from any of them: after an error the capture is at its end.
    #[expect(
        clippy::should_implement_trait,
        reason = "the datagram borrows the reader, which an iterator's item cannot"
    )]
    pub fn next(&mut self) -> Result<Option<Datagram<'_>>, CaptureError> {
        let located = match self.locate() {
            Ok(Some(located)) => located,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.finish();
                return Err(error);
            }
        };
        self.counts.datagrams += 1;
        let bytes = if located.reassembled {
            self.fragments.whole()
        } else {
            self.window.bytes()
        };
        Ok(Some(Datagram {
            source: located.udp.source,
            destination: located.udp.destination,
            received_ns: located.received_ns,
            payload: bytes.get(located.udp.payload).unwrap_or_default(),
        }))
    }

    /// What became of the packets so far.
    pub fn counts(&self) -> &CaptureCounts {
        &self.counts
    }

    /// Bytes of the file read so far; of a compressed one, of what it holds.
    pub fn offset(&self) -> u64 {
        self.window.offset() + self.unread
    }

    fn finish(&mut self) {
        self.finished = true;
        self.fragments.finish(&mut self.counts);
    }

    /// Reads packets until one holds, or completes, a datagram.
    fn locate(&mut self) -> Result<Option<Located>, CaptureError> {
        while let Some(packet) = self.next_packet()? {
            self.counts.packets += 1;
            let Some(link) = packet.header.link else {
                self.counts.unsupported_link += 1;
                continue;
            };
            let frame = self
                .window
                .bytes()
                .get(packet.at..packet.at + packet.captured)
                .unwrap_or_default();
            let received_ns = packet.header.received_ns;
            match frame::find(link, frame) {
                Found::Udp(udp) => {
                    let Range { start, end } = udp.payload;
                    return Ok(Some(Located {
                        udp: Udp {
                            payload: packet.at + start..packet.at + end,
                            ..udp
                        },
                        received_ns,
                        reassembled: false,
                    }));
                }
                Found::Fragment(fragment) => {
                    self.counts.fragments += 1;
                    let bytes = frame.get(fragment.payload.clone()).unwrap_or_default();
                    let completed =
                        self.fragments
                            .add(&fragment, bytes, received_ns, &mut self.counts);
                    let Some(next_header) = completed else {
                        continue;
                    };
                    let whole = self.fragments.whole();
                    let (source, destination) = (fragment.key.source, fragment.key.destination);
                    match frame::transport(whole, 0..whole.len(), next_header, source, destination)
                    {
                        Found::Udp(udp) => {
                            self.counts.reassembled += 1;
                            return Ok(Some(Located {
                                udp,
                                received_ns,
                                reassembled: true,
                            }));
                        }
                        _ => self.counts.fragments_malformed += 1,
                    }
                }
                Found::NotIp => self.counts.not_ip += 1,
                Found::NotUdp => self.counts.not_udp += 1,
                Found::Malformed => self.counts.malformed += 1,
                Found::Short if packet.header.captured < packet.header.original => {
                    self.counts.truncated += 1;
                }
                Found::Short => self.counts.malformed += 1,
            }
        }
        Ok(None)
    }

    fn next_packet(&mut self) -> Result<Option<Packet>, CaptureError> {
        if self.finished {
            return Ok(None);
        }
        loop {
            self.skip_unread()?;
            if !self.ensure(1)? {
                self.finish();
                return Ok(None);
            }
            let packet = match self.format {
                Format::Pcap(pcap, link) => Some(self.pcap_packet(pcap, link)?),
                Format::Pcapng(_) => self.pcapng_packet()?,
            };
            if packet.is_some() {
                return Ok(packet);
            }
        }
    }

    fn pcap_packet(&mut self, pcap: Pcap, link: Link) -> Result<Packet, CaptureError> {
        let at = pcap.record_header_bytes();
        self.require(at)?;
        let Some(record) = pcap.record(self.window.bytes()) else {
            return Err(self.torn(0));
        };
        if record.captured > MAX_FRAME_BYTES {
            return Err(self.damaged(Damage::FrameBytes(record.captured)));
        }
        let captured = record.captured as usize;
        self.require(at + captured)?;
        self.unread = (at + captured) as u64;
        Ok(Packet {
            header: PacketHeader {
                link: Some(link),
                received_ns: record.received_ns,
                captured: record.captured,
                original: record.original,
            },
            at,
            captured,
        })
    }

    /// Reads a block; `None` if it is not a packet.
    fn pcapng_packet(&mut self) -> Result<Option<Packet>, CaptureError> {
        self.require(pcapng::BLOCK_HEAD_BYTES)?;
        let Format::Pcapng(section) = &mut self.format else {
            return Ok(None);
        };
        // A section header's type reads the same either way round.
        if pcapng::recognise(self.window.bytes()) {
            *section = None;
            self.require(pcapng::SECTION_BYTES)?;
            let Some(begun) = Section::begin(self.window.bytes()) else {
                return Err(self.damaged(Damage::ByteOrder));
            };
            let total = begun.order.u32(self.window.bytes(), 4).unwrap_or(0);
            self.format = Format::Pcapng(Some(begun));
            self.whole_block(total, pcapng::SECTION_BYTES + 4)?;
            return Ok(None);
        }
        let Some(order) = section.as_ref().map(|section| section.order) else {
            return Err(self.damaged(Damage::ByteOrder));
        };
        let block = self.window.bytes();
        let (Some(kind), Some(total)) = (order.u32(block, 0), order.u32(block, 4)) else {
            return Err(self.torn(0));
        };
        let at = match kind {
            pcapng::ENHANCED_PACKET | pcapng::PACKET => pcapng::PACKET_HEADER_BYTES,
            pcapng::SIMPLE_PACKET => pcapng::SIMPLE_HEADER_BYTES,
            pcapng::INTERFACE => {
                self.whole_block(total, 20)?;
                return self.pcapng_interface(total).map(|()| None);
            }
            _ => {
                self.whole_block(total, pcapng::BLOCK_FRAME_BYTES as usize)?;
                return Ok(None);
            }
        };
        self.whole_block(total, at + 4)?;
        self.require(at)?;
        let Format::Pcapng(Some(section)) = &mut self.format else {
            return Ok(None);
        };
        let header = if kind == pcapng::SIMPLE_PACKET {
            section.simple_packet(self.window.bytes(), total)
        } else {
            section.packet(self.window.bytes(), kind)
        };
        let Some(header) = header else {
            return Err(self.damaged(Damage::Interface));
        };
        if header.captured > MAX_FRAME_BYTES {
            return Err(self.damaged(Damage::FrameBytes(header.captured)));
        }
        let captured = header.captured as usize;
        if at + captured + 4 > total as usize {
            return Err(self.damaged(Damage::PacketBeyondBlock));
        }
        self.require(at + captured)?;
        Ok(Some(Packet {
            header,
            at,
            captured,
        }))
    }

    fn pcapng_interface(&mut self, total: u32) -> Result<(), CaptureError> {
        let looked_at = (total as usize).min(pcapng::INTERFACE_BYTES);
        self.require(looked_at)?;
        let Format::Pcapng(Some(section)) = &mut self.format else {
            return Ok(());
        };
        let block = self.window.bytes().get(..looked_at - 4).unwrap_or_default();
        if section.add_interface(block) {
            Ok(())
        } else {
            Err(self.damaged(Damage::InterfaceDescription))
        }
    }

    /// Checks a block's length and has it skipped before the next one.
    fn whole_block(&mut self, total: u32, least: usize) -> Result<(), CaptureError> {
        if !total.is_multiple_of(4) || (total as usize) < least {
            return Err(self.damaged(Damage::BlockBytes(total)));
        }
        self.unread = u64::from(total);
        Ok(())
    }

    /// Reads on from what the input, which has just begun, is the compressed form of.
    fn decompress(&mut self) -> Result<(), CaptureError> {
        let empty = Window::new(Box::new(io::empty()));
        let compressed = std::mem::replace(&mut self.window, empty).into_input();
        let opened = zstd::stream::read::Decoder::new(compressed).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Ok(decoder)
        });
        match opened {
            Ok(decoder) => self.window = Window::new(Box::new(decoder)),
            Err(source) => return Err(self.read_error(source)),
        }
        self.ensure(4).map(|_| ())
    }

    fn ensure(&mut self, needed: usize) -> Result<bool, CaptureError> {
        match self.window.ensure(needed) {
            Ok(there) => Ok(there),
            // A compressed capture ends inside a frame.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let there = self.window.bytes().len();
                Err(self.torn(needed.saturating_sub(there) as u64))
            }
            Err(source) => Err(self.read_error(source)),
        }
    }

    /// Has `needed` bytes of the record in the window.
    #[inline]
    fn require(&mut self, needed: usize) -> Result<(), CaptureError> {
        if self.ensure(needed)? {
            return Ok(());
        }
        Err(self.torn(needed.saturating_sub(self.window.bytes().len()) as u64))
    }

    #[inline]
    fn skip_unread(&mut self) -> Result<(), CaptureError> {
        let offset = self.window.offset();
        match self.window.skip(std::mem::take(&mut self.unread)) {
            Ok(0) => Ok(()),
            Ok(missing) => Err(CaptureError::TornTail {
                path: self.path.clone(),
                offset,
                missing,
            }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.torn(1)),
            Err(source) => Err(self.read_error(source)),
        }
    }

    #[cold]
    fn read_error(&self, source: io::Error) -> CaptureError {
        CaptureError::Read {
            path: self.path.clone(),
            offset: self.window.offset(),
            source,
        }
    }

    #[cold]
    fn torn(&self, missing: u64) -> CaptureError {
        CaptureError::TornTail {
            path: self.path.clone(),
            offset: self.window.offset(),
            missing,
        }
    }

    #[cold]
    fn damaged(&self, problem: Damage) -> CaptureError {
        CaptureError::Damaged {
            path: self.path.clone(),
            offset: self.window.offset(),
            problem,
        }
    }
}

#[cfg(test)]
mod tests;
