//! Where the content of a field comes from.

use super::columns::VARIABLE_FIELD_BYTES;
use super::flow::{Flow, Place, host_name};
use super::population::{Host, ICMP, ICMPV6, Shape};
use super::random::mix;

/// Seconds from NTP's epoch, 1900, to 1970.
const NTP_OFFSET_SECS: u64 = 2_208_988_800;
/// What stands in 16 bits for an AS number that has more (RFC 6793 §9).
const AS_TRANS: u16 = 23_456;

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

/// A field of all flows as integers.
pub(crate) struct Integers<'f> {
    pub(crate) flows: &'f [Flow],
    pub(crate) values: &'f mut Vec<u64>,
}

impl Integers<'_> {
    #[inline]
    fn each(&mut self, value: impl Fn(&Flow) -> u64) {
        self.values.extend(self.flows.iter().map(value));
    }

    /// Appends the values of a field that takes `length` bytes.
    pub(crate) fn gather(&mut self, value: FieldValue, length: usize, teller: &Teller) {
        match value {
            FieldValue::Application => self.each(|flow| flow.key.service.application.into()),
            FieldValue::BootUnixMs => self.each(|_| teller.boot_ms),
            FieldValue::Bytes => self.each(|flow| flow.bytes),
            FieldValue::Constant(value) => self.each(|_| value),
            FieldValue::DestinationAs => self.each(|flow| as_number(&flow.key.destination, length)),
            FieldValue::DestinationIpv4 => self.each(|flow| flow.key.destination.ipv4.into()),
            FieldValue::DestinationMac => {
                self.each(|flow| mac(&flow.key.destination, !flow.key.outbound))
            }
            FieldValue::DestinationMaskIpv4 => {
                self.each(|flow| flow.key.destination.mask_ipv4.into())
            }
            FieldValue::DestinationMaskIpv6 => {
                self.each(|flow| flow.key.destination.mask_ipv6.into())
            }
            FieldValue::DestinationPort => self.each(|flow| flow.key.destination_port.into()),
            FieldValue::DestinationVlan => {
                self.each(|flow| vlan(&flow.key.destination, !flow.key.outbound))
            }
            FieldValue::Direction => self.each(|flow| (!flow.key.outbound).into()),
            FieldValue::EndReason => self.each(|flow| flow.end_reason.into()),
            FieldValue::FirstNtp => self.each(|flow| ntp(flow.first_ms)),
            FieldValue::FirstUnixMs => self.each(|flow| flow.first_ms),
            FieldValue::FirstUnixSecs => self.each(|flow| flow.first_ms / 1000),
            FieldValue::FirstUptimeMs => self.each(|flow| teller.uptime_ms(flow.first_ms).into()),
            // 20 bits that are the flow's own (RFC 6437).
            FieldValue::FlowLabel => self.each(|flow| flow.key.chance >> 44),
            FieldValue::IcmpCode => self.each(|flow| icmp(flow) & 0xff),
            FieldValue::IcmpType => self.each(|flow| icmp(flow) >> 8),
            FieldValue::IcmpTypeAndCode => self.each(icmp),
            FieldValue::Input => self.each(|flow| flow.input.into()),
            FieldValue::LastNtp => self.each(|flow| ntp(flow.last_ms)),
            FieldValue::LastUnixMs => self.each(|flow| flow.last_ms),
            FieldValue::LastUnixSecs => self.each(|flow| flow.last_ms / 1000),
            FieldValue::LastUptimeMs => self.each(|flow| teller.uptime_ms(flow.last_ms).into()),
            FieldValue::NatDestinationIpv4 => {
                self.each(|flow| nat(&flow.key.destination, !flow.key.outbound))
            }
            FieldValue::NatDestinationPort => {
                self.each(|flow| nat_port(flow, flow.key.destination_port, !flow.key.outbound));
            }
            // RFC 8158 §4.1: 4 creates a session of IPv4, 5 deletes it.
            FieldValue::NatEvent => self.each(|flow| 4 + (flow.last_ms & 1)),
            FieldValue::NatSourceIpv4 => self.each(|flow| nat(&flow.key.source, flow.key.outbound)),
            FieldValue::NatSourcePort => {
                self.each(|flow| nat_port(flow, flow.key.source_port, flow.key.outbound));
            }
            FieldValue::NextHopIpv4 => {
                self.each(|flow| teller.place.next_hop_ipv4(flow.output).into())
            }
            FieldValue::ObservationDomain => self.each(|_| teller.observation_domain.into()),
            FieldValue::Output => self.each(|flow| flow.output.into()),
            FieldValue::Packets => self.each(|flow| flow.packets),
            FieldValue::Protocol => self.each(|flow| flow.key.protocol.into()),
            FieldValue::ReverseBytes => self.each(|flow| flow.reverse_bytes()),
            FieldValue::ReversePackets => self.each(|flow| flow.reverse_packets()),
            FieldValue::SourceAs => self.each(|flow| as_number(&flow.key.source, length)),
            FieldValue::SourceIpv4 => self.each(|flow| flow.key.source.ipv4.into()),
            FieldValue::SourceMac => self.each(|flow| mac(&flow.key.source, flow.key.outbound)),
            FieldValue::SourceMaskIpv4 => self.each(|flow| flow.key.source.mask_ipv4.into()),
            FieldValue::SourceMaskIpv6 => self.each(|flow| flow.key.source.mask_ipv6.into()),
            FieldValue::SourcePort => self.each(|flow| flow.key.source_port.into()),
            FieldValue::SourceVlan => self.each(|flow| vlan(&flow.key.source, flow.key.outbound)),
            FieldValue::TcpFlags => self.each(|flow| flow.tcp_flags.into()),
            FieldValue::Tos => self.each(|flow| flow.key.service.tos.into()),
            FieldValue::SourceIpv6
            | FieldValue::DestinationIpv6
            | FieldValue::NextHopIpv6
            | FieldValue::HttpHost => unreachable!("{value:?} is no integer"),
        }
    }
}

fn as_number(host: &Host, length: usize) -> u64 {
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

fn icmp(flow: &Flow) -> u64 {
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

fn nat_port(flow: &Flow, port: u16, is_client: bool) -> u64 {
    if is_client && port != 0 {
        // Of the flow's key, so that it is the same in each record.
        1024 + flow.key.chance % 64_512
    } else {
        port.into()
    }
}

/// What a router of Cisco tells of a request, as a field of variable length in room for the longest: the application's
/// number, two bytes, and the server's name. Where there is no request there is no name; a content of no bytes at all, which
/// RFC 7011 does not rule out, some collectors take for damage.
pub(crate) fn http_host(flow: &Flow) -> [u8; VARIABLE_FIELD_BYTES] {
    let mut field = [0; VARIABLE_FIELD_BYTES];
    let is_request = flow.key.service.shape == Shape::Download && flow.key.outbound;
    let name = if is_request {
        host_name(&flow.key).as_bytes()
    } else {
        &[]
    };
    let length = 6 + name.len();
    // A short content may have the long form of length too (RFC 7011 §7), and some exporters send it.
    let start = if mix(flow.last_ms) & 15 == 0 {
        field[0] = 255;
        field[2] = length as u8;
        3
    } else {
        field[0] = length as u8;
        1
    };
    let content = &mut field[start..][..length];
    content[..4].copy_from_slice(&flow.key.service.application.to_be_bytes());
    content[4..6].copy_from_slice(&[0x34, 0x02]);
    content[6..].copy_from_slice(name);
    field
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
}
