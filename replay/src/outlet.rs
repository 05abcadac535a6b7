//! Where datagrams leave from.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use forebay_udp::{Outgoing, OwnSender, RawSender, Sender};

use crate::error::ReplayError;
use crate::recording::{Prepared, Recording};

/// Datagrams that are sent together at most: what one system call takes.
pub(crate) const BATCH: usize = 64;
/// How often a datagram is tried again after the system told of an earlier one.
const AGAIN_MAX: usize = 4;

/// Where the datagrams come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The recorded addresses and ports, by raw sockets. It takes CAP_NET_RAW.
    Recorded,
    /// The recorded addresses and ports, which must be this machine's, as those of 127.0.0.0/8 are: each has a socket.
    Bound,
    /// One address of this machine, and one port.
    Own,
}

/// What becomes of a batch.
pub(crate) trait Results {
    /// The datagram with this place in the batch did not go.
    fn failed(&mut self, place: usize, error: &io::Error);
    /// The target refused an earlier datagram.
    fn refused(&mut self);
}

/// The sockets.
pub(crate) enum Outlet {
    Recorded(Box<RawSender>),
    Bound(Vec<Sender>),
    Own(Box<OwnSender>),
}

impl Outlet {
    pub(crate) fn open(
        source: Source,
        recording: &Recording,
        target: SocketAddr,
    ) -> Result<Self, ReplayError> {
        let sources = recording.sources();
        if source != Source::Own {
            let is_other = |source: &&SocketAddr| {
                source.ip().to_canonical().is_ipv4() != target.ip().to_canonical().is_ipv4()
            };
            if let Some(&source_address) = sources.iter().find(is_other) {
                return Err(ReplayError::Families {
                    source_address,
                    target,
                });
            }
        }
        Ok(match source {
            Source::Recorded => Self::Recorded(Box::new(RawSender::open()?)),
            Source::Own => Self::Own(Box::new(OwnSender::open()?)),
            Source::Bound => {
                let senders = (1..).zip(sources);
                let senders = senders.map(|(index, &from)| {
                    Sender::bind(from, target).map_err(|source| {
                        match source.raw_os_error() {
                            // The process's limit, and the machine's.
                            Some(24 | 23) => ReplayError::TooManyFiles {
                                index,
                                exporters: sources.len(),
                                source,
                            },
                            _ => ReplayError::Bind {
                                from,
                                target,
                                source,
                            },
                        }
                    })
                });
                Self::Bound(senders.collect::<Result<_, _>>()?)
            }
        })
    }

    /// Sends up to [`BATCH`] datagrams. Those of one exporter go in their order.
    pub(crate) fn send(
        &mut self,
        target: SocketAddr,
        batch: &[Prepared<'_>],
        results: &mut impl Results,
    ) {
        let mut outgoing = [Outgoing {
            source: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            destination: target,
            payload: &[],
        }; BATCH];
        for (outgoing, datagram) in outgoing.iter_mut().zip(batch) {
            outgoing.source = datagram.source;
            outgoing.payload = datagram.payload;
        }
        let outgoing = outgoing.get(..batch.len()).unwrap_or_default();
        match self {
            Self::Recorded(sender) => {
                sender.send(outgoing, |place, error| results.failed(place, &error));
            }
            Self::Own(sender) => {
                sender.send(outgoing, |place, error| results.failed(place, &error));
                sender.refused().for_each(|_| results.refused());
            }
            Self::Bound(senders) => send_bound(senders, batch, results),
        }
    }
}

/// Sends those of each exporter together.
fn send_bound(senders: &mut [Sender], batch: &[Prepared<'_>], results: &mut impl Results) {
    let mut done = [false; BATCH];
    for first in 0..batch.len() {
        let Some(source_index) = batch.get(first).map(|datagram| datagram.source_index) else {
            break;
        };
        if done.get(first).is_none_or(|&done| done) {
            continue;
        }
        let mut payloads: [&[u8]; BATCH] = [&[]; BATCH];
        let mut places = [0; BATCH];
        let mut count = 0;
        let rest = batch.iter().zip(&mut done).enumerate().skip(first);
        let of_source = rest.filter(|(_, (datagram, _))| datagram.source_index == source_index);
        let room = payloads.iter_mut().zip(&mut places);
        for ((place, (datagram, done)), (to, at)) in of_source.zip(room) {
            *done = true;
            *to = datagram.payload;
            *at = place;
            count += 1;
        }
        let (Some(sender), Some(payloads)) = (senders.get_mut(source_index), payloads.get(..count))
        else {
            continue;
        };
        send_all(sender, payloads, results, |place| {
            places.get(place).copied().unwrap_or_default()
        });
    }
}

fn send_all(
    sender: &mut Sender,
    payloads: &[&[u8]],
    results: &mut impl Results,
    place: impl Fn(usize) -> usize,
) {
    let mut next = 0;
    let mut again = 0;
    while let Some(left @ [_, ..]) = payloads.get(next..) {
        match sender.send(left) {
            Ok(sent) => {
                next += sent;
                again = 0;
            }
            // Told of an earlier datagram: this one has not been tried.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && again < AGAIN_MAX => {
                results.refused();
                again += 1;
            }
            Err(error) => {
                results.failed(place(next), &error);
                next += 1;
                again = 0;
            }
        }
    }
}

/// Whether all addresses are of loopback, which can be bound.
#[must_use]
pub fn can_be_bound(sources: &[SocketAddr]) -> bool {
    let is_loopback = |source: &SocketAddr| match source.ip().to_canonical() {
        std::net::IpAddr::V4(address) => address.is_loopback(),
        std::net::IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
    };
    sources.iter().all(is_loopback)
}
