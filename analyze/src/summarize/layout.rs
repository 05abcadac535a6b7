//! Where in a row of words the key and the values of a group are.
//!
//! ```text
//! key words … | meta | flows | packets | bytes | first | last | different …
//! ```
//!
//! Fields of the key follow each other in the words from the highest bit on, none across two words but
//! those of 128 bits, so that rows in the order of their key words are nearly in the order of their keys.
//! Behind the last field stands a bit for each that may be null. Values that nobody asked for have no word.
//!
//! A row of one flow and one of a million have the same form, so there is one way to merge rows.

use forebay_store::ColumnType;

use super::key::{Key, Source};
use super::value::Value;

/// Which addresses the key of a row has. Each class has its own layout; where the key has no addresses,
/// all rows are plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// IPv4 addresses or none, but at least one.
    Ipv4,
    /// At least one IPv6 address.
    Wide,
    /// No address; or the key has no place for one.
    Plain,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Ipv4, Self::Wide, Self::Plain];
}

/// Some bits of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) word: usize,
    pub(super) shift: u32,
}

impl Place {
    /// The bits of a row, if there are `bits` of them.
    #[inline]
    pub(super) fn bits(self, row: &[u64], bits: u32) -> u64 {
        row[self.word] >> self.shift & (u64::MAX >> (64 - bits))
    }

    pub(super) fn is_set(self, row: &[u64]) -> bool {
        self.bits(row, 1) == 1
    }
}

/// Where a field of the key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Its bits; of those of 128, the word of the higher half.
    pub(super) place: Place,
    pub(super) bits: u32,
    /// Set where it is null.
    pub(super) null: Option<Place>,
    /// Of an address in a wide row: set where it is an IPv4 address.
    pub(super) is_ipv4: Option<Place>,
}

/// Bits of the meta word. All of them are merged by "or".
pub(super) mod meta {
    /// Some flow has packets; and so on.
    pub(crate) const PACKETS: u64 = 1 << 63;
    pub(crate) const BYTES: u64 = 1 << 62;
    pub(crate) const FIRST: u64 = 1 << 61;
    pub(crate) const LAST: u64 = 1 << 60;
    pub(crate) const TCP_FLAGS: u64 = 1 << 59;
    pub(crate) const ICMP_TYPE: u64 = 1 << 58;
    pub(crate) const ICMP_CODE: u64 = 1 << 57;
    /// Where the flags are; and of types and codes the bits that are set in any and, 8 higher, those that
    /// are clear in any. Where none is both, all agree.
    pub(crate) const FLAGS_SHIFT: u32 = 0;
    pub(crate) const TYPE_SHIFT: u32 = 16;
    pub(crate) const CODE_SHIFT: u32 = 32;
}

/// The words of a row behind its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Words {
    pub(super) meta: Option<usize>,
    pub(super) flows: usize,
    pub(super) packets: Option<usize>,
    pub(super) bytes: Option<usize>,
    pub(super) first: Option<usize>,
    pub(super) last: Option<usize>,
    /// Of exporters, source and destination addresses: how many different ones, once they are counted.
    pub(super) distinct: [Option<usize>; 3],
}

/// The layout of the rows of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) class: Class,
    /// One for each key; `None` for an address that is always null.
    pub(super) fields: Vec<Option<Field>>,
    pub(super) key_words: usize,
    pub(super) values: Words,
    pub(super) words: usize,
}

/// The values that are counted as different ones, in the order of [`Words::distinct`].
pub(super) const DISTINCT: [Value; 3] = [Value::Exporters, Value::SrcCount, Value::DstCount];

impl Layout {
    pub(super) fn new(class: Class, keys: &[Key], values: &[Value]) -> Self {
        let mut packing = Packing::default();
        let mut fields: Vec<Option<Field>> = keys
            .iter()
            .map(|key| {
                let bits = bits(key, class)?;
                Some(Field {
                    place: packing.take(bits),
                    bits,
                    null: None,
                    is_ipv4: None,
                })
            })
            .collect();
        for (field, key) in fields.iter_mut().zip(keys) {
            let Some(field) = field else { continue };
            if key.source != Source::Family {
                field.null = Some(packing.take(1));
            }
            if key.address().is_some() && class == Class::Wide {
                field.is_ipv4 = Some(packing.take(1));
            }
        }
        let key_words = packing.words;
        let (values, words) = value_words(key_words, values);
        Self {
            class,
            fields,
            key_words,
            values,
            words,
        }
    }
}

