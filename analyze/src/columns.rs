//! The columns of flows, with those that files have besides.

use arrow_schema::{DataType, Schema, TimeUnit};
use forebay_store::{ColumnType, FlowSchema};

/// The standard columns, and the configured ones that are in any of `schemas`.
pub fn columns_of<'s>(schemas: impl IntoIterator<Item = &'s Schema>) -> FlowSchema {
    let mut known = FlowSchema::default();
    for field in schemas.into_iter().flat_map(Schema::fields) {
        if known.find(field.name()).is_none()
            && let Some(kind) = kind_of(field.data_type())
        {
            // What has a name that no column can have, cannot be asked for.
            let _added = known.add(field.name(), kind);
        }
    }
    known
}

fn kind_of(found: &DataType) -> Option<ColumnType> {
    Some(match found {
        DataType::UInt8 => ColumnType::U8,
        DataType::UInt16 => ColumnType::U16,
        DataType::UInt32 => ColumnType::U32,
        DataType::UInt64 => ColumnType::U64,
        DataType::Int64 => ColumnType::I64,
        DataType::Float64 => ColumnType::F64,
        DataType::Timestamp(TimeUnit::Microsecond, _) => ColumnType::Timestamp,
        DataType::FixedSizeBinary(6) => ColumnType::Mac,
        DataType::FixedSizeBinary(16) => ColumnType::Ipv6,
        DataType::Utf8 => ColumnType::Text,
        DataType::Binary => ColumnType::Octets,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn configured_columns_are_found() {
        let schema =
            |name: &str, kind: ColumnType| Schema::new(vec![Field::new(name, kind.arrow(), true)]);
        let files = [
            schema("bytes", ColumnType::Text),
            schema("nbar", ColumnType::U16),
            schema("nbar", ColumnType::U16),
            schema("No name", ColumnType::U16),
        ];
        let known = columns_of(&files);
        let standard = FlowSchema::default().columns().count();
        assert_eq!(known.columns().count(), standard + 1);
        let kind = |name: &str| known.find(name).map(|column| known.kind(column));
        assert_eq!(kind("nbar"), Some(ColumnType::U16));
        assert_eq!(kind("bytes"), Some(ColumnType::U64));
    }
}
