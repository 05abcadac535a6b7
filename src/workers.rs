//! The threads of a command that runs on.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};

use crate::clock;
use crate::progress::{Rates, StatusLine};

/// How often the status line changes.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

const PANICKED: &str = "a thread ended unexpectedly: this is a bug; see the message above";

/// What a thread does until it ends.
pub(crate) type Work = Box<dyn FnOnce() -> Result<()> + Send>;

/// Runs the threads to their end, telling the status meanwhile. The first error ends all, by `stop`.
pub(crate) fn run(
    name: &str,
    works: impl IntoIterator<Item = Work>,
    stop: impl Fn(),
    status: impl Fn(&mut Rates, Instant) -> String,
) -> Result<()> {
    let (ended, results) = mpsc::channel();
    for (number, work) in works.into_iter().enumerate() {
        let ended = ended.clone();
        let run = move || {
            // Without one thread the others must not go on as if nothing were.
            let result = panic::catch_unwind(AssertUnwindSafe(work));
            let result = result.unwrap_or_else(|_| Err(Error::msg(PANICKED)));
            // Nobody to hear it has gone: the receiver outlives the threads.
            let _heard = ended.send(result);
        };
        let spawned = thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(run);
        spawned.context("cannot start a thread")?;
    }
    drop(ended);
    let mut first_error: Option<Error> = None;
    let mut line = StatusLine::new();
    let mut rates = Rates::new(clock::now());
    loop {
        match results.recv_timeout(STATUS_INTERVAL) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                stop();
                first_error.get_or_insert(error);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                line.show(|| status(&mut rates, clock::now()));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    first_error.map_or(Ok(()), Err)
}
