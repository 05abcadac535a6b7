use std::net::{IpAddr, Ipv4Addr};

use forebay_wire::Message;

use super::*;

mod records;
mod weights;

fn splits(shards: impl IntoIterator<Item = u32>, hashes: &[Hash]) -> Vec<Split> {
    let mut splits = Vec::new();
    for shards in shards {
        let shards = NonZero::new(shards).expect("not 0");
        splits.extend(hashes.iter().map(|hash| Split {
            shards,
            hash: *hash,
        }));
    }
    splits
}

fn setup(splits: Vec<Split>, weights: &[u32]) -> Setup<'static> {
    Setup {
        splits,
        weights: weights.to_vec(),
        pinned: &|_| None,
        exporters_max: 1_000,
    }
}

fn load(records: u64) -> Load {
    Load {
        datagrams: records.div_ceil(24),
        records,
        bytes: records * 60,
    }
}

fn exporter(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

/// The balance of exporters with these numbers and records.
fn balance(
    exporters: impl IntoIterator<Item = (u32, u64)>,
    splits: Vec<Split>,
    weights: &[u32],
) -> Balance {
    let mut counter = Counter::new(setup(splits, weights));
    for (number, records) in exporters {
        counter.add(exporter(number), None, &load(records));
    }
    counter.finish(None)
}

fn imbalance(balance: &Balance, shards: u32, hash: Hash) -> f64 {
    let found = balance
        .evaluations
        .iter()
        .find(|e| e.split.shards.get() == shards && e.split.hash == hash);
    let evaluation = found.expect("it was asked for");
    evaluation.imbalance(Measure::Records).expect("counted")
}

const BOTH: [Hash; 2] = [Hash::Address, Hash::Xxh3];

/// What the field found: routers of a site have odd host numbers, so that an even number of shards by address leaves
/// every other one empty.
#[test]
fn hosts_numbered_in_steps_overload_half_of_an_even_split_and_level_out_over_a_prime() {
    let odd_hosts = (0..500).map(|n| (2 * n + 1, 1_000));
    let balance = balance(odd_hosts, splits(2..=31, &BOTH), &[]);
    for evaluation in &balance.evaluations {
        let Split { shards, hash } = evaluation.split;
        let imbalance = evaluation.imbalance(Measure::Records).expect("counted");
        if hash == Hash::Xxh3 {
            assert!(imbalance < 2.0, "{shards} by xxh3: {imbalance}");
        } else if shards.get() % 2 == 0 {
            assert!(imbalance >= 2.0, "{shards} by address: {imbalance}");
            let empty = evaluation.shards.iter().filter(|load| load.records == 0);
            assert_eq!(empty.count(), shards.get() as usize / 2);
        } else {
            assert!(imbalance <= EVEN, "{shards} by address: {imbalance}");
        }
    }
    // Of the even ones the primes are taken, and the most shards.
    let choice = balance.choose(Measure::Records).expect("a choice");
    let chosen = &balance.evaluations[choice.index];
    assert_eq!(chosen.split.shards.get(), 31);
    assert_eq!(chosen.split.hash, Hash::Address);
    assert_eq!(choice.reason, Reason::MostShards);
}

#[test]
fn a_prime_too_is_uneven_where_the_step_is_a_multiple_of_it() {
    let steps_of_seven = (0..99).map(|n| (7 * n, 10));
    let balance = balance(steps_of_seven, splits([7, 11], &[Hash::Address]), &[]);
    assert!(imbalance(&balance, 7, Hash::Address) > 6.9);
    assert!(imbalance(&balance, 11, Hash::Address) < 1.001);
}

#[test]
fn loads_are_those_of_the_exporters_once() {
    let exporters = (1..98).map(|n| (n * n, u64::from(n)));
    let balance = balance(exporters, splits(2..=13, &BOTH), &[2, 1, 1]);
    assert_eq!(balance.exporters.len(), 97);
    for evaluation in &balance.evaluations {
        let mut shards = Load::default();
        for load in &evaluation.shards {
            shards.add(load);
        }
        assert_eq!(shards, balance.total);
        let Some(collectors) = &evaluation.collectors else {
            assert!(evaluation.split.shards.get() < 4);
            continue;
        };
        let mut sum = Load::default();
        for load in collectors {
            sum.add(load);
        }
        assert_eq!(sum, balance.total);
    }
}

#[test]
fn the_floor_is_what_the_heaviest_exporter_makes() {
    // One sends half of everything: over four shards, that is twice the mean at best.
    let exporters = (0..100).map(|n| (n, if n == 0 { 99 } else { 1 }));
    let balance = balance(exporters, splits([4], &[Hash::Address]), &[]);
    let evaluation = &balance.evaluations[0];
    assert_eq!(
        evaluation.floor(Measure::Records),
        Some(Floor {
            imbalance: 2.0,
            cause: FloorCause::Exporter(exporter(0))
        })
    );
    assert!(evaluation.imbalance(Measure::Records) > Some(2.0));
}

#[test]
fn weights_are_what_is_even() {
    // Two thirds of everything go to the first of two, which is twice as strong.
    let exporters = (0..30).map(|n| (n, 10));
    let balance = balance(exporters, splits([3], &[Hash::Address]), &[2, 1]);
    let evaluation = &balance.evaluations[0];
    let collectors = evaluation.collectors.as_ref().expect("enough shards");
    assert_eq!([collectors[0].records, collectors[1].records], [200, 100]);
    assert_eq!(evaluation.imbalance(Measure::Records), Some(1.0));
}

#[test]
fn a_split_with_too_few_shards_for_the_collectors_is_not_chosen() {
    let exporters = (0..30).map(|n| (n, 10));
    let balance = balance(exporters, splits(2..=5, &[Hash::Address]), &[1, 1, 1]);
    assert_eq!(balance.evaluations[0].collectors, None);
    // What its shards have to take would say nothing of collectors.
    assert_eq!(balance.evaluations[0].imbalance(Measure::Records), None);
    assert_eq!(balance.evaluations[0].floor(Measure::Records), None);
    let choice = balance.choose(Measure::Records).expect("a choice");
    assert_eq!(balance.evaluations[choice.index].split.shards.get(), 3);
    let none = super::tests::balance([(1, 1)], splits([2], &BOTH), &[1, 1, 1]);
    assert_eq!(none.choose(Measure::Records), None);
}

#[test]
fn exporters_that_move_are_counted_against_the_current_collectors() {
    let mut counter = Counter::new(setup(splits([2, 4], &[Hash::Address]), &[1, 1]));
    for n in 0..8 {
        counter.add(exporter(n), None, &load(1));
    }
    let current = |address: IpAddr| {
        let IpAddr::V4(address) = address else {
            return None;
        };
        // Two shards, by address; but the last is sent elsewhere.
        let number = address.to_bits() & 7;
        (number < 7).then_some(number as usize % 2)
    };
    let balance = counter.finish(Some(&current));
    assert_eq!(balance.evaluations[0].moved, Some(1));
    // Four shards on two collectors in turn: the same again.
    assert_eq!(balance.evaluations[1].moved, Some(1));
}

#[test]
fn among_equals_the_prime_is_chosen() {
    // 4 and 2 shards are as even for these; the prime is the better one, though not the first.
    let balance = balance(
        (0..20).map(|n| (n, 10)),
        splits([4, 2], &[Hash::Address]),
        &[1, 1],
    );
    let choice = balance.choose(Measure::Records).expect("a choice");
    assert_eq!(choice.index, 1);
    assert_eq!(choice.reason, Reason::NearLowest(0));
}

#[test]
fn among_equals_the_cheap_hash_is_chosen() {
    // All on one shard: every hash is as good.
    for weights in [&[][..], &[1]] {
        let balance = balance([(1, 10), (2, 10)], splits([1], &BOTH), weights);
        let choice = balance.choose(Measure::Records).expect("a choice");
        assert_eq!(balance.evaluations[choice.index].split.hash, Hash::Address);
    }
}

#[test]
fn the_worst_second_is_that_in_which_the_fullest_had_the_most_to_take() {
    let mut counter = Counter::new(setup(splits([2], &[Hash::Address]), &[]));
    // Even in the sum; in second 11 all at one shard; in second 13 little, and that uneven.
    for (number, second, records) in [
        (0, 10, 50),
        (1, 10, 50),
        (0, 11, 80),
        (1, 12, 80),
        (0, 13, 1),
        (1, 9, 1), // Late: it counts in the second under way.
    ] {
        counter.add(exporter(number), Some(second), &load(records));
    }
    let balance = counter.finish(None);
    let evaluation = &balance.evaluations[0];
    assert_eq!(balance.seconds, 4);
    assert_eq!(evaluation.imbalance(Measure::Records), Some(1.0));
    assert_eq!(
        evaluation.peak(Measure::Records),
        Some(PeakSecond {
            second: 11,
            largest: 80,
            imbalance: Some(2.0)
        })
    );
}

#[test]
fn inputs_have_their_own_time() {
    let mut counter = Counter::new(setup(splits([2], &[Hash::Address]), &[]));
    counter.add(exporter(0), Some(100), &load(10));
    counter.next_input();
    counter.add(exporter(0), Some(10), &load(20));
    counter.add(exporter(0), Some(11), &load(5));
    let balance = counter.finish(None);
    let peak = balance.evaluations[0].peak(Measure::Records);
    assert_eq!(balance.seconds, 3);
    assert_eq!(peak.map(|peak| (peak.second, peak.largest)), Some((10, 20)));
}

#[test]
fn samples_without_time_have_no_worst_second() {
    let balance = balance([(1, 1)], splits([2], &BOTH), &[]);
    assert_eq!(balance.seconds, 0);
    assert_eq!(balance.evaluations[0].peak(Measure::Records), None);
}

#[test]
fn exporters_beyond_the_limit_are_counted_and_take_no_room() {
    let mut counter = Counter::new(Setup {
        exporters_max: 10,
        ..setup(splits([2], &BOTH), &[])
    });
    for round in 0..2 {
        for n in 0..100 {
            counter.add(exporter(n), Some(round), &load(24));
        }
    }
    let balance = counter.finish(None);
    assert_eq!(balance.exporters.len(), 10);
    assert_eq!(balance.total.datagrams, 20);
    assert_eq!(balance.beyond_limit.datagrams, 180);
}

#[test]
fn who_sent_nothing_is_no_exporter() {
    let balance = balance([(1, 10), (2, 0)], splits([2], &BOTH), &[]);
    let exporters: Vec<_> = balance.exporters.iter().map(|of| of.exporter).collect();
    assert_eq!(exporters, [exporter(1)]);
}

#[test]
fn nothing_counted_has_no_imbalance_and_no_choice() {
    for weights in [&[][..], &[1, 1]] {
        let balance = balance([], splits(2..=31, &BOTH), weights);
        assert_eq!(balance.measure(), Measure::Datagrams);
        assert_eq!(balance.choose(Measure::Datagrams), None);
        let evaluation = &balance.evaluations[0];
        assert_eq!(evaluation.imbalance(Measure::Datagrams), None);
        assert_eq!(balance.advise(evaluation, Measure::Datagrams), None);
    }
}

#[test]
fn the_measure_is_records_where_they_are_known() {
    let mut counter = Counter::new(setup(splits([2], &BOTH), &[]));
    let only_bytes = Load {
        bytes: 5,
        ..Load::default()
    };
    counter.add(exporter(1), None, &only_bytes);
    assert_eq!(counter.finish(None).measure(), Measure::Bytes);
    assert_eq!(
        balance([(1, 1)], splits([2], &BOTH), &[]).measure(),
        Measure::Records
    );
}

#[test]
fn an_exporter_that_fills_a_collector_gets_one_of_its_own() {
    // 10.0.0.0 sends as much as the other 60 together: no split over three is better than 1.5.
    let exporters = (0..=60).map(|n| (n, if n == 0 { 600 } else { 10 }));
    let balance = balance(exporters, splits([3], &[Hash::Address]), &[1, 1, 1]);
    let evaluation = &balance.evaluations[0];
    let floor = evaluation.floor(Measure::Records).expect("counted");
    assert_eq!(floor.imbalance, 1.5);
    let before = evaluation.imbalance(Measure::Records);
    assert!(before > Some(1.9), "{before:?}");
    let advice = balance
        .advise(evaluation, Measure::Records)
        .expect("it can be helped");
    assert_eq!(
        advice.pins,
        [Pinned {
            exporter: exporter(0),
            collector: 0,
            share: 0.5
        }]
    );
    assert_eq!(advice.weights, [0, 1, 1]);
    assert_eq!(advice.imbalance, 1.5);
}

#[test]
fn exporters_that_meet_by_chance_are_pinned_apart() {
    // Six that send most, all at one of three shards; no one of them fills a collector.
    let heavy = (0..6).map(|n| (3 * n, 100));
    let light = (100..160).map(|n| (n, 1));
    let balance = balance(
        heavy.chain(light),
        splits([3], &[Hash::Address]),
        &[1, 1, 1],
    );
    let evaluation = &balance.evaluations[0];
    assert!(evaluation.imbalance(Measure::Records) > Some(2.7));
    let advice = balance
        .advise(evaluation, Measure::Records)
        .expect("it can be helped");
    assert!(advice.imbalance <= EVEN, "{}", advice.imbalance);
    assert!((3..=5).contains(&advice.pins.len()), "{:?}", advice.pins);
    assert_eq!(advice.weights, [1, 1, 1]);
}

#[test]
fn who_moves_by_a_pin_is_counted_too() {
    let mut counter = Counter::new(setup(splits([2], &[Hash::Address]), &[1, 1]));
    // All even ones: they meet at collector 0, where they are now.
    for number in [0, 2, 4, 6] {
        counter.add(exporter(number), None, &load(10));
    }
    let balance = counter.finish(Some(&|_| Some(0)));
    let evaluation = &balance.evaluations[0];
    assert_eq!(evaluation.moved, Some(0));
    let advice = balance
        .advise(evaluation, Measure::Records)
        .expect("it can be helped");
    assert_eq!((advice.imbalance, advice.moved), (1.0, Some(2)));
}

#[test]
fn pins_that_are_there_are_kept_and_a_split_that_is_even_needs_none() {
    let pinned = |address: IpAddr| (address == exporter(0)).then_some(1);
    let mut counter = Counter::new(Setup {
        pinned: &pinned,
        ..setup(splits([2], &[Hash::Address]), &[1, 1])
    });
    for (number, records) in [(0, 10), (1, 20), (2, 30)] {
        counter.add(exporter(number), Some(1), &load(records));
    }
    let balance = counter.finish(Some(&|_| Some(1)));
    let evaluation = &balance.evaluations[0];
    let collectors = evaluation.collectors.as_ref().expect("enough shards");
    // 10.0.0.0 would be at collector 0.
    assert_eq!([collectors[0].records, collectors[1].records], [30, 30]);
    assert_eq!(evaluation.shards[0].records, 30);
    assert_eq!(evaluation.moved, Some(1));
    let peak = evaluation.peak(Measure::Records).expect("timed");
    assert_eq!(peak.largest, 30);
    assert_eq!(balance.advise(evaluation, Measure::Records), None);
}
