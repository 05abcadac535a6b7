use std::sync::Arc;

use super::*;
use crate::support::{Generator, START_US};
use crate::{Dataset, FlowSchema, SegmentWriter, SettleOptions, keep, settle};

struct Place {
    dir: tempfile::TempDir,
    dataset: Dataset,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let dataset = Dataset::open(dir.path()).expect("opens");
        Self { dir, dataset }
    }

    fn root(&self) -> String {
        self.dataset.root().to_string_lossy().into_owned()
    }

    /// A segment of `rows` flows, seconds after the others.
    fn segment(&self, family: Family, second: i64, rows: usize) -> PathBuf {
        let schema = Arc::new(FlowSchema::default());
        let mut generator = Generator::new(3);
        let batch = generator.batch(&schema, rows);
        let start_us = START_US + second * 1_000_000;
        let set = batch.present();
        let mut writer =
            SegmentWriter::create(&self.dataset, 0, family, start_us, set, &schema).expect("makes");
        writer.append(batch).expect("appends");
        writer.close().expect("closes").expect("has rows").path
    }

    fn settled(&self, family: Family, second: i64, rows: usize) -> PathBuf {
        let segment = self.segment(family, second, rows);
        let settled = settle(&self.dataset, &segment, &SettleOptions::default());
        settled.expect("settles").path.expect("has rows")
    }
}

fn rows(inputs: &[String]) -> Result<Vec<(Family, usize)>, StoreError> {
    let files = find_inputs(inputs)?;
    let read = |path: &PathBuf| {
        let file = FlowFile::open(path, Some(&["received", "src_ipv4", "none"]))?;
        let family = file.family();
        let mut rows = 0;
        for batch in file {
            let batch = batch?;
            assert_eq!(batch.num_columns(), 2);
            rows += batch.num_rows();
        }
        Ok((family, rows))
    };
    files.iter().map(read).collect()
}

#[test]
fn a_dataset_is_read_with_what_is_not_settled_but_without_its_ledger() {
    let p = Place::new();
    p.settled(Family::Ipv4, 0, 10);
    p.settled(Family::Other, 60, 20);
    p.segment(Family::Ipv4, 120, 30);
    keep(&p.dataset, &p.segment(Family::Ipv6, 0, 40)).expect("keeps");
    crate::write_ledger(&p.dataset, START_US, &[]).expect("writes");
    crate::write_views(&p.dataset, &FlowSchema::default()).expect("writes");
    let expected = [
        (Family::Ipv4, 10),
        (Family::Ipv6, 40),
        (Family::Other, 20),
        (Family::Ipv4, 30),
    ];
    assert_eq!(rows(&[p.root()]).expect("reads"), expected);
    // Each once, however often it is named.
    assert_eq!(rows(&[p.root(), p.root()]).expect("reads"), expected);
    let pattern = format!("{}/**/*.parquet", p.root());
    assert_eq!(
        rows(&[pattern]).expect("reads"),
        [(Family::Ipv4, 10), (Family::Other, 20)]
    );
    let family = format!("{}/family=*", p.root());
    assert_eq!(rows(&[family]).expect("reads"), expected[..3]);
}

#[test]
fn a_file_away_from_its_dataset_knows_its_family() {
    let p = Place::new();
    let away = tempfile::tempdir().expect("temporary folder");
    for (from, to) in [
        (p.settled(Family::Ipv6, 0, 5), away.path().join("a.parquet")),
        (p.segment(Family::Ipv6, 1, 6), away.path().join("b.arrows")),
    ] {
        fs::copy(from, to).expect("copies");
    }
    let inputs = [away.path().to_string_lossy().into_owned()];
    assert_eq!(
        rows(&inputs).expect("reads"),
        [(Family::Ipv6, 5), (Family::Ipv6, 6)]
    );
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let p = Place::new();
    let file = p.settled(Family::Ipv4, 0, 7);
    let root = p.root();
    let again = format!("{root}/family=ipv4/..");
    let inputs = [again, root, file.to_string_lossy().into_owned()];
    assert_eq!(rows(&inputs).expect("reads"), [(Family::Ipv4, 7)]);
}

#[test]
fn a_segment_that_is_settled_meanwhile_is_read_where_it_is_then() {
    let p = Place::new();
    let segment = p.segment(Family::Ipv4, 0, 7);
    let files = find_inputs(&[p.root()]).expect("finds");
    assert_eq!(files, std::slice::from_ref(&segment));
    settle(&p.dataset, &segment, &SettleOptions::default()).expect("settles");
    let file = FlowFile::open(&files[0], None).expect("opens");
    assert!(file.path().to_string_lossy().contains("family=ipv4"));
    assert_eq!(file.map(|b| b.expect("reads").num_rows()).sum::<usize>(), 7);
}

#[test]
fn a_damaged_flow_file_is_an_error_or_other_flows_but_no_panic() {
    let place = Place::new();
    let segment = place.segment(Family::Ipv4, 0, 40);
    let options = SettleOptions {
        compression: crate::Compression::None,
    };
    let settled = settle(&place.dataset, &segment, &options).expect("settles");
    let path = settled.path.expect("has rows");
    let whole = fs::read(&path).expect("reads");
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        fs::write(&path, &damaged).expect("writes");
        if let Ok(file) = FlowFile::open(&path, None) {
            let _rows = file.map_while(Result::ok).count();
        }
    }
}

#[test]
fn a_segment_that_begins_is_empty() {
    let p = Place::new();
    let segment = p.segment(Family::Ipv4, 0, 7);
    fs::write(&segment, [0xff; 6]).expect("writes");
    let mut file = FlowFile::open(&segment, None).expect("opens");
    assert!(file.next().is_none());
}

#[test]
fn what_cannot_be_read_is_named() {
    let p = Place::new();
    let error = |input: &str| {
        let error = rows(&[input.to_owned()]).expect_err(input).to_string();
        assert!(error.contains(input), "{error}");
        error
    };
    let root = p.root();
    assert!(error(&root).contains("no flow files"));
    assert!(error(&format!("{root}/none")).contains("nothing at"));
    assert!(error(&format!("{root}/*.parquet")).contains("no flow files"));
    assert!(error(&format!("{root}/a***")).contains("not a pattern"));

    for (name, content) in [
        ("text.parquet", "not Parquet at all"),
        ("short.parquet", ""),
        ("text.arrows", "not Arrow at all"),
    ] {
        let path = format!("{root}/{name}");
        fs::write(&path, content).expect("writes");
        assert!(error(&path).contains("no flow file"));
    }
    let ledger = crate::write_ledger(&p.dataset, START_US, &[]).expect("writes");
    assert!(error(&ledger.to_string_lossy()).contains("received"));
    let flows = p.settled(Family::Ipv4, 0, 1000);
    let bytes = fs::read(&flows).expect("reads");
    fs::write(&flows, &bytes[..bytes.len() - 20]).expect("writes");
    assert!(error(&flows.to_string_lossy()).contains("damaged"));
    drop(p.dir);
}

#[test]
fn a_staged_segment_and_what_it_becomes_tell_the_same_hour() {
    let place = Place::new();
    let segment = place.segment(Family::Ipv4, 0, 5);
    let hour = received_us(&segment).expect("a segment of a dataset");
    assert!(hour.contains(&START_US) && hour.end - hour.start == 3_600_000_000);
    let settled = place.settled(Family::Ipv4, 1, 5);
    assert_eq!(received_us(&settled), Some(hour));
    assert_eq!(received_us(&segment.with_file_name("other.arrows")), None);
    assert_eq!(received_us(Path::new("other.arrows")), None);
}
