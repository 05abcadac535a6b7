//! Templates are sent to those that may not know them.

use super::*;

#[test]
fn who_takes_over_is_told_the_templates_first() {
    for write in [v9, ipfix] {
        let mut rig = Rig::new(&down(Down::Spread, &[1, 1]));
        let source = exporter(1);
        rig.forward(&[(source, write(10, true)), (source, write(11, false))]);
        let before = rig.outlet.take();
        assert_eq!(before.len(), 2);
        let first = before[0].destination;
        let index = usize::from(first == address(2));
        rig.set(index, false);
        rig.forward(&[(source, write(12, false)), (source, write(13, false))]);
        let other = rig.outlet.take();
        let [templates, data @ ..] = other.as_slice() else {
            panic!("nothing was sent");
        };
        assert!(is_templates(&templates.payload));
        assert_eq!(templates.source, source);
        assert_eq!(data.len(), 2);
        assert!(other.iter().all(|sent| sent.destination != first));
        assert_eq!(number(&data[0].payload), 12);
        let is_v9 = write(0, false)[1] == 9;
        assert_eq!(number(&templates.payload), if is_v9 { 11 } else { 12 });
        // And so is the one that is back.
        rig.set(index, true);
        rig.forward(&[(source, write(14, false))]);
        let back = rig.outlet.take();
        assert_eq!(back.len(), 2);
        assert!(back.iter().all(|sent| sent.destination == first));
        assert!(is_templates(&back[0].payload));
        assert_eq!(rig.counters().templates_sent, 2);
        assert_eq!(rig.of_target(1 - index).templates_sent, 1);
        assert_eq!(rig.counters().forwarded.datagrams, 5);
    }
}

#[test]
fn a_clock_that_is_set_back_hides_no_template() {
    let mut rig = Rig::new(&down(Down::Spread, &[1, 1]));
    let source = exporter(1);
    let message = |payload, received_ns| Datagram {
        source,
        destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
        received_ns,
        payload,
    };
    let (first, next) = (v9(1, true), v9(2, false));
    rig.forwarder
        .forward([message(&first, 9_000)].into_iter(), &mut rig.outlet);
    let collector = rig.outlet.take()[0].destination;
    rig.set(usize::from(collector == address(2)), false);
    rig.forwarder
        .forward([message(&next, 5)].into_iter(), &mut rig.outlet);
    let sent = rig.outlet.take();
    assert_eq!(sent.len(), 2);
    assert!(is_templates(&sent[0].payload));
}

/// Sends on a message that came then; what went out.
fn forward(rig: &mut Rig, payload: &[u8], received_ns: u64) -> Vec<Sent> {
    let datagram = Datagram {
        source: exporter(1),
        destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
        received_ns,
        payload,
    };
    let datagrams = [datagram].into_iter();
    rig.forwarder.forward(datagrams, &mut rig.outlet);
    rig.check();
    rig.outlet.take()
}

#[test]
fn templates_that_could_not_be_sent_are_sent_with_a_later_message() {
    let mut rig = Rig::new(&one_route(Route {
        down: Down::Spread,
        copies: vec![CopyTo {
            to: address(9),
            every: NonZero::<u32>::MIN,
        }],
        ..route(&[1, 1])
    }));
    let first = forward(&mut rig, &v9(1, true), 1_000_000_000)[0].destination;
    rig.set(usize::from(first == address(2)), false);
    rig.set(2, false);
    rig.set(2, true);
    rig.outlet.fails_templates = true;
    assert_eq!(forward(&mut rig, &v9(2, false), 2_000_000_000).len(), 2);
    assert_eq!(rig.counters().templates_failed, 2);
    rig.outlet.fails_templates = false;
    assert_eq!(forward(&mut rig, &v9(3, false), 2_000_000_001).len(), 2);
    let sent = forward(&mut rig, &v9(4, false), 3_000_000_000);
    let of = |sent: &Sent| (is_templates(&sent.payload), sent.destination);
    let other = if first == address(1) {
        address(2)
    } else {
        address(1)
    };
    assert_eq!(
        sent.iter().map(of).collect::<Vec<_>>(),
        [
            (true, other),
            (true, address(9)),
            (false, other),
            (false, address(9))
        ]
    );
    assert_eq!(forward(&mut rig, &v9(5, false), 4_000_000_000).len(), 2);
}

