//! What a filter's columns and values mean.
//!
//! A condition is bound to what is read and compared: [`Node`]. Negations go down to the tests on the way, where they
//! are another set of values. A test holds for no row in which its column is null, negated or not; so it is known
//! everywhere whether a condition is true, and *unknown* (SQL's third value) needs no place: it is never true.

use forebay_store::{ColumnType, Family, FlowSchema, SEEN_BY};

use super::FilterError;
use super::literal::{self, Addresses, Number};
use super::parse::{Condition, Operator, Word};
use super::ranges::{self, Ranges};
use crate::nearest::nearest;

/// A condition that can be looked at row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Test(Test),
}

/// What a row is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// Numbers, times, and addresses in columns of one family.
    Number {
        column: String,
        kind: ColumnType,
        within: Ranges,
    },
    /// An address of either family: the first of the two columns that has one, the file's own family before the other.
    Address {
        columns: [String; 2],
        within: FamilyRanges,
    },
    /// An address that is text.
    Exporter {
        column: String,
        within: FamilyRanges,
    },
    Octets {
        column: String,
        test: OctetsTest,
        negated: bool,
    },
    /// Whether all bits of the mask are set, or not all.
    Bits {
        column: String,
        kind: ColumnType,
        mask: u64,
        all: bool,
    },
    /// `last` − `first`
    Duration(Ranges),
    Null {
        column: String,
        is_null: bool,
    },
    /// The flows of these families, in the order of [`Family::ALL`].
    Family([bool; 3]),
}

/// Addresses of both families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FamilyRanges {
    pub(super) ipv4: Ranges,
    pub(super) ipv6: Ranges,
}

/// Comparisons of text and octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OctetsTest {
    /// Sorted.
    In(Vec<Vec<u8>>),
    Below(Vec<u8>),
    AtMost(Vec<u8>),
}

/// Columns that are the address of either family.
const ADDRESSES: [(&str, [&str; 2]); 4] = [
    ("src_addr", ["src_ipv4", "src_ipv6"]),
    ("dst_addr", ["dst_ipv4", "dst_ipv6"]),
    ("next_hop", ["next_hop_ipv4", "next_hop_ipv6"]),
    ("bgp_next_hop", ["bgp_next_hop_ipv4", "bgp_next_hop_ipv6"]),
];

/// Names that stand for a column of the source and one of the destination: one of them is enough.
const EITHER: [(&str, [&str; 2]); 2] = [
    ("addr", ["src_addr", "dst_addr"]),
    ("port", ["src_port", "dst_port"]),
];

const DURATION: &str = "duration";
const FAMILY: &str = "family";
const PROTOCOL: &str = "protocol";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Column(ColumnType),
    Ipv4,
    Address([&'static str; 2]),
    Protocol,
    Duration,
    Family,
}

/// A test as it is asked.
#[derive(Clone, Copy)]
struct Asked<'c> {
    column: &'c Word,
    operator: Operator,
    at: usize,
    values: &'c [Word],
    negated: bool,
}

pub(super) fn bind(condition: &Condition, schema: &FlowSchema) -> Result<Node, FilterError> {
    node(condition, false, schema)
}

fn node(condition: &Condition, negated: bool, schema: &FlowSchema) -> Result<Node, FilterError> {
    let all = |conditions: &[Condition]| -> Result<Vec<Node>, FilterError> {
        conditions
            .iter()
            .map(|condition| node(condition, negated, schema))
            .collect()
    };
    match condition {
        Condition::Not(condition) => node(condition, !negated, schema),
        Condition::All(conditions) if negated => Ok(Node::Any(all(conditions)?)),
        Condition::All(conditions) => Ok(Node::All(all(conditions)?)),
        Condition::Any(conditions) if negated => Ok(Node::All(all(conditions)?)),
        Condition::Any(conditions) => Ok(Node::Any(all(conditions)?)),
        Condition::Test {
            column,
            operator,
            at,
            values,
        } => {
            let asked = Asked {
                column,
                operator: *operator,
                at: *at,
                values,
                negated,
            };
            asked.node(schema)
        }
    }
}

fn kind_of(name: &str, schema: &FlowSchema) -> Option<Kind> {
    match name {
        DURATION => return Some(Kind::Duration),
        FAMILY => return Some(Kind::Family),
        PROTOCOL => return Some(Kind::Protocol),
        // Where duplicates were removed.
        SEEN_BY => return Some(Kind::Column(ColumnType::U32)),
        _ => {}
    }
    if let Some((_, columns)) = ADDRESSES.iter().find(|(address, _)| *address == name) {
        return Some(Kind::Address(*columns));
    }
    Some(match schema.kind(schema.find(name)?) {
        ColumnType::U32 if name.ends_with("_ipv4") => Kind::Ipv4,
        kind => Kind::Column(kind),
    })
}

