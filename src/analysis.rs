//! What the commands that read flow files again have in common: how much they may take, how far they are, how they end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use forebay_analyze::{Control, InputOptions, MemoryLimit, Skipped};

use crate::clock;
use crate::outcome::{WrongUsage, tell};
use crate::progress::{Rates, StatusLine, thousands};
use crate::signals::{self, Handlers};
use crate::units::Size;

/// How often the status line changes.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long it may take until all is removed after a signal.
const GRACE: Duration = Duration::from_secs(30);

/// What an analysis may take.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// How much memory rows may take, at least 1MiB; beyond it they go to temporary files [default: half of what is free]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,

    /// Where temporary files are [default: TMPDIR, or /tmp]
    #[arg(long, value_name = "DIR")]
    temp: Option<PathBuf>,

    /// How many threads work [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Pass over files that are damaged or hold no flows, and say which
    #[arg(long)]
    skip_bad: bool,
}

/// With less, rows would go to temporary files a few at a time, again and again. Who writes so little has left out the unit.
const MEMORY_MIN: u64 = 1 << 20;
/// More than any machine has cores; each takes some memory.
const THREADS_MAX: usize = 1024;

impl Limits {
    pub(crate) fn memory(&self) -> Result<MemoryLimit, WrongUsage> {
        let Some(given @ Size(bytes)) = self.memory else {
            return Ok(MemoryLimit::default());
        };
        if bytes < MEMORY_MIN {
            let least = Size(MEMORY_MIN);
            let what = format!(
                "--memory is {given}, but must be at least {least}: write its unit, as in 512MiB"
            );
            return Err(WrongUsage(what));
        }
        Ok(MemoryLimit(usize::try_from(bytes).unwrap_or(usize::MAX)))
    }

    pub(crate) fn temp(&self) -> PathBuf {
        self.temp.clone().unwrap_or_else(std::env::temp_dir)
    }

    pub(crate) fn input_options(&self) -> Result<InputOptions> {
        let cores = || thread::available_parallelism().map_or(1, Into::into);
        let threads = self.threads.unwrap_or_else(cores);
        if !(1..=THREADS_MAX).contains(&threads) {
            let what = format!("--threads is {threads}, but must be from 1 to {THREADS_MAX}");
            return Err(WrongUsage(what).into());
        }
        Ok(InputOptions {
            skip_bad: self.skip_bad,
            threads,
        })
    }
}

/// Makes SIGTERM and SIGINT end the analysis.
pub(crate) fn end_by_signals(control: &Arc<Control>) -> Result<()> {
    let [stop, stopping] = [(); 2].map(|()| Arc::clone(control));
    signals::handle(Handlers {
        hangup: || {},
        stop: move |_| stop.stop(),
        stopping: move || stopping.is_stopped(),
        grace: GRACE,
        ending: "nothing is written",
        rest: "a hidden file may be left",
    })
}

/// Tells how far `work` is, on a terminal, until it ends.
pub(crate) fn with_progress<T>(control: &Control, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let run = || {
            let mut line = StatusLine::new();
            let started = clock::now();
            let mut rates = Rates::new(started);
            while !done.load(Ordering::Relaxed) {
                line.show(|| status(control, &mut rates, started));
                thread::park_timeout(INTERVAL);
            }
        };
        // Without a thread for it, nothing is told.
        let telling = thread::Builder::new().spawn_scoped(scope, run).ok();
        let _ends = Ends {
            done: &done,
            telling: telling.as_ref().map(|telling| telling.thread().clone()),
        };
        work()
    })
}

/// Ends the telling whatever becomes of the work.
struct Ends<'a> {
    done: &'a AtomicBool,
    telling: Option<Thread>,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(telling) = &self.telling {
            telling.unpark();
        }
    }
}

fn status(control: &Control, rates: &mut Rates, started: Instant) -> String {
    let (rows, total) = (control.rows(), control.total_rows());
    let now = clock::now();
    let per_second = rates.per_second(rows, now);
    let mut text = format!("{} flows, {}/s", thousands(rows), thousands(per_second));
    if let Some(percent) = rows.saturating_mul(100).checked_div(total) {
        text.insert_str(0, &format!("{percent} %  "));
        let passed = now.duration_since(started).as_secs_f64();
        if rows > 0 {
            let left = passed * total.saturating_sub(rows) as f64 / rows as f64;
            text.push_str(&format!(", {left:.0} s left"));
        }
    }
    text
}

/// Tells which files were passed over.
pub(crate) fn tell_skipped(skipped: &[Skipped]) {
    for file in skipped {
        let taken = match file.rows_taken {
            0 => String::new(),
            rows => format!("; {} flows of it are counted", thousands(rows)),
        };
        tell(&format!(
            "passed over {}: {}{taken}",
            file.path.display(),
            file.reason
        ));
    }
}
