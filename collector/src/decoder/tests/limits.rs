//! Whatever the network sends: tables stay within their limits, and what that costs is counted.

use super::*;
use crate::config::Limits;

#[test]
fn what_waits_too_long_or_is_too_much_is_counted_as_lost() {
    let limits = Limits {
        pending_bytes_per_exporter: 300,
        ..Limits::default()
    };
    let mut line = Line::new(DecoderConfig {
        limits,
        ..DecoderConfig::default()
    });
    for packets in 0..10 {
        line.ipfix(1, |message| {
            message.data(256, [packets], simple_record);
        });
    }
    let counters = line.counters();
    let lost = counters
        .reasons
        .count(Scope::Set, "template_missing_too_many_bytes");
    let waiting = line
        .decoder
        .domains()
        .map(|domain| domain.sets_waiting)
        .sum::<u64>();
    assert!(waiting > 0 && lost > 0);
    assert_eq!((counters.sets_waited, waiting + lost), (10, 10));

    line.decoder.tick((RECEIVED_NS / 1000) as i64 + 301_000_000);
    let counters = line.counters();
    assert_eq!(
        counters
            .reasons
            .count(Scope::Set, "template_missing_too_long"),
        waiting
    );
    assert_eq!(line.decoder.tables().pending_bytes, 0);
}

#[test]
fn a_set_whose_template_is_put_out_at_once_waits_on_and_is_counted_once() {
    let limits = Limits {
        templates_per_domain: 1,
        ..Limits::default()
    };
    let mut line = Line::new(DecoderConfig {
        limits,
        ..DecoderConfig::default()
    });
    line.ipfix(1, |m| {
        m.data(256, [3], simple_record);
    });
    line.ipfix(1, |m| {
        m.templates([&simple(256), &simple(257)]);
    });
    let counters = line.counters();
    assert_eq!((counters.sets_waited, counters.sets_recovered), (1, 0));
    line.ipfix(1, |m| {
        m.templates([&simple(256)]);
    });
    let counters = line.counters();
    assert_eq!((counters.sets_waited, counters.sets_recovered), (1, 1));
    assert_eq!(counters.records, 1);
}

#[test]
fn a_set_of_a_session_that_is_out_is_decoded_and_puts_no_other_out() {
    let limits = Limits {
        domains_per_exporter: 2,
        ..Limits::default()
    };
    let mut line = Line::new(DecoderConfig {
        limits,
        ..DecoderConfig::default()
    });
    for port in 1..=4 {
        line.ipfix(port, |m| {
            m.data(256, [3], simple_record);
        });
    }
    // One of the four stays beside the one that brings the template.
    line.ipfix(5, |m| {
        m.templates([&simple(256)]);
    });
    let counters = line.counters();
    assert_eq!((counters.sets_waited, counters.sets_recovered), (4, 4));
    assert_eq!(
        counters.reasons.count(Scope::Limit, "domains_per_exporter"),
        3
    );
    let ports = u64s(&line.batch(), "exporter_port");
    assert_eq!(ports, [Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn fields_of_no_length_cost_nothing_and_records_are_read_around_them() {
    let nothing = [FieldSpecifier {
        element: ElementId::iana(210),
        length: 0,
    }; 1_000];
    let mut line = Line::new(DecoderConfig::default());
    let mut layout = simple(256);
    layout.fields.splice(1..1, nothing);
    let mut options = template(257, 1, &[(149, 4), (34, 4)]);
    options.fields.splice(0..0, nothing);
    options.scope_count = 1_001;
    line.ipfix(1, |m| {
        m.templates([&layout]);
        m.options_templates([&options]);
        m.data(257, [100_u32], |out, rate| {
            out.extend(7_u32.to_be_bytes());
            out.extend(rate.to_be_bytes());
        });
        m.data(256, [3], simple_record);
    });
    let kept = line
        .decoder
        .sessions
        .all_templates()
        .find_map(|(_, known)| match &known.layout {
            Layout::Options(template) => Some((template.fields.len(), template.scope_count)),
            Layout::Data(_) => None,
        });
    assert_eq!(kept, Some((2, 1)));
    let batch = line.batch();
    assert_eq!(u64s(&batch, "packets"), [Some(3)]);
    assert_eq!(u64s(&batch, "sampling_rate"), [Some(100)]);
}

/// Five sessions each of twenty exporters, with three templates and a set that has none.
fn crowd(limits: Limits) -> Line {
    let mut line = Line::new(DecoderConfig {
        limits,
        ..DecoderConfig::default()
    });
    for exporter in 0..20_u8 {
        for port in 1..6 {
            let mut payload = Vec::new();
            let header = ipfix::Header {
                length: 0,
                export_secs: EXPORT_SECS,
                sequence: ipfix::RecordSequence(0),
                observation_domain: 7,
            };
            let mut builder = IpfixBuilder::new(&mut payload, header);
            builder.templates([&simple(256), &simple(257), &simple(258)]);
            builder.data(999, [1], simple_record);
            builder.finish().expect("fits");
            line.decoder.decode(&Datagram {
                source: ([192, 0, 2, exporter], port).into(),
                destination: ([192, 0, 2, 99], 4739).into(),
                received_ns: RECEIVED_NS,
                payload: &payload,
            });
            let tables = line.decoder.tables();
            assert!(tables.exporters <= limits.exporters, "{tables:?}");
            assert!(tables.templates <= limits.templates, "{tables:?}");
        }
    }
    line
}

#[test]
fn tables_stay_within_their_limits_and_count_what_that_costs() {
    let all = Limits::default();
    let cases = [
        (
            "exporters",
            Limits {
                exporters: 2,
                ..all
            },
        ),
        ("domains", Limits { domains: 8, ..all }),
        (
            "domains_per_exporter",
            Limits {
                domains_per_exporter: 3,
                ..all
            },
        ),
        (
            "templates_per_domain",
            Limits {
                templates_per_domain: 2,
                ..all
            },
        ),
        (
            "templates",
            Limits {
                templates: 7,
                ..all
            },
        ),
    ];
    for (limit, limits) in cases {
        let line = crowd(limits);
        let counters = line.counters();
        assert!(counters.reasons.count(Scope::Limit, limit) > 0, "{limit}");
        // What was put out is still counted.
        assert_eq!(counters.datagrams, 100, "{limit}");
        let waiting: u64 = line
            .decoder
            .domains()
            .map(|domain| domain.sets_waiting)
            .sum();
        let lost = counters.reasons.total(Scope::Set);
        assert_eq!(counters.sets_waited, waiting + lost, "{limit}");
    }
}
