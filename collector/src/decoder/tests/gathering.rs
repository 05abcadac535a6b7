//! Records that gather become the same rows, whatever comes beside them.

use super::*;

#[test]
fn long_values_end_a_batch_before_its_rows_do() {
    let mut config = DecoderConfig::default();
    let name = ElementId::new(9, 12_235);
    config
        .columns
        .add("payload", name, ExtraType::Octets)
        .expect("a new name");
    let mut line = Line::new(config);
    let mut layout = simple(256);
    layout.fields.push(FieldSpecifier {
        element: name,
        length: 65_535,
    });
    line.ipfix(1, |message| {
        message.templates([&layout]);
    });
    for _ in 0..300 {
        line.ipfix(1, |message| {
            message.data(256, [60_000], |out, length| {
                simple_record(out, 1);
                forebay_wire::encode::variable_length(out, &vec![7; length]);
            });
        });
    }
    let rows: Vec<usize> = line
        .rows()
        .iter()
        .map(|(_, batch)| batch.num_rows())
        .collect();
    assert_eq!((rows.len(), rows.iter().sum::<usize>()), (2, 300));
}

#[test]
fn a_layout_that_comes_fast_has_batches_without_the_columns_of_others() {
    let mut line = Line::new(DecoderConfig {
        batch_rows: 13,
        ..DecoderConfig::default()
    });
    let with_ports = template(257, 0, &[(8, 4), (7, 2)]);
    for port in [1, 2] {
        line.ipfix(port, |message| {
            message.templates([&simple(256), &with_ports]);
        });
    }
    for number in 0..6 {
        // Two sessions, and by their own ids, but the layout is the same.
        line.ipfix(1 + number % 2, |message| {
            message.data(256, [1, 2, 3], simple_record);
            message.data(257, [number], |out, port| {
                out.extend([10, 0, 0, 1]);
                out.extend(port.to_be_bytes());
            });
        });
    }
    let rows = line.rows();
    let (fast, slow) = (&rows[0].1, &rows[1].1);
    assert_eq!((fast.num_rows(), slow.num_rows()), (15, 9));
    assert!(fast.column_by_name("src_port").is_none());
    assert_eq!(
        u64s(fast, "exporter_port")[..6],
        [1, 1, 1, 2, 2, 2].map(Some)
    );
    // The rest, in the order of arrival.
    let ports = [0, 1, 2, 3, 4, 5].map(Some);
    let told = u64s(slow, "src_port");
    assert_eq!(
        told.iter().copied().flatten().map(Some).collect::<Vec<_>>(),
        ports
    );
    assert_eq!(told.last(), Some(&Some(5)));
    assert_eq!(line.counters().records, 24);
}

#[test]
fn more_layouts_than_batches_or_stages_lose_nothing() {
    let mut line = Line::new(DecoderConfig {
        batch_rows: 4,
        ..DecoderConfig::default()
    });
    // Every set of these seven columns, and a length that makes layouts of equal columns.
    let columns = [(7, 2), (11, 2), (4, 1), (5, 1), (6, 1), (10, 4), (14, 4)];
    let layouts: Vec<Template> = (0..256_u16)
        .map(|number| {
            let wanted = columns.iter().enumerate();
            let wanted = wanted.filter(|(place, _)| number >> place & 1 == 1);
            let packets = (2, if number < 128 { 4 } else { 8 });
            let fields = wanted.map(|(_, field)| *field);
            let fields: Vec<_> = [(8, 4), packets].into_iter().chain(fields).collect();
            template(256 + number, 0, &fields)
        })
        .collect();
    for layout in &layouts {
        line.ipfix(1, |message| {
            message.templates([layout]);
        });
    }
    for round in 0..9 {
        for layout in &layouts {
            let length = layout.record_length().expect("is fixed");
            line.ipfix(1, |message| {
                message.data(layout.id, [round], |out, round| {
                    out.extend(std::iter::repeat_n(round, length));
                });
            });
        }
    }
    let rows = line.rows();
    let packets = rows.iter().flat_map(|(_, batch)| u64s(batch, "packets"));
    let mut rounds: Vec<u64> = packets.flatten().map(|packets| packets & 0xff).collect();
    rounds.sort_unstable();
    let expected: Vec<u64> = (0..9).flat_map(|round| [round; 256]).collect();
    assert_eq!(rounds, expected);
    assert!(rows.iter().all(|(_, batch)| batch.num_rows() <= 8));
}

#[test]
fn exporters_that_are_forgotten_take_no_bytes_of_others_with_them() {
    // There is room for four exporters' domains in tests: each new one after that makes room.
    let mut config = DecoderConfig::default();
    let name = ElementId::new(9, 12_235);
    let kind = ExtraType::Text;
    config
        .columns
        .add("payload", name, kind)
        .expect("a new name");
    let mut line = Line::new(config);
    let mut layout = simple(256);
    layout.fields.push(FieldSpecifier {
        element: name,
        length: 65_535,
    });
    let mut payloads = Vec::new();
    for domain in 0..30_u32 {
        let mut payload = Vec::new();
        let header = ipfix::Header {
            length: 0,
            export_secs: EXPORT_SECS,
            sequence: ipfix::RecordSequence(0),
            observation_domain: domain,
        };
        let mut builder = IpfixBuilder::new(&mut payload, header);
        builder.templates([&layout]);
        builder.data(256, [domain, domain], |out, domain| {
            simple_record(out, domain);
            forebay_wire::encode::variable_length(out, format!("of {domain}").as_bytes());
        });
        builder.finish().expect("fits");
        payloads.push(payload);
    }
    payloads.iter().for_each(|payload| line.take(1, payload));
    let mut count = 0;
    for (_, batch) in line.rows() {
        let texts = batch.column_by_name("payload").expect("has one");
        let texts = texts.as_string::<i32>().iter();
        for (domain, text) in u64s(&batch, "observation_domain").into_iter().zip(texts) {
            assert_eq!(text, Some(&*format!("of {}", domain.expect("has one"))));
            count += 1;
        }
    }
    assert_eq!(count, 60);
}
