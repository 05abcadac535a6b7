//! Giving up what only opening takes.

use std::io;

use crate::sys;

/// Gives up the privileges that [`RawSender`](crate::RawSender) and
/// [`PacketRing`](crate::PacketRing) are opened with, CAP_NET_RAW and CAP_NET_ADMIN: for this
/// thread, and for those that it starts from now on. What is open stays of use.
///
/// # Errors
///
/// The system refuses it.
pub fn drop_network_privileges() -> io::Result<()> {
    sys::drop_network_privileges()
}
