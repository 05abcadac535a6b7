use std::fs;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, PrimitiveArray, types::ArrowPrimitiveType};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::statistics::Statistics;

use super::*;
use crate::schema::{ColumnSet, ColumnType};
use crate::support::{Generator, Numbers};
use crate::{ColumnData, FlowBatch, columns};

/// The standard columns and one of each type that only configured columns have.
fn schema() -> FlowSchema {
    let mut schema = FlowSchema::default();
    for (name, kind) in [
        ("x_i64", ColumnType::I64),
        ("x_f64", ColumnType::F64),
        ("x_text", ColumnType::Text),
        ("x_octets", ColumnType::Octets),
    ] {
        schema.add(name, kind).expect("a new name");
    }
    schema
}

/// How a column's values are drawn.
#[derive(Clone, Copy)]
enum Values {
    Constant,
    Few,
    Ascending,
    Any,
}

/// Which rows of a column have a value.
#[derive(Clone, Copy)]
enum Rows {
    All,
    Runs,
    Some,
    None,
}

const VALUES: [Values; 4] = [
    Values::Constant,
    Values::Few,
    Values::Ascending,
    Values::Any,
];
const ROWS: [Rows; 4] = [Rows::All, Rows::Runs, Rows::Some, Rows::None];

fn value(numbers: &mut Numbers, values: Values, row: usize) -> u64 {
    match values {
        Values::Constant => 7,
        Values::Few => [0, 1, u64::MAX, 1 << 63, 70_000][numbers.below(5) as usize],
        Values::Ascending => 3 * row as u64,
        Values::Any => numbers.next() >> numbers.below(64),
    }
}

fn fill(numbers: &mut Numbers, data: &mut ColumnData, rows: usize, key_count: i32, required: bool) {
    let values = numbers.pick(&VALUES);
    let presence = if required {
        Rows::All
    } else {
        numbers.pick(&ROWS)
    };
    let run = 1 + numbers.below(40) as usize;
    for row in 0..rows {
        let present = match presence {
            Rows::All => true,
            Rows::Runs => row / run % 2 == 1,
            Rows::Some => numbers.below(3) == 0,
            Rows::None => false,
        };
        if !present {
            continue;
        }
        let v = value(numbers, values, row);
        let octets = v.to_be_bytes();
        match data {
            ColumnData::U8(c) => c.fill(row, 1, v as u8),
            ColumnData::U16(c) => c.fill(row, 1, v as u16),
            ColumnData::U32(c) => c.fill(row, 1, v as u32),
            ColumnData::U64(c) => c.fill(row, 1, v),
            ColumnData::I64(c) | ColumnData::Timestamp(c) => c.fill(row, 1, v as i64),
            ColumnData::F64(c) => c.fill(row, 1, f64::from_bits(v)),
            ColumnData::Mac(c) => c.fill(row, 1, octets[..6].try_into().expect("six")),
            ColumnData::Ipv6(c) => {
                let both = [octets, [row as u8 % 3; 8]].concat();
                c.fill(row, 1, both.try_into().expect("sixteen"));
            }
            ColumnData::Text(c) => c.push(row, format!("{v:x}").as_bytes()),
            ColumnData::Octets(c) => c.push(row, &octets[..v as usize % 9]),
            ColumnData::Exporter(c) => c.fill(row, 1, (v % key_count as u64) as i32),
        }
    }
}

fn random_batch(numbers: &mut Numbers, schema: &FlowSchema) -> FlowBatch {
    let rows = 1 + numbers.below(700) as usize;
    let mut batch = FlowBatch::new(schema, rows);
    let names = 1 + numbers.below(4) as i32;
    for _ in 0..names {
        batch.add_exporter(&format!("192.0.2.{}", numbers.below(9)).into());
    }
    for id in schema.columns() {
        let required = !schema.arrow_all().field(usize::from(id.0)).is_nullable();
        fill(numbers, batch.column(id), rows, names, required);
    }
    batch.advance(rows);
    batch
}

