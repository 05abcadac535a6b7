//! Whole runs, against a slow and obvious form of the rule.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::types::{Int32Type, TimestampMicrosecondType, UInt8Type, UInt32Type, UInt64Type};
use forebay_store::{
    ColumnType, Compression, Dataset, FlowFile, FlowSchema, SEEN_BY, SEEN_EXPORTERS, find_inputs,
};

use super::*;
use crate::scan::InputOptions;
use crate::testing::{self, Form, Value};

mod model;

use model::{Kept, Numbers, Row, reference, rows};

fn flow(row: &Row) -> testing::Flow {
    let mut flow = HashMap::from([
        ("received", Value::Signed(row.received)),
        ("exporter", Value::Octets(row.exporter.into())),
        ("observation_domain", Value::Number(row.domain.into())),
        ("in_if", Value::Number(row.in_if.into())),
        ("protocol", Value::Number(6)),
        (
            "x_place",
            Value::Octets(format!("place {}", row.in_if).into_bytes()),
        ),
    ]);
    match row.family {
        Family::Ipv4 => flow.insert("src_ipv4", Value::Number(row.src.into())),
        Family::Ipv6 => flow.insert("src_ipv6", Value::Octets(vec![row.src; 16])),
        Family::Other => flow.insert("src_mac", Value::Octets(vec![row.src; 6])),
    };
    let times = [("first", row.first), ("last", row.last)];
    let numbers = [
        ("dst_port", row.dst_port.map(u64::from)),
        ("tos", row.tos.map(u64::from)),
        ("packets", row.packets),
        ("bytes", row.bytes),
    ];
    flow.extend(
        times
            .into_iter()
            .filter_map(|(name, us)| Some((name, Value::Signed(us?)))),
    );
    flow.extend(
        numbers
            .into_iter()
            .filter_map(|(name, n)| Some((name, Value::Number(n?)))),
    );
    flow
}

/// Writes the rows to some files in all forms, in no order.
fn files(dataset: &Dataset, rows: &[Row], seed: u64) {
    let mut schema = FlowSchema::default();
    schema.add("x_place", ColumnType::Text).expect("a new name");
    let schema = Arc::new(schema);
    let mut numbers = Numbers(seed);
    for family in Family::ALL {
        let mut own: Vec<&Row> = rows.iter().filter(|row| row.family == family).collect();
        // Of the second seed on, files are not in the order of time.
        if seed > 0 {
            numbers.shuffle(&mut own);
        }
        let count = own.len().div_ceil(3).max(1);
        for (chunk, form) in own
            .chunks(count)
            .zip([Form::Staged, Form::Kept, Form::Parquet])
        {
            let flows: Vec<testing::Flow> = chunk.iter().map(|row| flow(row)).collect();
            testing::write(dataset, &schema, family, &flows, 100, form);
        }
    }
}

fn run(dir: &Path, threads: usize, options: &DedupeOptions) -> Result<DedupeReport, DedupeError> {
    let paths = find_inputs(&[dir.to_str().expect("UTF-8").to_owned()]).expect("finds");
    let control = Control::default();
    let input_options = InputOptions {
        skip_bad: false,
        threads,
    };
    let mut inputs = Inputs::open(&paths, input_options, &control)?;
    dedupe(&mut inputs, options, &control)
}

