//! Sockets on loopback.

mod bind;
mod filter;
mod receive;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{ShardReceiver, ShardSockets, SocketOptions};
use crate::Sender;

const OPTIONS: SocketOptions = SocketOptions {
    receive_buffer_bytes: 1 << 20,
};
/// Long enough on a busy machine; it is waited for only when something is missing.
const LONG: Duration = Duration::from_secs(10);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn bind(listen: &[&str], shards: usize) -> Vec<ShardReceiver> {
    let listen: Vec<SocketAddr> = listen.iter().map(|text| address(text)).collect();
    ShardSockets::bind(&listen, shards, &OPTIONS).expect("loopback can be bound")
}

/// Sends these payloads to a listening address; `source` is an address without port.
fn send(source: IpAddr, target: SocketAddr, payloads: &[&[u8]]) -> SocketAddr {
    let mut sender = Sender::bind(SocketAddr::new(source, 0), target).expect("loopback");
    assert_eq!(sender.send(payloads).expect("sent"), payloads.len());
    sender.local_address().expect("bound")
}

/// A received datagram that is our own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    source: SocketAddr,
    destination: SocketAddr,
    received_ns: u64,
    payload: Vec<u8>,
}

/// Takes what is queued: on loopback, what was sent has arrived.
fn take_all(receiver: &mut ShardReceiver) -> Vec<Taken> {
    let mut all = Vec::new();
    loop {
        let datagrams = receiver.receive(Duration::ZERO).expect("readable");
        if datagrams.len() == 0 {
            return all;
        }
        all.extend(datagrams.map(|datagram| Taken {
            source: datagram.source,
            destination: datagram.destination,
            received_ns: datagram.received_ns,
            payload: datagram.payload.to_vec(),
        }));
    }
}
