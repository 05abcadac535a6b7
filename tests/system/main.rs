//! The collector as a process: real exporters, other readers, sudden ends, full disks.
//!
//! Tests that lack a program or a right here are ignored and say why; with `FOREBAY_NO_SKIP` they fail.

mod collector;
mod crash;
mod flows;
mod full_disk;
mod interop;
#[path = "../../store/tests/needs/mod.rs"]
mod needs;
mod nfcapd;
mod numbered;
mod packets;
mod readers;
mod running;
mod support;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What becomes of a test.
type Outcome = Result<Completion, Failed>;
/// A test that may lack something here.
type Test = fn() -> Outcome;

fn main() {
    if let Some(disk) = full_disk::small_disk() {
        return full_disk::on_small_disk(&disk);
    }
    let always: [(&str, fn()); 9] = [
        (
            "crash::segments_that_are_kept_have_every_batch_once",
            crash::segments_that_are_kept_have_every_batch_once,
        ),
        (
            "running::what_the_socket_drops_is_counted",
            running::what_the_socket_drops_is_counted,
        ),
        (
            "crash::every_batch_is_in_a_flow_file_once",
            crash::every_batch_is_in_a_flow_file_once,
        ),
        (
            "crash::a_torn_tail_is_counted",
            crash::a_torn_tail_is_counted,
        ),
        (
            "crash::a_restart_decodes_the_first_datagram",
            crash::a_restart_decodes_the_first_datagram,
        ),
        (
            "full_disk::below_the_floor_segments_wait",
            full_disk::below_the_floor_segments_wait,
        ),
        (
            "running::an_exporter_stays_on_one_shard",
            running::an_exporter_stays_on_one_shard,
        ),
        (
            "running::a_hangup_loses_nothing",
            running::a_hangup_loses_nothing,
        ),
        (
            "running::what_is_taken_is_refused_in_one_line",
            running::what_is_taken_is_refused_in_one_line,
        ),
    ];
    let where_possible: [(&str, Test); 7] = [
        (
            "running::every_flow_arrives_once_over_any_address",
            running::every_flow_arrives_once_over_any_address,
        ),
        (
            "full_disk::what_does_not_fit_is_counted",
            full_disk::what_does_not_fit_is_counted,
        ),
        ("interop::softflowd", interop::softflowd),
        ("interop::pmacctd", interop::pmacctd),
        ("interop::fprobe", interop::fprobe),
        ("interop::nfcapd", nfcapd::counts_the_same),
        (
            "readers::others_find_what_was_generated",
            readers::others_find_what_was_generated,
        ),
    ];
    let always = always.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    let where_possible = where_possible
        .into_iter()
        .map(|(name, test)| Trial::ignorable_test(name, test));
    libtest_mimic::run(
        &Arguments::from_args(),
        always.chain(where_possible).collect(),
    )
    .exit();
}
