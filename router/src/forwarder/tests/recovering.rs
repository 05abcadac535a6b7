//! What an earlier run left is read while new messages come.

use super::waiting::threads;
use super::*;
use crate::spool::leftovers;

/// What an earlier run left for the first collector.
struct Left {
    folder: TempDir,
    config: Config,
}

impl Left {
    /// Of two threads: now there is one.
    fn new(config: Config, source: SocketAddr, payloads: &[Vec<u8>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut first = threads(&config, folder.path(), 1 << 20, 2);
        let datagrams = payloads.iter().map(|payload| Datagram {
            source,
            destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
            received_ns: 1_600_000_000_000_000_000,
            payload,
        });
        let thread = forebay_udp::shard_of(source.ip(), 2);
        first[thread].forward(datagrams, &mut Recorder::default());
        assert_eq!(
            first[thread].counters().waiting.datagrams,
            payloads.len() as u64
        );
        Self { folder, config }
    }

    /// Who waits for it.
    fn rig(&self, config: &Config) -> Rig {
        let mut rig = Rig::new(config);
        let left = leftovers(self.folder.path()).unwrap();
        rig.forwarder.await_recovery(&left);
        rig
    }

    /// It has been read.
    fn read(&self, rig: &mut Rig) {
        let mut found = threads(&self.config, self.folder.path(), 1 << 20, 1);
        rig.forwarder.absorb(found.remove(0));
        rig.check();
    }
}

/// An exporter of a collector.
fn exporter_of(config: &Config, collector: SocketAddr) -> SocketAddr {
    let routing = Routing::new(config, None).unwrap();
    let goes = |of: &SocketAddr| routing.collector_of(9, of.ip()) == Some(collector);
    (0..255).map(exporter).find(goes).unwrap()
}

fn messages(sent: &[Sent]) -> Vec<u32> {
    let messages = sent.iter().filter(|sent| !is_templates(&sent.payload));
    messages.map(|sent| number(&sent.payload)).collect()
}

#[test]
fn nobody_waits_for_it_but_what_belongs_behind_it() {
    let config = down(Down::Spool, &[1, 1]);
    let (waiting, other) = (
        exporter_of(&config, address(1)),
        exporter_of(&config, address(2)),
    );
    let left = Left::new(config.clone(), waiting, &[v9(1, true), v9(2, false)]);
    let mut rig = left.rig(&config);
    rig.forward(&[(waiting, v9(3, false)), (other, v9(77, false))]);
    rig.tend();
    assert_eq!(messages(&rig.outlet.take()), [77]);
    assert_eq!(rig.of_target(0).waiting.datagrams, 1);
    assert!(rig.forwarder.replays());

    left.read(&mut rig);
    assert_eq!(rig.counters().recovered.datagrams, 2);
    assert_eq!(rig.counters().waiting.datagrams, 3);
    assert_eq!(rig.of_target(0).waiting.datagrams, 3);
    rig.forward(&[(waiting, v9(4, false))]);
    rig.tend_until_sent();
    rig.forward(&[(waiting, v9(5, false))]);
    let sent = rig.outlet.take();
    assert_eq!(messages(&sent), [1, 2, 3, 4, 5]);
    assert!(sent.iter().all(|sent| sent.destination == address(1)));
    assert_eq!(rig.counters().waiting, Tally::default());
    assert_eq!(rig.of_target(0).waiting, Tally::default());
    assert_eq!(leftovers(left.folder.path()).unwrap(), []);
}

#[test]
fn who_has_its_copies_is_told_the_templates_that_were_found() {
    let config = one_route(Route {
        down: Down::Spool,
        copies: vec![CopyTo {
            to: address(9),
            every: NonZero::<u32>::MIN,
        }],
        ..route(&[1])
    });
    let source = exporter(1);
    let left = Left::new(config.clone(), source, &[v9(1, true)]);
    let mut rig = left.rig(&config);
    rig.set(0, false);
    rig.forward(&[(source, v9(2, false))]);
    rig.outlet.take();
    left.read(&mut rig);
    rig.forward(&[(source, v9(3, false))]);
    let sent = rig.outlet.take();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|sent| sent.destination == address(9)));
    assert!(is_templates(&sent[0].payload));
}

#[test]
fn a_collector_that_is_taken_away_meanwhile_leaves_it_to_the_others() {
    let config = down(Down::Spool, &[1]);
    let source = exporter(1);
    let left = Left::new(config.clone(), source, &[v9(1, false), v9(2, false)]);
    let mut rig = left.rig(&config);
    rig.set(0, false);
    rig.forward(&[(source, v9(3, false))]);
    let mut changed = config;
    changed.routes[0].collectors[0].address = address(9);
    rig.reload(&changed);
    rig.forward(&[(source, v9(4, false))]);
    rig.tend();
    assert_eq!(rig.outlet.take(), []);
    left.read(&mut rig);
    rig.forward(&[(source, v9(5, false))]);
    rig.tend_until_sent();
    let sent = rig.outlet.take();
    assert_eq!(messages(&sent), [1, 2, 3, 4, 5]);
    assert!(sent.iter().all(|sent| sent.destination == address(9)));
    assert_eq!(rig.counters().waiting, Tally::default());
}

#[test]
fn nothing_waits_for_what_will_not_come() {
    let config = down(Down::Spool, &[1]);
    let source = exporter(1);
    let left = Left::new(config.clone(), source, &[v5(1)]);
    // It is for nobody now, and stays.
    let mut other = config.clone();
    other.routes[0].collectors[0].address = address(9);
    let mut rig = left.rig(&other);
    rig.forward(&[(source, v5(2))]);
    assert_eq!(rig.outlet.payloads(), [v5(2)]);
    // It could not be read.
    let mut rig = left.rig(&config);
    rig.forward(&[(source, v5(2))]);
    assert_eq!(rig.outlet.payloads(), [[0; 0]; 0]);
    rig.forwarder.recovery_ended();
    rig.tend_until_sent();
    assert_eq!(rig.outlet.payloads(), [v5(2)]);
}

#[test]
fn templates_that_both_runs_know_are_as_old_as_the_first_says() {
    let config = down(Down::Spool, &[1]);
    let source = exporter(1);
    let left = Left::new(config.clone(), source, &[v9(1, true), v9(2, false)]);
    let mut rig = left.rig(&config);
    rig.forward(&[(source, v9(3, true))]);
    rig.tend();
    left.read(&mut rig);
    // The collector ends after the first of them, which had the templates.
    while rig.outlet.sent.is_empty() {
        rig.now_us += 50;
        rig.forwarder.tend(rig.now_us, &mut rig.outlet);
    }
    assert_eq!(messages(&rig.outlet.take()), [1]);
    rig.set(0, false);
    rig.set(0, true);
    rig.tend_until_sent();
    let sent = rig.outlet.take();
    assert!(is_templates(&sent[0].payload));
    assert_eq!(messages(&sent), [2, 3]);
}
