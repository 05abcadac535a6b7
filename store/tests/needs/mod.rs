//! A test that lacks what it needs is ignored, and says why. With
//! `FOREBAY_NO_SKIP` it fails.

use libtest_mimic::{Completion, Failed};

/// What a test ends with that found `why` it cannot run.
pub(crate) fn missing(why: impl Into<String>) -> Result<Completion, Failed> {
    let why = why.into();
    match std::env::var_os("FOREBAY_NO_SKIP") {
        Some(_) => Err(why.into()),
        None => Ok(Completion::ignored_with(why)),
    }
}
