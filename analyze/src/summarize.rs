//! Groups flows by key.
//!
//! ```text
//! batches → filter → pack: rows of words → engine: groups in partitions → runs: in order → answer
//! ```
//!
//! Workers read parts of files side by side and spread rows over partitions by the hash of their keys, so
//! that each partition's groups fit in a core's cache. What goes on is arithmetic on words: a flow is a
//! group of one, and groups of one key are added up, whether they come from a batch or were put aside.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use forebay_store::{ColumnType, Family, FlowParts};

use crate::error::AnalyzeError;
use crate::filter::Filter;
use crate::rows::{Interner, Memory, MemoryLimit, Spill, secret};
use crate::scan::{Batch, Control, Inputs, Scan};
use crate::workers;

mod ahead;
mod answer;
mod distinct;
mod engine;
mod error;
mod key;
mod layout;
mod order;
mod pack;
mod runs;
mod table;
mod value;
mod view;

pub use answer::{Answer, Counts};
pub use error::SummaryError;
pub use key::Key;
pub use value::Value;

use answer::{Rows, Shape};
use distinct::{Counting, Different};
use engine::{Engine, LaneWriter, Shared};
use layout::{Class, DISTINCT, Layout};
use order::{Column, Order, Row};
use pack::{Packer, Packing, ordered};
use runs::{MergeBy, Merger, Ranges, Run};
use table::Overflowed;
use view::{View, classes};

/// What is asked of flows.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What they are grouped by; nothing: all are one group.
    pub by: Vec<Key>,
    /// What is told of each group.
    pub values: Vec<Value>,
    /// Which flows count.
    pub filter: Option<Filter>,
    /// What a group has at least, or it is left out; of durations, microseconds.
    pub least: Vec<(Value, u64)>,
    /// What groups are sorted by, the first first; then by their keys.
    pub sort: Vec<Sort>,
    /// Only so many groups.
    pub top: Option<usize>,
    /// Whether packets and bytes count as often as flows were sampled.
    pub scale_sampling: bool,
    /// Whether different ones may be estimated (1.6 % standard error), which takes less where there are many.
    pub approx: bool,
    /// The memory that groups may take.
    pub memory: MemoryLimit,
    /// The folder of temporary files.
    pub temp_dir: PathBuf,
}

impl Default for Summary {
    /// The 5-tuples with the default values.
    fn default() -> Self {
        Self {
            by: Key::five_tuple(),
            values: Value::DEFAULT.to_vec(),
            filter: None,
            least: Vec::new(),
            sort: Vec::new(),
            top: None,
            scale_sampling: false,
            approx: false,
            memory: MemoryLimit::default(),
            temp_dir: std::env::temp_dir(),
        }
    }
}

/// What groups are sorted by: the name of a key or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The name.
    pub name: String,
    /// Whether the greatest comes first; nulls come last anyway.
    pub is_descending: bool,
}

impl Sort {
    /// Reads `bytes` (values: the greatest first; keys: the least first), `bytes:asc`, `src_port:desc` or
    /// `-src_port`.
    pub fn parse(text: &str) -> Self {
        let sort = |name: &str, is_descending| Self {
            name: name.to_owned(),
            is_descending,
        };
        if let Some(name) = text.strip_prefix('-') {
            return sort(name, true);
        }
        match text.rsplit_once(':') {
            Some((name, "asc")) => sort(name, false),
            Some((name, "desc")) => sort(name, true),
            _ => sort(text, Value::parse(text).is_ok()),
        }
    }
}

