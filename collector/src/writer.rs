//! The writer thread of a shard: batches to segments.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_store::{ClosedSegment, Dataset, Family, FamilyWriter, FlowSchema, StoreError};

use crate::queue::Queue;
use crate::rows::Output;
use crate::status::{DomainKey, FileStatus};

/// What the writer and the settler tell of files.
pub(crate) type SharedFiles = Arc<Mutex<FileStatus>>;

/// Looks at what is told, or adds to it.
pub(crate) fn with<T, R>(shared: &Mutex<T>, look: impl FnOnce(&mut T) -> R) -> R {
    // Counters have no half-done state to fear.
    look(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Writes what comes through `queue` until it is closed. `closed` gets every segment that ended.
pub(crate) fn run(
    queue: &Queue<Output>,
    dataset: &Arc<Dataset>,
    schema: &Arc<FlowSchema>,
    shard: u16,
    segment_bytes: u64,
    closed: &mpsc::Sender<ClosedSegment>,
    files: &SharedFiles,
) {
    let mut writers =
        Family::ALL.map(|family| FamilyWriter::new(dataset, schema, shard, family, segment_bytes));
    let settle = |segment: Option<ClosedSegment>| {
        // The settler outlives the writers; where it did not, the next start settles the segment.
        if let Some(segment) = segment {
            with(files, |files| files.segments_waiting += 1);
            let _gone = closed.send(segment);
        }
    };
    let mut failing = false;
    while let Some(output) = queue.pop() {
        match output {
            Output::Batch(ready) => {
                let rows = ready.batch.rows() as u64;
                let writer = &mut writers[ready.family as usize];
                let written = writer.write(ready.batch, ready.columns, ready.first_received_us);
                settle(written.closed);
                match written.appended {
                    Ok(bytes) => with(files, |files| {
                        files.stored += rows;
                        files.segment_bytes += bytes;
                    }),
                    Err(lost) => {
                        if !failing {
                            tracing::error!("flows are not written: {}", lost.error);
                        }
                        let reason = reason(&lost.error);
                        with(files, |files| {
                            for origin in lost.origins {
                                let key = DomainKey {
                                    exporter: origin.exporter,
                                    version: origin.export_version,
                                    observation_domain: origin.observation_domain,
                                };
                                files.add_not_written(key, reason, origin.rows);
                            }
                            files.failing_writers += usize::from(!failing);
                        });
                        failing = true;
                        continue;
                    }
                }
                if std::mem::take(&mut failing) {
                    with(files, |files| files.failing_writers -= 1);
                    tracing::info!("flows are written again");
                }
            }
            Output::Rotate => writers.iter_mut().for_each(|writer| settle(close(writer))),
        }
    }
    writers.iter_mut().for_each(|writer| settle(close(writer)));
}

fn close(writer: &mut FamilyWriter) -> Option<ClosedSegment> {
    writer.close().unwrap_or_else(|error| {
        tracing::warn!("{error}");
        None
    })
}

fn reason(error: &StoreError) -> &'static str {
    if error.is_disk_full() {
        "disk_full"
    } else {
        "write_failed"
    }
}

/// How often those who wait look around.
pub(crate) const TURN: Duration = Duration::from_millis(200);
