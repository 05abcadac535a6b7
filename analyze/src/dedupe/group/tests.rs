//! The groups are those of a slow and obvious form of the rule.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::dedupe::rules::Agreement;

/// The rule, word by word.
fn reference(flows: &[Flow], rules: &Rules, party: &[u32]) -> BTreeSet<BTreeSet<u64>> {
    let mut rows = flows.to_vec();
    rows.sort_by(Flow::canonical);
    let mut groups: Vec<Vec<Flow>> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let before = &rows[place.saturating_sub(LOOK_BACK)..place];
        let party = |flow: &Flow| party[flow.origin as usize];
        let takes = |group: &Vec<Flow>| {
            let is_new = group.iter().all(|member| party(member) != party(row));
            let like = |member: &&Flow| before.contains(member) && rules.alike(row, member);
            (rules.within || is_new) && group.iter().any(|member| like(&member))
        };
        match groups.iter().position(takes) {
            Some(group) => groups[group].push(*row),
            None => groups.push(vec![*row]),
        }
    }
    let rows = |group: Vec<Flow>| group.into_iter().map(|flow| flow.row).collect();
    groups.into_iter().map(rows).collect()
}

fn found(flows: &[Flow], rules: &Rules, party: &[u32]) -> BTreeSet<BTreeSet<u64>> {
    found_by(&mut Groups::default(), flows, rules, party)
}

fn found_by(
    groups: &mut Groups,
    flows: &[Flow],
    rules: &Rules,
    party: &[u32],
) -> BTreeSet<BTreeSet<u64>> {
    let mut rows = flows.to_vec();
    rows.sort_by(Flow::canonical);
    groups.find(&rows, rules, party);
    let mut found = BTreeSet::new();
    let mut alone: BTreeSet<u64> = rows.iter().map(|flow| flow.row).collect();
    groups
        .each_of_several(|members| {
            assert!(members.is_sorted() && members.len() > 1);
            let members: BTreeSet<u64> =
                members.iter().map(|&row| rows[row as usize].row).collect();
            alone.retain(|row| !members.contains(row));
            found.insert(members);
            Ok::<_, ()>(())
        })
        .expect("no error");
    found.extend(alone.into_iter().map(|row| BTreeSet::from([row])));
    found
}

fn flow(first_us: i64, origin: u32, row: u32) -> Flow {
    Flow {
        first_us,
        duration_us: Some(0),
        packets: Some(1),
        bytes: Some(40),
        origin,
        digest: 0,
        row: row.into(),
    }
}

/// Rows of one key as exporters tell them: three of them with skewed clocks, the second of which splits
/// long flows, and the third of which misses packets.
fn told() -> impl Strategy<Value = Vec<Flow>> {
    let flow = (
        0..20_000_000_i64,
        prop::option::weighted(0.9, 0..5_000_000_u64),
        prop::option::weighted(0.9, 1..1000_u64),
        0..8_u32,
    );
    prop::collection::vec(flow, 0..12).prop_map(|flows| {
        let mut rows = Vec::new();
        for (first_us, duration_us, packets, seen) in flows {
            let row = |first_us, duration_us, packets: Option<u64>, origin| Flow {
                first_us,
                duration_us,
                packets,
                bytes: packets.map(|packets| packets * 100),
                origin,
                digest: 0,
                row: 0,
            };
            if seen & 1 != 0 {
                rows.push(row(first_us, duration_us, packets, 0));
            }
            if seen & 2 != 0 {
                let skewed = first_us + 700_000;
                match duration_us.zip(packets) {
                    Some((duration, packets)) if duration > 2_000_000 => {
                        let (half, rest) = (packets / 2, packets - packets / 2);
                        rows.push(row(skewed, Some(duration / 2), Some(half), 1));
                        let later = skewed + (duration / 2) as i64;
                        rows.push(row(later, Some(duration - duration / 2), Some(rest), 1));
                    }
                    _ => rows.push(row(skewed, duration_us, packets, 1)),
                }
            }
            if seen & 4 != 0 {
                let lossy = packets.map(|packets| packets - packets / 50);
                // Two domains of one exporter, and another.
                rows.push(row(first_us - 1_500_000, duration_us, lossy, 2 + seen % 2));
            }
        }
        for (row, number) in rows.iter_mut().zip(0..) {
            row.row = number;
        }
        rows
    })
}