/// Summarizes the flows of `inputs`.
///
/// # Errors
/// It cannot be done as asked; a file cannot be read; a sum does not fit; there is no room for temporary
/// files; it was interrupted.
pub fn summarize(
    inputs: &mut Inputs,
    summary: &Summary,
    control: &Control,
) -> Result<Answer, AnalyzeError> {
    let plan = Plan::new(summary)?;
    let memory = Memory::new(summary.memory);
    let spill = Spill::new(summary.temp_dir.clone());
    let interner = Interner::new(memory.limit().max(1 << 20));
    let packing = Packing {
        keys: &summary.by,
        values: &plan.values,
        interner: &interner,
        scale_sampling: summary.scale_sampling,
    };
    let overflow = |class, overflowed| plan.overflow(class, &overflowed, &interner);
    let shared = Shared {
        memory: &memory,
        spill: &spill,
        workers: inputs.threads(),
        seed: secret(),
        control,
        counting: plan.counting(),
        overflow: &overflow,
    };
    let engine = Engine::new(&shared, &plan.layouts);
    let (chosen, parts_left_out) = gather(inputs, summary, &plan, &packing, &engine, control)?;
    let texts = Texts::new(&plan, &interner);
    let states = (0..inputs.threads()).map(|_| Vec::new()).collect();
    let runs = workers::share(
        states,
        engine.lanes() * engine.partitions(),
        |runs, place| {
            let (lane, partition) = (place % engine.lanes(), place / engine.lanes());
            engine.finish(lane, partition, None, &mut |layout, mut rows| {
                plan.complete(layout, &mut rows, &texts, &interner)?;
                let mut run = Run::sort((lane, layout), &rows, &plan.order, summary.top);
                drop(rows);
                run.keep(&memory, &spill)?;
                runs.push(run);
                Ok(())
            })
        },
    )?;
    let runs: Vec<Run> = runs.into_iter().flatten().collect();
    drop(engine);
    let groups: usize = runs.iter().map(|run| run.rows(&plan.layouts)).sum();
    let left = groups.min(summary.top.unwrap_or(usize::MAX));
    let counts = Counts {
        rows_read: control.rows(),
        rows_chosen: chosen,
        parts: inputs
            .files()
            .iter()
            .map(|file| file.parts().len() as u64)
            .sum(),
        parts_left_out,
        groups: left as u64,
        spilled_bytes: spill.bytes(),
        peak_bytes: memory.peak(),
    };
    let by = MergeBy {
        layouts: &plan.layouts,
        order: &plan.order,
        spill: &spill,
    };
    let rows = match Ranges::new(runs, &by) {
        Ok(ranges) => Rows::Ranges(ranges, 0),
        Err(runs) => Rows::Merged(Merger::new(runs, &by, memory.limit())?),
    };
    Ok(Answer {
        shape: Shape::new(summary.by.clone(), summary.values.clone(), texts.sorted),
        order: plan.order,
        layouts: plan.layouts,
        spill,
        rows,
        left,
        threads: inputs.threads(),
        counts,
        ready: std::collections::VecDeque::new(),
    })
}

/// Reads all flows into the engine: how many the filter chose, and how many parts of files cannot have any.
fn gather(
    inputs: &mut Inputs,
    summary: &Summary,
    plan: &Plan<'_>,
    packing: &Packing<'_>,
    engine: &Engine<'_>,
    control: &Control,
) -> Result<(u64, u64), AnalyzeError> {
    let [chosen, left_out] = [const { AtomicU64::new(0) }; 2];
    let columns = |_: Family| Some(plan.columns.clone());
    let wants = |file: &FlowParts, part: usize| {
        let filter = summary.filter.as_ref();
        let is_wanted = filter.is_none_or(|filter| filter.may_match(file, part));
        left_out.fetch_add(u64::from(!is_wanted), Atomic::Relaxed);
        is_wanted
    };
    let scan = Scan {
        columns: &columns,
        wants: &wants,
    };
    let worker = || Worker {
        summary,
        interner: packing.interner,
        lanes: (plan.layouts.iter().enumerate())
            .map(|(lane, layout)| (Packer::new(packing, layout), engine.writer(lane)))
            .collect(),
        layouts: &plan.layouts,
        different: Different::new(plan.counting()),
        chosen: &chosen,
    };
    let states = (0..inputs.threads()).map(|_| worker()).collect();
    let ended = inputs.scan(&scan, control, states, |worker: &mut Worker<'_>, batch| {
        worker.add(&batch)
    })?;
    for (_, writer) in ended.into_iter().flat_map(|worker| worker.lanes) {
        writer.finish()?;
    }
    Ok((chosen.into_inner(), left_out.into_inner()))
}

/// One thread's way from batches to partitions.
struct Worker<'a> {
    summary: &'a Summary,
    interner: &'a Interner,
    layouts: &'a [Layout],
    lanes: Vec<(Packer<'a>, LaneWriter<'a>)>,
    different: Different,
    chosen: &'a AtomicU64,
}

