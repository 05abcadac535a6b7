//! Which row groups a filter needs: what statistics rule out is not read.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use forebay_store::{Family, FlowParts};

use super::bind::{Node, OctetsTest, Test};
use super::ranges;

/// So many exporters are looked for by their text.
const FEW_EXPORTERS: usize = 64;

/// What is known of a column's values in some rows. By default nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The least and the greatest, or what is below and above all.
    ends: Option<(End, End)>,
    nulls: Nulls,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Nulls {
    #[default]
    Unknown,
    None,
    Some,
    All,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Key(u128),
    Octets(Vec<u8>),
}

impl Bounds {
    /// Those of a column that is not there.
    pub(super) fn absent() -> Self {
        Self {
            ends: None,
            nulls: Nulls::All,
        }
    }

    /// Those of a column of a file's part.
    pub(super) fn of(file: &FlowParts, part: usize, column: &str) -> Self {
        if file.schema().column_with_name(column).is_none() {
            return Self::absent();
        }
        let told = file.bounds(part, column);
        told.map_or_else(Self::default, |told| Self::from(&told))
    }
}

impl From<&forebay_store::Bounds> for Bounds {
    fn from(told: &forebay_store::Bounds) -> Self {
        let nulls = match told.nulls {
            None => Nulls::Unknown,
            Some(0) => Nulls::None,
            Some(nulls) if nulls >= told.rows => Nulls::All,
            Some(_) => Nulls::Some,
        };
        let ends = End::first_of(&told.least).zip(End::first_of(&told.greatest));
        Self { ends, nulls }
    }
}

impl End {
    /// `None` where there is no value, or none that can be trusted.
    fn first_of(array: &ArrayRef) -> Option<Self> {
        let index = 0;
        if array.is_empty() || array.is_null(index) {
            return None;
        }
        Some(match array.data_type() {
            DataType::UInt8 => Self::Key(array.as_primitive::<UInt8Type>().value(index).into()),
            DataType::UInt16 => Self::Key(array.as_primitive::<UInt16Type>().value(index).into()),
            DataType::UInt32 => Self::Key(array.as_primitive::<UInt32Type>().value(index).into()),
            DataType::UInt64 => Self::Key(array.as_primitive::<UInt64Type>().value(index).into()),
            DataType::Int64 => {
                let value = array.as_primitive::<Int64Type>().value(index);
                Self::Key(ranges::signed(value).into())
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let value = array
                    .as_primitive::<TimestampMicrosecondType>()
                    .value(index);
                Self::Key(ranges::signed(value).into())
            }
            DataType::FixedSizeBinary(6 | 16) => {
                Self::Key(ranges::octets(array.as_fixed_size_binary().value(index)))
            }
            DataType::Utf8 => Self::Octets(array.as_string::<i32>().value(index).into()),
            DataType::Binary => Self::Octets(array.as_binary::<i32>().value(index).into()),
            // Statistics of floating-point numbers leave out what is no number.
            _ => return None,
        })
    }
}

/// Whether the condition can be true for any of the rows that `bounds` tells of.
pub(super) fn may_match(node: &Node, family: Family, bounds: &dyn Fn(&str) -> Bounds) -> bool {
    match node {
        Node::All(nodes) => nodes.iter().all(|node| may_match(node, family, bounds)),
        Node::Any(nodes) => nodes.iter().any(|node| may_match(node, family, bounds)),
        Node::Test(test) => test.may_match(family, bounds),
    }
}

impl Test {
    fn may_match(&self, family: Family, bounds: &dyn Fn(&str) -> Bounds) -> bool {
        match self {
            Self::Number { column, within, .. } => in_ranges(&bounds(column), within),
            Self::Address { columns, within } => {
                let [ipv4, ipv6] = columns;
                in_ranges(&bounds(ipv4), &within.ipv4) || in_ranges(&bounds(ipv6), &within.ipv6)
            }
            Self::Exporter { column, within } => {
                let bounds = bounds(column);
                match (&bounds.ends, within.texts(FEW_EXPORTERS)) {
                    _ if bounds.nulls == Nulls::All => false,
                    (Some((End::Octets(least), End::Octets(greatest))), Some(texts)) => texts
                        .iter()
                        .any(|text| (least..=greatest).contains(&&text.as_bytes().to_vec())),
                    _ => true,
                }
            }
            Self::Octets {
                column,
                test,
                negated,
            } => {
                let bounds = bounds(column);
                match &bounds.ends {
                    _ if bounds.nulls == Nulls::All => false,
                    Some((End::Octets(least), End::Octets(greatest))) => {
                        test.may_hold(least, greatest, *negated)
                    }
                    _ => true,
                }
            }
            Self::Bits {
                column, mask, all, ..
            } => {
                let bounds = bounds(column);
                match bounds.ends {
                    _ if bounds.nulls == Nulls::All => false,
                    // A number that has all bits of another is not below it.
                    Some((_, End::Key(greatest))) if *all => greatest >= u128::from(*mask),
                    _ => true,
                }
            }
            Self::Duration(within) => {
                let (first, last) = (bounds("first"), bounds("last"));
                let is_null = [&first, &last].iter().any(|of| of.nulls == Nulls::All);
                match (first.ends, last.ends) {
                    _ if is_null => false,
                    (
                        Some((End::Key(from), End::Key(until))),
                        Some((End::Key(least), End::Key(greatest))),
                    ) => {
                        // Keys of times fit in 64 bits.
                        let between = |later: u128, earlier: u128| later as i128 - earlier as i128;
                        within.overlaps(
                            ranges::difference(between(least, until)),
                            ranges::difference(between(greatest, from)),
                        )
                    }
                    _ => true,
                }
            }
            Self::Null { column, is_null } => match bounds(column).nulls {
                Nulls::None => !is_null,
                Nulls::All => *is_null,
                Nulls::Unknown | Nulls::Some => true,
            },
            Self::Family(chosen) => {
                let mut families = Family::ALL.iter().zip(chosen);
                families.any(|(of, chosen)| *of == family && *chosen)
            }
        }
    }
}

fn in_ranges(bounds: &Bounds, within: &ranges::Ranges) -> bool {
    match bounds.ends {
        _ if bounds.nulls == Nulls::All => false,
        Some((End::Key(least), End::Key(greatest))) => within.overlaps(least, greatest),
        _ => true,
    }
}

impl OctetsTest {
    /// Whether the test can hold, or not hold, for a value from `least` to `greatest`.
    fn may_hold(&self, least: &[u8], greatest: &[u8], negated: bool) -> bool {
        match (self, negated) {
            (Self::In(values), false) => values
                .iter()
                .any(|value| (least..=greatest).contains(&value.as_slice())),
            (Self::In(values), true) => {
                least != greatest || !values.iter().any(|value| value == least)
            }
            (Self::Below(than), false) => least < than.as_slice(),
            (Self::Below(than), true) => greatest >= than.as_slice(),
            (Self::AtMost(than), false) => least <= than.as_slice(),
            (Self::AtMost(than), true) => greatest > than.as_slice(),
        }
    }
}
