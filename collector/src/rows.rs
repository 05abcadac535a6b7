//! From the data records of a set to rows of a batch, by a plan.

use std::collections::VecDeque;

use ahash::AHashMap;
use forebay_store::{ColumnData, Family, FlowBatch, FlowSchema, columns};
use forebay_wire::FieldSpecifier;
use forebay_wire::reader::Reader;
use forebay_wire::record::variable_length;

use crate::counters::Scope;
use crate::domain::Domain;
use crate::kernel::{self, Fields};
use crate::options::interval_rate;
use crate::plan::{Choice, Place, Plan, RowPlan, Rows, Sampling, Shape};
use crate::time::{self, ExportTime};

/// A batch with configured columns of any length is handed over at so many bytes.
const BATCH_BYTES: usize = 16 << 20;

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

/// The batches that a shard fills, one per family.
#[derive(Debug)]
pub(crate) struct Batches {
    schema: FlowSchema,
    capacity: usize,
    open: [(i64, FlowBatch); Family::ALL.len()],
    generation: u64,
    pub(crate) ready: VecDeque<Output>,
    /// Where the fields of a record of varying length lie.
    spans: Vec<(usize, usize)>,
}

impl Batches {
    pub(crate) fn new(schema: FlowSchema, capacity: usize) -> Self {
        let mut generation = 0;
        let open = Family::ALL.map(|_| {
            generation += 1;
            (0, FlowBatch::new(&schema, 0, generation))
        });
        Self {
            schema,
            capacity,
            open,
            generation,
            ready: VecDeque::new(),
            spans: Vec::new(),
        }
    }

    /// Hands over the batches whose first row was received at `until_us` or before.
    pub(crate) fn hand_over(&mut self, until_us: i64) {
        for family in Family::ALL {
            let (first, batch) = &self.open[family as usize];
            if batch.rows() > 0 && *first <= until_us {
                self.hand_over_one(family);
            }
        }
    }

    fn hand_over_one(&mut self, family: Family) {
        self.generation += 1;
        // Room for a set more than the capacity, so that columns hardly ever grow.
        let room = self.capacity + self.capacity / 8;
        let fresh = FlowBatch::new(&self.schema, room, self.generation);
        let (first, batch) = &mut self.open[family as usize];
        let (first_received_us, batch) = (*first, std::mem::replace(batch, fresh));
        self.ready.push_back(Output::Batch(ReadyBatch {
            family,
            first_received_us,
            batch,
        }));
    }

    /// Decodes the data records of a set's body. Returns how many there were.
    pub(crate) fn decode(
        &mut self,
        plan: &Plan,
        body: &[u8],
        context: &Context,
        domain: &mut Domain,
    ) -> u64 {
        let records = match &plan.shape {
            &Shape::Fixed(length) => self.decode_fixed(plan, length, body, context, domain),
            Shape::Variable(fields) => self.decode_variable(plan, fields, body, context, domain),
        };
        domain.counters.records += records;
        records
    }

    fn decode_fixed(
        &mut self,
        plan: &Plan,
        length: usize,
        body: &[u8],
        context: &Context,
        domain: &mut Domain,
    ) -> u64 {
        // What is left is padding (RFC 7011 §3.3.1).
        let records = body.chunks_exact(length);
        let count = records.len();
        match &plan.rows {
            Rows::One(rows) => {
                let field =
                    |place: Place| Fields::strided(&records, count, place.offset, place.length);
                self.write(plan.template_id, rows, count, &field, context, domain);
            }
            Rows::ByAddress(choice) => {
                for record in records {
                    let record = record.chunks_exact(length);
                    let field =
                        |place: Place| Fields::strided(&record, 1, place.offset, place.length);
                    let rows = choose(choice, &field);
                    self.write(plan.template_id, rows, 1, &field, context, domain);
                }
            }
        }
        count as u64
    }

    fn decode_variable(
        &mut self,
        plan: &Plan,
        specifiers: &[FieldSpecifier],
        body: &[u8],
        context: &Context,
        domain: &mut Domain,
    ) -> u64 {
        // A record of zeros would be padding taken for one: exporters pad by more than a record.
        let content = body
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let mut reader = Reader::new(body);
        let mut spans = std::mem::take(&mut self.spans);
        let mut count = 0;
        while reader.offset() < content {
            if walk(&mut reader, specifiers, &mut spans).is_none() {
                // Less than the shortest record is padding, like zeros.
                if body.len() - reader.offset() >= minimum_length(specifiers) {
                    domain
                        .counters
                        .reasons
                        .add(Scope::Set, "record_too_long", 1);
                }
                break;
            }
            let field = |place: Place| {
                let span = spans.get(place.field).copied().unwrap_or_default();
                Fields::one(body.get(span.0..span.1).unwrap_or_default())
            };
            let rows = match &plan.rows {
                Rows::One(rows) => rows,
                Rows::ByAddress(choice) => choose(choice, &field),
            };
            self.write(plan.template_id, rows, 1, &field, context, domain);
            count += 1;
        }
        self.spans = spans;
        count
    }

