use forebay_wire::template::VARIABLE_LENGTH;
use forebay_wire::{FieldSpecifier, Records};
use proptest::prelude::*;

use super::*;

fn template(fields: &[(u16, u16)]) -> Template {
    let fields = fields.iter().map(|&(number, length)| FieldSpecifier {
        element: ElementId::iana(number),
        length,
    });
    Template {
        id: 256,
        scope_count: 0,
        fields: fields.collect(),
    }
}

/// The count of records, and where each time is and what.
fn walked(template: &Template, body: &[u8]) -> (usize, Vec<(usize, Kind)>) {
    let mut found = Vec::new();
    let count = Layout::new(template).walk(body, |times| {
        found.extend(
            (0..times.count).map(|index| (times.offset + index * times.stride, times.kind)),
        );
    });
    found.sort_by_key(|&(offset, _)| offset);
    (count, found)
}

#[test]
fn times_are_found_by_their_elements() {
    let template = template(&[
        (8, 4),
        (22, 4),
        (21, 4),
        (152, 8),
        (160, 8),
        (150, 4),
        (154, 8),
    ]);
    let body = [7; 40 * 2 + 3];
    let (count, found) = walked(&template, &body);
    assert_eq!(count, 2);
    let of_one = [
        (4, Kind::Uptime),
        (8, Kind::Uptime),
        (12, Kind::Milliseconds),
        (20, Kind::BootMilliseconds),
        (28, Kind::Seconds),
        (32, Kind::Ntp),
    ];
    let both = of_one.iter().chain(&of_one).zip(0..);
    let both = both.map(|(&(offset, kind), index)| (offset + index / 6 * 40, kind));
    assert_eq!(found, both.collect::<Vec<_>>());
}

#[test]
fn a_set_without_records_is_not_searched_for_times() {
    // A message of empty sets, each of records with thousands of times, would otherwise take as long as all of them.
    let layout = Layout::new(&template(&[(22, 4), (21, 4)]));
    let mut asked = 0;
    assert_eq!(layout.walk(&[7; 7], |_| asked += 1), 0);
    assert_eq!(asked, 0);
    assert_eq!(layout.walk(&[7; 8], |_| asked += 1), 1);
    assert_eq!(asked, 2);
}

#[test]
fn a_field_of_another_length_than_its_type_is_left_alone() {
    let template = template(&[(22, 8), (152, 4), (150, 8), (154, 4), (21, VARIABLE_LENGTH)]);
    assert_eq!(walked(&template, &[1; 26]).1, []);
}

#[test]
fn reverse_times_are_times_and_other_enterprises_are_not() {
    let field = |enterprise, number, length| kind(ElementId::new(enterprise, number), length);
    assert_eq!(field(29_305, 22, 4), Some(Kind::Uptime));
    assert_eq!(field(29_305, 152, 8), Some(Kind::Milliseconds));
    assert_eq!(field(9, 22, 4), None);
    assert_eq!(field(9, 152, 8), None);
}

#[test]
fn times_behind_a_field_of_variable_length_are_found_in_each_record() {
    let template = template(&[(82, VARIABLE_LENGTH), (22, 4), (1, 1)]);
    let body = [2, 9, 9, 1, 1, 1, 1, 5, 0, 2, 2, 2, 2, 5, 0, 0, 0];
    let (count, found) = walked(&template, &body);
    assert_eq!(count, 2);
    assert_eq!(found, [(3, Kind::Uptime), (9, Kind::Uptime)]);
}

proptest! {
    /// The walk finds what the plain reader of records finds.
    #[test]
    fn records_and_times_are_those_of_the_plain_reader(
        fields in prop::collection::vec(
            (
                prop::sample::select(vec![1_u16, 8, 21, 22, 82, 150, 152, 154, 156, 160]),
                prop::sample::select(vec![0_u16, 1, 2, 4, 8, VARIABLE_LENGTH]),
            ),
            1..8,
        ),
        body in prop::collection::vec(prop::sample::select(vec![0_u8, 0, 1, 2, 3, 7, 255]), 0..120),
    ) {
        let template = template(&fields);
        let mut records = Records::new(&template, &body);
        let mut count = 0;
        let mut times = Vec::new();
        loop {
            let start = records.offset();
            let Some(Ok(record)) = records.next() else { break };
            count += 1;
            for (field, content) in record.fields() {
                // Where the content is, by where it ends up in memory.
                let at = content.as_ptr().addr() - record.bytes().as_ptr().addr() + start;
                times.extend(kind(field.element, field.length).map(|kind| (at, kind)));
            }
        }
        prop_assert_eq!(walked(&template, &body), (count, times));
    }
}
