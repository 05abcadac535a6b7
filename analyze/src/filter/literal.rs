//! What is written for a value: numbers with units, times, durations, addresses, flags.

use std::net::IpAddr;

use chrono::{NaiveDate, NaiveDateTime, Timelike};

use super::ranges;

/// A number as it is written, without rounding: the greatest whole number that is not above it, and whether it is it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) floor: i128,
    pub(super) is_whole: bool,
}

/// What units are worth.
type Units = &'static [(&'static str, u128)];

const AMOUNTS: Units = &[
    ("", 1),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const NANOSECONDS: Units = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// `80`, `0x50`, `-3`, `1e6`, `10k`, `5MiB`.
pub(super) fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        let floor = i128::from(u64::from_str_radix(digits, 16).ok()?);
        return Some(Number {
            floor,
            is_whole: true,
        });
    }
    quantity(text, AMOUNTS, 1)
}

/// A duration in microseconds: `500ms`, `5min`; only 0 needs no unit.
pub(super) fn duration(text: &str) -> Option<Number> {
    if text == "0" {
        return number(text);
    }
    quantity(text, NANOSECONDS, 1_000)
}

/// A number and its unit, divided by `divisor`.
fn quantity(text: &str, units: Units, divisor: u128) -> Option<Number> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (digits, decimals, exponent, unit) = parts(text)?;
    let &(_, worth) = units.iter().find(|(name, _)| *name == unit)?;
    let written: u128 = format!("{digits}{decimals}").parse().ok()?;
    let exponent = exponent.saturating_sub(i32::try_from(decimals.len()).ok()?);
    let power = |exponent: u32| 10_u128.checked_pow(exponent);
    // What is too great for any column, or too close to a whole number, is so all the same.
    let (value, divisor) = if exponent >= 0 {
        let factor = power(exponent.unsigned_abs()).and_then(|power| power.checked_mul(worth));
        let value = factor.and_then(|factor| written.checked_mul(factor));
        let beyond = if written == 0 { 0 } else { i128::MAX as u128 };
        (value.unwrap_or(beyond), divisor)
    } else {
        let divisor = power(exponent.unsigned_abs()).and_then(|power| power.checked_mul(divisor));
        (written.saturating_mul(worth), divisor.unwrap_or(u128::MAX))
    };
    let is_whole = value % divisor == 0;
    let floor = i128::try_from(value / divisor).unwrap_or(i128::MAX);
    let floor = match (is_negative, is_whole) {
        (false, _) => floor,
        (true, true) => -floor,
        (true, false) => -floor - 1,
    };
    Some(Number { floor, is_whole })
}

/// The digits before and after the point, the exponent, and the unit.
fn parts(text: &str) -> Option<(&str, &str, i32, &str)> {
    let split = |text: &'_ str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (digits, rest) = text.split_at(split(text));
    let (decimals, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(split(rest)),
        None => ("", rest),
    };
    let has_point = text.len() > digits.len() + rest.len() + decimals.len();
    if digits.is_empty() || has_point && decimals.is_empty() {
        return None;
    }
    let Some(power) = rest.strip_prefix(['e', 'E']) else {
        return Some((digits, decimals, 0, rest));
    };
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => (-1, power),
        None => (1, power.strip_prefix('+').unwrap_or(power)),
    };
    let (exponent, unit) = power.split_at(split(power));
    let exponent: i32 = exponent.parse().ok()?;
    Some((digits, decimals, sign * exponent, unit))
}

/// A time (UTC) in microseconds since 1970: `2026-11-21`, `2026-11-21 10:00`, `2026-11-21T10:00:00.5Z`.
pub(super) fn time(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text).replacen('T', " ", 1);
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let formats = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f"];
    let time = formats
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(&text, format).ok())
        .or_else(|| {
            let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
            date.and_hms_opt(0, 0, 0)
        })?;
    // Finer than the columns are would be no such time.
    (time.nanosecond() % 1_000 == 0).then(|| time.and_utc().timestamp_micros())
}

/// Protocols that have a name here (IANA's "Protocol Numbers").
const PROTOCOLS: [(u8, &str); 15] = [
    (1, "ICMP"),
    (2, "IGMP"),
    (4, "IPv4"),
    (6, "TCP"),
    (17, "UDP"),
    (41, "IPv6"),
    (47, "GRE"),
    (50, "ESP"),
    (51, "AH"),
    (58, "ICMPv6"),
    (89, "OSPF"),
    (103, "PIM"),
    (112, "VRRP"),
    (115, "L2TP"),
    (132, "SCTP"),
];

/// The name of a protocol that traffic is made of, which a filter understands too.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    let found = PROTOCOLS.iter().find(|(known, _)| *known == number);
    found.map(|(_, name)| *name)
}

/// A protocol's number, or its name in small letters or capitals.
pub(super) fn protocol(text: &str) -> Option<Number> {
    let named = PROTOCOLS
        .iter()
        .find(|(_, name)| name.eq_ignore_ascii_case(text));
    match named {
        Some(&(number, _)) => Some(Number {
            floor: number.into(),
            is_whole: true,
        }),
        None => number(text),
    }
}

/// The bits of TCP's flags (RFC 9293 §3.1; ns: RFC 3540).
const TCP_FLAGS: [(&str, u64); 9] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
    ("ns", 0x100),
];

/// Bits: a number, or `syn+ack`.
pub(super) fn flags(text: &str) -> Option<u64> {
    if let Some(Number {
        floor,
        is_whole: true,
    }) = number(text)
    {
        return u64::try_from(floor).ok();
    }
    let bit = |name: &str| {
        let found = TCP_FLAGS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|&(_, bit)| bit)
    };
    text.split('+')
        .map(bit)
        .try_fold(0, |bits, bit| Some(bits | bit?))
}

