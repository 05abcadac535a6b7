//! `forebay route`: export datagrams in, the same datagrams out to the collectors that their exporters belong to.
//!
//! Everything is checked, then everything is opened, and only then do the threads start.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use anyhow::{Context, Error, Result};
use forebay_router::{Config, Control, Input, Router, Routing, Worker};
use forebay_udp::{
    OwnSender, PacketRing, RawSender, SendError, ShardReceiver, ShardSockets,
    drop_network_privileges,
};

use crate::collect::{LogName, warn_of_small_buffer};
use crate::http::{self, Pages};
use crate::outcome::{Outcome, tell};
use crate::signals::{self, Handlers};
use crate::workers::{self, Work};
use crate::{clock, logging};

mod metrics;
mod raw;
mod settings;
mod stats;
mod summary;

pub(crate) use raw::Raw as Flags;
use settings::{Fixed, Settings, Source};

/// How often it is looked whether the configuration file has changed.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(flags: Flags) -> Result<Outcome> {
    // Before it is read: what is written meanwhile is a change.
    let loaded = flags.config.as_deref().and_then(look_at);
    let mut settings = Settings::new(flags.clone())?;
    // Checked with the settings: this cannot fail now.
    let routing = Routing::new(&settings.routes, None)?;
    logging::start(settings.log == LogName::Json);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let http = settings.fixed.http.map(http::listen).transpose()?;
    let outlets = open_outlets(&settings)?;
    let (inputs, from) = open_inputs(&mut settings.fixed, &routing)?;
    // Before there are threads, each of which would keep its own.
    if let Err(error) = drop_network_privileges() {
        tracing::warn!("the right to raw and packet sockets is kept: {error}");
    }
    let (router, workers) = Router::start(routing, settings.setup(), clock::running_us)?;
    let router = Arc::new(router);
    let control = router.control();
    let (log, fail_on_loss, grace) = (settings.log, settings.fail_on_loss, settings.grace);
    let reload = Arc::new(Reload {
        flags,
        running: Mutex::new(settings),
        router: Arc::clone(&router),
    });
    handle_signals(&control, &reload, grace)?;
    watch_file(&control, &reload, loaded)?;
    if let Some(listener) = http {
        let (watch, watch_too) = (router.watch(), router.watch());
        let control = Arc::clone(&control);
        let pages = Pages {
            metrics: move || metrics::text(&watch()),
            stats: move || stats::json(&watch_too()),
            problem: move || control.stopping().then_some("ending"),
        };
        http::serve(listener, pages)?;
    }
    tracing::info!("{from}");
    let works = workers.into_iter().zip(inputs).zip(outlets);
    let works = works.map(|((worker, input), outlet)| work_of(worker, input, outlet));
    let result = workers::run(
        "route",
        works,
        || control.stop(i64::MAX),
        |rates, now| summary::status_line(&router.status(), rates, now),
    );
    router.end();
    let status = router.status();
    if log == LogName::Json {
        summary::log(&status);
    } else {
        tell(&summary::ended(&status));
    }
    result?;
    Ok(if fail_on_loss && status.has_losses() {
        Outcome::Losses
    } else {
        Outcome::Done
    })
}

/// The routes of a configuration file, which may be for another machine.
///
/// # Errors
/// The file cannot be read, or makes no sense: that is wrong usage, and told with the line.
pub(crate) fn load_config(path: &Path) -> Result<Config> {
    Settings::routes_of(path)
}

/// What sends a thread's datagrams.
enum Outlet {
    Raw(Box<RawSender>),
    Own(Box<OwnSender>),
}

fn open_outlets(settings: &Settings) -> Result<Vec<Outlet>> {
    let open = |_| match settings.fixed.source {
        Source::Exporter => {
            let sender = RawSender::open().map_err(|error| match error {
                SendError::Permission { .. } => Error::msg(format!(
                    "{error}; or send from this machine's own address: --source own"
                )),
                error => error.into(),
            });
            Ok(Outlet::Raw(Box::new(sender?)))
        }
        Source::Own => Ok(Outlet::Own(Box::new(OwnSender::open()?))),
    };
    (0..settings.fixed.threads).map(open).collect()
}

