//! A sliding window over the bytes of a capture file.

use std::io::{self, Read};

/// Bytes held at a time: the longest packet with its header fits, and the whole stays in the
/// second-level cache.
const WINDOW_BYTES: usize = 1 << 19;

/// The part of the input that is in memory: it only moves forward.
pub(super) struct Window {
    input: Box<dyn Read + Send>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    offset: u64,
}

impl Window {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self {
            input,
            buffer: vec![0; WINDOW_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// The input from the window's beginning on.
    pub(super) fn into_input(self) -> Box<dyn Read + Send> {
        let held = self.bytes().to_vec();
        Box::new(io::Cursor::new(held).chain(self.input))
    }

    /// Where the window begins in the input, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is in memory, from the window's beginning.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until the window holds `needed` bytes; `false` if the input ends before.
    #[inline]
    pub(super) fn ensure(&mut self, needed: usize) -> io::Result<bool> {
        if self.end - self.start >= needed {
            return Ok(true);
        }
        self.fill(needed)
    }

    #[cold]
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        debug_assert!(needed <= WINDOW_BYTES, "callers bound what they ask for");
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < needed {
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(space) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Moves the window `bytes` forward; returns how many the input lacked.
    #[inline]
    pub(super) fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let mut left = bytes;
        loop {
            let held = self.end - self.start;
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(held);
            self.start += step;
            self.offset += step as u64;
            left -= step as u64;
            if left == 0 || !self.ensure(1)? {
                return Ok(left);
            }
        }
    }
}