fn value_words(key_words: usize, values: &[Value]) -> (Words, usize) {
    let mut next = key_words;
    let mut take = || {
        next += 1;
        next - 1
    };
    let asked = |any: &[Value]| any.iter().any(|value| values.contains(value));
    let with_null = [
        Value::Packets,
        Value::Bytes,
        Value::Duration,
        Value::First,
        Value::Last,
        Value::TcpFlags,
        Value::IcmpType,
        Value::IcmpCode,
    ];
    let words = Words {
        meta: asked(&with_null).then(&mut take),
        flows: take(),
        packets: asked(&[Value::Packets]).then(&mut take),
        bytes: asked(&[Value::Bytes]).then(&mut take),
        first: asked(&[Value::First, Value::Duration]).then(&mut take),
        last: asked(&[Value::Last, Value::Duration]).then(&mut take),
        distinct: DISTINCT.map(|value| asked(&[value]).then(&mut take)),
    };
    (words, next)
}

/// How wide a field of the key is; `None` where it is always null.
fn bits(key: &Key, class: Class) -> Option<u32> {
    Some(match &key.source {
        Source::Address(..) => match class {
            Class::Ipv4 => 32,
            Class::Wide => 128,
            Class::Plain => return None,
        },
        Source::Bucket(_) | Source::Date => 64,
        Source::PortClass(_) | Source::Family => 2,
        Source::Column(kind) => match kind {
            ColumnType::U8 => 8,
            ColumnType::U16 => 16,
            // Texts by number.
            ColumnType::U32 | ColumnType::Text | ColumnType::Octets | ColumnType::Exporter => 32,
            ColumnType::Mac => 48,
            ColumnType::U64 | ColumnType::I64 | ColumnType::F64 | ColumnType::Timestamp => 64,
            ColumnType::Ipv6 => 128,
        },
    })
}

/// Gives out the bits of words, from the highest on.
#[derive(Default)]
struct Packing {
    words: usize,
    /// The bits that are left of the last word.
    left: u32,
}

impl Packing {
    fn take(&mut self, bits: u32) -> Place {
        if bits == 128 {
            self.words += 2;
            self.left = 0;
            let word = self.words - 2;
            return Place { word, shift: 0 };
        }
        if bits > self.left {
            self.words += 1;
            self.left = 64;
        }
        self.left -= bits;
        Place {
            word: self.words - 1,
            shift: self.left,
        }
    }
}

#[cfg(test)]
mod tests {
    use forebay_store::FlowSchema;

    use super::*;

    #[test]
    fn a_group_by_the_5_tuple_takes_a_cache_line() {
        let layout = Layout::new(Class::Ipv4, &Key::five_tuple(), &Value::DEFAULT);
        assert_eq!((layout.key_words, layout.words), (2, 8));
        let wide = Layout::new(Class::Wide, &Key::five_tuple(), &Value::DEFAULT);
        assert_eq!((wide.key_words, wide.words), (5, 11));
        let plain = Layout::new(Class::Plain, &Key::five_tuple(), &[Value::Flows]);
        assert_eq!((plain.key_words, plain.words), (1, 2));
        assert_eq!(plain.fields[0], None);
    }

    #[test]
    fn fields_do_not_overlap() {
        let schema = FlowSchema::default();
        let all: Vec<Key> = schema
            .columns()
            .map(|column| schema.name(column))
            .chain([
                "src_addr",
                "dst_prefix/9",
                "hour",
                "date",
                "dst_port_class",
                "family",
            ])
            .map(|name| Key::parse(name, &schema).expect("a key"))
            .collect();
        for class in Class::ALL {
            let layout = Layout::new(class, &all, &Value::ALL);
            let mut used = vec![0_u64; layout.key_words];
            let mut claim = |place: Place, bits: u32| {
                let mask = u64::MAX >> (64 - bits) << place.shift;
                assert_eq!(used[place.word] & mask, 0);
                used[place.word] |= mask;
            };
            for field in layout.fields.iter().flatten() {
                match field.bits {
                    128 => (0..2).for_each(|half| {
                        let word = field.place.word + half;
                        claim(Place { word, shift: 0 }, 64);
                    }),
                    bits => claim(field.place, bits),
                }
                field
                    .null
                    .into_iter()
                    .chain(field.is_ipv4)
                    .for_each(|place| claim(place, 1));
            }
            assert_eq!(layout.words, layout.key_words + 9);
        }
    }
}
