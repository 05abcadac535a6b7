//! Records counted by templates, and estimated without.

use forebay_wire::encode::{IpfixBuilder, V9Builder};
use forebay_wire::ipfix::RecordSequence;
use forebay_wire::v9::MessageSequence;
use forebay_wire::{ElementId, FieldSpecifier, Template};

use super::*;

fn template(id: u16, scope_count: u16, lengths: &[u16]) -> Template {
    let fields = lengths.iter().map(|length| FieldSpecifier {
        element: ElementId::iana(1),
        length: *length,
    });
    Template {
        id,
        scope_count,
        fields: fields.collect(),
    }
}

fn v9(fill: impl FnOnce(&mut V9Builder<'_>)) -> Vec<u8> {
    let header = forebay_wire::v9::Header {
        count: 0,
        uptime_ms: 0,
        unix_secs: 0,
        sequence: MessageSequence(0),
        source_id: 1,
    };
    let mut datagram = Vec::new();
    let mut builder = V9Builder::new(&mut datagram, header);
    fill(&mut builder);
    builder.finish().expect("it fits");
    datagram
}

fn count(counter: &mut RecordCounter, from: &str, datagram: &[u8]) -> [u64; 2] {
    let message = Message::parse(datagram).expect("a message");
    let count = counter.count(from.parse().expect("an address"), &message);
    [count.records, count.estimated]
}

#[test]
fn records_are_counted_by_the_template_of_their_session() {
    let mut counter = RecordCounter::default();
    let data = v9(|builder| {
        builder.data(256, 0..4_u8, |out, _| out.extend([7; 30]));
    });
    // Before the template, by the length of records in general: 120 bytes of 50.
    assert_eq!(count(&mut counter, "192.0.2.1:5000", &data), [2, 2]);
    let templates = v9(|builder| {
        builder.templates([&template(256, 0, &[10, 20])]);
    });
    assert_eq!(count(&mut counter, "192.0.2.1:5000", &templates), [0, 0]);
    assert_eq!(count(&mut counter, "192.0.2.1:5000", &data), [4, 0]);
    // Another session has no template; now it is known how long records are here.
    assert_eq!(count(&mut counter, "192.0.2.1:5001", &data), [4, 4]);
}

#[test]
fn options_data_is_no_record() {
    let mut counter = RecordCounter::default();
    let datagram = v9(|builder| {
        builder.templates([&template(256, 0, &[10])]);
        builder.options_templates([&template(257, 1, &[4, 6])]);
        builder.data(257, [()], |out, ()| out.extend([1; 10]));
        builder.data(256, [(), ()], |out, ()| out.extend([1; 10]));
    });
    assert_eq!(count(&mut counter, "192.0.2.1:5000", &datagram), [2, 0]);
}

#[test]
fn records_of_varying_length_are_walked() {
    let header = forebay_wire::ipfix::Header {
        length: 0,
        export_secs: 0,
        sequence: RecordSequence(0),
        observation_domain: 3,
    };
    let mut datagram = Vec::new();
    let mut builder = IpfixBuilder::new(&mut datagram, header);
    builder.templates([&template(300, 0, &[4, u16::MAX])]);
    builder.data(300, [1_u8, 9, 30], |out, length| {
        out.extend([9; 4]);
        out.push(length);
        out.extend(vec![9; usize::from(length)]);
    });
    builder.finish().expect("it fits");
    let mut counter = RecordCounter::default();
    assert_eq!(count(&mut counter, "[2001:db8::1]:5000", &datagram), [3, 0]);
    // No prefix of it does harm.
    for length in 2..datagram.len() {
        if let Ok(message) = Message::parse(&datagram[..length]) {
            counter.count("192.0.2.9:1".parse().expect("an address"), &message);
        }
    }
}
