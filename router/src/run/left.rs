//! What an earlier run left in its spool: read by a thread of its own, while the others forward.
//!
//! That may take a while: a file of as many threads as there are now is only read, but the others are written anew, and
//! all that waits may be many gigabytes. So nobody waits for it but what belongs behind it: messages for those collectors
//! are kept until it is there.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, channel};

use super::Setup;
use crate::forwarder::{Forwarder, recover};
use crate::routing::Routing;
use crate::spool::{Leftover, SpoolError, SpoolOptions, Used, leftovers};

/// A record of a capture file takes no less.
const RECORD_BYTES: u64 = 16;

/// The files that an earlier run left, and what follows for new ones.
pub(super) struct Left {
    pub(super) files: Vec<Leftover>,
    used: Arc<Used>,
    /// The number of the first file that is written anew: above those that are there.
    anew: u64,
    /// That of the first with new messages: above those that are written anew, however many they become.
    next: Arc<AtomicU64>,
}

impl Left {
    /// Where no route asks for the spool now, a reload may: new files must not take the names of those that are there.
    pub(super) fn find(setup: &Setup, is_needed: bool) -> Result<Self, SpoolError> {
        let files = match leftovers(&setup.spool) {
            Err(_) if !is_needed => Vec::new(),
            files => files?,
        };
        let anew = files.iter().map(|left| left.number + 1).max().unwrap_or(0);
        let is_written_anew = |left: &&Leftover| left.threads != setup.threads.max(1);
        let bytes = files.iter().filter(is_written_anew).map(|left| {
            let metadata = fs::metadata(&left.path);
            metadata.map_or(0, |metadata| metadata.len())
        });
        let next = anew.saturating_add(bytes.sum::<u64>() / RECORD_BYTES);
        Ok(Self {
            files,
            used: Arc::default(),
            anew,
            next: Arc::new(next.into()),
        })
    }

    /// An engine for each thread.
    pub(super) fn forwarders(&self, routing: &Arc<Routing>, setup: &Setup) -> Vec<Forwarder> {
        self.forwarders_from(&self.next, routing, setup)
    }

    /// What a thread is to do that reads all of it, and where each of the others gets its part.
    pub(super) fn recovery(
        self,
        routing: &Arc<Routing>,
        setup: &Setup,
        forwarders: &mut [Forwarder],
    ) -> (impl FnOnce() + use<>, Vec<Receiver<Forwarder>>) {
        for forwarder in forwarders {
            forwarder.await_recovery(&self.files);
        }
        let mut finders = self.forwarders_from(&Arc::new(self.anew.into()), routing, setup);
        let (parts, receivers): (Vec<_>, Vec<_>) = finders.iter().map(|_| channel()).unzip();
        let (folder, files) = (setup.spool.clone(), self.files);
        let run = move || {
            let count = files.len();
            tracing::info!(
                "reading what an earlier run left in {}, files: {count}",
                folder.display()
            );
            recover(&folder, &files, &mut finders);
            for (part, finder) in parts.iter().zip(finders) {
                // A thread that has ended has no use for it: the next start finds it again.
                let _ended = part.send(finder);
            }
            tracing::info!("read what an earlier run left");
        };
        (run, receivers)
    }

    fn forwarders_from(
        &self,
        next: &Arc<AtomicU64>,
        routing: &Arc<Routing>,
        setup: &Setup,
    ) -> Vec<Forwarder> {
        let threads = setup.threads.max(1);
        let forwarder = |thread| {
            let options = SpoolOptions {
                folder: setup.spool.clone(),
                bytes: setup.spool_bytes,
                used: Arc::clone(&self.used),
                thread,
                threads,
                next: Arc::clone(next),
            };
            Forwarder::with_spool(Arc::clone(routing), setup.limits, options)
        };
        (0..threads).map(forwarder).collect()
    }
}