fn all(schema: &FlowSchema) -> ColumnSet {
    let mut set = ColumnSet::default();
    schema.columns().for_each(|id| set.insert(id));
    set
}

struct Written {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn write(batches: &[RecordBatch], compression: Compression, limits: Limits) -> Written {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("flows.parquet");
    let file = File::create(&path).expect("makes");
    let schema = batches[0].schema();
    let mut writer =
        FlowFileWriter::new(file, &path, Family::Ipv4, &schema, compression).expect("begins");
    writer.limits = limits;
    for batch in batches {
        writer.write(batch).expect("writes");
    }
    writer.finish().expect("ends");
    Written { _dir: dir, path }
}

/// The batches of each row group.
fn read(written: &Written) -> Vec<(Vec<RecordBatch>, Vec<Option<Statistics>>)> {
    let open = || {
        let file = File::open(&written.path).expect("opens");
        ParquetRecordBatchReaderBuilder::try_new(file).expect("is Parquet")
    };
    let groups = open().metadata().num_row_groups();
    (0..groups)
        .map(|group| {
            let builder = open();
            let metadata = builder.metadata().row_group(group);
            let statistics = metadata.columns().iter();
            let statistics = statistics
                .map(|column| column.statistics().cloned())
                .collect();
            let reader = builder
                .with_row_groups(vec![group])
                .build()
                .expect("builds");
            let batches = reader.map(|batch| batch.expect("reads")).collect();
            (batches, statistics)
        })
        .collect()
}

/// A column of all batches, row by row.
fn rows_of<'a>(batches: &'a [RecordBatch], name: &'a str) -> impl Iterator<Item = ArrayRef> + 'a {
    batches.iter().flat_map(move |batch| {
        let column = Arc::clone(batch.column_by_name(name).expect("is there"));
        (0..batch.num_rows()).map(move |row| column.slice(row, 1))
    })
}

fn least_and_greatest<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<(T::Native, T::Native)>
where
    T::Native: Ord,
{
    let array: &PrimitiveArray<T> = array.as_primitive();
    let values = array.iter().flatten();
    Some((values.clone().min()?, values.max()?))
}

/// What the statistics should say of a batch, as octets in the file's form.
fn range_of(array: &ArrayRef) -> Option<(Vec<u8>, Vec<u8>)> {
    macro_rules! numbers {
        ($kind:ty, $as:ty) => {
            least_and_greatest::<$kind>(array).map(|(least, greatest)| {
                let octets = |value| <$as>::from(value).to_le_bytes().to_vec();
                (octets(least), octets(greatest))
            })
        };
    }
    let octets = |values: Vec<&[u8]>| {
        let least = values.iter().min()?.to_vec();
        Some((least, values.iter().max()?.to_vec()))
    };
    match array.data_type() {
        DataType::UInt8 => numbers!(UInt8Type, u32),
        DataType::UInt16 => numbers!(UInt16Type, u32),
        DataType::UInt32 => numbers!(UInt32Type, u32),
        DataType::UInt64 => numbers!(UInt64Type, u64),
        DataType::Int64 => numbers!(Int64Type, i64),
        DataType::Timestamp(..) => numbers!(TimestampMicrosecondType, i64),
        DataType::FixedSizeBinary(_) => {
            octets(array.as_fixed_size_binary().iter().flatten().collect())
        }
        DataType::Binary => octets(array.as_binary::<i32>().iter().flatten().collect()),
        DataType::Utf8 => {
            let values = array.as_string::<i32>().iter().flatten();
            octets(values.map(str::as_bytes).collect())
        }
        _ => None,
    }
}

#[test]
fn what_is_written_is_read_whatever_it_is() {
    let schema = schema();
    let compressions = [Compression::Zstd, Compression::Lz4, Compression::None];
    for seed in 1..=40 {
        let mut numbers = Numbers::new(seed);
        let batches: Vec<RecordBatch> = (0..1 + numbers.below(6))
            .map(|_| {
                random_batch(&mut numbers, &schema)
                    .into_record_batch(&schema, all(&schema))
                    .expect("parts agree")
            })
            .collect();
        let limits = Limits {
            page_rows: 1 + numbers.below(1000) as usize,
            group_rows: 1 + numbers.below(3000) as usize,
            ..LIMITS
        };
        let written = write(&batches, numbers.pick(&compressions), limits);
        let groups = read(&written);
        let back: Vec<RecordBatch> = groups.iter().flat_map(|(b, _)| b.clone()).collect();
        for field in schema.arrow_all().fields() {
            let name = field.name();
            assert!(
                rows_of(&back, name).eq(rows_of(&batches, name)),
                "seed {seed}, column {name}"
            );
            assert_eq!(
                back[0].schema().field_with_name(name).expect("is there"),
                &**field
            );
        }
        for (batches, statistics) in &groups {
            for (field, statistics) in schema.arrow_all().fields().iter().zip(statistics) {
                let columns = batches
                    .iter()
                    .filter_map(|b| b.column_by_name(field.name()));
                let nulls: usize = columns.clone().map(|c| c.null_count()).sum();
                if let Some(statistics) = statistics {
                    assert_eq!(statistics.null_count_opt(), Some(nulls as u64));
                    // One batch is all of a small row group.
                    if let [batch] = batches.as_slice() {
                        let column = batch.column_by_name(field.name()).expect("is there");
                        let expected = range_of(column);
                        let found = statistics.min_bytes_opt().zip(statistics.max_bytes_opt());
                        let found = found.map(|(a, b)| (a.to_vec(), b.to_vec()));
                        if expected.is_some() {
                            assert_eq!(found, expected, "seed {seed}, column {}", field.name());
                        }
                    }
                } else {
                    let unordered = [DataType::Float64, DataType::Utf8, DataType::Binary];
                    assert!(unordered.contains(field.data_type()), "{}", field.name());
                }
            }
        }
    }
}

#[test]
fn dictionaries_are_given_up_where_they_do_not_pay() {
    // Each page has more new values than it should, or more than a dictionary holds.
    let schema = schema();
    let rows = 4096;
    let batches: Vec<RecordBatch> = (0..40u32)
        .map(|n| {
            let mut batch = FlowBatch::new(&schema, rows);
            let key = batch.add_exporter(&"192.0.2.1".into());
            for id in schema.columns() {
                let values =
                    (0..rows as u32).map(|row| (n * rows as u32 + row).wrapping_mul(2_654_435_761));
                match batch.column(id) {
                    ColumnData::U32(c) => c.extend(0, rows, values),
                    ColumnData::U64(c) => c.extend(0, rows, values.map(u64::from)),
                    ColumnData::Timestamp(c) => c.extend(0, rows, values.map(i64::from)),
                    ColumnData::Mac(c) => {
                        c.extend(
                            0,
                            rows,
                            values.map(|v| {
                                (u64::from(v) << 16).to_be_bytes()[..6]
                                    .try_into()
                                    .expect("six")
                            }),
                        );
                    }
                    ColumnData::Text(c) => {
                        values
                            .zip(0..)
                            .for_each(|(v, row)| c.push(row, format!("{v:032}").as_bytes()));
                    }
                    ColumnData::Exporter(c) => c.fill(0, rows, key),
                    ColumnData::U8(c) => c.fill(0, rows, 9),
                    ColumnData::U16(c) => c.fill(0, rows, 9),
                    _ => {}
                }
            }
            batch.advance(rows);
            batch
                .into_record_batch(&schema, all(&schema))
                .expect("parts agree")
        })
        .collect();
    let limits = Limits {
        page_rows: rows,
        group_rows: usize::MAX,
        ..LIMITS
    };
    let written = write(&batches, Compression::Zstd, limits);
    let groups = read(&written);
    for name in ["src_ipv4", "packets", "received", "src_mac", "x_text"] {
        assert!(
            rows_of(&groups[0].0, name).eq(rows_of(&batches, name)),
            "{name}"
        );
    }
}

#[test]
fn all_files_of_a_family_have_the_same_columns() {
    let schema = FlowSchema::default();
    let mut few = ColumnSet::default();
    for id in [
        columns::RECEIVED,
        columns::EXPORTER,
        columns::EXPORTER_PORT,
        columns::OBSERVATION_DOMAIN,
        columns::EXPORT_VERSION,
        columns::DST_IPV6,
    ] {
        few.insert(id);
    }
    let mut generator = Generator::new(9);
    let batch = generator.batch(&schema, 100);
    let batch = batch.into_record_batch(&schema, few).expect("parts agree");
    let written = write(&[batch], Compression::Zstd, LIMITS);
    let file = File::open(&written.path).expect("opens");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("is Parquet");
    let names: Vec<&str> = builder
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    let standard = schema.arrow_all();
    let expected = standard.fields().iter().map(|f| f.name().as_str());
    // The other family's columns only where the segment has them.
    let expected = expected.filter(|name| !name.ends_with("_ipv6") || *name == "dst_ipv6");
    assert_eq!(names, expected.collect::<Vec<_>>());
    let metadata = builder.metadata().file_metadata();
    assert!(
        metadata
            .created_by()
            .expect("is told")
            .starts_with("forebay version ")
    );
    let told = metadata.key_value_metadata().expect("is told");
    for (key, value) in [(FAMILY_KEY, "ipv4"), (VERSION_KEY, VERSION)] {
        let found = told
            .iter()
            .find(|kv| kv.key == key)
            .and_then(|kv| kv.value.as_deref());
        assert_eq!(found, Some(value));
    }
    // Forty columns without values must not make the file large.
    assert!(fs::metadata(&written.path).expect("is there").len() < 16_000);
}

#[test]
fn a_column_of_another_type_is_refused() {
    let field = Field::new("odd", DataType::Boolean, true);
    assert!(encoder(&field).is_err());
}

#[test]
fn a_segment_whose_columns_are_not_a_flows_is_refused() {
    let standard = FlowSchema::default().arrow_all();
    let path = Path::new("/dev/null");
    let begin = |schema: &Schema| {
        let file = File::options().write(true).open(path).expect("opens");
        FlowFileWriter::new(file, path, Family::Ipv4, schema, Compression::None).map(drop)
    };
    begin(&standard).expect("begins");
    for name in ["exporter_port", "src_port"] {
        let with = |change: &dyn Fn(&Field) -> Option<Field>| {
            let fields = standard.fields().iter();
            let changed = fields.filter_map(|field| match field.name() == name {
                true => change(field),
                false => Some(field.as_ref().clone()),
            });
            begin(&Schema::new(changed.collect::<Vec<_>>()))
        };
        let is_required = name == "exporter_port";
        assert_eq!(with(&|_| None).is_err(), is_required, "{name} is not there");
        let renamed = with(&|field| Some(field.clone().with_name("other")));
        assert_eq!(renamed.is_err(), is_required, "{name} is named otherwise");
        with(&|field| Some(field.clone().with_data_type(DataType::UInt32)))
            .expect_err("of another type");
        with(&|field| Some(field.clone().with_nullable(is_required)))
            .expect_err("with and without nulls");
    }
}

#[test]
fn a_full_disk_is_told_as_one() {
    let schema = FlowSchema::default();
    let batch = Generator::new(2).batch(&schema, 2_000);
    let batch = batch.into_record_batch(&schema, all(&schema));
    let batch = batch.expect("parts agree");
    // /dev/full answers every write as a full disk does: in the middle, or at the end.
    for group_rows in [1, usize::MAX] {
        let path = Path::new("/dev/full");
        let full = File::options().write(true).open(path).expect("opens");
        let compression = Compression::None;
        let (family, columns) = (Family::Ipv4, batch.schema());
        let writer = FlowFileWriter::new(full, path, family, &columns, compression);
        let mut writer = writer.expect("begins");
        writer.limits.group_rows = group_rows;
        // A row group that fits the buffer is not written before the end.
        let written = (0..20).try_for_each(|_| writer.write(&batch));
        let error = written.and_then(|()| writer.finish().map(drop));
        let error = error.expect_err("the disk is full");
        assert!(error.is_disk_full(), "{error}");
    }
}
