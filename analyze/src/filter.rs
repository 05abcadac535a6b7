//! Conditions on flows: `protocol = tcp and dst_port in (80, 443) and src_addr in 10.0.0.0/8 and bytes > 1e6`.
//!
//! ```text
//! text → lex: words → parse: conditions → bind: tests of columns ─┬→ select: rows of a batch
//!                                                                 └→ bounds: row groups that statistics rule out
//! ```
//!
//! The language is described in docs/summarize.md.

use arrow_array::RecordBatch;
use arrow_buffer::BooleanBuffer;
use forebay_store::{ColumnType, Family, FlowParts, FlowSchema};

mod bind;
mod bounds;
mod error;
mod lex;
mod literal;
mod parse;
mod ranges;
mod select;
#[cfg(test)]
mod tests;

pub use error::FilterError;
pub use literal::protocol_name;

use bind::{Node, Test};
use bounds::Bounds;
use ranges::Ranges;

/// A condition on flows.
///
/// A comparison with what is null is not true, and neither is its negation, as in SQL.
///
/// ```
/// use forebay_analyze::Filter;
/// use forebay_store::FlowSchema;
///
/// let filter = Filter::parse("dst_port = 443 and bytes > 1e6", &FlowSchema::default())?;
/// assert_eq!(filter.columns(), ["bytes", "dst_port"]);
/// # Ok::<(), forebay_analyze::FilterError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    root: Node,
}

impl Filter {
    /// Reads a condition on the columns of `schema`.
    ///
    /// # Errors
    /// It is no condition, or not on these columns; the error says where.
    pub fn parse(text: &str, schema: &FlowSchema) -> Result<Self, FilterError> {
        let condition = parse::parse(text)?;
        let root = bind::bind(&condition, schema)?;
        Ok(Self { root })
    }

    /// Flows received from `from_us` on and before `to_us`, in microseconds since 1970.
    pub fn received(from_us: Option<i64>, to_us: Option<i64>) -> Self {
        let key = |us| u128::from(ranges::signed(us));
        let from = from_us.map_or(0, key);
        let within = match to_us {
            None => Ranges::new([(from, u128::MAX)]),
            Some(to) => Ranges::new(key(to).checked_sub(1).map(|last| (from, last))),
        };
        let test = Test::Number {
            column: "received".to_owned(),
            kind: ColumnType::Timestamp,
            within,
        };
        Self {
            root: Node::Test(test),
        }
    }

    /// Both conditions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            root: Node::All(vec![self.root, other.root]),
        }
    }

    /// The columns that the condition needs, as far as a file has them.
    pub fn columns(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.collect_columns(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The rows of a batch for which the condition is true. A column that the batch lacks is null.
    ///
    /// # Errors
    /// A column has another type than in flow files.
    pub fn select(
        &self,
        batch: &RecordBatch,
        family: Family,
    ) -> Result<BooleanBuffer, FilterError> {
        select::select(&self.root, batch, family)
    }

    /// Whether the condition can be true for any row of a file's part, as far as the file's statistics tell.
    pub fn may_match(&self, file: &FlowParts, part: usize) -> bool {
        let bounds = |column: &str| Bounds::of(file, part, column);
        bounds::may_match(&self.root, file.family(), &bounds)
    }
}

impl Node {
    fn collect_columns<'n>(&'n self, names: &mut Vec<&'n str>) {
        match self {
            Self::All(nodes) | Self::Any(nodes) => {
                for node in nodes {
                    node.collect_columns(names);
                }
            }
            Self::Test(test) => match test {
                Test::Number { column, .. }
                | Test::Exporter { column, .. }
                | Test::Octets { column, .. }
                | Test::Bits { column, .. }
                | Test::Null { column, .. } => names.push(column),
                Test::Address { columns, .. } => {
                    names.extend(columns.iter().map(String::as_str));
                }
                Test::Duration(_) => names.extend(["first", "last"]),
                Test::Family(_) => {}
            },
        }
    }
}

/// A time (UTC) in microseconds since 1970, as a filter understands it: `2026-11-21`, `2026-11-21 10:00`,
/// `2026-11-21T10:00:00.5Z`.
pub fn parse_time(text: &str) -> Option<i64> {
    literal::time(text)
}
