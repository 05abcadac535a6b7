//! Inputs in parts, and the workers that read them side by side.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use forebay_store::{Family, FlowParts, StoreError};

use crate::error::AnalyzeError;
use crate::workers;

/// How far an analysis is, and whether it shall go on: for a signal's handler and a progress bar.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    rows: AtomicU64,
    total_rows: AtomicU64,
}

impl Control {
    /// Ends the analysis soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it shall end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The rows that were read.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The rows that there are to read, once that is known.
    pub fn total_rows(&self) -> u64 {
        self.total_rows.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<(), AnalyzeError> {
        match self.is_stopped() {
            true => Err(AnalyzeError::Stopped),
            false => Ok(()),
        }
    }

    pub(crate) fn add_total(&self, rows: u64) {
        self.total_rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// How inputs are opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct InputOptions {
    /// Whether a file that is damaged or holds no flows is passed over, rather than an error.
    pub skip_bad: bool,
    /// How many threads read.
    pub threads: usize,
}

/// A file that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
    /// The rows that were taken before that was found: they count in the answer.
    pub rows_taken: u64,
}

/// Flow files and segments, opened.
pub struct Inputs {
    files: Vec<FlowParts>,
    skipped: Vec<Skipped>,
    options: InputOptions,
}

impl Inputs {
    /// Opens the files at `paths`.
    ///
    /// # Errors
    /// A file is damaged or holds no flows, unless such are skipped; or it was interrupted.
    pub fn open(
        paths: &[PathBuf],
        options: InputOptions,
        control: &Control,
    ) -> Result<Self, AnalyzeError> {
        let opened: Vec<Mutex<Option<Result<FlowParts, StoreError>>>> =
            paths.iter().map(|_| Mutex::new(None)).collect();
        let states = vec![(); options.threads.max(1)];
        workers::share(states, paths.len(), |(), place| {
            control.check()?;
            let file = open(&paths[place]);
            let mut slot = opened[place].lock().unwrap_or_else(PoisonError::into_inner);
            *slot = Some(file);
            Ok(())
        })?;
        let mut inputs = Self {
            files: Vec::with_capacity(paths.len()),
            skipped: Vec::new(),
            options,
        };
        let opened = opened.into_iter().map(Mutex::into_inner);
        for (path, file) in paths.iter().zip(opened) {
            match file.unwrap_or_else(PoisonError::into_inner) {
                Some(Ok(file)) => inputs.files.push(file),
                Some(Err(error)) => inputs.skip(path, error, 0)?,
                None => return Err(AnalyzeError::Stopped),
            }
        }
        Ok(inputs)
    }

    fn skip(
        &mut self,
        path: &Path,
        error: StoreError,
        rows_taken: u64,
    ) -> Result<(), AnalyzeError> {
        if !self.options.skip_bad {
            return Err(error.into());
        }
        self.skipped.push(Skipped {
            path: path.to_owned(),
            reason: error.to_string(),
            rows_taken,
        });
        Ok(())
    }

    /// The files that could be opened, in the order of their paths as given.
    pub fn files(&self) -> &[FlowParts] {
        &self.files
    }

    /// The files that were passed over.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(FlowParts::rows).sum()
    }

    /// Whether files that are damaged are passed over.
    pub(crate) fn skips_bad(&self) -> bool {
        self.options.skip_bad
    }

    /// How many threads read.
    pub fn threads(&self) -> usize {
        self.options.threads.max(1)
    }

