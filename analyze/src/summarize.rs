//! Groups flows by key.
