//! Sending to named addresses, and what the system knows of the way there.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::BATCH;
use crate::packet::Head;
use crate::sockaddr;

/// One packet to send, but for its payload.
pub(crate) struct Slot {
    /// What comes before the payload.
    pub(crate) head: Head,
    /// The caller's number for what the packet belongs to.
    pub(crate) index: usize,
    name: [u8; sockaddr::MAX_BYTES],
    name_bytes: usize,
}

impl Slot {
    pub(crate) const EMPTY: Self = Self {
        head: Head::EMPTY,
        index: 0,
        name: [0; sockaddr::MAX_BYTES],
        name_bytes: 0,
    };

    /// Where the packet goes.
    #[inline]
    pub(crate) fn set_name(&mut self, destination: SocketAddr) {
        self.name_bytes = sockaddr::encode(destination, &mut self.name);
    }
}

/// Sends up to [`BATCH`] packets, each a slot's head and the payload at the same place; returns
/// how many went. Does not wait. sendmmsg(2).
pub(crate) fn send_slots(
    socket: BorrowedFd<'_>,
    slots: &[Slot],
    payloads: &[&[u8]],
) -> io::Result<usize> {
    let mut vectors = [[super::EMPTY_VECTOR; 2]; BATCH];
    let mut headers: [libc::mmsghdr; BATCH] = super::zeroed_headers();
    let mut count = 0;
    for (((header, vectors), slot), payload) in headers
        .iter_mut()
        .zip(&mut vectors)
        .zip(slots)
        .zip(payloads)
    {
        let head = slot.head.bytes();
        let [first, second] = vectors;
        first.iov_base = head.as_ptr().cast_mut().cast();
        first.iov_len = head.len();
        second.iov_base = payload.as_ptr().cast_mut().cast();
        second.iov_len = payload.len();
        let header = &mut header.msg_hdr;
        header.msg_name = slot.name.as_ptr().cast_mut().cast();
        header.msg_namelen = slot.name_bytes as libc::socklen_t;
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len() as _;
        count += 1;
    }
    // SAFETY: the first `count` headers point at a slot's name with its length and at two
    // vectors each, which are those of slices; all of them outlive the call. The kernel only
    // reads them, and writes `msg_len` of the headers.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The longest packet that the path to a connected socket's peer takes, as far as the system
/// knows: IP_MTU, ip(7), or IPV6_MTU, ipv6(7).
pub(crate) fn path_mtu(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<usize> {
    let (level, option) = match ipv6 {
        false => (libc::IPPROTO_IP, libc::IP_MTU),
        true => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mut mtu: libc::c_int = 0;
    let mut bytes = mem::size_of_val(&mtu) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` to the integer, which is that long, and the
    // length written to `bytes`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut mtu).cast(),
            &raw mut bytes,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    usize::try_from(mtu).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Takes what the socket's error queue holds, and tells the destinations that refused a
/// datagram; returns how many errors there were. IP_RECVERR, ip(7): the name of such a message
/// is the address that the datagram was sent to.
pub(crate) fn refusals(socket: BorrowedFd<'_>, mut refused: impl FnMut(SocketAddr)) -> usize {
    let mut taken = 0;
    // As many as a batch can have caused.
    while taken < BATCH {
        let mut name = [0; sockaddr::MAX_BYTES];
        // CMSG_SPACE of a `sock_extended_err` and a `sockaddr_in6`, and room to spare.
        let mut control = ErrorControl([0; 128]);
        let mut vector = super::EMPTY_VECTOR;
        let mut header = super::zeroed_header();
        header.msg_name = name.as_mut_ptr().cast();
        header.msg_namelen = name.len() as libc::socklen_t;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
        // SAFETY: the header points at a name, an empty vector and a control buffer with their
        // true lengths, all of which outlive the call and are referred to by nothing else.
        let result = unsafe {
            libc::recvmsg(
                socket.as_raw_fd(),
                &raw mut header,
                libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
            )
        };
        if result < 0 {
            break;
        }
        taken += 1;
        let error = error_number(control.0.get(..header.msg_controllen).unwrap_or_default());
        let name = name
            .get(..header.msg_namelen as usize)
            .filter(|name| !name.is_empty());
        if let (Some(libc::ECONNREFUSED), Some(name)) = (error, name) {
            refused(sockaddr::decode(name));
        }
    }
    taken
}

#[repr(C, align(8))]
struct ErrorControl([u8; 128]);

/// The `ee_errno` of the first control message: `struct cmsghdr` (length, level, type) and
/// `struct sock_extended_err`. cmsg(3), ip(7).
fn error_number(control: &[u8]) -> Option<i32> {
    let level = i32::from_ne_bytes(*control.get(8..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*control.get(12..)?.first_chunk()?);
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
            Some(i32::from_ne_bytes(*control.get(16..)?.first_chunk()?))
        }
        _ => None,
    }
}
