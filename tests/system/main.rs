//! The collector as a process: real exporters, other readers, sudden ends, full disks.
//!
//! Tests that lack a program or a right here are ignored and say why; with `FOREBAY_NO_SKIP` they fail.

mod collector;
mod crash;
mod dedupe;
mod flows;
mod full_disk;
mod interop;
#[path = "../../store/tests/needs/mod.rs"]
mod needs;
mod numbered;
mod packets;
mod readers;
mod record;
mod replay;
mod route;
mod route_farm;
mod route_interop;
mod route_network;
mod route_outage;
mod running;
mod search;
mod small_disk;
mod summarize;
mod support;
mod truth;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What becomes of a test.
type Outcome = Result<Completion, Failed>;
/// A test that may lack something here.
type Test = fn() -> Outcome;

fn main() {
    if let Some((part, disk)) = small_disk::part() {
        return match part.to_str() {
            Some("dedupe") => dedupe::on_small_disk(&disk),
            _ => full_disk::on_small_disk(&disk),
        };
    }
    if let Some(part) = route_network::part() {
        return route_network::run_part(&part);
    }
    let always: [(&str, fn()); 29] = [
        (
            "dedupe::what_is_removed_is_what_was_told_again",
            dedupe::what_is_removed_is_what_was_told_again,
        ),
        (
            "dedupe::a_run_that_is_ended_leaves_nothing_and_one_that_is_killed_nothing_for_long",
            dedupe::a_run_that_is_ended_leaves_nothing_and_one_that_is_killed_nothing_for_long,
        ),
        (
            "record::what_is_sent_is_recorded_from_where_it_came",
            record::what_is_sent_is_recorded_from_where_it_came,
        ),
        (
            "record::files_follow_each_other_whole_and_the_oldest_go",
            record::files_follow_each_other_whole_and_the_oldest_go,
        ),
        (
            "record::what_the_kernel_drops_is_counted_and_written",
            record::what_the_kernel_drops_is_counted_and_written,
        ),
        (
            "record::a_recording_in_mid_stream_is_primed_by_the_one_before",
            record::a_recording_in_mid_stream_is_primed_by_the_one_before,
        ),
        (
            "record::a_port_that_is_taken_is_told",
            record::a_port_that_is_taken_is_told,
        ),
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
        (
            "route_outage::from_its_own_address_it_needs_no_right_and_knows_who_is_gone",
            route_outage::from_its_own_address_it_needs_no_right_and_knows_who_is_gone,
        ),
        (
            "route::garbage_is_counted_and_stops_nothing",
            route::garbage_is_counted_and_stops_nothing,
        ),
        (
            "truth::our_collector_finds_it",
            truth::our_collector_finds_it,
        ),
        (
            "truth::netflow_parser_finds_it",
            truth::netflow_parser_finds_it,
        ),
        (
            "search::a_known_limit_is_found_within_5_percent",
            search::a_known_limit_is_found_within_5_percent,
        ),
        (
            "search::a_collectors_stats_say_what_it_has_stored",
            search::a_collectors_stats_say_what_it_has_stored,
        ),
        (
            "search::a_probe_that_fails_ends_the_search_and_keeps_what_was_measured",
            search::a_probe_that_fails_ends_the_search_and_keeps_what_was_measured,
        ),
        (
            "search::a_probe_that_hangs_is_ended_with_the_search_and_what_was_measured_stays",
            search::a_probe_that_hangs_is_ended_with_the_search_and_what_was_measured_stays,
        ),
        (
            "search::a_probe_that_cannot_be_asked_at_all_is_told_before_anything_is_sent",
            search::a_probe_that_cannot_be_asked_at_all_is_told_before_anything_is_sent,
        ),
        (
            "search::an_interrupt_prints_the_report_so_far",
            search::an_interrupt_prints_the_report_so_far,
        ),
        (
            "summarize::the_truth_is_found",
            summarize::the_truth_is_found,
        ),
        (
            "summarize::what_is_not_needed_is_not_read",
            summarize::what_is_not_needed_is_not_read,
        ),
        (
            "summarize::an_interrupt_leaves_nothing",
            summarize::an_interrupt_leaves_nothing,
        ),
    ];
    let where_possible: [(&str, Test); 39] = [
        ("dedupe::others_read_it", dedupe::others_read_it),
        (
            "dedupe::a_full_disk_leaves_nothing",
            dedupe::a_full_disk_leaves_nothing,
        ),
        (
            "record::tshark_reads_it_without_complaint",
            record::tshark_reads_it_without_complaint,
        ),
        (
            "record::off_the_wire_in_another_network",
            record::off_the_wire_in_another_network,
        ),
        (
            "replay::ipv4_arrives_as_it_was_recorded",
            replay::ipv4_arrives_as_it_was_recorded,
        ),
        (
            "replay::ipv6_arrives_as_it_was_recorded",
            replay::ipv6_arrives_as_it_was_recorded,
        ),
        (
            "replay::loops_are_one_sequence_to_tshark_and_inspect",
            replay::loops_are_one_sequence_to_tshark_and_inspect,
        ),
        (
            "replay::a_collector_misses_nothing_over_loops",
            replay::a_collector_misses_nothing_over_loops,
        ),
        (
            "replay::what_cannot_be_reached_is_told",
            replay::what_cannot_be_reached_is_told,
        ),
        (
            "replay::without_the_right_it_says_what_it_does_instead",
            replay::without_the_right_it_says_what_it_does_instead,
        ),
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
        ("truth::nfcapd_finds_it", truth::nfcapd_finds_it),
        (
            "readers::others_find_what_was_generated",
            readers::others_find_what_was_generated,
        ),
        ("route_interop::nfcapd", route_interop::nfcapd),
        ("route_interop::nfacctd", route_interop::nfacctd),
        ("route_interop::collect", route_interop::collect),
        ("route_interop::balance", route_interop::balance),
        (
            "route_network::ipv4_by_sockets",
            route_network::ipv4_by_sockets,
        ),
        (
            "route_network::ipv6_by_sockets",
            route_network::ipv6_by_sockets,
        ),
        (
            "route_network::ipv4_by_packets",
            route_network::ipv4_by_packets,
        ),
        (
            "route_network::ipv6_by_packets",
            route_network::ipv6_by_packets,
        ),
        (
            "route_network::what_waits_is_not_sent_to_find_out_who_refuses",
            route_network::what_waits_is_not_sent_to_find_out_who_refuses,
        ),
        (
            "route_network::nothing_is_sent_to_an_address_that_moves_here",
            route_network::nothing_is_sent_to_an_address_that_moves_here,
        ),
        (
            "route::every_message_goes_to_the_collector_that_the_table_names",
            route::every_message_goes_to_the_collector_that_the_table_names,
        ),
        (
            "route::a_reload_under_load_loses_and_repeats_nothing",
            route::a_reload_under_load_loses_and_repeats_nothing,
        ),
        (
            "route_outage::what_waits_for_a_collector_comes_in_order_when_it_is_back",
            route_outage::what_waits_for_a_collector_comes_in_order_when_it_is_back,
        ),
        (
            "route_outage::the_others_take_over_from_a_collector_that_is_down",
            route_outage::the_others_take_over_from_a_collector_that_is_down,
        ),
        (
            "route_outage::what_waits_at_the_end_is_sent_after_the_next_start",
            route_outage::what_waits_at_the_end_is_sent_after_the_next_start,
        ),
        (
            "route::packets_are_taken_beside_a_collector_and_never_twice",
            route::packets_are_taken_beside_a_collector_and_never_twice,
        ),
        (
            "route::without_the_right_to_forge_it_says_which",
            route::without_the_right_to_forge_it_says_which,
        ),
        (
            "summarize::duckdb_agrees_on_random_files",
            summarize::duckdb_agrees_on_random_files,
        ),
        (
            "summarize::duckdb_agrees_on_generated_traffic",
            summarize::duckdb_agrees_on_generated_traffic,
        ),
        (
            "summarize::duckdb_agrees_on_the_corpus",
            summarize::duckdb_agrees_on_the_corpus,
        ),
        (
            "summarize::nfdump_agrees_on_5_tuples",
            summarize::nfdump_agrees_on_5_tuples,
        ),
        (
            "summarize::a_full_disk_leaves_nothing",
            summarize::a_full_disk_leaves_nothing,
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
