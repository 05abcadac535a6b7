//! The order of the answer's rows.
//!
//! By what was asked for, nulls last; then by the class of their keys, IPv4 before IPv6; then by the words
//! of their keys. No two rows are equal, so the order is the same however the work was shared.

use std::cmp::Ordering;

use super::layout::{Class, Field, Layout, meta};
use super::pack::ordered;
use super::value::Value;

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// The key at that place.
    Key(usize),
    Value(Value),
}

/// An order of rows of all layouts.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    /// What counts first, first; and whether the greatest comes first.
    pub(super) by: Vec<(Column, bool)>,
}

/// A row and what it consists of.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) layout: &'a Layout,
    pub(super) words: &'a [u64],
}

/// A value to compare: IPv4 addresses come before others.
type Comparable = Option<(bool, u128)>;

impl<'a> Row<'a> {
    fn key_words(self) -> &'a [u64] {
        &self.words[..self.layout.key_words]
    }

    fn column(self, column: Column) -> Comparable {
        match column {
            Column::Key(place) => self.key(place),
            Column::Value(value) => self.value(value).map(|value| (false, u128::from(value))),
        }
    }

    /// The key at `place`, of which there are 64 bits at the most.
    #[inline]
    pub(super) fn number(self, place: usize) -> Option<u64> {
        let field: Field = self.layout.fields[place]?;
        if field.null.is_some_and(|null| null.is_set(self.words)) {
            return None;
        }
        Some(field.place.bits(self.words, field.bits.min(64)))
    }

    /// The key at `place`; whether it is no IPv4 address, and its bits.
    pub(super) fn key(self, place: usize) -> Comparable {
        let field: Field = self.layout.fields[place]?;
        if field.null.is_some_and(|null| null.is_set(self.words)) {
            return None;
        }
        let word = field.place.word;
        Some(match field.bits {
            128 => {
                let is_ipv4 = field.is_ipv4.is_some_and(|place| place.is_set(self.words));
                let bits = u128::from(self.words[word]) << 64 | u128::from(self.words[word + 1]);
                (!is_ipv4, bits)
            }
            bits => (false, u128::from(field.place.bits(self.words, bits))),
        })
    }

    /// A value as a number of which the order is that of the values.
    pub(super) fn value(self, value: Value) -> Option<u64> {
        let words = &self.layout.values;
        let bits = words.meta.map_or(0, |word| self.words[word]);
        let has = |bit: u64| bits & bit != 0;
        let word = |word: Option<usize>| word.map_or(0, |word| self.words[word]);
        let agreed = |shift: u32| {
            let (set, clear) = (bits >> shift & 0xff, bits >> (shift + 8) & 0xff);
            (set & clear == 0).then_some(set)
        };
        match value {
            Value::Flows => Some(self.words[words.flows]),
            Value::Packets => has(meta::PACKETS).then(|| word(words.packets)),
            Value::Bytes => has(meta::BYTES).then(|| word(words.bytes)),
            Value::First => has(meta::FIRST).then(|| ordered(word(words.first) as i64)),
            Value::Last => has(meta::LAST).then(|| ordered(word(words.last) as i64)),
            Value::Duration => (has(meta::FIRST) && has(meta::LAST)).then(|| {
                // Those that do not fit are an error before.
                let (first, last) = (word(words.first) as i64, word(words.last) as i64);
                ordered(last.saturating_sub(first))
            }),
            Value::TcpFlags => has(meta::TCP_FLAGS).then_some(bits >> meta::FLAGS_SHIFT & 0xffff),
            Value::IcmpType => has(meta::ICMP_TYPE)
                .then(|| agreed(meta::TYPE_SHIFT))
                .flatten(),
            Value::IcmpCode => has(meta::ICMP_CODE)
                .then(|| agreed(meta::CODE_SHIFT))
                .flatten(),
            Value::Exporters => Some(word(words.distinct[0])),
            Value::SrcCount => Some(word(words.distinct[1])),
            Value::DstCount => Some(word(words.distinct[2])),
        }
    }
}

impl Order {
    /// A number for a row: one with a lesser number comes first.
    pub(super) fn rank(&self, row: Row<'_>) -> u64 {
        let Some(&(column, is_descending)) = self.by.first() else {
            let class = match row.layout.class {
                Class::Ipv4 => 0,
                Class::Wide => 1,
                Class::Plain => 2_u64,
            };
            return class << 62 | row.words.first().map_or(0, |word| word >> 2);
        };
        let number = match row.column(column) {
            None => return u64::MAX,
            // IPv4 addresses have 32 bits.
            Some((false, bits)) => u64::try_from(bits).unwrap_or(u64::MAX),
            Some((true, bits)) => ((bits >> 64) as u64).max(1 << 32),
        };
        if is_descending { !number } else { number }
    }

    /// Which of two rows comes first.
    pub(super) fn compare(&self, one: Row<'_>, other: Row<'_>) -> Ordering {
        for &(column, is_descending) in &self.by {
            let order = match (one.column(column), other.column(column)) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(one), Some(other)) if is_descending => other.cmp(&one),
                (Some(one), Some(other)) => one.cmp(&other),
            };
            if order.is_ne() {
                return order;
            }
        }
        let class = one.layout.class.cmp(&other.layout.class);
        class.then_with(|| one.key_words().cmp(other.key_words()))
    }
}
