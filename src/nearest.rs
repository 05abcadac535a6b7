//! The name that somebody meant.

pub(crate) use forebay_analyze::nearest;
