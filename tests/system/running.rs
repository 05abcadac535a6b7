//! A collector at work: its addresses, its shards, its signals, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;

use forebay_udp::shard_of;
use libtest_mimic::Completion;

use crate::Outcome;
use crate::collector::{Collector, collect, free_udp_address, own_loopback};
use crate::flows::stored;
use crate::needs;
use crate::numbered::{Exporter, FLOWS, once};
use crate::support::{files, is_flow_file, name, wait_for};

/// How many messages an exporter sends.
const MESSAGES: u32 = 40;

pub(crate) fn every_flow_arrives_once_over_any_address() -> Outcome {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return needs::missing("loopback has no IPv6");
    }
    let folder = tempfile::tempdir()?;
    let dataset = folder.path().join("flows");
    let more = [
        free_udp_address(own_loopback()),
        free_udp_address(Ipv6Addr::LOCALHOST.into()),
    ];
    let flags = more.map(|address| format!("--listen={address}"));
    let flags = [&flags[0], &flags[1], "--shards=2"];
    let collector = Collector::start(&dataset, &flags);
    let mut exporters = Vec::new();
    let mut first = 1;
    for target in [collector.address(), more[0], more[1]] {
        for version in [5, 9, 10] {
            for host in 1..=4 {
                let source = match target.ip() {
                    IpAddr::V4(_) => Ipv4Addr::new(127, 0, 4, host).into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                };
                exporters.push(Exporter::new(source, target, version, first));
                first += MESSAGES * FLOWS;
            }
        }
    }
    for _ in 0..MESSAGES / 4 {
        for exporter in &mut exporters {
            exporter.send_many(4);
        }
    }
    let sent = u64::from(first - 1);
    collector.wait_for_stat("/total/records", sent);
    assert_eq!(collector.stat("/total/kernel_drops"), 0);
    assert_eq!(collector.stat("/total/sequence_lost"), 0);
    let ended = collector.end();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let flows = stored(&dataset);
    assert_eq!(once(&flows), (1..first).collect());
    let exporters: BTreeSet<&str> = flows.iter().map(|flow| &*flow.exporter).collect();
    let expected = ["127.0.4.1", "127.0.4.2", "127.0.4.3", "127.0.4.4", "::1"];
    assert_eq!(exporters, expected.into());
    Ok(Completion::Completed)
}

pub(crate) fn an_exporter_stays_on_one_shard() {
    const SHARDS: usize = 3;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = folder.path().join("flows");
    let other = free_udp_address(own_loopback());
    let flags = [format!("--listen={other}"), format!("--shards={SHARDS}")];
    let collector = Collector::start(&dataset, &flags.each_ref().map(String::as_str));
    let hosts = 1..=30;
    let mut first = 1;
    for host in hosts.clone() {
        // From two ports, to two addresses.
        for (target, version) in [(collector.address(), 5), (other, 9)] {
            let source = Ipv4Addr::new(127, 0, 5, host).into();
            Exporter::new(source, target, version, first).send_many(4);
            first += 4 * FLOWS;
        }
    }
    collector.wait_for_stat("/total/records", u64::from(first - 1));
    collector.end();
    let flows = stored(&dataset);
    assert_eq!(once(&flows), (1..first).collect());
    let mut shards: BTreeMap<Arc<str>, BTreeSet<usize>> = BTreeMap::new();
    for flow in &flows {
        let name = name(&flow.file);
        let stem = name.strip_suffix(".parquet").expect("a flow file");
        let (_, shard) = stem.rsplit_once('-').expect("its name ends with the shard");
        let shard = shard.parse().expect("a number");
        let of_exporter = shards.entry(Arc::clone(&flow.exporter)).or_default();
        of_exporter.insert(shard);
    }
    assert_eq!(shards.len(), hosts.count());
    for (exporter, shards) in &shards {
        let address = exporter.parse().expect("an address");
        assert_eq!(*shards, [shard_of(address, SHARDS)].into(), "{exporter}");
    }
    let used: BTreeSet<usize> = shards.into_values().flatten().collect();
    assert_eq!(used.len(), SHARDS, "30 exporters are enough for all");
}

