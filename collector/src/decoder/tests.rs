use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use forebay_store::{ColumnSet, Family};
use forebay_wire::encode::{FixedRecord, IpfixBuilder, V9Builder, fixed as write_fixed};
use forebay_wire::{ElementId, FieldSpecifier, Template};

use super::*;
use crate::config::ExtraType;

mod gathering;
mod limits;

const EXPORT_SECS: u32 = 1_700_000_000;
const RECEIVED_NS: u64 = 1_700_000_001_500_000_000;

/// An exporter that writes messages, and the decoder that takes them.
struct Line {
    decoder: Decoder,
    sequence: u32,
    received_ns: u64,
}

impl Line {
    fn new(config: DecoderConfig) -> Self {
        Self {
            decoder: Decoder::new(config),
            sequence: 0,
            received_ns: RECEIVED_NS,
        }
    }

    fn take(&mut self, port: u16, payload: &[u8]) {
        self.decoder.decode(&Datagram {
            source: ([192, 0, 2, 1], port).into(),
            destination: ([192, 0, 2, 99], 4739).into(),
            received_ns: self.received_ns,
            payload,
        });
    }

    /// Takes an IPFIX message of domain 7.
    fn ipfix(&mut self, port: u16, write: impl FnOnce(&mut IpfixBuilder<'_>)) {
        let mut payload = Vec::new();
        let header = ipfix::Header {
            length: 0,
            export_secs: EXPORT_SECS,
            sequence: ipfix::RecordSequence(self.sequence),
            observation_domain: 7,
        };
        let mut builder = IpfixBuilder::new(&mut payload, header);
        write(&mut builder);
        self.sequence = builder.next_sequence().0;
        builder.finish().expect("fits");
        self.take(port, &payload);
    }

    fn counters(&self) -> Counters {
        let mut all = self.decoder.unassigned();
        self.decoder
            .domains()
            .for_each(|domain| all.add(&domain.counters));
        all
    }

    /// All rows of a family since the last call, in one batch per hand-over.
    fn rows(&mut self) -> Vec<(Family, RecordBatch)> {
        self.decoder.flush();
        let schema = self.decoder.config.columns.schema.clone();
        let mut rows = Vec::new();
        while let Some(output) = self.decoder.next_output() {
            if let Output::Batch(ready) = output {
                let set: ColumnSet = ready.batch.present();
                let batch = ready
                    .batch
                    .into_record_batch(&schema, set)
                    .expect("parts agree");
                rows.push((ready.family, batch));
            }
        }
        rows
    }

    /// The only batch since the last call.
    fn batch(&mut self) -> RecordBatch {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "one batch is expected");
        rows.remove(0).1
    }
}

fn template(id: u16, scope_count: u16, fields: &[(u16, u16)]) -> Template {
    let fields = fields.iter().map(|&(number, length)| FieldSpecifier {
        element: ElementId::iana(number),
        length,
    });
    Template {
        id,
        scope_count,
        fields: fields.collect(),
    }
}

fn u64s(batch: &RecordBatch, name: &str) -> Vec<Option<u64>> {
    let column = batch
        .column_by_name(name)
        .unwrap_or_else(|| panic!("{name} has a value"));
    match column.data_type().primitive_width() {
        Some(1) => column
            .as_primitive::<UInt8Type>()
            .iter()
            .map(|v| v.map(u64::from))
            .collect(),
        Some(2) => column
            .as_primitive::<UInt16Type>()
            .iter()
            .map(|v| v.map(u64::from))
            .collect(),
        Some(4) => column
            .as_primitive::<UInt32Type>()
            .iter()
            .map(|v| v.map(u64::from))
            .collect(),
        _ => column.as_primitive::<UInt64Type>().iter().collect(),
    }
}

/// Source address, packets.
fn simple(id: u16) -> Template {
    template(id, 0, &[(8, 4), (2, 4)])
}

