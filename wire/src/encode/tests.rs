//! Tests of what is written, byte by byte. That it reads back the same is a property test, in `tests/`.

use super::*;
use crate::template::FieldSpecifier;
use crate::v9::MessageSequence;

fn field(enterprise: u32, number: u16, length: u16) -> FieldSpecifier {
    FieldSpecifier {
        element: ElementId::new(enterprise, number),
        length,
    }
}

const V9_HEADER: v9::Header = v9::Header {
    count: 0,
    uptime_ms: 0x0102_0304,
    unix_secs: 0x0506_0708,
    sequence: MessageSequence(0x090a_0b0c),
    source_id: 0x0d0e_0f10,
};

const IPFIX_HEADER: ipfix::Header = ipfix::Header {
    length: 0,
    export_secs: 0x0506_0708,
    sequence: RecordSequence(u32::MAX),
    observation_domain: 0x0d0e_0f10,
};

#[test]
fn a_v9_message_counts_its_records_and_pads_its_sets() {
    let options = Template {
        id: 257,
        scope_count: 1,
        fields: vec![field(0, 1, 4), field(0, 34, 4)],
    };
    let template = Template {
        id: 256,
        scope_count: 0,
        fields: vec![field(0, 4, 1), field(0, 7, 2)],
    };
    let mut out = vec![0xff; 3];
    let mut builder = V9Builder::new(&mut out, V9_HEADER);
    builder
        .options_templates([&options])
        .templates([&template])
        .data(256, [[6_u8, 0, 80], [17, 0, 53]], |out, record| {
            out.extend(record);
        });
    assert_eq!(
        (builder.data_records(), builder.len()),
        (2, 20 + 20 + 16 + 12)
    );
    builder.finish().unwrap();
    #[rustfmt::skip]
    assert_eq!(out, [
        0, 9, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        0, 1, 0, 20, 1, 1, 0, 4, 0, 4, 0, 1, 0, 4, 0, 34, 0, 4, 0, 0,
        0, 0, 0, 16, 1, 0, 0, 2, 0, 4, 0, 1, 0, 7, 0, 2,
        1, 0, 0, 12, 6, 0, 80, 17, 0, 53, 0, 0,
    ]);
}

#[test]
fn an_ipfix_message_knows_its_length_and_the_next_sequence_number() {
    let options = Template {
        id: 300,
        scope_count: 1,
        fields: vec![field(0, 302, 2), field(9, 7, 65_535)],
    };
    let mut out = Vec::new();
    let mut builder = IpfixBuilder::new(&mut out, IPFIX_HEADER);
    builder
        .options_templates([&options])
        .withdraw_templates(&[256, 2])
        .data(300, [b"ab"], |out, text| {
            out.extend([0, 1]);
            variable_length(out, text);
        });
    assert_eq!(builder.next_sequence(), RecordSequence(0));
    builder.finish().unwrap();
    #[rustfmt::skip]
    assert_eq!(out, [
        0, 10, 0, 64, 5, 6, 7, 8, 255, 255, 255, 255, 13, 14, 15, 16,
        0, 3, 0, 24, 1, 44, 0, 2, 0, 1, 1, 46, 0, 2, 0x80, 7, 255, 255, 0, 0, 0, 9, 0, 0,
        0, 2, 0, 12, 1, 0, 0, 0, 0, 2, 0, 0,
        1, 44, 0, 12, 0, 1, 2, b'a', b'b', 0, 0, 0,
    ]);
}

#[test]
fn padding_is_left_out_where_it_would_be_a_record() {
    let mut out = Vec::new();
    let mut builder = IpfixBuilder::new(&mut out, IPFIX_HEADER);
    builder.data(256, [1_u8], |out, byte| out.push(byte));
    builder.finish().unwrap();
    assert_eq!(out[16..], [1, 0, 0, 5, 1]);
}

#[test]
fn a_variable_length_takes_one_byte_or_three() {
    for (length, prefix) in [(0, vec![0]), (254, vec![254]), (255, vec![255, 0, 255])] {
        let content = vec![7; length];
        let mut out = Vec::new();
        variable_length(&mut out, &content);
        assert_eq!(out, [prefix, content].concat());
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut out = Vec::new();
    let mut builder = IpfixBuilder::new(&mut out, IPFIX_HEADER);
    builder.data(256, [()], |out, ()| out.extend([0; 65_520]));
    assert_eq!(
        builder.finish(),
        Err(EncodeError::TooLong { length: 65_540 })
    );

    let mut builder = V9Builder::new(&mut out, V9_HEADER);
    builder.data(256, 0..70_000, |_, _| ());
    assert_eq!(
        builder.finish(),
        Err(EncodeError::TooLong { length: 70_000 })
    );
}

#[test]
fn an_element_that_the_version_cannot_say_is_an_error() {
    let template = |element| Template {
        id: 256,
        scope_count: 0,
        fields: vec![FieldSpecifier { element, length: 4 }],
    };
    let mut out = Vec::new();
    let element = ElementId::new(9, 1);
    let mut builder = V9Builder::new(&mut out, V9_HEADER);
    builder.templates([&template(element)]);
    let error = builder.finish().unwrap_err();
    assert_eq!(
        error,
        EncodeError::ElementOutOfRange {
            version: 9,
            element
        }
    );

    let element = ElementId::iana(33_002);
    let mut builder = IpfixBuilder::new(&mut out, IPFIX_HEADER);
    builder.templates([&template(element)]);
    let error = builder.finish().unwrap_err();
    assert_eq!(
        error,
        EncodeError::ElementOutOfRange {
            version: 10,
            element
        }
    );
}
