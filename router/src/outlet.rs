//! Where datagrams go out.

use std::io;
use std::net::SocketAddr;

use forebay_udp::{Outgoing, OwnSender, RawSender};

/// What sends datagrams: raw with their exporters' addresses, from this machine's own, or into a test's hands.
pub trait Outlet {
    /// Sends all in their order, and tells each that did not go, once, by its index.
    fn send(&mut self, datagrams: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, io::Error));

    /// Tells which destinations refused earlier datagrams, where the kernel says so.
    fn refused(&mut self, each: &mut dyn FnMut(SocketAddr));
}

impl Outlet for RawSender {
    fn send(&mut self, datagrams: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, io::Error)) {
        Self::send(self, datagrams, failed);
    }

    // A refusal goes to the datagram's source, which is the exporter.
    fn refused(&mut self, _each: &mut dyn FnMut(SocketAddr)) {}
}

impl Outlet for OwnSender {
    fn send(&mut self, datagrams: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, io::Error)) {
        Self::send(self, datagrams, failed);
    }

    fn refused(&mut self, each: &mut dyn FnMut(SocketAddr)) {
        Self::refused(self).for_each(each);
    }
}

/// Numbers of errno(3) on Linux that std has no kind for.
const EMSGSIZE: i32 = 90;
const EAFNOSUPPORT: i32 = 97;
const ENOBUFS: i32 = 105;

/// The label of an error's counter.
pub(crate) fn reason(error: &io::Error) -> &'static str {
    match (error.raw_os_error(), error.kind()) {
        (Some(EMSGSIZE), _) => "too_long",
        (Some(EAFNOSUPPORT), _) => "address_family",
        (Some(ENOBUFS), _) | (_, io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory) => {
            "no_buffer"
        }
        (_, io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => "unreachable",
        (_, io::ErrorKind::NetworkDown) => "network_down",
        (_, io::ErrorKind::ConnectionRefused) => "refused",
        (_, io::ErrorKind::PermissionDenied) => "not_permitted",
        (_, io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput) => "address",
        _ => "system",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_have_reasons() {
        for (number, expected) in [
            (1, "not_permitted"),
            (11, "no_buffer"),
            (22, "address"),
            (90, "too_long"),
            (97, "address_family"),
            (99, "address"),
            (100, "network_down"),
            (101, "unreachable"),
            (105, "no_buffer"),
            (111, "refused"),
            (113, "unreachable"),
            (5, "system"),
        ] {
            assert_eq!(
                reason(&io::Error::from_raw_os_error(number)),
                expected,
                "{number}"
            );
        }
    }
}
