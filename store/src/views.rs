//! `views.sql`: macros and views that show a dataset in DuckDB.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use crate::dataset::Dataset;
use crate::error::StoreError;
use crate::files;
use crate::ledger;
use crate::schema::FlowSchema;

const MACROS: &str = include_str!("views.sql");

/// Writes `views.sql`, and two files without rows that hold the columns of
/// flows and ledger, so that the views work on a dataset that is still empty.
///
/// # Errors
/// A file cannot be written.
pub fn write_views(dataset: &Dataset, schema: &FlowSchema) -> Result<(), StoreError> {
    write_views_of(dataset.root(), dataset.root(), &schema.arrow_all())
}

/// The same for the dataset in `folder`, which stands at `root` when somebody reads it.
pub(crate) fn write_views_of(
    folder: &Path,
    root: &Path,
    schema: &Schema,
) -> Result<(), StoreError> {
    let flows = folder.join("staging").join("schema.parquet");
    let none = RecordBatch::new_empty(Arc::new(schema.clone()));
    files::replace(&flows, |file| ledger::write_batch(file, &flows, &none))?;
    ledger::write_empty_ledger(folder.join("ledger").join("schema.parquet"))?;

    let views = folder.join("views.sql");
    let text = views_sql(root);
    files::replace(&views, |mut file: File| {
        file.write_all(text.as_bytes())
            .map_err(StoreError::io("write", &views))?;
        Ok(file)
    })?;
    Ok(())
}

fn views_sql(root: &Path) -> String {
    let root = root.to_string_lossy().replace('\'', "''");
    format!(
        "{MACROS}\
         CREATE OR REPLACE VIEW flows AS FROM flows_in('{root}');\n\
         CREATE OR REPLACE VIEW ledger AS FROM ledger_in('{root}');\n"
    )
}
