//! Where the content of a field comes from, and how it is written.

use forebay_wire::encode::variable_length;

use super::flow::{Flow, Place, host_name};
use super::layout::MAX_VARIABLE_BYTES;
use super::population::{Host, ICMP, ICMPV6, Shape};
use super::random::mix;

/// Seconds from NTP's epoch, 1900, to 1970.
const NTP_OFFSET_SECS: u64 = 2_208_988_800;
/// What stands in 16 bits for an AS number that has more (RFC 6793 §9).
pub(crate) const AS_TRANS: u16 = 23_456;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValue {
    Application,
    BootUnixMs,
    Bytes,
    Constant(u64),
    DestinationAs,
    DestinationIpv4,
    DestinationIpv6,
    DestinationMac,
    DestinationMaskIpv4,
    DestinationMaskIpv6,
    DestinationPort,
    DestinationVlan,
    Direction,
    EndReason,
    FirstNtp,
    FirstUnixMs,
    FirstUnixSecs,
    FirstUptimeMs,
    FlowLabel,
    HttpHost,
    IcmpCode,
    IcmpType,
    IcmpTypeAndCode,
    Input,
    LastNtp,
    LastUnixMs,
    LastUnixSecs,
    LastUptimeMs,
    NatDestinationIpv4,
    NatDestinationPort,
    NatEvent,
    NatSourceIpv4,
    NatSourcePort,
    NextHopIpv4,
    NextHopIpv6,
    ObservationDomain,
    Output,
    Packets,
    Protocol,
    ReverseBytes,
    ReversePackets,
    SourceAs,
    SourceIpv4,
    SourceIpv6,
    SourceMac,
    SourceMaskIpv4,
    SourceMaskIpv6,
    SourcePort,
    SourceVlan,
    TcpFlags,
    Tos,
}

/// What a record tells that is not of the flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Teller {
    pub(crate) place: Place,
    pub(crate) observation_domain: u32,
    pub(crate) boot_ms: u64,
}

impl Teller {
    /// The exporter's uptime at a time, which wraps after 49.7 days.
    pub(crate) const fn uptime_ms(&self, unix_ms: u64) -> u32 {
        (unix_ms - self.boot_ms) as u32
    }
}

/// Appends the record of a flow.
#[inline]
pub(crate) fn write_record(
    out: &mut Vec<u8>,
    values: &[(u16, FieldValue)],
    flow: &Flow<'_>,
    teller: &Teller,
) {
    for &(length, value) in values {
        match value {
            FieldValue::SourceIpv6 => out.extend(flow.key.source.ipv6.to_be_bytes()),
            FieldValue::DestinationIpv6 => out.extend(flow.key.destination.ipv6.to_be_bytes()),
            FieldValue::NextHopIpv6 => {
                out.extend(teller.place.next_hop_ipv6(flow.output).to_be_bytes());
            }
            FieldValue::HttpHost => http_host(out, flow),
            value => put(out, length, unsigned(value, length, flow, teller)),
        }
    }
}

/// Appends the record of the exporter's options, which tells of no flow.
pub(crate) fn write_options(out: &mut Vec<u8>, values: &[(u16, FieldValue)], teller: &Teller) {
    for &(length, value) in values {
        let value = match value {
            FieldValue::Constant(value) => value,
            FieldValue::ObservationDomain => teller.observation_domain.into(),
            FieldValue::BootUnixMs => teller.boot_ms,
            value => unreachable!("{value:?} is no option"),
        };
        put(out, length, value);
    }
}

/// Appends the last `length` bytes of an unsigned integer.
#[inline]
fn put(out: &mut Vec<u8>, length: u16, value: u64) {
    match length {
        1 => out.push(value as u8),
        2 => out.extend((value as u16).to_be_bytes()),
        4 => out.extend((value as u32).to_be_bytes()),
        8 => out.extend(value.to_be_bytes()),
        _ => out.extend(value.to_be_bytes().iter().skip(8 - usize::from(length))),
    }
}

