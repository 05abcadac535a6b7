//! The layouts of v9 exporters.

use super::super::value::FieldValue as V;
use super::{Field, Layout, SAMPLER_ID, SAMPLING_RATE, iana};

/// The v9 layouts.
pub(crate) fn layouts() -> Vec<Layout> {
    vec![
        Layout::new("v9-router", ROUTER_IPV4, ROUTER_IPV6),
        Layout::new("v9-switch", SWITCH_IPV4, SWITCH_IPV6),
        Layout::new("v9-sampled", SAMPLED_IPV4, SAMPLED_IPV6)
            .options(1, SAMPLER)
            .sampled(),
    ]
}

// As IOS sends it: four bytes for counters, two for interfaces and AS numbers.
const ROUTER_IPV4: &[Field] = &[
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
const ROUTER_IPV6: &[Field] = &[
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
const SWITCH_IPV4: &[Field] = &[
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
const SWITCH_IPV6: &[Field] = &[
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
const SAMPLED_IPV4: &[Field] = &[
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
const SAMPLED_IPV6: &[Field] = &[
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
const SAMPLER: &[Field] = &[
    iana(1, 4, V::ObservationDomain),
    iana(48, 2, V::Constant(SAMPLER_ID)),
    iana(49, 1, V::Constant(2)),
    iana(50, 4, V::Constant(SAMPLING_RATE as u64)),
];
