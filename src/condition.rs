//! `--where`: which flows are meant.

use anyhow::Result;
use arrow_schema::SchemaRef;
use forebay_analyze::{Filter, FilterError, columns_of};
use forebay_store::FlowSchema;

use crate::outcome::WrongUsage;

/// Reads a filter. Files are asked for their columns (`schemas`) only if it has others than the standard ones.
pub(crate) fn read(text: &str, schemas: impl FnOnce() -> Result<Vec<SchemaRef>>) -> Result<Filter> {
    let usage = |error: FilterError| WrongUsage(format!("--where: {error}")).into();
    match Filter::parse(text, &FlowSchema::default()) {
        Err(FilterError::UnknownColumn { .. }) => {
            let schemas = schemas()?;
            let columns = columns_of(schemas.iter().map(AsRef::as_ref));
            Filter::parse(text, &columns).map_err(usage)
        }
        result => result.map_err(usage),
    }
}
