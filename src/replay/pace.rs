//! The pace, from flags.

use std::fmt;
use std::str::FromStr;

use anyhow::Result;
use forebay_replay::{Pace, Unit};

use super::Flags;
use crate::outcome::WrongUsage;
use crate::units::{Period, Rate};

/// A rate, or two with `..` between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RateOrRange {
    from: Option<f64>,
    to: f64,
}

/// A text that is neither.
#[derive(Debug)]
pub(super) struct RateError(String);

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is no rate: write a number, perhaps with k, M or G, such as 1.5M, or two for a ramp, as 10k..2M",
            self.0
        )
    }
}

impl std::error::Error for RateError {}

impl FromStr for RateOrRange {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let rate = |part: &str| {
            // A rate in megabits may well be less than one.
            let plain = part.parse::<f64>().ok();
            plain
                .or_else(|| part.parse::<Rate>().ok().map(|Rate(rate)| rate as f64))
                .ok_or_else(|| RateError(text.to_owned()))
        };
        Ok(match text.split_once("..") {
            Some((from, to)) => Self {
                from: Some(rate(from)?),
                to: rate(to)?,
            },
            None => Self {
                from: None,
                to: rate(text)?,
            },
        })
    }
}

/// The pace that was asked for: as recorded, if none was.
pub(super) fn of(flags: &Flags) -> Result<Pace> {
    let rates = [
        (flags.pps, Unit::Datagrams, 1.0),
        (flags.fps, Unit::Flows, 1.0),
        (flags.mbps, Unit::Bits, 1e6),
    ];
    let rate = rates
        .into_iter()
        .find_map(|(rate, unit, worth)| Some((rate?, unit, worth)));
    let pace = match rate {
        Some((RateOrRange { from, to }, unit, worth)) => {
            let to = to * worth;
            match (from, flags.ramp) {
                (Some(from), Some(Period(over))) => Pace::Ramp {
                    unit,
                    from: from * worth,
                    to,
                    over,
                },
                (None, None) => match unit {
                    Unit::Datagrams => Pace::Datagrams(to),
                    Unit::Flows => Pace::Flows(to),
                    Unit::Bits => Pace::Bits(to),
                },
                (Some(_), None) => {
                    return wrong("from one rate to another it takes a time: give --ramp TIME");
                }
                (None, Some(_)) => return wrong(RAMP),
            }
        }
        None if flags.ramp.is_some() => return wrong(RAMP),
        None if flags.flood => Pace::Flood,
        None => match (flags.delay, flags.speed) {
            (Some(Period(delay)), _) => Pace::Delay(delay),
            (None, speed) => Pace::Recorded {
                speed: speed.unwrap_or(1.0),
            },
        },
    };
    pace.check()
        .map_err(|error| WrongUsage(error.to_string()))?;
    Ok(pace)
}

const RAMP: &str = "--ramp goes from one rate to another: give both, such as --fps 10k..2M";

fn wrong(what: &str) -> Result<Pace> {
    Err(WrongUsage(what.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_may_be_two() {
        let rate = |text: &str| text.parse::<RateOrRange>();
        for (text, from, to) in [
            ("600k/s", None, 600_000.0),
            ("0.5", None, 0.5),
            ("0..1.5M", Some(0.0), 1_500_000.0),
            ("0.25..2k", Some(0.25), 2_000.0),
        ] {
            assert_eq!(rate(text).ok(), Some(RateOrRange { from, to }), "{text}");
        }
        for text in ["", "..", "1..", "..5", "1..2..3", "1-2", "x"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