    /// Reads what `scan` asks for by as many workers as there are `states`: each calls `visit` with its
    /// own state for each of its batches.
    ///
    /// A file that turns out to be damaged is an error; or, where such are skipped, not read further,
    /// and told among [`skipped`](Self::skipped) with the rows that were taken of it.
    pub(crate) fn scan<S: Send>(
        &mut self,
        scan: &Scan<'_>,
        control: &Control,
        states: Vec<S>,
        visit: impl Fn(&mut S, Batch<'_>) -> Result<(), AnalyzeError> + Sync,
    ) -> Result<Vec<S>, AnalyzeError> {
        let parts = self.chosen_parts(scan);
        let rows = |&(file, part): &(usize, usize)| self.files[file].parts()[part].rows;
        control.add_total(parts.iter().map(rows).sum());
        let tracks: Vec<Track> = self.files.iter().map(|_| Track::default()).collect();
        let (files, skip_bad) = (&self.files, self.options.skip_bad);
        let states = workers::share(states, parts.len(), |state, place| {
            let (file, part) = parts[place];
            let track = &tracks[file];
            let reading = Reading {
                file: (file, &files[file]),
                track,
                control,
            };
            let columns = (scan.columns)(files[file].family());
            match reading.part(part, columns.as_deref(), state, &visit) {
                Err(AnalyzeError::Store(error)) if skip_bad => {
                    track.fail(error);
                    Ok(())
                }
                result => result,
            }
        })?;
        let bad: Vec<(PathBuf, StoreError, u64)> = (self.files.iter().zip(tracks))
            .filter_map(|(file, track)| {
                let (error, rows) = track.into_parts();
                Some((file.path().to_owned(), error?, rows))
            })
            .collect();
        for (path, error, rows) in bad {
            self.skip(&path, error, rows)?;
        }
        Ok(states)
    }

    fn chosen_parts(&self, scan: &Scan<'_>) -> Vec<(usize, usize)> {
        let of_file = |(place, file): (usize, &FlowParts)| {
            let parts = 0..file.parts().len();
            let chosen = parts.filter(|&part| (scan.wants)(file, part));
            chosen.map(|part| (place, part)).collect::<Vec<_>>()
        };
        self.files.iter().enumerate().flat_map(of_file).collect()
    }
}

/// A segment that nobody writes to any more has no torn end.
fn open(path: &Path) -> Result<FlowParts, StoreError> {
    let file = FlowParts::open(path)?;
    match file.torn_bytes() {
        torn if torn > 0 && !file.is_staged() => Err(StoreError::NotFlows {
            path: path.to_owned(),
            reason: format!("{torn} bytes behind its last whole batch are no batch"),
        }),
        _ => Ok(file),
    }
}

/// What is read.
pub(crate) struct Scan<'a> {
    /// The columns, by family; `None` for all.
    pub(crate) columns: &'a (dyn Fn(Family) -> Option<Vec<&'a str>> + Sync),
    /// Whether that part of that file is read.
    pub(crate) wants: &'a dyn Fn(&FlowParts, usize) -> bool,
}

/// Some rows of a file.
pub(crate) struct Batch<'a> {
    /// The file's place among [`Inputs::files`].
    pub(crate) file: usize,
    /// The file's path.
    pub(crate) path: &'a Path,
    /// The family of its flows.
    pub(crate) family: Family,
    /// The number in the file of the first row.
    pub(crate) first_row: u64,
    /// The rows. Drop them soon: their memory is used again for the next.
    pub(crate) rows: RecordBatch,
}

/// What became of a file so far.
#[derive(Default)]
struct Track {
    rows: AtomicU64,
    is_bad: AtomicBool,
    error: Mutex<Option<StoreError>>,
}

impl Track {
    fn fail(&self, error: StoreError) {
        self.is_bad.store(true, Ordering::Relaxed);
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }

    fn into_parts(self) -> (Option<StoreError>, u64) {
        let error = self.error.into_inner();
        (
            error.unwrap_or_else(PoisonError::into_inner),
            self.rows.into_inner(),
        )
    }
}

/// What a worker reads from.
struct Reading<'a> {
    file: (usize, &'a FlowParts),
    track: &'a Track,
    control: &'a Control,
}

impl Reading<'_> {
    fn part<S>(
        &self,
        part: usize,
        columns: Option<&[&str]>,
        state: &mut S,
        visit: &(impl Fn(&mut S, Batch<'_>) -> Result<(), AnalyzeError> + Sync),
    ) -> Result<(), AnalyzeError> {
        let (place, file) = self.file;
        let mut reader = file.read(part, columns)?;
        while !self.track.is_bad.load(Ordering::Relaxed) {
            self.control.check()?;
            let Some((first_row, rows)) = reader.next_batch()? else {
                break;
            };
            let count = rows.num_rows() as u64;
            let batch = Batch {
                file: place,
                path: file.path(),
                family: file.family(),
                first_row,
                rows,
            };
            visit(state, batch)?;
            self.track.rows.fetch_add(count, Ordering::Relaxed);
            self.control.add_rows(count);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
