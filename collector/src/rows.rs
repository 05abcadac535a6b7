//! From the data records of a set to rows of a batch, by a plan.
//!
//! Records first gather in the [`Stage`] of their layout. When it is full, they become rows of
//! the open batch for its columns; so no column of the batch is one that half of the rows leave
//! empty. Where records come so slowly that their stage does not fill, they become rows of a batch
//! for all that is of their family, in the order of arrival.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use forebay_store::{ColumnData, ColumnSet, Family, FlowBatch, FlowSchema, columns};
use forebay_wire::reader::Reader;

use crate::counters::Scope;
use crate::domain::Domain;
use crate::kernel::{self, Fields};
use crate::options::interval_rate;
use crate::plan::{Choice, Place, Plan, RowPlan, Rows, Sampling, Shape};
use crate::stage::{Exporters, Gathered, Run, Stage, gather};
use crate::time::{self, ExportTime};

/// A batch with configured columns of any length is handed over at so many bytes.
const BATCH_BYTES: usize = 16 << 20;
/// Layouts that gather side by side. More than that take turns.
const STAGES: usize = 64;
/// Open batches for the columns of some layout. Layouts beyond that share a batch per family.
const OPEN_BATCHES: usize = 32;
/// So many exporters' domains have places before all are forgotten.
const EXPORTERS: usize = if cfg!(test) { 4 } else { 1 << 14 };
/// All stages are emptied when the bytes of fields of varying length are so many.
const BESIDE_BYTES: usize = 1 << 20;

/// What all records of a set have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    pub(crate) received_us: i64,
    pub(crate) port: u16,
    pub(crate) export: ExportTime,
    /// The sampling rate of the message's header (v5).
    pub(crate) rate: Option<u32>,
}

/// A batch that is full, old or of a window that is over.
#[derive(Debug)]
pub struct ReadyBatch {
    /// The family of its flows.
    pub family: Family,
    /// When its first row was received, in microseconds since 1970.
    pub first_received_us: i64,
    /// The columns that batches of the family and window have, as far as is known: what a file for
    /// all of them needs.
    pub columns: ColumnSet,
    /// The flows.
    pub batch: FlowBatch,
}

/// What a decoder hands over, in order.
#[derive(Debug)]
pub enum Output {
    /// Flows to write.
    Batch(ReadyBatch),
    /// The rotation window of all batches before this is over.
    Rotate,
}

/// A batch that fills.
#[derive(Debug)]
struct Open {
    family: Family,
    /// Whose layouts' rows it is for; `None` for all of them.
    columns: Option<ColumnSet>,
    first_received_us: i64,
    batch: FlowBatch,
    /// The keys of exporters in its dictionary, by their places among those of the stages.
    exporters: Vec<Option<i32>>,
}

/// What a shard's records become.
#[derive(Debug)]
pub(crate) struct Batches {
    schema: FlowSchema,
    capacity: usize,
    stages: Vec<Option<Stage>>,
    exporters: Exporters,
    /// Runs that have come.
    arrivals: u64,
    open: Vec<Option<Open>>,
    pub(crate) ready: VecDeque<Output>,
    /// The columns of this window's batches, by family.
    columns: [ColumnSet; Family::ALL.len()],
    /// The records of a set while their fields are picked.
    picked: Vec<u8>,
    /// The bytes of fields of varying length, of all stages.
    beside: Vec<u8>,
    /// Values that did not fit their column, by domain.
    pub(crate) misfits: Vec<((usize, u64), u64)>,
}

impl Batches {
    pub(crate) fn new(schema: FlowSchema, capacity: usize) -> Self {
        Self {
            schema,
            capacity,
            stages: (0..STAGES).map(|_| None).collect(),
            exporters: Exporters::default(),
            arrivals: 0,
            open: Vec::new(),
            ready: VecDeque::new(),
            columns: Default::default(),
            picked: Vec::new(),
            beside: Vec::new(),
            misfits: Vec::new(),
        }
    }