#[inline]
fn unsigned(value: FieldValue, length: u16, flow: &Flow<'_>, teller: &Teller) -> u64 {
    let key = &flow.key;
    match value {
        FieldValue::Application => key.service.application.into(),
        FieldValue::BootUnixMs => teller.boot_ms,
        FieldValue::Bytes => flow.bytes,
        FieldValue::Constant(value) => value,
        FieldValue::DestinationAs => as_number(key.destination, length),
        FieldValue::DestinationIpv4 => key.destination.ipv4.into(),
        FieldValue::DestinationMac => mac(key.destination, !key.outbound),
        FieldValue::DestinationMaskIpv4 => key.destination.mask_ipv4.into(),
        FieldValue::DestinationMaskIpv6 => key.destination.mask_ipv6.into(),
        FieldValue::DestinationPort => key.destination_port.into(),
        FieldValue::DestinationVlan => vlan(key.destination, !key.outbound),
        FieldValue::Direction => (!key.outbound).into(),
        FieldValue::EndReason => flow.end_reason.into(),
        FieldValue::FirstNtp => ntp(flow.first_ms),
        FieldValue::FirstUnixMs => flow.first_ms,
        FieldValue::FirstUnixSecs => flow.first_ms / 1000,
        FieldValue::FirstUptimeMs => teller.uptime_ms(flow.first_ms).into(),
        // 20 bits that are the flow's own (RFC 6437).
        FieldValue::FlowLabel => key.chance >> 44,
        FieldValue::IcmpCode => icmp(flow) & 0xff,
        FieldValue::IcmpType => icmp(flow) >> 8,
        FieldValue::IcmpTypeAndCode => icmp(flow),
        FieldValue::Input => flow.input.into(),
        FieldValue::LastNtp => ntp(flow.last_ms),
        FieldValue::LastUnixMs => flow.last_ms,
        FieldValue::LastUnixSecs => flow.last_ms / 1000,
        FieldValue::LastUptimeMs => teller.uptime_ms(flow.last_ms).into(),
        FieldValue::NatDestinationIpv4 => nat(key.destination, !key.outbound),
        FieldValue::NatDestinationPort if key.outbound => key.destination_port.into(),
        FieldValue::NatDestinationPort => nat_port(flow, key.destination_port),
        // RFC 8158 §4.1: 4 creates a session of IPv4, 5 deletes it.
        FieldValue::NatEvent => 4 + (flow.last_ms & 1),
        FieldValue::NatSourceIpv4 => nat(key.source, key.outbound),
        FieldValue::NatSourcePort if key.outbound => nat_port(flow, key.source_port),
        FieldValue::NatSourcePort => key.source_port.into(),
        FieldValue::NextHopIpv4 => teller.place.next_hop_ipv4(flow.output).into(),
        FieldValue::ObservationDomain => teller.observation_domain.into(),
        FieldValue::Output => flow.output.into(),
        FieldValue::Packets => flow.packets,
        FieldValue::Protocol => key.protocol.into(),
        FieldValue::ReverseBytes => flow.reverse_bytes,
        FieldValue::ReversePackets => flow.reverse_packets,
        FieldValue::SourceAs => as_number(key.source, length),
        FieldValue::SourceIpv4 => key.source.ipv4.into(),
        FieldValue::SourceMac => mac(key.source, key.outbound),
        FieldValue::SourceMaskIpv4 => key.source.mask_ipv4.into(),
        FieldValue::SourceMaskIpv6 => key.source.mask_ipv6.into(),
        FieldValue::SourcePort => key.source_port.into(),
        FieldValue::SourceVlan => vlan(key.source, key.outbound),
        FieldValue::TcpFlags => flow.tcp_flags.into(),
        FieldValue::Tos => key.service.tos.into(),
        // Longer than an integer: written by `write_record`.
        FieldValue::SourceIpv6
        | FieldValue::DestinationIpv6
        | FieldValue::NextHopIpv6
        | FieldValue::HttpHost => 0,
    }
}

