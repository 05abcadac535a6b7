//! Filters against a slow evaluation, row by row.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use forebay_store::{ColumnType, Family, FlowSchema};
use proptest::prelude::*;
use proptest::sample::select;

use super::Filter;
use super::bounds::Bounds;

mod rows;
mod slow;

use rows::{Row, batch, rows};
use slow::condition;

/// The standard columns, and configured ones of the types that none of them has.
fn schema() -> FlowSchema {
    let mut schema = FlowSchema::default();
    for (name, kind) in [
        ("load", ColumnType::F64),
        ("delta", ColumnType::I64),
        ("interface", ColumnType::Text),
        ("raw", ColumnType::Octets),
    ] {
        schema.add(name, kind).expect("a new name");
    }
    schema
}

fn parse(text: &str) -> Filter {
    Filter::parse(text, &schema()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The statistics of a column, looked for value by value.
fn bounds(batch: &RecordBatch, name: &str) -> Bounds {
    let Some(array) = batch.column_by_name(name) else {
        return Bounds::absent();
    };
    let array = match array.as_any_dictionary_opt() {
        Some(_) => {
            let names = array.as_dictionary::<Int32Type>();
            let names = names.downcast_dict::<StringArray>().expect("text");
            Arc::new(names.into_iter().collect::<StringArray>()) as ArrayRef
        }
        None => Arc::clone(array),
    };
    let filled = (0..array.len()).filter(|&row| array.is_valid(row));
    let key = |row: &usize| -> (i128, Vec<u8>) {
        let row = *row;
        use arrow_array::types::*;
        use arrow_schema::DataType;
        let number = match array.data_type() {
            DataType::UInt8 => i128::from(array.as_primitive::<UInt8Type>().value(row)),
            DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
            DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
            DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
            DataType::Timestamp(..) => array
                .as_primitive::<TimestampMicrosecondType>()
                .value(row)
                .into(),
            DataType::Utf8 => {
                return (0, array.as_string::<i32>().value(row).into());
            }
            DataType::FixedSizeBinary(_) => {
                return (0, array.as_fixed_size_binary().value(row).into());
            }
            _ => 0,
        };
        (number, Vec::new())
    };
    let least = filled.clone().min_by_key(key).unwrap_or(0);
    let greatest = filled.max_by_key(key).unwrap_or(0);
    Bounds::from(&forebay_store::Bounds {
        least: array.slice(least, 1),
        greatest: array.slice(greatest, 1),
        nulls: Some(array.null_count() as u64),
        rows: array.len() as u64,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The rows for which the slow evaluation says true are chosen, and no others; and what statistics rule out has none.
    #[test]
    fn chosen_is_what_the_slow_evaluation_says(
        slow in condition(),
        rows in rows(),
        family in select(&Family::ALL[..]),
        start in 0..70_usize,
    ) {
        let filter = Filter::parse(&slow.text, &schema())?;
        let start = start.min(rows.len() - 1);
        // A slice: its bits do not begin with a byte.
        let batch = batch(&rows).slice(start, rows.len() - start);
        let chosen: Vec<bool> = filter.select(&batch, family)?.iter().collect();
        let rows = rows.get(start..).unwrap_or_default();
        let expected: Vec<bool> =
            rows.iter().map(|row| (slow.holds)(row, family) == Some(true)).collect();
        prop_assert_eq!(&chosen, &expected);
        let may_match = super::bounds::may_match(&filter.root, family, &|name| bounds(&batch, name));
        prop_assert!(may_match || !chosen.contains(&true), "ruled out");
        let unknown = super::bounds::may_match(&filter.root, family, &|_| Bounds::default());
        prop_assert!(unknown || !chosen.contains(&true), "ruled out for no reason");
        // Only the columns that it names are looked at.
        let columns = filter.columns();
        let schema = batch.schema();
        let needed: Vec<usize> = (0..batch.num_columns())
            .filter(|&place| columns.contains(&schema.field(place).name().as_str()))
            .collect();
        let narrow = batch.project(&needed)?;
        let again: Vec<bool> = filter.select(&narrow, family)?.iter().collect();
        prop_assert_eq!(again, expected);
    }
}

fn one_row() -> Row {
    Row {
        exporter: "192.0.2.1".to_owned(),
        protocol: Some(6),
        src_port: Some(1_234),
        dst_port: Some(443),
        tcp_flags: Some(0x12),
        bytes: Some(5 << 20),
        first: Some(1_795_279_200_000_000),
        last: Some(1_795_279_201_500_000),
        src_ipv4: Some(0x0a01_0203),
        src_ipv6: None,
        dst_ipv4: Some(0xc000_0201),
        src_mac: Some([0, 0, 0x5e, 0, 0x53, 1]),
        load: Some(0.5),
        delta: Some(-3),
        interface: Some("eth0".to_owned()),
    }
}

/// True, and ruled in; or not true, and ruled out by the statistics of that one row.
#[test]
fn what_is_said_is_what_is_meant() {
    let batch = batch(&[one_row()]);
    for (text, holds) in [
        (
            "protocol = 6 and dst_port in (80, 443) and src_addr in 10.0.0.0/8 and bytes > 1e6",
            true,
        ),
        ("bytes = 5MiB", true),
        ("bytes = 5MB", false),
        ("bytes > 18446744073709551615", false),
        ("bytes < 1e30", true),
        ("bytes >= -1", true),
        ("bytes = 1.5", false),
        ("NOT dst_port = 443", false),
        ("port = 1234 and port = 443", true),
        ("port != 443", false),
        ("addr in (192.0.2.0/24)", true),
        ("addr = 192.0.2.2", false),
        ("src_addr = 2001:db8::1", false),
        ("src_addr != 2001:db8::1", true),
        ("src_ipv6 != 2001:db8::1", false),
        ("exporter in (192.0.2.1, 2001:db8::/32)", true),
        ("exporter = '192.0.2.10'", false),
        ("tcp_flags has syn+ack", true),
        ("tcp_flags has rst", false),
        ("first >= 2026-11-21 and last < '2026-11-21 16:40:02'", true),
        ("duration = 1.5s", true),
        ("duration < 1500ms", false),
        ("src_mac = 00:00:5e:00:53:01", true),
        ("interface = eth0", true),
        ("interface >= \"eth1\"", false),
        ("load < 1", true),
        ("delta < -2.5", true),
        ("family = ipv4", true),
        ("family != ipv4", false),
        ("nat_event is null", true),
        ("exporter is null", false),
        ("first is null or last is not null", true),
    ] {
        let filter = parse(text);
        let chosen = filter.select(&batch, Family::Ipv4).expect("the types fit");
        assert_eq!(chosen.value(0), holds, "{text}");
        let may_match =
            super::bounds::may_match(&filter.root, Family::Ipv4, &|name| bounds(&batch, name));
        // By floating-point numbers, and by bits that are not set, nothing is ruled out.
        assert_eq!(may_match, holds || text.contains("rst"), "{text}");
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, error) in [
        (
            "",
            "the end at character 1: a column, \"not\" or \"(\" is expected there",
        ),
        (
            "bytes",
            "the end at character 6: an operator (=, !=, <, <=, >, >=, in, has, is null) is expected there",
        ),
        (
            "bytes > ",
            "the end at character 9: a value is expected there",
        ),
        (
            "bytes > 1 packets > 2",
            "\"packets\" at character 11: \"and\", \"or\" or the end is expected there",
        ),
        (
            "(bytes > 1",
            "the end at character 11: \"and\", \"or\" or \")\" is expected there",
        ),
        (
            "src_port in (1 2)",
            "\"2\" at character 16: \",\" or \")\" is expected there",
        ),
        (
            "src_port in ()",
            "\")\" at character 14: a value is expected there",
        ),
        (
            "bytes is 5",
            "\"5\" at character 10: \"null\" is expected there",
        ),
        (
            "adr = 10.0.0.1",
            "no column is called \"adr\" (character 1): did you mean \"addr\"?",
        ),
        ("quux = 1", "no column is called \"quux\" (character 1)"),
        (
            "src_port = http",
            "\"http\" at character 12 is no value for src_port: write a number, such as 80, 1e6, 10k or 5MiB",
        ),
        (
            "src_addr = 10.0.0.0/8",
            "\"10.0.0.0/8\" at character 12 is no value for src_addr: write an address; for a prefix, in 10.0.0.0/8",
        ),
        (
            "src_addr in 10.0.0.1/8",
            "\"10.0.0.1/8\" at character 13 is no value for src_addr: write an address, or a prefix such as 10.0.0.0/8",
        ),
        (
            "src_ipv4 = ::1",
            "\"::1\" at character 12 is no value for src_ipv4: write an IPv4 address",
        ),
        (
            "src_addr > 10.0.0.1",
            "\">\" at character 10 does not go with src_addr: use =, != or in",
        ),
        (
            "src_mac has 1",
            "\"has\" at character 9 does not go with src_mac: use =, != or in",
        ),
        (
            "duration > 5",
            "\"5\" at character 12 is no value for duration: write a duration, such as 500ms, 1.5s or 5min",
        ),
        (
            "first > noon",
            "\"noon\" at character 9 is no value for first: write a time (UTC), such as '2026-11-21 10:00' or 2026-11-21T10:00:00.5Z",
        ),
        (
            "protocol = tpc",
            "\"tpc\" at character 12 is no value for protocol: write a protocol's number or name, such as 6 or tcp",
        ),
    ] {
        let found = Filter::parse(text, &schema()).expect_err(text).to_string();
        assert_eq!(found, error, "{text}");
    }
    let deep = format!("{}bytes = 1{}", "(".repeat(70), ")".repeat(70));
    let error = Filter::parse(&deep, &schema()).expect_err("too deep");
    assert!(error.to_string().starts_with("more than 64 "), "{error}");
    let flat = "bytes = 1 or ".repeat(10_000) + "not not not bytes = 1";
    parse(&flat);
}

#[test]
fn a_column_of_another_type_is_refused() {
    let bytes: ArrayRef = Arc::new(StringArray::from(vec!["many"]));
    let batch = RecordBatch::try_from_iter([("bytes", bytes)]).expect("a batch");
    let error = parse("bytes > 5")
        .select(&batch, Family::Ipv4)
        .expect_err("text");
    assert_eq!(
        error.to_string(),
        "column \"bytes\" is Utf8, and not UInt64"
    );
}