#[test]
fn templates_in_a_message_that_could_not_be_sent_are_sent_later() {
    for (write, copies) in [(v9 as fn(_, _) -> _, 0), (ipfix, 1)] {
        let copy = CopyTo {
            to: address(9),
            every: NonZero::<u32>::MIN,
        };
        let mut rig = Rig::new(&one_route(Route {
            copies: vec![copy; copies],
            ..route(&[1])
        }));
        rig.outlet.fails = Some((4, 105));
        let second_ns = 1_000_000_000;
        assert_eq!(forward(&mut rig, &write(1, true), second_ns), []);
        rig.outlet.fails = None;
        // Not at once, when there may be no room yet.
        let sent = forward(&mut rig, &write(2, false), second_ns + 1);
        assert_eq!(sent.len(), 1 + copies);
        let sent = forward(&mut rig, &write(3, false), 2 * second_ns);
        let templates = sent.iter().filter(|sent| is_templates(&sent.payload));
        assert_eq!(
            (templates.count(), sent.len()),
            (1 + copies, 2 * (1 + copies))
        );
        // One without templates takes none with it.
        rig.outlet.fails = Some((4, 105));
        assert_eq!(forward(&mut rig, &write(4, false), 3 * second_ns), []);
        rig.outlet.fails = None;
        let sent = forward(&mut rig, &write(5, false), 4 * second_ns);
        assert_eq!(sent.len(), 1 + copies);
    }
}

#[test]
fn templates_in_a_message_that_had_no_room_in_the_spool_are_sent_later() {
    for known_before in [false, true] {
        let mut rig = Rig::new(&down(Down::Spool, &[1]));
        let second_ns = 1_000_000_000;
        if known_before {
            // Then the layout changes.
            let mut other = v9(1, true);
            let length = other.len();
            // The field's length, in front of the data set: a header of four bytes, and a record of as many.
            other[length - 9] = 8;
            forward(&mut rig, &other, second_ns);
        }
        rig.set(0, false);
        forward(&mut rig, &v9(2, false), 2 * second_ns);
        let filler = [v5(0), vec![0; 60_000]].concat();
        while rig.counters().failed.total() == 0 {
            forward(&mut rig, &filler, 2 * second_ns);
        }
        let failed = rig.counters().failed.total();
        let mut templates = v9(3, true);
        // Longer than the room that is left.
        templates.resize(60_000, 0);
        forward(&mut rig, &templates, 3 * second_ns);
        assert_eq!(rig.counters().failed.total(), failed + 1);
        rig.set(0, true);
        rig.tend_until_sent();
        rig.outlet.take();
        let sent = forward(&mut rig, &v9(4, false), 4 * second_ns);
        assert_eq!(sent.len(), 2, "{known_before}");
        assert!(is_templates(&sent[0].payload));
        let sent = forward(&mut rig, &v9(5, false), 5 * second_ns);
        assert_eq!(sent.len(), 1);
    }
}

#[test]
fn copies_that_come_back_are_told_too() {
    let mut rig = Rig::new(&one_route(Route {
        copies: vec![CopyTo {
            to: address(9),
            every: NonZero::<u32>::MIN,
        }],
        ..route(&[1])
    }));
    rig.forward(&[(exporter(1), v9(1, true))]);
    rig.set(1, false);
    rig.set(1, true);
    rig.outlet.take();
    rig.forward(&[(exporter(1), v9(2, false))]);
    let sent = rig.outlet.take();
    let destinations: Vec<_> = sent.iter().map(|sent| sent.destination).collect();
    assert_eq!(destinations, [address(9), address(1), address(9)]);
    assert!(is_templates(&sent[0].payload));
}