fn as_number(host: &Host, length: u16) -> u64 {
    if length == 2 {
        as_number_16(host).into()
    } else {
        host.as_number.into()
    }
}

/// An AS number in 16 bits.
pub(crate) fn as_number_16(host: &Host) -> u16 {
    u16::try_from(host.as_number).unwrap_or(AS_TRANS)
}

/// A client's own address, or that of the gateway to the servers.
fn mac(host: &Host, is_client: bool) -> u64 {
    if is_client {
        0x0250_5600_0000 | u64::from(host.ipv4 & 0xff_ffff)
    } else {
        0x0200_5e00_0100 | u64::from(host.subnet & 1)
    }
}

fn vlan(host: &Host, is_client: bool) -> u64 {
    if is_client {
        100 + u64::from(host.subnet)
    } else {
        2
    }
}

fn icmp(flow: &Flow<'_>) -> u64 {
    match flow.key.protocol {
        ICMP | ICMPV6 => flow.key.destination_port.into(),
        _ => 0,
    }
}

/// A time of NTP: seconds since 1900, and what part of the next has gone by in units of 2⁻³² s.
fn ntp(unix_ms: u64) -> u64 {
    let secs = (unix_ms / 1000 + NTP_OFFSET_SECS) & 0xffff_ffff;
    // Rounded up, so that a reader that rounds down comes back to the millisecond.
    let fraction = ((unix_ms % 1000) << 32).div_ceil(1000);
    secs << 32 | fraction
}

/// What a client's address is translated to: one of 203.0.113.0/24 (RFC 5737) per subnet. A server's stays.
fn nat(host: &Host, is_client: bool) -> u64 {
    if is_client {
        203 << 24 | 113 << 8 | u64::from(host.subnet & 0xff)
    } else {
        host.ipv4.into()
    }
}

fn nat_port(flow: &Flow<'_>, port: u16) -> u64 {
    match port {
        0 => 0,
        // Of the flow's key, so that it is the same in each record.
        _ => 1024 + flow.key.chance % 64_512,
    }
}

/// As a router of Cisco tells it: the application's number, two bytes, and the name, where a client asks for one.
fn http_host(out: &mut Vec<u8>, flow: &Flow<'_>) {
    if flow.key.service.shape != Shape::Download || !flow.key.outbound {
        variable_length(out, &[]);
        return;
    }
    let (name, name_bytes) = host_name(&flow.key);
    let mut content = [0; MAX_VARIABLE_BYTES];
    content[..4].copy_from_slice(&flow.key.service.application.to_be_bytes());
    content[4..6].copy_from_slice(&[0x34, 0x02]);
    content[6..][..name_bytes].copy_from_slice(&name[..name_bytes]);
    let content = &content[..6 + name_bytes];
    // A short content may have the long form of length too (RFC 7011 §7), and some exporters send it.
    if mix(flow.last_ms) & 15 == 0 {
        out.push(255);
        out.extend((content.len() as u16).to_be_bytes());
        out.extend(content);
    } else {
        variable_length(out, content);
    }
}

#[cfg(test)]
mod tests {
    use forebay_wire::value::unix_time_of_ntp;

    use super::*;

    #[test]
    fn a_time_of_ntp_reads_back_to_the_millisecond() {
        for unix_ms in (1_767_225_600_000..).take(1000).chain([2_085_978_496_000]) {
            let ntp = ntp(unix_ms);
            let time = unix_time_of_ntp((ntp >> 32) as u32, ntp as u32);
            assert_eq!(
                time.secs * 1000 + u64::from(time.nanos) / 1_000_000,
                unix_ms
            );
        }
    }

    #[test]
    fn integers_are_written_in_any_length() {
        let mut out = Vec::new();
        for length in 1..=8 {
            out.clear();
            put(&mut out, length, 0x0102_0304_0506_0708);
            let length = usize::from(length);
            assert_eq!(out, [1, 2, 3, 4, 5, 6, 7, 8][8 - length..]);
        }
    }
}
