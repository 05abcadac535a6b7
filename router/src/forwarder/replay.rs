//! What waits for collectors that are down: kept, and sent when they are back.

use std::net::SocketAddr;
use std::sync::Arc;

use forebay_udp::Datagram;
use forebay_wire::Message;

use super::batch::{Batch, Tag};
use super::{Forwarder, TargetState, version};
use crate::counters::Tally;
use crate::outlet::Outlet;
use crate::spool::{Origin, Spool};

/// Messages that are sent from a spool between two batches, at most.
const REPLAY_BATCH: usize = 256;
/// How fast a spool is emptied at least. It goes twice as fast as messages come where that is faster: so it comes to an
/// end, and a collector that keeps up has that much to spare.
const REPLAY_PER_MS: f64 = 20.0;

impl Forwarder {
    /// Keeps a message until its collector is back; whether that went well.
    #[cold]
    pub(super) fn keep(
        &mut self,
        datagram: &Datagram<'_>,
        target: usize,
        tally: Tally,
        origin: Origin,
    ) -> bool {
        let address = self.view.address(target);
        let Some(state) = self.targets.get_mut(target) else {
            return false;
        };
        let spool = match (&mut state.spool, &self.spool) {
            (Some(spool), _) => Some(spool),
            (none, Some(options)) => Some(none.insert(Spool::new(options.clone(), address))),
            (None, None) => None,
        };
        let kept = spool.map(|spool| spool.push(datagram, tally, origin));
        let reason = match kept {
            Some(Ok(())) => {
                self.counters.waiting.add(tally);
                state.counters.waiting.add(tally);
                return true;
            }
            Some(Err(error)) => error.reason(),
            None => "spool_failed",
        };
        state.counters.failed.add(reason, 1);
        self.counters.failed.add(reason, 1);
        self.exporters.failed(datagram.source.ip());
        false
    }

    /// An address that was no target so far: what waits for it since it was one is its own again.
    pub(super) fn returned(&mut self, address: SocketAddr) -> TargetState {
        let mut state = TargetState::default();
        let mut orphans = self.orphans.iter();
        if let Some(place) = orphans.position(|spool| spool.collector() == address) {
            let spool = self.orphans.remove(place);
            state.counters.waiting = spool.waiting();
            state.spool = Some(spool);
        }
        state
    }

    /// Between batches: looks which collectors are up, and sends what waits for those.
    pub fn tend(&mut self, now_us: i64, outlet: &mut impl Outlet) {
        if self.view.refresh(&self.routing) {
            tracing::debug!("the collectors that are up have changed");
        }
        let arrived = std::mem::take(&mut self.arrived);
        let passed_ms = (now_us - self.looked_us).clamp(0, 1_000_000) as f64 / 1_000.0;
        self.looked_us = now_us;
        if !self.replays() {
            self.allowance = 0.0;
            return;
        }
        let more = (2.0 * arrived as f64).max(passed_ms * REPLAY_PER_MS);
        self.allowance = (self.allowance + more).min(REPLAY_BATCH as f64);
        let most = self.allowance as usize;
        self.allowance -= most as f64;
        for target in 0..self.targets.len() {
            self.replay(target, most, outlet);
        }
        self.replay_orphans(most, outlet);
    }

    /// Whether anything waits that can be sent.
    pub(crate) fn replays(&self) -> bool {
        let mut waiting = self
            .targets
            .iter()
            .enumerate()
            .filter(|(_, state)| state.waits());
        !self.orphans.is_empty() || waiting.any(|(target, _)| self.view.is_up(target))
    }

    fn replay(&mut self, target: usize, most: usize, outlet: &mut impl Outlet) {
        let is_up = self.view.is_up(target);
        let Some(state) = self.targets.get_mut(target) else {
            return;
        };
        let Some(spool) = state
            .spool
            .as_mut()
            .filter(|spool| is_up && !spool.is_empty())
        else {
            return;
        };
        let mut taken = std::mem::take(&mut self.taken);
        spool.take(most, &mut taken);
        self.counters.waiting.take_saturating(taken.lost);
        state.counters.waiting.take_saturating(taken.lost);
        if taken.lost.datagrams > 0 {
            self.counters
                .failed
                .add("spool_failed", taken.lost.datagrams);
            state
                .counters
                .failed
                .add("spool_failed", taken.lost.datagrams);
        }
        let mut batch = Batch::new();
        for datagram in taken.iter() {
            let message = Message::parse(datagram.payload).ok();
            let tally = Tally::of(datagram.payload, message.is_some());
            self.counters.waiting.take_saturating(tally);
            if let Some(state) = self.targets.get_mut(target) {
                state.counters.waiting.take_saturating(tally);
            }
            if let Some(message) = &message {
                let incarnation = Some(self.view.incarnation(target));
                let due = self
                    .templates
                    .due(datagram.source, message, incarnation, None);
                if due.collector {
                    self.flush(&mut batch, outlet);
                    self.tell(&datagram, message, target, outlet);
                }
            }
            self.push(
                &datagram,
                target,
                Tag::message(target, tally),
                &mut batch,
                outlet,
            );
        }
        self.flush(&mut batch, outlet);
        self.taken = taken;
    }

    /// Messages for addresses that are no targets any more go where they belong now.
    fn replay_orphans(&mut self, most: usize, outlet: &mut impl Outlet) {
        let Some(spool) = self.orphans.first_mut() else {
            return;
        };
        if most == 0 {
            return;
        }
        let routing = Arc::clone(&self.routing);
        let mut taken = std::mem::take(&mut self.taken);
        spool.take(most, &mut taken);
        if spool.is_empty() {
            self.orphans.remove(0);
        }
        self.counters.waiting.take_saturating(taken.lost);
        if taken.lost.datagrams > 0 {
            self.counters
                .failed
                .add("spool_failed", taken.lost.datagrams);
        }
        let mut batch = Batch::new();
        for datagram in taken.iter() {
            let message = Message::parse(datagram.payload).ok();
            let tally = Tally::of(datagram.payload, message.is_some());
            let version = version(datagram.payload);
            self.counters.waiting.take_saturating(tally);
            self.route(
                &routing,
                &datagram,
                version,
                message.as_ref(),
                tally,
                &mut batch,
                outlet,
            );
        }
        self.flush(&mut batch, outlet);
        self.taken = taken;
    }
}
