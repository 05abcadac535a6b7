//! Counters: every datagram ends in one.

use crate::config::VERSIONS;

/// Counts by reason. There are few reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons(Vec<(&'static str, u64)>);

impl Reasons {
    /// Counts `count` more for a reason.
    pub fn add(&mut self, reason: &'static str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, total)) => *total += count,
            None => self.0.push((reason, count)),
        }
    }

    /// The reasons that were given, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The sum of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        for (reason, count) in other.iter() {
            self.add(reason, count);
        }
    }
}

/// Datagrams, their bytes, and how many of them were messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Those with the whole header of a known version.
    pub messages: u64,
}

impl Tally {
    /// Of one datagram.
    pub(crate) const fn of(payload: &[u8], is_message: bool) -> Self {
        Self {
            datagrams: 1,
            bytes: payload.len() as u64,
            messages: is_message as u64,
        }
    }

    /// Adds another's counts.
    #[inline]
    pub const fn add(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.messages += other.messages;
    }

    /// As [`take`](Self::take), but of what a file holds that others may have changed.
    pub(crate) const fn take_saturating(&mut self, other: Self) {
        self.datagrams = self.datagrams.saturating_sub(other.datagrams);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.messages = self.messages.saturating_sub(other.messages);
    }

    /// Takes back what was added.
    pub(crate) const fn take(&mut self, other: Self) {
        self.datagrams -= other.datagrams;
        self.bytes -= other.bytes;
        self.messages -= other.messages;
    }
}

/// What a thread has done with datagrams.
///
/// `received + recovered = forwarded + rejected + failed + waiting`, between batches. What is sent besides (copies and
/// templates) is counted apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// What came in.
    pub received: Tally,
    /// What an earlier run had left in its spool.
    pub recovered: Tally,
    /// What was sent to its collector, or to the default.
    pub forwarded: Tally,
    /// Datagrams among those that may be lost: sent while the collector was known to be down. What it refused before, as
    /// far as the kernel told, is among them.
    pub sent_while_down: u64,
    /// What waits in the spool now.
    pub waiting: Tally,
    /// Datagrams that have no place to go to, by reason.
    pub rejected: Reasons,
    /// Datagrams that could not be sent or kept, by reason.
    pub failed: Reasons,
    /// Copies that were sent.
    pub copied: Tally,
    /// Copies that could not be sent, by reason.
    pub copies_failed: Reasons,
    /// Messages of templates that were sent.
    pub templates_sent: u64,
    /// Those that could not be sent.
    pub templates_failed: u64,
    /// What came in, by version: those of [`VERSIONS`], and all others.
    pub versions: [Tally; VERSIONS.len() + 1],
}

impl Counters {
    /// Adds another thread's.
    pub fn add(&mut self, other: &Self) {
        self.received.add(other.received);
        self.recovered.add(other.recovered);
        self.forwarded.add(other.forwarded);
        self.sent_while_down += other.sent_while_down;
        self.waiting.add(other.waiting);
        self.rejected.add_all(&other.rejected);
        self.failed.add_all(&other.failed);
        self.copied.add(other.copied);
        self.copies_failed.add_all(&other.copies_failed);
        self.templates_sent += other.templates_sent;
        self.templates_failed += other.templates_failed;
        for (own, others) in self.versions.iter_mut().zip(other.versions) {
            own.add(others);
        }
    }

    /// Datagrams whose end is not known: none, or there is a bug.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let ended = self.forwarded.datagrams
            + self.rejected.total()
            + self.failed.total()
            + self.waiting.datagrams;
        let came = self.received.datagrams + self.recovered.datagrams;
        came.cast_signed() - ended.cast_signed()
    }

    /// What came in, by the version's number; `None` for all others.
    pub fn by_version(&self) -> impl Iterator<Item = (Option<u8>, Tally)> + '_ {
        let names = VERSIONS.into_iter().map(Some).chain([None]);
        names.zip(self.versions)
    }

    #[inline]
    pub(crate) fn count_version(&mut self, version: Option<u16>, tally: Tally) {
        let known = version.and_then(|version| {
            let mut known = VERSIONS.iter();
            known.position(|known| u16::from(*known) == version)
        });
        if let Some(slot) = self.versions.get_mut(known.unwrap_or(VERSIONS.len())) {
            slot.add(tally);
        }
    }
}

/// What went to a collector, or to another address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetCounters {
    /// Datagrams sent.
    pub forwarded: Tally,
    /// Those of them that may be lost: sent while it was known to be down, or refused as far as the kernel told.
    pub sent_while_down: u64,
    /// Datagrams that wait in its spool.
    pub waiting: Tally,
    /// Copies sent.
    pub copied: Tally,
    /// Messages of templates sent.
    pub templates_sent: u64,
    /// What could not be sent or kept, by reason: datagrams, copies, and messages of templates.
    pub failed: Reasons,
}

impl TargetCounters {
    /// Adds another thread's.
    pub fn add(&mut self, other: &Self) {
        self.forwarded.add(other.forwarded);
        self.sent_while_down += other.sent_while_down;
        self.waiting.add(other.waiting);
        self.copied.add(other.copied);
        self.templates_sent += other.templates_sent;
        self.failed.add_all(&other.failed);
    }
}