fn simple_record(out: &mut Vec<u8>, packets: u32) {
    out.extend([10, 0, 0, 1]);
    out.extend(packets.to_be_bytes());
}

#[test]
fn a_set_before_its_template_waits_and_is_decoded_when_it_comes() {
    let mut line = Line::new(DecoderConfig::default());
    line.ipfix(1, |message| {
        message.data(256, [5, 6], simple_record);
    });
    assert!(line.rows().is_empty());
    assert_eq!(
        line.decoder
            .domains()
            .next()
            .map(|domain| domain.sets_waiting),
        Some(1)
    );
    assert!(line.decoder.tables().pending_bytes > 0);
    line.ipfix(1, |message| {
        message.templates([&simple(256)]);
        message.data(256, [7], simple_record);
    });
    assert_eq!(u64s(&line.batch(), "packets"), [Some(7), Some(5), Some(6)]);
    let counters = line.counters();
    assert_eq!(
        (
            counters.records,
            counters.sets_waited,
            counters.sets_recovered
        ),
        (3, 1, 1)
    );
    assert_eq!(line.decoder.tables().pending_bytes, 0);
}

#[test]
fn a_redefinition_takes_effect_where_it_stands() {
    let mut line = Line::new(DecoderConfig::default());
    line.ipfix(1, |message| {
        message.templates([&simple(256)]);
        message.data(256, [1], simple_record);
        message.templates([&template(256, 0, &[(2, 4), (8, 4)])]);
        message.data(256, [2_u32], |out, packets| {
            out.extend(packets.to_be_bytes());
            out.extend([10, 0, 0, 1]);
        });
    });
    let batch = line.batch();
    assert_eq!(u64s(&batch, "packets"), [Some(1), Some(2)]);
    assert_eq!(u64s(&batch, "src_ipv4"), [Some(0x0a00_0001); 2]);
    assert_eq!(
        (line.counters().templates, line.counters().templates_changed),
        (2, 1)
    );
}

#[test]
fn a_session_without_the_template_uses_what_its_siblings_agree_on() {
    let mut line = Line::new(DecoderConfig::default());
    let data = |message: &mut IpfixBuilder<'_>| {
        message.data(256, [9], simple_record);
    };
    line.ipfix(1, |message| {
        message.templates([&simple(256)]);
    });
    line.ipfix(2, data);
    assert_eq!(u64s(&line.batch(), "packets"), [Some(9)]);
    assert_eq!(line.counters().sets_by_sibling, 1);

    // Two that differ: never guess between them.
    line.ipfix(3, |message| {
        message.templates([&template(256, 0, &[(8, 4), (1, 4)])]);
    });
    line.ipfix(2, data);
    assert!(line.rows().is_empty());
    assert_eq!(line.counters().sets_waited, 1);
    // The session's own template settles it.
    line.ipfix(2, |message| {
        message.templates([&simple(256)]);
    });
    assert_eq!(u64s(&line.batch(), "packets"), [Some(9)]);
}

#[test]
fn the_same_id_in_another_domain_or_version_is_another_template() {
    let mut line = Line::new(DecoderConfig::default());
    line.ipfix(1, |message| {
        message.templates([&simple(256)]);
    });
    let mut payload = Vec::new();
    let header = v9::Header {
        count: 0,
        uptime_ms: 0,
        unix_secs: EXPORT_SECS,
        sequence: v9::MessageSequence(0),
        source_id: 7,
    };
    let mut builder = V9Builder::new(&mut payload, header);
    builder.data(256, [1], simple_record);
    builder.finish().expect("fits");
    line.take(1, &payload);
    assert!(line.rows().is_empty());
    assert_eq!(line.counters().sets_waited, 1);
}

