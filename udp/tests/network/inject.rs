//! Frames as no socket for UDP would send them, and a filter that cannot be changed.
#![expect(
    unsafe_code,
    reason = "neither the address of an interface nor the option has a safe function"
)]

use std::ffi::CString;
use std::mem;

use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// Sends Ethernet frames out of an interface.
pub(crate) fn inject(interface: &str, frames: &[Vec<u8>]) {
    let name = CString::new(interface).expect("a name");
    // SAFETY: the name ends with a zero byte. if_nametoindex(3).
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "{interface}");
    let of_interface = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a `sockaddr_ll` is one of the addresses that the storage is for. packet(7).
    *unsafe { storage.view_as() } = of_interface;
    let length = mem::size_of_val(&of_interface) as libc::socklen_t;
    // SAFETY: it holds an address of that length.
    let address = unsafe { SockAddr::new(storage, length) };
    let socket = Socket::new(Domain::PACKET, Type::RAW, None).expect("privileged");
    for frame in frames {
        let sent = socket.send_to(frame, &address).expect("sent");
        assert_eq!(sent, frame.len());
    }
}

/// Makes the system refuse the socket of this number another filter.
pub(crate) fn lock_filter(socket: i32) {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads the integer, whose length is given; the option changes nothing of
    // this process's memory, whatever the number stands for. socket(7), SO_LOCK_FILTER.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_LOCK_FILTER,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "it has a filter");
}
