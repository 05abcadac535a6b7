//! Datagrams that are sent together.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use forebay_udp::Outgoing;

use crate::counters::{Counters, Tally, TargetCounters};

/// As many as one receive gives.
const BATCH: usize = 64;

/// What is remembered of a datagram until it is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tag {
    pub(super) target: usize,
    pub(super) is_copy: bool,
    /// Whether its target is known to be down.
    pub(super) while_down: bool,
    tally: Tally,
}

impl Tag {
    /// A datagram on its way to its collector.
    pub(super) const fn message(target: usize, tally: Tally) -> Self {
        Self {
            target,
            is_copy: false,
            while_down: false,
            tally,
        }
    }

    pub(super) const fn copy(target: usize, tally: Tally) -> Self {
        Self {
            target,
            is_copy: true,
            while_down: false,
            tally,
        }
    }

    /// Counts it as sent, as almost all are.
    #[inline]
    pub(super) fn sent(&self, counters: &mut Counters, target: &mut TargetCounters) {
        let (all, of_target) = self.tallies(counters, target);
        all.add(self.tally);
        of_target.add(self.tally);
        if self.is_doubtful() {
            counters.sent_while_down += 1;
            target.sent_while_down += 1;
        }
    }

    /// A copy is nobody's loss.
    const fn is_doubtful(&self) -> bool {
        self.while_down && !self.is_copy
    }

    /// It was not sent after all.
    pub(super) fn failed(
        &self,
        reason: &'static str,
        counters: &mut Counters,
        target: &mut TargetCounters,
    ) {
        target.failed.add(reason, 1);
        let reasons = if self.is_copy {
            &mut counters.copies_failed
        } else {
            &mut counters.failed
        };
        reasons.add(reason, 1);
        let (all, of_target) = self.tallies(counters, target);
        all.take(self.tally);
        of_target.take(self.tally);
        if self.is_doubtful() {
            counters.sent_while_down -= 1;
            target.sent_while_down -= 1;
        }
    }

    const fn tallies<'c>(
        &self,
        counters: &'c mut Counters,
        of_target: &'c mut TargetCounters,
    ) -> (&'c mut Tally, &'c mut Tally) {
        if self.is_copy {
            (&mut counters.copied, &mut of_target.copied)
        } else {
            (&mut counters.forwarded, &mut of_target.forwarded)
        }
    }
}

/// Datagrams that are sent together, on the stack: their payloads are borrowed from what was received, so that no buffer
/// can outlive a batch.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    outgoing: [Outgoing<'a>; BATCH],
    tags: [Tag; BATCH],
    count: usize,
}

impl<'a> Batch<'a> {
    #[inline]
    pub(super) const fn new() -> Self {
        const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        const NONE: Tally = Tally {
            datagrams: 0,
            bytes: 0,
            messages: 0,
        };
        let nothing = Outgoing {
            source: NOWHERE,
            destination: NOWHERE,
            payload: &[],
        };
        Self {
            outgoing: [nothing; BATCH],
            tags: [Tag::message(0, NONE); BATCH],
            count: 0,
        }
    }

    /// Adds one; whether the batch is full now.
    #[inline]
    pub(super) fn push(&mut self, outgoing: Outgoing<'a>, tag: Tag) -> bool {
        if let (Some(place), Some(tag_place)) = (
            self.outgoing.get_mut(self.count),
            self.tags.get_mut(self.count),
        ) {
            *place = outgoing;
            *tag_place = tag;
            self.count += 1;
        }
        self.count == BATCH
    }

    /// Empties it.
    #[inline]
    pub(super) fn take(&mut self) -> (&[Outgoing<'a>], &[Tag]) {
        let count = std::mem::take(&mut self.count);
        (
            self.outgoing.get(..count).unwrap_or_default(),
            self.tags.get(..count).unwrap_or_default(),
        )
    }
}
