use arrow_array::types::Int32Type;
use arrow_array::{BinaryArray, DictionaryArray, StringArray};
use arrow_buffer::ScalarBuffer;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::*;

const KINDS: [ColumnType; 12] = [
    ColumnType::U8,
    ColumnType::U16,
    ColumnType::U32,
    ColumnType::U64,
    ColumnType::I64,
    ColumnType::F64,
    ColumnType::Timestamp,
    ColumnType::Mac,
    ColumnType::Ipv6,
    ColumnType::Text,
    ColumnType::Octets,
    ColumnType::Exporter,
];

fn numbers<T: ArrowPrimitiveType>(values: &[u64], nulls: Option<NullBuffer>) -> ArrayRef
where
    T::Native: TryFrom<u64>,
{
    let number = |&value: &u64| T::Native::try_from(value % 128).ok().unwrap_or_default();
    let values: ScalarBuffer<T::Native> = values.iter().map(number).collect();
    Arc::new(PrimitiveArray::<T>::new(values, nulls))
}

fn octets(values: &[u64], width: usize) -> Buffer {
    let octets = values
        .iter()
        .flat_map(|value| value.to_be_bytes().repeat(2));
    let octets: Vec<u8> = octets.collect();
    let octets: Vec<&[u8]> = octets.chunks(16).map(|octets| &octets[..width]).collect();
    octets.concat().into()
}

/// A column of those values; where a value is null, its place holds it all the same.
fn array(kind: ColumnType, values: &[(u64, bool)]) -> ArrayRef {
    let nulls: NullBuffer = values.iter().map(|(_, is_valid)| *is_valid).collect();
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    let numbers_of: Vec<u64> = values.iter().map(|(value, _)| *value).collect();
    let values = numbers_of.as_slice();
    let texts: Vec<String> = values.iter().map(|n| "é".repeat(*n as usize % 5)).collect();
    let of_bytes = |width: usize| {
        let values = octets(values, width);
        FixedSizeBinaryArray::new(width as i32, values, nulls.clone())
    };
    match kind {
        ColumnType::U8 => numbers::<UInt8Type>(values, nulls),
        ColumnType::U16 => numbers::<UInt16Type>(values, nulls),
        ColumnType::U32 => numbers::<UInt32Type>(values, nulls),
        ColumnType::U64 => numbers::<UInt64Type>(values, nulls),
        ColumnType::I64 => numbers::<Int64Type>(values, nulls),
        ColumnType::F64 => {
            let values: ScalarBuffer<f64> = values.iter().map(|&value| value as f64).collect();
            Arc::new(PrimitiveArray::<Float64Type>::new(values, nulls))
        }
        ColumnType::Timestamp => {
            let values: ScalarBuffer<i64> = values.iter().map(|&value| value as i64).collect();
            let array = PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls);
            Arc::new(array.with_data_type(kind.arrow()))
        }
        ColumnType::Mac => Arc::new(of_bytes(6)),
        ColumnType::Ipv6 => Arc::new(of_bytes(16)),
        ColumnType::Text => {
            let texts = StringArray::from_iter_values(texts);
            let (offsets, values, _) = texts.into_parts();
            Arc::new(StringArray::new(offsets, values, nulls))
        }
        ColumnType::Octets => {
            let (offsets, values, _) = BinaryArray::from_iter_values(texts).into_parts();
            Arc::new(BinaryArray::new(offsets, values, nulls))
        }
        ColumnType::Exporter => {
            let keys = values.iter().map(|&value| (value % 5) as i32).collect();
            let keys = PrimitiveArray::<Int32Type>::new(keys, nulls);
            let names: ArrayRef = Arc::new(StringArray::from_iter_values(["", "a", "b", "c", "d"]));
            Arc::new(DictionaryArray::new(keys, names))
        }
    }
}

/// What a source has, as values and whether they are null; where its rows begin in a longer batch; and
/// whether it has the column at all.
type Told = (Vec<(u64, bool)>, usize, bool);

fn source() -> impl Strategy<Value = Told> {
    let value = prop_oneof![
        (any::<u64>(), Just(true)).boxed(),
        (any::<u64>(), any::<bool>()).boxed()
    ];
    let values = prop_oneof![
        prop::collection::vec((any::<u64>(), Just(true)), 2..80).boxed(),
        prop::collection::vec(value, 2..80).boxed()
    ];
    (values, 0..2_usize, prop::bool::weighted(0.7))
}

/// Sources, and for each pick its source, with which of its rows are taken.
fn sources_and_picks() -> impl Strategy<Value = (Vec<Told>, Vec<(usize, Vec<u32>)>)> {
    prop::collection::vec(source(), 1..5).prop_flat_map(|sources| {
        let lengths: Vec<usize> = sources
            .iter()
            .map(|(values, start, _)| values.len() - start)
            .collect();
        let pick = any::<Index>().prop_flat_map(move |source| {
            let source = source.index(lengths.len());
            let rows: Vec<u32> = (0..lengths[source] as u32).collect();
            let count = rows.len();
            let some = subsequence(rows.clone(), 0..=count);
            let stretch = (0..count).prop_map(move |start| rows[start..].to_vec());
            (Just(source), prop_oneof![some.boxed(), stretch.boxed()])
        });
        (Just(sources), prop::collection::vec(pick, 0..30))
    })
}

proptest! {
    #[test]
    fn what_is_picked_is_what_arrow_interleaves((told, chosen) in sources_and_picks()) {
        let picks: Vec<Pick<'_>> = chosen
            .iter()
            .map(|(source, rows)| Pick { source: *source, rows, place: 0 })
            .collect();
        let flat = picks.iter().flat_map(|pick| pick.rows.iter().map(|&row| (pick.source, row as usize)));
        let flat: Vec<(usize, usize)> = flat.collect();
        for kind in KINDS {
            let arrays: Vec<Option<ArrayRef>> = told
                .iter()
                .map(|(values, start, is_there)| {
                    let array = array(kind, values).slice(*start, values.len() - start);
                    is_there.then_some(array)
                })
                .collect();
            let whole: Vec<ArrayRef> = arrays
                .iter()
                .zip(&told)
                .map(|(array, (values, ..))| match array {
                    Some(array) => Arc::clone(array),
                    None => absent_column(&kind.arrow(), values.len()).expect("a column"),
                })
                .collect();
            let whole: Vec<&dyn Array> = whole.iter().map(AsRef::as_ref).collect();
            let expected = interleave(&whole, &flat).expect("interleaves");
            let sources: Vec<Option<&ArrayRef>> = arrays.iter().map(Option::as_ref).collect();
            let found = column(&kind.arrow(), &sources, &picks).expect("picks");
            prop_assert_eq!(found.data_type(), &kind.arrow());
            prop_assert_eq!(found.null_count(), expected.null_count());
            prop_assert!(found.nulls().is_none() || found.null_count() > 0 || kind == ColumnType::Exporter
                || sources.iter().any(|source| source.is_none_or(|source| source.null_count() > 0)));
            prop_assert_eq!(&found, &expected, "{:?}", kind);
            found.to_data().validate_full().expect("is whole");
        }
    }
}

#[test]
fn a_column_of_another_type_is_told() {
    let array = array(ColumnType::U8, &[(1, true), (2, true)]);
    let pick = Pick {
        source: 0,
        rows: &[0],
        place: 0,
    };
    for kind in KINDS.into_iter().skip(1) {
        let found = column(&kind.arrow(), &[Some(&array)], &[pick]);
        assert!(found.is_err() || kind == ColumnType::Exporter, "{kind:?}");
    }
}
