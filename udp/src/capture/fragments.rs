//! Puts IP fragments together, within bounds.
//!
//! A datagram whose fragments overlap is dropped whole, and what still comes of it
//! too (RFC 5722, RFC 8200 section 4.5); an exact repeat is ignored, for captures
//! often hold each packet twice.

use super::CaptureCounts;
use super::frame::{Fragment, FragmentKey};

/// Datagrams in the making.
pub(crate) const MAX_PENDING: usize = 512;
/// Their bytes, in all.
const MAX_PENDING_BYTES: usize = 16 << 20;
/// Fragments of one datagram: 65,535 bytes in pieces of 256.
const MAX_FRAGMENTS: usize = 256;
/// RFC 791's datagram, and RFC 8200's without jumbo payload.
const MAX_DATAGRAM_BYTES: usize = 65_535;
/// Waited for the rest, by the capture's clock. RFC 8200 says 60 s, RFC 1122 60–120 s;
/// Linux waits 30.
pub(crate) const WAIT_NS: u64 = 30_000_000_000;

/// The datagrams in the making, and the last one made.
#[derive(Default)]
pub(crate) struct Fragments {
    pending: Vec<Pending>,
    pending_bytes: usize,
    /// The time of the oldest one: nothing can expire until [`WAIT_NS`] after it.
    oldest_ns: u64,
    whole: Vec<u8>,
}

struct Pending {
    key: FragmentKey,
    first_ns: u64,
    /// What the fragmentable part begins with, once the first fragment is here.
    next_header: Option<u8>,
    /// Its length, once the last fragment is here.
    total: Option<usize>,
    /// What is here: (start, end), in no order; none overlaps another.
    parts: Vec<(usize, usize)>,
    /// Their bytes in all.
    held: usize,
    data: Vec<u8>,
    /// The fragments contradict each other: what still comes is dropped.
    spoilt: bool,
}

/// What a fragment did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Waits,
    Completes,
    Spoils,
}

impl Fragments {
    /// Takes a fragment with the bytes that it carries; when it completes its datagram,
    /// returns what that begins with, and [`Self::whole`] holds it.
    pub(crate) fn add(
        &mut self,
        fragment: &Fragment,
        bytes: &[u8],
        now_ns: u64,
        counts: &mut CaptureCounts,
    ) -> Option<u8> {
        self.expire(now_ns, counts);
        let found = self
            .pending
            .iter()
            .position(|pending| pending.key == fragment.key);
        let index = match found {
            Some(index) => index,
            None => {
                if self.pending.len() >= MAX_PENDING {
                    self.give_up_oldest(counts);
                }
                if self.pending.is_empty() {
                    self.oldest_ns = now_ns;
                }
                self.pending.push(Pending::new(fragment.key, now_ns));
                self.pending.len() - 1
            }
        };
        let pending = self.pending.get_mut(index)?;
        if pending.spoilt {
            return None;
        }
        let before = pending.data.len();
        let outcome = pending.add(fragment, bytes);
        let after = pending.data.len();
        self.pending_bytes = self.pending_bytes + after - before;
        match outcome {
            Outcome::Spoils => {
                counts.fragments_malformed += 1;
                None
            }
            Outcome::Completes => {
                let pending = self.pending.swap_remove(index);
                self.pending_bytes -= pending.data.len();
                self.whole = pending.data;
                pending.next_header
            }
            Outcome::Waits => {
                while self.pending_bytes > MAX_PENDING_BYTES {
                    self.give_up_oldest(counts);
                }
                None
            }
        }
    }

    /// The last datagram made, without its IP header.
    pub(crate) fn whole(&self) -> &[u8] {
        &self.whole
    }

    /// Gives up what is unfinished: nothing more comes.
    pub(crate) fn finish(&mut self, counts: &mut CaptureCounts) {
        for pending in self.pending.drain(..) {
            counts.fragments_expired += u64::from(!pending.spoilt);
        }
        self.pending_bytes = 0;
    }

    fn expire(&mut self, now_ns: u64, counts: &mut CaptureCounts) {
        if now_ns.saturating_sub(self.oldest_ns) < WAIT_NS {
            return;
        }
        let mut oldest_ns = u64::MAX;
        let pending_bytes = &mut self.pending_bytes;
        self.pending.retain(|pending| {
            let keep = now_ns.saturating_sub(pending.first_ns) < WAIT_NS;
            if keep {
                oldest_ns = oldest_ns.min(pending.first_ns);
            } else {
                *pending_bytes -= pending.data.len();
                counts.fragments_expired += u64::from(!pending.spoilt);
            }
            keep
        });
        self.oldest_ns = oldest_ns;
    }

    fn give_up_oldest(&mut self, counts: &mut CaptureCounts) {
        let oldest = self
            .pending
            .iter()
            .enumerate()
            .min_by_key(|(_, pending)| pending.first_ns)
            .map(|(index, _)| index);
        let Some(index) = oldest else { return };
        let pending = self.pending.swap_remove(index);
        self.pending_bytes -= pending.data.len();
        counts.fragments_over_limit += u64::from(!pending.spoilt);
    }
}

impl Pending {
    fn new(key: FragmentKey, first_ns: u64) -> Self {
        Self {
            key,
            first_ns,
            next_header: None,
            total: None,
            parts: Vec::new(),
            held: 0,
            data: Vec::new(),
            spoilt: false,
        }
    }

    fn add(&mut self, fragment: &Fragment, bytes: &[u8]) -> Outcome {
        match self.try_add(fragment, bytes) {
            Some(outcome) => outcome,
            None => {
                self.spoilt = true;
                self.data = Vec::new();
                self.parts = Vec::new();
                Outcome::Spoils
            }
        }
    }

    /// `None` if the fragment contradicts what is here, or is one too many.
    fn try_add(&mut self, fragment: &Fragment, bytes: &[u8]) -> Option<Outcome> {
        let (start, end) = (fragment.offset, fragment.offset + bytes.len());
        if bytes.is_empty() || end > MAX_DATAGRAM_BYTES {
            return None;
        }
        if fragment.more && !bytes.len().is_multiple_of(8) {
            return None;
        }
        if self.parts.contains(&(start, end)) {
            let same = self.data.get(start..end) == Some(bytes);
            return same.then_some(Outcome::Waits);
        }
        let overlaps =
            |&(other_start, other_end): &(usize, usize)| start < other_end && other_start < end;
        if self.parts.len() >= MAX_FRAGMENTS || self.parts.iter().any(overlaps) {
            return None;
        }
        if !fragment.more {
            // A second, different last fragment, or parts behind the end.
            if self.total.is_some() || self.data.len() > end {
                return None;
            }
            self.total = Some(end);
        } else if self.total.is_some_and(|total| end > total) {
            return None;
        }
        if start == 0 {
            self.next_header = Some(fragment.next_header);
        }
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data.get_mut(start..end)?.copy_from_slice(bytes);
        self.parts.push((start, end));
        self.held += bytes.len();
        Some(if self.total == Some(self.held) {
            Outcome::Completes
        } else {
            Outcome::Waits
        })
    }
}