impl Worker<'_> {
    fn add(&mut self, batch: &Batch<'_>) -> Result<(), AnalyzeError> {
        let Some(rows) = self.choose(batch)? else {
            return Ok(());
        };
        self.chosen
            .fetch_add(rows.num_rows() as u64, Atomic::Relaxed);
        let view = View {
            batch: &rows,
            family: batch.family,
            path: batch.path,
        };
        let addresses = self.summary.by.iter().filter_map(Key::address);
        let addresses = addresses.map(|address| view.addresses(address));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        for (class, mask) in classes(&addresses, view.rows()) {
            match mask {
                None => self.add_class(class, view)?,
                Some(mask) => {
                    let some = filter_record_batch(&rows, &BooleanArray::new(mask, None))?;
                    self.add_class(
                        class,
                        View {
                            batch: &some,
                            ..view
                        },
                    )?;
                }
            }
        }
        Ok(())
    }

    /// The rows that the filter chooses, if any.
    fn choose(&self, batch: &Batch<'_>) -> Result<Option<RecordBatch>, AnalyzeError> {
        let Some(filter) = &self.summary.filter else {
            return Ok(Some(batch.rows.clone()));
        };
        let selected = filter.select(&batch.rows, batch.family);
        let selected = selected.map_err(|source| AnalyzeError::Filter {
            path: batch.path.to_owned(),
            source,
        })?;
        let count = selected.count_set_bits();
        Ok(match count {
            0 => None,
            _ if count == selected.len() => Some(batch.rows.clone()),
            _ => Some(filter_record_batch(
                &batch.rows,
                &BooleanArray::new(selected, None),
            )?),
        })
    }

    fn add_class(&mut self, class: Class, view: View<'_>) -> Result<(), AnalyzeError> {
        let lane = self.layouts.iter().position(|layout| layout.class == class);
        let Some((packer, writer)) = lane.and_then(|lane| self.lanes.get_mut(lane)) else {
            return Ok(());
        };
        let columns = packer.pack(view)?;
        writer.groups(&columns)?;
        let layout = self.layouts.iter().find(|layout| layout.class == class);
        for place in 0..DISTINCT.len() {
            let Some(layout) = layout.filter(|layout| layout.values.distinct[place].is_some())
            else {
                continue;
            };
            let different = self.different.fill(view, place, self.interner)?;
            let mut key = columns[..layout.key_words].to_vec();
            key.extend(different);
            writer.distinct(&key)?;
        }
        Ok(())
    }
}

/// What follows from what is asked.
struct Plan<'a> {
    summary: &'a Summary,
    /// The values that are asked for, sorted by, or had at least.
    values: Vec<Value>,
    columns: Vec<&'a str>,
    layouts: Vec<Layout>,
    order: Order,
}

impl<'a> Plan<'a> {
    fn new(summary: &'a Summary) -> Result<Self, SummaryError> {
        let mut names: Vec<&str> = summary.by.iter().map(Key::name).collect();
        names.extend(summary.values.iter().map(|value| value.name()));
        let again = |(place, name): (usize, &&str)| names[..place].contains(name);
        if let Some((_, name)) = names.iter().enumerate().find(|&found| again(found)) {
            return Err(SummaryError::Twice((*name).to_owned()));
        }
        if summary.values.is_empty() {
            return Err(SummaryError::NoValue);
        }
        let order = order(summary)?;
        let mut values = summary.values.clone();
        values.extend(order.by.iter().filter_map(|(column, _)| match column {
            Column::Value(value) => Some(*value),
            Column::Key(_) => None,
        }));
        for (value, _) in &summary.least {
            if !has_least(*value) {
                return Err(SummaryError::Least(value.name().to_owned()));
            }
            values.push(*value);
        }
        let of_keys = summary.by.iter().flat_map(Key::columns);
        let of_values = values
            .iter()
            .flat_map(|value| value.columns().iter().copied());
        let of_filter = summary.filter.iter().flat_map(Filter::columns);
        let mut columns: Vec<&str> = of_keys.chain(of_values).chain(of_filter).collect();
        if summary.scale_sampling {
            columns.push("sampling_rate");
        }
        columns.sort_unstable();
        columns.dedup();
        let has_address = summary.by.iter().any(|key| key.address().is_some());
        let classes: &[Class] = if has_address {
            &Class::ALL
        } else {
            &[Class::Plain]
        };
        let layout = |class: &Class| Layout::new(*class, &summary.by, &values);
        Ok(Self {
            summary,
            columns,
            layouts: classes.iter().map(layout).collect(),
            values,
            order,
        })
    }

    fn counting(&self) -> Counting {
        match self.summary.approx {
            true => Counting::Sketch,
            false => Counting::Exact,
        }
    }

    /// Makes of a partition's groups what is told: leaves out those that have less than the least, and
    /// gives texts the numbers of their order.
    fn complete(
        &self,
        layout: &Layout,
        rows: &mut Vec<u64>,
        texts: &Texts,
        interner: &Interner,
    ) -> Result<(), AnalyzeError> {
        if self.values.contains(&Value::Duration) {
            for words in rows.chunks_exact(layout.words) {
                self.check_duration(Row { layout, words }, interner)?;
            }
        }
        if !self.summary.least.is_empty() {
            let mut kept = Vec::new();
            for words in rows.chunks_exact(layout.words) {
                if self.has_enough(Row { layout, words }) {
                    kept.extend_from_slice(words);
                }
            }
            *rows = kept;
        }
        for &key in &texts.keys {
            let Some(field) = layout.fields[key] else {
                continue;
            };
            for words in rows.chunks_exact_mut(layout.words) {
                if field.null.is_some_and(|null| null.is_set(words)) {
                    continue;
                }
                let word = &mut words[field.place.word];
                let number = *word >> field.place.shift & u64::from(u32::MAX);
                let rank = texts.rank(number);
                *word ^= (number ^ rank) << field.place.shift;
            }
        }
        Ok(())
    }

