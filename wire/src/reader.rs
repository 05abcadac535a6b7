//! A cursor over bytes that came from the network.
//!
//! ```text
//! ┌──────── offset() ────────┬──────── left() ────────┐
//! │ already taken            │ rest()                 │
//! └──────────────────────────┴────────────────────────┘
//! ```
//!
//! Every step checks the length and moves only when it succeeds, so that no caller indexes a slice by a number that the
//! network chose. All integers are big-endian (RFC 7011 §6.1).

use thiserror::Error;

/// Fewer bytes were left than were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{needed} bytes needed, {left} left")]
pub struct ReadError {
    /// How many bytes the step wanted.
    pub needed: usize,
    /// How many there were.
    pub left: usize,
}

impl ReadError {
    /// The label of this error's counter.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        "too_short"
    }
}

/// A cursor over bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            offset: 0,
        }
    }

    /// Takes the next `n` bytes.
    ///
    /// # Errors
    ///
    /// Fewer than `n` bytes are left; the reader does not move.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(ReadError {
            needed: n,
            left: self.rest.len(),
        })?;
        self.rest = rest;
        self.offset += n;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    ///
    /// Fewer than `N` bytes are left; the reader does not move.
    #[inline]
    pub fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], ReadError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ReadError {
            needed: N,
            left: self.rest.len(),
        })?;
        self.rest = rest;
        self.offset += N;
        Ok(taken)
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// Nothing is left.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, ReadError> {
        self.take_array().map(|&[byte]| byte)
    }

    /// Takes two bytes as a big-endian number.
    ///
    /// # Errors
    ///
    /// Fewer than two bytes are left.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, ReadError> {
        self.take_array().copied().map(u16::from_be_bytes)
    }

    /// Takes four bytes as a big-endian number.
    ///
    /// # Errors
    ///
    /// Fewer than four bytes are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, ReadError> {
        self.take_array().copied().map(u32::from_be_bytes)
    }

    /// Takes eight bytes as a big-endian number.
    ///
    /// # Errors
    ///
    /// Fewer than eight bytes are left.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, ReadError> {
        self.take_array().copied().map(u64::from_be_bytes)
    }

    /// What has not been taken yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes have not been taken yet.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// How many bytes have been taken.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

/// Whether there is nothing in `bytes` but zeros, as in padding.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_big_endian_and_the_offset_follows() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(0x0203));
        assert_eq!(reader.u32(), Ok(0x0405_0607));
        assert_eq!(reader.u64(), Ok(0x0809_0a0b_0c0d_0e0f));
        assert_eq!((reader.offset(), reader.left()), (15, 1));
        assert_eq!(reader.rest(), [16]);
    }

    #[test]
    fn a_step_that_fails_does_not_move() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(ReadError { needed: 4, left: 3 }));
        assert_eq!(reader.take(4), Err(ReadError { needed: 4, left: 3 }));
        assert_eq!(reader.take(3), Ok(&[1, 2, 3][..]));
        assert_eq!(reader.u8(), Err(ReadError { needed: 1, left: 0 }));
    }
}