/// One input for each thread, and what they are in words.
fn open_inputs(fixed: &mut Fixed, routing: &Routing) -> Result<(Vec<Input>, String)> {
    let threads = fixed.threads;
    match &fixed.input {
        settings::Input::Sockets(options) => {
            let receivers = ShardSockets::bind(&fixed.listen, threads, options)?;
            let granted = receivers
                .iter()
                .map(ShardReceiver::granted_buffer_bytes)
                .min();
            warn_of_small_buffer(granted.unwrap_or_default(), options.receive_buffer_bytes);
            // Port 0 is any that is free: the sockets know.
            if let Some(receiver) = receivers.first() {
                fixed.bound = receiver.local_addresses().to_vec();
            }
            let bound: Vec<String> = fixed.bound.iter().map(ToString::to_string).collect();
            let inputs = receivers.into_iter().map(Input::Sockets).collect();
            let from = format!("listening on {}, threads: {threads}", bound.join(", "));
            Ok((inputs, from))
        }
        settings::Input::Packets { interfaces, .. } => {
            let options = fixed.packets(routing.addresses().collect());
            let receivers = PacketRing::open(&options.context("no packet rings are asked for")?)?;
            let inputs = receivers
                .into_iter()
                .map(|of| Input::Packets(Box::new(of)))
                .collect();
            let listen: Vec<String> = fixed.listen.iter().map(ToString::to_string).collect();
            let place = match interfaces.as_slice() {
                [] => "all interfaces".to_owned(),
                some => some.join(", "),
            };
            let listen = listen.join(", ");
            let from = format!("taking packets to {listen} on {place}, threads: {threads}");
            Ok((inputs, from))
        }
    }
}

fn work_of(worker: Worker, input: Input, outlet: Outlet) -> Work {
    Box::new(move || {
        match outlet {
            Outlet::Raw(outlet) => worker.run(input, *outlet),
            Outlet::Own(outlet) => worker.run(input, *outlet),
        }
        .context("cannot receive datagrams")
    })
}

fn handle_signals(control: &Arc<Control>, reload: &Arc<Reload>, grace: Duration) -> Result<()> {
    let [stop, stopping] = [(); 2].map(|()| Arc::clone(control));
    let reload = Arc::clone(reload);
    signals::handle(Handlers {
        hangup: move || reload.run(),
        stop: move |deadline_us: i64| {
            let left_us = deadline_us.saturating_sub(clock::unix_us());
            stop.stop(clock::running_us().saturating_add(left_us));
        },
        stopping: move || stopping.stopping(),
        grace,
        ending: "what has come is sent on",
        rest: "what had come and was not sent is lost",
    })
}

/// What it takes to read the configuration again.
struct Reload {
    flags: Flags,
    running: Mutex<Settings>,
    router: Arc<Router>,
}

impl Reload {
    /// Reads the configuration file and goes on with it; if it makes no sense, with the one before.
    fn run(&self) {
        if self.flags.config.is_none() {
            tracing::warn!(
                "nothing to reload: without --config, the configuration stays as it was"
            );
            return;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = Settings::new(self.flags.clone()).and_then(|settings| {
            // Where it listens, and by what, stays until a restart, whatever the file says now.
            settings.check_against(&running)?;
            Ok(settings)
        });
        let settings = match checked {
            Ok(settings) => settings,
            Err(error) => {
                self.router.refuse_reload();
                tracing::error!("the configuration stays as it was: {error:#}");
                return;
            }
        };
        if let Err(error) = self.router.reload(&settings.routes) {
            tracing::error!("the configuration stays as it was: {error}");
            return;
        }
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let need_restart = settings.need_restart(&running);
        if !need_restart.is_empty() {
            let names = need_restart.join(", ");
            tracing::warn!("these settings have changed, and need a restart: {names}");
        }
        tracing::info!("configuration reloaded");
        running.routes = settings.routes;
    }
}

/// Reloads when the configuration file has changed, and is not being written any more.
fn watch_file(
    control: &Arc<Control>,
    reload: &Arc<Reload>,
    mut loaded: Option<FileState>,
) -> Result<()> {
    let Some(path) = reload.flags.config.clone() else {
        return Ok(());
    };
    let (control, reload) = (Arc::clone(control), Arc::clone(reload));
    let run = move || {
        let mut before = None;
        while !control.stopping() {
            thread::sleep(FILE_INTERVAL);
            let now = look_at(&path);
            // Whoever writes it may be half way: twice the same is at rest. A file that is gone may come back.
            if now != loaded && now == before && now.is_some() {
                loaded.clone_from(&now);
                tracing::info!("{} has changed", path.display());
                reload.run();
            }
            before = now;
        }
    };
    let spawned = thread::Builder::new().name("reload".to_owned()).spawn(run);
    spawned.context("cannot start a thread")?;
    Ok(())
}

/// What tells one state of a file from another: when it was changed, its length, and where it is.
type FileState = (SystemTime, u64, PathBuf);

fn look_at(path: &Path) -> Option<FileState> {
    let metadata = fs::metadata(path).ok()?;
    let at = fs::canonicalize(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), at))
}
