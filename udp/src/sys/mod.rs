//! The system calls of the network path, each behind a safe function.
#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and some socket options have no safe binding"
)]

mod privilege;
mod ring;
mod send;

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

pub(crate) use privilege::drop_network_privileges;
pub(crate) use ring::{RingMemory, bind_protocol, fan_out, interface_index, ring_drops};
pub(crate) use send::{Slot, path_mtu, refusals, send_slots};

/// Messages a call takes or sends.
pub(crate) const BATCH: usize = 64;
/// The longest UDP payload fits: 65,527 bytes, over IPv6.
pub(crate) const SLOT_BYTES: usize = 65_536;
/// From one slot to the next: not a power of two, or the beginnings of all slots, which
/// are all that is used of most, would share a few cache sets.
const STRIDE: usize = SLOT_BYTES + 2_112;

/// Room for a `sockaddr_in` or a `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; 28]);

/// Room for a control message that holds a `timespec`, CMSG_SPACE(16), which is 32, and one that
/// holds an `in6_pktinfo`, CMSG_SPACE(20), which is 40; an `in_pktinfo` is shorter.
const CONTROL_BYTES: usize = 72;

/// That room, aligned as control messages are.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// What `recvmmsg` said of one message.
#[derive(Clone, Copy, Default)]
struct Received {
    bytes: usize,
    name_bytes: usize,
    control_bytes: usize,
}

/// One received message.
pub(crate) struct Message<'a> {
    pub(crate) payload: &'a [u8],
    /// The sender's `sockaddr`.
    pub(crate) name: &'a [u8],
    pub(crate) control: &'a [u8],
}

/// What one call of [`receive`] brought.
pub(crate) struct Batch {
    pub(crate) count: usize,
    /// Messages that did not fit their slot.
    pub(crate) truncated: u64,
}

/// The buffers that [`receive`] fills.
pub(crate) struct Slots {
    /// Allocated as zeroes: pages that no datagram reaches are never touched.
    data: Vec<u8>,
    names: [Name; BATCH],
    controls: [Control; BATCH],
    received: [Received; BATCH],
}

impl Slots {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            data: vec![0; STRIDE * BATCH],
            names: [Name([0; 28]); BATCH],
            controls: [Control([0; CONTROL_BYTES]); BATCH],
            received: [Received::default(); BATCH],
        })
    }

    /// The message in slot `index`.
    #[inline]
    pub(crate) fn message(&self, index: usize) -> Option<Message<'_>> {
        let received = self.received.get(index)?;
        let start = index * STRIDE;
        Some(Message {
            payload: self.data.get(start..start + received.bytes)?,
            name: self.names.get(index)?.0.get(..received.name_bytes)?,
            control: self.controls.get(index)?.0.get(..received.control_bytes)?,
        })
    }
}

/// Takes what is queued, up to [`BATCH`] datagrams; does not wait. recvmmsg(2).
pub(crate) fn receive(socket: BorrowedFd<'_>, slots: &mut Slots) -> io::Result<Batch> {
    let mut vectors: [libc::iovec; BATCH] = [EMPTY_VECTOR; BATCH];
    let mut headers: [libc::mmsghdr; BATCH] = zeroed_headers();
    let parts = slots
        .data
        .chunks_exact_mut(STRIDE)
        .zip(&mut slots.names)
        .zip(&mut slots.controls);
    for ((header, vector), ((slot, name), control)) in
        headers.iter_mut().zip(&mut vectors).zip(parts)
    {
        vector.iov_base = slot.as_mut_ptr().cast();
        vector.iov_len = SLOT_BYTES;
        let header = &mut header.msg_hdr;
        header.msg_name = (&raw mut name.0).cast();
        header.msg_namelen = name.0.len() as libc::socklen_t;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control.0).cast();
        header.msg_controllen = control.0.len();
    }
    // SAFETY: every header points at one vector of `vectors` and at a name and a control
    // buffer of `slots` with their true lengths, and every vector at `SLOT_BYTES` of a
    // stride of `slots.data`; all of them outlive the call and nothing else refers to them
    // during it. A null timeout is allowed.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            BATCH as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let mut truncated = 0;
    for (received, header) in slots.received.iter_mut().zip(&headers).take(count) {
        truncated += u64::from(header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0);
        *received = Received {
            bytes: header.msg_len as usize,
            name_bytes: header.msg_hdr.msg_namelen as usize,
            control_bytes: header.msg_hdr.msg_controllen,
        };
    }
    Ok(Batch { count, truncated })
}

