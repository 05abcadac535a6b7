//! What takes privileges over a network: raw sends, in a network namespace of their own.
//!
//! Without one the tests are ignored and say why; with `FOREBAY_NO_SKIP` they fail.

#[path = "../../../store/tests/needs/mod.rs"]
mod needs;
mod raw;
mod space;

use libtest_mimic::{Arguments, Trial};

/// A test, which finds the namespace with loopback alone, up.
type Test = fn();

const TESTS: [(&str, Test); 6] = [
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
        "raw::each_datagram_that_does_not_go_is_told_once",
        raw::each_datagram_that_does_not_go_is_told_once,
    ),
    ("raw::a_full_queue_is_told", raw::a_full_queue_is_told),
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
