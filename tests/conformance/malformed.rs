//! Malformed captures: no crash, within bounds, counted, and the good sets beside bad ones decoded.

use forebay_collector::{Columns, Limits, Scope};

use crate::capture::{decoder, no_waiting, sum};
use crate::corpus::Capture;
use crate::plain::PlainDecoder;
use crate::plain::rows;

pub(crate) fn check(capture: &Capture) {
    let columns = Columns::default();
    let schema = columns.schema().clone();
    let mut bounded = decoder(columns.clone(), Limits::default());
    let (mut plain, mut compared) = (PlainDecoder::default(), decoder(columns, no_waiting()));
    let name = &capture.name;
    let (mut datagrams, mut stored) = (0, 0);
    for datagram in &capture.datagrams() {
        datagrams += 1;
        bounded.decode(&datagram.datagram());
        stored += rows::take(&mut bounded, &schema)
            .values()
            .map(Vec::len)
            .sum::<usize>();
        assert!(
            bounded.tables().pending_bytes <= Limits::default().pending_bytes,
            "{name}"
        );
        compared.decode(&datagram.datagram());
        let mut families = rows::take(&mut compared, &schema);
        for record in plain.decode(&datagram.datagram()) {
            let rows = families.entry(record.family).or_default();
            assert!(!rows.is_empty(), "{name}: a record gave no row");
            assert_eq!(rows.remove(0), record.row, "{name}");
        }
        assert!(families.values().all(Vec::is_empty), "{name}: {families:?}");
    }
    bounded.finish();
    let sum = sum(&bounded);
    let reasons: Vec<_> = sum.reasons.iter().collect();
    println!(
        "{name:<38} {datagrams:>4} datagrams {stored:>4} rows {:>4} options {:>4} templates {reasons:?}",
        sum.options_records, sum.templates
    );
    assert_eq!(sum.datagrams, datagrams, "{name}");
    assert_eq!(
        sum.datagrams,
        sum.messages + sum.reasons.total(Scope::Datagram),
        "{name}"
    );
    assert_eq!(sum.records, stored as u64, "{name}");
    let given_up = sum.reasons.count(Scope::Set, "template_missing_at_end");
    assert_eq!(sum.sets_waited, sum.sets_recovered + given_up, "{name}");
}