fn unknown(column: &Word, schema: &FlowSchema) -> FilterError {
    let standing = [DURATION, FAMILY].into_iter();
    let known = standing
        .chain(ADDRESSES.map(|(name, _)| name))
        .chain(EITHER.map(|(name, _)| name))
        .chain(schema.columns().map(|column| schema.name(column)));
    FilterError::UnknownColumn {
        at: column.at,
        name: column.text.clone(),
        nearest: nearest(&column.text, known).map(ToOwned::to_owned),
    }
}

impl Asked<'_> {
    fn node(&self, schema: &FlowSchema) -> Result<Node, FilterError> {
        let name = self.column.text.as_str();
        if let Some((_, columns)) = EITHER.iter().find(|(either, _)| *either == name) {
            if self.operator == Operator::IsNull {
                return Err(self.wrong("what is asked of values, or src_… and dst_…"));
            }
            let both: Result<Vec<Node>, FilterError> = columns
                .iter()
                .map(|&column| {
                    let kind = kind_of(column, schema).ok_or_else(|| unknown(self.column, schema));
                    self.of(column, kind?)
                })
                .collect();
            return Ok(if self.negated {
                Node::All(both?)
            } else {
                Node::Any(both?)
            });
        }
        match kind_of(name, schema) {
            Some(kind) => self.of(name, kind),
            None => Err(unknown(self.column, schema)),
        }
    }

    fn of(&self, column: &str, kind: Kind) -> Result<Node, FilterError> {
        match self.operator {
            Operator::IsNull => Ok(self.null(column, kind)),
            Operator::Has => self.bits(column, kind).map(Node::Test),
            _ => self.compared(column, kind).map(Node::Test),
        }
    }

    fn null(&self, column: &str, kind: Kind) -> Node {
        let is_null = !self.negated;
        let test = |column: &str| {
            Node::Test(Test::Null {
                column: column.to_owned(),
                is_null,
            })
        };
        match (kind, is_null) {
            (Kind::Address(columns), true) => Node::All(columns.map(test).to_vec()),
            (Kind::Address(columns), false) => Node::Any(columns.map(test).to_vec()),
            (Kind::Duration, true) => Node::Any(["first", "last"].map(test).to_vec()),
            (Kind::Duration, false) => Node::All(["first", "last"].map(test).to_vec()),
            (Kind::Family, _) => Node::Test(Test::Family([!is_null; 3])),
            _ => test(column),
        }
    }

    fn bits(&self, column: &str, kind: Kind) -> Result<Test, FilterError> {
        use ColumnType::{U8, U16, U32, U64};
        let kind = match kind {
            Kind::Column(kind @ (U8 | U16 | U32 | U64)) => kind,
            Kind::Protocol => U8,
            _ => return Err(self.wrong("=, != or in")),
        };
        let mask = self.each(literal::flags, "flags, such as syn, syn+ack or 0x12")?;
        Ok(Test::Bits {
            column: column.to_owned(),
            kind,
            mask: mask.into_iter().fold(0, |bits, mask| bits | mask),
            all: !self.negated,
        })
    }

    fn compared(&self, column: &str, kind: Kind) -> Result<Test, FilterError> {
        let column = column.to_owned();
        let negated = self.negated;
        match kind {
            Kind::Column(ColumnType::Text | ColumnType::Octets) => {
                let test = self.octets(kind)?;
                // What is above is not at most, what is at least is not below.
                let turned = matches!(self.operator, Operator::Above | Operator::AtLeast);
                let negated = negated != turned;
                Ok(Test::Octets {
                    column,
                    test,
                    negated,
                })
            }
            Kind::Column(ColumnType::Exporter) => {
                let within = self.addresses()?;
                Ok(Test::Exporter { column, within })
            }
            Kind::Address(columns) => {
                let columns = columns.map(ToOwned::to_owned);
                let within = self.addresses()?;
                Ok(Test::Address { columns, within })
            }
            Kind::Duration => self.numbers(kind).map(Test::Duration),
            Kind::Family => self.families(),
            Kind::Ipv4 | Kind::Column(ColumnType::Ipv6) => self.addresses_of(column, kind),
            Kind::Column(ColumnType::Mac) => {
                let expected = "a MAC address, such as 00:00:5e:00:53:01";
                let macs = self.equals(literal::mac, expected)?;
                let within = Ranges::new(macs.into_iter().map(|mac| (mac, mac)));
                Ok(Test::Number {
                    column,
                    kind: ColumnType::Mac,
                    within: self.turned(within),
                })
            }
            Kind::Protocol => {
                let within = self.numbers(kind)?;
                let kind = ColumnType::U8;
                Ok(Test::Number {
                    column,
                    kind,
                    within,
                })
            }
            Kind::Column(of) => {
                let within = self.numbers(kind)?;
                Ok(Test::Number {
                    column,
                    kind: of,
                    within,
                })
            }
        }
    }

    fn octets(&self, kind: Kind) -> Result<OctetsTest, FilterError> {
        let mut values = if kind == Kind::Column(ColumnType::Text) {
            self.each(|text| Some(text.as_bytes().to_vec()), "text")?
        } else {
            self.each(literal::octets, "hexadecimal digits, two for each octet")?
        };
        values.sort_unstable();
        let first = values.first().cloned().unwrap_or_default();
        Ok(match self.operator {
            Operator::Below | Operator::AtLeast => OctetsTest::Below(first),
            Operator::AtMost | Operator::Above => OctetsTest::AtMost(first),
            _ => OctetsTest::In(values),
        })
    }

    /// Addresses of either family.
    fn addresses(&self) -> Result<FamilyRanges, FilterError> {
        let found = self.prefixes("an address", "an address, or a prefix such as 10.0.0.0/8")?;
        let ipv4 = found.iter().filter_map(|addresses| match *addresses {
            Addresses::Ipv4(first, last) => Some((first, last)),
            Addresses::Ipv6(..) => None,
        });
        let ipv6 = found.iter().filter_map(|addresses| match *addresses {
            Addresses::Ipv6(first, last) => Some((first, last)),
            Addresses::Ipv4(..) => None,
        });
        Ok(FamilyRanges {
            ipv4: self.turned(Ranges::new(ipv4)),
            ipv6: self.turned(Ranges::new(ipv6)),
        })
    }

    /// Addresses in a column of one family.
    fn addresses_of(&self, column: String, kind: Kind) -> Result<Test, FilterError> {
        let (kind, found) = if kind == Kind::Ipv4 {
            let (one, more) = (
                "an IPv4 address",
                "an IPv4 address, or a prefix such as 10.0.0.0/8",
            );
            let only = |found: Addresses| match found {
                Addresses::Ipv4(first, last) => Some((first, last)),
                Addresses::Ipv6(..) => None,
            };
            (ColumnType::U32, self.prefixes_if(only, one, more)?)
        } else {
            let (one, more) = (
                "an IPv6 address",
                "an IPv6 address, or a prefix such as 2001:db8::/32",
            );
            let only = |found: Addresses| match found {
                Addresses::Ipv6(first, last) => Some((first, last)),
                Addresses::Ipv4(..) => None,
            };
            (ColumnType::Ipv6, self.prefixes_if(only, one, more)?)
        };
        Ok(Test::Number {
            column,
            kind,
            within: self.turned(Ranges::new(found)),
        })
    }

    fn prefixes(&self, one: &str, more: &str) -> Result<Vec<Addresses>, FilterError> {
        self.prefixes_if(Some, one, more)
    }

    /// Addresses, and where they are listed, prefixes.
    fn prefixes_if<T>(
        &self,
        only: impl Fn(Addresses) -> Option<T>,
        one: &str,
        more: &str,
    ) -> Result<Vec<T>, FilterError> {
        let is_in = self.operator == Operator::In;
        let read = |text: &str| match is_in {
            true => literal::prefix(text).and_then(&only),
            false => literal::address(text).and_then(&only),
        };
        let hinted;
        let expected = match self.values.first().filter(|_| !is_in) {
            Some(value) if literal::prefix(&value.text).and_then(&only).is_some() => {
                hinted = format!("{one}; for a prefix, in {}", value.text);
                &hinted
            }
            _ if is_in => more,
            _ => one,
        };
        self.equals(read, expected)
    }

    /// Numbers, times and durations, which are compared by their order.
    fn numbers(&self, kind: Kind) -> Result<Ranges, FilterError> {
        use ColumnType::{F64, I64, Timestamp, U8, U16, U32, U64};
        const AMOUNT: &str = "a number, such as 80, 1e6, 10k or 5MiB";
        let unsigned = |greatest: u64| Domain {
            least: 0,
            greatest: greatest.into(),
            key: |value| value as u128,
        };
        let signed = Domain {
            least: i64::MIN.into(),
            greatest: i64::MAX.into(),
            key: |value| ranges::signed(value as i64).into(),
        };
        let difference = Domain {
            least: -(1 << 64),
            greatest: 1 << 64,
            key: ranges::difference,
        };
        let time = |text: &str| {
            Some(Number {
                floor: literal::time(text)?.into(),
                is_whole: true,
            })
        };
        type Read = dyn Fn(&str) -> Option<Number>;
        let (domain, read, expected): (Domain, &Read, &str) = match kind {
            Kind::Protocol => (
                unsigned(u8::MAX.into()),
                &literal::protocol,
                "a protocol's number or name, such as 6 or tcp",
            ),
            Kind::Duration => (
                difference,
                &literal::duration,
                "a duration, such as 500ms, 1.5s or 5min",
            ),
            Kind::Column(Timestamp) => (
                signed,
                &time,
                "a time (UTC), such as '2026-11-21 10:00' or 2026-11-21T10:00:00.5Z",
            ),
            Kind::Column(I64) => (signed, &literal::number, AMOUNT),
            Kind::Column(U8) => (unsigned(u8::MAX.into()), &literal::number, AMOUNT),
            Kind::Column(U16) => (unsigned(u16::MAX.into()), &literal::number, AMOUNT),
            Kind::Column(U32) => (unsigned(u32::MAX.into()), &literal::number, AMOUNT),
            Kind::Column(U64) => (unsigned(u64::MAX), &literal::number, AMOUNT),
            Kind::Column(F64) => return self.floats(),
            _ => return Err(self.wrong("=, != or in")),
        };
        let numbers = self.each(read, expected)?;
        let found = numbers
            .into_iter()
            .filter_map(|number| domain.range(self.operator, number));
        Ok(self.turned(Ranges::new(found)))
    }

    fn floats(&self) -> Result<Ranges, FilterError> {
        let read = |text: &str| text.parse::<f64>().ok().map(ranges::float);
        let keys = self.each(read, "a number, such as 0.5 or 1e6")?;
        let last = u64::MAX;
        let found = keys.into_iter().filter_map(|key| {
            Some(match self.operator {
                Operator::Below => (0, key.checked_sub(1)?),
                Operator::AtMost => (0, key),
                Operator::Above => (key.checked_add(1)?, last),
                Operator::AtLeast => (key, last),
                _ => (key, key),
            })
        });
        Ok(self.turned(Ranges::new(
            found.map(|(first, last)| (first.into(), last.into())),
        )))
    }

    fn families(&self) -> Result<Test, FilterError> {
        let families = self.equals(Family::from_name, "ipv4, ipv6 or other")?;
        let chosen = Family::ALL.map(|family| families.contains(&family) != self.negated);
        Ok(Test::Family(chosen))
    }

    fn turned(&self, ranges: Ranges) -> Ranges {
        if self.negated {
            ranges.complement()
        } else {
            ranges
        }
    }

    /// The values of a column that has no order.
    fn equals<T>(
        &self,
        read: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Vec<T>, FilterError> {
        match self.operator {
            Operator::Equal | Operator::In => self.each(read, expected),
            _ => Err(self.wrong("=, != or in")),
        }
    }

    fn each<T>(
        &self,
        read: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Vec<T>, FilterError> {
        let value = |word: &Word| {
            read(&word.text).ok_or_else(|| FilterError::Value {
                at: word.at,
                text: word.text.clone(),
                column: self.column.text.clone(),
                expected: expected.to_owned(),
            })
        };
        self.values.iter().map(value).collect()
    }

    fn wrong(&self, expected: &'static str) -> FilterError {
        FilterError::Operator {
            at: self.at,
            operator: self.operator.name(),
            column: self.column.text.clone(),
            expected,
        }
    }
}

/// The whole numbers that a column can hold.
struct Domain {
    least: i128,
    greatest: i128,
    key: fn(i128) -> u128,
}

impl Domain {
    /// Those of them for which the comparison with `number` holds.
    fn range(&self, operator: Operator, number: Number) -> Option<(u128, u128)> {
        let Number { floor, is_whole } = number;
        let (below, above) = (floor.saturating_sub(1), floor.saturating_add(1));
        let (first, last) = match operator {
            Operator::Below if is_whole => (self.least, below),
            Operator::Below | Operator::AtMost => (self.least, floor),
            Operator::AtLeast if is_whole => (floor, self.greatest),
            Operator::Above | Operator::AtLeast => (above, self.greatest),
            _ if is_whole => (floor, floor),
            _ => return None,
        };
        let (first, last) = (first.max(self.least), last.min(self.greatest));
        (first <= last).then(|| ((self.key)(first), (self.key)(last)))
    }
}