/// What stands in a dataset, whose files must be in the order of time and hold what went in.
fn read(dir: &Path, rows: &[Row]) -> BTreeSet<Kept> {
    let by_time: HashMap<i64, &Row> = rows.iter().map(|row| (row.received, row)).collect();
    let mut found = BTreeSet::new();
    let paths = find_inputs(&[dir.to_str().expect("UTF-8").to_owned()]).expect("finds");
    for path in paths {
        let file = FlowFile::open(&path, None).expect("opens");
        let family = file.family();
        let mut last = i64::MIN;
        let mut count = 0;
        for batch in file {
            let batch = batch.expect("reads");
            let column = |name: &str| batch.column_by_name(name);
            let number = |name: &str, row: usize| {
                let array = column(name).filter(|array| array.is_valid(row))?;
                Some(array.as_primitive::<UInt64Type>().value(row))
            };
            let received = column("received").expect("is there");
            let received = received.as_primitive::<TimestampMicrosecondType>();
            let exporters = column("exporter")
                .expect("is there")
                .as_dictionary::<Int32Type>();
            let lists = column(SEEN_EXPORTERS).expect("is there").as_list::<i32>();
            let seen = lists.values().as_dictionary::<Int32Type>();
            let seen = seen
                .downcast_dict::<arrow_array::StringArray>()
                .expect("texts");
            let counts = column(SEEN_BY)
                .expect("is there")
                .as_primitive::<UInt32Type>();
            let in_if = column("in_if")
                .expect("is there")
                .as_primitive::<UInt32Type>();
            let place = column("x_place").expect("is there").as_string::<i32>();
            for row in 0..batch.num_rows() {
                let at = received.value(row);
                assert!(at >= last, "{} is not in the order of time", path.display());
                last = at;
                count += 1;
                let told = by_time[&at];
                assert_eq!(told.family, family);
                let exporter = exporters
                    .downcast_dict::<arrow_array::StringArray>()
                    .expect("texts");
                assert_eq!(
                    arrow_array::ArrayAccessor::value(&exporter, row),
                    told.exporter
                );
                assert_eq!(number("packets", row), told.packets);
                assert_eq!(number("bytes", row), told.bytes);
                let tos = column("tos").filter(|array| array.is_valid(row));
                assert_eq!(
                    tos.map(|a| a.as_primitive::<UInt8Type>().value(row)),
                    told.tos
                );
                assert_eq!(in_if.value(row), told.in_if);
                assert_eq!(place.value(row), format!("place {}", told.in_if));
                let ends = [row, row + 1].map(|place| lists.value_offsets()[place] as usize);
                let text = |place| arrow_array::ArrayAccessor::value(&seen, place).to_owned();
                let is_new = found.insert(Kept {
                    received: at,
                    seen_by: counts.value(row),
                    seen_exporters: (ends[0]..ends[1]).map(text).collect(),
                });
                assert!(is_new, "a row is there twice");
            }
        }
        assert!(count > 0, "{} is empty", path.display());
    }
    found
}

fn variants() -> Vec<DedupeOptions> {
    let default = DedupeOptions {
        key: Some(["src_addr", "dst_port", "tos"].map(str::to_owned).to_vec()),
        ..DedupeOptions::default()
    };
    let rules = Rules::default();
    let lossy = Rules {
        packets: Agreement::WithinShare(50_000),
        bytes: Agreement::Within(2_000),
        ..rules.clone()
    };
    let blind = Rules {
        packets: Agreement::Any,
        bytes: Agreement::Any,
        duration: Agreement::Any,
        ..rules.clone()
    };
    let order = Keep::ExporterOrder(vec!["2001:db8::1".to_owned(), "198.51.100.7".to_owned()]);
    vec![
        default.clone(),
        DedupeOptions {
            rules: Rules {
                within: true,
                ..rules.clone()
            },
            keep: Keep::MostBytes,
            ..default.clone()
        },
        DedupeOptions {
            rules: lossy.clone(),
            keep: Keep::MostBytes,
            ..default.clone()
        },
        DedupeOptions {
            rules: Rules {
                within: true,
                ..lossy
            },
            keep: order.clone(),
            ..default.clone()
        },
        DedupeOptions {
            rules: blind,
            keep: order,
            ..default.clone()
        },
        DedupeOptions {
            rules: Rules {
                start_delta_us: 800_000,
                ..rules
            },
            ..default
        },
    ]
}

#[test]
fn what_is_kept_is_what_the_rule_says_in_any_order_with_any_threads_and_memory() {
    let dir = tempfile::tempdir().expect("temporary folder");
    for (options, seed) in variants().into_iter().zip(1..) {
        let rows = rows(seed, 900);
        let expected = reference(&rows, &options);
        assert!(expected.len() < rows.len(), "there are duplicates");
        for (order, threads, memory) in [
            (0, 1, 1 << 30),
            (1, 2, 1 << 30),
            (2, 4, 1 << 16),
            (3, 3, 1 << 13),
        ] {
            let [input, output] =
                ["in", "out"].map(|name| dir.path().join(format!("{name}{seed}-{order}")));
            let dataset = Dataset::open(&input).expect("opens");
            files(&dataset, &rows, order);
            let format = match order % 2 {
                0 => FileFormat::Segment,
                _ => FileFormat::Parquet(Compression::Zstd),
            };
            let options = DedupeOptions {
                output: Some((output.clone(), format)),
                memory: MemoryLimit(memory),
                ..options.clone()
            };
            let report = run(&input, threads, &options).expect("runs");
            assert_eq!(read(&output, &rows), expected, "{seed} {order}");
            assert_eq!(report.rows_in, rows.len() as u64);
            assert_eq!(report.rows_kept(), expected.len() as u64);
            let of_pairs: u64 = report.pairs.iter().map(|pair| pair.rows).sum();
            assert_eq!(of_pairs, report.rows_removed);
            assert_eq!(report.spilled_bytes > 0, memory < 1 << 20);
            let again = run(
                &input,
                2,
                &DedupeOptions {
                    output: None,
                    ..options
                },
            );
            let again = again.expect("runs");
            assert_eq!(
                (again.rows_removed, again.pairs),
                (report.rows_removed, report.pairs)
            );
        }
    }
}

