//! Generated traffic against its truth, by a decoder that shares nothing with the generator.

#![forbid(unsafe_code)]

mod decoder;

use std::collections::{BTreeMap, BTreeSet};

use decoder::Decoder;
use forebay_replay::generate::{GenerateConfig, Generator, Load, Truth, VersionShares};
use proptest::prelude::*;

/// Generates everything, and holds it against the truth.
fn decode_all(config: GenerateConfig) -> Truth {
    let mut decoder = Decoder::default();
    let mut generator = Generator::new(config.clone()).unwrap();
    let mut payload = Vec::new();
    let mut flows = 0;
    let mut last_ns = config.start_ns;
    while let Some(message) = generator.next_message(&mut payload) {
        assert!(payload.len() <= config.message_bytes);
        assert!(message.flows <= config.flows_per_message);
        assert!(message.flows <= 30 || payload[1] != 5);
        assert!(message.at_ns >= last_ns);
        last_ns = message.at_ns;
        let decoded = decoder.decode(message.exporter, message.at_ns, &payload);
        assert_eq!(decoded, message.flows);
        flows += decoded as u64;
    }
    assert_eq!(flows, config.flows);
    let truth = generator.truth();
    assert_eq!(truth.total.flows, config.flows);
    assert_eq!(truth.last_message_ns, last_ns);
    decoder.check(&truth);
    truth
}

fn payloads(config: GenerateConfig) -> Vec<Vec<u8>> {
    let mut generator = Generator::new(config).unwrap();
    let mut payload = Vec::new();
    let mut payloads = Vec::new();
    while generator.next_message(&mut payload).is_some() {
        payloads.push(payload.clone());
    }
    payloads
}

/// 30 exporters and flows enough that each sends its templates again.
fn all_layouts() -> GenerateConfig {
    GenerateConfig {
        exporters: 30,
        flows: 60_000,
        template_refresh: 30,
        ..GenerateConfig::default()
    }
}

#[test]
fn every_layout_decodes_to_its_truth() {
    let truth = decode_all(all_layouts());
    let layouts: BTreeSet<_> = truth
        .exporters
        .iter()
        .map(|of| of.layout.as_str())
        .collect();
    assert_eq!(
        layouts.into_iter().collect::<Vec<_>>(),
        [
            "ipfix-application",
            "ipfix-biflow",
            "ipfix-milliseconds",
            "ipfix-nat",
            "ipfix-selector",
            "ipfix-uptime",
            "v5",
            "v5-sampled",
            "v9-router",
            "v9-sampled",
            "v9-switch",
        ]
    );
    for exporter in &truth.exporters {
        let counts = &exporter.counts;
        assert!(
            counts.flows > 400 && counts.sequence_lost == 0,
            "{exporter:?}"
        );
        if exporter.version != 5 {
            assert!(
                counts.templates > 3 || counts.datagrams <= 30,
                "{exporter:?}"
            );
            let share = counts.flows_ipv6 as f64 / counts.flows as f64;
            assert!((0.15..0.25).contains(&share), "{exporter:?}");
        }
    }
    assert!(truth.total.options_records > 0 && truth.total.nat_events > 0);
    assert!(truth.total.reverse_bytes > 0);
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let config = GenerateConfig {
        flows: 20_000,
        ..GenerateConfig::default()
    };
    let first = payloads(config.clone());
    assert_eq!(first, payloads(config.clone()));
    let other = payloads(GenerateConfig { seed: 2, ..config });
    let same = first.iter().filter(|payload| other.contains(payload));
    assert_eq!(same.count(), 0);
}

#[test]
fn the_bytes_of_a_seed_are_the_same_on_every_system() {
    // FNV-1a. A change of what is generated changes it, and nothing else may.
    let config = all_layouts();
    let bytes = payloads(config).into_iter().flatten();
    let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(digest, 0xe524_de61_8497_3179, "{digest:#x}");
}

#[test]
fn exporters_are_divided_among_the_versions_by_their_shares() {
    let config = GenerateConfig {
        exporters: 10,
        flows: 10_000,
        versions: VersionShares {
            v5: 5,
            v9: 0,
            ipfix: 2,
        },
        ..GenerateConfig::default()
    };
    let truth = decode_all(config);
    let versions: Vec<_> = truth
        .versions
        .iter()
        .map(|of| (of.version, of.exporters))
        .collect();
    assert_eq!(versions, [(5, 7), (10, 3)]);
}

#[test]
fn load_by_zipf_falls_from_exporter_to_exporter() {
    let config = GenerateConfig {
        exporters: 15,
        flows: 60_000,
        load: Load::Zipf,
        ..GenerateConfig::default()
    };
    let truth = decode_all(config);
    let datagrams: Vec<_> = truth
        .exporters
        .iter()
        .map(|of| of.counts.datagrams)
        .collect();
    assert!(datagrams[0] > 3 * datagrams[4] && datagrams[0] > 6 * datagrams[14]);
}

#[test]
fn ipv6_is_all_or_nothing_where_that_is_asked_for() {
    for (ipv6_share, ipv4, ipv6) in [(0.0, 5000, 0), (1.0, 0, 5000)] {
        let truth = decode_all(GenerateConfig {
            flows: 5000,
            ipv6_share,
            versions: VersionShares {
                v5: 0,
                v9: 1,
                ipfix: 1,
            },
            ..GenerateConfig::default()
        });
        let total = truth.total;
        assert_eq!((total.flows_ipv4, total.flows_ipv6), (ipv4, ipv6));
    }
}

#[test]
fn uptimes_wrap_after_49_days_and_times_stay_right() {
    let secs = 60.0 * 86_400.0;
    let truth = decode_all(GenerateConfig {
        flows: 20_000,
        flows_per_sec: 20_000.0 / secs,
        ..GenerateConfig::default()
    });
    let days = (truth.last_message_ns - truth.first_message_ns) / 86_400_000_000_000;
    assert_eq!(days, 59);
}

