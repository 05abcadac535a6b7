//! Closes files on a thread of its own, so that receiving never waits for the disk.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use super::RecordError;
use super::file::EndedFile;
use super::names::Names;

/// So many files may wait to be closed. Where the disk is slower than that, receiving waits, and the kernel counts.
const WAITING: usize = 4;

/// The thread, and what goes to it and comes back.
#[derive(Debug)]
pub(super) struct Closer {
    files: SyncSender<EndedFile>,
    results: Receiver<Result<Closed, RecordError>>,
    thread: JoinHandle<()>,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) files: u64,
    pub(super) removed: u64,
}

impl Closer {
    /// `retain` is how many files there may be.
    pub(super) fn start(names: &Names, retain: Option<usize>) -> Result<Self, RecordError> {
        let (files, to_close) = mpsc::sync_channel::<EndedFile>(WAITING);
        let (tell, results) = mpsc::channel();
        let mut keeper = Keeper {
            folder: names.folder().to_owned(),
            whole: match retain {
                Some(_) => names.existing()?.into(),
                None => VecDeque::new(),
            },
            retain,
        };
        let run = move || {
            for file in to_close {
                // Nobody to hear it has gone: the recorder outlives the thread.
                let _heard = tell.send(file.close().and_then(|path| keeper.keep(path)));
            }
        };
        let thread = thread::Builder::new().name("close".to_owned()).spawn(run);
        Ok(Self {
            files,
            results,
            thread: thread.map_err(RecordError::Thread)?,
        })
    }

    pub(super) fn close(&self, file: EndedFile) -> Result<(), RecordError> {
        self.files.send(file).map_err(|_| RecordError::Closer)
    }

    /// What was done since this was asked last.
    pub(super) fn heard(&self) -> Result<Closed, RecordError> {
        sum(self.results.try_iter())
    }

    /// Waits until all is done.
    pub(super) fn finish(self) -> Result<Closed, RecordError> {
        drop(self.files);
        self.thread.join().map_err(|_| RecordError::Closer)?;
        sum(self.results.into_iter())
    }
}

fn sum(results: impl Iterator<Item = Result<Closed, RecordError>>) -> Result<Closed, RecordError> {
    let mut all = Closed::default();
    for closed in results {
        let closed = closed?;
        all.files += closed.files;
        all.removed += closed.removed;
    }
    Ok(all)
}

/// Keeps no more files than wanted.
struct Keeper {
    folder: PathBuf,
    /// The oldest first.
    whole: VecDeque<PathBuf>,
    retain: Option<usize>,
}

impl Keeper {
    fn keep(&mut self, path: PathBuf) -> Result<Closed, RecordError> {
        let mut closed = Closed {
            files: 1,
            removed: 0,
        };
        if let Some(most) = self.retain {
            self.whole.push_back(path);
            while self.whole.len() > most
                && let Some(oldest) = self.whole.pop_front()
            {
                match fs::remove_file(&oldest) {
                    Ok(()) => closed.removed += 1,
                    // Somebody else has removed it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(RecordError::file("remove", oldest)(source)),
                }
            }
        }
        // Names are on disk when their folder is.
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(RecordError::file("sync", &self.folder))?;
        Ok(closed)
    }
}
