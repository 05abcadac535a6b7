//! Whole runs, against a slow and obvious form of the rule.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use crate::testing::{self, Form, START_US, Value};

/// A row as it goes in. When it was received is its name: no other is received then.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    family: Family,
    received: i64,
    exporter: &'static str,
    domain: u32,
    src: u8,
    dst_port: Option<u16>,
    tos: Option<u8>,
    first: Option<i64>,
    last: Option<i64>,
    packets: Option<u64>,
    bytes: Option<u64>,
    in_if: u32,
}

/// A row as it comes out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    received: i64,
    seen_by: u32,
    seen_exporters: Vec<String>,
}

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

const EXPORTERS: [(&str, u32); 4] = [
    ("192.0.2.9", 0),
    ("198.51.100.7", 0),
    ("198.51.100.7", 4),
    ("2001:db8::1", 1),
];

/// Flows that up to four saw: with skewed clocks, one of them losing packets, another splitting flows.
fn rows(seed: u64, flows: u64) -> Vec<Row> {
    let mut numbers = Numbers(seed);
    let mut rows = Vec::new();
    // No two of one exporter and key begin at once: nothing would tell which is which.
    let mut begun = BTreeSet::new();
    for _ in 0..flows {
        let family = Family::ALL[[0, 0, 0, 1, 1, 2][numbers.below(6) as usize]];
        let src = numbers.below(12) as u8;
        let dst_port = (!numbers.one_in(10)).then_some(443);
        let tos = (!numbers.one_in(10)).then(|| 8 * numbers.below(2) as u8);
        let start = START_US + 1_000 * numbers.below(300_000) as i64;
        let duration = 1_000 * numbers.below(6_000) as i64;
        let packets = 1 + numbers.below(300);
        let is_event = numbers.one_in(20);
        let seen = 1 + numbers.below(15);
        for (place, (exporter, domain)) in EXPORTERS.into_iter().enumerate() {
            if seen >> place & 1 == 0 {
                continue;
            }
            let skew = [0, 700_000, -900_000, 1_500_000][place];
            let mut parts = vec![(start + skew, duration, packets)];
            if place == 3 && duration > 3_000_000 {
                let half = duration / 2;
                parts = vec![
                    (start + skew, half, packets / 2),
                    (start + skew + half, half, packets - packets / 2),
                ];
            } else if place == 2 && numbers.one_in(3) {
                parts[0].2 -= packets / 30;
            } else if numbers.one_in(8) {
                // It is told twice.
                parts.push((start + skew + 300_000, duration, packets));
            }
            for (first, duration, packets) in parts {
                if !begun.insert((family, src, place, first)) {
                    continue;
                }
                let has_times = !numbers.one_in(15);
                rows.push(Row {
                    family,
                    // Made unique below.
                    received: first + duration,
                    exporter,
                    domain,
                    src,
                    dst_port,
                    tos,
                    first: has_times.then_some(first),
                    last: (has_times && !numbers.one_in(15)).then_some(first + duration),
                    packets: (!is_event).then_some(packets),
                    bytes: (!is_event && !numbers.one_in(20)).then_some(packets * 100),
                    in_if: place as u32,
                });
            }
        }
    }
    rows.sort_by_key(|row| row.received);
    let mut next = i64::MIN;
    for row in &mut rows {
        row.received = row.received.max(next);
        next = row.received + 1;
    }
    rows
}

/// The rule, in words of its own.
fn reference(rows: &[Row], options: &DedupeOptions) -> BTreeSet<Kept> {
    let Rules {
        within,
        start_delta_us,
        duration,
        packets,
        bytes,
    } = options.rules.clone();
    let alone = |row: &Row| Kept {
        received: row.received,
        seen_by: 1,
        seen_exporters: vec![row.exporter.to_owned()],
    };
    let mut kept = BTreeSet::new();
    let mut by_key: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let is_event = row.packets.is_none() && row.bytes.is_none();
        let compares_counters = packets != Agreement::Any || bytes != Agreement::Any;
        if row.family == Family::Other || is_event && compares_counters {
            kept.insert(alone(row));
        } else {
            let mut key = (row.family, row.src, row.dst_port, row.tos, None);
            if packets == Agreement::EXACT && bytes == Agreement::EXACT {
                key.4 = Some((row.packets, row.bytes));
            }
            by_key.entry(key).or_default().push(row);
        }
    }
    let begin = |row: &Row| row.first.unwrap_or(row.received);
    let lasts = |row: &Row| row.first.zip(row.last).map(|(first, last)| last - first);
    let agree = |rule: Agreement, one: Option<u64>, other: Option<u64>| match (rule, one, other) {
        (Agreement::Any, ..) | (_, None, None) => true,
        (Agreement::Within(most), Some(one), Some(other)) => one.abs_diff(other) <= most,
        (Agreement::WithinShare(share), Some(one), Some(other)) => {
            one.abs_diff(other) as f64 <= one.max(other) as f64 * f64::from(share) / 1e6
        }
        _ => false,
    };
    let like = |one: &Row, other: &Row| {
        let lasts = |row| lasts(row).map(|us| us as u64);
        begin(one).abs_diff(begin(other)) <= start_delta_us
            && agree(duration, lasts(one), lasts(other))
            && agree(packets, one.packets, other.packets)
            && agree(bytes, one.bytes, other.bytes)
    };
    for (_, mut rows) in by_key {
        rows.sort_by_key(|row| (begin(row), row.exporter, row.domain));
        let mut groups: Vec<Vec<&Row>> = Vec::new();
        for row in rows {
            let takes = |group: &Vec<&Row>| {
                let has_its = group
                    .iter()
                    .any(|other| (other.exporter, other.domain) == (row.exporter, row.domain));
                (within || !has_its) && group.iter().any(|other| like(row, other))
            };
            match groups.iter_mut().find(|group| takes(group)) {
                Some(group) => group.push(row),
                None => groups.push(vec![row]),
            }
        }
        for group in groups {
            let best = match &options.keep {
                Keep::First => group[0],
                Keep::MostBytes => group
                    .iter()
                    .rev()
                    .max_by_key(|row| row.bytes)
                    .expect("one at least"),
                Keep::ExporterOrder(list) => {
                    let place = |row: &&&Row| {
                        list.iter()
                            .position(|name| name == row.exporter)
                            .unwrap_or(99)
                    };
                    group.iter().min_by_key(place).expect("one at least")
                }
            };
            let mut seen_exporters: Vec<String> = Vec::new();
            for row in &group {
                if !seen_exporters.iter().any(|name| name == row.exporter) {
                    seen_exporters.push(row.exporter.to_owned());
                }
            }
            kept.insert(Kept {
                received: best.received,
                seen_by: seen_exporters.len() as u32,
                seen_exporters,
            });
        }
    }
    kept
}

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