#[test]
fn what_was_seen_before_is_seen_still_when_datasets_are_merged_and_deduped_again() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let rows = rows(77, 600);
    let path = |name: &str| dir.path().join(name);
    let options = variants().swap_remove(0);
    let to = |name: &str, options: &DedupeOptions| DedupeOptions {
        output: Some((path(name), FileFormat::Segment)),
        ..options.clone()
    };
    // Each site removes its own; then they are merged, and what is left is removed.
    let site = |row: &Row| row.exporter.starts_with('1');
    for (name, here) in [("one", true), ("other", false)] {
        let own: Vec<Row> = rows
            .iter()
            .filter(|row| site(row) == here)
            .cloned()
            .collect();
        let dataset = Dataset::open(&path(&format!("{name}-in"))).expect("opens");
        files(&dataset, &own, 0);
        run(
            &path(&format!("{name}-in")),
            2,
            &to(&format!("sites/{name}"), &options),
        )
        .expect("runs");
    }
    let merge = DedupeOptions {
        key: None,
        ..options.clone()
    };
    let merged = run(&path("sites"), 2, &to("merged", &merge)).expect("runs");
    assert_eq!(
        (merged.rows_removed, merged.rows_not_compared),
        (0, merged.rows_in)
    );
    let before = read(&path("merged"), &rows);
    let sites: BTreeSet<Kept> = ["sites/one", "sites/other"]
        .iter()
        .flat_map(|name| read(&path(name), &rows))
        .collect();
    assert_eq!(before, sites);
    let last = run(&path("merged"), 2, &to("last", &options)).expect("runs");
    assert!(last.rows_removed > 0);
    let whole = read(&path("last"), &rows);
    // Nobody who saw anything is forgotten.
    let seen = |kept: &BTreeSet<Kept>| kept.iter().map(|kept| kept.seen_by).sum::<u32>();
    assert!(whole.iter().any(|kept| kept.seen_by == 3));
    assert!(seen(&whole) <= seen(&before) && whole.len() < before.len());
    assert_eq!(whole.len() as u64, last.rows_kept());
}

#[test]
fn merging_raw_flows_adds_no_column_and_loses_none() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let rows = rows(5, 300);
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    files(&Dataset::open(&input).expect("opens"), &rows, 3);
    let options = DedupeOptions {
        key: None,
        output: Some((output.clone(), FileFormat::Parquet(Compression::None))),
        ..DedupeOptions::default()
    };
    let report = run(&input, 2, &options).expect("runs");
    assert_eq!(
        (report.rows_in, report.rows_kept()),
        (rows.len() as u64, rows.len() as u64)
    );
    let mut times = BTreeSet::new();
    for path in find_inputs(&[output.to_str().expect("UTF-8").to_owned()]).expect("finds") {
        for batch in FlowFile::open(&path, None).expect("opens") {
            let batch = batch.expect("reads");
            assert!(batch.column_by_name(SEEN_BY).is_none());
            let received = batch.column_by_name("received").expect("is there");
            times.extend(
                received
                    .as_primitive::<TimestampMicrosecondType>()
                    .values()
                    .iter()
                    .copied(),
            );
        }
    }
    assert_eq!(times, rows.iter().map(|row| row.received).collect());
}