#[test]
fn sampling_comes_from_the_sampler_that_the_record_names_else_from_the_domain() {
    let mut line = Line::new(DecoderConfig::default());
    // selectorId as scope; samplingPacketInterval, samplingPacketSpace.
    let options = template(300, 1, &[(302, 2), (305, 4), (306, 4)]);
    line.ipfix(1, |message| {
        message.templates([&template(256, 0, &[(8, 4), (302, 2)]), &simple(257)]);
        message.options_templates([&options]);
        message.data(
            300,
            [(1_u16, 1_u32, 99_u32), (2, 10, 990)],
            |out, (id, taken, space)| {
                out.extend(id.to_be_bytes());
                out.extend(taken.to_be_bytes());
                out.extend(space.to_be_bytes());
            },
        );
        message.data(256, [1_u8, 2, 3], |out, id| {
            out.extend([10, 0, 0, 1, 0, id])
        });
        message.data(257, [4], simple_record);
    });
    let rates = u64s(&line.batch(), "sampling_rate");
    assert_eq!(rates, [Some(100), Some(100), None, None]);
    assert_eq!(line.counters().options_records, 2);

    // samplingInterval for the whole domain: scope exportingProcessId.
    line.ipfix(1, |message| {
        message.options_templates([&template(301, 1, &[(144, 4), (34, 4)])]);
        message.data(301, [500_u32], |out, rate| {
            out.extend([0, 0, 0, 1]);
            out.extend(rate.to_be_bytes());
        });
        message.data(257, [4], simple_record);
        message.data(256, [3_u8], |out, id| out.extend([10, 0, 0, 1, 0, id]));
    });
    assert_eq!(u64s(&line.batch(), "sampling_rate"), [Some(500), Some(500)]);
}

#[test]
fn options_data_whose_scope_is_empty_is_no_flow() {
    let mut line = Line::new(DecoderConfig::default());
    line.ipfix(1, |message| {
        message.templates([&simple(257)]);
        message.options_templates([&template(301, 1, &[(144, 0), (34, 4)])]);
        message.data(301, [500_u32], |out, rate| out.extend(rate.to_be_bytes()));
        message.data(257, [4], simple_record);
    });
    assert_eq!(u64s(&line.batch(), "sampling_rate"), [Some(500)]);
    let counters = line.counters();
    assert_eq!((counters.options_records, counters.records), (1, 1));
}

fn v5(records: &[FixedRecord], sequence: u32, sampling: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    let header = fixed::Header {
        version: fixed::Version::V5,
        count: 0,
        uptime_ms: 100_000,
        unix_secs: EXPORT_SECS,
        unix_nsecs: 0,
        flow_sequence: fixed::FlowSequence(sequence),
        engine_type: 1,
        engine_id: 2,
        sampling,
    };
    write_fixed(&mut payload, &header, records.iter().copied()).expect("fits");
    payload
}

fn v5_record(protocol: u8, destination_port: u16) -> FixedRecord {
    FixedRecord {
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        next_hop: [0, 0, 0, 0].into(),
        input: 1,
        output: 2,
        packets: 3,
        octets: 300,
        first_ms: 90_000,
        last_ms: 95_000,
        source_port: 0,
        destination_port,
        tcp_flags: 0x1b,
        protocol,
        tos: 0,
        source_as: 0,
        destination_as: 65_000,
        source_mask: 24,
        destination_mask: 0,
        router: [0, 0, 0, 0].into(),
    }
}

#[test]
fn v5_has_icmp_in_its_port_and_sampling_in_its_header() {
    let mut line = Line::new(DecoderConfig::default());
    line.take(
        1,
        &v5(&[v5_record(6, 443), v5_record(1, 0x0305)], 0, 0x4000 | 100),
    );
    let batch = line.batch();
    assert_eq!(u64s(&batch, "icmp_type"), [None, Some(3)]);
    assert_eq!(u64s(&batch, "icmp_code"), [None, Some(5)]);
    assert_eq!(u64s(&batch, "sampling_rate"), [Some(100); 2]);
    assert_eq!(u64s(&batch, "observation_domain"), [Some(258); 2]);
    assert_eq!(u64s(&batch, "dst_as"), [Some(65_000); 2]);
    assert!(batch.column_by_name("template_id").is_none());
}

