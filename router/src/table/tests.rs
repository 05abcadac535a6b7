use super::*;

fn table(shards: u32, weights: &[u32]) -> Result<Table, TableError> {
    Table::new(NonZero::new(shards).expect("not 0"), weights)
}

fn collectors(shards: u32, weights: &[u32]) -> Vec<usize> {
    let table = table(shards, weights).expect("a table");
    (0..table.shards())
        .map(|shard| table.collector(shard))
        .collect()
}

#[test]
fn known_tables() {
    assert_eq!(collectors(7, &[1; 7]), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(collectors(7, &[1, 1, 1]), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(collectors(7, &[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(
        collectors(13, &[2, 1, 3]),
        [2, 0, 1, 2, 0, 2, 2, 0, 1, 2, 0, 2, 2]
    );
    assert_eq!(
        collectors(11, &[4, 0, 1]),
        [0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0]
    );
}

#[test]
fn shares_are_within_one_shard_of_what_the_weights_say() {
    let weights = [3, 1, 4, 1, 5, 9, 2, 6];
    for shards in [31, 101, 997, MAX_SHARDS] {
        let table = table(shards, &weights).expect("a table");
        assert_eq!(table.shares().iter().sum::<u32>(), shards);
        let total: u32 = weights.iter().sum();
        for (share, weight) in table.shares().iter().zip(weights) {
            let due = f64::from(shards) * f64::from(weight) / f64::from(total);
            assert!((f64::from(*share) - due).abs() < 1.0, "{share} of {due}");
        }
    }
}

#[test]
fn the_largest_weights_do_not_overflow() {
    assert_eq!(collectors(4, &[u32::MAX, u32::MAX]), [0, 1, 0, 1]);
}

#[test]
fn a_table_that_leaves_a_collector_idle_is_refused() {
    assert_eq!(
        table(2, &[1, 1, 1]),
        Err(TableError::Idle {
            collector: 2,
            shards: 2
        })
    );
    assert_eq!(
        table(7, &[100, 1]).expect_err("idle").to_string(),
        "of 7 shards none falls to collector 2: give more shards, or the collector more weight"
    );
}

#[test]
fn a_table_needs_collectors_and_has_an_end() {
    assert_eq!(table(7, &[]), Err(TableError::NoCollectors));
    assert_eq!(table(7, &[0, 0]), Err(TableError::NoCollectors));
    let shards = MAX_SHARDS + 1;
    assert_eq!(
        table(shards, &[1]),
        Err(TableError::TooManyShards { shards })
    );
}

#[test]
fn a_shard_beyond_the_table_has_a_collector_all_the_same() {
    let table = table(7, &[1, 1, 1]).expect("a table");
    assert_eq!(table.collector(7), table.collector(0));
    assert_eq!(table.collector(u32::MAX), table.collector(u32::MAX % 7));
}