#[test]
fn a_run_that_fails_or_is_stopped_leaves_nothing() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let rows = rows(6, 300);
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    files(&Dataset::open(&input).expect("opens"), &rows, 0);
    let options = DedupeOptions {
        output: Some((output.clone(), FileFormat::Segment)),
        ..DedupeOptions::default()
    };
    let paths = find_inputs(&[input.to_str().expect("UTF-8").to_owned()]).expect("finds");
    let control = Control::default();
    let mut inputs = Inputs::open(&paths, InputOptions::default(), &control).expect("opens");
    control.stop();
    let error = dedupe(&mut inputs, &options, &control).expect_err("is stopped");
    assert!(
        matches!(error, DedupeError::Analyze(AnalyzeError::Stopped)),
        "{error}"
    );
    let left: Vec<_> = fs::read_dir(dir.path())
        .expect("lists")
        .map(|e| e.expect("lists").file_name())
        .collect();
    assert_eq!(left, ["in"]);

    // Something is there already.
    fs::create_dir(&output).expect("makes");
    fs::write(output.join("file"), "").expect("writes");
    let error = run(&input, 1, &options).expect_err("is taken");
    assert!(error.to_string().contains("is not empty"), "{error}");
    fs::remove_file(output.join("file")).expect("removes");
    run(&input, 1, &options).expect("an empty folder will do");
    let error = run(&input, 1, &options).expect_err("is taken");
    assert!(error.to_string().contains("is not empty"), "{error}");

    let typo = DedupeOptions {
        key: Some(vec!["src_adr".to_owned()]),
        output: None,
        ..options
    };
    let error = run(&input, 1, &typo).expect_err("no such column");
    assert_eq!(
        error.to_string(),
        "no column is called \"src_adr\": did you mean \"src_addr\"?"
    );
}

#[test]
fn icmp_is_the_same_however_it_is_told_and_any_column_can_be_a_key() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut schema = FlowSchema::default();
    for (name, kind) in [
        ("x_text", ColumnType::Text),
        ("x_octets", ColumnType::Octets),
        ("x_float", ColumnType::F64),
    ] {
        schema.add(name, kind).expect("a new name");
    }
    let schema = Arc::new(schema);
    let flow = |exporter: &str, more: &[(&'static str, Value)]| {
        let mut flow = HashMap::from([
            ("exporter", Value::Octets(exporter.into())),
            ("protocol", Value::Number(1)),
            ("src_ipv4", Value::Number(7)),
            ("src_mac", Value::Octets(vec![1, 2, 3, 4, 5, 6])),
            ("first", Value::Signed(testing::START_US)),
            ("packets", Value::Number(3)),
            ("x_text", Value::Octets(b"same".to_vec())),
            ("x_float", Value::Float(1.5)),
        ]);
        flow.extend(more.iter().cloned());
        flow
    };
    let number = |name, number| (name, Value::Number(number));
    let flows = [
        flow("a", &[number("icmp_type", 3), number("icmp_code", 1)]),
        flow(
            "b",
            &[number("dst_port", 3 << 8 | 1), number("src_port", 0)],
        ),
        flow(
            "c",
            &[
                number("icmp_type", 3),
                number("icmp_code", 2),
                number("dst_port", 3 << 8 | 1),
            ],
        ),
        flow("d", &[("x_octets", Value::Octets(vec![0, 255]))]),
        flow(
            "e",
            &[
                ("x_octets", Value::Octets(vec![0, 254])),
                ("x_float", Value::Float(-1.5)),
            ],
        ),
    ];
    let dataset = Dataset::open(&dir.path().join("in")).expect("opens");
    testing::write(&dataset, &schema, Family::Ipv4, &flows, 2, Form::Kept);
    let removed = |key: &[&str]| {
        let key = key.iter().map(|&name| name.to_owned()).collect();
        let options = DedupeOptions {
            key: Some(key),
            ..DedupeOptions::default()
        };
        let report = run(&dir.path().join("in"), 1, &options).expect("runs");
        (report.rows_removed, report.rows_not_compared)
    };
    // The first two; and the last two, of which neither type nor code is known.
    assert_eq!(removed(&key::DEFAULT), (2, 0));
    assert_eq!(removed(&["src_mac", "x_text"]), (4, 0));
    assert_eq!(removed(&["x_float", "x_text"]), (3, 0));
    // Where nothing of the key is known, nothing is compared.
    assert_eq!(removed(&["x_octets"]), (0, 3));
    assert_eq!(removed(&["exporter"]), (0, 0));
    assert_eq!(removed(&["first", "observation_domain"]), (4, 0));
}
