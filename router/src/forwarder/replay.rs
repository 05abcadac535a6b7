//! What waits for collectors that are down: kept, and sent when they are back.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use forebay_udp::Datagram;
use forebay_wire::Message;

use super::batch::{Batch, Tag};
use super::{Due, Forwarder, TargetState, version};
use crate::config::Down;
use crate::counters::Tally;
use crate::outlet::Outlet;
use crate::routing::Routing;
use crate::spool::{NotKept, Origin, Spool};

/// Messages that are sent from a spool between two batches, at most.
const REPLAY_BATCH: usize = 256;
/// How fast a spool is emptied at least. It goes twice as fast as messages come where that is faster: so it comes to an
/// end, and a collector that keeps up has that much to spare.
const REPLAY_PER_MS: f64 = 20.0;

/// The collector of messages that wait behind those for addresses that are no targets any more.
pub(super) const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// How fast a spool is emptied.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What came since the last look.
    pub(super) arrived: usize,
    allowance: f64,
}

impl Pace {
    /// How many messages may be sent now. `arrived` are those that came for the same collector.
    fn allow(&mut self, arrived: f64, passed_ms: f64) -> usize {
        let more = (2.0 * arrived).max(passed_ms * REPLAY_PER_MS);
        self.allowance = (self.allowance + more).min(REPLAY_BATCH as f64);
        let most = self.allowance as usize;
        self.allowance -= most as f64;
        most
    }
}

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
        let kept = self
            .spool_of(target)
            .map(|spool| push(spool, datagram, tally, origin));
        self.count_kept(datagram, Some(target), tally, kept)
    }

    /// Keeps a message until those for addresses that are no targets any more are sent: some of them may be older ones
    /// of its exporter.
    #[cold]
    pub(super) fn keep_behind(&mut self, datagram: &Datagram<'_>, tally: Tally) {
        self.keep_for_nobody(datagram, tally, Origin::Received);
    }

    /// As [`keep_behind`](Self::keep_behind); whether that went well.
    pub(super) fn keep_for_nobody(
        &mut self,
        datagram: &Datagram<'_>,
        tally: Tally,
        origin: Origin,
    ) -> bool {
        let kept = self
            .spool_behind()
            .map(|spool| push(spool, datagram, tally, origin));
        self.count_kept(datagram, None, tally, kept)
    }

    /// Counts a message that was to be kept, and what got lost on the way; whether nothing did.
    fn count_kept(
        &mut self,
        datagram: &Datagram<'_>,
        target: Option<usize>,
        tally: Tally,
        kept: Option<(Result<(), NotKept>, Tally)>,
    ) -> bool {
        let (kept, lost) = kept.unwrap_or((Err(NotKept::Failed), Tally::default()));
        self.count_lost(target, lost);
        let state = target.and_then(|target| self.targets.get_mut(target));
        let Err(error) = kept else {
            self.counters.waiting.add(tally);
            if let Some(state) = state {
                state.counters.waiting.add(tally);
            }
            return lost.datagrams == 0;
        };
        self.counters.failed.add(error.reason(), 1);
        if let Some(state) = state {
            state.counters.failed.add(error.reason(), 1);
        }
        self.exporters.failed(datagram.source.ip());
        let whom = Due {
            collector: true,
            copies: false,
        };
        self.templates_lost(
            datagram.source,
            datagram.payload,
            datagram.received_ns,
            whom,
        );
        false
    }

    /// Counts what waited and is not there any more.
    fn count_lost(&mut self, target: Option<usize>, lost: Tally) {
        if lost.datagrams == 0 {
            return;
        }
        let reason = NotKept::Failed.reason();
        self.counters.waiting.take_saturating(lost);
        self.counters.failed.add(reason, lost.datagrams);
        if let Some(state) = target.and_then(|target| self.targets.get_mut(target)) {
            state.counters.waiting.take_saturating(lost);
            state.counters.failed.add(reason, lost.datagrams);
        }
        self.exporters.others_failed(lost.datagrams);
    }

    /// At the end: what waits is put into its files, and what they do not take is counted.
    pub(crate) fn close_spools(&mut self) {
        for target in 0..self.targets.len() {
            let state = self.targets.get_mut(target);
            let spool = state.and_then(|state| state.spool.as_mut());
            let lost = spool.map(Spool::close_and_count);
            self.count_lost(Some(target), lost.unwrap_or_default());
        }
        let mut lost = Tally::default();
        for spool in &mut self.orphans {
            lost.add(spool.close_and_count());
        }
        self.count_lost(None, lost);
    }

    /// What waits for a target.
    pub(super) fn spool_of(&mut self, target: usize) -> Option<&mut Spool> {
        let address = self.view.seen(target).address;
        let state = self.targets.get_mut(target)?;
        match (&mut state.spool, &self.spool) {
            (Some(spool), _) => Some(spool),
            (none, Some(options)) => Some(none.insert(Spool::new(options.clone(), address))),
            (None, None) => None,
        }
    }

    /// What waits behind the messages for addresses that are no targets any more.
    pub(super) fn spool_behind(&mut self) -> Option<&mut Spool> {
        let is_there = |last: &Spool| last.collector() == NOBODY;
        if !self.orphans.last().is_some_and(is_there)
            && let Some(options) = &self.spool
        {
            self.orphans.push(Spool::new(options.clone(), NOBODY));
        }
        self.orphans.last_mut()
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
        let passed_ms = (now_us - self.looked_us).clamp(0, 1_000_000) as f64 / 1_000.0;
        self.looked_us = now_us;
        for target in 0..self.targets.len() {
            self.replay(target, passed_ms, outlet);
        }
        self.replay_orphans(passed_ms, outlet);
    }

    /// Whether anything waits that can be sent, or will be there soon.
    pub(crate) fn replays(&self) -> bool {
        if !self.recovering.is_empty() {
            return true;
        }
        let mut waiting = self
            .targets
            .iter()
            .enumerate()
            .filter(|(_, state)| state.waits());
        !self.orphans.is_empty() || waiting.any(|(target, _)| self.view.is_up(target))
    }

    fn replay(&mut self, target: usize, passed_ms: f64, outlet: &mut impl Outlet) {
        let is_up = self.view.is_up(target);
        let Some(state) = self.targets.get_mut(target) else {
            return;
        };
        let arrived = std::mem::take(&mut state.pace.arrived);
        let goes = is_up && !state.recovers;
        let spool = state.spool.as_mut().filter(|spool| !spool.is_empty());
        let Some(spool) = spool.filter(|_| goes) else {
            state.pace = Pace::default();
            return;
        };
        let most = state.pace.allow(arrived as f64, passed_ms);
        let mut taken = std::mem::take(&mut self.taken);
        spool.take(most, &mut taken);
        self.count_lost(Some(target), taken.lost);
        let mut batch = Batch::new();
        for datagram in taken.iter() {
            let message = Message::parse(datagram.payload).ok();
            let tally = Tally::of(datagram.payload, message.is_some());
            self.counters.waiting.take_saturating(tally);
            if let Some(state) = self.targets.get_mut(target) {
                state.counters.waiting.take_saturating(tally);
            }
            self.send_kept(
                &datagram,
                message.as_ref(),
                target,
                tally,
                &mut batch,
                outlet,
            );
        }
        self.flush(&mut batch, outlet);
        self.taken = taken;
    }

    /// Messages for addresses that are no targets any more go where they belong now, and then what came since. Copies
    /// of them were sent when they came.
    fn replay_orphans(&mut self, passed_ms: f64, outlet: &mut impl Outlet) {
        let arrived = std::mem::take(&mut self.orphans_pace.arrived) as f64;
        let orphans = self.orphans.first_mut();
        let Some(spool) = orphans.filter(|_| self.recovering.is_empty()) else {
            self.orphans_pace = Pace::default();
            return;
        };
        // What one collector left may go to one other: at the pace of what comes for one. What came since is of all.
        let collectors = if spool.collector() == NOBODY {
            1
        } else {
            self.targets.len().max(1)
        };
        let most = self
            .orphans_pace
            .allow(arrived / collectors as f64, passed_ms);
        if most == 0 {
            return;
        }
        let mut taken = std::mem::take(&mut self.taken);
        spool.take(most, &mut taken);
        if spool.is_empty() {
            self.orphans.remove(0);
        }
        self.count_lost(None, taken.lost);
        let routing = Arc::clone(&self.routing);
        let mut batch = Batch::new();
        for datagram in taken.iter() {
            self.replay_orphan(&routing, &datagram, &mut batch, outlet);
        }
        self.flush(&mut batch, outlet);
        self.taken = taken;
    }

    /// Sends such a message to where it belongs now, or keeps it there.
    fn replay_orphan<'a>(
        &mut self,
        routing: &Routing,
        datagram: &Datagram<'a>,
        batch: &mut Batch<'a>,
        outlet: &mut impl Outlet,
    ) {
        let message = Message::parse(datagram.payload).ok();
        let tally = Tally::of(datagram.payload, message.is_some());
        let (version, exporter) = (version(datagram.payload), datagram.source.ip());
        self.counters.waiting.take_saturating(tally);
        let place = version.and_then(|version| routing.place(version, exporter));
        let route = place.and_then(|place| Some((place, routing.routes.get(place.route)?)));
        let (target, spools) = match (route, routing.default) {
            (Some((place, route)), _) => {
                (self.view.target(route, place), route.down == Down::Spool)
            }
            (None, Some(target)) => (target, false),
            (None, None) => {
                self.reject(version, exporter, tally);
                return;
            }
        };
        let waits = self.targets.get(target).is_some_and(TargetState::waits);
        if waits || spools && !self.view.is_up(target) {
            self.keep(datagram, target, tally, Origin::Received);
        } else {
            self.send_kept(datagram, message.as_ref(), target, tally, batch, outlet);
        }
    }

    /// Sends a message out of a spool.
    fn send_kept<'a>(
        &mut self,
        datagram: &Datagram<'a>,
        message: Option<&Message<'a>>,
        target: usize,
        tally: Tally,
        batch: &mut Batch<'a>,
        outlet: &mut impl Outlet,
    ) {
        if let Some(message) = message {
            let (source, received_ns) = (datagram.source, datagram.received_ns);
            let incarnation = Some(self.view.incarnation(target));
            let due = self
                .templates
                .due(source, message, received_ns, incarnation, None);
            if due.collector {
                self.flush(batch, outlet);
                if !self.tell(datagram, message, target, outlet) {
                    self.templates.not_told(source, message, received_ns, due);
                }
            }
        }
        self.push(datagram, target, Tag::message(target, tally), batch, outlet);
    }
}

/// Puts a message into a spool; with it, what of those before did not reach the disk.
fn push(
    spool: &mut Spool,
    datagram: &Datagram<'_>,
    tally: Tally,
    origin: Origin,
) -> (Result<(), NotKept>, Tally) {
    let kept = spool.push(datagram, tally, origin);
    (kept, spool.take_lost())
}
