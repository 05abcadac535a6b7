//! What takes privileges over a network: raw sends and packet rings, each in a network
//! namespace of its own.
//!
//! Without one the tests are ignored and say why; with `FOREBAY_NO_SKIP` they fail.

mod inject;
#[path = "../../../store/tests/needs/mod.rs"]
mod needs;
mod raw;
mod ring;
mod space;

use libtest_mimic::{Arguments, Trial};

/// A test, which finds the namespace with loopback alone, up.
type Test = fn();

const TESTS: [(&str, Test); 23] = [
    ("raw::sources_are_as_given", raw::sources_are_as_given),
    (
        "raw::the_longest_and_the_shortest_datagram",
        raw::the_longest_and_the_shortest_datagram,
    ),
    (
        "raw::what_does_not_fit_goes_in_fragments",
        raw::what_does_not_fit_goes_in_fragments,
    ),
    (
        "raw::a_path_that_gets_narrower_costs_nothing",
        raw::a_path_that_gets_narrower_costs_nothing,
    ),
    (
        "raw::a_datagram_in_two_batches_goes_once",
        raw::a_datagram_in_two_batches_goes_once,
    ),
    ("raw::it_receives_nothing", raw::it_receives_nothing),
    (
        "raw::each_datagram_that_does_not_go_is_told_once",
        raw::each_datagram_that_does_not_go_is_told_once,
    ),
    ("raw::a_full_queue_is_told", raw::a_full_queue_is_told),
    (
        "ring::loopback_is_seen_once_and_beside_sockets",
        ring::loopback_is_seen_once_and_beside_sockets,
    ),
    (
        "ring::a_source_reaches_one_shard",
        ring::a_source_reaches_one_shard,
    ),
    (
        "ring::tagged_packets_are_seen_once",
        ring::tagged_packets_are_seen_once,
    ),
    (
        "ring::packets_of_vlan_interfaces_are_seen_once",
        ring::packets_of_vlan_interfaces_are_seen_once,
    ),
    (
        "ring::interfaces_are_told_apart",
        ring::interfaces_are_told_apart,
    ),
    (
        "ring::a_bridge_and_its_ports_are_seen_once",
        ring::a_bridge_and_its_ports_are_seen_once,
    ),
    (
        "ring::fragments_come_as_one_datagram",
        ring::fragments_come_as_one_datagram,
    ),
    (
        "ring::fragments_for_others_leave_nothing_unfinished",
        ring::fragments_for_others_leave_nothing_unfinished,
    ),
    (
        "ring::what_is_left_out_can_change",
        ring::what_is_left_out_can_change,
    ),
    (
        "ring::what_is_left_out_stays_when_the_system_refuses_another",
        ring::what_is_left_out_stays_when_the_system_refuses_another,
    ),
    (
        "ring::the_caller_has_its_turn_though_nothing_is_wanted",
        ring::the_caller_has_its_turn_though_nothing_is_wanted,
    ),
    (
        "ring::once_it_is_closed_none_means_that_nothing_is_left",
        ring::once_it_is_closed_none_means_that_nothing_is_left,
    ),
    (
        "ring::what_came_before_it_is_closed_is_there",
        ring::what_came_before_it_is_closed_is_there,
    ),
    (
        "ring::what_is_open_works_without_privileges",
        ring::what_is_open_works_without_privileges,
    ),
    (
        "ring::sent_is_received_plus_dropped_by_the_kernel",
        ring::sent_is_received_plus_dropped_by_the_kernel,
    ),
];

fn main() {
    if let Some(name) = space::wanted_test() {
        let (_, test) = TESTS
            .into_iter()
            .find(|(test, _)| *test == name)
            .expect("a test of this program");
        space::set_up();
        return test();
    }
    let missing = space::missing();
    let trials = TESTS.map(|(name, _)| {
        let missing = missing.clone();
        Trial::ignorable_test(name, move || match missing {
            Some(why) => needs::missing(why),
            None => space::run(name),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
