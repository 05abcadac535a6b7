//! Rows that were put aside: one temporary file, without a name, which is gone with the process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::AnalyzeError;

/// So many words are written or read at once.
const WORDS: usize = 1 << 15;

/// Where in the file words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    start: u64,
    words: usize,
}

impl Extent {
    pub(crate) fn words(self) -> usize {
        self.words
    }

    /// Some of the words.
    pub(crate) fn part(self, from: usize, words: usize) -> Self {
        let from = from.min(self.words);
        Self {
            start: self.start + 8 * from as u64,
            words: words.min(self.words - from),
        }
    }
}

/// A temporary file that is made when the first words are put aside.
pub(crate) struct Spill {
    dir: PathBuf,
    file: Mutex<Option<std::sync::Arc<File>>>,
    end: AtomicU64,
}

impl Spill {
    /// A file in `dir`, to be.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            file: Mutex::new(None),
            end: AtomicU64::new(0),
        }
    }

    /// The bytes that were put aside.
    pub(crate) fn bytes(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> AnalyzeError {
        let dir = self.dir.clone();
        move |source| AnalyzeError::Spill {
            action,
            dir,
            source,
        }
    }

    fn file(&self) -> Result<std::sync::Arc<File>, AnalyzeError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(file.clone());
        }
        let made = tempfile::tempfile_in(&self.dir).map_err(self.failed("make"))?;
        Ok(file.insert(made.into()).clone())
    }

    /// Puts the words of `runs` aside, one behind the other.
    pub(crate) fn write(&self, runs: &[&[u64]]) -> Result<Extent, AnalyzeError> {
        let mut aside = self.begin(runs.iter().map(|run| run.len()).sum())?;
        for run in runs {
            aside.put(run)?;
        }
        aside.finish()
    }

    /// Begins to put so many words aside.
    pub(crate) fn begin(&self, words: usize) -> Result<PuttingAside<'_>, AnalyzeError> {
        let start = self.end.fetch_add(8 * words as u64, Ordering::Relaxed);
        Ok(PuttingAside {
            spill: self,
            file: self.file()?,
            extent: Extent { start, words },
            at: start,
            bytes: Vec::with_capacity(8 * words.min(WORDS)),
        })
    }

    /// Reads words back, behind those that are in `words`.
    pub(crate) fn read(&self, extent: Extent, words: &mut Vec<u64>) -> Result<(), AnalyzeError> {
        let file = self.file()?;
        words.reserve(extent.words);
        let mut bytes = vec![0; 8 * extent.words.min(WORDS)];
        let mut left = extent.words;
        let mut at = extent.start;
        while left > 0 {
            let count = left.min(WORDS);
            let chunk = &mut bytes[..8 * count];
            file.read_exact_at(chunk, at).map_err(self.failed("read"))?;
            let (read, _) = chunk.as_chunks();
            words.extend(read.iter().map(|&word| u64::from_le_bytes(word)));
            left -= count;
            at += 8 * count as u64;
        }
        Ok(())
    }
}

/// Words on their way to the file.
pub(crate) struct PuttingAside<'a> {
    spill: &'a Spill,
    file: std::sync::Arc<File>,
    extent: Extent,
    at: u64,
    bytes: Vec<u8>,
}

impl PuttingAside<'_> {
    /// Adds words, so many as were told of in all.
    pub(crate) fn put(&mut self, words: &[u64]) -> Result<(), AnalyzeError> {
        let mut words = words;
        while !words.is_empty() {
            let before = self.bytes.len();
            let (now, later) = words.split_at(words.len().min(WORDS - before / 8));
            words = later;
            self.bytes.resize(before + 8 * now.len(), 0);
            let (to, _) = self.bytes[before..].as_chunks_mut();
            for (to, word) in to.iter_mut().zip(now) {
                *to = word.to_le_bytes();
            }
            if self.bytes.len() >= 8 * WORDS {
                self.write()?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), AnalyzeError> {
        let written = self.file.write_all_at(&self.bytes, self.at);
        written.map_err(self.spill.failed("write"))?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Where the words are.
    pub(crate) fn finish(mut self) -> Result<Extent, AnalyzeError> {
        self.write()?;
        Ok(self.extent)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_was_put_aside_is_read_back_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let spill = Spill::new(dir.path().to_owned());
        let long: Vec<u64> = (0..100_000).map(|n| n << 40 | n).collect();
        let first = spill.write(&[&long, &[7, 8]]).expect("writes");
        let second = spill.write(&[&[1, u64::MAX]]).expect("writes");
        assert_eq!(spill.bytes(), 8 * 100_004);
        let mut words = vec![5];
        spill.read(second, &mut words).expect("reads");
        spill.read(first, &mut words).expect("reads");
        assert_eq!(words[..3], [5, 1, u64::MAX]);
        assert_eq!(words[3..100_003], long);
        assert_eq!(words[100_003..], [7, 8]);
        let mut part = Vec::new();
        spill.read(first.part(99_999, 2), &mut part).expect("reads");
        spill
            .read(first.part(100_001, 9), &mut part)
            .expect("reads");
        assert_eq!(part, [long[99_999], 7, 8]);
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let spill = Spill::new(Path::new("/nonexistent/folder").to_owned());
        let error = spill.write(&[&[1]]).expect_err("no folder");
        assert!(error.to_string().contains("/nonexistent/folder"), "{error}");
    }
}
