//! Tests of the element registry.

use super::*;

#[test]
fn numbers_ascend_and_names_are_unique() {
    assert!(
        ELEMENTS
            .windows(2)
            .all(|pair| pair[0].number < pair[1].number)
    );
    let mut names: Vec<_> = ELEMENTS.iter().map(|element| element.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ELEMENTS.len());
}

#[test]
fn every_element_is_found_by_number_and_by_name() {
    for element in ELEMENTS {
        let id = ElementId::iana(element.number);
        assert_eq!(lookup(id), Some(element));
        assert_eq!(by_name(element.name), Some(id));
        assert_eq!(element.name.parse(), Ok(id));
        assert_eq!(id.to_string().parse(), Ok(id));
        if element.number <= MAX_ENTERPRISE_NUMBER {
            let reverse = ElementId::new(REVERSE_ENTERPRISE, element.number);
            let name = reverse.name().map(|name| name.to_string()).unwrap();
            assert_eq!(by_name(&name), Some(reverse), "{name}");
        }
    }
}

#[test]
fn well_known_elements_have_their_numbers_and_types() {
    for (number, name, data_type) in [
        (1, "octetDeltaCount", DataType::Unsigned64),
        (8, "sourceIPv4Address", DataType::Ipv4Address),
        (27, "sourceIPv6Address", DataType::Ipv6Address),
        (56, "sourceMacAddress", DataType::MacAddress),
        (152, "flowStartMilliseconds", DataType::DateTimeMilliseconds),
        (154, "flowStartMicroseconds", DataType::DateTimeMicroseconds),
        (236, "VRFname", DataType::String),
        (276, "dataRecordsReliability", DataType::Boolean),
        (293, "subTemplateMultiList", DataType::SubTemplateMultiList),
        (305, "samplingPacketInterval", DataType::Unsigned32),
        (311, "samplingProbability", DataType::Float64),
        (434, "mibObjectValueInteger", DataType::Signed32),
        (491, "bgpDestinationLargeCommunityList", DataType::BasicList),
        (503, "transportChecksum", DataType::Unsigned16),
    ] {
        let element = lookup(ElementId::iana(number)).unwrap();
        assert_eq!((element.name, element.data_type), (name, data_type));
    }
}

#[test]
fn what_is_not_known_has_no_name_but_can_be_written() {
    for id in [
        ElementId::iana(0),
        ElementId::iana(65),
        ElementId::new(9, 12_235),
        ElementId::new(u32::MAX, 1),
    ] {
        assert_eq!((lookup(id), id.name()), (None, None));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    assert_eq!(ElementId::new(9, 12_235).to_string(), "9/12235");
    assert_eq!(ElementId::iana(8).to_string(), "8");
    assert_eq!("0/8".parse(), Ok(ElementId::iana(8)));
}

#[test]
fn a_reverse_element_is_named_after_the_forward_one() {
    let id: ElementId = "29305/2".parse().unwrap();
    assert_eq!(id.name().unwrap().to_string(), "reversePacketDeltaCount");
    assert_eq!(lookup(id).unwrap().data_type, DataType::Unsigned64);
    assert_eq!(by_name("reversePacketDeltaCount"), Some(id));
    assert_eq!(by_name("reverse"), None);
    assert_eq!(by_name("reversepacketDeltaCount"), None);
}

#[test]
fn a_bad_number_says_what_is_right() {
    for text in [
        "65536",
        "1/",
        "9/32768",
        "4294967296/1",
        "1/2/3",
        "8 ",
        "9x",
    ] {
        assert_eq!(
            text.parse::<ElementId>(),
            Err(ParseElementError::BadNumber {
                text: text.to_owned()
            })
        );
    }
}

#[test]
fn a_misspelt_name_says_the_nearest() {
    for (text, expected) in [
        ("SourceIpv4Address", "sourceIPv4Address"),
        ("octets", "octets"),
        ("reversPacketDeltaCount", "reversePacketDeltaCount"),
        ("samplingpacketinterval", "samplingPacketInterval"),
    ] {
        let Err(ParseElementError::UnknownName { nearest, .. }) = text.parse::<ElementId>() else {
            panic!("{text} is a name");
        };
        if text == "octets" {
            assert!(!nearest.is_empty());
        } else {
            assert_eq!(nearest, expected);
        }
    }
    let long = "x".repeat(100_000);
    assert!(long.parse::<ElementId>().is_err());
    assert!("".parse::<ElementId>().is_err());
}

#[test]
fn edit_distance_counts_letters() {
    for (a, b, distance) in [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("same", "same", 0),
    ] {
        let a: Vec<char> = a.chars().collect();
        assert_eq!(edit_distance(&a, b), distance);
    }
}
