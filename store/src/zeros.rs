//! Columns without a value, which cost neither memory nor disk.
//!
//! A segment has the columns of all its batches, and a batch has no value in many of them. In
//! Arrow's format such a column is as long as any other: a bitmap and values that are all zero.
//! Here they are slices of one run of zeros, which the segment's writer knows again and leaves
//! out: the file has a hole there, which reads as zeros.

use std::sync::LazyLock;

use arrow_buffer::{Buffer, MutableBuffer};

/// Enough for a batch of 65,536 IPv6 addresses; batches are an eighth of that.
const RUN: usize = 1 << 20;
/// What the format pads buffers with is shorter than this.
const PADDING: usize = 64;

static ZERO: LazyLock<Buffer> = LazyLock::new(|| MutableBuffer::from_len_zeroed(RUN).into());

/// So many bytes of zeros.
pub(crate) fn zeros(bytes: usize) -> Buffer {
    if bytes <= RUN {
        ZERO.slice_with_length(0, bytes)
    } else {
        MutableBuffer::from_len_zeroed(bytes).into()
    }
}

/// Whether the buffer is known to be all zeros, so that it need not be written.
pub(crate) fn is_zeros(buffer: &Buffer) -> bool {
    let run = ZERO.as_ptr() as usize;
    let within = (run..run + RUN).contains(&(buffer.as_ptr() as usize));
    within || buffer.len() < PADDING && buffer.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_and_padding_are_known_as_zeros() {
        assert!(is_zeros(&zeros(100_000)) && is_zeros(&zeros(0)));
        assert_eq!(zeros(RUN + 1).len(), RUN + 1);
        let of = |bytes: &[u8]| Buffer::from(bytes);
        assert!(is_zeros(&of(&[0; 63])));
        assert!(!is_zeros(&of(&[0, 1])));
        // To look through longer ones would cost more than it saves.
        assert!(!is_zeros(&of(&[0; 64])));
    }
}
