//! Plans: templates compiled to column writes.
//!
//! A template is compiled once, when it arrives, into the places of the fields
//! that columns want. Per data set only the plan runs, a column at a time (see
//! `kernel`). This is the one place where the wire's elements meet the store's
//! columns.

use std::sync::Arc;

use forebay_store::{ColumnId, ColumnSet, Family, columns};
use forebay_wire::fixed::FixedField;
use forebay_wire::template::VARIABLE_LENGTH;
use forebay_wire::{ElementId, Template};

use crate::config::ExtraColumn;
use crate::mapping::{self, Convert, Mapping};

/// Where a field lies in its records, as they are gathered (see `stage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Bytes before it.
    pub(crate) offset: usize,
    /// Its bytes, or [`VARIABLE`](Self::VARIABLE).
    pub(crate) length: usize,
}

impl Place {
    /// The length of a field whose bytes lie elsewhere: in its place is the [`Span`] of them.
    pub(crate) const VARIABLE: usize = VARIABLE_LENGTH as usize;
}

/// Where the bytes of a field of varying length lie: start and length, in the bytes that are
/// gathered beside the records.
pub(crate) type Span = [[u8; 4]; 2];

/// One column write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) column: ColumnId,
    pub(crate) place: Place,
    pub(crate) convert: Convert,
    /// Fill only rows that an earlier write left zero.
    pub(crate) where_zero: bool,
}

/// How a field tells a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeKind {
    /// Milliseconds since the exporter booted (21, 22).
    Uptime,
    /// Seconds since 1970 (150, 151, 322).
    Seconds,
    /// Milliseconds since 1970 (152, 153, 323).
    Milliseconds,
    /// NTP's 64 bits (154–157, 324, 325): RFC 7011 §6.1.9 and §6.1.10 encode
    /// micro- and nanoseconds alike.
    Ntp,
    /// Microseconds before the export time (158, 159).
    DeltaMicroseconds,
}

/// A field that tells a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeField {
    pub(crate) kind: TimeKind,
    pub(crate) place: Place,
}

/// Where a row's times come from: the first candidate whose base is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    pub(crate) first: Vec<TimeField>,
    pub(crate) last: Vec<TimeField>,
    /// systemInitTimeMilliseconds in the record.
    pub(crate) system_init: Option<Place>,
}

impl Times {
    /// Where both are told in 4 bytes of uptime, counted from the boot that the message tells.
    pub(crate) fn uptimes(&self) -> Option<[Place; 2]> {
        let uptime = |fields: &[TimeField]| {
            let field = fields.first()?;
            let told = field.kind == TimeKind::Uptime && field.place.length == 4;
            told.then_some(field.place)
        };
        let none_in_record = self.system_init.is_none();
        Some([uptime(&self.first)?, uptime(&self.last)?]).filter(|_| none_in_record)
    }

    /// Whether they are the same whatever message the record comes in.
    pub(crate) fn are_absolute(&self) -> bool {
        let absolute = |field: &TimeField| {
            !matches!(field.kind, TimeKind::Uptime | TimeKind::DeltaMicroseconds)
        };
        self.first.first().is_some_and(absolute) && self.last.first().is_some_and(absolute)
    }
}

/// Where a row's sampling rate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// The record tells the rate.
    Rate(Place),
    /// The record tells how many packets are taken and how many are passed over.
    Interval { taken: Place, space: Place },
    /// The record names a sampler (48) or a selector (302), which options data describe.
    Sampler { element: u16, place: Place },
    /// Nothing in the record: what the message or the domain's options data say.
    Domain,
}

/// The ICMP type and code of v5, which puts them into the destination port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IcmpInPort {
    pub(crate) protocol: Place,
    pub(crate) port: Place,
}

/// How many plans versions with one layout have: v1, v5 and v7. They are numbered first.
pub(crate) const FIXED_PLANS: usize = 3;