#[test]
fn v5_counts_flows_that_never_came() {
    let mut line = Line::new(DecoderConfig::default());
    let records = [v5_record(6, 1); 10];
    for sequence in [0, 30, 10] {
        line.take(1, &v5(&records, sequence, 0));
    }
    let counters = line.counters();
    assert_eq!((counters.sequence_lost, counters.sequence_late), (10, 10));
}

#[test]
fn each_datagram_ends_in_one_counter() {
    let mut line = Line::new(DecoderConfig {
        versions: vec![9, 10],
        ..DecoderConfig::default()
    });
    line.take(1, &[]);
    line.take(1, &[0, 42, 0, 0]);
    line.take(1, &[0, 10, 0, 0]);
    line.take(1, &v5(&[v5_record(6, 1)], 0, 0));
    line.ipfix(1, |_| {});
    let counters = line.counters();
    assert_eq!(
        counters.datagrams,
        counters.messages + counters.reasons.total(Scope::Datagram)
    );
    assert_eq!((counters.datagrams, counters.messages), (5, 1));
    assert_eq!(
        counters
            .reasons
            .count(Scope::Datagram, "version_not_accepted"),
        1
    );
}

#[test]
fn a_record_with_both_families_belongs_to_the_one_that_is_set() {
    let mut line = Line::new(DecoderConfig::default());
    let both = template(256, 0, &[(8, 4), (27, 16), (60, 1), (7, 2)]);
    let records: [([u8; 4], [u8; 16], u8, u16); 4] = [
        ([10, 0, 0, 1], [0; 16], 4, 1),
        ([0; 4], [0xfd; 16], 6, 2),
        ([10, 0, 0, 1], [0xfd; 16], 6, 3),
        ([10, 0, 0, 1], [0xfd; 16], 0, 4),
    ];
    line.ipfix(1, |message| {
        message.templates([&both]);
        message.data(256, records, |out, (ipv4, ipv6, version, port)| {
            out.extend(ipv4);
            out.extend(ipv6);
            out.push(version);
            out.extend(port.to_be_bytes());
        });
    });
    let rows = line.rows();
    let families: Vec<Family> = rows.iter().map(|(family, _)| *family).collect();
    assert_eq!(families, [Family::Ipv4, Family::Ipv6]);
    assert_eq!(u64s(&rows[0].1, "src_port"), [Some(1), Some(4)]);
    assert_eq!(u64s(&rows[1].1, "src_port"), [Some(2), Some(3)]);
    assert_eq!(u64s(&rows[1].1, "src_ipv4"), [None, Some(0x0a00_0001)]);
    let other = rows[0]
        .1
        .column_by_name("src_ipv6")
        .expect("filled where both are set");
    assert!(other.is_null(0) && other.is_valid(1));
}

#[test]
fn a_variable_length_element_becomes_a_configured_column() {
    let mut config = DecoderConfig::default();
    let name = ElementId::new(9, 12_235);
    config
        .columns
        .add("http_host", name, ExtraType::Text)
        .expect("a new name");
    let mut line = Line::new(config);
    let mut layout = simple(256);
    layout.fields.insert(
        1,
        FieldSpecifier {
            element: name,
            length: 65_535,
        },
    );
    line.ipfix(1, |message| {
        message.templates([&layout]);
        message.data(256, ["a.example", ""], |out, host| {
            out.extend([10, 0, 0, 1]);
            forebay_wire::encode::variable_length(out, host.as_bytes());
            out.extend(7_u32.to_be_bytes());
        });
    });
    let batch = line.batch();
    let hosts = batch
        .column_by_name("http_host")
        .expect("configured")
        .as_string::<i32>();
    assert_eq!(
        hosts.iter().collect::<Vec<_>>(),
        [Some("a.example"), Some("")]
    );
    assert_eq!(u64s(&batch, "packets"), [Some(7); 2]);
}

