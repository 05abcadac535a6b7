//! A thread's engine: takes datagrams and sends each to its collector.
//!
//! ```text
//! datagram → version → route → pin, or hash → table ─┬─ up ──── batch → outlet
//!                                    + copies        └─ down ── hold │ spread │ spool
//! ```
//!
//! It owns all that it knows of its exporters, so it takes no lock. Nothing of it allocates, logs or reads a clock per
//! datagram, except where a collector comes or goes, and where an exporter or a template is new.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use forebay_udp::{Datagram, Outgoing};
use forebay_wire::Message;

use crate::config::{Down, Limits, VERSIONS};
use crate::counters::{Counters, Reasons, Tally, TargetCounters};
use crate::exporters::Exporters;
use crate::outlet::{Outlet, reason};
use crate::routing::{Place, Routing, Seen, View};
use crate::spool::{Origin, Spool, SpoolOptions, Taken};
use crate::templates::{Due, Scratch, Templates, defines_templates};

mod batch;
mod recovery;
mod replay;

use batch::{Batch, Tag};
pub(crate) use recovery::recover;
use replay::Pace;

/// Why nothing is sent to an address that has become this router's own: it would come back, for ever.
const LOOP: &str = "loop";

/// What a thread counted of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteCounters {
    /// The versions that it takes.
    pub versions: Vec<u8>,
    /// What it took.
    pub received: Tally,
    /// The same by shard.
    pub shards: Vec<Tally>,
}

/// An address and what went there.
#[derive(Debug, Default)]
struct TargetState {
    counters: TargetCounters,
    spool: Option<Spool>,
    pace: Pace,
    /// What an earlier run left for it is being read.
    recovers: bool,
}

impl TargetState {
    fn waits(&self) -> bool {
        self.recovers || self.spool.as_ref().is_some_and(|spool| !spool.is_empty())
    }
}

/// A thread's engine.
#[derive(Debug)]
pub struct Forwarder {
    routing: Arc<Routing>,
    view: View,
    pub(crate) exporters: Exporters,
    pub(crate) templates: Templates,
    counters: Counters,
    routes: Vec<RouteCounters>,
    targets: Vec<TargetState>,
    /// By route and copy: messages since the last that was copied.
    copy_turns: Vec<Vec<u32>>,
    spool: Option<SpoolOptions>,
    /// Spools of addresses that are no targets any more: their messages find new ones. Behind them, what came since.
    orphans: Vec<Spool>,
    orphans_pace: Pace,
    /// Whose messages of an earlier run are being read.
    recovering: Vec<SocketAddr>,
    /// Some of them are no targets: what they left goes to others.
    recovers_orphans: bool,
    scratch: Scratch,
    taken: Taken,
    /// The latest time of receipt.
    latest_ns: u64,
    /// When it was last looked at the spools.
    looked_us: i64,
}

impl Forwarder {
    /// Sends as `routing` says. For a collector that is down nothing can be kept: what should be is counted as failed.
    #[must_use]
    pub fn new(routing: Arc<Routing>, limits: Limits) -> Self {
        Self::make(routing, limits, None)
    }

    /// As [`new`](Self::new), and keeps there what is for a collector that is down.
    pub(crate) fn with_spool(routing: Arc<Routing>, limits: Limits, spool: SpoolOptions) -> Self {
        Self::make(routing, limits, Some(spool))
    }

    fn make(routing: Arc<Routing>, limits: Limits, spool: Option<SpoolOptions>) -> Self {
        let mut forwarder = Self {
            view: View::new(&routing),
            exporters: Exporters::new(limits.exporters),
            templates: Templates::new(limits),
            counters: Counters::default(),
            routes: Vec::new(),
            targets: Vec::new(),
            copy_turns: Vec::new(),
            spool,
            orphans: Vec::new(),
            orphans_pace: Pace::default(),
            recovering: Vec::new(),
            recovers_orphans: false,
            scratch: Scratch::default(),
            taken: Taken::default(),
            latest_ns: 0,
            looked_us: 0,
            routing: Arc::clone(&routing),
        };
        forwarder.adopt(routing);
        forwarder
    }

