//! `forebay record`: export datagrams into capture files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use forebay_replay::record::{Primer, Recorder};
use forebay_udp::drop_network_privileges;

use crate::collect::Listen;
use crate::outcome::{Outcome, tell};
use crate::progress::{Rates, StatusLine, counted};
use crate::signals::{self, Handlers};
use crate::units::{Count, Period, Size};
use crate::{clock, logging};

mod input;
mod settings;
mod summary;

use input::Input;
use settings::Settings;

/// How long datagrams are waited for before it is looked whether a file's time is up.
const WAIT: Duration = Duration::from_millis(100);
/// How long the end may take: what has come is written, and the files are closed.
const GRACE: Duration = Duration::from_secs(60);

/// Record export datagrams, off the wire or from a socket, in capture files.
///
/// A file appears under its name when it is whole. SIGTERM and SIGINT close the open one and end; SIGHUP closes it and
/// begins another, where there is rotation. What the kernel dropped is told at the end, and in pcapng's statistics.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct Flags {
    /// Take packets as they pass these interfaces, beside a program that may have the port; any is all of them
    #[arg(long, value_name = "IF,…", value_delimiter = ',')]
    interface: Vec<String>,

    /// Where to listen, or with --interface, which destinations to take: ADDR:PORT, or PORT for every address [default:
    /// 2055 and 4739]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<Listen>,

    /// The capture file; with rotation, each has the time of its beginning in its name
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// What the file is [default: by the ending of its name; pcap]
    #[arg(long, value_enum)]
    format: Option<FormatName>,

    /// How the file is compressed [default: by the ending of its name; not]
    #[arg(long, value_enum)]
    compression: Option<CompressionName>,

    /// Begin another file after so long
    #[arg(long, value_name = "TIME")]
    rotate: Option<Period>,

    /// Begin another file at this size
    #[arg(long, value_name = "SIZE")]
    rotate_size: Option<Size>,

    /// Begin another file after so many datagrams
    #[arg(long, value_name = "N")]
    rotate_count: Option<Count>,

    /// Keep at most so many whole files, and remove the oldest
    #[arg(long, value_name = "N")]
    retain: Option<usize>,

    /// Put the last templates before each exporter's first message in every file: those of the files before, and of this
    /// capture
    #[arg(long, value_name = "CAPTURE", num_args = 0..=1)]
    prime: Option<Option<PathBuf>>,

    /// Socket buffer of each address
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    receive_buffer: Size,

    /// Packet ring, with --interface
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    ring_size: Size,

    /// Exit with 3 if the kernel dropped datagrams
    #[arg(long)]
    fail_on_loss: bool,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// For every program; times in nanoseconds
    Pcap,
    /// With what was dropped
    Pcapng,
}

/// `--compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionName {
    /// The file's name ends in .zst
    Zstd,
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let settings = Settings::new(flags)?;
    logging::start(false);
    let primer = match &settings.prime {
        None => None,
        Some(None) => Some(Primer::default()),
        Some(Some(capture)) => Some(primer_of(capture)?),
    };
    let primes = primer.is_some();
    let mut input = Input::open(&settings)?;
    drop_network_privileges().context("cannot give up the right to packet sockets")?;
    let mut recorder = Recorder::new(settings.recorder, primer, clock::unix_ns())?;
    let asked = Arc::new(Asked::default());
    handle_signals(&asked)?;
    tracing::info!("{}, writing to {}", input.name(), flags.output.display());
    let recorded =
        record(&mut input, &mut recorder, &asked).and_then(|()| drain(&mut input, &mut recorder));
    if let Err(error) = recorded {
        recorder.set_dropped(input.drops());
        tell(&summary::failed(recorder.counts()));
        return Err(error);
    }
    let counts = recorder.finish(clock::unix_ns(), input.drops())?;
    tell(&summary::ended(&counts, primes, input.rejected()));
    Ok(if flags.fail_on_loss && counts.dropped > 0 {
        Outcome::Losses
    } else {
        Outcome::Done
    })
}

/// The templates of an earlier recording.
fn primer_of(capture: &Path) -> Result<Primer> {
    let primer = Primer::read(capture)?;
    if let Some(torn) = primer.torn() {
        tracing::warn!("{torn}");
    }
    let templates = counted(primer.templates(), "template");
    tracing::info!("{templates} of {}", capture.display());
    Ok(primer)
}

/// What signals ask for.
#[derive(Debug, Default)]
struct Asked {
    stop: AtomicBool,
    rotate: AtomicBool,
}

/// Records until it is to end.
fn record(input: &mut Input, recorder: &mut Recorder, asked: &Asked) -> Result<()> {
    let mut line = StatusLine::new();
    let mut rates = Rates::new(clock::now());
    while !asked.stop.load(Ordering::Relaxed) {
        input.receive(WAIT, |datagram| Ok(recorder.record(datagram)?))?;
        if asked.rotate.swap(false, Ordering::Relaxed) {
            recorder.rotate(clock::unix_ns(), input.drops())?;
        }
        recorder.turn(clock::unix_ns(), || input.drops())?;
        line.show(|| {
            recorder.set_dropped(input.drops());
            summary::status_line(recorder, &mut rates, clock::now())
        });
    }
    Ok(())
}

/// Records what had come when it was to end.
fn drain(input: &mut Input, recorder: &mut Recorder) -> Result<()> {
    let end_ns = clock::unix_ns();
    let wait = input.close()?;
    let mut late = false;
    while !late {
        let count = input.receive(wait, |datagram| {
            late |= datagram.received_ns > end_ns;
            Ok(recorder.record(datagram)?)
        })?;
        if count == 0 {
            break;
        }
        recorder.turn(clock::unix_ns(), || input.drops())?;
    }
    Ok(())
}

fn handle_signals(asked: &Arc<Asked>) -> Result<()> {
    let [hangup, stop, stopping] = [(); 3].map(|()| Arc::clone(asked));
    signals::handle(Handlers {
        hangup: move || hangup.rotate.store(true, Ordering::Relaxed),
        stop: move |_| stop.stop.store(true, Ordering::Relaxed),
        stopping: move || stopping.stop.load(Ordering::Relaxed),
        grace: GRACE,
        ending: "what has come is written",
        rest: "the open file keeps its hidden name",
    })
}
