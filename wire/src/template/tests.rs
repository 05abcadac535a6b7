//! Tests of template records.
