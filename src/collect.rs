//! `forebay collect`: export datagrams in, flow files out.
//!
//! Everything is checked, then everything is opened, and only then do the threads start. They end in the direction that
//! flows take: the shards first, then the writers, then the settler.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_collector::{Collector, Config, Control, Shard, Status};
use forebay_udp::capture::CaptureReader;
use forebay_udp::{ShardReceiver, ShardSockets};

use crate::http::{self, Pages};
use crate::outcome::{Outcome, tell};
use crate::signals::{self, Handlers};
use crate::{clock, logging, workers};

mod metrics;
mod raw;
mod settings;
mod stats;
mod summary;

pub(crate) use raw::{Listen, LogName, Raw as Flags, listens_twice};
use settings::{Settings, Source};
pub(crate) use summary::warn_of_small_buffer;

/// A shard's work: it runs on a thread of its own until it ends.
type Work = Box<dyn FnOnce(Shard) -> Result<()> + Send>;

pub(crate) fn run(flags: Flags) -> Result<Outcome> {
    let settings = Settings::new(flags)?;
    logging::start(settings.log == LogName::Json);
    let http = settings.http.map(http::listen).transpose()?;
    let Opened {
        from,
        buffer,
        works,
    } = open(&settings.source)?;
    let (collector, shards) = Collector::start(&settings.collector, works.len(), clock::unix_us)?;
    let control = collector.control();
    handle_signals(&control, settings.grace)?;
    if let Some(listener) = http {
        let [watch, watch_too, watch_again] = [(); 3].map(|()| collector.watch());
        let control = Arc::clone(&control);
        let pages = Pages {
            metrics: move || metrics::text(&watch()),
            stats: move || stats::json(&watch_too()),
            problem: move || problem(&control, &watch_again()),
        };
        http::serve(listener, pages)?;
    }
    if let Some((granted, wanted)) = buffer {
        warn_of_small_buffer(granted, wanted);
    }
    tracing::info!("{from}, writing to {}", settings.collector.output.display());
    let works = works.into_iter().zip(shards);
    let result = workers::run(
        "shard",
        works.map(|(work, shard)| -> workers::Work { Box::new(|| work(shard)) }),
        || control.stop(i64::MAX),
        |rates, now| summary::status_line(&collector.status(), rates, now),
    );
    if !control.stopping() {
        // Captures end by themselves: what they held may take its time.
        control.stop(i64::MAX);
    }
    let status = collector.finish();
    if settings.log == LogName::Json {
        summary::log(&status);
    } else {
        tell(&summary::ended(&status));
    }
    result?;
    Ok(outcome(&settings, &status))
}

/// Why nobody should send to the collector now, if so.
fn problem(control: &Control, status: &Status) -> Option<&'static str> {
    let ending = control.stopping().then_some("ending");
    let failing = status.files.failing_writers > 0;
    ending.or_else(|| failing.then_some("flows are not written: see the log"))
}

fn handle_signals(control: &Arc<Control>, grace: Duration) -> Result<()> {
    let [hangup, stop, stopping] = [(); 3].map(|()| Arc::clone(control));
    signals::handle(Handlers {
        hangup: move || {
            tracing::info!("rotating");
            hangup.rotate();
        },
        stop: move |deadline_us| stop.stop(deadline_us),
        stopping: move || stopping.stopping(),
        grace,
        ending: "what has come is written out",
        // Segments survive that, as they survive a crash.
        rest: "what was not settled will be at the next start",
    })
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

/// What datagrams come from, in words and as a piece of work per shard.
struct Opened {
    from: String,
    /// The receive buffer that the kernel granted, and the one asked for.
    buffer: Option<(usize, usize)>,
    works: Vec<Work>,
}

fn open(source: &Source) -> Result<Opened> {
    match source {
        Source::Captures(paths) => {
            let captures = paths
                .iter()
                .map(CaptureReader::open)
                .collect::<Result<Vec<_>, _>>()?;
            let names: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let work: Work = Box::new(|shard| Ok(shard.read(captures, |_| ())?));
            Ok(Opened {
                from: format!("reading {}", names.join(", ")),
                buffer: None,
                works: vec![work],
            })
        }
        Source::Sockets {
            listen,
            shards,
            options,
        } => {
            let receivers = ShardSockets::bind(listen, *shards, options)?;
            let granted = receivers
                .iter()
                .map(ShardReceiver::granted_buffer_bytes)
                .min();
            // Port 0 is any that is free: the sockets know.
            let bound = receivers.iter().map(ShardReceiver::local_addresses);
            let bound: Vec<String> = bound.take(1).flatten().map(ToString::to_string).collect();
            let works = receivers.into_iter().map(|receiver| -> Work {
                Box::new(|shard| shard.run(receiver).context("cannot receive datagrams"))
            });
            Ok(Opened {
                from: format!("listening on {}, shards: {shards}", bound.join(", ")),
                buffer: granted.map(|granted| (granted, options.receive_buffer_bytes)),
                works: works.collect(),
            })
        }
    }
}
