//! The router between networks: four with exporters on one side, seven collectors on the other.
//!
//! ```text
//! exporters 1 ─ e1 ┐              ┌ c1 ─ collector 1
//!     …            ├─── router ───┤        …
//! exporters 4 ─ e4 ┘              └ c7 ─ collector 7
//! ```
//!
//! Every datagram is to arrive once, at the collector that the table says, byte for byte, from its exporter's address and
//! port, with checksums that tshark accepts. The link to one collector takes shorter packets than the others.

mod parts;
mod refusal;
pub(crate) mod spaces;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use forebay_router::{Hash, Table};
use forebay_udp::Datagram;
use forebay_udp::capture::CaptureWriter;
use libtest_mimic::Completion;

use crate::Outcome;
use crate::needs;
use crate::support::{program, signal, wait_for};
use parts::Part;
pub(crate) use parts::{Arrived, part, run as run_part};
pub(crate) use refusal::{
    nothing_is_sent_to_an_address_that_moves_here, what_waits_is_not_sent_to_find_out_who_refuses,
};
use spaces::Space;

const NETWORKS: u8 = 4;
const HOSTS: u8 = 5;
const COLLECTORS: u8 = 7;
/// Not the number of collectors: the table has more than one shard for some.
const SHARDS: u32 = 11;
const PORT: u16 = 2055;
/// The collector whose link is narrow.
const NARROW: u8 = 3;
/// Where injected frames seem to come from: none of the hosts.
const TAGGED_HOST: u8 = 77;

pub(crate) fn ipv4_by_sockets() -> Outcome {
    route("socket", false)
}

pub(crate) fn ipv6_by_sockets() -> Outcome {
    route("socket", true)
}

pub(crate) fn ipv4_by_packets() -> Outcome {
    route("packets", false)
}

pub(crate) fn ipv6_by_packets() -> Outcome {
    route("packets", true)
}

/// A host of a network of exporters; the router is 254.
fn exporter(network: u8, host: u8, ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::from([0x2001, 0xdb8, 1, network.into(), 0, 0, 0, host.into()])
    } else {
        IpAddr::from([10, 1, network, host])
    }
}

/// The end of a collector's link: 1 is the router's, 2 the collector's.
fn collector(number: u8, end: u8, ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::from([0x2001, 0xdb8, 2, number.into(), 0, 0, 0, end.into()])
    } else {
        IpAddr::from([10, 2, number, end])
    }
}

fn route(input: &str, ipv6: bool) -> Outcome {
    for name in ["ip", "nsenter", "dumpcap", "tshark", "python3"] {
        if program(name).is_none() {
            return needs::missing(format!("there is no {name}"));
        }
    }
    if let Some(why) = spaces::missing() {
        return needs::missing(why);
    }
    let folder = tempfile::tempdir()?;
    let net = Net::new();
    // Somebody has the port already, and must not notice; with sockets that is the router.
    let beside = (input == "packets").then(|| net.router.part(&Part::Collector, &[]));
    let listeners: Vec<Listener> = (1..=COLLECTORS)
        .map(|number| Listener::start(&net, number, folder.path()))
        .collect();
    let router = Router::start(&net, input, ipv6);
    let mut sent = net.send(ipv6);
    let from_hosts = sent.len();
    if input == "packets" {
        sent.extend(net.inject_tagged(ipv6));
    }
    router.end();
    let mut arrived_beside = beside.map(spaces::Running::end);
    check_table(&sent, listeners, ipv6);
    if let Some(arrived) = &mut arrived_beside {
        // What is in no VLAN of this machine is nobody's but the ring's.
        assert_eq!(arrived.len(), from_hosts, "the one that has the port");
    }
    Ok(Completion::Completed)
}

