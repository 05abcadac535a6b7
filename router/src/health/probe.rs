//! Asking a collector by HTTP whether it is well.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::ProbeUrl;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether the answer's status is one of success (RFC 9110 §15.3: 2xx).
pub(super) fn is_well(url: &ProbeUrl) -> bool {
    ask(url).is_some_and(|status| status == b'2')
}

/// The first digit of the status.
fn ask(url: &ProbeUrl) -> Option<u8> {
    let address = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .ok()?
        .next()?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let (path, host) = (&url.path, &url.authority);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    // RFC 9112 §4: "HTTP/1.1 200 OK"; nothing behind it is needed.
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).ok()?;
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', status] = answer else {
        return None;
    };
    Some(status)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers once.
    fn answered(with: &'static [u8]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/healthz", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(with).unwrap();
            request[..length].to_vec()
        });
        let is_well = is_well(&url.parse().unwrap());
        let request = server.join().unwrap();
        assert!(request.starts_with(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"));
        is_well
    }

    #[test]
    fn success_alone_is_well() {
        assert!(answered(b"HTTP/1.1 200 OK\r\n\r\nok\n"));
        assert!(answered(b"HTTP/1.0 204 No Content\r\n\r\n"));
        assert!(!answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"));
        assert!(!answered(b"SSH-2.0-OpenSSH\r\n"));
        assert!(!answered(b""));
    }

    #[test]
    fn nobody_is_not_well() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert!(!is_well(&url.parse().unwrap()));
    }
}
