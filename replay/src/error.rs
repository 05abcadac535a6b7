//! Why nothing is sent.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use forebay_udp::SendError;
use forebay_udp::capture::CaptureError;
use thiserror::Error;

use crate::pace::PaceError;

/// A recording that cannot be read or sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The capture cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// There is nothing to send.
    #[error(
        "{} has no export messages to send: {}", path.display(),
        nothing(*.datagrams, *.filtered, .torn.as_deref())
    )]
    NoMessages {
        /// The capture.
        path: PathBuf,
        /// UDP datagrams that it has.
        datagrams: u64,
        /// Of these, export messages that the filter does not take.
        filtered: u64,
        /// Why the capture ended before its end, if it did.
        torn: Option<Box<CaptureError>>,
    },
    /// The capture has more than the memory.
    #[error(
        "{} does not fit into the memory: it is read whole, and its first {datagrams} export messages take the {} MiB \
         that are free for it: send less at a time, by --exporter or --versions, or a part (`editcap -c`)",
        path.display(), bytes >> 20
    )]
    TooLarge {
        /// The capture.
        path: PathBuf,
        /// How many export messages there was room for.
        datagrams: usize,
        /// How many bytes they take.
        bytes: u64,
    },
    /// Nothing can be sent at this pace.
    #[error(transparent)]
    Pace(#[from] PaceError),
    /// The pace counts flows, and there are none.
    #[error("{} has no flows that a rate of flows could count: give a rate of datagrams", path.display())]
    NoFlows {
        /// The capture.
        path: PathBuf,
    },
    /// Exporters and target are not of one address family.
    #[error(
        "{source_address} cannot send to {target}: one is IPv4 and the other IPv6; leave it out (--exporter), or send \
         from this machine's own address (--source own)"
    )]
    Families {
        /// An exporter.
        source_address: SocketAddr,
        /// Where to.
        target: SocketAddr,
    },
    /// There is no socket to send from.
    #[error(transparent)]
    Send(#[from] SendError),
    /// More files would have to be open than the system allows: each exporter has a socket.
    #[error(
        "exporter {index} of {exporters} gets no socket: {source}; each takes one: raise the limit (`ulimit -n`), or \
         send raw (--source recorded)"
    )]
    TooManyFiles {
        /// The exporter, counted from 1.
        index: usize,
        /// How many there are.
        exporters: usize,
        /// What the system said.
        source: io::Error,
    },
    /// An exporter's address is no address of this machine, or taken.
    #[error(
        "cannot bind {from} to send to {target}: {source}; send raw (--source recorded), or from this machine's own \
         address (--source own)"
    )]
    Bind {
        /// The exporter's address.
        from: SocketAddr,
        /// Where to.
        target: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

fn nothing(datagrams: u64, filtered: u64, torn: Option<&CaptureError>) -> String {
    let mut text = match (datagrams, filtered) {
        (0, _) => "no UDP datagram is in it".to_owned(),
        (_, 0) => format!("none of its {datagrams} UDP datagrams is NetFlow or IPFIX"),
        _ => format!(
            "of its {datagrams} UDP datagrams, {filtered} are export messages, but of other exporters or versions"
        ),
    };
    if let Some(torn) = torn {
        text.push_str(&format!("; {torn}"));
    }
    text
}
