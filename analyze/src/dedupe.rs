//! Removes what several exporters saw, and merges what is left by the time of its receipt.
//!
//! ```text
//! files → pack: words of each row → rows: partitions by key → group → fates of rows
//! files → rows that stay, by time → a new dataset
//! ```
//!
//! The input is read twice: once for the columns that are compared, and once for all columns of the rows
//! that stay.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use forebay_store::{Family, FileFormat, FlowParts, NewDataset, StoreError};

use crate::error::AnalyzeError;
use crate::rows::{Memory, MemoryLimit, RowStore, RowWriter, Shape, Spill};
use crate::scan::{Batch, Control, Inputs, Scan, Skipped};
use crate::workers;

mod fates;
mod gather;
mod group;
mod key;
mod lists;
mod matching;
mod merge;
mod numbers;
mod origins;
mod pack;
mod plan;
mod report;
mod rules;
mod schema;

use fates::{Fates, Removed};
use key::KeyLayout;
use lists::{AllLists, Lists};
use matching::{Found, Matcher, Matching};
use merge::{Merge, Written};
use origins::Names;
use pack::{FACT_WORDS, Packer};
use plan::{Part, Slice, Span};
pub use report::{DedupeReport, Pair};
use rules::Preference;
pub use rules::{Agreement, Keep, Rules};

/// The rows of a file of the output, about. Tests have few.
const FILE_ROWS: u64 = if cfg!(test) { 1 << 10 } else { 1 << 21 };

/// The memory that exporters and other names may always take.
const NAMES_BYTES: usize = 1 << 20;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct DedupeOptions {
    /// The columns in which rows of one flow have the same values; `None` where none are compared and all
    /// stay.
    pub key: Option<Vec<String>>,
    /// When rows of one key are the same flow.
    pub rules: Rules,
    /// Which of them stays.
    pub keep: Keep,
    /// Where the rows go that stay, as what; `None` where only the report is wanted.
    pub output: Option<(PathBuf, FileFormat)>,
    /// How much memory rows may take.
    pub memory: MemoryLimit,
    /// Where rows go that do not fit in it.
    pub temp: PathBuf,
}

impl Default for DedupeOptions {
    fn default() -> Self {
        Self {
            key: Some(key::DEFAULT.map(str::to_owned).to_vec()),
            rules: Rules::default(),
            keep: Keep::default(),
            output: None,
            memory: MemoryLimit::default(),
            temp: std::env::temp_dir(),
        }
    }
}

/// Why duplicates could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum DedupeError {
    /// The input, or what is made of it.
    #[error(transparent)]
    Analyze(#[from] AnalyzeError),
    /// A column of the key is nobody's.
    #[error("no column is called \"{name}\"{}", near.as_ref().map(|near| format!(": did you mean \"{near}\"?")).unwrap_or_default())]
    NoSuchColumn {
        /// The name.
        name: String,
        /// The one most like it.
        near: Option<String>,
    },
    /// A column of the key cannot be compared.
    #[error("column \"{name}\" cannot be part of a key: its type is {kind}")]
    NoKey {
        /// The name.
        name: String,
        /// What it is.
        kind: String,
    },
    /// There is no memory for what becomes of each row.
    #[error(
        "there is no memory to note what becomes of {rows} rows, up to 5 bytes each: name fewer files"
    )]
    TooManyRows {
        /// The rows that the files claim to have.
        rows: u64,
    },
    /// Not as many rows were written as stay.
    #[error(
        "{kept} rows should be kept, but {written} were written: did a file change meanwhile? Nothing was kept"
    )]
    Unbalanced {
        /// The rows that stay.
        kept: u64,
        /// The rows written.
        written: u64,
    },
}

impl From<StoreError> for DedupeError {
    fn from(error: StoreError) -> Self {
        AnalyzeError::from(error).into()
    }
}

