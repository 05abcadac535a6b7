//! A collector at work: one thread per shard receives and decodes, one writes its segments, and one
//! settles them all.
//!
//! ```text
//! shard ─ queue ─ writer ─┐
//! shard ─ queue ─ writer ─┴ closed segments ─ settler
//! ```
//!
//! It ends in the same direction: stop receiving, hand over what is in the batches, close the
//! segments, settle.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use forebay_store::{Dataset, Retention, StoreError};
use forebay_udp::capture::{CaptureError, CaptureReader};
use forebay_udp::{ShardReceiver, shard_of};

use crate::config::DecoderConfig;
use crate::decoder::Decoder;
use crate::queue::Queue;
use crate::rows::Output;
use crate::saved::{Saved, ToldSaved};
use crate::settler::{Format, Ledger, Settler, left_behind};
use crate::status::{ShardStatus, Status};
use crate::writer::{self, SharedFiles, with};

/// Tells the time, in microseconds since 1970.
pub type Clock = fn() -> i64;

/// How long a receive waits for datagrams before batches are looked after.
const WAIT: Duration = Duration::from_millis(100);
/// How long a shard lets datagrams gather when it has taken all: waking up for each costs more than
/// taking it. At a million datagrams a second, two sevenths of the smallest buffer that allows it
/// fill.
const GATHER: Duration = Duration::from_millis(1);
/// A receive of fewer datagrams than this has taken all.
const BATCH: usize = 64;
/// The socket buffer from which on datagrams may gather.
const GATHER_BUFFER_BYTES: usize = 8 << 20;
/// How often a shard tells its status and looks after old batches, in microseconds.
const TICK_US: i64 = 250_000;
/// How often at most a shard copies its templates to be saved, in microseconds.
const SAVED_US: i64 = 10_000_000;

/// What a collector is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to decode.
    pub decoder: DecoderConfig,
    /// The dataset's folder.
    pub output: PathBuf,
    /// What flow files are. Default Parquet with Zstandard.
    pub format: Format,
    /// Bytes at which a segment ends before its window does. Default 1 GiB.
    pub segment_bytes: u64,
    /// Settling stops while less is free. Default 1 GiB.
    pub min_free_bytes: u64,
    /// What to remove. Default nothing.
    pub retention: Retention,
    /// Bytes of batches that may wait for a shard's writer. When they do, the shard stops reading,
    /// so that what is lost is lost in the socket, where the kernel counts it. Default 256 MiB.
    pub queue_bytes: usize,
}

/// Why a collector does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The dataset cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no thread for it.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Tells shards what to do.
#[derive(Debug)]
pub struct Control {
    stop: AtomicBool,
    rotate: AtomicI64,
    deadline_us: AtomicI64,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            stop: AtomicBool::new(false),
            rotate: AtomicI64::new(0),
            deadline_us: AtomicI64::new(i64::MAX),
        }
    }
}

