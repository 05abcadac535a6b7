//! Sending, many datagrams a system call.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::sys;

/// Sends datagrams from one address to another.
///
/// ```no_run
/// # use forebay_udp::Sender;
/// // Any address of 127.0.0.0/8 will do on loopback.
/// let mut sender = Sender::bind("127.0.0.7:0".parse()?, "127.0.0.1:2055".parse()?)?;
/// let sent = sender.send(&[b"one", b"two"])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sender {
    socket: UdpSocket,
}

impl Sender {
    /// A socket that sends from `source`, an address of this machine, to `target`. Port 0
    /// is any free port.
    ///
    /// # Errors
    ///
    /// The source is taken or no address of this machine, or the target cannot be reached
    /// from there.
    pub fn bind(source: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(source)?;
        socket.connect(target)?;
        Ok(Self { socket })
    }

    /// Sends each payload as a datagram; returns how many went, from the first. Waits while
    /// the socket's send buffer is full.
    ///
    /// # Errors
    ///
    /// The first datagram was refused: `ConnectionRefused` says that nobody listened to an
    /// earlier one. Later refusals show at the next call.
    pub fn send(&mut self, payloads: &[&[u8]]) -> io::Result<usize> {
        let mut sent = 0;
        while let Some(left @ [_, ..]) = payloads.get(sent..) {
            match sys::send(self.socket.as_fd(), left) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// The address that the datagrams come from.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
