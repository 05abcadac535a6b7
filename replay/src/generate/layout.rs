//! The layouts of records that exporters send, modelled on those of real ones.
//!
//! ```text
//! layout ─┬─ sets of flows: a template, and where each of its fields comes from
//!         └─ options: a template and one record of constants
//! ```

use forebay_wire::element::REVERSE_ENTERPRISE;
use forebay_wire::template::VARIABLE_LENGTH;
use forebay_wire::{ElementId, FieldSpecifier, Template};

use super::columns::Columns;
use super::value::FieldValue as V;

/// Cisco's enterprise number.
const CISCO: u32 = 9;
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
    pub(crate) value: V,
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
            is_biflow: fields.iter().any(|field| field.value == V::ReverseBytes),
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

const fn of(enterprise: u32, number: u16, length: u16, value: V) -> Field {
    Field {
        specifier: FieldSpecifier {
            element: ElementId::new(enterprise, number),
            length,
        },
        value,
    }
}

const fn iana(number: u16, length: u16, value: V) -> Field {
    of(0, number, length, value)
}

/// The v9 layouts.
pub(crate) fn v9() -> Vec<Layout> {
    vec![
        Layout::new("v9-router", V9_ROUTER_IPV4, V9_ROUTER_IPV6),
        Layout::new("v9-switch", V9_SWITCH_IPV4, V9_SWITCH_IPV6),
        Layout::new("v9-sampled", V9_SAMPLED_IPV4, V9_SAMPLED_IPV6)
            .options(1, V9_SAMPLER)
            .sampled(),
    ]
}

/// The IPFIX layouts.
pub(crate) fn ipfix() -> Vec<Layout> {
    vec![
        Layout::new("ipfix-milliseconds", IPFIX_MS_IPV4, IPFIX_MS_IPV6),
        Layout::new("ipfix-selector", IPFIX_SELECTOR_IPV4, IPFIX_SELECTOR_IPV6)
            .options(1, IPFIX_SELECTOR)
            .sampled(),
        Layout::new("ipfix-application", IPFIX_APP_IPV4, IPFIX_APP_IPV6),
        Layout::new("ipfix-uptime", IPFIX_UPTIME_IPV4, IPFIX_UPTIME_IPV6).options(1, IPFIX_BOOT),
        Layout::new("ipfix-biflow", IPFIX_BIFLOW_IPV4, IPFIX_BIFLOW_IPV6),
        Layout::new("ipfix-nat", IPFIX_NAT_IPV4, IPFIX_NAT_IPV6).nat_events(IPFIX_NAT_EVENT),
    ]
}

// As IOS sends it: four bytes for counters, two for interfaces and AS numbers.
const V9_ROUTER_IPV4: &[Field] = &[
    iana(1, 4, V::Bytes),
    iana(2, 4, V::Packets),
    iana(4, 1, V::Protocol),
    iana(5, 1, V::Tos),
    iana(6, 1, V::TcpFlags),
    iana(7, 2, V::SourcePort),
    iana(8, 4, V::SourceIpv4),
    iana(9, 1, V::SourceMaskIpv4),
    iana(10, 2, V::Input),
    iana(11, 2, V::DestinationPort),
    iana(12, 4, V::DestinationIpv4),
    iana(13, 1, V::DestinationMaskIpv4),
    iana(14, 2, V::Output),
    iana(15, 4, V::NextHopIpv4),
    iana(16, 2, V::SourceAs),
    iana(17, 2, V::DestinationAs),
    iana(21, 4, V::LastUptimeMs),
    iana(22, 4, V::FirstUptimeMs),
];
const V9_ROUTER_IPV6: &[Field] = &[
    iana(27, 16, V::SourceIpv6),
    iana(28, 16, V::DestinationIpv6),
    iana(62, 16, V::NextHopIpv6),
    iana(29, 1, V::SourceMaskIpv6),
    iana(30, 1, V::DestinationMaskIpv6),
    iana(31, 3, V::FlowLabel),
    iana(10, 2, V::Input),
    iana(14, 2, V::Output),
    iana(16, 2, V::SourceAs),
    iana(17, 2, V::DestinationAs),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(6, 1, V::TcpFlags),
    iana(5, 1, V::Tos),
    iana(1, 4, V::Bytes),
    iana(2, 4, V::Packets),
    iana(22, 4, V::FirstUptimeMs),
    iana(21, 4, V::LastUptimeMs),
];