    /// Writes `count` records to rows of their family's batch.
    fn write<'a>(
        &mut self,
        template_id: Option<u16>,
        rows: &RowPlan,
        count: usize,
        field: &impl Fn(Place) -> Fields<'a>,
        context: &Context,
        domain: &mut Domain,
    ) {
        if count == 0 {
            return;
        }
        let (first, batch) = &mut self.open[rows.family as usize];
        if batch.rows() == 0 {
            *first = context.received_us;
        }
        let key = domain.key(rows.family, batch);
        let row = batch.rows();
        let [
            ColumnData::Timestamp(received),
            ColumnData::Exporter(exporter),
            ColumnData::U16(port),
            ColumnData::U32(observation_domain),
            ColumnData::U8(version),
        ] = batch.columns_mut([
            columns::RECEIVED,
            columns::EXPORTER,
            columns::EXPORTER_PORT,
            columns::OBSERVATION_DOMAIN,
            columns::EXPORT_VERSION,
        ])
        else {
            unreachable!("the schema gives these columns these types");
        };
        received.fill(row, count, context.received_us);
        exporter.fill(row, count, key);
        port.fill(row, count, context.port);
        observation_domain.fill(row, count, domain.id);
        version.fill(row, count, domain.version);
        if let (Some(id), ColumnData::U16(column)) =
            (template_id, batch.column(columns::TEMPLATE_ID))
        {
            column.fill(row, count, id);
        }
        time::write(batch, count, &rows.times, context.export, field);
        let mut misfits = 0;
        for write in &rows.writes {
            misfits += kernel::write(batch, write, &field(write.place));
        }
        domain
            .counters
            .reasons
            .add(Scope::Value, "value_out_of_range", misfits);
        if let Some(icmp) = &rows.icmp_in_port {
            write_icmp_in_port(batch, &field(icmp.protocol), &field(icmp.port));
        }
        write_sampling_rate(
            batch,
            count,
            rows.sampling,
            field,
            context.rate.or(domain.rate),
            &domain.samplers,
        );
        batch.advance(count);
        if batch.rows() >= self.capacity || rows.octets && batch.bytes() >= BATCH_BYTES {
            self.hand_over_one(rows.family);
        }
    }
}

/// Takes one record. `None`, and the reader stays, where the record goes beyond the set.
fn walk(
    reader: &mut Reader<'_>,
    specifiers: &[FieldSpecifier],
    spans: &mut Vec<(usize, usize)>,
) -> Option<()> {
    let mut next = *reader;
    spans.clear();
    for specifier in specifiers {
        let content = if specifier.is_variable() {
            variable_length(&mut next).ok()?
        } else {
            next.take(usize::from(specifier.length)).ok()?
        };
        spans.push((next.offset() - content.len(), next.offset()));
    }
    *reader = next;
    Some(())
}

fn minimum_length(specifiers: &[FieldSpecifier]) -> usize {
    let length = |field: &FieldSpecifier| {
        if field.is_variable() {
            1
        } else {
            field.length.into()
        }
    };
    specifiers.iter().map(length).sum()
}

/// The rows of a record that has both families' addresses: the family that is not all zero; if both
/// are set, what ipVersion says.
fn choose<'p, 'a>(choice: &'p Choice, field: &impl Fn(Place) -> Fields<'a>) -> &'p RowPlan {
    let set = |places: &[Place]| places.iter().any(|&place| !field(place).is_zero());
    let says_ipv6 = || {
        let version = choice
            .ip_version
            .and_then(|place| field(place).unsigned().next().flatten());
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

fn write_sampling_rate<'a>(
    batch: &mut FlowBatch,
    count: usize,
    sampling: Sampling,
    field: &impl Fn(Place) -> Fields<'a>,
    default: Option<u32>,
    samplers: &AHashMap<(u16, u64), u32>,
) {
    let row = batch.rows();
    let ColumnData::U32(column) = batch.column(columns::SAMPLING_RATE) else {
        return;
    };
    let rate = |value: u64| u32::try_from(value).ok().filter(|&rate| rate > 0);
    match sampling {
        Sampling::Domain => {
            if let Some(rate) = default {
                column.fill(row, count, rate);
            }
        }
        Sampling::Rate(place) => {
            // 0 is no rate: the exporter may tell it elsewhere.
            let rates = field(place).unsigned();
            column.extend_optional(row, rates.map(|value| value.and_then(rate).or(default)));
        }
        Sampling::Interval { taken, space } => {
            let both = field(taken).unsigned().zip(field(space).unsigned());
            column.extend_optional(
                row,
                both.map(|(taken, space)| rate(interval_rate(taken?, space?)?)),
            );
        }
        Sampling::Sampler { element, place } => {
            // Most sets name one sampler only.
            let mut last = (None, default);
            let values = field(place).unsigned().map(|sampler| {
                if last.0 != sampler {
                    let known = sampler.and_then(|sampler| samplers.get(&(element, sampler)));
                    last = (sampler, known.copied().or(default));
                }
                last.1
            });
            column.extend_optional(row, values);
        }
    }
}
