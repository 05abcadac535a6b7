//! A line on the terminal that tells how far long work has come. In a pipe it is silent.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::clock;

/// How often the line changes at most.
const INTERVAL: Duration = Duration::from_millis(200);

/// The line at the bottom of the terminal.
pub(crate) struct StatusLine {
    is_terminal: bool,
    shown_at: Option<Instant>,
}

impl StatusLine {
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            shown_at: None,
        }
    }

    /// Shows what `text` makes, if it is time to.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        let now = clock::now();
        let due = self
            .shown_at
            .is_none_or(|shown| now.duration_since(shown) >= INTERVAL);
        if self.is_terminal && due {
            self.shown_at = Some(now);
            write(&text());
        }
    }

    /// Wipes the line, so that something else can be written.
    pub(crate) fn clear(&mut self) {
        if self.shown_at.take().is_some() {
            write("");
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

fn write(text: &str) {
    // Back to the first column, and clear to the end. A terminal that is gone misses nothing.
    let _gone = write!(io::stderr(), "\r\x1b[K{text}");
}

/// The time over which a rate is told.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// How fast something came lately.
pub(crate) struct Rates {
    since: Instant,
    count: u64,
    per_second: u64,
}

impl Rates {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            per_second: 0,
        }
    }

    /// How many a second, where `count` have come in all.
    pub(crate) fn per_second(&mut self, count: u64, now: Instant) -> u64 {
        let passed = now.duration_since(self.since);
        // The first is told early.
        if passed >= RATE_INTERVAL || self.count == 0 && !passed.is_zero() {
            let new = count.saturating_sub(self.count);
            self.per_second = (new as f64 / passed.as_secs_f64()) as u64;
            self.count = count;
            self.since = now;
        }
        self.per_second
    }
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 flow`, `2,000 flows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(counted(1, "flow"), "1 flow");
        assert_eq!(counted(2_000, "flow"), "2,000 flows");
    }
}