pub(crate) fn what_the_socket_drops_is_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = folder.path().join("flows");
    // A buffer of some fifty messages.
    let flags = ["--receive-buffer=64KiB", "--shards=1"];
    let collector = Collector::start(&dataset, &flags);
    let local = Ipv4Addr::LOCALHOST.into();
    let mut exporter = Exporter::new(local, collector.address(), 9, 1);
    exporter.send();
    collector.wait_for_stat("/total/messages", 1);
    let mut sent = 1;
    let mut turn = 0;
    // The kernel tells what it dropped with the next datagram that it takes; v9 counts messages, so that the next one
    // shows how many are missing.
    let [received, dropped, lost] = wait_for("drops, and books that balance", || {
        let flooded = collector.stat("/total/kernel_drops") > 0;
        turn += 1;
        // The status is told four times a second: between messages there is time for that.
        let messages = match (flooded, turn % 20) {
            (false, _) => 20_000,
            (true, 0) => 1,
            (true, _) => 0,
        };
        (0..messages).for_each(|_| exporter.send());
        sent += messages;
        let stats = collector.stats();
        let told = ["messages", "kernel_drops", "sequence_lost"]
            .map(|name| stats["total"][name].as_u64().unwrap_or(0));
        (flooded && told[0] + told[1] == sent && told[1] == told[2]).then_some(told)
    });
    assert!(received + dropped == sent && lost == dropped);
    let ended = collector.end();
    assert!(
        ended.log.contains("datagrams dropped here"),
        "{}",
        ended.log
    );
    let found = once(&stored(&dataset));
    assert_eq!(found.len() as u64, received * u64::from(FLOWS));
}

pub(crate) fn a_hangup_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = folder.path().join("flows");
    let collector = Collector::start(&dataset, &["--rotate=1h", "--shards=2"]);
    let local = Ipv4Addr::LOCALHOST.into();
    let mut exporters = [(5, 1), (9, 1 << 20), (10, 2 << 20)]
        .map(|(version, first)| Exporter::new(local, collector.address(), version, first));
    let flow_files = || {
        files(&dataset)
            .iter()
            .filter(|path| is_flow_file(path))
            .count()
    };
    let mut so_far = 0;
    for _ in 0..3 {
        exporters
            .iter_mut()
            .for_each(|exporter| exporter.send_many(MESSAGES));
        collector.signal("HUP");
        exporters
            .iter_mut()
            .for_each(|exporter| exporter.send_many(MESSAGES));
        so_far = wait_for("new flow files", || {
            (flow_files() > so_far).then(&flow_files)
        });
    }
    // What came last is in the batches yet.
    exporters.iter_mut().for_each(Exporter::send);
    let ended = collector.end();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let found = once(&stored(&dataset));
    let each = (6 * MESSAGES + 1) * FLOWS;
    assert_eq!(found.len() as u32, 3 * each);
    for first in [1, 1 << 20, 2 << 20] {
        assert!((first..first + each).all(|number| found.contains(&number)));
    }
}

pub(crate) fn what_is_taken_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = folder.path().join("flows");
    let collector = Collector::start(&dataset, &[]);
    let taken = format!("--listen={}", collector.address());
    let free = format!("--listen={}", free_udp_address(own_loopback()));
    let other = folder.path().join("other");
    for (output, listen, what) in [(&dataset, free, "another"), (&other, taken, "is in use")] {
        let refused = collect(output, &[&listen]);
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let errors: Vec<&str> = said
            .lines()
            .filter(|l| l.starts_with("forebay: "))
            .collect();
        assert_eq!(errors.len(), 1, "{said}");
        assert!(errors[0].contains(what), "{said}");
        assert!(said.ends_with(&format!("{}\n", errors[0])), "{said}");
    }
    // The one that was there goes on.
    let mut exporter = Exporter::new(Ipv4Addr::LOCALHOST.into(), collector.address(), 5, 1);
    exporter.send();
    collector.wait_for_stat("/files/flows_stored", u64::from(FLOWS));
    assert!(collector.end().status.success());
}
