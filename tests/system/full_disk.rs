//! Disks without space: receiving goes on, what is not written is counted, and writing goes on when there is space.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use forebay_store::free_bytes;

use crate::Outcome;
use crate::collector::Collector;
use crate::flows::stored;
use crate::numbered::{Exporter, FLOWS, once};
use crate::small_disk;
use crate::support::{files, is_flow_file, is_segment, wait_for};

/// What the collector says of records that found no space.
const DISK_FULL: &str = "/total/reasons/record/disk_full";
const STORED: &str = "/files/flows_stored";

pub(crate) fn what_does_not_fit_is_counted() -> Outcome {
    let folder = tempfile::tempdir()?;
    small_disk::run("collect", "16m", folder.path(), None)
}

pub(crate) fn on_small_disk(disk: &Path) {
    let dataset = disk.join("flows");
    let collector = Collector::start(&dataset, &["--min-free=1MiB"]);
    let local = Ipv4Addr::LOCALHOST.into();
    let mut exporters = [(5, 1 << 24), (9, 2 << 24), (10, 3 << 24)]
        .map(|(version, first)| Exporter::new(local, collector.address(), version, first));
    let mut sent = 0;
    let mut send = || {
        for exporter in &mut exporters {
            exporter.send_many(200);
        }
        sent += 3 * 200 * u64::from(FLOWS);
        sent
    };
    send();
    collector.wait_for_stat("/files/flow_files", 1);

    // Until the disk is full at a moment when a segment waits or is open.
    wait_for(
        "records that find no space, and a segment that waits",
        || {
            make_space(disk);
            send();
            fill(disk);
            send();
            let waits = collector.stats()["files"]["settling_paused"] == true;
            (waits && collector.stat(DISK_FULL) > 0).then_some(())
        },
    );
    let so_far = collector.stat("/total/records");
    fill(disk);
    send();
    collector.wait_for_stat("/total/records", so_far + 1);

    make_space(disk);
    let stored_so_far = collector.stat(STORED);
    let sent = send();
    collector.wait_for_stat(STORED, stored_so_far + 1);
    // All that was sent and not dropped is told as stored or as lost.
    wait_for("the books to balance", || {
        let records = collector.stat("/total/records");
        let told = collector.stat(STORED) + collector.stat(DISK_FULL);
        (records == told && collector.stats()["files"]["settling_paused"] == false).then_some(())
    });
    if collector.stat("/total/kernel_drops") == 0 {
        assert_eq!(collector.stat("/total/records"), sent);
    }
    let (written, lost) = (collector.stat(STORED), collector.stat(DISK_FULL));
    let ended = collector.end();
    assert!(ended.status.success(), "{}", ended.log);
    for told in [
        "flows are not written",
        "flows are written again",
        "segments wait in staging until there is space",
        "there is space again",
        "(disk_full)",
    ] {
        assert!(ended.log.contains(told), "no \"{told}\" in {}", ended.log);
    }
    let found = once(&stored(&dataset));
    assert_eq!(found.len() as u64, written, "{lost} lost");
    assert!(!files(&dataset).iter().any(|path| is_segment(path)));
}

/// Leaves no space.
fn fill(disk: &Path) {
    loop {
        let free = free_bytes(disk).expect("asks");
        if free == 0 {
            return;
        }
        let number = files(disk).len();
        // What fits is written, the rest is refused.
        let _full = fs::write(
            disk.join(format!("filler{number}-{free}")),
            vec![0; free as usize],
        );
    }
}

fn make_space(disk: &Path) {
    for entry in fs::read_dir(disk).expect("lists") {
        let path = entry.expect("lists").path();
        if path.to_string_lossy().contains("filler") {
            fs::remove_file(path).expect("removes");
        }
    }
}

pub(crate) fn below_the_floor_segments_wait() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = folder.path().join("flows");
    // More than any disk has.
    let collector = Collector::start(&dataset, &["--min-free=1000000TiB"]);
    let mut exporter = Exporter::new(Ipv4Addr::LOCALHOST.into(), collector.address(), 9, 1);
    exporter.send_many(50);
    let sent = u64::from(50 * FLOWS);
    collector.wait_for_stat(STORED, sent);
    collector.wait_for_stat("/files/segments_waiting", 1);
    wait_for("settling to be paused", || {
        (collector.stats()["files"]["settling_paused"] == true).then_some(())
    });
    let ended = collector.end();
    assert!(ended.status.success(), "{}", ended.log);
    for told in ["segments wait in staging", "wait for the next start"] {
        assert!(ended.log.contains(told), "no \"{told}\" in {}", ended.log);
    }
    let paths = files(&dataset);
    assert!(paths.iter().any(|path| is_segment(path)));
    assert!(!paths.iter().any(|path| is_flow_file(path)));

    let collector = Collector::start(&dataset, &[]);
    collector.wait_until_settled();
    assert_eq!(collector.stat("/files/recovered_flows"), sent);
    collector.end();
    assert_eq!(once(&stored(&dataset)).len() as u64, sent);
}
