//! The books balance whatever comes and whatever happens.

use proptest::prelude::*;

use super::*;

/// What a network can send and what can happen meanwhile.
#[derive(Debug, Clone)]
enum Event {
    Batch(Vec<(u8, Vec<u8>)>),
    Set(usize, bool),
    Reload(Vec<u32>),
    Tend,
}

fn event() -> impl Strategy<Value = Event> {
    let versions = prop_oneof![Just(5_u16), Just(9), Just(10), Just(1), any::<u16>()];
    let garbage = (versions, prop::collection::vec(any::<u8>(), 0..60))
        .prop_map(|(version, rest)| [version.to_be_bytes().to_vec(), rest].concat());
    let short = prop::collection::vec(any::<u8>(), 0..3);
    let whole = (any::<u32>(), any::<bool>(), any::<bool>()).prop_map(|(number, with, is_v9)| {
        if is_v9 {
            v9(number, with)
        } else {
            ipfix(number, with)
        }
    });
    let payload = prop_oneof![1 => short, 2 => garbage, 3 => whole];
    prop_oneof![
        6 => prop::collection::vec((any::<u8>(), payload), 0..150).prop_map(Event::Batch),
        2 => (0..3_usize, any::<bool>()).prop_map(|(target, up)| Event::Set(target, up)),
        1 => prop::collection::vec(1..3_u32, 1..4).prop_map(Event::Reload),
        2 => Just(Event::Tend),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// `received = forwarded + rejected + failed + waiting`, whatever comes and whatever happens; and what is counted as
    /// sent was sent. (`Rig` checks the sums after each step.)
    #[test]
    fn every_datagram_ends_in_one_counter(
        events in prop::collection::vec(event(), 1..25),
        policy in prop_oneof![Just(Down::Hold), Just(Down::Spread), Just(Down::Spool)],
        fails in any::<u8>(),
    ) {
        let limits = Limits { exporters: 20, domains: 10, template_bytes: 300, ..Limits::default() };
        let mut rig = Rig::with_limits(&down(policy, &[1, 1, 1]), limits);
        rig.outlet.fails = Some((fails, 101));
        let mut came = 0;
        for event in events {
            match event {
                Event::Batch(batch) => {
                    came += batch.len() as u64;
                    let batch: Vec<_> = batch.into_iter().map(|(host, payload)| (exporter(host), payload)).collect();
                    rig.forward(&batch);
                }
                Event::Set(target, up) if target < rig.routing.targets.len() => rig.set(target, up),
                Event::Set(..) => {}
                Event::Reload(weights) => rig.reload(&down(policy, &weights)),
                Event::Tend => rig.tend(),
            }
        }
        for target in 0..rig.routing.targets.len() {
            rig.set(target, true);
        }
        rig.tend_until_sent();
        let counters = rig.counters();
        prop_assert_eq!(counters.received.datagrams, came);
        prop_assert_eq!(counters.waiting, Tally::default());
        let sent = counters.forwarded.datagrams + counters.templates_sent;
        prop_assert_eq!(rig.outlet.sent.len() as u64, sent);
        // There is room for all, and nobody touches the files: what fails is what the outlet refuses.
        let failed = counters.failed.iter().find(|(reason, _)| *reason != "unreachable");
        prop_assert_eq!(failed, None);
        let templates = rig.forwarder.templates.counts();
        prop_assert!(templates.domains <= 10 && templates.bytes <= 300);
        prop_assert!(rig.forwarder.exporters.iter().count() <= 20);
    }
}
