//! What is wrong with what was asked.

/// Why flows cannot be summarized as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SummaryError {
    /// There is no such key.
    #[error("flows cannot be grouped by \"{name}\", which no file has{}", did_you_mean(nearest.as_deref()))]
    Key {
        /// What was asked for.
        name: String,
        /// What was perhaps meant.
        nearest: Option<String>,
    },
    /// The lengths of a prefix are none.
    #[error(
        "\"{0}\" is no prefix: write src_prefix/24, at most 128, or src_prefix/24/64 for IPv4 and IPv6"
    )]
    Prefix(String),
    /// The span of a bucket is none.
    #[error("\"{0}\" is no span of time: write bucket:5m (ms, s, m, h or d)")]
    Bucket(String),
    /// There is no such value.
    #[error("there is no value \"{name}\"{}", did_you_mean(nearest.as_deref()))]
    Value {
        /// What was asked for.
        name: String,
        /// What was perhaps meant.
        nearest: Option<String>,
    },
    /// Two columns of the answer would have one name.
    #[error("\"{0}\" is asked for twice: leave one out")]
    Twice(String),
    /// The answer cannot be sorted by that.
    #[error("the answer has no \"{name}\" to sort by{}", did_you_mean(nearest.as_deref()))]
    Sort {
        /// What was asked for.
        name: String,
        /// What was perhaps meant.
        nearest: Option<String>,
    },
    /// Nothing would be in the answer.
    #[error("no value is asked for: name at least one")]
    NoValue,
    /// A group cannot have a least value of that.
    #[error(
        "\"{0}\" is no number that groups can have at least: use flows, packets, bytes, duration or a number of different ones"
    )]
    Least(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(": did you mean \"{name}\"?"))
}
