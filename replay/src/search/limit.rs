//! Which rate to try next. No clock, no collector: rates out, verdicts in.
//!
//! ```text
//! raise ×2 ──► first loss ──► narrow ──► the one that lost, once more ──► the one that held, again and again ──► found
//!                               ▲            │ it holds after all             │ it loses
//!                               └────────────┴────────────────────────────────┘
//! ```
//!
//! A rate above one that lost is taken to lose too. A single loss may be the machine's (something else ran), so the rate
//! that bounds the result must lose twice; a rate that lost once and is to be the result must then hold as often in a
//! row as any other.

use serde::Serialize;

/// By how much the rate is raised until something is lost.
const RAISE: f64 = 2.0;

/// How far below the first rate the search goes where nothing holds.
const LOWEST_SHARE: f64 = 1.0 / 1024.0;

/// A sender that reaches less of a rate than this has met its own limit.
const REACHED_SHARE: f64 = 0.98;

/// How often the rate above must lose.
const LOSSES: u32 = 2;

/// The most steps of a search: one that needs more is of something that does not behave the same twice.
pub const STEPS_MAX: u32 = 200;

/// What to look for, and how closely. Rates are flows a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// The first rate.
    pub first: f64,
    /// The highest rate to try, if there is one.
    pub highest: Option<f64>,
    /// How far the rate that lost may be above the one that held, as a share of it: 0.02 is 2 %.
    pub precision: f64,
    /// How many times in a row the result must have held.
    pub confirm: u32,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The rate that was asked for.
    pub asked: f64,
    /// The rate that the sender reached.
    pub reached: f64,
    /// Whether every record arrived.
    pub held: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// Send at this rate.
    Try(f64),
    /// It is over.
    Done(Found),
}

/// A rate, and how often it held and lost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tally {
    /// Flows a second.
    pub rate: f64,
    /// Steps without loss.
    pub held: u32,
    /// Steps with.
    pub lost: u32,
    /// The steps without loss since the last with.
    #[serde(skip)]
    in_a_row: u32,
}

/// The result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Found {
    /// The highest rate that held, if one did.
    pub held: Option<Tally>,
    /// The next that did not, if one did not.
    pub lost: Option<Tally>,
    /// Why the search ended.
    pub ended: Ended,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The limit was found: both rates are known, and near each other.
    Limit,
    /// The sender cannot go faster, and nothing was lost.
    Sender,
    /// The highest rate that was to be tried holds.
    Highest,
    /// Something is lost at any rate.
    NothingHeld,
    /// After [`STEPS_MAX`] steps there is no end: rates hold and lose by turns.
    Unsteady,
}

/// A search for the highest rate that holds.
#[derive(Debug, Clone)]
pub struct Search {
    settings: Settings,
    /// By rate.
    tallies: Vec<Tally>,
    /// The rates reached in the last steps in a row that held, but at which the sender fell short.
    short: Vec<f64>,
    /// What was asked for in the last of them.
    short_asked: f64,
    steps: u32,
}

