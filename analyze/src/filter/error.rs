//! What is wrong with a filter.

use arrow_schema::DataType;

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Something else is expected there.
    #[error("{found} at character {at}: {expected} is expected there")]
    Unexpected {
        /// The place in the filter, from 1.
        at: usize,
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// A text in quotes does not end.
    #[error("the quote at character {at} is not closed")]
    OpenQuote {
        /// The place in the filter, from 1.
        at: usize,
    },
    /// There is no such column.
    #[error("no column is called \"{name}\" (character {at}){}", did_you_mean(nearest.as_ref()))]
    UnknownColumn {
        /// The place in the filter, from 1.
        at: usize,
        /// What was asked for.
        name: String,
        /// The one that was perhaps meant.
        nearest: Option<String>,
    },
    /// A column cannot be compared with such a value.
    #[error("\"{text}\" at character {at} is no value for {column}: write {expected}")]
    Value {
        /// The place in the filter, from 1.
        at: usize,
        /// What stands there.
        text: String,
        /// The column.
        column: String,
        /// What its values look like.
        expected: String,
    },
    /// A column cannot be compared like this.
    #[error("\"{operator}\" at character {at} does not go with {column}: use {expected}")]
    Operator {
        /// The place in the filter, from 1.
        at: usize,
        /// What was asked.
        operator: &'static str,
        /// Of which column.
        column: String,
        /// What can be asked.
        expected: &'static str,
    },
    /// Too many parentheses or negations in each other.
    #[error(
        "more than {most} parentheses and \"not\" in each other at character {at}: write it flatter"
    )]
    TooDeep {
        /// The place in the filter, from 1.
        at: usize,
        /// How many there may be.
        most: usize,
    },
    /// A file has the column with another type.
    #[error("column \"{column}\" is {found}, and not {expected}")]
    ColumnType {
        /// The column.
        column: String,
        /// Its type in the file.
        found: DataType,
        /// Its type in flow files.
        expected: DataType,
    },
}

fn did_you_mean(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!(": did you mean \"{name}\"?"))
}
