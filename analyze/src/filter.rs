//! Conditions on flows.