/// What to write for the rows of one family.
#[derive(Debug)]
pub(crate) struct RowPlan {
    pub(crate) family: Family,
    pub(crate) writes: Vec<Write>,
    pub(crate) times: Times,
    pub(crate) sampling: Sampling,
    pub(crate) icmp_in_port: Option<IcmpInPort>,
    /// Whether a column of values of any length is among the writes.
    pub(crate) octets: bool,
    /// The columns that its rows may have a value in, but for those that all rows have.
    pub(crate) columns: ColumnSet,
    /// Tells it from the others of its shard.
    pub(crate) number: usize,
}

/// How to tell the family of each record where a template has both families' addresses.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) ipv4: Vec<Place>,
    pub(crate) ipv6: Vec<Place>,
    pub(crate) ip_version: Option<Place>,
    pub(crate) plans: ChoicePlans,
}

/// The plans that a [`Choice`] is between.
#[derive(Debug)]
pub(crate) struct ChoicePlans {
    pub(crate) ipv4: Arc<RowPlan>,
    pub(crate) ipv6: Arc<RowPlan>,
    /// Both families' addresses are set; IPv4 it is.
    pub(crate) ipv4_and_6: Arc<RowPlan>,
    /// Both families' addresses are set; IPv6 it is.
    pub(crate) ipv6_and_4: Arc<RowPlan>,
}

/// Which rows a record becomes.
#[derive(Debug)]
pub(crate) enum Rows {
    /// All records are of one family.
    One(Arc<RowPlan>),
    /// Each record tells.
    ByAddress(Choice),
}

impl Rows {
    /// How many row plans there are.
    pub(crate) fn plans(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::ByAddress(_) => 4,
        }
    }
}

/// How to take the next bytes of a record of varying length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Fields of so many bytes in all.
    Take(usize),
    /// A field of varying length that a column wants.
    Keep,
    /// A field of varying length that nobody wants.
    Skip,
}

/// The length of the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All have this one.
    Fixed(usize),
    /// Records tell the length of some fields.
    Variable {
        /// How to take a record.
        steps: Vec<Step>,
        /// The bytes of a gathered record.
        gathered: usize,
        /// The bytes of the shortest record.
        shortest: usize,
    },
}

/// A compiled template. Those of equal fields share one, whatever their exporters and ids.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shape: Shape,
    pub(crate) rows: Rows,
}

impl Plan {
    /// Compiles a template of data records. Its row plans are numbered from `number` on.
    pub(crate) fn of_template(template: &Template, extra: &[ExtraColumn], number: usize) -> Self {
        let wanted = |element| extra.iter().any(|column| column.element == element);
        let (mut offset, mut shortest) = (0, 0);
        let (mut fields, mut steps) = (Vec::new(), Vec::new());
        for specifier in &template.fields {
            let length = usize::from(specifier.length);
            fields.push((specifier.element, Place { offset, length }));
            if !specifier.is_variable() {
                offset += length;
                shortest += length;
                match steps.last_mut() {
                    Some(Step::Take(bytes)) => *bytes += length,
                    _ => steps.push(Step::Take(length)),
                }
            } else {
                shortest += 1;
                if wanted(specifier.element) {
                    offset += size_of::<Span>();
                    steps.push(Step::Keep);
                } else {
                    steps.push(Step::Skip);
                }
            }
        }
        let shape = match template.record_length() {
            Some(length) => Shape::Fixed(length),
            None => Shape::Variable {
                steps,
                gathered: offset,
                shortest,
            },
        };
        Self {
            shape,
            rows: Layout {
                fields,
                of_template: true,
            }
            .rows(extra, number),
        }
    }

    /// Compiles the fixed layout of v1, v5 or v7.
    pub(crate) fn of_fixed(
        fields: &[FixedField],
        record_length: usize,
        extra: &[ExtraColumn],
        number: usize,
    ) -> Self {
        let places = fields.iter().map(|fixed| {
            let (offset, length) = (usize::from(fixed.offset), usize::from(fixed.length));
            (fixed.element, Place { offset, length })
        });
        let layout = Layout {
            fields: places.collect(),
            of_template: false,
        };
        let mut plan = layout.row_plan(Family::Ipv4, IPV4, extra, number);
        plan.icmp_in_port = layout
            .find(ElementId::iana(4))
            .zip(layout.find(ElementId::iana(11)))
            .map(|(protocol, port)| IcmpInPort { protocol, port });
        for column in [columns::ICMP_TYPE, columns::ICMP_CODE] {
            plan.columns.insert(column);
        }
        Self {
            shape: Shape::Fixed(record_length),
            rows: Rows::One(Arc::new(plan)),
        }
    }
}

