//! The folder of captures.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use forebay_udp::Datagram;
use forebay_udp::capture::CaptureReader;
use forebay_wire::ElementId;
use serde_json::Value;

/// The folder's captures, ready to be read.
pub(crate) struct Corpus {
    pub(crate) captures: Vec<Capture>,
    pub(crate) malformed: Vec<Capture>,
}

/// A capture and what is known of it.
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// What each data record holds.
    pub(crate) expected: Option<PathBuf>,
    /// By export version, the columns of COUNTS.tsv.
    pub(crate) counts: BTreeMap<u8, BTreeMap<String, u64>>,
    /// Elements by the name that the expectations use.
    pub(crate) names: Rc<BTreeMap<String, ElementId>>,
}

/// A datagram of its own.
pub(crate) struct Captured {
    source: SocketAddr,
    destination: SocketAddr,
    received_ns: u64,
    payload: Vec<u8>,
}

impl Captured {
    pub(crate) fn datagram(&self) -> Datagram<'_> {
        Datagram {
            source: self.source,
            destination: self.destination,
            received_ns: self.received_ns,
            payload: &self.payload,
        }
    }
}

impl Corpus {
    /// Finds the captures in a folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let counts = counts(folder);
        let names = Rc::new(names(folder));
        let mut paths = Vec::new();
        find(folder, &mut paths);
        paths.sort();
        let captures = paths.into_iter().map(|path| {
            let relative = path.strip_prefix(folder).expect("found in the folder");
            let name = relative.with_extension("").display().to_string();
            let stem = path.with_extension("");
            let beside = |end: &str| PathBuf::from(format!("{}{end}", stem.display()));
            let expected = [beside(".expected.jsonl"), beside(".expected.jsonl.gz")];
            let short = stem.file_name().unwrap_or_default().to_string_lossy();
            let known = counts.get(&name).or_else(|| counts.get(short.as_ref()));
            Capture {
                expected: expected.into_iter().find(|path| path.exists()),
                counts: known.cloned().unwrap_or_default(),
                names: Rc::clone(&names),
                name,
                path,
            }
        });
        let (malformed, captures): (Vec<_>, Vec<_>) =
            captures.partition(|capture| capture.name.starts_with("malformed"));
        assert!(
            !captures.is_empty(),
            "{} holds no capture",
            folder.display()
        );
        Self {
            captures,
            malformed,
        }
    }
}

impl Capture {
    /// All datagrams.
    pub(crate) fn datagrams(&self) -> Vec<Captured> {
        let mut reader = CaptureReader::open(&self.path).expect("a capture");
        let mut datagrams = Vec::new();
        while let Some(datagram) = reader.next().expect("a whole capture") {
            datagrams.push(Captured {
                source: datagram.source,
                destination: datagram.destination,
                received_ns: datagram.received_ns,
                payload: datagram.payload.to_vec(),
            });
        }
        datagrams
    }
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("FOREBAY_CORPUS: {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let extension = path.extension().unwrap_or_default();
        if path.is_dir() {
            find(&path, found);
        } else if extension == "pcap" || extension == "pcapng" {
            found.push(path);
        }
    }
}

/// COUNTS.tsv: by name and version, each column.
fn counts(folder: &Path) -> BTreeMap<String, BTreeMap<u8, BTreeMap<String, u64>>> {
    let mut counts = BTreeMap::<_, BTreeMap<_, _>>::new();
    let table = fs::read_to_string(folder.join("COUNTS.tsv")).unwrap_or_default();
    let mut lines = table.lines();
    let heading: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let named = heading.iter().zip(&cells).skip(2);
        let numbers =
            named.filter_map(|(name, cell)| Some(((*name).to_owned(), cell.parse().ok()?)));
        if let [name, version, ..] = cells.as_slice() {
            let version = version.parse().expect("a version");
            counts
                .entry((*name).to_owned())
                .or_default()
                .insert(version, numbers.collect());
        }
    }
    counts
}

/// TEMPLATES.jsonl names the elements by number: newer and older registries differ in their names.
fn names(folder: &Path) -> BTreeMap<String, ElementId> {
    let text = fs::read_to_string(folder.join("TEMPLATES.jsonl")).unwrap_or_default();
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let template: Value = serde_json::from_str(line).expect("a line of JSON");
        for field in template["fields"].as_array().into_iter().flatten() {
            if let (Some(number), Some(0), Some(name)) =
                (field[0].as_u64(), field[1].as_u64(), field[3].as_str())
            {
                let number = u16::try_from(number).expect("an element's number");
                names.insert(name.to_owned(), ElementId::iana(number));
            }
        }
    }
    names
}
