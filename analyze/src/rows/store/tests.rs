use std::collections::HashMap;

use super::*;
use crate::rows::MemoryLimit;

const SHAPE: Shape = Shape {
    key_words: 2,
    words: 4,
};

/// Rows whose key is made of `n % keys`, with `n` behind it.
fn row(n: u64, keys: u64) -> [u64; 4] {
    let key = n % keys;
    [key << 32, key.wrapping_mul(0x1234_5677), n, !n]
}

fn write(store: &RowStore<'_>, keys: u64, count: u64) {
    let writers = vec![store.writer(), store.writer()];
    let ended = workers::share(writers, 2, |writer, half| {
        for start in (0..count).step_by(1000) {
            let rows = (start..count.min(start + 1000)).filter(|n| n % 2 == half as u64);
            let rows: Vec<[u64; 4]> = rows.map(|n| row(n, keys)).collect();
            if start % 2000 == 0 {
                writer.rows(rows.as_flattened())?;
            } else {
                let columns = [0, 1, 2, 3].map(|c| rows.iter().map(|r| r[c]).collect::<Vec<_>>());
                for (to, column) in writer.room(rows.len() + 3).into_iter().zip(&columns) {
                    to[..rows.len()].copy_from_slice(column);
                }
                writer.take(rows.len())?;
            }
        }
        Ok(())
    });
    for writer in ended.expect("no error") {
        writer.finish().expect("writes");
    }
}

/// What is visited, by key; and the rows of each visit.
fn visit(store: RowStore<'_>) -> (HashMap<[u64; 2], Vec<u64>>, Vec<usize>) {
    let states = vec![(HashMap::<[u64; 2], Vec<u64>>::new(), Vec::new()); 2];
    let ended = store.visit(&Control::default(), states, |(keys, sizes), rows| {
        let mut here: HashMap<[u64; 2], Vec<u64>> = HashMap::new();
        let (rows, _) = rows.as_chunks::<4>();
        for &[a, b, n, inverse] in rows {
            assert_eq!(n, !inverse);
            here.entry([a, b]).or_default().push(n);
        }
        sizes.push(rows.len());
        for (key, rows) in here {
            assert!(
                keys.insert(key, rows).is_none(),
                "the rows of a key came apart"
            );
        }
        Ok(())
    });
    let mut all = HashMap::new();
    let mut sizes = Vec::new();
    for (keys, visits) in ended.expect("no error") {
        for (key, mut rows) in keys {
            rows.sort_unstable();
            assert!(
                all.insert(key, rows).is_none(),
                "the rows of a key came apart"
            );
        }
        sizes.extend(visits);
    }
    (all, sizes)
}

fn expected(keys: u64, count: u64) -> HashMap<[u64; 2], Vec<u64>> {
    let mut expected: HashMap<[u64; 2], Vec<u64>> = HashMap::new();
    for n in 0..count {
        let [a, b, ..] = row(n, keys);
        expected.entry([a, b]).or_default().push(n);
    }
    expected
}

#[test]
fn every_row_is_visited_once_with_all_of_its_key() {
    let dir = tempfile::tempdir().expect("temporary folder");
    // All in memory; some put aside; partitions that do not fit in memory either; one key.
    for (limit, keys, count) in [
        (1 << 30, 5000, 40_000),
        (1 << 20, 5000, 100_000),
        (1 << 14, 50_000, 100_000),
        (1 << 14, 1, 20_000),
        (0, 300, 3000),
    ] {
        let memory = Memory::new(MemoryLimit(limit));
        let spill = Spill::new(dir.path().to_owned());
        let store = RowStore::new(SHAPE, 2, &memory, &spill);
        write(&store, keys, count);
        assert_eq!(spill.bytes() > 0, 32 * count as usize > limit, "{limit}");
        let (found, sizes) = visit(store);
        assert_eq!(found, expected(keys, count), "{limit}");
        if limit == 1 << 14 && keys > 1 {
            assert!(sizes.iter().all(|rows| 32 * rows <= limit / 8), "{sizes:?}");
        }
        assert_eq!(memory.used(), 0, "{limit}");
    }
}

#[test]
fn an_interruption_ends_a_visit() {
    let memory = Memory::new(MemoryLimit(1 << 30));
    let spill = Spill::new(std::env::temp_dir());
    let store = RowStore::new(SHAPE, 1, &memory, &spill);
    write(&store, 100, 1000);
    let control = Control::default();
    control.stop();
    let result = store.visit(&control, vec![()], |(), _| Ok(()));
    assert!(matches!(result, Err(AnalyzeError::Stopped)));
}

#[test]
fn where_others_take_all_memory_rows_are_not_put_aside_one_by_one() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let limit = 1 << 18;
    let memory = Memory::new(MemoryLimit(limit));
    let spill = Spill::new(dir.path().to_owned());
    memory.take(2 * limit);
    let store = RowStore::new(SHAPE, 2, &memory, &spill);
    write(&store, 5000, 100_000);
    let bytes = 32 * 100_000;
    let runs = lock(&store.runs).len();
    assert!((1..=bytes / (limit / 8) + 1).contains(&runs), "{runs}");
    let (found, _) = visit(store);
    assert_eq!(found, expected(5000, 100_000));
    assert_eq!(memory.used(), 2 * limit);
}
