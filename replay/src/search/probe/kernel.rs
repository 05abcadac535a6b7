//! The kernel's own count of what a socket had to drop: it works for every collector on this host.

use std::collections::HashMap;
use std::fs;

use super::{Count, Counted, ProbeError, Reading};

/// One line per UDP socket of the network namespace, under a line of headings (proc(5)).
const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// The fields of a line by place: `local_address`, `tx_queue:rx_queue`, `inode`, `drops`.
const LOCAL: usize = 1;
const QUEUES: usize = 4;
const INODE: usize = 9;
const DROPS: usize = 12;

/// The sockets of a port.
#[derive(Debug)]
pub(super) struct Sockets {
    port: u16,
    /// The drops of each socket that was ever there, by inode: what a closed one dropped would be lost.
    drops: HashMap<u64, u64>,
}

impl Sockets {
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            drops: HashMap::new(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn read(&mut self) -> Result<Reading, ProbeError> {
        let port = self.port;
        let mut text = String::new();
        for path in TABLES {
            match fs::read_to_string(path) {
                Ok(table) => text.push_str(&table),
                // A kernel without IPv6 has no second table.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(ProbeError::Table { port, path, source }),
            }
        }
        self.take(&text)
    }

    fn take(&mut self, tables: &str) -> Result<Reading, ProbeError> {
        let port = self.port;
        let sockets: Vec<Socket> = tables
            .lines()
            .filter_map(|line| Socket::parse(line, port))
            .collect();
        let is_there = |inode: &u64| sockets.iter().any(|socket| socket.inode == *inode);
        if !self.drops.keys().all(is_there) {
            return Err(ProbeError::SocketClosed { port });
        }
        if sockets.is_empty() {
            return Err(ProbeError::NoSocket { port });
        }
        for socket in &sockets {
            self.drops.insert(socket.inode, socket.drops);
        }
        let count = self.drops.values().sum();
        Ok(Reading {
            counts: vec![Count {
                of: Counted::DroppedDatagrams,
                count,
            }],
            waiting_bytes: Some(sockets.iter().map(|socket| socket.waiting_bytes).sum()),
        })
    }
}

struct Socket {
    inode: u64,
    drops: u64,
    waiting_bytes: u64,
}

impl Socket {
    /// The socket of a line, if it has the port.
    fn parse(line: &str, port: u16) -> Option<Self> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local_port) = fields.get(LOCAL)?.rsplit_once(':')?;
        if u16::from_str_radix(local_port, 16) != Ok(port) {
            return None;
        }
        let (_, waiting) = fields.get(QUEUES)?.split_once(':')?;
        Some(Self {
            inode: fields.get(INODE)?.parse().ok()?,
            drops: fields.get(DROPS)?.parse().ok()?,
            waiting_bytes: u64::from_str_radix(waiting, 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
   12: 0100007F:0807 00000000:0000 07 00000000:0003FC00 00:00000000 00000000     0        0 4711 2 0000000000000000 17
   13: 0100007F:0808 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 99
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
   14: 00000000000000000000000000000000:0807 00000000000000000000000000000000:0000 07 00000000:00000400 00:00000000 00000000     0        0 4713 2 0000000000000000 3
";

    #[test]
    fn the_drops_of_a_ports_sockets_are_added_up() {
        let reading = Sockets::new(2055).take(TABLE).expect("sockets");
        assert_eq!(reading.counts[0].count, 20);
        assert_eq!(reading.waiting_bytes, Some(0x3FC00 + 0x400));
    }

    #[test]
    fn a_socket_that_goes_is_told_and_one_that_comes_counts() {
        let mut sockets = Sockets::new(2055);
        let first: String = TABLE.lines().take(3).collect::<Vec<_>>().join("\n");
        assert_eq!(sockets.take(&first).expect("one").counts[0].count, 17);
        assert_eq!(sockets.take(TABLE).expect("two").counts[0].count, 20);
        let error = sockets.take(&first).expect_err("one is gone").to_string();
        assert!(
            error.contains("kernel:2055") && error.contains("closed"),
            "{error}"
        );
    }

    #[test]
    fn a_port_that_nobody_has_is_told() {
        let error = Sockets::new(9).take("").expect_err("nobody").to_string();
        assert!(error.contains("no UDP socket has port 9"), "{error}");
        for line in ["", "x", "1: 0100007F:0009 x", "1: 0100007F 2 3 4 5 6"] {
            assert!(Sockets::new(9).take(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_a_real_socket_drops_is_counted() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let target = receiver.local_addr().expect("bound");
        let mut sockets = Sockets::new(target.port());
        let before = sockets.read().expect("it is there");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
        for _ in 0..20_000 {
            sender.send_to(&[0; 1400], target).expect("sent");
        }
        let after = sockets.read().expect("it is still there");
        assert!(after.counts[0].count > before.counts[0].count);
        assert!(after.waiting_bytes > before.waiting_bytes);
    }
}