    /// Hands over what was received at `until_us` or before, and what else is in its batches.
    pub(crate) fn hand_over(&mut self, until_us: i64) {
        let mut oldest = self
            .stages
            .iter()
            .flatten()
            .flat_map(|stage| stage.runs.first());
        if oldest.any(|run| run.received_us <= until_us) {
            self.empty_stages();
        }
        for place in 0..self.open.len() {
            if let Some(Some(open)) = self.open.get(place)
                && open.first_received_us <= until_us
            {
                self.hand_over_one(place);
            }
        }
    }

    /// Ends the window: what comes now belongs to the next.
    pub(crate) fn rotate(&mut self) {
        self.hand_over(i64::MAX);
        self.forget_exporters();
        self.columns = Default::default();
        self.ready.push_back(Output::Rotate);
    }

    fn hand_over_one(&mut self, place: usize) {
        let Some(open) = self.open.get_mut(place).and_then(Option::take) else {
            return;
        };
        let columns = &mut self.columns[open.family as usize];
        *columns = columns.union(open.batch.present());
        for other in self.open.iter().flatten() {
            if other.family == open.family {
                *columns = columns.union(other.columns.unwrap_or_default());
            }
        }
        self.ready.push_back(Output::Batch(ReadyBatch {
            family: open.family,
            first_received_us: open.first_received_us,
            columns: *columns,
            batch: open.batch,
        }));
    }

    /// Takes the data records of a set's body. Returns how many there were.
    pub(crate) fn decode(
        &mut self,
        plan: &Plan,
        template_id: Option<u16>,
        body: &[u8],
        context: &Context,
        domain: &mut Domain,
    ) -> u64 {
        // Before anything of the set is gathered: what is beside the stages is emptied too.
        if self.exporters.names.len() >= EXPORTERS {
            self.forget_exporters();
        }
        let records = match &plan.shape {
            &Shape::Fixed(length) => {
                // What is left is padding (RFC 7011 §3.3.1).
                let whole = body.len() - body.len() % length;
                let records = body.get(..whole).unwrap_or_default();
                self.take(plan, template_id, records, length, context, domain)
            }
            Shape::Variable {
                steps,
                gathered,
                shortest,
            } => {
                let mut picked = std::mem::take(&mut self.picked);
                picked.clear();
                // A record of zeros would be padding taken for one: exporters pad by more than a
                // record.
                let content = body
                    .iter()
                    .rposition(|&byte| byte != 0)
                    .map_or(0, |last| last + 1);
                let mut reader = Reader::new(body);
                let mut count = 0;
                while reader.offset() < content {
                    if gather(&mut reader, steps, &mut picked, &mut self.beside).is_none() {
                        // Less than the shortest record is padding, like zeros.
                        if body.len() - reader.offset() >= *shortest {
                            let reasons = &mut domain.counters.reasons;
                            reasons.add(Scope::Set, "record_too_long", 1);
                        }
                        break;
                    }
                    count += 1;
                    // Where nothing of a record is wanted there must be something to count.
                    picked.resize(count * (*gathered).max(1), 0);
                }
                let length = (*gathered).max(1);
                let count = self.take(plan, template_id, &picked, length, context, domain);
                self.picked = picked;
                if self.beside.len() >= BESIDE_BYTES {
                    self.empty_stages();
                }
                count
            }
        };
        domain.counters.records += records;
        records
    }

