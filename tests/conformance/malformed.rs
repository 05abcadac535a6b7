//! Malformed captures: no crash, within bounds, counted, and good sets decoded.

use forebay_collector::{Columns, Counters, Limits, Scope};

use crate::capture::decoder;
use crate::corpus::Capture;
use crate::plain::rows;

pub(crate) fn check(capture: &Capture) {
    let columns = Columns::default();
    let schema = columns.schema().clone();
    let mut decoder = decoder(columns, Limits::default());
    let (mut datagrams, mut stored) = (0, 0);
    for datagram in &capture.datagrams() {
        datagrams += 1;
        decoder.decode(&datagram.datagram());
        stored += rows::take(&mut decoder, &schema)
            .values()
            .map(Vec::len)
            .sum::<usize>();
        let tables = decoder.tables();
        // A datagram holds no more templates than this, and no more bytes than a set's share.
        assert!(tables.templates <= datagrams * 8_192, "{}", capture.name);
        assert!(
            tables.pending_bytes <= Limits::default().pending_bytes,
            "{}",
            capture.name
        );
    }
    decoder.finish();
    let mut sum: Counters = decoder.unassigned();
    for domain in decoder.domains() {
        sum.add(&domain.counters);
    }
    let reasons: Vec<_> = sum.reasons.iter().collect();
    println!(
        "{:<38} {datagrams:>4} datagrams {stored:>4} rows {:>4} options {:>4} templates {reasons:?}",
        capture.name, sum.options_records, sum.templates
    );
    let name = &capture.name;
    assert_eq!(sum.datagrams, datagrams as u64, "{name}");
    assert_eq!(
        sum.datagrams,
        sum.messages + sum.reasons.total(Scope::Datagram),
        "{name}"
    );
    assert_eq!(sum.records, stored as u64, "{name}");
    let expected = |column: &str| {
        let versions = capture.counts.values();
        versions
            .filter_map(|counts| counts.get(column))
            .sum::<u64>()
    };
    // What a decoder that gives up at the first fault has found is the least.
    assert!(sum.records >= expected("data_records"), "{name}");
    assert!(sum.options_records >= expected("options_records"), "{name}");
}
