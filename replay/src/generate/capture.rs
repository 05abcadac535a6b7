//! Generated traffic as a capture file, with its truth beside it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureWriteError, CaptureWriter};
use thiserror::Error;

use super::config::{ConfigError, GenerateConfig};
use super::send::Progress;
use super::truth::Truth;
use super::{GeneratedMessage, Generator};
use crate::output::{Named, Output};

/// Where the messages of a capture go to: a collector at a usual port, of the exporter's address family.
const COLLECTOR_PORT: u16 = 2055;
/// Each datagram takes several writes.
const BUFFER_BYTES: usize = 1 << 18;
/// After how many messages progress is told.
const MESSAGES_PER_PROGRESS: u64 = 4096;

/// Why there is no capture. Nothing is left under its name then.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It cannot be generated.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The capture cannot be written.
    #[error(transparent)]
    Capture(#[from] CaptureWriteError),
    /// A device, a pipe or a folder has the capture's name: a file would take its place.
    #[error("{} is there and is no file: choose another name", path.display())]
    NotAFile {
        /// What has the name.
        path: PathBuf,
    },
    /// The truth cannot be written, or a file not be given its name.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was asked to end.
    #[error("interrupted: nothing was written")]
    Interrupted,
}

/// Writes the traffic to a capture file, and its truth to `<path>.truth.json`. The name's ending says what the file is:
/// `.pcapng` or pcap, and compressed with `.zst`. A file comes under its name when it is whole, the truth first.
///
/// # Errors
///
/// The configuration cannot be generated, a file not be written, or what has its name is none; or `stop` said so.
pub fn to_capture(
    config: GenerateConfig,
    path: &Path,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Truth, CaptureError> {
    let mut generator = Generator::new(config)?;
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(CaptureError::NotAFile {
            path: path.to_owned(),
        });
    }
    let truth_path = with_suffix(path, ".truth.json");
    let (capture_part, truth_part) = (
        with_suffix(path, ".part"),
        with_suffix(&truth_path, ".part"),
    );
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let capture = create(&Named::new(&name), &capture_part);
    let written = capture.and_then(|capture| {
        let truth = write(
            &mut generator,
            capture,
            (&capture_part, &truth_part),
            stop,
            progress,
        )?;
        rename(&truth_part, &truth_path)?;
        rename(&capture_part, path).inspect_err(|_| remove(&truth_path))?;
        Ok(truth)
    });
    if written.is_err() {
        remove(&capture_part);
        remove(&truth_part);
    }
    written
}

type Capture = CaptureWriter<BufWriter<Output>>;

fn create(named: &Named<'_>, path: &Path) -> Result<Capture, CaptureError> {
    let file = File::create(path).map_err(|source| CaptureWriteError::Create {
        path: path.to_owned(),
        source,
    })?;
    let output = Output::new(file, named.is_compressed).map_err(|source| failed(path, source))?;
    let output = BufWriter::with_capacity(BUFFER_BYTES, output);
    Ok(CaptureWriter::with_format(path, output, named.format)?)
}

fn write(
    generator: &mut Generator,
    mut capture: Capture,
    (capture_path, truth_path): (&Path, &Path),
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Truth, CaptureError> {
    let mut payload = Vec::new();
    let mut done = Progress {
        datagrams: 0,
        flows: 0,
        of_flows: generator.config().flows,
    };
    while let Some(message) = generator.next_message(&mut payload) {
        if stop.load(Ordering::Relaxed) {
            return Err(CaptureError::Interrupted);
        }
        let GeneratedMessage { source, at_ns, .. } = message;
        capture.write(&Datagram {
            source,
            destination: collector_of(source),
            received_ns: at_ns,
            payload: &payload,
        })?;
        done.datagrams += 1;
        done.flows += message.flows as u64;
        if done.datagrams.is_multiple_of(MESSAGES_PER_PROGRESS) {
            progress(&done);
        }
    }
    progress(&done);
    let output = capture.finish()?.into_inner();
    let synced = output
        .map_err(io::IntoInnerError::into_error)
        .and_then(Output::finish)
        .and_then(|file| file.sync_all());
    synced.map_err(|source| failed(capture_path, source))?;

    let truth = generator.truth();
    write_json(&truth, truth_path).map_err(|source| failed(truth_path, source))?;
    Ok(truth)
}

/// Writes the truth of traffic that was sent to a file, which comes under its name when it is whole.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_truth(truth: &Truth, path: &Path) -> Result<(), CaptureError> {
    let part = with_suffix(path, ".part");
    let written = write_json(truth, &part)
        .map_err(|source| failed(&part, source))
        .and_then(|()| rename(&part, path));
    if written.is_err() {
        remove(&part);
    }
    written
}

fn write_json(truth: &Truth, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer_pretty(&mut file, truth)?;
    file.write_all(b"\n")?;
    file.into_inner()?.sync_all()
}

const fn collector_of(exporter: SocketAddr) -> SocketAddr {
    let address = match exporter {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(address, COLLECTOR_PORT)
}

fn rename(from: &Path, to: &Path) -> Result<(), CaptureError> {
    fs::rename(from, to).map_err(|source| failed(to, source))
}

/// Clears up after a failure, which is what will be told. What is not there need not be removed.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

fn failed(path: &Path, source: io::Error) -> CaptureError {
    CaptureError::Write {
        path: path.to_owned(),
        source,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
