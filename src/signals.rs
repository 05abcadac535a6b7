//! SIGTERM and SIGINT end; SIGHUP is the command's to understand.

use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::clock;
use crate::outcome::complain;

/// What the threads get beyond the grace period to see that it is over.
const MARGIN: Duration = Duration::from_secs(2);

/// What the first signal that ends sets, for work that looks at it; the second ends the program at once.
pub(crate) fn stop() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("cannot handle signals")?;
    }
    Ok(stop)
}

/// What signals do.
pub(crate) struct Handlers<H, S, E> {
    /// At SIGHUP.
    pub(crate) hangup: H,
    /// At the first that ends: until when that may take, in microseconds since 1970.
    pub(crate) stop: S,
    /// Whether the program is ending already.
    pub(crate) stopping: E,
    /// How long ending may take.
    pub(crate) grace: Duration,
    /// What is done until then, in words.
    pub(crate) ending: &'static str,
    /// What becomes of the rest where that takes too long.
    pub(crate) rest: &'static str,
}

/// Handles signals from now on, on a thread of its own. The second that ends, ends at once.
pub(crate) fn handle<H, S, E>(handlers: Handlers<H, S, E>) -> Result<()>
where
    H: Fn() + Send + 'static,
    S: Fn(i64) + Send + 'static,
    E: Fn() -> bool + Send + 'static,
{
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot handle signals")?;
    let Handlers { grace, rest, .. } = handlers;
    let run = move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => (handlers.hangup)(),
                _ if (handlers.stopping)() => end_at_once("ended at once", rest),
                _ => {
                    tracing::info!("ending: {}", handlers.ending);
                    let grace_us = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
                    (handlers.stop)(clock::unix_us().saturating_add(grace_us));
                    end_after(grace.saturating_add(MARGIN), rest);
                }
            }
        }
    };
    let spawned = thread::Builder::new().name("signals".to_owned()).spawn(run);
    spawned.context("cannot start a thread")?;
    Ok(())
}

/// Whatever a thread is stuck in, such as reading a pipe that nobody writes to, the process ends.
fn end_after(period: Duration, rest: &'static str) {
    let run = move || {
        thread::sleep(period);
        end_at_once("not ended in time", rest);
    };
    if thread::Builder::new().spawn(run).is_err() {
        tracing::warn!("nothing watches over the grace period: the system has no thread for it");
    }
}

fn end_at_once(why: &str, rest: &str) -> ! {
    complain(&format!("{why}: {rest}"));
    process::exit(1)
}