    fn has_enough(&self, row: Row<'_>) -> bool {
        self.summary.least.iter().all(|&(value, least)| {
            let least = match value {
                Value::Duration => ordered(i64::try_from(least).unwrap_or(i64::MAX)),
                _ => least,
            };
            row.value(value).is_some_and(|number| number >= least)
        })
    }

    fn check_duration(&self, row: Row<'_>, interner: &Interner) -> Result<(), AnalyzeError> {
        let words = &row.layout.values;
        let (Some(first), Some(last), Some(_)) =
            (words.first, words.last, row.value(Value::Duration))
        else {
            return Ok(());
        };
        let (first, last) = (row.words[first] as i64, row.words[last] as i64);
        match last.checked_sub(first) {
            Some(_) => Ok(()),
            None => Err(AnalyzeError::Overflow {
                value: Value::Duration.name(),
                key: self.describe(row, interner),
            }),
        }
    }

    fn overflow(&self, class: Class, overflowed: &Overflowed, interner: &Interner) -> AnalyzeError {
        let layout = self.layouts.iter().find(|layout| layout.class == class);
        let Some(layout) = layout else {
            return AnalyzeError::Stopped;
        };
        let words = &overflowed.row;
        let value = match Some(overflowed.word) {
            word if word == layout.values.packets => Value::Packets,
            word if word == layout.values.bytes => Value::Bytes,
            _ => Value::Flows,
        };
        AnalyzeError::Overflow {
            value: value.name(),
            key: self.describe(Row { layout, words }, interner),
        }
    }

    fn describe(&self, row: Row<'_>, interner: &Interner) -> String {
        let shape = Shape::new(self.summary.by.clone(), Vec::new(), interner.texts());
        shape.describe(row)
    }
}

fn has_least(value: Value) -> bool {
    matches!(
        value,
        Value::Flows | Value::Packets | Value::Bytes | Value::Duration
    ) || value.is_distinct()
}

fn order(summary: &Summary) -> Result<Order, SummaryError> {
    let column = |sort: &Sort| {
        let key = summary.by.iter().position(|key| key.name() == sort.name);
        let value = || Value::parse(&sort.name).ok();
        let found = key.map(Column::Key).or_else(|| value().map(Column::Value));
        let column = found.ok_or_else(|| {
            let names = summary.by.iter().map(Key::name);
            let names = names.chain(Value::ALL.iter().map(|value| -> &str { value.name() }));
            SummaryError::Sort {
                name: sort.name.clone(),
                nearest: crate::nearest::nearest(&sort.name, names).map(str::to_owned),
            }
        })?;
        Ok((column, sort.is_descending))
    };
    let by = summary
        .sort
        .iter()
        .map(column)
        .collect::<Result<Vec<_>, _>>()?;
    let first = summary
        .values
        .first()
        .filter(|_| summary.top.is_some() && by.is_empty());
    Ok(Order {
        by: first.map_or(by, |value| vec![(Column::Value(*value), true)]),
    })
}

/// All texts of keys, in order; numbers came in the order in which they were met.
struct Texts {
    /// The keys that have texts.
    keys: Vec<usize>,
    ranks: Vec<u32>,
    sorted: Vec<Arc<[u8]>>,
}

impl Texts {
    fn new(plan: &Plan<'_>, interner: &Interner) -> Self {
        let is_text = |key: &Key| {
            let kinds = [ColumnType::Text, ColumnType::Octets, ColumnType::Exporter];
            kinds
                .iter()
                .any(|kind| key.source == key::Source::Column(*kind))
        };
        let keys = plan.summary.by.iter().enumerate();
        let keys = keys
            .filter(|(_, key)| is_text(key))
            .map(|(place, _)| place)
            .collect();
        let texts = interner.texts();
        let mut numbers: Vec<u32> = (0..).take(texts.len()).collect();
        numbers.sort_unstable_by(|one, other| texts[*one as usize].cmp(&texts[*other as usize]));
        let mut ranks = vec![0; texts.len()];
        for (rank, &number) in (0..).zip(&numbers) {
            ranks[number as usize] = rank;
        }
        let sorted = numbers
            .iter()
            .map(|&number| Arc::clone(&texts[number as usize]));
        Self {
            keys,
            ranks,
            sorted: sorted.collect(),
        }
    }

    fn rank(&self, number: u64) -> u64 {
        let rank = usize::try_from(number).ok().and_then(|n| self.ranks.get(n));
        rank.map_or(0, |rank| u64::from(*rank))
    }
}

#[cfg(test)]
mod tests;