// With what a switch sees: MAC addresses and VLANs.
const V9_SWITCH_IPV4: &[Field] = &[
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(60, 1, V::Constant(4)),
    iana(4, 1, V::Protocol),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(32, 2, V::IcmpTypeAndCode),
    iana(56, 6, V::SourceMac),
    iana(80, 6, V::DestinationMac),
    iana(58, 2, V::SourceVlan),
    iana(59, 2, V::DestinationVlan),
    iana(10, 4, V::Input),
    iana(14, 4, V::Output),
    iana(61, 1, V::Direction),
    iana(6, 1, V::TcpFlags),
    iana(1, 8, V::Bytes),
    iana(2, 8, V::Packets),
    iana(22, 4, V::FirstUptimeMs),
    iana(21, 4, V::LastUptimeMs),
];
const V9_SWITCH_IPV6: &[Field] = &[
    iana(27, 16, V::SourceIpv6),
    iana(28, 16, V::DestinationIpv6),
    iana(60, 1, V::Constant(6)),
    iana(4, 1, V::Protocol),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(139, 2, V::IcmpTypeAndCode),
    iana(56, 6, V::SourceMac),
    iana(80, 6, V::DestinationMac),
    iana(58, 2, V::SourceVlan),
    iana(59, 2, V::DestinationVlan),
    iana(10, 4, V::Input),
    iana(14, 4, V::Output),
    iana(61, 1, V::Direction),
    iana(6, 1, V::TcpFlags),
    iana(1, 8, V::Bytes),
    iana(2, 8, V::Packets),
    iana(22, 4, V::FirstUptimeMs),
    iana(21, 4, V::LastUptimeMs),
];

// As a large router samples: the sampler's number in each record, its rate in options.
const V9_SAMPLED_IPV4: &[Field] = &[
    iana(1, 4, V::Bytes),
    iana(2, 4, V::Packets),
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(10, 4, V::Input),
    iana(14, 4, V::Output),
    iana(21, 4, V::LastUptimeMs),
    iana(22, 4, V::FirstUptimeMs),
    iana(15, 4, V::NextHopIpv4),
    iana(16, 4, V::SourceAs),
    iana(17, 4, V::DestinationAs),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(9, 1, V::SourceMaskIpv4),
    iana(13, 1, V::DestinationMaskIpv4),
    iana(4, 1, V::Protocol),
    iana(6, 1, V::TcpFlags),
    iana(5, 1, V::Tos),
    iana(61, 1, V::Direction),
    iana(89, 1, V::Constant(FORWARDED)),
    iana(48, 2, V::Constant(SAMPLER_ID)),
    iana(18, 4, V::NextHopIpv4),
];
const V9_SAMPLED_IPV6: &[Field] = &[
    iana(1, 4, V::Bytes),
    iana(2, 4, V::Packets),
    iana(27, 16, V::SourceIpv6),
    iana(28, 16, V::DestinationIpv6),
    iana(10, 4, V::Input),
    iana(14, 4, V::Output),
    iana(21, 4, V::LastUptimeMs),
    iana(22, 4, V::FirstUptimeMs),
    iana(63, 16, V::NextHopIpv6),
    iana(16, 4, V::SourceAs),
    iana(17, 4, V::DestinationAs),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(29, 1, V::SourceMaskIpv6),
    iana(30, 1, V::DestinationMaskIpv6),
    iana(4, 1, V::Protocol),
    iana(6, 1, V::TcpFlags),
    iana(5, 1, V::Tos),
    iana(61, 1, V::Direction),
    iana(89, 1, V::Constant(FORWARDED)),
    iana(48, 2, V::Constant(SAMPLER_ID)),
];
/// RFC 7270 §4.12: status 1, reason 0.
const FORWARDED: u64 = 0x40;
// The scope is the system (RFC 3954 §6.1); 2 is random sampling.
const V9_SAMPLER: &[Field] = &[
    iana(1, 4, V::ObservationDomain),
    iana(48, 2, V::Constant(SAMPLER_ID)),
    iana(49, 1, V::Constant(2)),
    iana(50, 4, V::Constant(SAMPLING_RATE as u64)),
];

