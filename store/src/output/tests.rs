use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayAccessor, DictionaryArray, Int32Array, ListArray, StringArray, UInt32Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, FieldRef};

use super::*;
use crate::schema::{ColumnSet, FlowSchema, SEEN_EXPORTERS, seen_fields};
use crate::support::{Generator, START_US};
use crate::{FlowFile, find_inputs};

/// A batch of generated flows, of which the n-th was seen by n modulo 4 exporters: by none, too.
fn batch(generator: &mut Generator, rows: usize) -> RecordBatch {
    let schema = FlowSchema::default();
    let batch = generator.batch(&schema, rows);
    let mut set = ColumnSet::default();
    let all = schema.columns();
    all.filter(|&column| !schema.name(column).ends_with("_ipv6"))
        .for_each(|column| set.insert(column));
    let flows = batch.into_record_batch(&schema, set).expect("parts agree");
    let lengths: Vec<usize> = (0..rows).map(|row| row % 4).collect();
    let keys = lengths.iter().flat_map(|&length| 0..length as i32);
    let names = StringArray::from_iter_values(["192.0.2.1", "192.0.2.2", "2001:db8::3"]);
    let exporters = DictionaryArray::try_new(Int32Array::from_iter_values(keys), Arc::new(names));
    let [count, list] = seen_fields();
    let DataType::List(item) = list.data_type() else {
        panic!("a list")
    };
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    let lists = ListArray::try_new(
        Arc::clone(item),
        offsets,
        Arc::new(exporters.expect("agree")),
        None,
    );
    let counts = UInt32Array::from_iter_values(lengths.iter().map(|&length| length as u32));
    let mut fields: Vec<FieldRef> = flows.schema().fields().iter().cloned().collect();
    fields.extend([count, list].map(Arc::new));
    let mut arrays = flows.columns().to_vec();
    arrays.push(Arc::new(counts));
    arrays.push(Arc::new(lists.expect("agree")));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("agree")
}

fn lists(batch: &RecordBatch) -> Vec<Vec<String>> {
    let lists = batch
        .column_by_name(SEEN_EXPORTERS)
        .expect("is there")
        .as_list::<i32>();
    let texts = |list: arrow_array::ArrayRef| {
        let keyed = list.as_dictionary::<Int32Type>();
        let texts = keyed.downcast_dict::<StringArray>().expect("texts");
        (0..texts.len())
            .map(|row| texts.value(row).to_owned())
            .collect()
    };
    lists
        .iter()
        .map(|list| texts(list.expect("no null")))
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let names = files::list(folder).expect("lists");
    names
        .iter()
        .map(|path| {
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[test]
fn lists_are_read_back_from_either_format_and_the_dataset_appears_at_the_end() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let formats = [
        FileFormat::Segment,
        FileFormat::Parquet(Compression::Zstd),
        FileFormat::Parquet(Compression::None),
    ];
    for (format, name) in formats.into_iter().zip(["a", "b", "c"]) {
        let target = dir.path().join(name);
        let dataset = NewDataset::create(&target).expect("begins");
        let mut generator = Generator::new(7);
        // Pages and row groups end within.
        let batches: Vec<RecordBatch> = [9, 40_000, 3, 300_000, 300_000, 1]
            .map(|rows| batch(&mut generator, rows))
            .into();
        let schema = batches[0].schema();
        let mut file = dataset
            .flow_file(Family::Ipv4, START_US..=START_US, &schema, format)
            .expect("begins");
        for batch in &batches {
            file.write(batch).expect("writes");
        }
        let length = file.finish().expect("ends");
        assert!(!target.exists());
        dataset.finish(&schema).expect("moves");
        assert_eq!(
            names(&target),
            ["family=ipv4", "ledger", "staging", "views.sql"]
        );
        let views = fs::read_to_string(target.join("views.sql")).expect("reads");
        assert!(views.contains(&format!(
            "flows_in('{}')",
            target.canonicalize().expect("is there").display()
        )));

        let found = find_inputs(&[target.to_string_lossy().into_owned()]).expect("finds");
        let [path] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert!(
            path.to_string_lossy()
                .contains("/family=ipv4/date=2026-11-21/hour=16/20261121T164000.000000Z-0.")
        );
        assert_eq!(fs::metadata(path).expect("is there").len(), length);
        let read: Vec<RecordBatch> = FlowFile::open(path, None)
            .expect("opens")
            .map(|batch| batch.expect("reads"))
            .collect();
        let found: Vec<Vec<String>> = read.iter().flat_map(lists).collect();
        let written: Vec<Vec<String>> = batches.iter().flat_map(lists).collect();
        assert_eq!(found.len(), 640_013);
        assert!(found == written);
        assert_eq!(names(dir.path()).len(), 1);
        fs::remove_dir_all(&target).expect("removes");
    }
}

#[test]
fn what_is_dropped_or_was_killed_leaves_nothing() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let target = dir.path().join("deep/er/flows");
    let dataset = NewDataset::create(&target).expect("begins");
    let schema = FlowSchema::default().arrow_all();
    let _file = dataset
        .flow_file(Family::Other, 0..=0, &schema, FileFormat::Segment)
        .expect("begins");
    dataset
        .scratch_segment(3, Family::Ipv6, &schema)
        .expect("begins");
    assert!(
        matches!(NewDataset::create(&target), Err(StoreError::BeingWritten(path)) if path == target)
    );
    drop(dataset);
    let parent = target.parent().expect("has one");
    assert_eq!(names(parent), [""; 0]);

    // What a run that was killed has left.
    let left = parent.join(".flows.tmp/family=ipv4");
    fs::create_dir_all(&left).expect("makes");
    fs::write(left.join("x.parquet"), "x").expect("writes");
    let dataset = NewDataset::create(&target).expect("begins");
    dataset.finish(&schema).expect("moves");
    assert_eq!(names(parent), ["flows"]);
    assert_eq!(names(&target), ["ledger", "staging", "views.sql"]);
    assert!(
        matches!(NewDataset::create(&target), Err(StoreError::NotEmpty(path)) if path == target)
    );
}

#[test]
fn files_of_one_start_have_names_of_their_own() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dataset = NewDataset::create(&dir.path().join("flows")).expect("begins");
    let schema = FlowSchema::default().arrow_all();
    for _ in 0..3 {
        let format = FileFormat::Parquet(Compression::None);
        dataset
            .flow_file(Family::Ipv4, -7..=-7, &schema, format)
            .expect("begins");
    }
    let hour = dataset
        .temporary
        .join("family=ipv4/date=1970-01-01/hour=00");
    let expected = [0, 1, 2].map(|us| format!("19700101T000000.00000{us}Z-0.parquet"));
    assert_eq!(names(&hour), expected);
}