#[test]
fn truth_is_read_back_as_it_was_written() {
    let truth = decode_all(GenerateConfig {
        flows: 1000,
        ..GenerateConfig::default()
    });
    let json = serde_json::to_string_pretty(&truth).unwrap();
    assert_eq!(serde_json::from_str::<Truth>(&json).unwrap(), truth);
}

prop_compose! {
    fn configs()(
        exporters in 1_usize..60,
        flows in 1_u64..4000,
        (v5, v9, ipfix) in (0_u32..4, 0_u32..4, 0_u32..4)
            .prop_filter("a version", |shares| *shares != (0, 0, 0)),
        flows_per_message in 1_usize..80,
        message_bytes in 768_usize..9000,
        burst in 1_usize..20,
        seed: u64,
        ipv6_share in 0.0..=1.0,
        keys in 1_u32..5000,
        zipf: bool,
        template_refresh in 1_u32..50,
    ) -> GenerateConfig {
        GenerateConfig {
            exporters,
            flows,
            versions: VersionShares { v5, v9, ipfix },
            flows_per_message,
            message_bytes,
            burst,
            seed,
            ipv6_share,
            keys,
            load: if zipf { Load::Zipf } else { Load::Uniform },
            template_refresh,
            ..GenerateConfig::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_for_decodes_to_its_truth(config in configs()) {
        let truth = decode_all(config.clone());
        for exporter in &truth.exporters {
            let counts = &exporter.counts;
            let expected = match exporter.version {
                5 => 0.0,
                _ => counts.flows as f64 * config.ipv6_share,
            };
            // As much as one message may be away from its share.
            let most = config.flows_per_message as f64 + 1.0;
            prop_assert!((counts.flows_ipv6 as f64 - expected).abs() <= most, "{exporter:?}");
            prop_assert!(truth.distinct_5_tuples_ipv4 <= u64::from(config.keys));
        }
    }
}

#[test]
fn duplicates_are_flows_that_others_told_and_decode_to_the_truth_too() {
    let truth = decode_all(GenerateConfig {
        duplicates: 0.3,
        ..all_layouts()
    });
    let share = truth.duplicates.flows as f64 / truth.total.flows as f64;
    // Events of address translation are not repeated.
    assert!((0.28..=0.3).contains(&share), "{share}");
    let rest = truth.total.packets - truth.duplicates.packets;
    assert!(rest > 0 && truth.duplicates.bytes < truth.total.bytes);
    let none = decode_all(all_layouts());
    assert_eq!(none.duplicates.flows, 0);
}

/// The flows of v5 messages: all of the record but for next hop and interfaces, with times since 1970.
fn v5_flows(exporter: usize, payload: &[u8]) -> impl Iterator<Item = (Vec<u8>, usize)> {
    let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
    let boot_ms = u64::from(word(8)) * 1000 + u64::from(word(12)) / 1_000_000 - u64::from(word(4));
    let records = payload[24..].chunks_exact(48).map(move |record| {
        let time = |at: usize| {
            let uptime = u32::from_be_bytes(record[at..at + 4].try_into().unwrap());
            (boot_ms + u64::from(uptime)).to_be_bytes()
        };
        let parts = [
            &record[..8],
            &record[16..24],
            &time(24),
            &time(28),
            &record[32..],
        ];
        (parts.concat(), exporter)
    });
    records.collect::<Vec<_>>().into_iter()
}

#[test]
fn a_duplicate_is_the_same_flow_from_another_exporter() {
    let config = GenerateConfig {
        exporters: 9,
        flows: 30_000,
        duplicates: 0.5,
        versions: VersionShares {
            v5: 1,
            v9: 0,
            ipfix: 0,
        },
        ..GenerateConfig::default()
    };
    let mut generator = Generator::new(config).unwrap();
    let mut payload = Vec::new();
    let mut tellers: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    while let Some(message) = generator.next_message(&mut payload) {
        for (flow, exporter) in v5_flows(message.exporter, &payload) {
            tellers.entry(flow).or_default().push(exporter);
        }
    }
    let truth = generator.truth();
    assert!(truth.duplicates.flows > 14_000, "{:?}", truth.duplicates);
    let again: usize = tellers.values().map(|of| of.len() - 1).sum();
    // A few flows of the most frequent keys are alike by chance.
    let expected = truth.duplicates.flows as usize;
    assert!(
        (expected..expected + expected / 20).contains(&again),
        "{again}, not {expected}"
    );
    let from_others = tellers
        .values()
        .filter(|of| of.iter().any(|from| *from != of[0]));
    assert!(from_others.count() > expected / 3);
}

fn any_config() -> impl Strategy<Value = GenerateConfig> {
    let versions =
        (0..3_u32, 0..3_u32, 1..3_u32).prop_map(|(v5, v9, ipfix)| VersionShares { v5, v9, ipfix });
    let load = prop_oneof![Just(Load::Uniform), Just(Load::Zipf)];
    (
        any::<u64>(),
        2_usize..20,
        versions,
        1_u32..5_000,
        0.0..0.75,
        0.0..1.0,
        load,
    )
        .prop_map(
            |(seed, exporters, versions, keys, duplicates, ipv6_share, load)| GenerateConfig {
                seed,
                exporters,
                versions,
                keys,
                duplicates,
                ipv6_share,
                load,
                flows: 3_000,
                ..GenerateConfig::default()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_same_configuration_gives_the_same_bytes_that_decode_to_its_truth(config in any_config()) {
        let first = payloads(config.clone());
        prop_assert!(first == payloads(config.clone()));
        decode_all(config);
    }
}
