//! The layouts of records that exporters send, modelled on those of real ones.
//!
//! ```text
//! layout ─┬─ sets of flows: a template, and where each of its fields comes from
//!         └─ options: a template and one record of constants
//! ```

use forebay_wire::{ElementId, FieldSpecifier, Template};

use super::columns::Columns;
use super::value::FieldValue;

mod ipfix;
mod v9;

pub(crate) use ipfix::layouts as ipfix;
pub(crate) use v9::layouts as v9;

/// One of so many packets is looked at by the exporters that sample.
pub(crate) const SAMPLING_RATE: u32 = 1000;
/// The number of the sampler, or selector.
pub(crate) const SAMPLER_ID: u64 = 1;

/// Which flows a set is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetFor {
    Ipv4,
    Ipv6,
    /// Address translations, of IPv4.
    NatEvents,
}

/// A field, and where its content comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) specifier: FieldSpecifier,
    pub(crate) value: FieldValue,
}

/// Records of flows.
#[derive(Debug)]
pub(crate) struct FlowSet {
    pub(crate) set_for: SetFor,
    pub(crate) template: Template,
    pub(crate) columns: Columns,
    /// Whether the records tell of the reverse direction too.
    pub(crate) is_biflow: bool,
}

/// A record about the exporter itself.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) template: Template,
    pub(crate) columns: Columns,
}

/// What an exporter sends.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    /// The first is that of IPv4.
    pub(crate) sets: Vec<FlowSet>,
    pub(crate) options: Option<Options>,
    /// What a collector can learn from the options.
    pub(crate) sampling_rate: Option<u32>,
}

impl Layout {
    fn new(name: &'static str, ipv4: &[Field], ipv6: &[Field]) -> Self {
        Self {
            name,
            sets: vec![
                FlowSet::new(SetFor::Ipv4, 256, ipv4),
                FlowSet::new(SetFor::Ipv6, 257, ipv6),
            ],
            options: None,
            sampling_rate: None,
        }
    }

    fn nat_events(mut self, fields: &[Field]) -> Self {
        self.sets.push(FlowSet::new(SetFor::NatEvents, 258, fields));
        self
    }

    fn options(mut self, scope_count: u16, fields: &[Field]) -> Self {
        self.options = Some(Options {
            template: template(512, scope_count, fields),
            columns: columns(fields),
        });
        self
    }

    fn sampled(mut self) -> Self {
        self.sampling_rate = Some(SAMPLING_RATE);
        self
    }

    pub(crate) fn has_nat_events(&self) -> bool {
        self.sets.iter().any(|set| set.set_for == SetFor::NatEvents)
    }
}

impl FlowSet {
    fn new(set_for: SetFor, id: u16, fields: &[Field]) -> Self {
        Self {
            set_for,
            template: template(id, 0, fields),
            columns: columns(fields),
            is_biflow: fields
                .iter()
                .any(|field| field.value == FieldValue::ReverseBytes),
        }
    }
}

fn template(id: u16, scope_count: u16, fields: &[Field]) -> Template {
    Template {
        id,
        scope_count,
        fields: fields.iter().map(|field| field.specifier).collect(),
    }
}

fn columns(fields: &[Field]) -> Columns {
    let fields = fields.iter();
    Columns::new(fields.map(|field| (field.specifier.length, field.value)))
}

const fn of(enterprise: u32, number: u16, length: u16, value: FieldValue) -> Field {
    Field {
        specifier: FieldSpecifier {
            element: ElementId::new(enterprise, number),
            length,
        },
        value,
    }
}

const fn iana(number: u16, length: u16, value: FieldValue) -> Field {
    of(0, number, length, value)
}

#[cfg(test)]
mod tests {
    use forebay_wire::element::{self, DataType};
    use forebay_wire::template::VARIABLE_LENGTH;

    use super::*;

    #[test]
    fn every_element_is_known_and_no_longer_than_its_type() {
        for layout in v9().into_iter().chain(ipfix()) {
            let options = layout.options.iter().map(|options| {
                let scopes = options.template.scope_count.into();
                &options.template.fields[scopes..]
            });
            let flows = layout.sets.iter().map(|set| &set.template.fields[..]);
            for field in flows.chain(options).flatten() {
                let (name, element) = (layout.name, field.element);
                if element.enterprise == 9 {
                    continue;
                }
                let known = element::lookup(element).unwrap_or_else(|| panic!("{name}: {element}"));
                let lengths = match known.data_type {
                    // IOS XR sends two bytes.
                    DataType::Unsigned8 if element == ElementId::iana(48) => 2..=2,
                    DataType::Unsigned8 => 1..=1,
                    // Reduced-size encoding.
                    DataType::Unsigned16 => 1..=2,
                    DataType::Unsigned32 | DataType::DateTimeSeconds => 1..=4,
                    DataType::Unsigned64 => 1..=8,
                    DataType::Ipv4Address => 4..=4,
                    DataType::Ipv6Address => 16..=16,
                    DataType::MacAddress => 6..=6,
                    DataType::DateTimeMilliseconds | DataType::DateTimeMicroseconds => 8..=8,
                    _ => 1..=VARIABLE_LENGTH,
                };
                assert!(lengths.contains(&field.length), "{name}: {known:?}");
            }
        }
    }

    #[test]
    fn the_first_set_is_that_of_ipv4() {
        for layout in v9().into_iter().chain(ipfix()) {
            assert_eq!(layout.sets[0].set_for, SetFor::Ipv4, "{}", layout.name);
        }
    }
}