/// Removes the duplicates among the rows of `inputs`.
///
/// # Errors
/// An input cannot be read, the output cannot be written, or it was interrupted. Nothing of the output
/// is left then.
pub fn dedupe(
    inputs: &mut Inputs,
    options: &DedupeOptions,
    control: &Control,
) -> Result<DedupeReport, DedupeError> {
    if let Some(key) = &options.key {
        key::check(key, inputs.files())?;
    }
    let mut skipped = Vec::new();
    let mut known = schema::Known::new();
    let mut is_bad = vec![false; inputs.files().len()];
    for (file, is_bad) in inputs.files().iter().zip(&mut is_bad) {
        match known.add(file) {
            Err(error) if inputs.skips_bad() => {
                *is_bad = true;
                skipped.push(Skipped {
                    path: file.path().to_owned(),
                    reason: error.to_string(),
                    rows_taken: 0,
                });
            }
            result => result?,
        }
    }
    let output = match &options.output {
        Some((dir, _)) => Some(NewDataset::create(dir)?),
        None => None,
    };
    // Where nothing is compared, nothing becomes of rows.
    let compared = options.key.as_ref().map_or(0, |_| inputs.rows());
    let memory = Memory::new(options.memory);
    let spill = Spill::new(options.temp.clone());
    let mut run = Run {
        options,
        control,
        memory: &memory,
        names: Names::new((memory.limit() / 8).max(NAMES_BYTES)),
        fates: Fates::new(compared, output.is_some())
            .ok_or(DedupeError::TooManyRows { rows: compared })?,
        bases: bases(inputs.files()),
        report: DedupeReport::default(),
        lists: AllLists::default(),
    };
    let spans = run.compare(inputs, &mut is_bad, &spill)?;
    // Of what was read before damage was found, nothing counts.
    let none_taken = |file: &Skipped| Skipped {
        rows_taken: 0,
        ..file.clone()
    };
    skipped.extend(inputs.skipped().iter().map(none_taken));
    run.report.spilled_bytes = spill.bytes();
    if let (Some(output), Some((_, format))) = (output, &options.output) {
        let with_seen = options.key.is_some();
        run.write(inputs, spans, &known, &output, *format)?;
        output.finish(&known.all(with_seen))?;
    }
    run.report.skipped = skipped;
    // What becomes of rows has no limit but their number: it is no reason to put rows aside.
    run.report.peak_memory += (memory.peak() + run.fates.bytes()) as u64;
    Ok(run.report)
}

/// By file: the number of its first row among all.
fn bases(files: &[FlowParts]) -> Vec<u64> {
    let mut next = 0;
    let base = |file: &FlowParts| {
        let base = next;
        next += file.rows();
        base
    };
    files.iter().map(base).collect()
}

/// By family, in the order of [`Family::ALL`].
type ByFamily<T> = [T; 3];

fn place_of(family: Family) -> usize {
    family as usize
}

/// What one worker has read.
struct Reader<'a> {
    writers: ByFamily<Option<RowWriter<'a>>>,
    known: origins::Known,
    apart: Vec<bool>,
    spans: ByFamily<Vec<Span>>,
    passed_over: u64,
}

struct Run<'a> {
    options: &'a DedupeOptions,
    control: &'a Control,
    memory: &'a Memory,
    names: Names,
    fates: Fates,
    bases: Vec<u64>,
    report: DedupeReport,
    lists: AllLists,
}