/// Checks that everything arrived once, where it belongs, in its exporter's order.
fn check_table(sent: &[Arrived], listeners: Vec<Listener>, ipv6: bool) {
    let shards = NonZero::new(SHARDS).expect("it is not zero");
    let table = Table::new(shards, &[1; COLLECTORS as usize]).expect("it makes sense");
    let mut expected: BTreeMap<(u8, SocketAddr), Vec<&[u8]>> = BTreeMap::new();
    for datagram in sent {
        let shard = Hash::Address.shard(datagram.source.ip(), shards);
        let number = table.collector(shard) as u8 + 1;
        let of_exporter = expected.entry((number, datagram.source)).or_default();
        of_exporter.push(&datagram.payload);
    }
    let mut arrived = Vec::new();
    for listener in listeners {
        let number = listener.number;
        let (datagrams, capture) = listener.end();
        check_checksums(&capture, datagrams.len(), number);
        assert!(!datagrams.is_empty(), "collector {number} has nothing");
        arrived.extend(datagrams.into_iter().map(|datagram| (number, datagram)));
    }
    let mut found: BTreeMap<(u8, SocketAddr), Vec<&[u8]>> = BTreeMap::new();
    for (number, datagram) in &arrived {
        assert_eq!(datagram.source.is_ipv6(), ipv6);
        let of_exporter = found.entry((*number, datagram.source)).or_default();
        of_exporter.push(&datagram.payload);
    }
    let places = |of: &BTreeMap<(u8, SocketAddr), Vec<&[u8]>>| -> Vec<(u8, SocketAddr, usize)> {
        of.iter()
            .map(|((number, source), all)| (*number, *source, all.len()))
            .collect()
    };
    assert_eq!(places(&found), places(&expected));
    for (place, payloads) in &expected {
        assert!(found[place] == *payloads, "{place:?}: not what was sent");
    }
}

/// Has tshark look at every packet that came to a collector.
fn check_checksums(capture: &Path, datagrams: usize, number: u8) {
    let output = Command::new("tshark")
        .args(["-n", "--disable-protocol", "cflow", "-r"])
        .arg(capture)
        .args([
            "-o",
            "udp.check_checksum:TRUE",
            "-o",
            "ip.check_checksum:TRUE",
        ])
        .args([
            "-Y",
            "(udp.dstport == 2055 || ip.flags.mf == 1 || ipv6.fraghdr) && !icmp && !icmpv6",
        ])
        .args([
            "-T",
            "fields",
            "-e",
            "ip.version",
            "-e",
            "ip.checksum.status",
            "-e",
            "udp.checksum.status",
        ])
        .args(["-e", "frame.len"])
        .output()
        .expect("tshark runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut good = 0;
    let mut longest = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [version, of_ip, of_udp, bytes] = fields[..] else {
            panic!("tshark: {line}");
        };
        // 1 is good; IPv6 headers have none, nor has what is not the last fragment.
        assert!(of_ip == "1" || version != "4" && of_ip.is_empty(), "{line}");
        assert!(matches!(of_udp, "1" | ""), "{line}");
        good += usize::from(of_udp == "1");
        longest = longest.max(bytes.parse().unwrap_or(usize::MAX));
    }
    assert_eq!(good, datagrams, "collector {number}");
    let mtu = if number == NARROW {
        spaces::NARROW_MTU
    } else {
        1500
    };
    assert!(longest <= mtu + 14, "a frame of {longest} bytes");
}

/// All namespaces, joined.
struct Net {
    router: Space,
    networks: Vec<Space>,
    collectors: Vec<Space>,
}

impl Net {
    fn new() -> Self {
        let router = Space::new();
        let networks: Vec<Space> = (0..NETWORKS).map(|_| Space::new()).collect();
        let collectors: Vec<Space> = (0..COLLECTORS).map(|_| Space::new()).collect();
        for (space, number) in networks.iter().zip(1..) {
            let hosts: Vec<IpAddr> = (1..=HOSTS)
                .flat_map(|host| [false, true].map(|ipv6| exporter(number, host, ipv6)))
                .collect();
            let ends = [false, true].map(|ipv6| exporter(number, 254, ipv6));
            spaces::join(&router, &format!("e{number}"), &ends, space, &hosts);
        }
        for (space, number) in collectors.iter().zip(1..) {
            let [near, far] =
                [1, 2].map(|end| [false, true].map(|ipv6| collector(number, end, ipv6)));
            spaces::join(&router, &format!("c{number}"), &near, space, &far);
            space.route_by(&near);
        }
        for space in [&router, &collectors[usize::from(NARROW) - 1]] {
            let name = if std::ptr::eq(space, &router) {
                &format!("c{NARROW}")
            } else {
                spaces::FAR
            };
            space.ip(&format!("link set {name} mtu {}", spaces::NARROW_MTU));
        }
        Self {
            router,
            networks,
            collectors,
        }
    }

