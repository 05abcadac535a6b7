//! What `record` is told, checked whole: nothing is opened before this stands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use forebay_replay::record::{RecordConfig, Rotation};
use forebay_udp::capture::CaptureFormat;
use forebay_udp::{PacketOptions, wildcard};

use super::{CompressionName, Flags, FormatName};
use crate::collect::listens_twice;
use crate::outcome::WrongUsage;
use crate::units::{Period, Size};

const PORTS: [u16; 2] = [2055, 4739];
/// One thread receives: datagrams stay in the order in which they came.
pub(super) const SHARDS: usize = 1;
/// All interfaces.
const ANY: &str = "any";
/// As `collect` and `route` have them.
const LEAST_BUFFER: u64 = 1 << 16;
const MOST_BUFFER: u64 = 1 << 31;

/// What to do.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) source: Source,
    pub(super) listen: Vec<SocketAddr>,
    /// Whether files are primed, and from which capture the first.
    pub(super) prime: Option<Option<PathBuf>>,
    pub(super) recorder: RecordConfig,
}

/// Where datagrams come from.
#[derive(Debug)]
pub(super) enum Source {
    Sockets { receive_buffer_bytes: usize },
    Packets(PacketOptions),
}

impl Settings {
    pub(super) fn new(flags: &Flags) -> Result<Self> {
        let listen: Vec<SocketAddr> = flags.listen.iter().map(|listen| listen.0).collect();
        let listen = if listen.is_empty() {
            PORTS.map(wildcard).to_vec()
        } else {
            listen
        };
        if let Some(what) = listens_twice(&listen) {
            return Err(wrong(what));
        }
        let source = source(flags, &listen)?;
        let rotation = Rotation {
            bytes: not_zero("--rotate-size", flags.rotate_size.map(|Size(bytes)| bytes))?,
            period: flags.rotate.map(|Period(period)| period),
            datagrams: not_zero("--rotate-count", flags.rotate_count.map(|count| count.0))?,
        };
        if rotation.period == Some(Duration::ZERO) {
            return Err(wrong("--rotate is 0: give more, or leave it out"));
        }
        if flags.retain == Some(0) {
            return Err(wrong("--retain is 0: give more, or leave it out"));
        }
        if flags.retain.is_some() && rotation == Rotation::default() {
            return Err(wrong(
                "--retain counts files, but there is only one: rotate by --rotate, --rotate-size or --rotate-count",
            ));
        }
        if flags.prime == Some(None) && rotation == Rotation::default() {
            return Err(wrong(
                "--prime without a capture puts in the templates of the files before, but there is only one: name an \
                 earlier capture, or rotate by --rotate, --rotate-size or --rotate-count",
            ));
        }
        Ok(Self {
            source,
            listen,
            prime: flags.prime.clone(),
            recorder: RecordConfig {
                output: flags.output.clone(),
                format: flags.format.map(|format| match format {
                    FormatName::Pcap => CaptureFormat::Pcap,
                    FormatName::Pcapng => CaptureFormat::Pcapng,
                }),
                compressed: matches!(flags.compression, Some(CompressionName::Zstd)),
                rotation,
                retain: flags.retain,
            },
        })
    }
}

fn source(flags: &Flags, listen: &[SocketAddr]) -> Result<Source> {
    if flags.interface.is_empty() {
        return Ok(Source::Sockets {
            receive_buffer_bytes: buffer("--receive-buffer", flags.receive_buffer)?,
        });
    }
    if listen.iter().any(|address| address.port() == 0) {
        return Err(wrong(
            "--listen has port 0, which is any that is free: with --interface its number is needed",
        ));
    }
    let all = flags.interface.iter().any(|name| name == ANY);
    let packets = PacketOptions {
        interfaces: if all {
            Vec::new()
        } else {
            flags.interface.clone()
        },
        listen: listen.to_vec(),
        exclude: Vec::new(),
        shards: SHARDS,
        ring_bytes: buffer("--ring-size", flags.ring_size)?,
    };
    packets.check().map_err(|error| wrong(error.to_string()))?;
    Ok(Source::Packets(packets))
}

fn buffer(name: &str, size: Size) -> Result<usize> {
    if !(LEAST_BUFFER..=MOST_BUFFER).contains(&size.0) {
        let (least, most) = (Size(LEAST_BUFFER), Size(MOST_BUFFER));
        return Err(wrong(format!(
            "{name} is {size}, but must be from {least} to {most}"
        )));
    }
    Ok(usize::try_from(size.0)?)
}

fn not_zero(name: &str, value: Option<u64>) -> Result<Option<u64>> {
    match value {
        Some(0) => Err(wrong(format!("{name} is 0: give more, or leave it out"))),
        value => Ok(value),
    }
}

fn wrong(what: impl Into<String>) -> anyhow::Error {
    WrongUsage(what.into()).into()
}
