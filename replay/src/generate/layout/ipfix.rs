//! The layouts of IPFIX exporters.

use forebay_wire::element::REVERSE_ENTERPRISE;
use forebay_wire::template::VARIABLE_LENGTH;

use super::super::value::FieldValue as V;
use super::{Field, Layout, SAMPLER_ID, SAMPLING_RATE, iana, of};

/// Cisco's enterprise number.
const CISCO: u32 = 9;

/// The IPFIX layouts.
pub(crate) fn layouts() -> Vec<Layout> {
    vec![
        Layout::new("ipfix-milliseconds", MS_IPV4, MS_IPV6),
        Layout::new("ipfix-selector", SELECTOR_IPV4, SELECTOR_IPV6)
            .options(1, SELECTOR)
            .sampled(),
        Layout::new("ipfix-application", APP_IPV4, APP_IPV6),
        Layout::new("ipfix-uptime", UPTIME_IPV4, UPTIME_IPV6).options(1, BOOT),
        Layout::new("ipfix-biflow", BIFLOW_IPV4, BIFLOW_IPV6),
        Layout::new("ipfix-nat", NAT_IPV4, NAT_IPV6).nat_events(NAT_EVENT),
    ]
}

// All elements in their full lengths.
const MS_IPV4: &[Field] = &[
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
const MS_IPV6: &[Field] = &[
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
const SELECTOR_IPV4: &[Field] = &[
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
const SELECTOR_IPV6: &[Field] = &[
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
const SELECTOR: &[Field] = &[
    iana(302, 4, V::Constant(SAMPLER_ID)),
    iana(304, 2, V::Constant(1)),
    iana(305, 4, V::Constant(1)),
    iana(306, 4, V::Constant(SAMPLING_RATE as u64 - 1)),
];

// What application recognition tells: a number, and a host's name of variable length. Times of microseconds.
const APP_IPV4: &[Field] = &[
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
const APP_IPV6: &[Field] = &[
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
const UPTIME_IPV4: &[Field] = &[
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
const UPTIME_IPV6: &[Field] = &[
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
const BOOT: &[Field] = &[
    iana(149, 4, V::ObservationDomain),
    iana(160, 8, V::BootUnixMs),
];

// Both directions in one record (RFC 5103), as meters that see both send it.
const BIFLOW_IPV4: &[Field] = &[
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
const BIFLOW_IPV6: &[Field] = &[
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
const NAT_IPV4: &[Field] = &[
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
const NAT_IPV6: &[Field] = MS_IPV6;
const NAT_EVENT: &[Field] = &[
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