    /// Has all exporters send at the same time; returns what they sent.
    fn send(&self, ipv6: bool) -> Vec<Arrived> {
        let running: Vec<spaces::Running> = self
            .networks
            .iter()
            .zip(1..)
            .map(|(space, number)| {
                let target = SocketAddr::new(exporter(number, 254, ipv6), PORT);
                let hosts = (1..=HOSTS).map(|host| exporter(number, host, ipv6));
                let words: Vec<String> = std::iter::once(target.to_string())
                    .chain(hosts.map(|host| host.to_string()))
                    .collect();
                space.part(&Part::Exporters, &words)
            })
            .collect();
        running.into_iter().flat_map(spaces::Running::end).collect()
    }

    /// Sends frames with a VLAN tag from the last network; returns the datagrams in them.
    fn inject_tagged(&self, ipv6: bool) -> Vec<Arrived> {
        let source = SocketAddr::new(exporter(NETWORKS, TAGGED_HOST, ipv6), 50_000);
        let destination = SocketAddr::new(exporter(NETWORKS, 254, ipv6), PORT);
        let mut frames = String::new();
        let mut sent = Vec::new();
        for number in 0..20_u8 {
            let payload = [&[0, 5], &[number; 1000][..]].concat();
            let mut writer = CaptureWriter::new("memory", Vec::new()).expect("memory");
            let datagram = Datagram {
                source,
                destination,
                received_ns: 1,
                payload: &payload,
            };
            writer.write(&datagram).expect("memory");
            let capture = writer.finish().expect("memory");
            // Behind the headers of the file and of the packet is the IP packet.
            let packet = capture.get(40..).expect("a packet");
            let ether_type: [u8; 2] = if ipv6 { [0x86, 0xdd] } else { [0x08, 0] };
            let tag = [0x81, 0, 0x20, 7];
            let frame = [
                &spaces::ROUTER_MAC,
                &[2, 0, 0, 0, 0, 9],
                &tag[..],
                &ether_type,
                packet,
            ];
            frames.extend(frame.concat().iter().map(|byte| format!("{byte:02x}")));
            frames.push('\n');
            sent.push(Arrived { source, payload });
        }
        let network = self.networks.last().expect("there are some");
        network.inject(&frames);
        sent
    }
}

/// A collector and what captures beside it.
struct Listener {
    number: u8,
    running: spaces::Running,
    dumpcap: Child,
    capture: PathBuf,
}

impl Listener {
    fn start(net: &Net, number: u8, folder: &Path) -> Self {
        let space = &net.collectors[usize::from(number) - 1];
        let capture = folder.join(format!("collector-{number}.pcapng"));
        let dumpcap = space
            .command("dumpcap")
            .args(["-q", "-i", spaces::FAR, "-w"])
            .arg(&capture)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dumpcap starts");
        wait_for("a capture", || capture.exists().then_some(()));
        let neighbours = [false, true].map(|ipv6| collector(number, 1, ipv6).to_string());
        let running = space.part(&Part::Collector, &neighbours);
        Self {
            number,
            running,
            dumpcap,
            capture,
        }
    }

    /// What arrived, and the capture of it.
    fn end(mut self) -> (Vec<Arrived>, PathBuf) {
        let arrived = self.running.end();
        signal(&self.dumpcap, "INT");
        let status = self.dumpcap.wait().expect("it ends");
        assert!(status.success(), "dumpcap: {status}");
        (arrived, self.capture)
    }
}

/// `forebay route`.
struct Router {
    running: spaces::Logged,
}

impl Router {
    fn start(net: &Net, input: &str, ipv6: bool) -> Self {
        let to: Vec<String> = (1..=COLLECTORS)
            .map(|number| SocketAddr::new(collector(number, 2, ipv6), PORT).to_string())
            .collect();
        let mut command = net.router.command(env!("CARGO_BIN_EXE_forebay"));
        command
            .args([
                "route",
                "--listen",
                "[::]:2055",
                "--threads=2",
                "--fail-on-loss",
            ])
            .args(["--input", input, "--to", &to.join(",")])
            .args(["--shards", &SHARDS.to_string()]);
        let running = spaces::Logged::start(command);
        running.wait_for("threads: 2");
        // What it opened took CAP_NET_RAW; nothing that it does from now on takes that or CAP_NET_ADMIN.
        let kept = running.capabilities();
        assert_eq!(kept & (1 << 12 | 1 << 13), 0, "{kept:x}");
        Self { running }
    }

    /// Ends it: it must have lost nothing.
    fn end(self) {
        let (status, log) = self.running.end();
        assert!(status.success(), "{status}: {log}");
    }
}
