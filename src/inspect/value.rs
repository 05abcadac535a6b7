//! A field's value, as text and as JSON.

use std::fmt;

use forebay_wire::Value;
use forebay_wire::element::DataType;
use forebay_wire::value::UnixTime;
use serde::{Serialize, Serializer};

use crate::time::Rfc3339;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FieldValue<'a> {
    Plain(Value<'a>),
    Time(Rfc3339),
    /// Structured data (RFC 6313), which is not looked into.
    List(&'static str, &'a [u8]),
}

impl<'a> FieldValue<'a> {
    /// Reads a field's `content`. What has no type that is known is shown as octets.
    pub(super) fn new(data_type: Option<DataType>, content: &'a [u8]) -> Self {
        let data_type = data_type.unwrap_or(DataType::OctetArray);
        if let DataType::BasicList | DataType::SubTemplateList | DataType::SubTemplateMultiList =
            data_type
        {
            return Self::List(data_type.name(), content);
        }
        let time = |time: UnixTime| {
            let seconds = i64::try_from(time.secs).ok()?;
            Some(Rfc3339::from_s_ns(seconds, time.nanos))
        };
        let value = Value::new(data_type, content);
        let time = match value {
            Value::Seconds(seconds) => i64::try_from(seconds).ok().map(Rfc3339::from_s),
            Value::Milliseconds(ms) => i64::try_from(ms).ok().map(Rfc3339::from_ms),
            Value::Microseconds(since) | Value::Nanoseconds(since) => time(since),
            _ => None,
        };
        time.map_or(Self::Plain(value), Self::Time)
    }
}

impl fmt::Display for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(Value::Text(text)) => write!(f, "\"{}\"", text.escape_debug()),
            Self::Plain(value @ Value::Octets(octets)) => {
                write!(f, "{value}")?;
                match readable(octets) {
                    Some(text) => write!(f, " \"{text}\""),
                    None => Ok(()),
                }
            }
            Self::Plain(value) => write!(f, "{value}"),
            Self::Time(time) => write!(f, "{time}"),
            Self::List(name, octets) => write!(f, "{name} of {} octets", octets.len()),
        }
    }
}

/// Octets that look like text, as many enterprises' elements are.
fn readable(octets: &[u8]) -> Option<&str> {
    const LEAST: usize = 4;
    let text = std::str::from_utf8(octets).ok()?;
    let is_text = |c: char| c == ' ' || c.is_ascii_graphic() && c != '"';
    (text.len() >= LEAST && text.chars().all(is_text)).then_some(text)
}

/// Numbers as numbers, text as it is, all else as it is shown.
impl Serialize for FieldValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(Value::Unsigned(value)) => serializer.serialize_u64(*value),
            Self::Plain(Value::Signed(value)) => serializer.serialize_i64(*value),
            Self::Plain(Value::Float(value)) => serializer.serialize_f64(*value),
            Self::Plain(Value::Boolean(value)) => serializer.serialize_bool(*value),
            Self::Plain(Value::Text(text)) => serializer.serialize_str(text),
            Self::List(_, octets) => serializer.collect_str(&Value::Octets(octets)),
            Self::Plain(value) => serializer.collect_str(value),
            Self::Time(time) => serializer.collect_str(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(data_type: DataType, content: &[u8]) -> (String, String) {
        let value = FieldValue::new(Some(data_type), content);
        let json = serde_json::to_string(&value).expect("a value is JSON");
        (value.to_string(), json)
    }

    #[test]
    fn values_for_people_and_for_programs() {
        for (data_type, content, text, json) in [
            (DataType::Unsigned64, &[1, 0][..], "256", "256"),
            (DataType::Boolean, &[1], "true", "true"),
            (
                DataType::Ipv4Address,
                &[192, 0, 2, 1],
                "192.0.2.1",
                "\"192.0.2.1\"",
            ),
            (DataType::String, b"a\x1b\0", "\"a\\u{1b}\"", "\"a\\u001b\""),
            (DataType::OctetArray, &[1, 0xff], "0x01ff", "\"0x01ff\""),
            (
                DataType::BasicList,
                &[3, 0, 8],
                "basicList of 3 octets",
                "\"0x030008\"",
            ),
            (
                DataType::DateTimeSeconds,
                &[0x6b, 0x01, 0xc9, 0x60],
                "2026-11-21T16:40:00Z",
                "\"2026-11-21T16:40:00Z\"",
            ),
            (
                DataType::DateTimeMilliseconds,
                &[0, 0, 0, 0, 0, 0, 0, 1],
                "1970-01-01T00:00:00.001Z",
                "\"1970-01-01T00:00:00.001Z\"",
            ),
            (
                DataType::DateTimeMicroseconds,
                &[0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0],
                "1970-01-01T00:00:00.500000000Z",
                "\"1970-01-01T00:00:00.500000000Z\"",
            ),
        ] {
            assert_eq!(
                shown(data_type, content),
                (text.to_owned(), json.to_owned())
            );
        }
    }

    #[test]
    fn octets_that_look_like_text_are_shown_as_such_too() {
        assert_eq!(
            shown(DataType::OctetArray, b"domain"),
            (
                "0x646f6d61696e \"domain\"".to_owned(),
                "\"0x646f6d61696e\"".to_owned()
            )
        );
        assert_eq!(shown(DataType::OctetArray, b"CN\0\0").0, "0x434e0000");
    }

    #[test]
    fn a_time_out_of_reach_is_a_number() {
        assert_eq!(
            shown(DataType::DateTimeMilliseconds, &[0xff; 8]).0,
            "18446744073709551.615"
        );
    }
}
