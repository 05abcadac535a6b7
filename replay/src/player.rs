//! Sends a recording.
//!
//! ```text
//! recording ─► due? ─► batch ─► advanced ─► sent ─► report
//!               ▲ wait
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::error::ReplayError;
use crate::outlet::{BATCH, Outlet, Results, Source};
use crate::pace::{Done, Pace, Unit};
use crate::recording::{Prepared, Recording};
use crate::report::{Ended, Histogram, Report, SendErrors};

/// How long a wait may be before it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How a recording is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayOptions {
    /// How often [`Player::play`] goes through the recording; `None` is without end.
    pub loops: Option<u64>,
    /// Whether times and sequence numbers advance, so that the recording is of now and each loop goes on where the last
    /// ended.
    pub rebase: bool,
    /// Whether each loop begins with all templates.
    pub prime: bool,
}

impl Default for PlayOptions {
    fn default() -> Self {
        Self {
            loops: Some(1),
            rebase: false,
            prime: false,
        }
    }
}

impl PlayOptions {
    /// Hands over what a [`Player`] that begins at `now_ns`, in nanoseconds since 1970, would send, without a pace or a
    /// socket: source and payload. Where loops are without end it is the first.
    ///
    /// ```no_run
    /// use forebay_replay::{Filter, PlayOptions, Recording};
    ///
    /// let recording = Recording::open("exports.pcap".as_ref(), &Filter::default())?;
    /// let options = PlayOptions { loops: Some(2), rebase: true, prime: true };
    /// options.rehearse(recording, 1_795_279_200_000_000_000, &mut |source, payload| {
    ///     println!("{source}: {} bytes", payload.len());
    /// });
    /// # Ok::<(), forebay_replay::ReplayError>(())
    /// ```
    pub fn rehearse(
        &self,
        recording: Recording,
        now_ns: u64,
        each: &mut dyn FnMut(SocketAddr, &[u8]),
    ) {
        let mut tape = Tape::new(recording, self);
        tape.begin(now_ns);
        for _ in 0..self.loops.unwrap_or(1) {
            while tape.recording.at_ns(tape.next).is_some() {
                tape.advance(tape.next);
                if let Some(datagram) = tape.recording.get(tape.next) {
                    each(datagram.source, datagram.payload);
                }
                tape.next += 1;
            }
            tape.rewind();
        }
    }
}

/// Sends a recording, once or again and again.
///
/// ```no_run
/// use std::sync::atomic::AtomicBool;
///
/// use forebay_replay::{Filter, Pace, PlayOptions, Player, Recording, Source};
///
/// let recording = Recording::open("exports.pcap".as_ref(), &Filter::default())?;
/// let target = "192.0.2.1:2055".parse().unwrap();
/// let mut player = Player::new(recording, target, Source::Own, PlayOptions::default())?;
/// let report = player.play(Pace::Datagrams(10_000.0), None, &AtomicBool::new(false));
/// println!("{} datagrams/s", report.datagrams_per_sec());
/// # Ok::<(), forebay_replay::ReplayError>(())
/// ```
pub struct Player {
    tape: Tape,
    target: SocketAddr,
    outlet: Outlet,
    loops: Option<u64>,
}

/// The recording, and where it is.
struct Tape {
    recording: Recording,
    /// The next datagram.
    next: usize,
    rebase: Option<Rebase>,
    period_ns: u64,
}

/// How times advance.
#[derive(Debug, Clone, Copy)]
struct Rebase {
    /// Seconds before the next loop.
    seconds: i64,
    /// Whether the next, or the present, loop is the first.
    first: bool,
    /// Whether the first loop has begun, and the seconds are known.
    begun: bool,
}

impl Player {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// There is no sending from such a source.
    pub fn new(
        recording: Recording,
        target: SocketAddr,
        source: Source,
        options: PlayOptions,
    ) -> Result<Self, ReplayError> {
        Ok(Self {
            outlet: Outlet::open(source, &recording, target)?,
            tape: Tape::new(recording, &options),
            target,
            loops: options.loops,
        })
    }

    /// Sends until the recording has been gone through as often as asked, `for_at_most` is over, or `stop` says so.
    /// Begins where the last call ended, and with `rebase` goes on with its times and numbers. A pace that
    /// [`Pace::check`] refuses is as good as none.
    pub fn play(&mut self, pace: Pace, for_at_most: Option<Duration>, stop: &AtomicBool) -> Report {
        self.play_telling(pace, for_at_most, stop, &mut |_| {})
    }