#[test]
fn the_name_of_a_file_of_several_hours_promises_none() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dataset = NewDataset::create(&dir.path().join("flows")).expect("begins");
    let schema = FlowSchema::default().arrow_all();
    for last_us in [START_US, i64::MAX, START_US + HOUR_US] {
        let times = START_US..=last_us;
        dataset
            .flow_file(Family::Ipv4, times, &schema, FileFormat::Segment)
            .expect("begins");
    }
    let hour = dataset
        .temporary
        .join("family=ipv4/date=2026-11-21/hour=16");
    let found = names(&hour);
    let expected =
        ["0Z-0-on", "0Z-0", "1Z-0-on"].map(|end| format!("20261121T164000.00000{end}.arrows"));
    assert_eq!(found, expected);
    let known: Vec<bool> = (found.iter())
        .map(|name| crate::received_us(&hour.join(name)).is_some())
        .collect();
    assert_eq!(known, [false, true, false]);
}

#[test]
fn errors_tell_the_place_that_was_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let target = dir.path().canonicalize().expect("is there").join("flows");
    let schema = FlowSchema::default().arrow_all();
    // A file is in the way of the hidden folder; then of a folder in it.
    let temporary = files::temporary_path(&target);
    fs::write(&temporary, "").expect("writes");
    let error = NewDataset::create(&target).expect_err("a file is in the way");
    let begins = format!("cannot make {}: ", target.display());
    assert!(error.to_string().starts_with(&begins), "{error}");

    fs::remove_file(&temporary).expect("removes");
    let dataset = NewDataset::create(&target).expect("begins");
    fs::write(temporary.join("family=ipv4"), "").expect("writes");
    let error = dataset.flow_file(Family::Ipv4, 0..=0, &schema, FileFormat::Segment);
    let error = error.err().expect("a file is in the way").to_string();
    let begins = format!(
        "cannot make {}/family=ipv4/date=1970-01-01",
        target.display()
    );
    assert!(error.starts_with(&begins), "{error}");

    fs::remove_dir_all(dataset.scratch()).expect("removes");
    let error = dataset.scratch_segment(1, Family::Ipv4, &schema).err();
    let error = error.expect("its folder has gone").to_string();
    let begins = format!("cannot write {}: ", target.display());
    assert!(error.starts_with(&begins), "{error}");
    let error = dataset.finish(&schema).expect_err("a folder has gone");
    assert!(!error.to_string().contains(".flows.tmp"), "{error}");
}

#[test]
fn something_in_the_way_is_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("writes");
    assert!(
        matches!(NewDataset::create(&file), Err(StoreError::NotADirectory(path)) if path == file)
    );
    let error = NewDataset::create(&file.join("below")).expect_err("no folder");
    assert!(error.to_string().contains("file"), "{error}");
    assert!(matches!(
        NewDataset::create(Path::new("/")),
        Err(StoreError::NotEmpty(_))
    ));
}
