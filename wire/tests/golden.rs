//! What is found in the golden datagrams, and in every prefix of them.

mod common;

use common::{ALL, Found, IPFIX, V1, V5, V7, V9, walk};
use forebay_wire::fixed::{self, FlowSequence};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{Message, MessageError};

fn fields(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn v5() {
    let Ok(Message::Fixed(message)) = Message::parse(V5) else {
        panic!("not v5");
    };
    assert_eq!(
        message.header,
        fixed::Header {
            version: fixed::Version::V5,
            count: 2,
            uptime_ms: 80_000,
            unix_secs: 1_700_000_000,
            unix_nsecs: 5,
            flow_sequence: FlowSequence(42),
            engine_type: 1,
            engine_id: 2,
            sampling: 0x8064,
        }
    );
    assert_eq!(message.header.sampling_mode(), 2);
    assert_eq!(message.header.sampling_interval(), 100);
    assert_eq!(message.header.observation_domain(), 258);
    assert_eq!(message.records(), &V5[24..]);
    let found = walk(V5);
    assert_eq!((found.records, found.reasons.as_slice()), (2, &[][..]));
    let (first, second) = found.fields.split_at(18);
    assert_eq!(
        first,
        fields(
            "sourceIPv4Address=192.0.2.1 destinationIPv4Address=198.51.100.2 ipNextHopIPv4Address=203.0.113.3
             ingressInterface=4 egressInterface=5 packetDeltaCount=6 octetDeltaCount=600 flowStartSysUpTime=7
             flowEndSysUpTime=8 sourceTransportPort=12345 destinationTransportPort=80 tcpControlBits=27
             protocolIdentifier=6 ipClassOfService=16 bgpSourceAsNumber=65001 bgpDestinationAsNumber=65002
             sourceIPv4PrefixLength=24 destinationIPv4PrefixLength=16"
        )
    );
    assert_eq!(second[0], "sourceIPv4Address=192.0.2.9");
    assert_eq!(second[10], "destinationTransportPort=2048");
}

#[test]
fn v1() {
    let Ok(Message::Fixed(message)) = Message::parse(V1) else {
        panic!("not v1");
    };
    assert_eq!(message.header.version, fixed::Version::V1);
    assert_eq!(
        (message.header.unix_secs, message.header.unix_nsecs),
        (1_700_000_000, 5)
    );
    assert_eq!(message.header.flow_sequence, FlowSequence(0));
    let found = walk(V1);
    assert_eq!((found.records, found.reasons.as_slice()), (1, &[][..]));
    assert_eq!(
        found.fields,
        fields(
            "sourceIPv4Address=192.0.2.1 destinationIPv4Address=198.51.100.2 ipNextHopIPv4Address=203.0.113.3
             ingressInterface=4 egressInterface=5 packetDeltaCount=6 octetDeltaCount=600 flowStartSysUpTime=7
             flowEndSysUpTime=8 sourceTransportPort=12345 destinationTransportPort=80 protocolIdentifier=6
             ipClassOfService=16 tcpControlBits=27"
        )
    );
}

#[test]
fn v7() {
    let Ok(Message::Fixed(message)) = Message::parse(V7) else {
        panic!("not v7");
    };
    assert_eq!(message.header.version, fixed::Version::V7);
    assert_eq!(message.header.flow_sequence, FlowSequence(42));
    let found = walk(V7);
    assert_eq!((found.records, found.reasons.as_slice()), (1, &[][..]));
    assert_eq!(found.fields[..18], walk(V5).fields[..18]);
    assert_eq!(found.fields[18], "ipv4RouterSc=192.0.2.254");
}

#[test]
fn v9() {
    let Ok(Message::V9(message)) = Message::parse(V9) else {
        panic!("not v9");
    };
    assert_eq!(
        message.header,
        v9::Header {
            count: 5,
            uptime_ms: 80_000,
            unix_secs: 1_700_000_000,
            sequence: MessageSequence(42),
            source_id: 7,
        }
    );
    assert_eq!(
        walk(V9),
        Found {
            records: 2,
            options_records: 1,
            templates: 2,
            fields: fields(
                "sourceIPv4Address=192.0.2.1 destinationIPv4Address=198.51.100.2 packetDeltaCount=6
                 protocolIdentifier=6
                 sourceIPv4Address=192.0.2.9 destinationIPv4Address=198.51.100.9 packetDeltaCount=1
                 protocolIdentifier=17
                 octetDeltaCount=167772161 samplingInterval=100 samplingAlgorithm=2"
            ),
            ..Found::default()
        }
    );
}

#[test]
fn ipfix() {
    let Ok(Message::Ipfix(message)) = Message::parse(IPFIX) else {
        panic!("not IPFIX");
    };
    assert_eq!(
        message.header,
        ipfix::Header {
            length: 146,
            export_secs: 1_700_000_000,
            sequence: RecordSequence(42),
            observation_domain: 7,
        }
    );
    assert_eq!(
        walk(IPFIX),
        Found {
            records: 1,
            options_records: 1,
            templates: 2,
            withdrawals: 1,
            fields: fields(
                "sourceIPv6Address=2001:db8::1 octetDeltaCount=600 reverseOctetDeltaCount=9 interfaceName=eth0
                 selectorId=3 samplingPacketInterval=1000"
            ),
            ..Found::default()
        }
    );
}

#[test]
fn the_version_and_domain_are_told_for_all() {
    let told: Vec<_> = ALL
        .iter()
        .map(|datagram| Message::parse(datagram).unwrap())
        .map(|message| (message.version(), message.observation_domain()))
        .collect();
    assert_eq!(told, [(1, 0), (5, 258), (7, 0), (9, 7), (10, 7)]);
}

#[test]
fn every_prefix_holds_what_comes_before_the_cut() {
    for datagram in ALL {
        let whole = walk(datagram);
        for length in 0..datagram.len() {
            let found = walk(&datagram[..length]);
            assert!(
                whole.fields.starts_with(&found.fields),
                "{length} of {} bytes: {found:?}",
                datagram.len()
            );
        }
    }
}

#[test]
fn a_header_that_is_cut_is_too_short() {
    for (datagram, needed) in ALL.iter().zip([16, 24, 24, 20, 16]) {
        for length in 2..needed {
            assert_eq!(
                Message::parse(&datagram[..length]).unwrap_err(),
                MessageError::TooShort { needed, length }
            );
        }
        assert!(Message::parse(&datagram[..needed]).is_ok());
    }
    for length in 0..2 {
        assert_eq!(
            Message::parse(&V9[..length]).unwrap_err(),
            MessageError::TooShort { needed: 2, length }
        );
    }
}

#[test]
fn a_v5_count_that_lies_costs_nothing_that_is_there() {
    let mut datagram = V5.to_vec();
    datagram[2..4].copy_from_slice(&55_582_u16.to_be_bytes());
    let Ok(Message::Fixed(message)) = Message::parse(&datagram) else {
        panic!("not v5");
    };
    assert_eq!(message.record_count(), 2);
    assert_eq!(
        message.problem(),
        Some(fixed::Problem::CountTooLarge {
            count: 55_582,
            present: 2
        })
    );

    let mut datagram = V5.to_vec();
    datagram[3] = 1;
    datagram.push(0);
    let Ok(Message::Fixed(message)) = Message::parse(&datagram) else {
        panic!("not v5");
    };
    assert_eq!(message.records(), &V5[24..72]);
    assert_eq!(
        message.problem(),
        Some(fixed::Problem::TrailingBytes { count: 1, left: 49 })
    );
}

#[test]
fn an_ipfix_length_that_is_off_is_told_and_costs_nothing_that_is_there() {
    let whole = walk(IPFIX);
    for length in [144_u16, 145, 147, 1000] {
        let mut datagram = IPFIX.to_vec();
        datagram[2..4].copy_from_slice(&length.to_be_bytes());
        let found = walk(&datagram);
        assert_eq!(found.reasons, ["message_length_mismatch"]);
        assert_eq!(found.fields, whole.fields);
    }
    let mut datagram = IPFIX.to_vec();
    datagram[2..4].copy_from_slice(&15_u16.to_be_bytes());
    assert_eq!(
        Message::parse(&datagram).unwrap_err(),
        MessageError::LengthTooShort { length: 15 }
    );
}