    /// Goes on with another configuration. What is known of exporters, and of the collectors that stay, is kept.
    pub fn adopt(&mut self, routing: Arc<Routing>) {
        let mut before: Vec<(SocketAddr, TargetState)> = self
            .routing
            .targets
            .iter()
            .map(|target| target.address())
            .zip(self.targets.drain(..))
            .collect();
        for target in &routing.targets {
            let known = before
                .iter()
                .position(|(address, _)| *address == target.address());
            let state = known.map(|place| before.swap_remove(place).1);
            let state = state.unwrap_or_else(|| self.returned(target.address()));
            self.targets.push(state);
        }
        let left = before.into_iter().filter_map(|(_, state)| state.spool);
        // In front: what is in them is older than what waits to get there.
        self.orphans
            .splice(0..0, left.filter(|spool| !spool.is_empty()));
        let mut known = std::mem::take(&mut self.routes);
        for route in &routing.routes {
            let shards = route.shards.get() as usize;
            let same = |of: &RouteCounters| of.versions == route.versions;
            let place = known.iter().position(same);
            let mut counters = place
                .map(|place| known.swap_remove(place))
                .unwrap_or_default();
            counters.versions.clone_from(&route.versions);
            if counters.shards.len() != shards {
                // Another split: its shards have nothing to do with the ones before.
                counters.shards = vec![Tally::default(); shards];
            }
            self.routes.push(counters);
        }
        self.copy_turns = routing
            .routes
            .iter()
            .map(|route| vec![0; route.copies.len()])
            .collect();
        self.view = View::new(&routing);
        self.routing = routing;
        self.mark_recovering();
    }

