//! Flow exporters of others: what they make of known packets, and what of it arrives.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Completion;

use crate::Outcome;
use crate::collector::{Collector, own_loopback};
use crate::flows::{Flow, stored};
use crate::needs;
use crate::packets::{ICMP, ICMP_V6, Key, Totals, Traffic, UDP};
use crate::support::{program, signal, try_to_wait, wait_for};

const VERSIONS: [u8; 3] = [5, 9, 10];
/// Exporters give seconds, or milliseconds since a boot that they give in seconds.
const ACCURACY_US: i64 = 2_000_000;

pub(crate) fn softflowd() -> Outcome {
    let Some(softflowd) = program("softflowd") else {
        return needs::missing("softflowd is not installed");
    };
    from_capture(|version, target, capture| {
        let mut command = Command::new(&softflowd);
        command
            .arg("-r")
            .arg(capture)
            .args(["-n", &target.to_string(), "-v", &version.to_string()])
            .arg("-p")
            .arg(capture.with_extension(format!("{version}.pid")))
            // In the foreground, and without waiting for somebody at the control socket.
            .args(["-d", "-c", "none"]);
        command
    })
}

pub(crate) fn pmacctd() -> Outcome {
    let Some(pmacctd) = program("pmacctd") else {
        return needs::missing("pmacctd is not installed");
    };
    from_capture(|version, target, capture| {
        let configuration = capture.with_extension(format!("{version}.conf"));
        let capture = capture.display();
        let text = format!(
            "daemonize: false\n\
             pcap_savefile: {capture}\n\
             pidfile: {capture}.{version}.pid\n\
             aggregate: src_host, dst_host, src_port, dst_port, proto, tos\n\
             plugins: nfprobe\n\
             nfprobe_receiver: {target}\n\
             nfprobe_version: {version}\n"
        );
        fs::write(&configuration, text).expect("a configuration");
        let mut command = Command::new(&pmacctd);
        command.arg("-f").arg(configuration);
        command
    })
}

/// Runs an exporter on the same packets in each version, and compares.
fn from_capture(exporter: impl Fn(u8, SocketAddr, &Path) -> Command) -> Outcome {
    let folder = tempfile::tempdir()?;
    let capture = folder.path().join("packets.pcap");
    let traffic = Traffic::new();
    traffic.write(&capture);
    let dataset = folder.path().join("flows");
    let collector = Collector::start(&dataset, &[]);
    let log = |version| folder.path().join(format!("{version}.log"));
    let running = VERSIONS.map(|version| {
        let log = File::create(log(version)).expect("a log");
        let mut command = exporter(version, collector.address(), &capture);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        command.spawn().expect("the exporter starts")
    });
    // How they end says little: pmacctd is killed by itself at times. What arrives counts.
    for mut exporter in running {
        wait_for("the exporter to end", || {
            exporter.try_wait().expect("its state is known")
        });
    }
    let flows = 2 * traffic.totals.len() + traffic.ipv4().len();
    let stats = try_to_wait(|| {
        let stats = collector.stats();
        let records = stats["total"]["records"].as_u64().unwrap_or(0);
        (records >= flows as u64).then_some(stats)
    });
    let stats = stats.unwrap_or_else(|| {
        let logs = VERSIONS.map(|version| fs::read_to_string(log(version)).unwrap_or_default());
        panic!("{}{}", collector.stats(), logs.concat());
    });
    for domain in stats["domains"].as_array().expect("a list") {
        assert_eq!(domain["reasons"], serde_json::json!({}), "{domain}");
        // RFC 7011 §3.1 has IPFIX count the records before a message. softflowd counts the message's own too, and leaves
        // options data out, so that there seem to be gaps.
        if domain["export_version"] != 10 {
            assert_eq!(domain["sequence_lost"], 0, "{domain}");
        }
    }
    let ended = collector.end();
    assert!(!ended.log.contains("dropped here"), "{}", ended.log);
    let flows = stored(&dataset);
    for version in VERSIONS {
        let of_version: Vec<&Flow> = flows.iter().filter(|f| f.version == version).collect();
        // v5 knows IPv4 only.
        let expected = if version == 5 {
            traffic.ipv4()
        } else {
            traffic.totals.clone()
        };
        compare(&totals(&of_version), &expected, version);
        for flow in of_version {
            let (first, last) = (flow.first_us.expect("told"), flow.last_us.expect("told"));
            let range = traffic.first_us - ACCURACY_US..=traffic.last_us + ACCURACY_US;
            assert!(
                first <= last && range.contains(&first) && range.contains(&last),
                "{range:?} {flow:?}"
            );
        }
    }
    Ok(Completion::Completed)
}

