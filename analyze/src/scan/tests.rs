use std::fs;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use forebay_store::{Dataset, FlowSchema};

use super::*;
use crate::testing::{Flow, Form, Value, write};

struct Place {
    _dir: tempfile::TempDir,
    dataset: Dataset,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(dir.path()).expect("opens");
        Self { _dir: dir, dataset }
    }

    /// A file of flows whose packets are the numbers of `numbers`.
    fn file(&self, family: Family, numbers: std::ops::Range<u64>, form: Form) -> PathBuf {
        let flow = |n| Flow::from([("packets", Value::Number(n))]);
        let flows: Vec<Flow> = numbers.map(flow).collect();
        let schema = Arc::new(FlowSchema::default());
        write(&self.dataset, &schema, family, &flows, 100, form)
    }
}

const ALL: Scan<'static> = Scan {
    columns: &|_| Some(vec!["packets"]),
    wants: &|_, _| true,
};

fn options(skip_bad: bool, threads: usize) -> InputOptions {
    InputOptions { skip_bad, threads }
}

/// All rows: of which file, which row of it, and its packets.
fn read(inputs: &mut Inputs, scan: &Scan<'_>) -> Result<Vec<(usize, u64, u64)>, AnalyzeError> {
    let states = vec![Vec::new(); inputs.threads()];
    let control = Control::default();
    let read = inputs.scan(scan, &control, states, |rows, batch| {
        let packets = batch.rows["packets"].as_primitive::<UInt64Type>();
        let numbered = packets.values().iter().zip(batch.first_row..);
        rows.extend(numbered.map(|(&packets, row)| (batch.file, row, packets)));
        Ok(())
    })?;
    let mut rows = read.concat();
    assert_eq!(control.rows(), rows.len() as u64);
    rows.sort_unstable();
    Ok(rows)
}

#[test]
fn every_row_is_read_once_by_any_number_of_threads() {
    let p = Place::new();
    let paths = [
        p.file(Family::Ipv4, 0..1000, Form::Parquet),
        p.file(Family::Ipv6, 1000..1500, Form::Kept),
        p.file(Family::Other, 1500..1777, Form::Staged),
    ];
    let expected: Vec<(usize, u64, u64)> = [(0, 0..1000), (1, 1000..1500), (2, 1500..1777)]
        .into_iter()
        .flat_map(|(file, numbers)| numbers.zip(0..).map(move |(n, row)| (file, row, n)))
        .collect();
    for threads in [1, 2, 5] {
        let control = Control::default();
        let mut inputs = Inputs::open(&paths, options(false, threads), &control).expect("opens");
        assert_eq!(inputs.rows(), 1777);
        assert_eq!(read(&mut inputs, &ALL).expect("reads"), expected);
        let some = Scan {
            wants: &|file, _| file.family() != Family::Ipv6,
            ..ALL
        };
        assert_eq!(read(&mut inputs, &some).expect("reads").len(), 1277);
    }
}

#[test]
fn a_bad_file_is_named_or_skipped_and_told() {
    let p = Place::new();
    let good = p.file(Family::Ipv4, 0..300, Form::Kept);
    let foreign = p.dataset.root().join("notes.parquet");
    fs::write(&foreign, "no flows").expect("writes");
    let torn = p.file(Family::Ipv6, 0..300, Form::Kept);
    let bytes = fs::read(&torn).expect("reads");
    fs::write(&torn, &bytes[..bytes.len() - 9]).expect("writes");
    let paths = [foreign.clone(), good, torn.clone()];
    let control = Control::default();
    let error = Inputs::open(&paths, options(false, 2), &control)
        .err()
        .expect("is bad");
    assert!(error.to_string().contains("notes.parquet"), "{error}");
    let mut inputs = Inputs::open(&paths, options(true, 2), &control).expect("skips");
    let skipped: Vec<_> = inputs
        .skipped()
        .iter()
        .map(|s| (&s.path, s.rows_taken))
        .collect();
    assert_eq!(skipped, [(&foreign, 0), (&torn, 0)]);
    assert_eq!(read(&mut inputs, &ALL).expect("reads").len(), 300);
}

#[test]
fn a_file_that_is_damaged_further_on_is_told_with_the_rows_that_were_taken() {
    let p = Place::new();
    let paths = [
        p.file(Family::Ipv4, 0..300, Form::Kept),
        p.file(Family::Ipv6, 0..50, Form::Parquet),
    ];
    let mut bytes = fs::read(&paths[0]).expect("reads");
    // The third batch's metadata: its table is elsewhere than it says.
    let is_message = |&at: &usize| {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("4 bytes"));
        bytes[at..at + 4] == [0xff; 4] && (1..100_000).contains(&length)
    };
    let starts: Vec<usize> = (0..bytes.len() - 8).filter(is_message).collect();
    let control = Control::default();
    let mut inputs = Inputs::open(&paths, options(true, 1), &control).expect("opens");
    let last = starts.last().expect("has messages") + 8;
    bytes[last..last + 4].copy_from_slice(&[0x7f; 4]);
    fs::write(&paths[0], bytes).expect("writes");
    let rows = read(&mut inputs, &ALL).expect("reads");
    assert_eq!(rows.len(), 200 + 50);
    let [skipped] = inputs.skipped() else {
        panic!("{:?}", inputs.skipped());
    };
    assert_eq!((&skipped.path, skipped.rows_taken), (&paths[0], 200));
    let mut strict = Inputs::open(&paths[1..], options(false, 1), &control).expect("opens");
    assert_eq!(read(&mut strict, &ALL).expect("reads").len(), 50);
}

#[test]
fn an_interruption_ends_a_scan() {
    let p = Place::new();
    let paths = [p.file(Family::Ipv4, 0..300, Form::Kept)];
    let control = Control::default();
    let mut inputs = Inputs::open(&paths, options(false, 1), &control).expect("opens");
    let result = inputs.scan(&ALL, &control, vec![()], |(), _| {
        control.stop();
        Ok(())
    });
    assert!(matches!(result, Err(AnalyzeError::Stopped)));
    assert_eq!(control.rows(), 100);
    assert!(matches!(
        Inputs::open(&paths, options(false, 1), &control),
        Err(AnalyzeError::Stopped)
    ));
}