/// Addresses of one family, by their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    Ipv4(u128, u128),
    Ipv6(u128, u128),
}

/// One address.
pub(super) fn address(text: &str) -> Option<Addresses> {
    Some(match text.parse().ok()? {
        IpAddr::V4(address) => {
            let key = address.to_bits().into();
            Addresses::Ipv4(key, key)
        }
        IpAddr::V6(address) => {
            let key = address.to_bits();
            Addresses::Ipv6(key, key)
        }
    })
}

/// An address, or a prefix (`10.0.0.0/8`) without bits behind it.
pub(super) fn prefix(text: &str) -> Option<Addresses> {
    let Some((text, length)) = text.split_once('/') else {
        return address(text);
    };
    let length: u32 = length.parse().ok()?;
    let rest = |bits: u32| {
        let rest = bits.checked_sub(length)?;
        Some(1_u128.checked_shl(rest).unwrap_or(0).wrapping_sub(1))
    };
    match address(text)? {
        Addresses::Ipv4(key, _) => {
            let rest = rest(32)?;
            (key & rest == 0).then_some(Addresses::Ipv4(key, key | rest))
        }
        Addresses::Ipv6(key, _) => {
            let rest = rest(128)?;
            (key & rest == 0).then_some(Addresses::Ipv6(key, key | rest))
        }
    }
}

/// The key of a MAC address: `00:00:5e:00:53:01`, or with `-`.
pub(super) fn mac(text: &str) -> Option<u128> {
    let octet = |part: &str| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok())?;
    let parts: Option<Vec<u8>> = text.split([':', '-']).map(octet).collect();
    let octets: [u8; 6] = parts?.try_into().ok()?;
    Some(ranges::octets(&octets))
}

/// Octets by their hexadecimal digits.
pub(super) fn octets(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octet = |pair: &[u8; 2]| {
        let digit = |c: u8| char::from(c).to_digit(16);
        let [high, low] = *pair;
        u8::try_from(digit(high)? << 4 | digit(low)?).ok()
    };
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_not_rounded() {
        for (text, floor, is_whole) in [
            ("0", 0, true),
            ("80", 80, true),
            ("0x50", 80, true),
            ("1e6", 1_000_000, true),
            ("1.5e3", 1_500, true),
            ("15e-1", 1, false),
            ("2.5k", 2_500, true),
            ("5MiB", 5 << 20, true),
            ("0.3", 0, false),
            ("-3", -3, true),
            ("-0.5", -1, false),
            ("1e-400", 0, false),
            ("1.55e-2147483647", 0, false),
            ("18446744073709551615", u64::MAX.into(), true),
            ("1e400", i128::MAX, true),
            ("0e400", 0, true),
        ] {
            assert_eq!(number(text), Some(Number { floor, is_whole }), "{text}");
        }
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e",
            "1 k",
            "k",
            "10mib",
            "0x",
            "0xg",
            "1e99999999999",
            "+1",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_in_microseconds() {
        for (text, floor, is_whole) in [
            ("0", 0, true),
            ("1.5ms", 1_500, true),
            ("2h", 7_200_000_000, true),
            ("1500ns", 1, false),
            ("-1s", -1_000_000, true),
        ] {
            assert_eq!(duration(text), Some(Number { floor, is_whole }), "{text}");
        }
        assert_eq!(duration("5"), None);
    }

    #[test]
    fn times_are_utc() {
        for (text, us) in [
            ("1970-01-01", 0),
            ("2026-11-21 16:40", 1_795_279_200_000_000),
            ("2026-11-21T16:40:00.000001Z", 1_795_279_200_000_001),
            ("1969-12-31 23:59:59.5", -500_000),
        ] {
            assert_eq!(time(text), Some(us), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-02-30",
            "2026-11-21 25:00",
            "2026-11-21 10:00:00.1234567",
            "+2026-11-21",
            "noon",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn prefixes_have_no_bits_behind_them() {
        assert_eq!(
            prefix("10.0.0.0/8"),
            Some(Addresses::Ipv4(10 << 24, (11 << 24) - 1))
        );
        assert_eq!(
            prefix("0.0.0.0/0"),
            Some(Addresses::Ipv4(0, u32::MAX.into()))
        );
        assert_eq!(prefix("::/0"), Some(Addresses::Ipv6(0, u128::MAX)));
        assert_eq!(prefix("::1/128"), Some(Addresses::Ipv6(1, 1)));
        assert_eq!(prefix("::1"), address("::1"));
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10/8",
            "2001:db8::/8",
            "/8",
        ] {
            assert_eq!(prefix(text), None, "{text}");
        }
    }

    #[test]
    fn names_and_digits() {
        assert_eq!(flags("SYN+ack"), Some(0x12));
        assert_eq!(flags("0x12"), Some(0x12));
        assert_eq!(flags("syn+"), None);
        assert_eq!(flags("-1"), None);
        assert_eq!(protocol("Icmpv6").map(|number| number.floor), Some(58));
        assert_eq!(protocol("0x11").map(|number| number.floor), Some(17));
        assert_eq!(mac("02:00:00:00:00:0a"), Some(0x0200_0000_000a));
        assert_eq!(mac("02-00-00-00-00-0A"), Some(0x0200_0000_000a));
        assert_eq!(mac("2:0:0:0:0:a"), None);
        assert_eq!(octets("00ffA0"), Some(vec![0, 0xff, 0xa0]));
        assert_eq!(octets("0"), None);
        assert_eq!(octets("é"), None);
    }
}
