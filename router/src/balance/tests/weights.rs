//! Pins that are there, and collectors of weight 0.

use super::*;

/// 10.0.0.0 sends this much and is pinned to the first of three collectors; sixty others send 10 each.
fn pinned(heavy: u64, weights: &[u32]) -> Balance {
    let pinned = |address: IpAddr| (address == exporter(0)).then_some(0);
    let mut counter = Counter::new(Setup {
        pinned: &pinned,
        ..setup(splits([3], &[Hash::Address]), weights)
    });
    counter.add(exporter(0), None, &load(heavy));
    for number in 1..=60 {
        counter.add(exporter(number), None, &load(10));
    }
    counter.finish(Some(&|_| Some(0)))
}

fn floor(balance: &Balance) -> Floor {
    let floor = balance.evaluations[0].floor(Measure::Records);
    floor.expect("something was counted")
}

#[test]
fn a_collector_of_weight_0_is_the_fullest_if_its_pins_make_it_so() {
    // Half of everything: 1.5 times a third.
    let balance = pinned(600, &[0, 1, 1]);
    assert_eq!(imbalance(&balance, 3, Hash::Address), 1.5);
    assert_eq!(
        floor(&balance),
        Floor {
            imbalance: 1.5,
            cause: FloorCause::Pins(0)
        }
    );
    let evaluation = &balance.evaluations[0];
    assert_eq!(balance.advise(evaluation, Measure::Records), None);
    // It counts as strong as the others are in the mean.
    let balance = pinned(600, &[0, 4, 2]);
    assert_eq!(floor(&balance).imbalance, 1.5);
}

#[test]
fn a_collector_of_weight_0_without_load_has_no_share() {
    let others = (1..=60).map(|n| (n, 10));
    let balance = balance(others, splits([2], &[Hash::Address]), &[0, 1, 1]);
    assert_eq!(imbalance(&balance, 2, Hash::Address), 1.0);
    assert_eq!(floor(&balance).imbalance, 1.0);
}

#[test]
fn where_a_collector_of_weight_0_gets_little_the_others_cannot_be_even() {
    let balance = pinned(30, &[0, 1, 1]);
    // 300 where 210 would be even, if the table could be filled evenly.
    let Floor { imbalance, cause } = floor(&balance);
    assert!((imbalance - 300.0 / 210.0).abs() < 1e-9, "{imbalance}");
    assert_eq!(cause, FloorCause::WeightZero);
}

#[test]
fn the_worst_second_is_shared_by_who_shares_in_the_sum() {
    let pinned = |address: IpAddr| (address == exporter(0)).then_some(0);
    let mut counter = Counter::new(Setup {
        pinned: &pinned,
        ..setup(splits([2], &[Hash::Address]), &[0, 1, 1])
    });
    // The pinned one is silent in the worst second.
    for (number, second, records) in [(0, 1, 10), (1, 2, 60), (2, 2, 60)] {
        counter.add(exporter(number), Some(second), &load(records));
    }
    let balance = counter.finish(None);
    let peak = balance.evaluations[0].peak(Measure::Records);
    let (second, imbalance) = peak
        .map(|peak| (peak.second, peak.imbalance))
        .expect("timed");
    assert_eq!((second, imbalance), (2, Some(1.5)));
}

#[test]
fn a_collector_that_pins_fill_already_is_advised_weight_0() {
    let balance = pinned(600, &[1, 1, 1]);
    let evaluation = &balance.evaluations[0];
    assert_eq!(evaluation.imbalance(Measure::Records), Some(2.0));
    let advice = balance.advise(evaluation, Measure::Records);
    let advice = advice.expect("it can be helped");
    assert_eq!((advice.pins, advice.weights), (vec![], vec![0, 1, 1]));
    assert_eq!((advice.imbalance, advice.moved), (1.5, Some(60)));
}

#[test]
fn an_exporter_beside_those_that_are_pinned_gets_a_collector_of_its_own() {
    // As `pinned`, but another one is as heavy, and not pinned yet.
    let pinned = |address: IpAddr| (address == exporter(0)).then_some(0);
    let mut counter = Counter::new(Setup {
        pinned: &pinned,
        ..setup(splits([3], &[Hash::Address]), &[0, 1, 1])
    });
    for number in [0, 1] {
        counter.add(exporter(number), None, &load(300));
    }
    for number in 2..=31 {
        counter.add(exporter(number), None, &load(10));
    }
    let balance = counter.finish(None);
    let advice = balance.advise(&balance.evaluations[0], Measure::Records);
    let advice = advice.expect("it can be helped");
    let [pin] = advice.pins.as_slice() else {
        panic!("{:?}", advice.pins);
    };
    assert_eq!(pin.exporter, exporter(1));
    assert_eq!(advice.imbalance, 1.0);
    // The figure that was promised is the one that is found when it is done.
    let weights = advice.weights.clone();
    let pinned = |address: IpAddr| match address {
        address if address == exporter(0) => Some(0),
        address if address == exporter(1) => Some(pin.collector),
        _ => None,
    };
    let mut counter = Counter::new(Setup {
        pinned: &pinned,
        ..setup(splits([3], &[Hash::Address]), &weights)
    });
    for of in &balance.exporters {
        counter.add(of.exporter, None, &of.load);
    }
    let balance = counter.finish(None);
    assert_eq!(imbalance(&balance, 3, Hash::Address), advice.imbalance);
}
