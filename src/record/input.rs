//! Where datagrams come from: sockets, or a packet ring.

use std::time::Duration;

use anyhow::{Context, Result};
use forebay_udp::{
    Datagram, PacketError, PacketReceiver, PacketRing, ShardReceiver, ShardSockets, SocketOptions,
};

use super::settings::{SHARDS, Settings, Source};
use crate::collect::warn_of_small_buffer;

/// What datagrams come from.
pub(super) struct Input {
    name: String,
    receiver: Receiver,
}

enum Receiver {
    Sockets(Box<ShardReceiver>),
    Packets(Box<PacketReceiver>),
}

impl Input {
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        let listen = &settings.listen;
        match &settings.source {
            Source::Sockets {
                receive_buffer_bytes,
            } => {
                let options = SocketOptions {
                    receive_buffer_bytes: *receive_buffer_bytes,
                };
                let mut receiver = only(ShardSockets::bind(listen, SHARDS, &options)?)?;
                // The address that the exporter sent to is part of what is recorded.
                receiver
                    .tell_destinations()
                    .context("cannot ask for the addresses that datagrams are sent to")?;
                warn_of_small_buffer(receiver.granted_buffer_bytes(), *receive_buffer_bytes);
                // Port 0 is any that is free: the sockets know.
                let bound = in_words(receiver.local_addresses());
                Ok(Self {
                    name: format!("listening on {bound}"),
                    receiver: Receiver::Sockets(Box::new(receiver)),
                })
            }
            Source::Packets(options) => {
                let receivers = PacketRing::open(options).map_err(|error| match error {
                    PacketError::Permission { .. } => {
                        anyhow::anyhow!("{error}; or record from a socket, without --interface")
                    }
                    error => error.into(),
                })?;
                let place = match options.interfaces.as_slice() {
                    [] => "all interfaces".to_owned(),
                    some => some.join(", "),
                };
                Ok(Self {
                    name: format!("taking packets to {} on {place}", in_words(listen)),
                    receiver: Receiver::Packets(Box::new(only(receivers)?)),
                })
            }
        }
    }

    /// What it is, in words.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Hands over what has come, waiting for the first at most so long: how many datagrams.
    pub(super) fn receive(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(&Datagram<'_>) -> Result<()>,
    ) -> Result<usize> {
        const FAILED: &str = "cannot receive datagrams";
        let mut count = 0;
        let mut take = |datagram: Datagram<'_>| {
            count += 1;
            each(&datagram)
        };
        match &mut self.receiver {
            Receiver::Sockets(of) => of.receive(wait).context(FAILED)?.try_for_each(&mut take)?,
            Receiver::Packets(of) => of.receive(wait).context(FAILED)?.try_for_each(&mut take)?,
        }
        Ok(count)
    }

    /// How many datagrams the kernel has dropped.
    pub(super) fn drops(&mut self) -> u64 {
        match &mut self.receiver {
            Receiver::Sockets(of) => of.kernel_drops(),
            Receiver::Packets(of) => of.kernel_drops(),
        }
    }

    /// Takes in no more where that can be. What has come is there once [`receive`](Self::receive) gives none that waits
    /// as long as this returns.
    pub(super) fn close(&mut self) -> Result<Duration> {
        match &mut self.receiver {
            Receiver::Sockets(_) => Ok(Duration::ZERO),
            Receiver::Packets(of) => {
                of.close()?;
                Ok(PacketReceiver::LATEST)
            }
        }
    }

    /// Packets that a ring took and that make no whole datagram with a right checksum. Sockets never see them.
    pub(super) fn rejected(&self) -> u64 {
        match &self.receiver {
            Receiver::Sockets(_) => 0,
            Receiver::Packets(of) => {
                let counts = of.counts();
                counts.malformed
                    + counts.truncated
                    + counts.checksum
                    + counts.fragments_malformed
                    + counts.fragments_expired
                    + counts.fragments_over_limit
            }
        }
    }
}

fn only<T>(receivers: Vec<T>) -> Result<T> {
    let only = receivers.into_iter().next();
    only.context("there is no receiver: this is a bug")
}

fn in_words(addresses: &[std::net::SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