/// The columns of one family's addresses and next hops.
const IPV4: &[&[Mapping]] = &[mapping::IPV4, mapping::IPV4_NEXT_HOPS];
const IPV6: &[&[Mapping]] = &[mapping::IPV6, mapping::IPV6_NEXT_HOPS];
/// Those of both.
const BOTH: &[&[Mapping]] = &[
    mapping::IPV4,
    mapping::IPV4_NEXT_HOPS,
    mapping::IPV6,
    mapping::IPV6_NEXT_HOPS,
];

/// The fields of a record and their places.
struct Layout {
    fields: Vec<(ElementId, Place)>,
    /// Not of a version whose records have one layout only.
    of_template: bool,
}

impl Layout {
    /// Where an element lies: its first occurrence, since inner headers come after outer ones.
    /// A field of no length tells nothing.
    fn find(&self, element: ElementId) -> Option<Place> {
        let found = self
            .fields
            .iter()
            .find(|(field, place)| *field == element && place.length > 0);
        found.map(|&(_, place)| place)
    }

    fn iana(&self, number: u16) -> Option<Place> {
        self.find(ElementId::iana(number))
    }

    /// The places of those elements that are addresses of `length` bytes.
    fn addresses(&self, numbers: [u16; 2], length: usize) -> Vec<Place> {
        let found = numbers.into_iter().filter_map(|number| self.iana(number));
        found.filter(|place| place.length == length).collect()
    }

    fn rows(&self, extra: &[ExtraColumn], mut number: usize) -> Rows {
        let (ipv4, ipv6) = (self.addresses([8, 12], 4), self.addresses([27, 28], 16));
        let mut plan = |family, own: &[&[Mapping]]| {
            number += 1;
            Arc::new(self.row_plan(family, own, extra, number - 1))
        };
        let mut one = |family, own: &[&[Mapping]]| Rows::One(plan(family, own));
        match (ipv4.is_empty(), ipv6.is_empty()) {
            (true, true) => one(Family::Other, BOTH),
            (false, true) => one(
                Family::Ipv4,
                &[
                    mapping::IPV4,
                    mapping::IPV4_NEXT_HOPS,
                    mapping::IPV6_NEXT_HOPS,
                ],
            ),
            (true, false) => one(
                Family::Ipv6,
                &[
                    mapping::IPV6,
                    mapping::IPV4_NEXT_HOPS,
                    mapping::IPV6_NEXT_HOPS,
                ],
            ),
            (false, false) => Rows::ByAddress(Choice {
                ipv4,
                ipv6,
                ip_version: self.iana(60),
                // What is of the other family stands for nothing here, unless its addresses are set.
                plans: ChoicePlans {
                    ipv4: plan(Family::Ipv4, IPV4),
                    ipv6: plan(Family::Ipv6, IPV6),
                    ipv4_and_6: plan(Family::Ipv4, BOTH),
                    ipv6_and_4: plan(Family::Ipv6, BOTH),
                },
            }),
        }
    }

