//! UDP datagrams in and out: capture files and sockets.
//!
//! Whatever the source, a received datagram is a [`Datagram`]: who sent it, to
//! whom, when, and the payload, borrowed from the source's own buffer until the
//! next one is asked for.
//!
//! * [`ShardSockets`] receives from UDP sockets, one [`ShardReceiver`] per thread;
//!   [`shard_of`] says which one an exporter belongs to.
//! * [`Sender`] sends, in batches, from a chosen source address.
//! * [`capture`] reads datagrams from pcap and pcapng files and writes them.
//!
//! Nothing here looks inside a payload.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod capture;
mod datagram;
mod sender;
mod socket;
mod sys;

pub use datagram::Datagram;
pub use sender::Sender;
pub use socket::{
    BindError, Datagrams, ShardReceiver, ShardSockets, SocketOptions, shard_of, wildcard,
};