    /// Sends a batch of datagrams on; returns how many there were.
    pub fn forward<'a>(
        &mut self,
        datagrams: impl Iterator<Item = Datagram<'a>>,
        outlet: &mut impl Outlet,
    ) -> usize {
        let routing = Arc::clone(&self.routing);
        let mut batch = Batch::new();
        let mut count = 0;
        for datagram in datagrams {
            count += 1;
            let message = Message::parse(datagram.payload).ok();
            let tally = Tally::of(datagram.payload, message.is_some());
            let version = version(datagram.payload);
            self.counters.received.add(tally);
            self.counters.count_version(version, tally);
            let exporter = self.exporters.heard(datagram.source.ip());
            exporter.received.add(tally);
            exporter.last_ns = datagram.received_ns;
            // What came later has a later time, even if somebody sets the clock back: templates go by it.
            self.latest_ns = self.latest_ns.max(datagram.received_ns);
            let datagram = Datagram {
                received_ns: self.latest_ns,
                ..datagram
            };
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
        self.orphans_pace.arrived += count;
        count
    }

    /// Sends a datagram to where it belongs, which is counted as received.
    #[expect(clippy::too_many_arguments, reason = "all of them are of one datagram")]
    #[inline]
    fn route<'a>(
        &mut self,
        routing: &Routing,
        datagram: &Datagram<'a>,
        version: Option<u16>,
        message: Option<&Message<'a>>,
        tally: Tally,
        batch: &mut Batch<'a>,
        outlet: &mut impl Outlet,
    ) {
        let place = version.and_then(|version| routing.place(version, datagram.source.ip()));
        match (place, routing.default) {
            (Some(place), _) => {
                self.deliver(routing, datagram, message, place, tally, batch, outlet);
            }
            (None, Some(_)) if self.has_orphans() => self.keep_behind(datagram, tally),
            (None, Some(target)) => {
                self.push(datagram, target, Tag::message(target, tally), batch, outlet)
            }
            (None, None) => self.reject(version, datagram.source.ip(), tally),
        }
    }

    /// Counts a datagram that has no place to go to.
    fn reject(&mut self, version: Option<u16>, exporter: IpAddr, tally: Tally) {
        let reason = match version {
            None => "too_short",
            Some(version) if VERSIONS.iter().any(|known| u16::from(*known) == version) => {
                "no_route"
            }
            Some(_) => "unknown_version",
        };
        self.counters.rejected.add(reason, 1);
        self.exporters.heard(exporter).rejected.add(tally);
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are of one datagram")]
    #[inline]
    fn deliver<'a>(
        &mut self,
        routing: &Routing,
        datagram: &Datagram<'a>,
        message: Option<&Message<'a>>,
        place: Place,
        tally: Tally,
        batch: &mut Batch<'a>,
        outlet: &mut impl Outlet,
    ) {
        let Some(route) = routing.routes.get(place.route) else {
            return;
        };
        if let Some(counters) = self.routes.get_mut(place.route) {
            counters.received.add(tally);
            if let Some(shard) = counters.shards.get_mut(place.shard as usize) {
                shard.add(tally);
            }
        }
        let target = self.view.target(route, place);
        let behind = self.has_orphans();
        let mut waits = false;
        if let Some(state) = self.targets.get_mut(target) {
            state.pace.arrived += 1;
            waits = state.waits();
        }
        let spooled = behind || waits || route.down == Down::Spool && !self.view.is_up(target);
        let mut has_templates = false;
        if let Some(message @ (Message::V9(_) | Message::Ipfix(_))) = message {
            let collector = (!spooled).then(|| self.view.incarnation(target));
            let copies = self.view.copies(place.route);
            let source = datagram.source;
            let received_ns = datagram.received_ns;
            let due = self
                .templates
                .due(source, message, received_ns, collector, copies);
            if due != Due::default() {
                self.flush(batch, outlet);
                let mut failed = Due::default();
                if due.collector {
                    failed.collector = !self.tell(datagram, message, target, outlet);
                }
                for copy in route.copies.iter().filter(|_| due.copies) {
                    failed.copies |= !self.tell(datagram, message, copy.target, outlet);
                }
                if failed != Due::default() {
                    self.templates
                        .not_told(source, message, received_ns, failed);
                }
            }
            let told = (collector.unwrap_or(0), copies.unwrap_or(0));
            has_templates = self.templates.learn(source, message, received_ns, told);
        }
        if behind {
            self.keep_behind(datagram, tally);
        } else if spooled {
            self.keep(datagram, target, tally, Origin::Received);
        } else {
            self.push(datagram, target, Tag::message(target, tally), batch, outlet);
        }
        for (index, copy) in route.copies.iter().enumerate() {
            let turns = self.copy_turns.get_mut(place.route);
            let Some(turn) = turns.and_then(|turns| turns.get_mut(index)) else {
                continue;
            };
            let is_due = *turn == 0;
            *turn = (*turn + 1) % copy.every;
            // Without its templates, a part of the messages is worth nothing.
            if is_due || has_templates {
                let tag = Tag::copy(copy.target, tally);
                self.push(datagram, copy.target, tag, batch, outlet);
            }
        }
    }

    /// Puts a datagram into the batch.
    #[inline]
    fn push<'a>(
        &mut self,
        datagram: &Datagram<'a>,
        target: usize,
        mut tag: Tag,
        batch: &mut Batch<'a>,
        outlet: &mut impl Outlet,
    ) {
        let seen = self.view.seen(target);
        let outgoing = Outgoing {
            source: datagram.source,
            destination: seen.address,
            payload: datagram.payload,
        };
        tag.while_down = !seen.up;
        if let Some(state) = self.targets.get_mut(target) {
            tag.sent(&mut self.counters, &mut state.counters);
        }
        if seen.loops {
            self.not_sent(&outgoing, tag, LOOP);
        } else if batch.push(outgoing, tag) {
            self.flush(batch, outlet);
        }
    }

    /// A datagram that was counted as sent was not, after all.
    #[cold]
    fn not_sent(&mut self, outgoing: &Outgoing<'_>, tag: Tag, reason: &'static str) {
        let Some(state) = self.targets.get_mut(tag.target) else {
            return;
        };
        tag.failed(reason, &mut self.counters, &mut state.counters);
        if !tag.is_copy {
            self.exporters.failed(outgoing.source.ip());
        }
        let whom = Due {
            collector: !tag.is_copy,
            copies: tag.is_copy,
        };
        self.templates_lost(outgoing.source, outgoing.payload, self.latest_ns, whom);
    }

    /// The templates in a message that does not get there are not known there.
    #[cold]
    fn templates_lost(&mut self, source: SocketAddr, payload: &[u8], received_ns: u64, whom: Due) {
        if let Ok(message) = Message::parse(payload)
            && defines_templates(&message)
        {
            self.templates.not_told(source, &message, received_ns, whom);
        }
    }

    /// Sends what is in the batch.
    #[inline]
    fn flush(&mut self, batch: &mut Batch<'_>, outlet: &mut impl Outlet) {
        let (outgoing, tags) = batch.take();
        if outgoing.is_empty() {
            return;
        }
        outlet.send(outgoing, &mut |index, error| {
            if let (Some(tag), Some(outgoing)) = (tags.get(index), outgoing.get(index)) {
                self.not_sent(outgoing, *tag, reason(&error));
            }
        });
        outlet.refused(&mut |address| self.refused(address));
    }

    /// An address refused a datagram that was sent to it before.
    #[cold]
    fn refused(&mut self, address: SocketAddr) {
        let mut targets = self.routing.targets.iter();
        let Some(place) = targets.position(|target| target.address() == address) else {
            return;
        };
        if let Some(target) = self.routing.targets.get(place) {
            target.refuse();
        }
        let is_up = self.view.is_up(place);
        if let Some(state) = self.targets.get_mut(place) {
            let counters = &mut state.counters;
            // Else it was counted when it was sent. Or it was a copy.
            if is_up && counters.sent_while_down < counters.forwarded.datagrams {
                counters.sent_while_down += 1;
                self.counters.sent_while_down += 1;
            }
        }
    }

    /// Sends a target the templates of a session, before the message that follows; whether all went out.
    #[cold]
    fn tell(
        &mut self,
        datagram: &Datagram<'_>,
        follows: &Message<'_>,
        target: usize,
        outlet: &mut impl Outlet,
    ) -> bool {
        let Seen {
            address: destination,
            loops,
            ..
        } = self.view.seen(target);
        let Some(state) = self.targets.get_mut(target) else {
            return false;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let (source, received_ns) = (datagram.source, datagram.received_ns);
        let mut failed = 0;
        let each = |source: SocketAddr, payload: &[u8]| {
            let outgoing = Outgoing {
                source,
                destination,
                payload,
            };
            let mut not_sent = |reason| {
                failed += 1;
                state.counters.failed.add(reason, 1);
            };
            if loops {
                not_sent(LOOP);
            } else {
                outlet.send(&[outgoing], &mut |_, error| not_sent(reason(&error)));
            }
        };
        let templates = &self.templates;
        let count = templates.messages(source, follows, received_ns, &mut scratch, each);
        state.counters.templates_sent += count - failed;
        self.counters.templates_sent += count - failed;
        self.counters.templates_failed += failed;
        self.scratch = scratch;
        failed == 0
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The same by route.
    #[must_use]
    pub fn routes(&self) -> &[RouteCounters] {
        &self.routes
    }

    /// The same by address.
    pub fn targets(&self) -> impl Iterator<Item = (SocketAddr, &TargetCounters)> {
        let addresses = self.routing.targets.iter().map(|target| target.address());
        addresses.zip(self.targets.iter().map(|state| &state.counters))
    }

    /// Why sends to addresses failed: to be logged once in a while.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (SocketAddr, &Reasons)> {
        self.targets()
            .map(|(address, counters)| (address, &counters.failed))
    }
}

/// What the first two bytes say.
#[inline]
fn version(payload: &[u8]) -> Option<u16> {
    payload
        .first_chunk()
        .map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
