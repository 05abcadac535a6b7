use proptest::prelude::*;

use super::*;

const SETTINGS: Settings = Settings {
    first: 100_000.0,
    highest: None,
    precision: 0.02,
    confirm: 3,
};

/// Runs a search against something that answers rates; returns the result and the steps.
fn search(settings: Settings, mut answer: impl FnMut(f64) -> (f64, bool)) -> (Found, Vec<Verdict>) {
    let mut search = Search::new(settings);
    let mut verdicts = Vec::new();
    loop {
        match search.next() {
            Next::Done(found) => return (found, verdicts),
            Next::Try(asked) => {
                assert!(asked >= 1.0 && asked.is_finite(), "{asked}");
                let (reached, held) = answer(asked);
                let verdict = Verdict {
                    asked,
                    reached,
                    held,
                };
                search.judge(&verdict);
                verdicts.push(verdict);
            }
        }
    }
}

/// A collector that holds exactly up to a limit, and a sender that reaches every rate.
fn exact(limit: f64) -> impl FnMut(f64) -> (f64, bool) {
    move |rate| (rate, rate <= limit)
}

#[test]
fn the_way_to_a_limit_is_raising_narrowing_and_repeating() {
    let settings = Settings {
        precision: 0.1,
        ..SETTINGS
    };
    let (found, verdicts) = search(settings, exact(300_000.0));
    let asked: Vec<f64> = verdicts.iter().map(|verdict| verdict.asked).collect();
    let expected = [
        100_000.0, 200_000.0, 400_000.0, 282_843.0, 336_359.0, 308_443.0, 308_443.0, 282_843.0,
        282_843.0,
    ];
    assert_eq!(asked, expected);
    let (held, lost) = (found.held.unwrap(), found.lost.unwrap());
    assert_eq!((held.rate, held.held, held.lost), (282_843.0, 3, 0));
    assert_eq!((lost.rate, lost.held, lost.lost), (308_443.0, 0, 2));
    assert_eq!(found.ended, Ended::Limit);
}

#[test]
fn where_the_first_rate_loses_it_goes_down() {
    let (found, _) = search(SETTINGS, exact(1_000.0));
    assert_eq!(found.ended, Ended::Limit);
    let rate = found.held.unwrap().rate;
    assert!((975.0..=1_000.0).contains(&rate), "{rate}");
}

#[test]
fn where_nothing_holds_it_ends() {
    let (found, verdicts) = search(SETTINGS, |rate| (rate, false));
    assert_eq!(found.ended, Ended::NothingHeld);
    assert_eq!(found.held, None);
    assert_eq!(found.lost.unwrap().lost, 2);
    assert!(verdicts.len() < 15, "{}", verdicts.len());
}

#[test]
fn the_highest_rate_is_confirmed_and_not_exceeded() {
    let settings = Settings {
        highest: Some(500_000.0),
        ..SETTINGS
    };
    let (found, verdicts) = search(settings, exact(900_000.0));
    assert_eq!(found.ended, Ended::Highest);
    let held = found.held.unwrap();
    assert_eq!((held.rate, held.held), (500_000.0, 3));
    assert!(verdicts.iter().all(|verdict| verdict.asked <= 500_000.0));
    assert_eq!(found.lost, None);
}

#[test]
fn the_senders_limit_is_no_limit_of_the_collector() {
    let mut reached = [1_310_000.0, 1_290_000.0, 1_300_000.0].into_iter().cycle();
    let sender = |rate: f64| (rate.min(reached.next().unwrap()), true);
    let (found, _) = search(SETTINGS, sender);
    assert_eq!(found.ended, Ended::Sender);
    let held = found.held.unwrap();
    assert_eq!((held.rate, held.held), (1_290_000.0, 3));
    assert_eq!(found.lost, None);
}

#[test]
fn a_loss_at_the_senders_limit_counts_at_the_rate_that_was_reached() {
    let (found, _) = search(SETTINGS, |rate| {
        let reached = rate.min(1_300_000.0);
        (reached, reached <= 1_200_000.0)
    });
    assert_eq!(found.ended, Ended::Limit);
    let (held, lost) = (found.held.unwrap().rate, found.lost.unwrap().rate);
    assert!(held <= 1_200_000.0 && lost > 1_200_000.0, "{held} {lost}");
}

#[test]
fn a_sender_that_falls_short_once_goes_on() {
    let mut steps = 0;
    let (found, _) = search(SETTINGS, |rate| {
        steps += 1;
        let reached = if steps == 3 { rate * 0.6 } else { rate };
        (reached, reached <= 3_000_000.0)
    });
    assert_eq!(found.ended, Ended::Limit);
    let rate = found.held.unwrap().rate;
    assert!((2_920_000.0..=3_000_000.0).contains(&rate), "{rate}");
}

