//! Capture files as they are written: of the kind that their name says, and compressed where it says that.

use std::fs::File;
use std::io::{self, Write};

use forebay_udp::capture::CaptureFormat;

/// 250 MB/s of generated traffic, to 44 %. zstd's default, 3, has 160 MB/s and 40 %.
const ZSTD_LEVEL: i32 = 1;

/// The ending of a compressed file.
pub(crate) const COMPRESSED: &str = ".zst";
/// The endings of capture files.
const ENDINGS: [(&str, CaptureFormat); 4] = [
    (".pcapng", CaptureFormat::Pcapng),
    (".ntar", CaptureFormat::Pcapng),
    (".pcap", CaptureFormat::Pcap),
    (".cap", CaptureFormat::Pcap),
];

/// What a file's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named<'n> {
    /// The name without its endings.
    pub(crate) stem: &'n str,
    /// The ending that says the kind of file, if one does.
    pub(crate) ending: &'static str,
    /// pcap, where the name does not say.
    pub(crate) format: CaptureFormat,
    pub(crate) is_compressed: bool,
}

impl<'n> Named<'n> {
    pub(crate) fn new(name: &'n str) -> Self {
        let (plain, is_compressed) = match name.strip_suffix(COMPRESSED) {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let known = ENDINGS
            .into_iter()
            .find_map(|(ending, format)| Some((plain.strip_suffix(ending)?, ending, format)));
        let (stem, ending, format) = known.unwrap_or((plain, "", CaptureFormat::Pcap));
        Self {
            stem,
            ending,
            format,
            is_compressed,
        }
    }
}

/// A file, plain or compressed on the way.
pub(crate) enum Output {
    Plain(File),
    Zstd(zstd::stream::write::Encoder<'static, Counted>),
}

/// Counts what reaches the file.
pub(crate) struct Counted {
    file: File,
    bytes: u64,
}

impl Output {
    pub(crate) fn new(file: File, compressed: bool) -> io::Result<Self> {
        if !compressed {
            return Ok(Self::Plain(file));
        }
        let counted = Counted { file, bytes: 0 };
        let mut encoder = zstd::stream::write::Encoder::new(counted, ZSTD_LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self::Zstd(encoder))
    }

    /// How long a compressed file is so far; `None` of a plain one.
    pub(crate) fn compressed_bytes(&self) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Zstd(encoder) => Some(encoder.get_ref().bytes),
        }
    }

    /// Writes what is being compressed: the file, which is not on disk before it is synced.
    pub(crate) fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Zstd(encoder) => Ok(encoder.finish()?.file),
        }
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            // A flush would end a block for nothing: `finish` writes all.
            Self::Zstd(_) => Ok(()),
        }
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