    /// Takes records of one length.
    fn take(
        &mut self,
        plan: &Plan,
        template_id: Option<u16>,
        records: &[u8],
        length: usize,
        context: &Context,
        domain: &Domain,
    ) -> u64 {
        match &plan.rows {
            Rows::One(rows) => self.gather(rows, template_id, records, length, context, domain),
            Rows::ByAddress(choice) => {
                // Records of one family come in a row, if they are mixed at all.
                let mut rest = records;
                while let Some(first) = rest.get(..length) {
                    let rows = choose(choice, first);
                    let same = |record: &&[u8]| Arc::ptr_eq(choose(choice, record), rows);
                    let count = rest.chunks_exact(length).take_while(same).count();
                    let (these, others) = rest.split_at(count * length);
                    self.gather(rows, template_id, these, length, context, domain);
                    rest = others;
                }
            }
        }
        (records.len() / length) as u64
    }

    /// Puts records into the stage of their layout.
    fn gather(
        &mut self,
        plan: &Arc<RowPlan>,
        template_id: Option<u16>,
        records: &[u8],
        length: usize,
        context: &Context,
        domain: &Domain,
    ) {
        if records.is_empty() {
            return;
        }
        let place = plan.number % STAGES;
        let other = |stage: &Stage| !Arc::ptr_eq(&stage.plan, plan);
        if self.stages[place].as_ref().is_some_and(other) {
            self.flush(place);
        }
        let stage = self.stages[place].get_or_insert_with(|| Stage::new(plan, length));
        if stage.is_empty() {
            stage.begin(plan, length);
        }
        self.arrivals += 1;
        let default = context.rate.or(domain.rate);
        let run = Run {
            count: records.len() / length,
            arrival: self.arrivals,
            received_us: context.received_us,
            export: context.export,
            exporter: self.exporters.place(domain),
            port: context.port,
            version: domain.version,
            template_id,
            observation_domain: domain.id,
            rate: default,
            first_rate: stage.rates.len(),
            domain: (domain.place, domain.serial),
        };
        stage.add(records, run);
        let field = |place| Fields::new(records.chunks_exact(length), place, &self.beside);
        let (rates, samplers) = (&mut stage.rates, &domain.samplers);
        learn_rates(rates, plan.sampling, field, default, samplers);
        if stage.is_full(self.capacity) {
            self.flush(place);
        }
    }

    /// The place of the open batch for rows of `family`: for those with `columns`, or any.
    fn open_batch(
        &mut self,
        family: Family,
        mut columns: Option<ColumnSet>,
        received_us: i64,
    ) -> usize {
        let find = |open: &[Option<Open>], columns| {
            let same = |open: &Option<Open>| {
                let open = open.as_ref();
                open.is_some_and(|open| open.family == family && open.columns == columns)
            };
            open.iter().position(same)
        };
        if let Some(place) = find(&self.open, columns) {
            return place;
        }
        if self.open.iter().flatten().count() >= OPEN_BATCHES {
            columns = None;
            if let Some(place) = find(&self.open, columns) {
                return place;
            }
        }
        // Room for a stage more than the capacity, so that columns hardly ever grow.
        let room = self.capacity + self.capacity / 8;
        let opened = Some(Open {
            family,
            columns,
            first_received_us: received_us,
            batch: FlowBatch::new(&self.schema, room),
            exporters: Vec::new(),
        });
        match self.open.iter().position(Option::is_none) {
            Some(place) => {
                self.open[place] = opened;
                place
            }
            None => {
                self.open.push(opened);
                self.open.len() - 1
            }
        }
    }

    /// Makes rows of what has gathered in a stage.
    fn flush(&mut self, place: usize) {
        let Some(stage) = self.stages[place].take() else {
            return;
        };
        let columns = Some(stage.plan.columns);
        let beside = std::mem::take(&mut self.beside);
        self.write(stage.all(&beside), columns);
        self.beside = beside;
        self.stages[place].insert(stage).clear();
    }

