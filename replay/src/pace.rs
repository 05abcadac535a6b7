//! When each datagram is due.

use std::time::Duration;

use thiserror::Error;

/// How fast to send. Rates are means: what was late is caught up with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// At the recorded times, so many times as fast.
    Recorded {
        /// 1 is as recorded, 2 is twice as fast.
        speed: f64,
    },
    /// With so much time from one datagram to the next.
    Delay(Duration),
    /// So many datagrams a second.
    Datagrams(f64),
    /// So many flows a second. A datagram takes as long as it holds flows.
    Flows(f64),
    /// So many bits of payload a second.
    Bits(f64),
    /// As fast as the machine can.
    Flood,
    /// A rate that rises or falls evenly, and then stays.
    Ramp {
        /// What the rates count.
        unit: Unit,
        /// The rate at the beginning, a second.
        from: f64,
        /// The rate at the end, a second.
        to: f64,
        /// How long it takes from the one to the other.
        over: Duration,
    },
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Datagrams.
    Datagrams,
    /// Flows: data records that describe no exporter.
    Flows,
    /// Bits of the datagrams' payloads.
    Bits,
}

/// A pace that nothing can be sent at.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum PaceError {
    /// A rate or speed that is none.
    #[error("{0} is no rate to send at: give more than 0")]
    Rate(f64),
    /// A ramp from nothing to nothing.
    #[error("a ramp from {from} to {to} never sends anything: give it an end above 0")]
    Ramp {
        /// The rate at the beginning.
        from: f64,
        /// The rate at the end.
        to: f64,
    },
}

impl Pace {
    /// Whether anything can be sent at this pace.
    ///
    /// # Errors
    ///
    /// A rate is not above 0, or not finite. A ramp may begin at 0.
    pub fn check(&self) -> Result<(), PaceError> {
        let good = |rate: f64| rate > 0.0 && rate.is_finite();
        match *self {
            Self::Recorded { speed: rate }
            | Self::Datagrams(rate)
            | Self::Flows(rate)
            | Self::Bits(rate)
                if !good(rate) =>
            {
                Err(PaceError::Rate(rate))
            }
            Self::Ramp { from, to, .. } if !good(to) || !(from == 0.0 || good(from)) => {
                Err(PaceError::Ramp { from, to })
            }
            _ => Ok(()),
        }
    }

    /// When the datagram is due that comes after what `done` counts, from the beginning of sending.
    pub(crate) fn due(&self, done: &Done) -> Duration {
        let seconds = match *self {
            Self::Flood => return Duration::ZERO,
            Self::Delay(delay) => {
                // Exact, and longer than anything lasts where it does not fit.
                let ns = delay.as_nanos().saturating_mul(done.datagrams.into());
                return Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
            }
            Self::Recorded { speed } => done.recorded_ns as f64 / 1e9 / speed,
            Self::Datagrams(rate) => done.of(Unit::Datagrams) / rate,
            Self::Flows(rate) => done.of(Unit::Flows) / rate,
            Self::Bits(rate) => done.of(Unit::Bits) / rate,
            Self::Ramp {
                unit,
                from,
                to,
                over,
            } => ramp(done.of(unit), from, to, over.as_secs_f64()),
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Whether the last datagram, too, is followed by the time that it takes, so that the mean is the rate asked for.
    pub(crate) const fn has_rate(&self) -> bool {
        !matches!(self, Self::Flood | Self::Recorded { .. })
    }
}

/// After how many seconds a rate that goes evenly `from`–`to` in `over` seconds, and stays there, has brought `count`.
fn ramp(count: f64, from: f64, to: f64, over: f64) -> f64 {
    let brought = (from + to) / 2.0 * over;
    if count >= brought {
        return over + (count - brought) / to;
    }
    // count = from·t + slope/2·t², solved in the form that is exact for slopes near nothing too.
    let slope = (to - from) / over;
    let root = (from * from + 2.0 * slope * count).max(0.0).sqrt();
    if from + root == 0.0 {
        return 0.0;
    }
    2.0 * count / (from + root)
}

/// What has been sent, or given up, since the beginning of sending.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) datagrams: u64,
    pub(crate) flows: u64,
    pub(crate) bytes: u64,
    /// How much of the recording's time has gone by when the next datagram comes.
    pub(crate) recorded_ns: u64,
}

impl Done {
    fn of(&self, unit: Unit) -> f64 {
        match unit {
            Unit::Datagrams => self.datagrams as f64,
            Unit::Flows => self.flows as f64,
            Unit::Bits => self.bytes as f64 * 8.0,
        }
    }
}

#[cfg(test)]
mod tests;
