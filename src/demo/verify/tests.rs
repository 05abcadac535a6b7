use std::time::Duration;

use forebay_collector::{Counters, ShardStatus, Status};
use forebay_replay::generate::{GenerateConfig, Generator, SendReport, Sent};

use super::*;

/// Traffic, a collector that took all of it, and what it left in files.
fn faultless() -> (Run, Tally) {
    let config = GenerateConfig {
        exporters: 3,
        flows: 300,
        keys: 64,
        ..GenerateConfig::default()
    };
    let mut generator = Generator::new(config).expect("a configuration");
    while generator.next_message(&mut Vec::new()).is_some() {}
    let truth = generator.truth();
    let (mut shard, mut tally) = (ShardStatus::default(), Tally::default());
    for exporter in &truth.exporters {
        let (address, counts) = (exporter.source.ip().to_string(), exporter.counts);
        shard.domains.push(DomainStatus {
            exporter: address.as_str().into(),
            version: exporter.version,
            observation_domain: exporter.observation_domain,
            last_us: 0,
            serial: 1,
            sets_waiting: 0,
            counters: Counters {
                datagrams: counts.datagrams,
                octets: counts.datagram_bytes,
                messages: counts.datagrams,
                records: counts.flows,
                options_records: counts.options_records,
                templates: counts.templates + counts.options_templates,
                ..Counters::default()
            },
        });
        let sums = Sums {
            flows: counts.flows,
            flows_ipv4: counts.flows_ipv4,
            flows_ipv6: counts.flows_ipv6,
            packets: counts.packets,
            bytes: counts.bytes,
            reverse_packets: counts.reverse_packets,
            reverse_bytes: counts.reverse_bytes,
        };
        tally.senders.insert((address, exporter.version), sums);
    }
    let mut status = Status::default();
    status.shards.push(shard);
    status.files.stored = truth.total.flows;
    let run = Run {
        sent: Sent {
            truth,
            report: SendReport::default(),
        },
        status,
        receive_buffer_bytes: 0,
        settling: Duration::ZERO,
    };
    (run, tally)
}

fn first_sums(tally: &mut Tally) -> &mut Sums {
    tally.senders.values_mut().next().expect("an exporter")
}

#[test]
fn nothing_differs_where_all_that_was_sent_is_there() {
    let (run, tally) = faultless();
    assert_eq!(differences(&run, &tally), Vec::<String>::new());
}

#[test]
fn a_byte_more_in_the_files_is_found_at_its_exporter() {
    let (run, mut tally) = faultless();
    first_sums(&mut tally).bytes += 1;
    let found = differences(&run, &tally);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("127.0.1.1, version 5: bytes: "),
        "{found:?}"
    );
}

#[test]
fn a_flow_that_did_not_reach_the_files_is_found() {
    let (run, mut tally) = faultless();
    first_sums(&mut tally).flows -= 1;
    assert!(
        differences(&run, &tally)
            .iter()
            .any(|text| text == "flows in files: 299 instead of 300")
    );
}

#[test]
fn an_exporter_that_is_not_there_is_found() {
    let (run, mut tally) = faultless();
    tally.senders.pop_last();
    assert!(
        differences(&run, &tally)
            .iter()
            .any(|text| text == "exporters in files: 2 instead of 3")
    );
}

#[test]
fn datagrams_that_the_kernel_dropped_must_be_told_exactly() {
    let (mut run, mut tally) = faultless();
    // One datagram of seven flows, with all that it held.
    let shard = &mut run.status.shards[0];
    let counters = &mut shard.domains[0].counters;
    counters.datagrams -= 1;
    counters.messages -= 1;
    counters.records -= 7;
    run.status.files.stored -= 7;
    first_sums(&mut tally).flows -= 7;
    let found = differences(&run, &tally);
    assert!(
        found
            .iter()
            .any(|text| text.starts_with("datagrams received, with")),
        "{found:?}"
    );

    run.status.shards[0].kernel_drops = 1;
    assert_eq!(differences(&run, &tally), Vec::<String>::new());
    run.status.shards[0].kernel_drops = 2;
    assert_eq!(differences(&run, &tally).len(), 1);
}