    /// As [`play`](Self::play), and tells now and then what has been reached so far, but for the lateness.
    pub fn play_telling(
        &mut self,
        pace: Pace,
        for_at_most: Option<Duration>,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(&Report),
    ) -> Report {
        let (outlet, target) = (&mut self.outlet, self.target);
        let mut session = Session {
            pace,
            limit: for_at_most,
            loops: self.loops,
            stop,
            clock: SystemClock::new(),
        };
        session.run(
            &mut self.tape,
            |batch, outcome| outlet.send(target, batch, outcome),
            tell,
        )
    }

    /// What is sent.
    #[must_use]
    pub const fn recording(&self) -> &Recording {
        &self.tape.recording
    }
}

impl fmt::Debug for Player {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Player")
            .field("target", &self.target)
            .field("loops", &self.loops)
            .field("next", &self.tape.next)
            .finish_non_exhaustive()
    }
}

impl Tape {
    fn new(mut recording: Recording, options: &PlayOptions) -> Self {
        if options.prime {
            recording.prime();
        }
        let rebase = options.rebase.then_some(Rebase {
            seconds: 0,
            first: true,
            begun: false,
        });
        Self {
            period_ns: recording.period_ns(),
            recording,
            next: 0,
            rebase,
        }
    }

    /// The recording's times are to become those of now, if that is asked for and has not been done.
    fn begin(&mut self, now_ns: u64) {
        if let Some(rebase) = &mut self.rebase
            && !rebase.begun
        {
            rebase.begun = true;
            rebase.seconds = self.recording.age_seconds(now_ns);
        }
    }

    /// Readies a datagram to be sent.
    #[inline]
    fn advance(&mut self, index: usize) {
        if let Some(rebase) = self.rebase {
            self.recording.advance(index, rebase.first, rebase.seconds);
        }
    }

    /// Begins the recording anew, if it is at its end.
    fn rewind(&mut self) {
        self.next = 0;
        if let Some(rebase) = &mut self.rebase {
            rebase.first = false;
            // A recording of a lifetime still fits.
            rebase.seconds = self.recording.period_seconds(self.period_ns) as i64;
        }
    }
}

/// One call of [`Player::play`].
struct Session<'s, C> {
    pace: Pace,
    limit: Option<Duration>,
    loops: Option<u64>,
    stop: &'s AtomicBool,
    clock: C,
}

/// What has been reached so far.
struct Outcome {
    report: Report,
    histogram: Histogram,
}

/// What became of a batch.
pub(crate) struct BatchOutcome<'r> {
    errors: &'r mut SendErrors,
    /// Flows and bytes of each datagram of the batch.
    sizes: &'r [(u64, u64)],
    failed: (u64, u64, u64),
}

impl Results for BatchOutcome<'_> {
    fn failed(&mut self, place: usize, error: &io::Error) {
        let (flows, bytes) = self.sizes.get(place).copied().unwrap_or_default();
        self.errors.add(error, flows);
        self.failed.0 += 1;
        self.failed.1 += flows;
        self.failed.2 += bytes;
    }

    fn refused(&mut self) {
        self.errors.refused += 1;
    }
}

