//! SIGKILL at any moment: what was in a segment is in a flow file afterwards, once.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use forebay_collector::Saved;
use forebay_store::SegmentReader;

use crate::collector::Collector;
use crate::flows::{self, stored};
use crate::numbered::{Exporter, FLOWS, Load, number, once};
use crate::support::{files, is_segment, name, wait_for};

/// When a collector under load is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// So many milliseconds after it began to store flows.
    After(u64),
    /// When a flow file is being written.
    WhileSettling,
}

pub(crate) fn every_batch_is_in_a_flow_file_once() {
    let kills = [
        Kill::After(0),
        Kill::WhileSettling,
        Kill::After(430),
        Kill::After(1_270),
        Kill::WhileSettling,
    ];
    every_batch_is_there_once(&kills, "--format=parquet");
}

pub(crate) fn segments_that_are_kept_have_every_batch_once() {
    every_batch_is_there_once(&[Kill::After(0), Kill::After(1_130)], "--format=arrow");
}

fn every_batch_is_there_once(kills: &[Kill], format: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = folder.path().join("flows");
    let numbers = AtomicU32::new(1);
    let mut before = 0;
    for &kill in kills {
        let collector = Collector::start(&dataset, &["--shards=2", format]);
        let load = Load::start(collector.address(), &numbers);
        collector.wait_for_stat("/files/flows_stored", 1);
        match kill {
            Kill::After(milliseconds) => thread::sleep(Duration::from_millis(milliseconds)),
            Kill::WhileSettling => wait_for_unfinished(&dataset),
        }
        collector.kill();
        drop(load);

        let expected = on_disk(&dataset);
        assert!(expected.len() > before, "{kill:?}: nothing new on disk");
        before = expected.len();

        let collector = Collector::start(&dataset, &[format]);
        collector.wait_until_settled();
        let ended = collector.end();
        assert!(ended.status.success(), "{kill:?}: {}", ended.log);
        let found = once(&stored(&dataset));
        assert_eq!(found.len(), expected.len(), "{kill:?}");
        assert_eq!(found, expected, "{kill:?}");
        let left = files(&dataset).into_iter().filter(|path| is_left(path));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{kill:?}");
    }
}

/// The numbers of all flows on disk: in whole batches of segments, in flow files, or in both.
fn on_disk(dataset: &Path) -> HashSet<u32> {
    let mut found = once(&stored(dataset));
    for segment in files(dataset).iter().filter(|path| is_segment(path)) {
        found.extend(flows::read(segment).iter().map(number));
    }
    found
}

/// Whether a file is one that settling should have removed.
fn is_left(path: &Path) -> bool {
    is_segment(path) || name(path).ends_with(".tmp")
}

fn wait_for_unfinished(dataset: &Path) {
    for _ in 0..30_000 {
        if files(dataset)
            .iter()
            .any(|path| name(path).ends_with(".parquet.tmp"))
        {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("waited in vain for a flow file that is being written");
}

pub(crate) fn a_torn_tail_is_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = folder.path().join("flows");
    // Nothing settles before the kill.
    let collector = Collector::start(&dataset, &["--rotate=1h"]);
    let load = Load::start(collector.address(), &AtomicU32::new(1));
    collector.wait_for_stat("/files/flows_stored", 10_000);
    collector.kill();
    drop(load);

    let all = files(&dataset);
    let segments: Vec<&PathBuf> = all.iter().filter(|path| is_segment(path)).collect();
    let longest = segments
        .iter()
        .max_by_key(|path| fs::metadata(path).map_or(0, |m| m.len()));
    let longest = longest.expect("there are segments");
    let whole = flows::read(longest).len();
    // As after a power cut: the last batch is not all there.
    let file = File::options().write(true).open(longest).expect("opens");
    let length = file.metadata().expect("has a length").len();
    file.set_len(length - 100).expect("is cut");
    assert!(flows::read(longest).len() < whole, "a batch is cut off");
    let expected = on_disk(&dataset);
    let torn: u64 = segments.iter().map(|path| torn_bytes(path)).sum();
    assert!(torn > 0);

    let collector = Collector::start(&dataset, &[]);
    collector.wait_until_settled();
    assert_eq!(collector.stat("/files/torn_bytes"), torn);
    assert_eq!(
        collector.stat("/files/recovered_flows"),
        expected.len() as u64
    );
    let ended = collector.end();
    assert!(
        ended.log.contains("behind the last whole batch"),
        "{}",
        ended.log
    );
    assert_eq!(once(&stored(&dataset)), expected);
}

fn torn_bytes(segment: &Path) -> u64 {
    let mut reader = SegmentReader::open(segment, None).expect("opens");
    while reader.next_batch().expect("reads").is_some() {}
    reader.torn_bytes()
}

pub(crate) fn a_restart_decodes_the_first_datagram() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = folder.path().join("flows");
    let saved = dataset.join("templates.bin");
    let collector = Collector::start(&dataset, &[]);
    // Exporters keep their port, so the collector must come back to its own.
    let target = collector.address();
    let mut exporters = [(9, 1_000), (10, 2_000)]
        .map(|(version, first)| Exporter::new(Ipv4Addr::LOCALHOST.into(), target, version, first));
    exporters.iter_mut().for_each(Exporter::send);
    wait_for("the templates to be saved", || {
        let saved = format!("{:?}", Saved::load(&saved).ok()?);
        (saved.contains("version: 9") && saved.contains("version: 10")).then_some(())
    });
    collector.kill();

    for exporter in &mut exporters {
        exporter.tells_templates = false;
    }
    let both = u64::from(2 * FLOWS);
    let collector = Collector::start_at(&dataset, target, &[]);
    exporters.iter_mut().for_each(Exporter::send);
    collector.wait_for_stat("/files/flows_stored", both);
    assert_eq!(collector.stat("/total/templates"), 0);
    assert_eq!(collector.stat("/total/sets_waited"), 0);
    assert!(collector.end().status.success());

    let mut bytes = fs::read(&saved).expect("is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&saved, bytes).expect("is damaged");
    let collector = Collector::start_at(&dataset, target, &[]);
    wait_for("the damage to be told", || {
        let log = collector.log();
        log.contains("templates are damaged").then_some(())
    });
    exporters.iter_mut().for_each(Exporter::send);
    collector.wait_for_stat("/total/sets_waited", 2);
    assert_eq!(collector.stat("/total/records"), 0);
    for exporter in &mut exporters {
        exporter.tells_templates = true;
        exporter.send();
    }
    collector.wait_for_stat("/total/sets_recovered", 2);
    collector.wait_for_stat("/files/flows_stored", 2 * both);
    assert!(collector.end().status.success());
    // Of the first messages, the killed collector may have held some in memory alone.
    let found = once(&stored(&dataset));
    for first in [1_000, 2_000] {
        let later = first + FLOWS..first + 4 * FLOWS;
        assert!(
            later.clone().all(|number| found.contains(&number)),
            "{later:?}"
        );
    }
}
