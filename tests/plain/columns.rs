//! What a record's row must hold, by DESIGN's table of columns.

use forebay_store::Family;
use forebay_wire::template::VARIABLE_LENGTH;
use forebay_wire::{ElementId, FieldSpecifier};

use super::rows::{Cell, Row};
use super::{Facts, Header, PlainRecord};

/// RFC 5103: the way back.
const REVERSE: u32 = 29_305;

/// The big-endian number of up to eight bytes.
pub(super) fn unsigned(content: &[u8]) -> u64 {
    assert!(content.len() <= 8);
    content
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Of how many packets one is taken, where `taken` are followed by `space` that are not.
pub(super) fn interval(taken: u64, space: u64) -> Option<u64> {
    taken.checked_add(space)?.checked_div(taken)
}

/// The uptime, modulo 2^32, at `unix_ms` of what started at `start_ms`.
pub(super) fn uptime_at(unix_ms: i64, start_ms: u64) -> u32 {
    (i128::from(unix_ms) - i128::from(start_ms)).rem_euclid(1 << 32) as u32
}

struct Fields<'f> {
    fields: &'f [(FieldSpecifier, Vec<u8>)],
}

impl Fields<'_> {
    /// The first field of an element that has any content by its template.
    fn first(&self, element: ElementId) -> Option<(FieldSpecifier, &[u8])> {
        let found = self
            .fields
            .iter()
            .find(|(field, _)| field.element == element && field.length > 0);
        found.map(|(field, content)| (*field, content.as_slice()))
    }

    /// The first of the elements that has a length which its column can take.
    fn content(&self, elements: &[ElementId], lengths: &[usize]) -> Option<&[u8]> {
        let contents = elements.iter().filter_map(|&element| self.first(element));
        let mut fitting = contents.filter(|(field, content)| {
            field.length != VARIABLE_LENGTH && lengths.contains(&content.len())
        });
        fitting.next().map(|(_, content)| content)
    }

    fn number(&self, elements: &[ElementId]) -> Option<u64> {
        self.content(elements, &[1, 2, 3, 4, 5, 6, 7, 8])
            .map(unsigned)
    }

    fn iana(&self, number: u16) -> Option<u64> {
        self.number(&[ElementId::iana(number)])
    }

    fn is_set(&self, numbers: [u16; 2], length: usize) -> (bool, bool) {
        let contents: Vec<_> = numbers
            .iter()
            .filter_map(|&number| self.content(&[ElementId::iana(number)], &[length]))
            .collect();
        let set = contents
            .iter()
            .any(|content| content.iter().any(|&byte| byte != 0));
        (!contents.is_empty(), set)
    }

    /// The family, and whether the other's addresses are filled in too.
    fn family(&self) -> (Family, bool) {
        let (has_ipv4, ipv4) = self.is_set([8, 12], 4);
        let (has_ipv6, ipv6) = self.is_set([27, 28], 16);
        let says_ipv6 = self.iana(60) == Some(6);
        match (has_ipv4, has_ipv6) {
            (false, false) => (Family::Other, true),
            (true, false) => (Family::Ipv4, false),
            (false, true) => (Family::Ipv6, false),
            (true, true) => match (ipv4, ipv6) {
                (true, false) => (Family::Ipv4, false),
                (false, true) => (Family::Ipv6, false),
                (both, _) if says_ipv6 => (Family::Ipv6, both),
                (both, _) => (Family::Ipv4, both),
            },
        }
    }

    /// The first of tcp, udp and plain ports that is not zero; zero if there is one.
    fn port(&self, numbers: [u16; 3]) -> Option<u64> {
        let ports: Vec<u64> = numbers
            .into_iter()
            .filter_map(|number| self.iana(number))
            .collect();
        let fits = |port: &&u64| (1..=u64::from(u16::MAX)).contains(port);
        // A first that does not fit its column leaves it empty.
        let first = ports.first().filter(|port| **port <= u64::from(u16::MAX))?;
        Some(ports.iter().find(fits).copied().unwrap_or(*first))
    }
}