impl Control {
    /// Ends receiving; what has come is written and settled until `deadline_us`.
    pub fn stop(&self, deadline_us: i64) {
        self.deadline_us.store(deadline_us, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends the open segments, so that they settle.
    pub fn rotate(&self) {
        self.rotate.fetch_add(1, Ordering::Relaxed);
    }
}

/// A collector: threads that write and settle what its shards decode.
#[derive(Debug)]
pub struct Collector {
    control: Arc<Control>,
    status: Arc<SharedStatus>,
    writers: Vec<JoinHandle<()>>,
    settler: JoinHandle<()>,
}

/// One shard: the decoder and the way to its writer. Runs on a thread of its caller's.
#[derive(Debug)]
pub struct Shard {
    decoder: Decoder,
    queue: Arc<Queue<Output>>,
    control: Arc<Control>,
    told: Arc<Mutex<ShardStatus>>,
    saved: Arc<Mutex<ToldSaved>>,
    rotations: i64,
    next_tick_us: i64,
    next_saved_us: i64,
    clock: Clock,
}

#[derive(Debug)]
struct SharedStatus {
    shards: Vec<Arc<Mutex<ShardStatus>>>,
    queues: Vec<Arc<Queue<Output>>>,
    files: SharedFiles,
}

impl SharedStatus {
    fn read(&self) -> Status {
        Status {
            shards: self
                .shards
                .iter()
                .map(|shard| with(shard, |told| told.clone()))
                .collect(),
            files: with(&self.files, |files| files.clone()),
            queue_bytes: self.queues.iter().map(|queue| queue.bytes()).sum(),
        }
    }
}

impl Collector {
    /// Opens the dataset, begins to settle what an earlier run left, and makes `shards` shards.
    ///
    /// # Errors
    /// The dataset cannot be used, or a thread not be started.
    pub fn start(
        config: &Config,
        shards: usize,
        clock: Clock,
    ) -> Result<(Self, Vec<Shard>), StartError> {
        let dataset = Arc::new(Dataset::open(&config.output)?);
        let schema = Arc::new(config.decoder.columns.schema().clone());
        forebay_store::write_views(&dataset, &schema)?;
        let saved = Saved::load(&dataset.templates()).unwrap_or_else(|error| {
            tracing::warn!("{}: {error}", dataset.templates().display());
            Saved::default()
        });
        let control = Arc::new(Control::default());
        let files = SharedFiles::default();
        let waiting = left_behind(&dataset)?;
        with(&files, |files| files.segments_waiting = waiting.len());
        let (closed, segments) = mpsc::channel();
        let (mut made, mut writers) = (Vec::new(), Vec::new());
        for number in 0..shards {
            let mut decoder = Decoder::new(config.decoder.clone());
            decoder.restore(&saved, |address| shard_of(address, shards) == number);
            let restored = decoder.take_changed();
            let shard = Shard {
                decoder,
                queue: Arc::new(Queue::new(config.queue_bytes)),
                control: Arc::clone(&control),
                told: Arc::default(),
                // So that the first file to be saved does not lack what another shard took.
                saved: Arc::new(Mutex::new(ToldSaved::new(restored))),
                rotations: 0,
                next_tick_us: 0,
                next_saved_us: 0,
                clock,
            };
            let (queue, closed) = (Arc::clone(&shard.queue), closed.clone());
            let (dataset, schema) = (Arc::clone(&dataset), Arc::clone(&schema));
            let (files, bytes) = (Arc::clone(&files), config.segment_bytes);
            // `shards` is at most 1,024 where sockets are bound.
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            let run =
                move || writer::run(&queue, &dataset, &schema, number, bytes, &closed, &files);
            writers.push(
                thread::Builder::new()
                    .name(format!("writer-{number}"))
                    .spawn(run)?,
            );
            made.push(shard);
        }
        let status = Arc::new(SharedStatus {
            shards: made.iter().map(|shard| Arc::clone(&shard.told)).collect(),
            queues: made.iter().map(|shard| Arc::clone(&shard.queue)).collect(),
            files: Arc::clone(&files),
        });
        let settler = Settler {
            dataset,
            format: config.format,
            min_free_bytes: config.min_free_bytes,
            retention: config.retention,
            interval_us: i64::from(config.decoder.rotation_seconds.max(1)) * 1_000_000,
            files,
            saved: made.iter().map(|shard| Arc::clone(&shard.saved)).collect(),
            clock,
            waiting,
            ledger: Ledger::new(clock()),
        };
        let (told, control_too) = (Arc::clone(&status), Arc::clone(&control));
        let run = move || {
            let deadline = || control_too.deadline_us.load(Ordering::Relaxed);
            settler.run(&segments, || told.read(), deadline);
        };
        let settler = thread::Builder::new().name("settler".into()).spawn(run)?;
        Ok((
            Self {
                control,
                status,
                writers,
                settler,
            },
            made,
        ))
    }

    /// What to tell shards through.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// A way to read the status from another thread.
    pub fn watch(&self) -> impl Fn() -> Status + Send + Sync + Clone + use<> {
        let status = Arc::clone(&self.status);
        move || status.read()
    }

    /// What the collector is doing.
    pub fn status(&self) -> Status {
        self.status.read()
    }

    /// Waits until all that the shards decoded is written and settled, or the deadline given to
    /// [`Control::stop`] has passed: then the rest is settled at the next start. The shards have
    /// ended before.
    pub fn finish(self) -> Status {
        for thread in self.writers.into_iter().chain([self.settler]) {
            // A panic is a bug of ours and was reported by its thread.
            let _panicked = thread.join();
        }
        self.status.read()
    }
}

impl Shard {
    /// Receives and decodes until [`Control::stop`], then takes what the sockets still hold.
    ///
    /// # Errors
    /// A socket cannot be read.
    pub fn run(mut self, mut receiver: ShardReceiver) -> io::Result<()> {
        let gathers = receiver.granted_buffer_bytes() >= GATHER_BUFFER_BYTES;
        let result = loop {
            let stopping = self.control.stopping();
            let datagrams = match receiver.receive(if stopping { Duration::ZERO } else { WAIT }) {
                Ok(datagrams) => datagrams,
                Err(error) => break Err(error),
            };
            let mut received = 0;
            for datagram in datagrams {
                self.decoder.decode(&datagram);
                received += 1;
            }
            let now_us = (self.clock)();
            let late = now_us >= self.control.deadline_us.load(Ordering::Relaxed);
            if stopping && (received == 0 || late) {
                break Ok(());
            }
            if now_us >= self.next_tick_us {
                self.decoder.tick(now_us);
                if received == 0 {
                    self.decoder.idle(now_us);
                }
                let (drops, truncated) = (receiver.kernel_drops(), receiver.truncated());
                self.look_after(now_us, drops, truncated);
            }
            self.hand_over();
            if gathers && (1..BATCH).contains(&received) {
                thread::sleep(GATHER);
            }
        };
        let (drops, truncated) = (receiver.kernel_drops(), receiver.truncated());
        self.finish(drops, truncated);
        result
    }

    /// Decodes captures, one after the other. `progress` gets the bytes read of each.
    ///
    /// # Errors
    /// A capture cannot be read; what came before was decoded.
    pub fn read(
        mut self,
        captures: impl IntoIterator<Item = CaptureReader>,
        mut progress: impl FnMut(&CaptureReader),
    ) -> Result<(), CaptureError> {
        let mut result = Ok(());
        'captures: for mut capture in captures {
            loop {
                // The clock and the status are looked at once in a while only.
                for _ in 0..256 {
                    match capture.next() {
                        Ok(Some(datagram)) => self.decoder.decode(&datagram),
                        Ok(None) => {
                            self.decoder.count_unreadable(capture.counts());
                            progress(&capture);
                            continue 'captures;
                        }
                        Err(error) => {
                            self.decoder.count_unreadable(capture.counts());
                            result = Err(error);
                            break 'captures;
                        }
                    }
                }
                self.hand_over();
                let now_us = (self.clock)();
                if now_us >= self.next_tick_us {
                    self.look_after(now_us, 0, 0);
                    progress(&capture);
                    if self.control.stopping() {
                        break 'captures;
                    }
                }
            }
        }
        self.finish(0, 0);
        result
    }

    /// Passes on what the decoder has ready. Waits while the queue is full.
    fn hand_over(&mut self) {
        while let Some(output) = self.decoder.next_output() {
            let bytes = match &output {
                Output::Batch(ready) => ready.batch.bytes(),
                Output::Rotate => 0,
            };
            self.queue.push(output, bytes);
        }
    }

    fn look_after(&mut self, now_us: i64, kernel_drops: u64, truncated: u64) {
        self.next_tick_us = now_us + TICK_US;
        let rotations = self.control.rotate.load(Ordering::Relaxed);
        if rotations != self.rotations {
            self.rotations = rotations;
            self.decoder.rotate();
        }
        self.tell(kernel_drops, truncated);
        if now_us >= self.next_saved_us && self.tell_saved() {
            self.next_saved_us = now_us + SAVED_US;
        }
    }

    fn tell(&mut self, kernel_drops: u64, truncated: u64) {
        let status = ShardStatus {
            domains: self.decoder.domains().collect(),
            unassigned: self.decoder.unassigned(),
            kernel_drops,
            truncated,
            tables: self.decoder.tables(),
        };
        with(&self.told, |told| *told = status);
    }

    /// Whether there was anything to be saved anew.
    fn tell_saved(&mut self) -> bool {
        let changed = self.decoder.take_changed();
        let is_changed = changed.is_some();
        if is_changed {
            with(&self.saved, |told| *told = ToldSaved::new(changed));
        }
        is_changed
    }

    fn finish(mut self, kernel_drops: u64, truncated: u64) {
        self.decoder.finish();
        self.hand_over();
        self.tell(kernel_drops, truncated);
        self.tell_saved();
    }
}

impl Drop for Shard {
    /// However a shard ends, its writer must not wait for it.
    fn drop(&mut self) {
        self.queue.close();
    }
}
