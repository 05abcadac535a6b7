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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn loopback(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 0))
    }

    #[test]
    fn every_payload_is_a_datagram() {
        let receiver = UdpSocket::bind(loopback(1)).unwrap();
        receiver
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut sender = Sender::bind(loopback(9), receiver.local_addr().unwrap()).unwrap();
        let payloads: Vec<Vec<u8>> = (0..150).map(|index| vec![index; 10]).collect();
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let mut buffer = [0; 20];
        for count in [0, 1, 63, 64, 65, 130] {
            assert_eq!(sender.send(&payloads[..count]).unwrap(), count);
            for payload in &payloads[..count] {
                let (bytes, source) = receiver.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..bytes], *payload);
                assert_eq!(source, sender.local_address().unwrap());
            }
        }
        receiver.set_nonblocking(true).unwrap();
        assert!(receiver.recv_from(&mut buffer).is_err());
    }

    #[test]
    fn what_cannot_be_sent_is_an_error() {
        let closed = UdpSocket::bind(loopback(1)).unwrap().local_addr().unwrap();
        let mut sender = Sender::bind(loopback(9), closed).unwrap();
        sender.send(&[b"nobody"]).unwrap();
        let refused = sender.send(&[b"listens"]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        // The one before is sent; then it is too long.
        let receiver = UdpSocket::bind(loopback(1)).unwrap();
        let mut sender = Sender::bind(loopback(9), receiver.local_addr().unwrap()).unwrap();
        let long = vec![0; 65_508];
        assert_eq!(sender.send(&[b"first", &long]).unwrap(), 1);
        assert!(sender.send(&[&long]).is_err());

        let other_family = "[::1]:2055".parse().unwrap();
        assert!(Sender::bind(loopback(9), other_family).is_err());
    }
}