/// Sends up to [`BATCH`] datagrams to the socket's peer; returns how many went. sendmmsg(2).
pub(crate) fn send(socket: BorrowedFd<'_>, payloads: &[&[u8]]) -> io::Result<usize> {
    let mut vectors: [libc::iovec; BATCH] = [EMPTY_VECTOR; BATCH];
    let mut headers: [libc::mmsghdr; BATCH] = zeroed_headers();
    let mut count = 0;
    for ((header, vector), payload) in headers.iter_mut().zip(&mut vectors).zip(payloads) {
        vector.iov_base = payload.as_ptr().cast_mut().cast();
        vector.iov_len = payload.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers point at one vector each, which is that of a slice
    // that outlives the call; the kernel only reads them, and writes `msg_len` of the headers.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_NOSIGNAL as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

const EMPTY_VECTOR: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

fn zeroed_header() -> libc::msghdr {
    // SAFETY: the structure consists of integers and raw pointers: all zeroes are valid.
    unsafe { mem::zeroed() }
}

fn zeroed_headers() -> [libc::mmsghdr; BATCH] {
    // SAFETY: the structure consists of integers and raw pointers: all zeroes are valid.
    unsafe { mem::zeroed() }
}

/// Waits until one of the sockets can be read, has an error, or the time is up; returns how
/// many. poll(2).
pub(crate) fn poll(sockets: &mut [libc::pollfd], wait: Duration) -> io::Result<usize> {
    // Rounded up, or the last part of a millisecond would be waited for by spinning.
    let milliseconds = wait.as_nanos().div_ceil(1_000_000);
    let milliseconds = libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer and the length are those of a slice that is ours for the call.
    let ready = unsafe {
        libc::poll(
            sockets.as_mut_ptr(),
            sockets.len() as libc::nfds_t,
            milliseconds,
        )
    };
    usize::try_from(ready).map_err(|_| io::Error::last_os_error())
}

/// Datagrams that the kernel dropped at this socket, modulo 2³²: the SK_MEMINFO_DROPS of
/// SO_MEMINFO, socket(7), linux/sock_diag.h. SO_RXQ_OVFL tells the same counter, but only
/// with a later datagram.
pub(crate) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const SK_MEMINFO_DROPS: usize = 8;
    let mut values = [0u32; SK_MEMINFO_DROPS + 1];
    let mut bytes = mem::size_of_val(&values) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` to the array, which is that long, and the
    // length written to `bytes`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    match values.get(SK_MEMINFO_DROPS) {
        Some(drops) if bytes as usize == mem::size_of_val(&values) => Ok(*drops),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Sets an integer option of level SOL_SOCKET. socket(7).
pub(crate) fn set_option(
    socket: impl AsFd,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    set_option_of(socket, libc::SOL_SOCKET, option, value)
}

/// Sets an integer option of any level. setsockopt(2).
pub(crate) fn set_option_of(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads the integer, whose length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of_val(&value) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Attaches a classic BPF program by SO_ATTACH_FILTER or SO_ATTACH_REUSEPORT_CBPF. socket(7).
pub(crate) fn attach_filter(
    socket: impl AsFd,
    option: libc::c_int,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    attach_program(socket, libc::SOL_SOCKET, option, program)
}

/// Attaches a classic BPF program by an option of any level.
pub(crate) fn attach_program(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from `filter`, a slice of that length,
    // and writes to neither.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const program).cast(),
            mem::size_of_val(&program) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