// All elements in their full lengths.
const IPFIX_MS_IPV4: &[Field] = &[
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(5, 1, V::Tos),
    iana(4, 1, V::Protocol),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(6, 2, V::TcpFlags),
    iana(10, 4, V::Input),
    iana(14, 4, V::Output),
    iana(16, 4, V::SourceAs),
    iana(17, 4, V::DestinationAs),
    iana(9, 1, V::SourceMaskIpv4),
    iana(13, 1, V::DestinationMaskIpv4),
    iana(15, 4, V::NextHopIpv4),
    iana(1, 8, V::Bytes),
    iana(2, 8, V::Packets),
    iana(152, 8, V::FirstUnixMs),
    iana(153, 8, V::LastUnixMs),
    iana(136, 1, V::EndReason),
];
const IPFIX_MS_IPV6: &[Field] = &[
    iana(27, 16, V::SourceIpv6),
    iana(28, 16, V::DestinationIpv6),
    iana(5, 1, V::Tos),
    iana(4, 1, V::Protocol),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(31, 4, V::FlowLabel),
    iana(6, 2, V::TcpFlags),
    iana(10, 4, V::Input),
    iana(14, 4, V::Output),
    iana(16, 4, V::SourceAs),
    iana(17, 4, V::DestinationAs),
    iana(29, 1, V::SourceMaskIpv6),
    iana(30, 1, V::DestinationMaskIpv6),
    iana(62, 16, V::NextHopIpv6),
    iana(1, 8, V::Bytes),
    iana(2, 8, V::Packets),
    iana(152, 8, V::FirstUnixMs),
    iana(153, 8, V::LastUnixMs),
    iana(136, 1, V::EndReason),
];

// Sampled (RFC 5476): the selector's number in each record, its interval and space in options. Times in seconds.
const IPFIX_SELECTOR_IPV4: &[Field] = &[
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(5, 1, V::Tos),
    iana(6, 1, V::TcpFlags),
    iana(60, 1, V::Constant(4)),
    iana(1, 8, V::Bytes),
    iana(2, 8, V::Packets),
    iana(150, 4, V::FirstUnixSecs),
    iana(151, 4, V::LastUnixSecs),
    iana(10, 4, V::Input),
    iana(14, 4, V::Output),
    iana(302, 4, V::Constant(SAMPLER_ID)),
];
const IPFIX_SELECTOR_IPV6: &[Field] = &[
    iana(27, 16, V::SourceIpv6),
    iana(28, 16, V::DestinationIpv6),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(5, 1, V::Tos),
    iana(6, 1, V::TcpFlags),
    iana(60, 1, V::Constant(6)),
    iana(1, 8, V::Bytes),
    iana(2, 8, V::Packets),
    iana(150, 4, V::FirstUnixSecs),
    iana(151, 4, V::LastUnixSecs),
    iana(10, 4, V::Input),
    iana(14, 4, V::Output),
    iana(302, 4, V::Constant(SAMPLER_ID)),
];
// Algorithm 1 is systematic count-based sampling: an interval is looked at, then a space is not.
const IPFIX_SELECTOR: &[Field] = &[
    iana(302, 4, V::Constant(SAMPLER_ID)),
    iana(304, 2, V::Constant(1)),
    iana(305, 4, V::Constant(1)),
    iana(306, 4, V::Constant(SAMPLING_RATE as u64 - 1)),
];

// What application recognition tells: a number, and a host's name of variable length. Times of microseconds.
const IPFIX_APP_IPV4: &[Field] = &[
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(61, 1, V::Direction),
    iana(10, 4, V::Input),
    iana(95, 4, V::Application),
    of(CISCO, 12_235, VARIABLE_LENGTH, V::HttpHost),
    iana(154, 8, V::FirstNtp),
    iana(155, 8, V::LastNtp),
    iana(1, 8, V::Bytes),
    iana(2, 4, V::Packets),
];
const IPFIX_APP_IPV6: &[Field] = &[
    iana(27, 16, V::SourceIpv6),
    iana(28, 16, V::DestinationIpv6),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(61, 1, V::Direction),
    iana(10, 4, V::Input),
    iana(95, 4, V::Application),
    of(CISCO, 12_235, VARIABLE_LENGTH, V::HttpHost),
    iana(154, 8, V::FirstNtp),
    iana(155, 8, V::LastNtp),
    iana(1, 8, V::Bytes),
    iana(2, 4, V::Packets),
];

