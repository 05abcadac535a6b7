//! UDP datagrams in and out: capture files and sockets.
//!
//! Whatever the source, a received datagram is a [`Datagram`]: who sent it, to
//! whom, when, and the payload, borrowed from the source's own buffer until the
//! next one is asked for.
//!
//! * [`capture`] reads datagrams from pcap and pcapng files and writes them.
//!
//! Nothing here looks inside a payload.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod capture;
mod datagram;

pub use datagram::Datagram;
