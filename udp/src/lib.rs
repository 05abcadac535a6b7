//! UDP datagrams in and out: capture files, sockets and packet rings.
//!
//! Whatever the source, a received datagram is a [`Datagram`]: who sent it, to
//! whom, when, and the payload, borrowed from the source's own buffer until the
//! next one is asked for.
//!
//! * [`ShardSockets`] receives from UDP sockets, one [`ShardReceiver`] per thread;
//!   [`shard_of`] says which one an exporter belongs to.
//! * [`PacketRing`] receives below the IP stack, beside whoever listens.
//! * [`Sender`] sends, in batches, from an address of this machine to one target.
//! * [`RawSender`] sends to any destination from any source, [`OwnSender`] from this machine's.
//! * [`drop_network_privileges`] gives up what opening those takes.
//! * [`capture`] reads datagrams from pcap and pcapng files and writes them.
//!
//! Nothing here looks inside a payload.
#![deny(unsafe_op_in_unsafe_fn)]

mod bpf;
pub mod capture;
mod datagram;
mod packet;
mod privilege;
mod ring;
mod send;
mod sender;
mod sockaddr;
mod socket;
mod sys;

pub use datagram::Datagram;
pub use privilege::drop_network_privileges;
pub use ring::{
    PacketCounts, PacketDatagrams, PacketError, PacketOptions, PacketReceiver, PacketRing,
};
pub use send::{Outgoing, OwnSender, RawSender, SendError};
pub use sender::Sender;
pub use socket::{
    BindError, Datagrams, ShardReceiver, ShardSockets, SocketOptions, shard_of, wildcard,
};