fn totals(flows: &[&Flow]) -> BTreeMap<Key, Totals> {
    let mut found: BTreeMap<Key, Totals> = BTreeMap::new();
    for flow in flows {
        let protocol = flow.protocol.expect("told");
        // Some give the type and code of ICMP there.
        let is_icmp = matches!(protocol, ICMP | ICMP_V6);
        let port = |port: Option<u16>| if is_icmp { 0 } else { port.expect("told") };
        let key = Key {
            source: flow.source.expect("told"),
            destination: flow.destination.expect("told"),
            source_port: port(flow.source_port),
            destination_port: port(flow.destination_port),
            protocol,
        };
        let totals = found.entry(key).or_default();
        totals.packets += flow.packets.expect("told");
        totals.bytes += flow.bytes.expect("told");
    }
    found
}

#[track_caller]
fn compare(found: &BTreeMap<Key, Totals>, expected: &BTreeMap<Key, Totals>, version: u8) {
    for (key, totals) in expected {
        assert_eq!(found.get(key), Some(totals), "version {version}: {key:?}");
    }
    assert_eq!(found.len(), expected.len(), "version {version}");
}

/// fprobe listens on an interface only: it sees what two sockets of ours say to each other on loopback.
pub(crate) fn fprobe() -> Outcome {
    let Some(fprobe) = program("fprobe") else {
        return needs::missing("fprobe is not installed");
    };
    let folder = tempfile::tempdir()?;
    let dataset = folder.path().join("flows");
    let collector = Collector::start(&dataset, &[]);
    let talkers = [
        UdpSocket::bind((own_loopback(), 0))?,
        UdpSocket::bind((own_loopback(), 0))?,
    ];
    let addresses = [talkers[0].local_addr()?, talkers[1].local_addr()?];
    let filter = format!(
        "udp and host {} and host {}",
        addresses[0].ip(),
        addresses[1].ip()
    );
    let log = folder.path().join("fprobe.log");
    let mut exporter = Command::new(fprobe)
        .args(["-i", "lo", "-p", "-l", "2", "-f", &filter])
        .arg(collector.address().to_string())
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(Stdio::null())
        .spawn()?;
    // It tells its last option when it has opened the interface.
    let started = wait_for("fprobe to start", || {
        let ended = exporter.try_wait().expect("its state is known").is_some();
        let log = fs::read_to_string(&log).expect("a log");
        (ended || log.contains("collector #1")).then_some(!ended)
    });
    if !started {
        let log = fs::read_to_string(&log)?;
        return needs::missing(format!("fprobe cannot listen on loopback: {}", log.trim()));
    }
    let mut expected = BTreeMap::new();
    for (from, to, packets, payload) in [(0, 1, 30, 200), (1, 0, 10, 900)] {
        let (source, destination): (SocketAddr, SocketAddr) = (addresses[from], addresses[to]);
        for _ in 0..packets {
            talkers[from].send_to(&vec![0; payload], destination)?;
        }
        let key = Key {
            source: source.ip(),
            destination: destination.ip(),
            source_port: source.port(),
            destination_port: destination.port(),
            protocol: UDP,
        };
        let bytes = packets * (payload as u64 + 28);
        expected.insert(key, Totals { packets, bytes });
    }
    // Its capture hands packets over in blocks, after a time.
    std::thread::sleep(std::time::Duration::from_secs(2));
    signal(&exporter, "TERM");
    wait_for("fprobe to end", || {
        exporter.try_wait().expect("its state is known")
    });
    collector.end();
    let flows = stored(&dataset);
    assert!(flows.iter().all(|flow| flow.version == 5));
    compare(&totals(&flows.iter().collect::<Vec<_>>()), &expected, 5);
    Ok(Completion::Completed)
}
