//! The steps of a search, one after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use super::limit::{Found, Next, Search, Settings, Tally};
use super::now;
use super::probe::{Probe, ProbeError, Reading};
use super::process::{Process, ProcessError};
use super::step::{Grown, Measured, Sent, Step};

/// How long to wait before asking once more whether all has arrived.
const TURN: Duration = Duration::from_millis(100);

/// After how many times the settling time counts are taken as they are, even if they still grow.
const SETTLES_MAX: u32 = 60;

/// What a collector is watched with.
#[derive(Debug)]
pub struct Instruments {
    /// What it has counted.
    pub probes: Vec<Probe>,
    /// Its process, where that is known.
    pub process: Option<Process>,
    /// How long nothing must have come before what is missing counts as lost.
    pub settle: Duration,
}

/// What a search found, or measured until it ended.
#[derive(Debug)]
pub struct Results {
    /// Every step, whole ones only.
    pub steps: Vec<Step>,
    /// The result, unless the search ended before there was one.
    pub found: Option<Found>,
    /// Until then: the highest rate that held, and the next that did not.
    pub so_far: SoFar,
    /// What ended the search, if something went wrong.
    pub problem: Option<SearchError>,
}

/// What a search knows before its end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SoFar {
    /// The highest rate that held.
    pub held: Option<Tally>,
    /// The next that did not.
    pub lost: Option<Tally>,
}

/// What ends a search.
#[derive(Debug, Error)]
pub enum SearchError {
    /// A probe failed.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The process cannot be watched.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Nothing could be sent.
    #[error(
        "nothing could be sent: the system refused {errors} times: is the collector listening?"
    )]
    NothingSent {
        /// How often the system refused.
        errors: u64,
    },
    /// It was asked to end.
    #[error("interrupted")]
    Interrupted,
}

/// Searches. `send` sends at a rate of flows a second for the time of a step, or until `stop`; `each` hears of every
/// step.
pub fn run(
    settings: Settings,
    instruments: &mut Instruments,
    send: &mut dyn FnMut(f64) -> Sent,
    each: &mut dyn FnMut(&Step),
    stop: &AtomicBool,
) -> Results {
    let mut search = Search::new(settings);
    let mut steps = Vec::new();
    let ended = loop {
        let rate = match search.next() {
            Next::Done(found) => break Ok(found),
            Next::Try(rate) => rate,
        };
        match instruments.measure(&mut || send(rate), stop) {
            Ok(measured) => {
                let step = Step::new(search.steps() + 1, rate, measured);
                search.judge(&step.verdict());
                each(&step);
                steps.push(step);
            }
            Err(error) => break Err(error),
        }
    };
    let (found, problem) = match ended {
        Ok(found) => (Some(found), None),
        Err(problem) => (None, Some(problem)),
    };
    let (held, lost) = search.so_far();
    Results {
        steps,
        found,
        so_far: SoFar { held, lost },
        problem,
    }
}

impl Instruments {
    fn measure(
        &mut self,
        send: &mut dyn FnMut() -> Sent,
        stop: &AtomicBool,
    ) -> Result<Measured, SearchError> {
        let before = self.read(stop)?;
        let used_before = self.process.map(|process| process.usage()).transpose()?;
        let sent = send();
        let used_in_full = self.process.map(|process| process.usage()).transpose()?;
        if stop.load(Ordering::Relaxed) {
            return Err(SearchError::Interrupted);
        }
        if sent.flows == 0 {
            let errors = sent.errors;
            return Err(SearchError::NothingSent { errors });
        }
        let ended = now();
        let (counts, waiting_bytes) = self.settle(&before, &sent, stop)?;
        let settled_seconds = (now() - ended).as_secs_f64();
        let used = self.process.map(|process| process.usage()).transpose()?;
        let cpu = used_before.zip(used);
        Ok(Measured {
            sent,
            counts,
            waiting_bytes,
            settled_seconds,
            cpu_seconds: cpu.map(|(before, after)| after.cpu_seconds - before.cpu_seconds),
            memory_bytes: used_in_full.map(|usage| usage.memory_bytes),
        })
    }

    fn read(&mut self, stop: &AtomicBool) -> Result<Vec<Reading>, SearchError> {
        if stop.load(Ordering::Relaxed) {
            return Err(SearchError::Interrupted);
        }
        let readings = self.probes.iter_mut().map(|probe| match probe.read(stop) {
            Err(ProbeError::Interrupted) => Err(SearchError::Interrupted),
            reading => Ok(reading?),
        });
        readings.collect()
    }

    /// Waits until everything has arrived, or nothing more does. Returns what the probes have counted by then, and what
    /// waited in the sockets' buffers at first.
    fn settle(
        &mut self,
        before: &[Reading],
        sent: &Sent,
        stop: &AtomicBool,
    ) -> Result<(Vec<Grown>, Option<u64>), SearchError> {
        let begun = now();
        let mut changed = begun;
        let mut last = self.read(stop)?;
        let at_first = waiting(&last);
        loop {
            let mut counts = Vec::new();
            for ((probe, before), after) in self.probes.iter().zip(before).zip(&last) {
                counts.extend(Grown::since(probe, before, after, sent)?);
            }
            let is_empty = waiting(&last).unwrap_or(0) == 0;
            let is_whole = is_empty && !counts.iter().any(Grown::may_grow);
            let time = now();
            let is_over = time - changed >= self.settle;
            if is_whole || is_over || time - begun >= self.settle * SETTLES_MAX {
                return Ok((counts, at_first));
            }
            thread::sleep(TURN);
            let reading = self.read(stop)?;
            if reading != last {
                // Asking may take long: what it says is of when it answers.
                changed = now();
            }
            last = reading;
        }
    }
}

/// What waits in the sockets' buffers, where a probe knows.
fn waiting(readings: &[Reading]) -> Option<u64> {
    let mut known = readings
        .iter()
        .filter_map(|reading| reading.waiting_bytes)
        .peekable();
    known.peek()?;
    Some(known.sum())
}

#[cfg(test)]
mod tests;
