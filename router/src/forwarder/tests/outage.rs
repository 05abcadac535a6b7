//! Collectors that are down, refuse, or have an address that became the router's.

use super::*;

#[test]
fn held_messages_are_sent_all_the_same() {
    let mut rig = Rig::new(&down(Down::Hold, &[1, 1]));
    rig.set(0, false);
    rig.set(1, false);
    let datagrams: Vec<_> = (0..10).map(|host| (exporter(host), v5(1))).collect();
    rig.forward(&datagrams);
    assert_eq!(rig.outlet.sent.len(), 10);
}

#[test]
fn what_is_sent_to_who_is_known_to_be_down_may_be_lost_and_is_counted() {
    let copies = vec![CopyTo {
        to: address(9),
        every: NonZero::<u32>::MIN,
    }];
    let policies = [
        (Down::Hold, [0, 5], 5),
        // The other takes all.
        (Down::Spread, [0, 0], 0),
        (Down::Spool, [0, 0], 0),
    ];
    for (policy, expected, doubtful) in policies {
        let mut rig = Rig::new(&one_route(Route {
            down: policy,
            copies: copies.clone(),
            ..route(&[1, 1])
        }));
        let datagrams: Vec<_> = (0..10).map(|host| (exporter(host), v5(1))).collect();
        rig.forward(&datagrams);
        assert_eq!(rig.counters().sent_while_down, 0);
        // The one that gets copies is nobody's collector.
        rig.set(1, false);
        rig.set(2, false);
        rig.forward(&datagrams);
        let of_targets = [0, 1].map(|target| rig.of_target(target).sent_while_down);
        assert_eq!(of_targets, expected, "{policy:?}");
        assert_eq!(rig.counters().sent_while_down, doubtful);
        assert_eq!(rig.of_target(2).sent_while_down, 0);
        // When all are down, even what is to be spread stays where it is.
        rig.set(0, false);
        rig.forward(&datagrams);
        let doubtful = if policy == Down::Spool {
            0
        } else {
            doubtful + 10
        };
        assert_eq!(rig.counters().sent_while_down, doubtful);
    }
}

#[test]
fn what_is_not_sent_to_who_is_down_is_lost_and_not_doubtful() {
    let mut rig = Rig::new(&down(Down::Hold, &[1]));
    rig.set(0, false);
    rig.outlet.fails = Some((13, 111));
    let with = |last| {
        let mut payload = v5(1);
        payload.push(last);
        (exporter(1), payload)
    };
    rig.forward(&[with(12), with(13), with(14)]);
    assert_eq!(rig.counters().failed.total(), 1);
    assert_eq!(rig.counters().sent_while_down, 2);
    assert_eq!(rig.of_target(0).sent_while_down, 2);
}

#[test]
fn a_refusal_tells_of_a_datagram_that_may_be_lost() {
    let mut rig = Rig::new(&one_route(route(&[1])));
    // Before anything was sent, whatever it was is none of ours.
    rig.outlet.refuse = vec![address(1)];
    rig.forward(&[(exporter(1), vec![])]);
    assert_eq!(rig.counters().sent_while_down, 0);
    rig.forward(&[(exporter(1), v5(1))]);
    assert_eq!(rig.counters().sent_while_down, 1);
    // Now it is known to be down: what is sent all the same is counted once.
    rig.tend();
    rig.outlet.refuse = vec![address(1)];
    rig.forward(&[(exporter(1), v5(2))]);
    assert_eq!(rig.counters().sent_while_down, 2);
    assert_eq!(rig.of_target(0).sent_while_down, 2);
}

#[test]
fn nothing_is_sent_to_an_address_that_has_become_the_routers() {
    for policy in [Down::Hold, Down::Spread, Down::Spool] {
        let mut rig = Rig::new(&one_route(Route {
            down: policy,
            copies: vec![CopyTo {
                to: address(9),
                every: NonZero::<u32>::MIN,
            }],
            ..route(&[1])
        }));
        let source = exporter(1);
        rig.forward(&[(source, v9(1, true))]);
        assert_eq!(rig.outlet.take().len(), 2);
        for target in [0, 1] {
            rig.routing.targets[target].loop_back(true);
        }
        rig.set(0, false);
        rig.set(1, false);
        // Neither messages, nor copies, nor templates.
        rig.forward(&[
            (source, v9(2, true)),
            (source, v9(3, false)),
            (source, v5(1)),
        ]);
        assert_eq!(rig.outlet.take(), []);
        let failed: Vec<_> = rig.counters().failed.iter().collect();
        let waiting = rig.counters().waiting.datagrams;
        match policy {
            Down::Spool => assert_eq!((failed, waiting), (vec![], 3)),
            _ => assert_eq!((failed, waiting), (vec![("loop", 3)], 0)),
        }
        assert_eq!(
            rig.counters().copies_failed.iter().next(),
            Some(("loop", 3))
        );
        assert_eq!(rig.counters().sent_while_down, 0);
        // When it is another machine's again, that one is told the templates first.
        for target in [0, 1] {
            rig.routing.targets[target].loop_back(false);
        }
        rig.set(0, true);
        rig.set(1, true);
        rig.tend_until_sent();
        rig.forward(&[(source, v9(4, false))]);
        let mut to_collector = rig
            .outlet
            .sent
            .iter()
            .filter(|sent| sent.destination == address(1));
        assert!(is_templates(&to_collector.next().unwrap().payload));
    }
}

#[test]
fn a_destination_that_refuses_is_known_to_all_at_once() {
    let mut rig = Rig::new(&one_route(route(&[1, 1])));
    rig.outlet.refuse = vec![address(2), address(77)];
    rig.forward(&[(exporter(1), v5(1))]);
    assert!(rig.routing.targets[0].seen().up);
    assert!(!rig.routing.targets[1].seen().up);
}

#[test]
fn a_spool_is_not_emptied_into_a_collector_that_refuses() {
    let mut rig = Rig::new(&down(Down::Spool, &[1]));
    rig.set(0, false);
    let batch: Vec<_> = (1..=1_000).map(|of| (exporter(1), v5(of))).collect();
    rig.forward(&batch);
    rig.routing.targets[0].set(true, false);
    rig.tend();
    // What was sent until the refusal came is lost, and no more.
    rig.outlet.refuse = vec![address(1)];
    rig.tend();
    let sent = rig.outlet.take().len();
    assert!(sent < 1_000, "{sent}");
    for _ in 0..10 {
        rig.tend();
        rig.forward(&[(exporter(1), v5(2_000))]);
    }
    assert_eq!(rig.outlet.take(), []);
    assert_eq!(rig.counters().waiting.datagrams, 1_000 - sent as u64 + 10);
}
