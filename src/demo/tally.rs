//! What is in the flow files, counted without the collector's help.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt8Type, UInt64Type};
use arrow_array::{Array, FixedSizeBinaryArray, RecordBatch, StringArray, UInt32Array};
use forebay_store::{Family, FlowFile, find_inputs};

/// Who sent in which version: exporter address and 5, 9 or 10.
pub(super) type Sender = (String, u8);

/// Flows in files.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) senders: BTreeMap<Sender, Sums>,
    pub(super) talkers: HashMap<IpAddr, Sums>,
    pub(super) files: u64,
    pub(super) file_bytes: u64,
}

/// Sums over flows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) flows: u64,
    pub(super) flows_ipv4: u64,
    pub(super) flows_ipv6: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) reverse_packets: u64,
    pub(super) reverse_bytes: u64,
}

impl Sums {
    pub(super) fn add(&mut self, other: &Self) {
        self.flows += other.flows;
        self.flows_ipv4 += other.flows_ipv4;
        self.flows_ipv6 += other.flows_ipv6;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.reverse_packets += other.reverse_packets;
        self.reverse_bytes += other.reverse_bytes;
    }
}

const COLUMNS: [&str; 8] = [
    "exporter",
    "export_version",
    "src_ipv4",
    "src_ipv6",
    "packets",
    "bytes",
    "reverse_packets",
    "reverse_bytes",
];

impl Tally {
    /// Counts the flows of a dataset.
    pub(super) fn of(dataset: &Path) -> Result<Self> {
        let mut tally = Self::default();
        for path in find_inputs(&[dataset.display().to_string()])? {
            tally.files += 1;
            tally.file_bytes += path.metadata().map_or(0, |metadata| metadata.len());
            let file = FlowFile::open(&path, Some(&COLUMNS))?;
            let family = file.family();
            for batch in file {
                let counted = tally.add(&batch?, family);
                counted
                    .with_context(|| format!("{} lacks a column of the schema", path.display()))?;
            }
        }
        Ok(tally)
    }

    fn add(&mut self, batch: &RecordBatch, family: Family) -> Option<()> {
        let exporters = batch
            .column_by_name("exporter")?
            .as_dictionary_opt::<Int32Type>()?;
        let names = exporters.values().as_string_opt::<i32>()?;
        let versions = batch
            .column_by_name("export_version")?
            .as_primitive_opt::<UInt8Type>()?;
        let counts = |name| batch.column_by_name(name)?.as_primitive_opt::<UInt64Type>();
        let columns = ["packets", "bytes", "reverse_packets", "reverse_bytes"].map(counts);
        let sources = Sources::of(batch, family)?;
        let mut run: Option<(i32, u8, Sums)> = None;
        for row in 0..batch.num_rows() {
            // What is null counts nothing.
            let [packets, bytes, reverse_packets, reverse_bytes] = columns.map(|column| {
                column
                    .filter(|column| column.is_valid(row))
                    .map_or(0, |column| column.value(row))
            });
            let sums = Sums {
                flows: 1,
                flows_ipv4: u64::from(family == Family::Ipv4),
                flows_ipv6: u64::from(family == Family::Ipv6),
                packets,
                bytes,
                reverse_packets,
                reverse_bytes,
            };
            if let Some(source) = sources.at(row) {
                self.talkers.entry(source).or_default().add(&sums);
            }
            // Flows of one exporter come in runs.
            let (exporter, version) = (exporters.keys().value(row), versions.value(row));
            match &mut run {
                Some((last_exporter, last_version, total))
                    if (*last_exporter, *last_version) == (exporter, version) =>
                {
                    total.add(&sums);
                }
                _ => {
                    self.end_run(run.replace((exporter, version, sums)), names);
                }
            }
        }
        self.end_run(run, names);
        Some(())
    }

    fn end_run(&mut self, run: Option<(i32, u8, Sums)>, names: &StringArray) {
        if let Some((exporter, version, sums)) = run {
            let name = usize::try_from(exporter)
                .ok()
                .filter(|key| *key < names.len());
            let name = name.map_or("", |key| names.value(key));
            self.senders
                .entry((name.to_owned(), version))
                .or_default()
                .add(&sums);
        }
    }

    /// All together.
    pub(super) fn total(&self) -> Sums {
        let mut total = Sums::default();
        for sums in self.senders.values() {
            total.add(sums);
        }
        total
    }

    /// The sources of the most bytes.
    pub(super) fn top_talkers(&self, count: usize) -> Vec<(IpAddr, Sums)> {
        let mut talkers: Vec<(IpAddr, Sums)> =
            self.talkers.iter().map(|(ip, sums)| (*ip, *sums)).collect();
        talkers.sort_by_key(|(ip, sums)| (std::cmp::Reverse(sums.bytes), *ip));
        talkers.truncate(count);
        talkers
    }
}

/// Where the flows of a batch come from.
enum Sources<'b> {
    Ipv4(&'b UInt32Array),
    Ipv6(&'b FixedSizeBinaryArray),
    None,
}

impl<'b> Sources<'b> {
    fn of(batch: &'b RecordBatch, family: Family) -> Option<Self> {
        Some(match family {
            Family::Ipv4 => Self::Ipv4(batch.column_by_name("src_ipv4")?.as_primitive_opt()?),
            Family::Ipv6 => Self::Ipv6(
                batch
                    .column_by_name("src_ipv6")?
                    .as_fixed_size_binary_opt()?,
            ),
            Family::Other => Self::None,
        })
    }

    fn at(&self, row: usize) -> Option<IpAddr> {
        match self {
            Self::Ipv4(column) => {
                let valid = column.is_valid(row);
                valid.then(|| Ipv4Addr::from_bits(column.value(row)).into())
            }
            Self::Ipv6(column) => {
                let octets = column.is_valid(row).then(|| column.value(row))?;
                Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into())
            }
            Self::None => None,
        }
    }
}