#[test]
fn what_holds_and_loses_by_turns_ends_too() {
    // Every rate is new to it, and none twice the same.
    let mut held = false;
    let settings = Settings {
        precision: 0.0,
        first: 1e12,
        ..SETTINGS
    };
    let (_, verdicts) = search(settings, |rate| {
        held = !held;
        (rate, held)
    });
    assert!(verdicts.len() <= STEPS_MAX as usize);
}

/// Chance that a seed decides.
fn chance(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

proptest! {
    /// The limit lies between the two rates, and they are near each other.
    #[test]
    fn a_limit_is_found(
        limit in 200.0..1e9_f64,
        first in 100.0..1e7_f64,
        precision in 0.005..0.2_f64,
        confirm in 1_u32..6,
    ) {
        prop_assume!(limit > first * LOWEST_SHARE * 2.0);
        let settings = Settings { first: first.round(), highest: None, precision, confirm };
        let (found, verdicts) = search(settings, exact(limit));
        prop_assert_eq!(found.ended, Ended::Limit);
        let (held, lost) = (found.held.unwrap(), found.lost.unwrap());
        prop_assert!(held.rate <= limit && lost.rate > limit);
        prop_assert!(lost.rate <= (held.rate * (1.0 + precision)).max(held.rate + 2.0));
        prop_assert!(held.held >= confirm && held.lost == 0);
        prop_assert_eq!((lost.held, lost.lost), (0, LOSSES));
        prop_assert!(verdicts.len() < 60, "{}", verdicts.len());
    }

    /// One loss for no reason, whenever it comes, changes nothing about the result.
    #[test]
    fn a_single_loss_for_no_reason_is_overcome(limit in 2e5..1e8_f64, at in 0_usize..30) {
        let mut steps = 0;
        let (found, _) = search(SETTINGS, |rate| {
            steps += 1;
            (rate, rate <= limit && steps != at + 1)
        });
        prop_assert_eq!(found.ended, Ended::Limit);
        let (held, lost) = (found.held.unwrap(), found.lost.unwrap());
        prop_assert!(held.rate <= limit && lost.rate > limit, "{} {} {}", held.rate, limit, lost.rate);
        prop_assert!(lost.rate <= held.rate * (1.0 + SETTINGS.precision) + 1.0);
    }

    /// Where loss sets in over a width of 2 %, and what is reached wavers, the result is within 5 % of the limit.
    #[test]
    fn a_noisy_limit_is_found_within_5_percent(limit in 2e5..1e8_f64, seed: u64) {
        let mut state = seed;
        let (found, _) = search(SETTINGS, |rate| {
            let reached = rate * (0.995 + 0.01 * chance(&mut state));
            let limit = limit * (0.99 + 0.02 * chance(&mut state));
            (reached, reached <= limit)
        });
        let rate = found.held.unwrap().rate;
        prop_assert!((rate / limit - 1.0).abs() < 0.05, "{} {}", rate, limit);
    }

    /// Whatever the answers, a search ends, and a result is what it says it is.
    #[test]
    fn whatever_the_answers_it_ends_with_a_result_that_they_bear_out(
        seed: u64,
        noise in 0.0..1.0_f64,
        limit in 1e3..1e8_f64,
        sender in 1e3..1e9_f64,
        highest in proptest::option::of(1e3..1e9_f64),
    ) {
        let mut state = seed;
        let settings = Settings { highest, ..SETTINGS };
        let (found, verdicts) = search(settings, |rate| {
            let reached = rate.min(sender * (0.9 + 0.2 * chance(&mut state)));
            (reached, (reached <= limit) != (chance(&mut state) < noise))
        });
        prop_assert!(verdicts.len() <= STEPS_MAX as usize);
        prop_assert!(verdicts.iter().all(|verdict| highest.is_none_or(|highest| verdict.asked <= highest)));
        if let (Some(held), Some(lost)) = (found.held, found.lost)
            && found.ended != Ended::Sender
        {
            prop_assert!(held.rate < lost.rate);
        }
        match found.ended {
            Ended::Limit => {
                let (held, lost) = (found.held.unwrap(), found.lost.unwrap());
                prop_assert!(held.in_a_row >= SETTINGS.confirm && held.lost < LOSSES);
                prop_assert_eq!(lost.lost, LOSSES);
                prop_assert!(lost.rate <= (held.rate * (1.0 + SETTINGS.precision)).max(held.rate + 2.0));
            }
            Ended::Highest => prop_assert_eq!(found.held.unwrap().rate, highest.unwrap()),
            Ended::Sender => {
                let last = verdicts.iter().rev().take(SETTINGS.confirm as usize);
                prop_assert!(last.clone().all(|verdict| verdict.held));
                prop_assert!(last.clone().all(|verdict| verdict.reached >= found.held.unwrap().rate - 0.5));
            }
            Ended::NothingHeld => prop_assert_eq!(found.held, None),
            Ended::Unsteady => prop_assert_eq!(verdicts.len(), STEPS_MAX as usize),
        }
    }
}