impl<C: Clock> Session<'_, C> {
    fn run(
        &mut self,
        tape: &mut Tape,
        mut send: impl FnMut(&[Prepared<'_>], &mut BatchOutcome<'_>),
        tell: &mut dyn FnMut(&Report),
    ) -> Report {
        tape.begin(self.clock.unix_ns());
        let mut outcome = Outcome {
            report: Report::default(),
            histogram: Histogram::new(),
        };
        let began = self.clock.now();
        let began_at_ns = tape.recording.at_ns(tape.next).unwrap_or(0);
        let mut done = Done::default();
        // Of the loops that are over.
        let mut gone_ns = 0;
        let mut told = Duration::ZERO;
        let mut elapsed;
        outcome.report.ended = loop {
            elapsed = self.clock.now().saturating_sub(began);
            if self.stop.load(Ordering::Relaxed) {
                break Ended::Stopped;
            }
            if self.limit.is_some_and(|limit| elapsed >= limit) {
                break Ended::Time;
            }
            if elapsed >= told + LOOK {
                told = elapsed;
                outcome.report.seconds = elapsed.as_secs_f64();
                tell(&outcome.report);
            }
            let over = self
                .loops
                .is_some_and(|loops| outcome.report.loops >= loops);
            if over && (!self.pace.has_rate() || self.pace.due(&done) <= elapsed) {
                break Ended::Recording;
            }
            let mut batch = Batch::default();
            let mut due = self.pace.due(&done);
            while !over && due <= elapsed && batch.has_room() {
                let Some(at_ns) = tape.recording.at_ns(tape.next) else {
                    break;
                };
                let size = tape.recording.size(tape.next);
                tape.advance(tape.next);
                batch.push(tape.next, size);
                outcome.histogram.add(lateness(self.pace, elapsed, due));
                tape.next += 1;
                done.datagrams += 1;
                done.flows += size.0;
                done.bytes += size.1;
                let next_ns = tape.recording.at_ns(tape.next);
                done.recorded_ns = (gone_ns + next_ns.unwrap_or(at_ns)).saturating_sub(began_at_ns);
                due = self.pace.due(&done);
            }
            if batch.count > 0 {
                outcome.send(&batch, &tape.recording, &mut send);
                // A datagram is not in a batch twice, for it is advanced in place.
                if tape.recording.at_ns(tape.next).is_none() {
                    tape.rewind();
                    gone_ns += tape.period_ns;
                    done.recorded_ns = gone_ns.saturating_sub(began_at_ns);
                    outcome.report.loops += 1;
                }
                continue;
            }
            let latest = self.limit.unwrap_or(Duration::MAX).min(elapsed + LOOK);
            self.clock.wait(began + due.min(latest));
        };
        outcome.report.seconds = elapsed.as_secs_f64();
        outcome.report.lateness = outcome.histogram.lateness();
        outcome.report
    }
}

/// How late a datagram is, in nanoseconds: never where nothing says when it is due.
fn lateness(pace: Pace, elapsed: Duration, due: Duration) -> u64 {
    match pace {
        Pace::Flood => 0,
        // No replay lasts 584 years.
        _ => elapsed.saturating_sub(due).as_nanos() as u64,
    }
}

/// Datagrams that are sent together.
struct Batch {
    indices: [usize; BATCH],
    sizes: [(u64, u64); BATCH],
    count: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            indices: [0; BATCH],
            sizes: [(0, 0); BATCH],
            count: 0,
        }
    }
}

impl Batch {
    fn has_room(&self) -> bool {
        self.count < BATCH
    }

    fn push(&mut self, index: usize, size: (u64, u64)) {
        let room = (
            self.indices.get_mut(self.count),
            self.sizes.get_mut(self.count),
        );
        if let (Some(to), Some(size_to)) = room {
            *to = index;
            *size_to = size;
            self.count += 1;
        }
    }
}

impl Outcome {
    fn send(
        &mut self,
        batch: &Batch,
        recording: &Recording,
        send: &mut impl FnMut(&[Prepared<'_>], &mut BatchOutcome<'_>),
    ) {
        let mut prepared = [Prepared::NONE; BATCH];
        for (prepared, &index) in prepared.iter_mut().zip(&batch.indices).take(batch.count) {
            *prepared = recording.get(index).unwrap_or(Prepared::NONE);
        }
        let sizes = batch.sizes.get(..batch.count).unwrap_or_default();
        let mut results = BatchOutcome {
            errors: &mut self.report.errors,
            sizes,
            failed: (0, 0, 0),
        };
        send(
            prepared.get(..batch.count).unwrap_or_default(),
            &mut results,
        );
        let (datagrams, flows, bytes) = results.failed;
        let report = &mut self.report;
        report.datagrams += batch.count as u64 - datagrams;
        report.flows += sizes.iter().map(|size| size.0).sum::<u64>() - flows;
        report.bytes += sizes.iter().map(|size| size.1).sum::<u64>() - bytes;
    }
}

impl Pace {
    /// Whether anything of this recording can be sent at this pace.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), or the recording has no flows and the pace counts them.
    pub fn check_for(&self, recording: &Recording) -> Result<(), ReplayError> {
        self.check()?;
        let counts_flows = matches!(
            self,
            Self::Flows(_)
                | Self::Ramp {
                    unit: Unit::Flows,
                    ..
                }
        );
        if counts_flows && recording.flows() == 0 {
            return Err(ReplayError::NoFlows {
                path: recording.path().to_owned(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
