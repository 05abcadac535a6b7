//! Which columns the output has: all that the input has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use forebay_store::{
    ColumnSet, ColumnType, Family, FlowParts, FlowSchema, SEEN_BY, SEEN_EXPORTERS, seen_fields,
};

use super::gather::Columns;
use crate::error::AnalyzeError;

/// All standard columns, in their order.
fn standard() -> SchemaRef {
    let schema = FlowSchema::default();
    let mut all = ColumnSet::default();
    for column in schema.columns() {
        all.insert(column);
    }
    schema.arrow(all)
}

/// What the files have been found to have, as far as they were looked at.
pub(super) struct Known {
    standard: SchemaRef,
    /// By family: standard columns that a file has, others with their types, and whether rows tell who
    /// saw them.
    families: BTreeMap<Family, Found>,
}

#[derive(Default)]
struct Found {
    standard: Vec<bool>,
    others: BTreeMap<String, FieldRef>,
    tells_seen: bool,
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            standard: standard(),
            families: BTreeMap::new(),
        }
    }

    /// Adds a file's columns.
    ///
    /// # Errors
    /// One of them is not what it is in flow files, or in another of the files.
    pub(super) fn add(&mut self, file: &FlowParts) -> Result<(), AnalyzeError> {
        let schema = file.schema();
        if schema.fields().is_empty() {
            // A segment without its first batch.
            return Ok(());
        }
        let refuse = |column: &str, found: String| AnalyzeError::ColumnType {
            path: Path::to_owned(file.path()),
            column: column.to_owned(),
            found,
        };
        for field in self
            .standard
            .fields()
            .iter()
            .filter(|field| !field.is_nullable())
        {
            if schema.column_with_name(field.name()).is_none() {
                return Err(refuse(field.name(), "not there".to_owned()));
            }
        }
        let none = self.families.get(&file.family());
        let others = none.map(|found| &found.others);
        for field in schema.fields() {
            let name = field.name().as_str();
            let seen = seen_fields();
            let seen = seen.iter().find(|field| field.name() == name);
            let standard = self.standard.column_with_name(name).map(|(_, field)| field);
            let other = others
                .and_then(|others| others.get(name))
                .map(AsRef::as_ref);
            let expected = seen.or(standard).or(other);
            let is_good = match expected {
                Some(expected) => expected.data_type() == field.data_type(),
                None => ColumnType::of(field.data_type()).is_some(),
            };
            if !is_good {
                return Err(refuse(name, field.data_type().to_string()));
            }
        }
        let count = self.standard.fields().len();
        let found = self.families.entry(file.family()).or_default();
        found.standard.resize(count, false);
        for field in schema.fields() {
            match self.standard.index_of(field.name()) {
                Ok(place) => found.standard[place] = true,
                Err(_) if [SEEN_BY, SEEN_EXPORTERS].contains(&field.name().as_str()) => {
                    found.tells_seen = true;
                }
                Err(_) => {
                    // A value may be missing elsewhere.
                    let field = field.as_ref().clone().with_nullable(true);
                    found.others.insert(field.name().clone(), Arc::new(field));
                }
            }
        }
        Ok(())
    }

    /// The columns of a family's files, with those that duplicates leave, if there are to be any.
    pub(super) fn columns(&self, family: Family, with_seen: bool) -> Columns {
        let mut fields: Vec<FieldRef> = Vec::new();
        if let Some(found) = self.families.get(&family) {
            let standard = self.standard.fields().iter().zip(&found.standard);
            fields.extend(
                standard
                    .filter(|(_, has)| **has)
                    .map(|(field, _)| Arc::clone(field)),
            );
            fields.extend(found.others.values().cloned());
            if with_seen || found.tells_seen {
                fields.extend(seen_fields().map(Arc::new));
            }
        }
        Columns {
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// The columns of all families, for views.
    pub(super) fn all(&self, with_seen: bool) -> Schema {
        let mut fields: Vec<FieldRef> = self.standard.fields().iter().cloned().collect();
        for found in self.families.values() {
            for (name, field) in &found.others {
                if !fields.iter().any(|known| known.name() == name) {
                    fields.push(Arc::clone(field));
                }
            }
        }
        if with_seen || self.families.values().any(|found| found.tells_seen) {
            fields.extend(seen_fields().map(Arc::new));
        }
        Schema::new(fields)
    }
}