fn elements<const N: usize>(numbers: [u16; N]) -> [ElementId; N] {
    numbers.map(ElementId::iana)
}

/// Decodes one record.
pub(crate) fn record(
    template_id: Option<u16>,
    fields: Vec<(FieldSpecifier, Vec<u8>)>,
    header: &Header,
    facts: &Facts,
) -> PlainRecord {
    let own = Fields { fields: &fields };
    let (family, both) = own.family();
    let mut row = Row::default();
    let mut put = |name: &str, cell: Option<Cell>| {
        if let Some(cell) = cell {
            row.insert(name.to_owned(), cell);
        }
    };
    put("received", Some(Cell::Time(header.received_us)));
    put("exporter", Some(Cell::Text(header.source.ip().to_string())));
    put(
        "exporter_port",
        Some(Cell::Number(header.source.port().into())),
    );
    put(
        "observation_domain",
        Some(Cell::Number(header.domain.into())),
    );
    put("export_version", Some(Cell::Number(header.version.into())));
    put("template_id", template_id.map(|id| Cell::Number(id.into())));
    numbers(&own, family, &mut put);
    addresses(&own, family, both, &mut put);
    put("src_port", own.port([7, 182, 180]).map(Cell::Number));
    put("dst_port", own.port([11, 183, 181]).map(Cell::Number));
    let icmp = icmp(&own, family, template_id.is_none());
    put("icmp_type", icmp.0.map(Cell::Number));
    put("icmp_code", icmp.1.map(Cell::Number));
    put(
        "sampling_rate",
        sampling_rate(&own, header, facts).map(Cell::Number),
    );
    let (first, last, times_by_uptime) = times(&own, header);
    put("first", first.map(Cell::Time));
    put("last", last.map(Cell::Time));
    PlainRecord {
        family,
        row,
        times_by_uptime,
        export_us: header.unix_ms * 1000,
        fields,
    }
}

fn numbers(fields: &Fields<'_>, family: Family, put: &mut impl FnMut(&str, Option<Cell>)) {
    let reverse = |number| ElementId::new(REVERSE, number);
    let (src_mask, dst_mask) = match family {
        Family::Ipv6 => ([29, 9], [30, 13]),
        Family::Ipv4 | Family::Other => ([9, 29], [13, 30]),
    };
    let columns: [(&str, u64, &[ElementId]); 21] = [
        ("protocol", u8::MAX.into(), &elements([4])),
        ("tos", u8::MAX.into(), &elements([5])),
        ("tcp_flags", u16::MAX.into(), &elements([6])),
        ("packets", u64::MAX, &elements([2, 86, 298])),
        ("bytes", u64::MAX, &elements([1, 85, 231])),
        (
            "reverse_packets",
            u64::MAX,
            &[reverse(2), reverse(86), ElementId::iana(299)],
        ),
        (
            "reverse_bytes",
            u64::MAX,
            &[reverse(1), reverse(85), ElementId::iana(232)],
        ),
        ("in_if", u32::MAX.into(), &elements([10])),
        ("out_if", u32::MAX.into(), &elements([14])),
        ("src_as", u32::MAX.into(), &elements([16])),
        ("dst_as", u32::MAX.into(), &elements([17])),
        ("src_mask", u8::MAX.into(), &elements(src_mask)),
        ("dst_mask", u8::MAX.into(), &elements(dst_mask)),
        ("src_vlan", u16::MAX.into(), &elements([58])),
        ("dst_vlan", u16::MAX.into(), &elements([59])),
        ("direction", u8::MAX.into(), &elements([61])),
        ("flow_end_reason", u8::MAX.into(), &elements([136])),
        ("forwarding_status", u8::MAX.into(), &elements([89])),
        ("nat_src_port", u16::MAX.into(), &elements([227, 40_003])),
        ("nat_dst_port", u16::MAX.into(), &elements([228, 40_004])),
        ("nat_event", u8::MAX.into(), &elements([230])),
    ];
    for (name, max, elements) in columns {
        put(
            name,
            fields
                .number(elements)
                .filter(|&value| value <= max)
                .map(Cell::Number),
        );
    }
    for (name, wanted) in [
        ("nat_src_ipv4", [225, 40_001]),
        ("nat_dst_ipv4", [226, 40_002]),
    ] {
        put(
            name,
            fields
                .content(&elements(wanted), &[4])
                .map(unsigned)
                .map(Cell::Number),
        );
    }
    for (name, number) in [
        ("mpls_label_1", 70),
        ("mpls_label_2", 71),
        ("mpls_label_3", 72),
    ] {
        let entry = fields.content(&[ElementId::iana(number)], &[3, 4]);
        // The upper 20 bits of three bytes.
        put(
            name,
            entry.map(|entry| Cell::Number(unsigned(&entry[..3]) >> 4)),
        );
    }
}

