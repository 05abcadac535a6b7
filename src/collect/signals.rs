//! SIGTERM and SIGINT end, SIGHUP rotates.

use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_collector::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::clock;
use crate::outcome::complain;

/// What the threads get beyond the grace period to see that it is over.
const MARGIN: Duration = Duration::from_secs(2);

/// Handles signals from now on, on a thread of its own. The second that ends, ends at once.
pub(super) fn handle(control: &Arc<Control>, grace: Duration) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot handle signals")?;
    let control = Arc::clone(control);
    let run = move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    tracing::info!("rotating");
                    control.rotate();
                }
                _ if control.stopping() => end_at_once("ended at once"),
                _ => {
                    tracing::info!("ending: what has come is written out");
                    let grace_us = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
                    control.stop(clock::unix_us().saturating_add(grace_us));
                    end_after(grace.saturating_add(MARGIN));
                }
            }
        }
    };
    let spawned = thread::Builder::new().name("signals".to_owned()).spawn(run);
    spawned.context("cannot start a thread")?;
    Ok(())
}

/// Whatever a thread is stuck in, such as reading a pipe that nobody writes to, the process ends.
fn end_after(period: Duration) {
    let run = move || {
        thread::sleep(period);
        end_at_once("not ended in time");
    };
    if thread::Builder::new().spawn(run).is_err() {
        tracing::warn!("nothing watches over the grace period: the system has no thread for it");
    }
}

/// Segments survive that, as they survive a crash.
fn end_at_once(why: &str) -> ! {
    complain(&format!(
        "{why}: what was not settled will be at the next start"
    ));
    process::exit(1)
}
