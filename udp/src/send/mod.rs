//! Sending to any destination, many datagrams a system call: from any source, or from this
//! machine's own sockets.

mod error;
mod lane;
mod own;
mod path;
mod raw;

use std::net::SocketAddr;

pub use error::SendError;
pub(crate) use error::program;
pub use own::OwnSender;
pub use raw::RawSender;

/// A datagram to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Who it is to come from; [`OwnSender`] does not look at it.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// What it holds.
    pub payload: &'a [u8],
}

#[cfg(test)]
mod tests;