    /// Makes rows of all that has gathered, in the order of arrival.
    fn empty_stages(&mut self) {
        let mut stages = std::mem::take(&mut self.stages);
        let beside = std::mem::take(&mut self.beside);
        let mut order = Vec::new();
        for stage in stages.iter().flatten() {
            let mut first = 0;
            for (place, run) in stage.runs.iter().enumerate() {
                order.push((run.arrival, stage, place, first));
                first += run.count;
            }
        }
        order.sort_unstable_by_key(|&(arrival, ..)| arrival);
        for (_, stage, run, first) in order {
            self.write(stage.one(run, first, &beside), None);
        }
        stages.iter_mut().flatten().for_each(Stage::clear);
        (self.stages, self.beside) = (stages, beside);
        self.beside.clear();
    }

    /// Forgets the exporters' places, for others to take.
    fn forget_exporters(&mut self) {
        self.empty_stages();
        self.exporters.clear();
        for open in self.open.iter_mut().flatten() {
            open.exporters.clear();
        }
    }

    /// Writes records to the open batch for rows with `columns`, and hands it over if it is full
    /// then.
    fn write(&mut self, gathered: Gathered<'_>, columns: Option<ColumnSet>) {
        let [run, ..] = gathered.runs else { return };
        let place = self.open_batch(gathered.plan.family, columns, run.received_us);
        let Some(Some(open)) = self.open.get_mut(place) else {
            return;
        };
        let names = &self.exporters.names;
        open.exporters.resize(names.len(), None);
        let Open {
            batch, exporters, ..
        } = open;
        for run in gathered.runs {
            if let (Some(key @ None), Some(name)) =
                (exporters.get_mut(run.exporter), names.get(run.exporter))
            {
                *key = Some(batch.add_exporter(name));
            }
        }
        write(batch, exporters, &gathered, &mut self.misfits);
        let full = batch.rows() >= self.capacity;
        if full || gathered.plan.octets && batch.bytes() >= BATCH_BYTES {
            self.hand_over_one(place);
        }
    }
}

/// Writes records to the next rows of a batch.
fn write(
    batch: &mut FlowBatch,
    exporters: &[Option<i32>],
    gathered: &Gathered<'_>,
    misfits: &mut Vec<((usize, u64), u64)>,
) {
    let (plan, runs) = (gathered.plan, gathered.runs);
    let (row, count) = (batch.rows(), gathered.count());
    write_common(batch, exporters, count, runs);
    time::write(batch, gathered);
    for write in &plan.writes {
        if kernel::write(batch, write, &gathered.field(write.place)) > 0 {
            // A value that did not fit is null now.
            let mut row = row;
            for run in runs {
                let rows = row..row + run.count;
                let nulls = batch.column(write.column).nulls_among(rows);
                if nulls > 0 {
                    misfits.push((run.domain, nulls as u64));
                }
                row += run.count;
            }
        }
    }
    if let Some(icmp) = &plan.icmp_in_port {
        let (protocol, port) = (gathered.field(icmp.protocol), gathered.field(icmp.port));
        write_icmp_in_port(batch, &protocol, &port);
    }
    if let ColumnData::U32(column) = batch.column(columns::SAMPLING_RATE) {
        if plan.sampling == Sampling::Domain {
            column.extend_runs(row, runs.iter().map(|run| (run.count, run.rate)));
        } else {
            column.extend_runs(row, gathered.rates.iter().copied());
        }
    }
    batch.advance(count);
}

/// Writes the columns that are the same in all records of a run.
fn write_common(batch: &mut FlowBatch, exporters: &[Option<i32>], count: usize, runs: &[Run]) {
    let row = batch.rows();
    let key = |run: &Run| exporters.get(run.exporter).copied().flatten();
    macro_rules! fill {
        ($($column:ident: $type:ident = $value:expr;)*) => {$(
            let ColumnData::$type(column) = batch.column(columns::$column) else {
                unreachable!("the schema gives the column this type");
            };
            column.fill_runs(row, count, runs.iter().map($value));
        )*};
    }
    fill! {
        RECEIVED: Timestamp = |run| (run.count, run.received_us);
        EXPORTER: Exporter = |run| (run.count, key(run).unwrap_or_default());
        EXPORTER_PORT: U16 = |run| (run.count, run.port);
        OBSERVATION_DOMAIN: U32 = |run| (run.count, run.observation_domain);
        EXPORT_VERSION: U8 = |run| (run.count, run.version);
    }
    if let ColumnData::U16(column) = batch.column(columns::TEMPLATE_ID) {
        column.extend_runs(row, runs.iter().map(|run| (run.count, run.template_id)));
    }
}