impl Search {
    /// A search that has tried nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tallies: Vec::new(),
            short: Vec::new(),
            short_asked: 0.0,
            steps: 0,
        }
    }

    /// What is to be done next: the same until a step has been judged.
    #[must_use]
    pub fn next(&self) -> Next {
        let confirm = self.settings.confirm.max(1);
        let lost = self.lowest_lost();
        let held = self.highest_held(lost);
        let done = |ended| Next::Done(Found { held, lost, ended });
        if self.short.len() >= confirm as usize {
            return Next::Done(self.limited_by_sender(lost));
        }
        if self.steps >= STEPS_MAX {
            return done(Ended::Unsteady);
        }
        match (held, lost) {
            (_, None) if !self.short.is_empty() => Next::Try(self.short_asked),
            (None, None) => Next::Try(self.at_most_highest(self.settings.first)),
            (Some(held), None) => {
                let next = self.at_most_highest(whole(held.rate * RAISE));
                if next > held.rate {
                    Next::Try(next)
                } else if held.in_a_row < confirm {
                    Next::Try(held.rate)
                } else {
                    done(Ended::Highest)
                }
            }
            (None, Some(lost)) => {
                let next = whole(lost.rate / RAISE);
                if next < lost.rate && next >= self.settings.first * LOWEST_SHARE {
                    Next::Try(next)
                } else if lost.lost < LOSSES {
                    Next::Try(lost.rate)
                } else {
                    done(Ended::NothingHeld)
                }
            }
            (Some(held), Some(lost)) => {
                let middle = whole((held.rate * lost.rate).sqrt());
                let near = lost.rate <= held.rate * (1.0 + self.settings.precision);
                if !near && middle > held.rate && middle < lost.rate {
                    Next::Try(middle)
                } else if lost.lost < LOSSES {
                    // First, since what it bounds need not be confirmed if it holds after all.
                    Next::Try(lost.rate)
                } else if held.in_a_row < confirm {
                    Next::Try(held.rate)
                } else {
                    done(Ended::Limit)
                }
            }
        }
    }

    /// Takes what became of a step.
    pub fn judge(&mut self, verdict: &Verdict) {
        self.steps += 1;
        let is_short = verdict.reached < verdict.asked * REACHED_SHARE;
        if is_short && verdict.held {
            self.short.push(verdict.reached);
            self.short_asked = verdict.asked;
        } else {
            self.short.clear();
        }
        let rate = if is_short {
            whole(verdict.reached)
        } else {
            verdict.asked
        };
        let place = self.tallies.partition_point(|tally| tally.rate < rate);
        if self.tallies.get(place).is_none_or(|at| at.rate > rate) {
            let tally = Tally {
                rate,
                held: 0,
                lost: 0,
                in_a_row: 0,
            };
            self.tallies.insert(place, tally);
        }
        if let Some(tally) = self.tallies.get_mut(place) {
            if verdict.held {
                tally.held += 1;
                tally.in_a_row += 1;
            } else {
                tally.lost += 1;
                tally.in_a_row = 0;
            }
        }
    }

    /// How many steps were judged.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// What is known so far, for a search that is interrupted: the highest rate that held and the next that did not.
    #[must_use]
    pub fn so_far(&self) -> (Option<Tally>, Option<Tally>) {
        let lost = self.lowest_lost();
        (self.highest_held(lost), lost)
    }

    fn at_most_highest(&self, rate: f64) -> f64 {
        self.settings
            .highest
            .map_or(rate, |highest| rate.min(highest))
    }

    /// The lowest rate that has lost often enough, or when last tried.
    fn lowest_lost(&self) -> Option<Tally> {
        let mut tallies = self.tallies.iter();
        let lost = tallies.find(|tally| tally.lost >= LOSSES || tally.in_a_row == 0);
        lost.copied()
    }

    /// The highest rate that held below the one that lost.
    fn highest_held(&self, lost: Option<Tally>) -> Option<Tally> {
        let below = |tally: &&Tally| lost.is_none_or(|lost| tally.rate < lost.rate);
        self.tallies.iter().take_while(below).last().copied()
    }

    /// The steps at the sender's limit count as repeats of one rate, the lowest of them: asking for what was reached by
    /// going flat out would not reach it again.
    fn limited_by_sender(&self, lost: Option<Tally>) -> Found {
        let rate = self.short.iter().copied().fold(f64::INFINITY, f64::min);
        let held = u32::try_from(self.short.len()).unwrap_or(u32::MAX);
        Found {
            held: Some(Tally {
                rate: whole(rate),
                held,
                lost: 0,
                in_a_row: held,
            }),
            lost,
            ended: Ended::Sender,
        }
    }
}

/// Flows come whole, and rates are easier to read so.
fn whole(rate: f64) -> f64 {
    rate.round().max(1.0)
}

#[cfg(test)]
mod tests;