fn agreement() -> impl Strategy<Value = Agreement> {
    prop_oneof![
        Just(Agreement::EXACT),
        Just(Agreement::Any),
        (0..50_u64).prop_map(Agreement::Within),
        (0..50_000_u32).prop_map(Agreement::WithinShare),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let deltas = (0..4_000_000_u64, 0..4_000_000_u64);
    (any::<bool>(), deltas, agreement(), agreement()).prop_map(
        |(within, (start_delta_us, duration), packets, bytes)| Rules {
            within,
            start_delta_us,
            duration: Agreement::Within(duration),
            packets,
            bytes,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn groups_are_those_of_the_rule(
        flows in told(),
        rules in rules(),
        copies in 1..4_usize,
    ) {
        // Rows of one exporter that are the same in all but their place come too.
        let mut rows: Vec<Flow> = std::iter::repeat_n(flows, copies).flatten().collect();
        for (row, number) in rows.iter_mut().zip(0..) {
            row.row = number;
        }
        let party = [0, 1, 2, 2];
        prop_assert_eq!(found(&rows, &rules, &party), reference(&rows, &rules, &party));
    }
}

/// Rows of a key that comes often, as many exporters tell it.
fn often() -> impl Strategy<Value = Vec<Flow>> {
    let row = (0..300_000_i64, 0..40_u32, 0..4_u64).prop_map(|(gap, origin, duration)| {
        let duration = Some(duration * 900_000);
        (
            gap,
            Flow {
                duration_us: duration,
                ..flow(0, origin, 0)
            },
        )
    });
    prop::collection::vec(row, 0..600).prop_map(|rows| {
        let mut at = 0;
        let rows = rows.into_iter().zip(0..).map(|((gap, flow), row)| {
            at += gap;
            Flow {
                first_us: at,
                row,
                ..flow
            }
        });
        rows.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn keys_that_come_often_are_grouped_by_the_rule_too(
        keys in prop::collection::vec(often(), 1..4),
        // As many parties as have a bit of their own each, and more.
        apart in prop::sample::select(vec![1_u32, 6, 100]),
        rules in rules(),
        duration in 0..2_000_000_u64,
    ) {
        let party: Vec<u32> = (0..40).map(|origin| origin / 2 * apart).collect();
        let rules = Rules { duration: Agreement::Within(duration), ..rules };
        // What one key leaves behind tells nothing of the next.
        let mut groups = Groups::default();
        for rows in &keys {
            let found = found_by(&mut groups, rows, &rules, &party);
            prop_assert_eq!(found, reference(rows, &rules, &party));
        }
    }
}

#[test]
fn a_chain_is_one_group_however_long() {
    let rows: Vec<Flow> = (0..300)
        .map(|n| flow(i64::from(n) * 2_000_000, n, n))
        .collect();
    let party: Vec<u32> = (0..300).collect();
    let rules = Rules::default();
    assert_eq!(found(&rows, &rules, &party).len(), 1);
    assert_eq!(
        found(&rows, &rules, &party),
        reference(&rows, &rules, &party)
    );
    let narrow = Rules {
        start_delta_us: 1_999_999,
        ..rules
    };
    assert_eq!(found(&rows, &narrow, &party).len(), 300);
}

#[test]
fn periodic_flows_are_not_swallowed_by_a_chain() {
    // A flow a second, each of which two exporters see.
    let rows: Vec<Flow> = (0..200)
        .map(|n| flow(i64::from(n / 2) * 1_000_000, n % 2, n))
        .collect();
    let groups = found(&rows, &Rules::default(), &[0, 1]);
    assert_eq!(groups.len(), 100);
    assert!(groups.iter().all(|group| group.len() == 2));
}

#[test]
fn how_far_back_a_row_is_compared_has_a_limit_that_is_counted() {
    let many = LOOK_BACK as u32 + 500;
    let mut rows: Vec<Flow> = (0..many).map(|n| flow(0, 0, n)).collect();
    rows.extend((0..many).map(|n| flow(1, 1, many + n)));
    let party = [0, 1];
    let rules = Rules::default();
    let groups = found(&rows, &rules, &party);
    assert_eq!(groups, reference(&rows, &rules, &party));
    let mut sorted = rows;
    sorted.sort_by(Flow::canonical);
    let mut groups = Groups::default();
    groups.find(&sorted, &rules, &party);
    assert_eq!(groups.cut, 2 * u64::from(many) - LOOK_BACK as u64 - 1);
}

#[test]
fn parties_that_come_late_do_not_pass_all_groups_that_are_over() {
    // Two groups hold all parties; then one party begins one group after the other; then all come again.
    // If each passed all of those groups by itself, this would not end.
    let parties = 60_000_u32;
    let at = |n: u32| i64::from(n) * 10_000_000;
    let begin = (0..parties).flat_map(|party| [flow(0, party, 0), flow(0, party, 0)]);
    let alone = (1..=2 * parties).map(|n| flow(at(n), 0, 0));
    let again = (1..parties).map(|party| flow(at(2 * parties + party), party, 0));
    let mut rows: Vec<Flow> = begin.chain(alone).chain(again).collect();
    for (row, number) in rows.iter_mut().zip(0..) {
        row.row = number;
    }
    let party: Vec<u32> = (0..parties).collect();
    let mut groups = Groups::default();
    groups.find(&rows, &Rules::default(), &party);
    let mut several = 0;
    let counted = groups.each_of_several(|members| {
        several += members.len();
        Ok::<_, ()>(())
    });
    assert_eq!(counted, Ok(()));
    assert!(several > 0 && several < 2 * parties as usize + 1);
}
