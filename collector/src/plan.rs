//! Plans: templates compiled to column writes.
//!
//! A template is compiled once, when it arrives, into the places of the fields
//! that columns want. Per data set only the plan runs, a column at a time (see
//! `kernel`). This is the one place where the wire's elements meet the store's
//! columns.

use forebay_store::{ColumnId, Family, columns};
use forebay_wire::fixed::FixedField;
use forebay_wire::{ElementId, FieldSpecifier, Template};

use crate::config::ExtraColumn;
use crate::mapping::{self, Convert, Mapping};

/// Where a field lies in its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which field of the record it is.
    pub(crate) field: usize,
    /// Bytes before it, if no field before it varies in length.
    pub(crate) offset: usize,
    /// Its bytes, if it does not vary in length.
    pub(crate) length: usize,
}

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
}

/// How to tell the family of each record where a template has both families' addresses.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) ipv4: Vec<Place>,
    pub(crate) ipv6: Vec<Place>,
    pub(crate) ip_version: Option<Place>,
    pub(crate) plans: Box<ChoicePlans>,
}

/// The plans that a [`Choice`] is between.
#[derive(Debug)]
pub(crate) struct ChoicePlans {
    pub(crate) ipv4: RowPlan,
    pub(crate) ipv6: RowPlan,
    /// Both families' addresses are set; IPv4 it is.
    pub(crate) ipv4_and_6: RowPlan,
    /// Both families' addresses are set; IPv6 it is.
    pub(crate) ipv6_and_4: RowPlan,
}

/// Which rows a record becomes.
#[derive(Debug)]
pub(crate) enum Rows {
    /// All records are of one family.
    One(RowPlan),
    /// Each record tells.
    ByAddress(Choice),
}

/// The length of the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All have this one.
    Fixed(usize),
    /// Each field's length; [`forebay_wire::template::VARIABLE_LENGTH`] where the record tells.
    Variable(Vec<FieldSpecifier>),
}

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) template_id: Option<u16>,
    pub(crate) shape: Shape,
    pub(crate) rows: Rows,
}

impl Plan {
    /// Compiles a template of data records.
    pub(crate) fn of_template(template: &Template, extra: &[ExtraColumn]) -> Self {
        let mut offset = 0;
        let places = template
            .fields
            .iter()
            .enumerate()
            .map(|(field, specifier)| {
                let length = usize::from(specifier.length);
                let place = Place {
                    field,
                    offset,
                    length,
                };
                offset += length;
                (specifier.element, place)
            });
        let shape = match template.record_length() {
            Some(length) => Shape::Fixed(length),
            None => Shape::Variable(template.fields.clone()),
        };
        let layout = Layout {
            fields: places.collect(),
        };
        Self {
            template_id: Some(template.id),
            shape,
            rows: layout.rows(extra),
        }
    }

    /// Compiles the fixed layout of v1, v5 or v7.
    pub(crate) fn of_fixed(
        fields: &[FixedField],
        record_length: usize,
        extra: &[ExtraColumn],
    ) -> Self {
        let places = fields.iter().enumerate().map(|(field, fixed)| {
            let (offset, length) = (usize::from(fixed.offset), usize::from(fixed.length));
            (
                fixed.element,
                Place {
                    field,
                    offset,
                    length,
                },
            )
        });
        let layout = Layout {
            fields: places.collect(),
        };
        let mut plan = layout.row_plan(Family::Ipv4, IPV4, extra);
        plan.icmp_in_port = layout
            .find(ElementId::iana(4))
            .zip(layout.find(ElementId::iana(11)))
            .map(|(protocol, port)| IcmpInPort { protocol, port });
        Self {
            template_id: None,
            shape: Shape::Fixed(record_length),
            rows: Rows::One(plan),
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

    fn rows(&self, extra: &[ExtraColumn]) -> Rows {
        let (ipv4, ipv6) = (self.addresses([8, 12], 4), self.addresses([27, 28], 16));
        let one = |family, own: &[&[Mapping]]| Rows::One(self.row_plan(family, own, extra));
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
            (false, false) => {
                let plan = |family, own: &[&[Mapping]]| self.row_plan(family, own, extra);
                Rows::ByAddress(Choice {
                    ipv4,
                    ipv6,
                    ip_version: self.iana(60),
                    // What is of the other family stands for nothing here, unless its addresses are set.
                    plans: Box::new(ChoicePlans {
                        ipv4: plan(Family::Ipv4, IPV4),
                        ipv6: plan(Family::Ipv6, IPV6),
                        ipv4_and_6: plan(Family::Ipv4, BOTH),
                        ipv6_and_4: plan(Family::Ipv6, BOTH),
                    }),
                })
            }
        }
    }

    fn row_plan(&self, family: Family, own: &[&[Mapping]], extra: &[ExtraColumn]) -> RowPlan {
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
        RowPlan {
            family,
            octets: writes.iter().any(any_length),
            writes,
            times: self.times(),
            sampling: self.sampling(),
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
