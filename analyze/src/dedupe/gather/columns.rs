//! Columns of rows that are picked out of several batches, a stretch of rows at a time.
//!
//! ```text
//! source 0   a b c d e …        picks: rows 0, 1 and 3 of source 0; rows 7 and 8 of source 1; …
//! source 1   (no value)    →    a b d - - …
//! ```

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, BinaryType, ByteArrayType, Float64Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, Utf8Type,
};
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, GenericByteArray, PrimitiveArray};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType};
use arrow_select::interleave::interleave;
use forebay_store::{ColumnType, absent_column};

/// Some rows of a source, in their order there.
#[derive(Debug, Clone, Copy)]
pub(in crate::dedupe) struct Pick<'a> {
    /// Its place among the sources.
    pub(in crate::dedupe) source: usize,
    /// The rows in the source's columns.
    pub(in crate::dedupe) rows: &'a [u32],
    /// The place of the first of them among all rows of the source that stay.
    pub(in crate::dedupe) place: usize,
}

/// A column of type `kind` of the rows that `picks` name. By source: its array, in which there is a value;
/// `None` where there is none.
pub(super) fn column(
    kind: &DataType,
    sources: &[Option<&ArrayRef>],
    picks: &[Pick<'_>],
) -> Result<ArrayRef, ArrowError> {
    let rows = picks.iter().map(|pick| pick.rows.len()).sum();
    if sources.iter().all(Option::is_none) {
        return absent_column(kind, rows);
    }
    let of = Picked {
        kind,
        sources,
        picks,
        rows,
    };
    match ColumnType::of(kind) {
        Some(ColumnType::U8) => of.primitive::<UInt8Type>(),
        Some(ColumnType::U16) => of.primitive::<UInt16Type>(),
        Some(ColumnType::U32) => of.primitive::<UInt32Type>(),
        Some(ColumnType::U64) => of.primitive::<UInt64Type>(),
        Some(ColumnType::I64) => of.primitive::<Int64Type>(),
        Some(ColumnType::F64) => of.primitive::<Float64Type>(),
        Some(ColumnType::Timestamp) => of.primitive::<TimestampMicrosecondType>(),
        Some(ColumnType::Mac) => of.fixed::<6>(),
        Some(ColumnType::Ipv6) => of.fixed::<16>(),
        Some(ColumnType::Text) => of.octets::<Utf8Type>(),
        Some(ColumnType::Octets) => of.octets::<BinaryType>(),
        Some(ColumnType::Exporter) | None => of.interleaved(),
    }
}

/// What a column is made of.
struct Picked<'a> {
    kind: &'a DataType,
    sources: &'a [Option<&'a ArrayRef>],
    picks: &'a [Pick<'a>],
    rows: usize,
}