#[test]
fn a_restart_knows_templates_and_samplers() {
    let mut line = Line::new(DecoderConfig::default());
    line.ipfix(5, |message| {
        message.templates([&simple(256)]);
        message.options_templates([&template(301, 1, &[(144, 4), (34, 4)])]);
        message.data(301, [500_u32], |out, rate| {
            out.extend([0, 0, 0, 1]);
            out.extend(rate.to_be_bytes());
        });
    });
    let saved = line.decoder.take_changed().expect("templates came");
    assert!(line.decoder.take_changed().is_none());

    let mut again = Line::new(DecoderConfig::default());
    again.decoder.restore(&saved, |_| true);
    let known = again.decoder.take_changed().expect("to be saved again");
    let (mut known, mut before) = (known, saved.clone());
    // Sorts.
    known.merge(Saved::default());
    before.merge(Saved::default());
    assert_eq!(known.templates, before.templates);
    again.ipfix(5, |message| {
        message.data(256, [3], simple_record);
    });
    let batch = again.batch();
    assert_eq!(u64s(&batch, "packets"), [Some(3)]);
    assert_eq!(u64s(&batch, "sampling_rate"), [Some(500)]);
    assert_eq!(
        again.counters().templates,
        0,
        "saved templates are not counted as received"
    );

    let mut elsewhere = Line::new(DecoderConfig::default());
    elsewhere.decoder.restore(&saved, |_| false);
    assert_eq!(elsewhere.decoder.tables().templates, 0);
}

#[test]
fn windows_are_aligned_and_end_at_full_hours() {
    let minute = 60_000_000;
    assert_eq!(window(90 * 1_000_000, 60), minute..2 * minute);
    // 7 minutes do not divide an hour.
    assert_eq!(window(59 * minute, 420), 56 * minute..60 * minute);
    assert_eq!(window(61 * minute, 420), 60 * minute..63 * minute);
    assert_eq!(window(-1, 60), -minute..0);
}

#[test]
fn a_batch_ends_with_its_window_and_a_little_disorder_does_not_end_one() {
    let mut line = Line::new(DecoderConfig::default());
    line.ipfix(1, |message| {
        message.templates([&simple(256)]);
    });
    let minute_ns = 60_000_000_000;
    let boundary = RECEIVED_NS - RECEIVED_NS % minute_ns + minute_ns;
    let data = |message: &mut IpfixBuilder<'_>| {
        message.data(256, [1], simple_record);
    };
    for received_ns in [boundary - 1_000, boundary, boundary - 2_000, boundary + 5] {
        line.received_ns = received_ns;
        line.ipfix(1, data);
    }
    let rows: Vec<usize> = line
        .rows()
        .iter()
        .map(|(_, batch)| batch.num_rows())
        .collect();
    assert_eq!(rows, [1, 3]);
}

#[test]
fn a_set_that_waited_is_of_the_window_in_which_its_template_comes() {
    let hour_ns = 3_600_000_000_000;
    // The clock goes on, or back.
    for received_ns in [RECEIVED_NS + hour_ns, RECEIVED_NS - hour_ns] {
        let mut line = Line::new(DecoderConfig::default());
        line.ipfix(1, |message| {
            message.data(256, [5], simple_record);
        });
        line.received_ns = received_ns;
        line.ipfix(1, |message| {
            message.templates([&simple(256)]);
        });
        let window = line.decoder.window.clone();
        let batch = line.batch();
        let received = batch.column_by_name("received").expect("is never null");
        let received = received.as_primitive::<TimestampMicrosecondType>().value(0);
        // Not later than now, or the batch would wait until then.
        let now_us = (received_ns / 1000).cast_signed();
        let expected = (RECEIVED_NS / 1000).cast_signed().min(now_us);
        assert_eq!(received, expected.max(window.start));
    }
}
