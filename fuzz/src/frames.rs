//! Several datagrams in one input.

/// The datagrams of an input: each has its length before it, in two bytes, big-endian. The last may
/// be cut short.
pub struct Frames<'a>(pub &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (datagram, rest) = rest.split_at(length);
        self.0 = rest;
        Some(datagram)
    }
}

/// Appends a datagram to an input. What is beyond 65,535 bytes is left out.
pub fn push_frame(input: &mut Vec<u8>, datagram: &[u8]) {
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    input.extend(length.to_be_bytes());
    input.extend(datagram.iter().take(usize::from(length)));
}