/// The rows of a record that has both families' addresses: the family that is not all zero; if both
/// are set, what ipVersion says.
fn choose<'p>(choice: &'p Choice, record: &[u8]) -> &'p Arc<RowPlan> {
    let set = |places: &[Place]| places.iter().any(|&place| !kernel::is_zero(record, place));
    let says_ipv6 = || {
        let version = choice
            .ip_version
            .and_then(|place| kernel::integer(record, place));
        version == Some(6)
    };
    let plans = &choice.plans;
    match (set(&choice.ipv4), set(&choice.ipv6)) {
        (true, false) => &plans.ipv4,
        (false, true) => &plans.ipv6,
        (true, true) if says_ipv6() => &plans.ipv6_and_4,
        (true, true) => &plans.ipv4_and_6,
        (false, false) if says_ipv6() => &plans.ipv6,
        (false, false) => &plans.ipv4,
    }
}

/// v5 has no field for ICMP: type and code stand in the destination port.
fn write_icmp_in_port(batch: &mut FlowBatch, protocol: &Fields<'_>, port: &Fields<'_>) {
    const ICMP: u8 = 1;
    let first_row = batch.rows();
    let [ColumnData::U8(types), ColumnData::U8(codes)] =
        batch.columns_mut([columns::ICMP_TYPE, columns::ICMP_CODE])
    else {
        unreachable!("the schema gives these columns these types");
    };
    let ports = protocol.u8s().zip(port.u16s()).zip(first_row..);
    for ((_, port), row) in ports.filter(|((protocol, _), _)| *protocol == ICMP) {
        let [icmp_type, icmp_code] = port.to_be_bytes();
        types.fill(row, 1, icmp_type);
        codes.fill(row, 1, icmp_code);
    }
}

/// What the records say of their sampling rates: samplers are looked up when the records come,
/// since options data may describe them anew at any time.
fn learn_rates<'a>(
    rates: &mut Vec<(usize, Option<u32>)>,
    sampling: Sampling,
    field: impl Fn(Place) -> Fields<'a>,
    default: Option<u32>,
    samplers: &AHashMap<(u16, u64), u32>,
) {
    let rate = |value: u64| u32::try_from(value).ok().filter(|&rate| rate > 0);
    // Most sets name one sampler only. Each set has its own part of the rates.
    let own = rates.len();
    let mut learn = |rate| match rates.get_mut(own..).and_then(<[_]>::last_mut) {
        Some((count, last)) if *last == rate => *count += 1,
        _ => rates.push((1, rate)),
    };
    match sampling {
        Sampling::Domain => {}
        Sampling::Rate(place) => {
            // 0 is no rate: the exporter may tell it elsewhere.
            let told = field(place).unsigned();
            told.for_each(|value| learn(value.and_then(rate).or(default)));
        }
        Sampling::Interval { taken, space } => {
            let both = field(taken).unsigned().zip(field(space).unsigned());
            let told = |(taken, space)| rate(interval_rate(taken?, space?)?);
            both.for_each(|both| learn(told(both)));
        }
        Sampling::Sampler { element, place } => {
            let mut last = (None, default);
            field(place).unsigned().for_each(|sampler| {
                if last.0 != sampler {
                    let known = sampler.and_then(|sampler| samplers.get(&(element, sampler)));
                    last = (sampler, known.copied().or(default));
                }
                learn(last.1);
            });
        }
    }
}