impl Run<'_> {
    /// Reads what is compared, and says what becomes of each row.
    fn compare(
        &mut self,
        inputs: &mut Inputs,
        is_bad: &mut [bool],
        spill: &Spill,
    ) -> Result<ByFamily<Vec<Span>>, DedupeError> {
        let threads = inputs.threads();
        let layouts = self.layouts(inputs.files())?;
        let counters = match self.options.rules.counters_are_key() {
            true => pack::COUNTER_WORDS,
            false => 0,
        };
        let stores: ByFamily<Option<RowStore<'_>>> = layouts.each_ref().map(|layout| {
            let words = layout.as_ref()?.words;
            let shape = Shape {
                key_words: words + counters,
                words: words + FACT_WORDS,
            };
            Some(RowStore::new(shape, threads, self.memory, spill))
        });
        let spans = self.scan(inputs, &layouts, &stores, is_bad)?;
        self.report.rows_in = spans.iter().flatten().map(|span| span.rows).sum();
        let bad: Vec<Range<u64>> = (inputs.files().iter().zip(&self.bases))
            .zip(&*is_bad)
            .filter(|(_, is_bad)| **is_bad)
            .map(|((file, &base), _)| base..base + file.rows())
            .collect();
        self.group(stores, &layouts, &bad, threads)?;
        Ok(spans)
    }

    /// How the rows of each family are packed; `None` for those that are not compared.
    fn layouts(&self, files: &[FlowParts]) -> Result<ByFamily<Option<KeyLayout>>, DedupeError> {
        let mut layouts = [None, None, None];
        for family in Family::ALL {
            let key = self.options.key.as_deref();
            let Some(key) = key.and_then(|key| key::columns_of(key, family)) else {
                continue;
            };
            let layout = KeyLayout::new(&key, family, files)?;
            if !layout.fields.is_empty() {
                layouts[place_of(family)] = Some(layout);
            }
        }
        Ok(layouts)
    }

    /// Reads all that is compared into `stores`: the batches that were met.
    fn scan(
        &mut self,
        inputs: &mut Inputs,
        layouts: &ByFamily<Option<KeyLayout>>,
        stores: &ByFamily<Option<RowStore<'_>>>,
        is_bad: &mut [bool],
    ) -> Result<ByFamily<Vec<Span>>, DedupeError> {
        let readers = (0..inputs.threads()).map(|_| Reader {
            writers: stores
                .each_ref()
                .map(|store| Some(store.as_ref()?.writer())),
            known: origins::Known::default(),
            apart: Vec::new(),
            spans: Default::default(),
            passed_over: 0,
        });
        // Where damage may be passed over, it must be found before anything is compared.
        let skips_bad = inputs.skips_bad();
        let columns = |family| match &layouts[place_of(family)] {
            _ if skips_bad => None,
            Some(layout) => Some(pack::columns(layout)),
            None => Some(vec!["received"]),
        };
        let places: HashMap<PathBuf, usize> = (inputs.files().iter().zip(0..))
            .map(|(file, place)| (file.path().to_owned(), place))
            .collect();
        let place = |path: &Path| places.get(path).copied();
        let wants = |file: &FlowParts, _| place(file.path()).is_some_and(|file| !is_bad[file]);
        let scan = Scan {
            columns: &columns,
            wants: &wants,
        };
        let readers = inputs.scan(&scan, self.control, readers.collect(), |reader, batch| {
            self.read(reader, &batch, layouts)
        })?;
        for file in inputs.skipped().iter().filter_map(|file| place(&file.path)) {
            is_bad[file] = true;
        }
        let mut spans: ByFamily<Vec<Span>> = Default::default();
        for reader in readers {
            self.report.rows_not_compared += reader.passed_over;
            for (all, found) in spans.iter_mut().zip(reader.spans) {
                all.extend(found.into_iter().filter(|span| !is_bad[span.file]));
            }
            for writer in reader.writers.into_iter().flatten() {
                writer.finish()?;
            }
        }
        Ok(spans)
    }

    fn read(
        &self,
        reader: &mut Reader<'_>,
        batch: &Batch<'_>,
        layouts: &ByFamily<Option<KeyLayout>>,
    ) -> Result<(), AnalyzeError> {
        let place = place_of(batch.family);
        let rows = batch.rows.num_rows() as u64;
        let received = batch.rows.column_by_name("received");
        let received =
            received.and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
        let times = received.map_or(&[] as &[i64], |received| received.values());
        let (Some(&least_us), Some(&greatest_us)) = (times.iter().min(), times.iter().max()) else {
            return Err(match rows {
                0 => return Ok(()),
                _ => StoreError::NotFlows {
                    path: batch.path.to_owned(),
                    reason: "there are rows without \"received\"".to_owned(),
                },
            }
            .into());
        };
        reader.spans[place].push(Span {
            file: batch.file,
            first_row: batch.first_row,
            rows,
            least_us,
            greatest_us,
        });
        let (Some(layout), Some(writer)) = (&layouts[place], &mut reader.writers[place]) else {
            reader.passed_over += rows;
            return Ok(());
        };
        let packer = Packer {
            layout,
            names: &self.names,
            events_apart: self.options.rules.compares_counters(),
            path: batch.path,
        };
        let first_row = self.bases[batch.file] + batch.first_row;
        let compared = packer.pack(
            &batch.rows,
            first_row,
            &mut reader.known,
            &mut reader.apart,
            &mut writer.room(batch.rows.num_rows()),
        )?;
        reader.passed_over += rows - compared as u64;
        writer.take(compared)
    }

    fn group(
        &mut self,
        stores: ByFamily<Option<RowStore<'_>>>,
        layouts: &ByFamily<Option<KeyLayout>>,
        bad: &[Range<u64>],
        threads: usize,
    ) -> Result<(), DedupeError> {
        let origins = self.names.origins();
        let preference = Preference::new(&self.options.keep, origins.exporters());
        let lists = Lists::default();
        let mut matchers = Vec::with_capacity(threads);
        for _ in 0..threads {
            let rows = self.fates.rows();
            let removed = Removed::none_of(rows).ok_or(DedupeError::TooManyRows { rows })?;
            self.report.peak_memory += removed.bytes() as u64;
            matchers.push(Matcher::new(removed));
        }
        for (store, layout) in stores.into_iter().zip(layouts) {
            let (Some(store), Some(layout)) = (store, layout) else {
                continue;
            };
            let rules = &self.options.rules;
            let matching = Matching {
                rules,
                preference: &preference,
                origins: &origins,
                lists: &lists,
                fates: &self.fates,
                shape: store.shape(),
                key_words: layout.words,
                bad,
            };
            matchers = store.visit(self.control, matchers, |matcher, rows| {
                matcher.visit(&matching, rows)
            })?;
        }
        let mut found = Found::default();
        for matcher in matchers {
            let (removed, of_worker) = matcher.finish(&lists, &self.fates);
            found.add(of_worker);
            self.fates.remove(&removed);
        }
        self.report.tell(found, &origins);
        self.lists = lists.finish();
        Ok(())
    }

    /// Writes the rows that stay.
    fn write(
        &mut self,
        inputs: &Inputs,
        mut spans: ByFamily<Vec<Span>>,
        known: &schema::Known,
        output: &NewDataset,
        format: FileFormat,
    ) -> Result<(), DedupeError> {
        let threads = inputs.threads();
        let with_seen = self.options.key.is_some();
        let mut slices: Vec<Slice> = Vec::new();
        let parts: ByFamily<Vec<Part>> = Family::ALL.map(|family| {
            let parts = plan::parts(&mut spans[place_of(family)], inputs.files(), family);
            slices.extend(plan::slices(family, &parts, FILE_ROWS));
            parts
        });
        let columns = Family::ALL.map(|family| known.columns(family, with_seen));
        let runs = AtomicU64::new(0);
        let merges: ByFamily<Merge<'_>> = std::array::from_fn(|place| Merge {
            files: inputs.files(),
            bases: &self.bases,
            parts: &parts[place],
            columns: &columns[place],
            fates: &self.fates,
            names: &self.names,
            lists: &self.lists,
            output,
            format,
            memory: self.memory.limit() / threads,
            control: self.control,
            runs: &runs,
        });
        self.control.add_total(self.report.rows_in);
        let states = vec![Written::default(); threads];
        let written = workers::share(states, slices.len(), |written: &mut Written, place| {
            let slice = slices[place];
            let file = merges[place_of(slice.family)].write(slice)?;
            written.rows += file.rows;
            written.bytes += file.bytes;
            written.files += file.files;
            Ok(())
        })?;
        let sum = |of: fn(&Written) -> u64| written.iter().map(of).sum::<u64>();
        self.report.files_written = sum(|written| written.files);
        self.report.bytes_written = sum(|written| written.bytes);
        let (kept, written) = (self.report.rows_kept(), sum(|written| written.rows));
        if kept != written {
            return Err(DedupeError::Unbalanced { kept, written });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
