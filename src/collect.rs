//! `forebay collect`: export datagrams in, flow files out.
//!
//! Everything is checked, then everything is opened, and only then do the threads start. They end in the direction that
//! flows take: the shards first, then the writers, then the settler.

use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use forebay_collector::{Collector, Config, Control, Shard, Status};
use forebay_udp::ShardSockets;
use forebay_udp::capture::CaptureReader;

use crate::outcome::Outcome;
use crate::progress::StatusLine;
use crate::{clock, logging};

mod http;
mod metrics;
mod raw;
mod settings;
mod signals;
mod stats;
mod summary;

use raw::LogName;
pub(crate) use raw::Raw as Flags;
use settings::{Settings, Source};
use summary::Rates;

/// How often the status line changes.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// A shard's work: it runs on a thread of its own until it ends.
type Work = Box<dyn FnOnce(Shard) -> Result<()> + Send>;

pub(crate) fn run(flags: Flags) -> Result<Outcome> {
    let settings = Settings::new(flags)?;
    logging::start(settings.log == LogName::Json);
    let http = settings.http.map(|address| {
        let listener = TcpListener::bind(address);
        listener.with_context(|| {
            format!("cannot serve HTTP on {address}: choose another address with --http")
        })
    });
    let http = http.transpose()?;
    let works = open(&settings.source)?;
    let (collector, shards) = Collector::start(&settings.collector, works.len(), clock::unix_us)?;
    let control = collector.control();
    signals::handle(&control, settings.grace)?;
    if let Some(listener) = http {
        http::serve(listener, collector.watch(), &control)?;
    }
    tracing::info!("{}", summary::started(&settings));
    let result = work(works, shards, &collector, &control);
    if !control.stopping() {
        // Captures end by themselves: what they held may take its time.
        control.stop(i64::MAX);
    }
    let status = collector.finish();
    if settings.log == LogName::Json {
        summary::log(&status);
    } else {
        eprintln!("{}", summary::ended(&status));
    }
    result?;
    Ok(outcome(&settings, &status))
}

/// What a collector is told that writes to `folder` and is told nothing else.
pub(crate) fn default_config(folder: &Path) -> Result<Config> {
    let flags = Flags {
        output: Some(folder.to_owned()),
        ..Flags::default()
    };
    Ok(Settings::new(flags)?.collector)
}

fn outcome(settings: &Settings, status: &Status) -> Outcome {
    if settings.fail_on_loss && status.has_losses() {
        Outcome::Losses
    } else {
        Outcome::Done
    }
}

/// Opens what datagrams come from: one piece of work per shard.
fn open(source: &Source) -> Result<Vec<Work>> {
    match source {
        Source::Captures(paths) => {
            let captures = paths
                .iter()
                .map(CaptureReader::open)
                .collect::<Result<Vec<_>, _>>()?;
            let work: Work = Box::new(|shard| Ok(shard.read(captures, |_| ())?));
            Ok(vec![work])
        }
        Source::Sockets {
            listen,
            shards,
            options,
        } => {
            let receivers = ShardSockets::bind(listen, *shards, options)?;
            let granted = receivers
                .iter()
                .map(|receiver| receiver.granted_buffer_bytes())
                .min();
            summary::warn_of_small_buffer(granted.unwrap_or(0), options.receive_buffer_bytes);
            let works = receivers.into_iter().map(|receiver| -> Work {
                Box::new(|shard| shard.run(receiver).context("cannot receive datagrams"))
            });
            Ok(works.collect())
        }
    }
}

/// Runs the shards to their end, telling the status meanwhile. The first error ends all.
fn work(
    works: Vec<Work>,
    shards: Vec<Shard>,
    collector: &Collector,
    control: &Control,
) -> Result<()> {
    let (ended, results) = mpsc::channel();
    let mut threads = Vec::new();
    for (number, (work, shard)) in works.into_iter().zip(shards).enumerate() {
        let ended = ended.clone();
        let run = move || {
            // Nobody to hear it has gone: the receiver outlives the threads.
            let _heard = ended.send(work(shard));
        };
        let spawned = thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(run);
        threads.push(spawned.context("cannot start a thread")?);
    }
    drop(ended);
    let mut first_error: Option<Error> = None;
    let mut line = StatusLine::new();
    let mut rates = Rates::new(clock::now());
    loop {
        match results.recv_timeout(STATUS_INTERVAL) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                control.stop(i64::MAX);
                first_error.get_or_insert(error);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                line.show(|| summary::status_line(&collector.status(), &mut rates, clock::now()));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    drop(line);
    for thread in threads {
        if thread.join().is_err() {
            first_error.get_or_insert(Error::msg(
                "a shard ended unexpectedly: this is a bug; see the message above",
            ));
        }
    }
    first_error.map_or(Ok(()), Err)
}