fn addresses(
    fields: &Fields<'_>,
    family: Family,
    both: bool,
    put: &mut impl FnMut(&str, Option<Cell>),
) {
    let octets = |content: &[u8]| Cell::Octets(content.to_vec());
    for (name, wanted) in [("src_mac", [56, 81]), ("dst_mac", [80, 57])] {
        put(name, fields.content(&elements(wanted), &[6]).map(octets));
    }
    // Where a template has both families' addresses, what is of the family that is not set stands for nothing. Where
    // it has those of one, a next hop of the other is meant.
    let (has_ipv4, has_ipv6) = (fields.is_set([8, 12], 4).0, fields.is_set([27, 28], 16).0);
    let any_next_hop = both || !(has_ipv4 && has_ipv6);
    for (name, number, is_next_hop) in [
        ("src_ipv4", 8, false),
        ("dst_ipv4", 12, false),
        ("next_hop_ipv4", 15, true),
        ("bgp_next_hop_ipv4", 18, true),
    ] {
        if both || family == Family::Ipv4 || is_next_hop && any_next_hop {
            let address = fields.content(&[ElementId::iana(number)], &[4]);
            put(name, address.map(unsigned).map(Cell::Number));
        }
    }
    for (name, number, is_next_hop) in [
        ("src_ipv6", 27, false),
        ("dst_ipv6", 28, false),
        ("next_hop_ipv6", 62, true),
        ("bgp_next_hop_ipv6", 63, true),
    ] {
        if both || family == Family::Ipv6 || is_next_hop && any_next_hop {
            let address = fields.content(&[ElementId::iana(number)], &[16]);
            put(name, address.map(octets));
        }
    }
}

fn icmp(fields: &Fields<'_>, family: Family, fixed: bool) -> (Option<u64>, Option<u64>) {
    if fixed {
        let port = fields.iana(11).filter(|_| fields.iana(4) == Some(1));
        return (port.map(|port| port >> 8), port.map(|port| port & 0xff));
    }
    let (types, codes, both) = match family {
        Family::Ipv6 => ([178, 176], [179, 177], [139, 32]),
        Family::Ipv4 | Family::Other => ([176, 178], [177, 179], [32, 139]),
    };
    let both = fields.content(&elements(both), &[2]).map(unsigned);
    // A type of its own that does not fit leaves the column empty.
    let byte = |numbers: [u16; 2], of_both: Option<u64>| match fields.number(&elements(numbers)) {
        Some(value) => Some(value).filter(|&value| value <= u8::MAX.into()),
        None => of_both,
    };
    (
        byte(types, both.map(|both| both >> 8)),
        byte(codes, both.map(|both| both & 0xff)),
    )
}

fn sampling_rate(fields: &Fields<'_>, header: &Header, facts: &Facts) -> Option<u64> {
    let own = u64::from(header.sampling_interval);
    let default = Some(own).filter(|&rate| rate > 0).or(facts.rate);
    let rate = |rate: u64| Some(rate).filter(|rate| (1..=u64::from(u32::MAX)).contains(rate));
    if let Some(value) = fields.iana(34).or(fields.iana(50)) {
        return rate(value).or(default);
    }
    if let (Some(taken), Some(space)) = (fields.iana(305), fields.iana(306)) {
        return interval(taken, space).and_then(rate);
    }
    for element in [48, 302] {
        if let Some(sampler) = fields.iana(element) {
            return facts.samplers.get(&(element, sampler)).copied().or(default);
        }
    }
    default
}

