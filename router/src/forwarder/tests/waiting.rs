//! What waits for a collector that is down.

use std::path::Path;

use super::*;

#[test]
fn spooled_messages_come_first_and_in_order_when_the_collector_is_back() {
    let mut rig = Rig::new(&down(Down::Spool, &[1]));
    let source = exporter(1);
    rig.forward(&[(source, v9(1, true))]);
    rig.set(0, false);
    rig.outlet.take();
    for first in [2, 102, 202] {
        let batch: Vec<_> = (first..first + 100)
            .map(|of| (source, v9(of, false)))
            .collect();
        rig.forward(&batch);
    }
    assert_eq!(rig.outlet.sent, []);
    assert_eq!(rig.counters().waiting.datagrams, 300);
    assert_eq!(rig.of_target(0).waiting.datagrams, 300);
    rig.tend();
    assert_eq!(rig.outlet.sent, []);
    rig.set(0, true);
    // What comes meanwhile is behind it.
    let late: Vec<_> = (302..402).map(|of| (source, v9(of, false))).collect();
    rig.forward(&late);
    rig.tend_until_sent();
    rig.forward(&[(source, v9(402, false))]);
    let sent = rig.outlet.take();
    assert!(is_templates(&sent[0].payload));
    let numbers: Vec<u32> = sent.iter().map(|sent| number(&sent.payload)).collect();
    assert_eq!(numbers[0], 1);
    assert_eq!(numbers[1..], (2..=402).collect::<Vec<_>>());
    assert!(sent.iter().all(|sent| sent.source == source));
    assert_eq!(rig.counters().waiting, Tally::default());
    assert_eq!(rig.counters().forwarded, rig.counters().received);
    // Only the lock's file would be left.
    assert_eq!(std::fs::read_dir(rig.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_full_spool_says_so() {
    let mut rig = Rig::new(&down(Down::Spool, &[1]));
    rig.set(0, false);
    let long = [v5(1), vec![0; 60_000]].concat();
    let batch: Vec<_> = (0..100).map(|_| (exporter(1), long.clone())).collect();
    rig.forward(&batch);
    let waiting = rig.counters().waiting.datagrams;
    assert_eq!(waiting, (1 << 20) / (60_000 + 24 + 64));
    assert_eq!(
        rig.counters().failed.iter().collect::<Vec<_>>(),
        [("spool_full", 100 - waiting)]
    );
    rig.set(0, true);
    rig.tend_until_sent();
    assert_eq!(rig.outlet.sent.len() as u64, waiting);
    // There is room again.
    rig.set(0, false);
    rig.forward(&batch[..5]);
    assert_eq!(rig.counters().waiting.datagrams, 5);
}

#[test]
fn a_spool_that_cannot_be_written_loses_with_a_reason() {
    let mut rig = Rig::new(&down(Down::Spool, &[1]));
    std::fs::remove_dir_all(rig.folder.path()).unwrap();
    rig.set(0, false);
    rig.forward(&[(exporter(1), v5(1)), (exporter(1), v5(2))]);
    assert_eq!(
        rig.counters().failed.iter().collect::<Vec<_>>(),
        [("spool_failed", 2)]
    );
}

#[test]
fn what_a_full_disk_does_not_take_is_no_longer_said_to_wait() {
    let mut rig = Rig::new(&down(Down::Spool, &[1]));
    let options = rig.forwarder.spool.clone().unwrap();
    crate::spool::tests::fill_disk(&options, address(1), 0);
    rig.set(0, false);
    rig.forward(&[(exporter(1), v5(1)), (exporter(1), v5(2))]);
    assert_eq!(rig.counters().waiting.datagrams, 2);
    // At the end, it turns out.
    rig.forwarder.close_spools();
    rig.check();
    assert_eq!(rig.counters().waiting, Tally::default());
    assert_eq!(rig.of_target(0).waiting, Tally::default());
    let failed: Vec<_> = rig.counters().failed.iter().collect();
    assert_eq!(failed, [("spool_failed", 2)]);
    assert_eq!(&rig.of_target(0).failed, &rig.counters().failed);
    // There is room again.
    rig.forward(&[(exporter(1), v5(3))]);
    rig.set(0, true);
    rig.tend_until_sent();
    assert_eq!(rig.outlet.payloads(), [v5(3)]);
}

#[test]
fn what_waits_is_sent_after_a_restart() {
    let config = down(Down::Spool, &[1, 1]);
    let mut rig = Rig::new(&config);
    rig.set(0, false);
    rig.set(1, false);
    let datagrams: Vec<_> = (0..100)
        .map(|of| (exporter(of as u8), v9(of, true)))
        .collect();
    rig.forward(&datagrams);
    rig.tend();
    // One collector came back for a while.
    rig.routing.targets[0].set(true, false);
    rig.now_us += 1_000;
    rig.forwarder.tend(rig.now_us, &mut rig.outlet);
    rig.routing.targets[0].set(false, false);
    let mut sent = rig.outlet.take();
    sent.retain(|sent| !is_templates(&sent.payload));
    assert_eq!(sent.len(), 20);
    let Rig {
        forwarder, folder, ..
    } = rig;
    drop(forwarder);

    let mut next = Rig::new(&config);
    let left = crate::spool::leftovers(folder.path()).unwrap();
    let mut forwarders = [next.forwarder];
    recover(folder.path(), &left, &mut forwarders);
    [next.forwarder] = forwarders;
    next.check();
    assert_eq!(next.counters().recovered.datagrams, 100 - sent.len() as u64);
    next.tend_until_sent();
    let mut all: Vec<Sent> = next.outlet.take();
    all.retain(|sent| !is_templates(&sent.payload));
    all.extend(sent);
    let mut numbers: Vec<u32> = all.iter().map(|sent| number(&sent.payload)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[test]
fn what_waits_for_a_collector_that_is_taken_away_goes_to_the_others() {
    let mut rig = Rig::new(&down(Down::Spool, &[1, 1]));
    rig.set(0, false);
    let batch: Vec<_> = (0..100).map(|of| (exporter(of as u8), v5(of))).collect();
    rig.forward(&batch);
    let waiting = rig.counters().waiting.datagrams;
    assert!(waiting > 20);
    rig.outlet.take();
    let mut changed = down(Down::Spool, &[1, 1]);
    changed.routes[0].collectors[0].address = address(9);
    rig.reload(&changed);
    rig.tend_until_sent();
    assert_eq!(rig.outlet.sent.len() as u64, waiting);
    assert!(
        rig.outlet
            .sent
            .iter()
            .all(|sent| sent.destination == address(9))
    );
    assert_eq!(rig.counters().forwarded.datagrams, 100);
}

#[test]
fn what_waits_for_a_collector_that_is_taken_away_outlasts_a_look_that_sends_nothing() {
    let mut rig = Rig::new(&down(Down::Spool, &[1]));
    rig.set(0, false);
    rig.forward(&[(exporter(1), v5(1))]);
    rig.tend();
    let mut changed = down(Down::Spool, &[1]);
    changed.routes[0].collectors[0].address = address(9);
    rig.reload(&changed);
    // Right after the last look: nothing came and no time has passed.
    rig.forwarder.tend(rig.now_us, &mut rig.outlet);
    assert!(rig.forwarder.replays());
    rig.tend_until_sent();
    assert_eq!(rig.outlet.payloads(), [v5(1)]);
    assert_eq!(rig.counters().waiting, Tally::default());
}

#[test]
fn what_waits_for_a_collector_that_is_taken_away_and_given_back_waits_on() {
    let config = down(Down::Spool, &[1]);
    let mut rig = Rig::new(&config);
    rig.set(0, false);
    rig.forward(&[(exporter(1), v5(1)), (exporter(1), v5(2))]);
    let mut without = config.clone();
    without.routes[0].collectors[0].address = address(9);
    rig.reload(&without);
    rig.reload(&config);
    assert_eq!(rig.of_target(0).waiting.datagrams, 2);
    rig.set(0, false);
    rig.forward(&[(exporter(1), v5(3))]);
    rig.set(0, true);
    rig.tend_until_sent();
    assert_eq!(rig.outlet.payloads(), [v5(1), v5(2), v5(3)]);
    assert_eq!(rig.counters().failed.total(), 0);
    assert_eq!(rig.of_target(0).waiting, Tally::default());
}

/// Forwarders of as many threads, which have the same folder.
pub(super) fn threads(
    config: &Config,
    folder: &Path,
    bytes: u64,
    threads: usize,
) -> Vec<Forwarder> {
    let routing = Arc::new(Routing::new(config, None).unwrap());
    routing.targets[0].set(false, false);
    let found = crate::spool::leftovers(folder).unwrap();
    let first = found.iter().map(|left| left.number + 1).max().unwrap_or(0);
    let options = SpoolOptions {
        folder: folder.to_owned(),
        bytes,
        used: Arc::default(),
        thread: 0,
        threads,
        next: Arc::new(first.into()),
    };
    let make = |thread| {
        let options = SpoolOptions {
            thread,
            ..options.clone()
        };
        Forwarder::with_spool(Arc::clone(&routing), Limits::default(), options)
    };
    let mut forwarders: Vec<Forwarder> = (0..threads).map(make).collect();
    recover(folder, &found, &mut forwarders);
    forwarders
}

#[test]
fn a_full_spool_outlasts_restarts_with_other_threads_and_less_room_and_kills() {
    let config = down(Down::Spool, &[1]);
    let folder = tempfile::tempdir().unwrap();
    let payloads: Vec<Vec<u8>> = (0..400).map(|of| [v5(of), vec![0; 900]].concat()).collect();
    let datagrams = payloads.iter().map(|payload| Datagram {
        source: exporter(1),
        destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
        received_ns: 1_700_000_000_000_000_000,
        payload,
    });
    let mut first = threads(&config, folder.path(), 400 * (924 + 64), 1);
    let outlet = &mut Recorder::default();
    first[0].forward(datagrams.clone(), outlet);
    // One more has no room.
    first[0].forward(datagrams.take(1), outlet);
    assert_eq!(first[0].counters().failed.total(), 1);
    drop(first);
    for (bytes, count) in [(400 * (924 + 64), 4), (200_000, 4), (100_000, 3)] {
        let next = threads(&config, folder.path(), bytes, count);
        let mut sum = Counters::default();
        next.iter().for_each(|of| sum.add(of.counters()));
        assert_eq!(sum.recovered.datagrams, 400);
        assert_eq!((sum.waiting, sum.failed.total()), (sum.recovered, 0));
        // Killed: nothing is put in order any more.
        std::mem::forget(next);
    }
    let mut last = threads(&config, folder.path(), 100_000, 1);
    last[0].routing.targets[0].set(true, false);
    for now_ms in 0..1_000 {
        last[0].tend(now_ms * 1_000, outlet);
    }
    assert_eq!(outlet.payloads(), payloads);
}

#[test]
fn what_waits_for_an_address_that_is_no_collector_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = threads(&down(Down::Spool, &[1]), folder.path(), 1 << 20, 1);
    let payload = v5(1);
    let datagram = Datagram {
        source: exporter(1),
        destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
        received_ns: 0,
        payload: &payload,
    };
    first[0].forward([datagram].into_iter(), &mut Recorder::default());
    drop(first);
    let mut other = down(Down::Spool, &[1]);
    other.routes[0].collectors[0].address = address(9);
    let other = threads(&other, folder.path(), 1 << 20, 1);
    assert_eq!(other[0].counters().recovered, Tally::default());
    assert_eq!(crate::spool::leftovers(folder.path()).unwrap().len(), 1);
}

#[test]
fn as_many_threads_go_on_with_the_files_as_they_are() {
    let config = down(Down::Spool, &[1]);
    let folder = tempfile::tempdir().unwrap();
    let mut first = threads(&config, folder.path(), 1 << 20, 2);
    let outlet = &mut Recorder::default();
    let payloads = [v9(1, true), v9(2, false)];
    let messages = |at: usize| {
        let datagram = Datagram {
            source: exporter(1),
            destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
            received_ns: 1_700_000_000_000_000_000,
            payload: &payloads[at],
        };
        [datagram].into_iter()
    };
    let thread = forebay_udp::shard_of(exporter(1).ip(), 2);
    first[thread].forward(messages(0), outlet);
    drop(first);
    let left = crate::spool::leftovers(folder.path()).unwrap();
    assert_eq!(left.len(), 1);

    let mut next = threads(&config, folder.path(), 1 << 20, 2);
    assert_eq!(crate::spool::leftovers(folder.path()).unwrap(), left);
    let next = &mut next[thread];
    assert_eq!(next.counters().recovered.messages, 1);
    assert_eq!(next.counters().waiting, next.counters().recovered);
    next.forward(messages(1), outlet);
    next.routing.targets[0].set(true, false);
    next.tend(1_000_000, outlet);
    next.tend(2_000_000, outlet);
    let numbers: Vec<u32> = outlet.payloads().into_iter().map(number).collect();
    // With the templates in front.
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(next.counters().waiting, Tally::default());
    assert_eq!(next.counters().unaccounted(), 0);
    assert_eq!(crate::spool::leftovers(folder.path()).unwrap(), []);
}

/// A route of one collector that is at this host's address, with copies of all to another.
fn copied(host: u8) -> Config {
    let mut config = down(Down::Spool, &[1]);
    config.routes[0].collectors[0].address = address(host);
    config.routes[0].copies = vec![CopyTo {
        to: address(8),
        every: NonZero::<u32>::MIN,
    }];
    config
}

#[test]
fn what_waits_for_a_collector_that_is_taken_away_is_neither_overtaken_nor_copied_again() {
    let mut rig = Rig::new(&copied(1));
    rig.set(0, false);
    let batch = |numbers: std::ops::Range<u32>| -> Vec<_> {
        numbers.map(|of| (exporter(1), v5(of))).collect()
    };
    rig.forward(&batch(0..600));
    rig.reload(&copied(9));
    rig.forward(&batch(600..700));
    rig.tend();
    rig.forward(&batch(700..800));
    // Again, before all of it is sent.
    rig.set(0, false);
    rig.reload(&copied(7));
    rig.forward(&batch(800..900));
    rig.tend_until_sent();
    rig.forward(&batch(900..1_000));
    let numbers = |copies| -> Vec<u32> {
        let sent = rig.outlet.sent.iter();
        sent.filter(|sent| (sent.destination == address(8)) == copies)
            .map(|sent| number(&sent.payload))
            .collect()
    };
    assert_eq!(numbers(false), (0..1_000).collect::<Vec<_>>());
    assert_eq!(numbers(true), (0..1_000).collect::<Vec<_>>());
    let route = &rig.forwarder.routes()[0];
    assert_eq!(route.received, rig.counters().received);
    let of_shards = route.shards.iter().map(|shard| shard.datagrams);
    assert_eq!(of_shards.sum::<u64>(), 1_000);
    assert_eq!(rig.counters().forwarded, rig.counters().received);
}

#[test]
fn what_came_behind_those_of_a_collector_that_is_taken_away_finds_its_own_after_a_restart() {
    let mut rig = Rig::new(&copied(1));
    rig.set(0, false);
    rig.forward(&[(exporter(1), v5(1))]);
    rig.reload(&copied(9));
    rig.forward(&[(exporter(1), v5(2)), (exporter(1), v5(3))]);
    let Rig {
        forwarder, folder, ..
    } = rig;
    drop(forwarder);
    // The first waits for one that is no collector.
    let mut next = threads(&copied(9), folder.path(), 1 << 20, 1);
    assert_eq!(next[0].counters().recovered.datagrams, 2);
    next[0].routing.targets[0].set(true, false);
    let mut outlet = Recorder::default();
    next[0].tend(1_000_000, &mut outlet);
    assert_eq!(outlet.payloads(), [v5(2), v5(3)]);
    assert_eq!(outlet.sent[0].destination, address(9));
    assert_eq!(next[0].counters().waiting, Tally::default());
}

#[test]
fn a_spool_is_emptied_at_the_pace_of_its_own_collector() {
    let mut rig = Rig::new(&down(Down::Spool, &[1, 1]));
    let of = |target| {
        let collector = Some(address(target));
        let goes = |of: &SocketAddr| rig.routing.collector_of(5, of.ip()) == collector;
        (0..255).map(exporter).find(goes).unwrap()
    };
    let (waiting, busy) = (of(1), of(2));
    rig.set(0, false);
    let batch: Vec<_> = (0..500).map(|of| (waiting, v5(of))).collect();
    rig.forward(&batch);
    rig.set(0, false);
    rig.routing.targets[0].set(true, false);
    let ticks = |rig: &mut Rig, batch: &[(SocketAddr, Vec<u8>)]| {
        rig.outlet.take();
        for _ in 0..10 {
            rig.forward(batch);
            rig.now_us += 1_000;
            rig.forwarder.tend(rig.now_us, &mut rig.outlet);
        }
        let sent = rig.outlet.sent.iter();
        sent.filter(|sent| sent.destination == address(1)).count()
    };
    // However much comes for the other: 20 in a millisecond.
    let others: Vec<_> = (0..100).map(|of| (busy, v5(of))).collect();
    assert_eq!(ticks(&mut rig, &others), 200);
    // Twice what comes for itself, where that is more.
    let own: Vec<_> = (0..15).map(|of| (waiting, v5(of))).collect();
    assert_eq!(ticks(&mut rig, &own), 300);
}
