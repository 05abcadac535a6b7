//! What an earlier run left in its spool. A file of as many threads as there are now goes on as it is; else its messages
//! are written anew, for the threads that have their exporters now.

use std::net::SocketAddr;
use std::path::Path;

use forebay_udp::capture::{CaptureError, CaptureReader};
use forebay_udp::{Datagram, shard_of};
use forebay_wire::Message;

use super::Forwarder;
use super::replay::NOBODY;
use crate::counters::Tally;
use crate::spool::{Leftover, Origin, SyncError, remove, sync_folder};

/// What became of a file that an earlier run left.
enum Outcome {
    /// It goes on as it is.
    TakenOver,
    /// All that could be read of it is kept anew.
    Kept,
    /// It waits for an address that is no collector now.
    NoCollector,
    /// Some of it could not be kept, as was logged.
    NotKept,
}

/// Puts what an earlier run left into the spools of the threads of its exporters. A file goes when all of it is on the
/// disk anew: if the machine stops meanwhile, some messages are there twice, and none is lost.
pub(crate) fn recover(folder: &Path, found: &[Leftover], forwarders: &mut [Forwarder]) {
    for left in found {
        let path = left.path.display();
        match recover_file(left, forwarders) {
            Ok(Outcome::TakenOver) => {}
            Ok(Outcome::Kept) => {
                let synced = forwarders
                    .iter_mut()
                    .try_for_each(|forwarder| forwarder.sync(left.collector));
                let synced = synced.map_err(|error| error.to_string());
                let synced = synced.and_then(|()| {
                    sync_folder(folder).map_err(|error| format!("{}: {error}", folder.display()))
                });
                match synced {
                    Ok(()) => remove(&left.path),
                    Err(error) => {
                        tracing::warn!(
                            "{path} stays and will be sent again at the next start: {error}"
                        );
                    }
                }
            }
            Ok(Outcome::NoCollector) => tracing::warn!(
                "{path} waits for {}, which is no collector now: it stays",
                left.collector
            ),
            Ok(Outcome::NotKept) => {
                tracing::warn!("{path} stays and will be sent again at the next start");
            }
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

fn recover_file(left: &Leftover, forwarders: &mut [Forwarder]) -> Result<Outcome, CaptureError> {
    let mut reader = CaptureReader::open(&left.path)?;
    if left.threads == forwarders.len()
        && let Some(forwarder) = forwarders.get_mut(left.thread)
    {
        return forwarder.take_over(left, reader);
    }
    let mut outcome = Outcome::Kept;
    while let Some(datagram) = next(&mut reader)? {
        let thread = shard_of(datagram.source.ip(), forwarders.len());
        let forwarder = forwarders.get_mut(thread);
        match forwarder.and_then(|of| of.recover(left.collector, &datagram)) {
            Some(true) => {}
            Some(false) => outcome = Outcome::NotKept,
            None => return Ok(Outcome::NoCollector),
        }
    }
    Ok(outcome)
}

/// The next message of a file.
fn next(reader: &mut CaptureReader) -> Result<Option<Datagram<'_>>, CaptureError> {
    match reader.next() {
        // As when the process was killed while it wrote: what came before was whole.
        Err(error @ (CaptureError::TornTail { .. } | CaptureError::Damaged { .. })) => {
            tracing::warn!("{error}");
            Ok(None)
        }
        next => next,
    }
}

impl Forwarder {
    /// What an earlier run left is being read: what comes for the same collectors waits until [`absorb`](Self::absorb).
    pub(crate) fn await_recovery(&mut self, left: &[Leftover]) {
        self.recovering = left.iter().map(|left| left.collector).collect();
        self.recovering.dedup();
        // What waits for an address that is no collector is left where it is.
        let view = &self.view;
        self.recovering
            .retain(|of| *of == NOBODY || view.position(*of).is_some());
        self.mark_recovering();
    }

    pub(super) fn mark_recovering(&mut self) {
        for (state, seen) in self.targets.iter_mut().zip(&self.view.targets) {
            state.recovers = self.recovering.contains(&seen.address);
        }
        let view = &self.view;
        let mut recovering = self.recovering.iter();
        self.recovers_orphans = recovering.any(|of| view.position(*of).is_none());
    }

    /// Whether messages wait, or will, for addresses that are no targets any more.
    pub(super) fn has_orphans(&self) -> bool {
        self.recovers_orphans || !self.orphans.is_empty()
    }

    /// Nothing more will come of what an earlier run left.
    pub(crate) fn recovery_ended(&mut self) {
        self.recovering.clear();
        self.mark_recovering();
    }

    /// Takes over what another has found in the files of an earlier run, which is older than all that waits here.
    pub(crate) fn absorb(&mut self, found: Self) {
        self.counters.add(&found.counters);
        self.exporters.absorb(&found.exporters);
        self.templates.absorb(found.templates);
        let mut orphans = Vec::new();
        for (target, found) in found.routing.targets.iter().zip(found.targets) {
            let place = self.view.position(target.address());
            let Some(state) = place.and_then(|place| self.targets.get_mut(place)) else {
                orphans.extend(found.spool.filter(|spool| !spool.is_empty()));
                continue;
            };
            state.counters.add(&found.counters);
            match (&mut state.spool, found.spool) {
                (_, None) => {}
                (Some(spool), Some(found)) => spool.prepend(found),
                (none, found) => *none = found,
            }
        }
        orphans.extend(found.orphans);
        self.orphans.splice(0..0, orphans);
        self.recovery_ended();
    }

    /// Goes on with a file that this thread's predecessor left: read once, to know its templates and how much it is.
    fn take_over(
        &mut self,
        left: &Leftover,
        mut reader: CaptureReader,
    ) -> Result<Outcome, CaptureError> {
        let target = self.view.position(left.collector);
        if target.is_none() && left.collector != NOBODY {
            return Ok(Outcome::NoCollector);
        }
        let mut sum = Tally::default();
        while let Some(datagram) = next(&mut reader)? {
            sum.add(self.learn(&datagram));
        }
        let spool = match target {
            Some(target) => self.spool_of(target),
            None => self.spool_behind(),
        };
        let Some(spool) = spool else {
            return Ok(Outcome::NotKept);
        };
        spool.take_over(left.path.clone(), sum);
        self.counters.recovered.add(sum);
        self.counters.waiting.add(sum);
        if let Some(state) = target.and_then(|target| self.targets.get_mut(target)) {
            state.counters.waiting.add(sum);
        }
        Ok(Outcome::TakenOver)
    }

    /// Puts a message that an earlier run left into the spool of its collector; whether it is kept. `None` if that is no
    /// collector now.
    fn recover(&mut self, collector: SocketAddr, datagram: &Datagram<'_>) -> Option<bool> {
        let target = match collector {
            NOBODY => None,
            collector => Some(self.view.position(collector)?),
        };
        let tally = self.learn(datagram);
        self.counters.recovered.add(tally);
        Some(match target {
            Some(target) => self.keep(datagram, target, tally, Origin::Recovered),
            None => self.keep_for_nobody(datagram, tally, Origin::Recovered),
        })
    }

    /// Keeps the templates of a message that an earlier run left.
    fn learn(&mut self, datagram: &Datagram<'_>) -> Tally {
        let message = Message::parse(datagram.payload).ok();
        if let Some(message) = &message {
            let nobody = (0, 0);
            self.templates
                .learn(datagram.source, message, datagram.received_ns, nobody);
        }
        Tally::of(datagram.payload, message.is_some())
    }

    /// Puts what waits for a collector on the disk.
    fn sync(&mut self, collector: SocketAddr) -> Result<(), SyncError> {
        let target = self.view.position(collector);
        let state = target.and_then(|target| self.targets.get_mut(target));
        let own = state.and_then(|state| state.spool.as_mut());
        let mut spools = own.into_iter().chain(&mut self.orphans);
        match spools.find(|spool| spool.collector() == collector) {
            Some(spool) => spool.sync(),
            None => Ok(()),
        }
    }
}