/// First and last, in microseconds, and whether both count from the exporter's start.
fn times(fields: &Fields<'_>, header: &Header) -> (Option<i64>, Option<i64>, bool) {
    let export_us = header.unix_ms * 1000;
    let uptime_ms = match fields.iana(160) {
        Some(start_ms) => Some(uptime_at(header.unix_ms, start_ms)),
        None => header.uptime_ms,
    };
    let limited = |number: u16, max: usize| {
        let content = fields.content(&[ElementId::iana(number)], &[1, 2, 3, 4, 5, 6, 7, 8])?;
        (content.len() <= max).then(|| unsigned(content))
    };
    let ntp = |number: u16| {
        let content = fields.content(&[ElementId::iana(number)], &[8])?;
        let (seconds, fraction) = (
            unsigned(&content[..4]).cast_signed(),
            unsigned(&content[4..]),
        );
        // RFC 4330 §3: "If bit 0 is set, the UTC time is in the range 1968-2036 […]. If bit 0 is not set, the time is
        // in the range 2036-2104".
        let era = if seconds < 1 << 31 { 1_i64 << 32 } else { 0 };
        let micros = (fraction as u128 * 1_000_000) >> 32;
        Some((seconds + era - 2_208_988_800) * 1_000_000 + micros as i64)
    };
    // A time beyond 64 bits of microseconds stands for the last one there is.
    let milliseconds =
        |number| limited(number, 8).map(|ms| ms.min((i64::MAX / 1000) as u64).cast_signed() * 1000);
    let seconds = |number| limited(number, 4).map(|s| s.cast_signed() * 1_000_000);
    let delta = |number| limited(number, 4).map(|us| export_us - us.cast_signed());
    // Up to 2^31 ms before the message is before it, the other half after it.
    let uptime = |number| {
        let age_ms = uptime_ms?.wrapping_sub(limited(number, 4)? as u32);
        Some(export_us - i64::from(age_ms.cast_signed()) * 1000)
    };
    let of = |micro, nano, milli, second, ago| {
        let absolute = ntp(micro)
            .or_else(|| ntp(nano))
            .or_else(|| milliseconds(milli));
        absolute.or_else(|| seconds(second)).or_else(|| delta(ago))
    };
    let (start, end) = (of(154, 156, 152, 150, 158), of(155, 157, 153, 151, 159));
    let event = ntp(324)
        .or_else(|| ntp(325))
        .or_else(|| milliseconds(323))
        .or_else(|| seconds(322));
    // Each of the two: its own time, the event's, or the other's; else the export time.
    let (start_up, end_up) = (uptime(22), uptime(21));
    let choose = |candidates: [(Option<i64>, bool); 5]| {
        let found = candidates.into_iter().find(|(time, _)| time.is_some());
        found.unwrap_or((Some(export_us), false))
    };
    let (mut first, first_by_uptime) = choose([
        (start, false),
        (start_up, true),
        (event, false),
        (end, false),
        (end_up, true),
    ]);
    let (mut last, last_by_uptime) = choose([
        (end, false),
        (end_up, true),
        (event, false),
        (start, false),
        (start_up, true),
    ]);
    let by_uptime = first_by_uptime && last_by_uptime;
    if let (true, Some(first), Some(last)) = (by_uptime, &mut first, &mut last) {
        if *last < *first {
            *last = *first;
        }
        // By the message's clock, the message is the latest that can be. By a start of the record's own, all can be.
        let by_header = fields.iana(160).is_none();
        let ahead = |time: i64| by_header && time > export_us + 1_000_000;
        if ahead(*first) {
            (*first, *last) = (export_us - (*last - *first), export_us);
        } else if ahead(*last) {
            *last = export_us.max(*first);
        }
    }
    (first, last, by_uptime)
}
