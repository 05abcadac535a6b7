//! Tests of template records.

use super::*;

const fn set(version: Version, id: u16, body: &[u8]) -> Set<'_> {
    Set {
        version,
        offset: 16,
        id,
        body,
    }
}

fn define(version: Version, id: u16, body: &[u8]) -> Result<Template, TemplateError> {
    match set(version, id, body).templates().next() {
        Some(Ok(TemplateRecord::Define(definition))) => definition.to_template(100),
        Some(Err(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

const fn field(enterprise: u32, number: u16, length: u16) -> FieldSpecifier {
    FieldSpecifier {
        element: ElementId::new(enterprise, number),
        length,
    }
}

#[test]
fn two_templates_in_a_set_with_padding_behind_them() {
    #[rustfmt::skip]
    let body = [
        1, 0, 0, 2, 0, 8, 0, 4, 0, 12, 0, 4,
        1, 1, 0, 1, 0x80, 7, 0, 2,
        0, 0,
    ];
    let mut templates = set(Version::V9, 0, &body).templates();
    let Some(Ok(TemplateRecord::Define(first))) = templates.next() else {
        panic!("no template");
    };
    assert_eq!((first.id(), first.offset()), (256, 20));
    assert_eq!(first.raw(), &body[..12]);
    let template = first.to_template(2).unwrap();
    assert_eq!(template.fields, [field(0, 8, 4), field(0, 12, 4)]);
    assert_eq!(template.record_length(), Some(8));
    assert!(!template.is_options());

    let Some(Ok(TemplateRecord::Define(second))) = templates.next() else {
        panic!("no second template");
    };
    assert_eq!((second.offset(), second.raw()), (32, &body[12..20]));
    // v9 has no enterprise bit: the number takes all 16.
    let fields: Vec<_> = second.fields().collect();
    assert_eq!(fields, [field(0, 0x8007, 2)]);
    assert!(templates.next().is_none());
}

#[test]
fn an_ipfix_field_with_the_enterprise_bit_takes_eight_bytes() {
    #[rustfmt::skip]
    let body = [
        1, 0, 0, 3,
        0, 1, 0, 8,
        0x80, 1, 0, 8, 0, 0, 0x72, 0x79,
        0, 82, 255, 255,
    ];
    let template = define(Version::Ipfix, 2, &body).unwrap();
    assert_eq!(
        template.fields,
        [field(0, 1, 8), field(29_305, 1, 8), field(0, 82, 65_535)]
    );
    assert_eq!(template.record_length(), None);
    assert_eq!(template.minimum_length(), 17);
}

#[test]
fn options_templates_count_their_scopes_in_fields_or_in_bytes() {
    let fields = [0, 1, 0, 4, 0, 34, 0, 4, 0, 35, 0, 1];
    let ipfix = [&[1, 0, 0, 3, 0, 1][..], &fields].concat();
    let v9 = [&[1, 0, 0, 4, 0, 8][..], &fields].concat();
    let expected = Template {
        id: 256,
        scope_count: 1,
        fields: vec![field(0, 1, 4), field(0, 34, 4), field(0, 35, 1)],
    };
    assert!(expected.is_options());
    assert_eq!(define(Version::Ipfix, 3, &ipfix), Ok(expected.clone()));
    assert_eq!(define(Version::V9, 1, &v9), Ok(expected));
}

#[test]
fn a_field_count_of_zero_withdraws_in_ipfix_only() {
    let body = [1, 0, 0, 0, 0, 2, 0, 0];
    let mut templates = set(Version::Ipfix, 2, &body).templates();
    assert!(matches!(
        templates.next(),
        Some(Ok(TemplateRecord::Withdraw { id: 256 }))
    ));
    assert!(matches!(
        templates.next(),
        Some(Ok(TemplateRecord::WithdrawAll { options: false }))
    ));
    assert!(templates.next().is_none());

    assert!(matches!(
        set(Version::Ipfix, 3, &[0, 3, 0, 0]).templates().next(),
        Some(Ok(TemplateRecord::WithdrawAll { options: true }))
    ));
    // All templates are not withdrawn in a set of options templates.
    assert_eq!(
        define(Version::Ipfix, 3, &[0, 2, 0, 0]),
        Err(TemplateError::ReservedId { id: 2 })
    );
    assert_eq!(
        define(Version::V9, 0, &body),
        Err(TemplateError::NoFields { id: 256 })
    );
}

#[test]
fn a_bad_record_ends_its_set_at_its_offset() {
    #[rustfmt::skip]
    let body = [
        1, 0, 0, 1, 0, 8, 0, 4,
        0, 255, 0, 1, 0, 8, 0, 4,
        1, 1, 0, 1, 0, 8, 0, 4,
    ];
    let mut templates = set(Version::Ipfix, 2, &body).templates();
    assert!(matches!(templates.next(), Some(Ok(_))));
    assert_eq!(
        templates.next().unwrap().unwrap_err(),
        TemplateError::ReservedId { id: 255 }
    );
    assert_eq!(templates.offset(), 28);
    assert!(templates.next().is_none());
}

#[test]
fn a_field_count_that_lies_is_too_short() {
    assert_eq!(
        define(Version::V9, 0, &[1, 0, 255, 255, 0, 8, 0, 4]),
        Err(TemplateError::TooShort {
            needed: 262_140,
            left: 4
        })
    );
    // Enough for four bytes each, but one takes eight.
    assert_eq!(
        define(Version::Ipfix, 2, &[1, 0, 0, 1, 0x80, 8, 0, 4]),
        Err(TemplateError::TooShort { needed: 4, left: 0 })
    );
    assert_eq!(
        define(Version::V9, 1, &[1, 0, 0, 4]),
        Err(TemplateError::TooShort { needed: 2, left: 0 })
    );
}

#[test]
fn templates_that_no_record_can_have_are_refused() {
    assert_eq!(
        define(Version::V9, 0, &[1, 0, 0, 1, 0, 8, 0, 0]),
        Err(TemplateError::ZeroLength { id: 256 })
    );
    assert_eq!(
        define(
            Version::V9,
            0,
            &[1, 0, 0, 2, 0, 8, 255, 254, 0, 9, 255, 254]
        ),
        Err(TemplateError::RecordTooLong {
            id: 256,
            length: 131_068
        })
    );
    for (scopes, count) in [(0, 1), (2, 1)] {
        assert_eq!(
            define(Version::Ipfix, 3, &[1, 0, 0, 1, 0, scopes, 0, 8, 0, 4]),
            Err(TemplateError::BadScopeCount {
                id: 256,
                scope_count: scopes.into(),
                count
            })
        );
    }
    assert_eq!(
        define(Version::V9, 1, &[1, 0, 0, 2, 0, 4, 0, 1, 0, 4]),
        Err(TemplateError::BadOptionsLength {
            id: 256,
            scope_length: 2,
            option_length: 4
        })
    );
}

#[test]
fn a_field_of_no_length_is_allowed_beside_others() {
    let template = define(Version::V9, 0, &[1, 0, 0, 2, 0, 0, 0, 0, 0, 8, 0, 4]).unwrap();
    assert_eq!(template.record_length(), Some(4));
}

#[test]
fn the_caller_sets_the_limit_of_fields() {
    let body = [1, 0, 0, 2, 0, 8, 0, 4, 0, 12, 0, 4];
    let Some(Ok(TemplateRecord::Define(definition))) =
        set(Version::V9, 0, &body).templates().next()
    else {
        panic!("no template");
    };
    assert!(definition.to_template(2).is_ok());
    assert_eq!(
        definition.to_template(1),
        Err(TemplateError::TooManyFields {
            id: 256,
            count: 2,
            limit: 1
        })
    );
}

#[test]
fn a_set_of_another_kind_has_no_templates() {
    let body = [1, 0, 0, 1, 0, 8, 0, 4];
    for (version, id) in [
        (Version::V9, 2),
        (Version::V9, 256),
        (Version::Ipfix, 0),
        (Version::Ipfix, 256),
    ] {
        assert!(set(version, id, &body).templates().next().is_none());
    }
}