// Times since the exporter booted, when it did in options, and integers in as few bytes as hold them
// (RFC 7011 §6.2).
const IPFIX_UPTIME_IPV4: &[Field] = &[
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(22, 4, V::FirstUptimeMs),
    iana(21, 4, V::LastUptimeMs),
    iana(1, 5, V::Bytes),
    iana(2, 3, V::Packets),
    iana(10, 2, V::Input),
    iana(14, 2, V::Output),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(6, 1, V::TcpFlags),
    iana(5, 1, V::Tos),
    iana(176, 1, V::IcmpType),
    iana(177, 1, V::IcmpCode),
];
const IPFIX_UPTIME_IPV6: &[Field] = &[
    iana(27, 16, V::SourceIpv6),
    iana(28, 16, V::DestinationIpv6),
    iana(22, 4, V::FirstUptimeMs),
    iana(21, 4, V::LastUptimeMs),
    iana(1, 5, V::Bytes),
    iana(2, 3, V::Packets),
    iana(10, 2, V::Input),
    iana(14, 2, V::Output),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(6, 1, V::TcpFlags),
    iana(5, 1, V::Tos),
    iana(178, 1, V::IcmpType),
    iana(179, 1, V::IcmpCode),
];
const IPFIX_BOOT: &[Field] = &[
    iana(149, 4, V::ObservationDomain),
    iana(160, 8, V::BootUnixMs),
];

// Both directions in one record (RFC 5103), as meters that see both send it.
const IPFIX_BIFLOW_IPV4: &[Field] = &[
    iana(152, 8, V::FirstUnixMs),
    iana(153, 8, V::LastUnixMs),
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(136, 1, V::EndReason),
    iana(6, 1, V::TcpFlags),
    of(REVERSE_ENTERPRISE, 6, 1, V::TcpFlags),
    iana(1, 8, V::Bytes),
    iana(2, 8, V::Packets),
    of(REVERSE_ENTERPRISE, 1, 8, V::ReverseBytes),
    of(REVERSE_ENTERPRISE, 2, 8, V::ReversePackets),
];
const IPFIX_BIFLOW_IPV6: &[Field] = &[
    iana(152, 8, V::FirstUnixMs),
    iana(153, 8, V::LastUnixMs),
    iana(27, 16, V::SourceIpv6),
    iana(28, 16, V::DestinationIpv6),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(4, 1, V::Protocol),
    iana(136, 1, V::EndReason),
    iana(6, 1, V::TcpFlags),
    of(REVERSE_ENTERPRISE, 6, 1, V::TcpFlags),
    iana(1, 8, V::Bytes),
    iana(2, 8, V::Packets),
    of(REVERSE_ENTERPRISE, 1, 8, V::ReverseBytes),
    of(REVERSE_ENTERPRISE, 2, 8, V::ReversePackets),
];

// A translating gateway: flows with both sides' addresses, and events without counters (RFC 8158).
const IPFIX_NAT_IPV4: &[Field] = &[
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(225, 4, V::NatSourceIpv4),
    iana(226, 4, V::NatDestinationIpv4),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(227, 2, V::NatSourcePort),
    iana(228, 2, V::NatDestinationPort),
    iana(4, 1, V::Protocol),
    iana(6, 1, V::TcpFlags),
    iana(1, 4, V::Bytes),
    iana(2, 4, V::Packets),
    iana(152, 8, V::FirstUnixMs),
    iana(153, 8, V::LastUnixMs),
];
const IPFIX_NAT_IPV6: &[Field] = IPFIX_MS_IPV6;
const IPFIX_NAT_EVENT: &[Field] = &[
    iana(323, 8, V::LastUnixMs),
    iana(230, 1, V::NatEvent),
    iana(8, 4, V::SourceIpv4),
    iana(12, 4, V::DestinationIpv4),
    iana(225, 4, V::NatSourceIpv4),
    iana(226, 4, V::NatDestinationIpv4),
    iana(7, 2, V::SourcePort),
    iana(11, 2, V::DestinationPort),
    iana(227, 2, V::NatSourcePort),
    iana(228, 2, V::NatDestinationPort),
    iana(4, 1, V::Protocol),
];

#[cfg(test)]
mod tests {
    use forebay_wire::element::{self, DataType};

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
                if element.enterprise == CISCO {
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
