//! What waits for a collector that is down.

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
    for left in crate::spool::leftovers(folder.path()).unwrap() {
        let mut reader = forebay_udp::capture::CaptureReader::open(&left.path).unwrap();
        while let Some(datagram) = reader.next().unwrap() {
            assert!(next.forwarder.recover(left.collector, &datagram));
        }
    }
    next.check();
    assert_eq!(next.counters().recovered.datagrams, 100 - sent.len() as u64);
    next.tend_until_sent();
    let mut all: Vec<Sent> = next.outlet.take();
    all.retain(|sent| !is_templates(&sent.payload));
    all.extend(sent);
    let mut numbers: Vec<u32> = all.iter().map(|sent| number(&sent.payload)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    let nobody = SocketAddr::from(([203, 0, 113, 1], 1));
    let datagram = Datagram {
        source: exporter(1),
        destination: nobody,
        received_ns: 0,
        payload: &[],
    };
    assert!(!next.forwarder.recover(nobody, &datagram));
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
