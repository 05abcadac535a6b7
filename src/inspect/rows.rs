//! The records of a set, field by field.

use std::collections::HashMap;
use std::sync::Arc;

use forebay_wire::element::{self, DataType};
use forebay_wire::set::{HEADER_LENGTH, Version};
use forebay_wire::{ElementId, FieldSpecifier, Records, Set, Template, fixed};

use super::message::Problem;
use super::value::FieldValue;

/// The records of a set, which are read when they are shown: of one datagram there may be many more fields than bytes.
pub(super) struct Rows<'a> {
    layout: Layout,
    columns: Vec<Column>,
    body: &'a [u8],
    /// Where the body starts in the datagram.
    start: usize,
}

enum Layout {
    Fixed(fixed::Version),
    Template(Arc<Template>),
}

/// What a field is called, and how it is read.
pub(super) struct Column {
    /// Unique within the record: the second `name` is `name#2`.
    pub(super) name: String,
    pub(super) data_type: Option<DataType>,
}

/// A record.
pub(super) struct Row<'a, 'r> {
    pub(super) offset: usize,
    cells: Vec<(&'r Column, &'a [u8])>,
}

impl<'a> Row<'a, '_> {
    /// The fields that take bytes, with their values.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, FieldValue<'a>)> {
        let cells = self.cells.iter();
        cells.map(|(column, content)| {
            let value = FieldValue::new(column.data_type, content);
            (column.name.as_str(), value)
        })
    }
}

impl<'a> Rows<'a> {
    pub(super) fn new(template: Arc<Template>, set: &Set<'a>) -> Self {
        let scopes = usize::from(template.scope_count);
        let fields = template.fields.iter().enumerate();
        let columns = name_apart(fields.map(|(index, field)| {
            if index < scopes {
                scope(set.version, *field)
            } else {
                column(field.element)
            }
        }));
        Self {
            layout: Layout::Template(template),
            columns,
            body: set.body,
            start: set.offset + HEADER_LENGTH,
        }
    }

    pub(super) fn fixed(version: fixed::Version, records: &'a [u8], start: usize) -> Self {
        let fields = version.fields().iter();
        Self {
            layout: Layout::Fixed(version),
            columns: name_apart(fields.map(|field| column(field.element))),
            body: records,
            start,
        }
    }

    /// Whether these are options data.
    pub(super) fn options(&self) -> bool {
        match &self.layout {
            Layout::Fixed(_) => false,
            Layout::Template(template) => template.is_options(),
        }
    }

    /// The records in order; the last may be a problem.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = Result<Row<'a, '_>, Problem>> + '_> {
        match &self.layout {
            Layout::Fixed(version) => Box::new(self.fixed_rows(*version).map(Ok)),
            Layout::Template(template) => Box::new(self.template_rows(template)),
        }
    }

    fn fixed_rows(&self, version: fixed::Version) -> impl Iterator<Item = Row<'a, '_>> {
        let length = version.record_length();
        let records = self.body.chunks_exact(length).enumerate();
        records.map(move |(index, record)| Row {
            offset: self.start + index * length,
            cells: (self.columns.iter().zip(version.fields()))
                .filter_map(|(column, field)| {
                    let offset = usize::from(field.offset);
                    let content = record.get(offset..offset + usize::from(field.length))?;
                    Some((column, content))
                })
                .collect(),
        })
    }

    fn template_rows<'r>(
        &'r self,
        template: &'r Template,
    ) -> impl Iterator<Item = Result<Row<'a, 'r>, Problem>> {
        let mut records = Records::new(template, self.body);
        std::iter::from_fn(move || {
            let offset = self.start + records.offset();
            let record = match records.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(Problem::new(offset, error.reason(), error))),
            };
            let cells = self.columns.iter().zip(record.fields());
            Some(Ok(Row {
                offset,
                cells: cells
                    // A field of no length has no value.
                    .filter(|(_, (field, _))| field.length > 0)
                    .map(|(column, (_, content))| (column, content))
                    .collect(),
            }))
        })
    }
}

/// An element's name, or its number where it is not known by name.
pub(super) fn element_name(element: ElementId) -> String {
    match element.name() {
        Some(name) => name.to_string(),
        None => element.to_string(),
    }
}

/// The name of a field that is a scope: v9 has numbers of its own for them.
pub(super) fn scope_name(version: Version, element: ElementId) -> String {
    match (version, element::v9_scope_name(element.number)) {
        (Version::V9, Some(name)) => name.to_owned(),
        _ => element_name(element),
    }
}

fn column(element: ElementId) -> Column {
    Column {
        name: element_name(element),
        data_type: element::lookup(element).map(|element| element.data_type),
    }
}

fn scope(version: Version, field: FieldSpecifier) -> Column {
    let known = element::v9_scope_name(field.element.number);
    if version == Version::V9 && known.is_some() {
        return Column {
            name: scope_name(version, field.element),
            data_type: (field.length <= 8).then_some(DataType::Unsigned64),
        };
    }
    column(field.element)
}

fn name_apart(columns: impl Iterator<Item = Column>) -> Vec<Column> {
    let mut seen: HashMap<String, u32> = HashMap::new();
    columns
        .map(|mut column| {
            let count = seen.entry(column.name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                column.name = format!("{}#{count}", column.name);
            }
            column
        })
        .collect()
}
