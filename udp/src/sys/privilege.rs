//! The privileges of this thread: capabilities(7), capget(2).

use std::io;

/// _LINUX_CAPABILITY_VERSION_3: two sets of 32 capabilities each.
const VERSION: u32 = 0x2008_0522;
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

/// `struct __user_cap_header_struct`; process 0 is the calling thread.
#[repr(C)]
struct Header {
    version: u32,
    process: i32,
}

/// `struct __user_cap_data_struct`
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up CAP_NET_RAW and CAP_NET_ADMIN, for this thread and those that it starts from now on.
pub(crate) fn drop_network_privileges() -> io::Result<()> {
    let mut header = Header {
        version: VERSION,
        process: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: for this version the kernel writes two sets, which is what `data` holds, and may
    // write the version to the header. capget(2).
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // Both are among the first 32.
    let [low, _] = &mut data;
    let kept = !(1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW);
    low.effective &= kept;
    low.permitted &= kept;
    low.inheritable &= kept;
    // SAFETY: the kernel reads the header and two sets. capset(2).
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