impl Picked<'_> {
    fn primitive<T: ArrowPrimitiveType>(&self) -> Result<ArrayRef, ArrowError> {
        let values = self.values(|array| {
            let array = array.as_primitive_opt::<T>();
            array.map(|array| array.values().as_ref())
        })?;
        let array = PrimitiveArray::<T>::try_new(values.into(), self.nulls())?;
        Ok(Arc::new(array.with_data_type(self.kind.clone())))
    }

    fn fixed<const N: usize>(&self) -> Result<ArrayRef, ArrowError>
    where
        [u8; N]: Default,
    {
        let values = self.values(|array| {
            let array = array.as_fixed_size_binary_opt();
            array.map(|array| array.value_data().as_chunks::<N>().0)
        })?;
        let octets = Buffer::from_vec(values.into_flattened());
        // N is 6 or 16.
        let array = FixedSizeBinaryArray::try_new(N as i32, octets, self.nulls())?;
        Ok(Arc::new(array))
    }

    /// The values of all rows; of those without one, any.
    fn values<'s, T: Copy + Default + 's>(
        &'s self,
        of: impl Fn(&'s ArrayRef) -> Option<&'s [T]>,
    ) -> Result<Vec<T>, ArrowError> {
        let mut sources: Vec<Option<&[T]>> = Vec::with_capacity(self.sources.len());
        for array in self.sources {
            sources.push(match *array {
                Some(array) => Some(of(array).ok_or_else(|| self.not_of_kind(array))?),
                None => None,
            });
        }
        let mut values = Vec::with_capacity(self.rows);
        for pick in self.picks {
            match (sources[pick.source], pick.rows) {
                (None, rows) => values.resize(values.len() + rows.len(), T::default()),
                // All of them stay, as mostly where datasets are merged.
                (Some(from), &[first, .., last])
                    if (last - first) as usize + 1 == pick.rows.len() =>
                {
                    values.extend_from_slice(&from[first as usize..=last as usize]);
                }
                (Some(from), rows) => values.extend(rows.iter().map(|&row| from[row as usize])),
            }
        }
        Ok(values)
    }

    fn octets<T: ByteArrayType<Offset = i32>>(&self) -> Result<ArrayRef, ArrowError> {
        let mut sources = Vec::with_capacity(self.sources.len());
        for array in self.sources {
            sources.push(match *array {
                Some(array) => {
                    let octets = array.as_bytes_opt::<T>();
                    let octets = octets.ok_or_else(|| self.not_of_kind(array))?;
                    Some((octets.value_offsets(), octets.value_data()))
                }
                None => None,
            });
        }
        let mut data: Vec<u8> = Vec::new();
        let mut offsets = Vec::with_capacity(self.rows + 1);
        offsets.push(0);
        for pick in self.picks {
            let Some((from, values)) = sources[pick.source] else {
                let end = offsets.last().copied().unwrap_or(0);
                offsets.resize(offsets.len() + pick.rows.len(), end);
                continue;
            };
            for &row in pick.rows {
                let row = row as usize;
                // Arrow's offsets ascend from 0 on.
                data.extend_from_slice(&values[from[row] as usize..from[row + 1] as usize]);
                let end = i32::try_from(data.len());
                offsets.push(end.map_err(|_| ArrowError::OffsetOverflowError(data.len()))?);
            }
        }
        let offsets = OffsetBuffer::new(offsets.into());
        let array = GenericByteArray::<T>::try_new(offsets, data.into(), self.nulls())?;
        Ok(Arc::new(array))
    }

    /// As Arrow does it, for what flow files have not of themselves.
    fn interleaved(&self) -> Result<ArrayRef, ArrowError> {
        let end = |source: usize| {
            let own = self.picks.iter().filter(|pick| pick.source == source);
            own.flat_map(|pick| pick.rows)
                .max()
                .map_or(0, |&row| row as usize + 1)
        };
        let whole = (self.sources.iter().enumerate()).map(|(source, array)| match array {
            Some(array) => Ok(Arc::clone(array)),
            None => absent_column(self.kind, end(source)),
        });
        let whole = whole.collect::<Result<Vec<_>, _>>()?;
        let whole: Vec<&dyn Array> = whole.iter().map(AsRef::as_ref).collect();
        let picks = self.picks.iter().flat_map(|pick| {
            let rows = pick.rows.iter();
            rows.map(|&row| (pick.source, row as usize))
        });
        interleave(&whole, &picks.collect::<Vec<_>>())
    }

    /// Which rows have a value; `None` where all do.
    fn nulls(&self) -> Option<NullBuffer> {
        let nulls = |array: &ArrayRef| {
            array
                .nulls()
                .filter(|nulls| nulls.null_count() > 0)
                .cloned()
        };
        let sources: Vec<Presence> = (self.sources.iter())
            .map(|array| match array {
                None => Presence::Never,
                Some(array) => nulls(array).map_or(Presence::Always, Presence::Sometimes),
            })
            .collect();
        if sources
            .iter()
            .all(|presence| matches!(presence, Presence::Always))
        {
            return None;
        }
        let mut bits = BooleanBufferBuilder::new(self.rows);
        // Neighbours that are alike are appended at once.
        let mut run = (true, 0);
        for pick in self.picks {
            let is_valid = match &sources[pick.source] {
                Presence::Always => true,
                Presence::Never => false,
                Presence::Sometimes(nulls) => {
                    bits.append_n(run.1, run.0);
                    run.1 = 0;
                    let rows = pick.rows.iter();
                    rows.for_each(|&row| bits.append(nulls.is_valid(row as usize)));
                    continue;
                }
            };
            if is_valid != run.0 {
                bits.append_n(run.1, run.0);
                run = (is_valid, 0);
            }
            run.1 += pick.rows.len();
        }
        bits.append_n(run.1, run.0);
        Some(NullBuffer::new(bits.finish()))
    }

    fn not_of_kind(&self, array: &ArrayRef) -> ArrowError {
        let (found, kind) = (array.data_type(), self.kind);
        ArrowError::CastError(format!(
            "a column is {found} in one file and {kind} in others"
        ))
    }
}

/// Whether rows of a source have a value.
enum Presence {
    Always,
    Never,
    Sometimes(NullBuffer),
}

#[cfg(test)]
mod tests;