    fn row_plan(
        &self,
        family: Family,
        own: &[&[Mapping]],
        extra: &[ExtraColumn],
        number: usize,
    ) -> RowPlan {
        let mut writes: Vec<Write> = Vec::new();
        let mappings = [mapping::COMMON, mapping::of_family(family)]
            .into_iter()
            .chain(own.iter().copied());
        for mapping in mappings.flatten() {
            if writes.iter().any(|write| write.column == mapping.column) {
                continue;
            }
            let places = mapping
                .elements
                .iter()
                .filter_map(|&element| self.find(element));
            let fitting = places.filter(|&place| fits(mapping.convert, mapping.column, place));
            let wanted = if mapping.merge { usize::MAX } else { 1 };
            for (place, where_zero) in fitting.take(wanted).zip([false, true, true]) {
                let (column, convert) = (mapping.column, mapping.convert);
                writes.push(Write {
                    column,
                    place,
                    convert,
                    where_zero,
                });
            }
        }
        for column in extra {
            if let Some(place) = self.find(column.element) {
                let (column, convert) = (column.id, column.convert);
                writes.push(Write {
                    column,
                    place,
                    convert,
                    where_zero: false,
                });
            }
        }
        let any_length = |write: &Write| matches!(write.convert, Convert::Octets | Convert::Text);
        let mut set = ColumnSet::default();
        writes.iter().for_each(|write| set.insert(write.column));
        if self.of_template {
            set.insert(columns::TEMPLATE_ID);
        }
        let sampling = self.sampling();
        if sampling != Sampling::Domain {
            set.insert(columns::SAMPLING_RATE);
        }
        RowPlan {
            family,
            columns: set,
            number,
            octets: writes.iter().any(any_length),
            writes,
            times: self.times(),
            sampling,
            icmp_in_port: None,
        }
    }

    fn times(&self) -> Times {
        use TimeKind::{DeltaMicroseconds, Milliseconds, Ntp, Seconds, Uptime};
        let pick = |numbers: &[(u16, TimeKind)]| -> Vec<TimeField> {
            let fields = numbers.iter().filter_map(|&(number, kind)| {
                let place = self.iana(number)?;
                let whole = match kind {
                    Ntp => place.length == 8,
                    Milliseconds => place.length <= 8,
                    Uptime | Seconds | DeltaMicroseconds => place.length <= 4,
                };
                whole.then_some(TimeField { kind, place })
            });
            fields.collect()
        };
        let start = pick(&[
            (154, Ntp),
            (156, Ntp),
            (152, Milliseconds),
            (150, Seconds),
            (158, DeltaMicroseconds),
            (22, Uptime),
        ]);
        let end = pick(&[
            (155, Ntp),
            (157, Ntp),
            (153, Milliseconds),
            (151, Seconds),
            (159, DeltaMicroseconds),
            (21, Uptime),
        ]);
        let event = pick(&[(324, Ntp), (325, Ntp), (323, Milliseconds), (322, Seconds)]);
        // An event has one time, and a record with only one of start and end is one: ASA's flow
        // creation has a start alone, its teardown a start and the event's time.
        let chain = |parts: [&[TimeField]; 3]| parts.concat();
        Times {
            first: chain([&start, &event, &end]),
            last: chain([&end, &event, &start]),
            system_init: self.iana(160).filter(|place| place.length <= 8),
        }
    }

    fn sampling(&self) -> Sampling {
        let integer = |number| self.iana(number).filter(|place| place.length <= 8);
        if let Some(place) = integer(34).or_else(|| integer(50)) {
            return Sampling::Rate(place);
        }
        if let (Some(taken), Some(space)) = (integer(305), integer(306)) {
            return Sampling::Interval { taken, space };
        }
        let sampler = [48, 302]
            .into_iter()
            .find_map(|number| Some((number, integer(number)?)));
        match sampler {
            Some((element, place)) => Sampling::Sampler { element, place },
            None => Sampling::Domain,
        }
    }
}

/// Whether a field of that length can be what the column wants. One that contradicts its element's
/// type is passed over: real exporters send addresses of 2 bytes.
fn fits(convert: Convert, column: ColumnId, place: Place) -> bool {
    let length = place.length;
    match convert {
        Convert::Unsigned | Convert::Signed => length <= 8,
        Convert::Float => length == 4 || length == 8,
        Convert::Ipv4 => length == 4,
        Convert::Bytes if column == columns::SRC_MAC || column == columns::DST_MAC => length == 6,
        Convert::Bytes => length == 16,
        Convert::IcmpType | Convert::IcmpCode => length == 2,
        Convert::MplsLabel => length == 3 || length == 4,
        Convert::Octets | Convert::Text => true,
    }
}
