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
                _ if control.stopping() => {
                    eprintln!(
                        "forebay: ended at once: what was not settled will be at the next start"
                    );
                    process::exit(1);
                }
                _ => {
                    tracing::info!("ending: what has come is written out");
                    let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
                    control.stop(clock::unix_us().saturating_add(grace));
                }
            }
        }
    };
    let spawned = thread::Builder::new().name("signals".to_owned()).spawn(run);
    spawned.context("cannot start a thread")?;
    Ok(())
}
