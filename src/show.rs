//! Rows as people and programs read them: a table, CSV, JSON lines.

pub(crate) mod cells;
pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod table;
