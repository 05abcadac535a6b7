use tempfile::TempDir;

use super::super::Status;
use super::*;

/// A machine with these files.
fn machine(files: &[(&str, &str)]) -> (TempDir, Machine) {
    let dir = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let root = dir.path().to_owned();
    (dir, Machine { root })
}

#[test]
fn a_small_receive_buffer_is_warned_of_with_the_command_that_helps() {
    let (_dir, small) = machine(&[("proc/sys/net/core/rmem_max", "212992\n")]);
    let check = small.receive_buffer(0);
    assert_eq!(check.status, Status::Warn);
    assert_eq!(
        check.found,
        "net.core.rmem_max allows 208KiB of 64MiB: longer bursts are lost"
    );
    let advice = check.advice.expect("advice");
    assert!(
        advice.starts_with("sudo sysctl -w net.core.rmem_max=67108864"),
        "{advice}"
    );
    assert_eq!(small.receive_buffer(CAP_NET_ADMIN).status, Status::Ok);

    let (_dir, large) = machine(&[("proc/sys/net/core/rmem_max", "67108864\n")]);
    assert_eq!(large.receive_buffer(0).status, Status::Ok);
}

#[test]
fn capabilities_are_read_as_bits() {
    let (_dir, machine) = machine(&[("proc/self/status", "Name:\tx\nCapEff:\t0000000000003000\n")]);
    assert_eq!(machine.capabilities(), CAP_NET_ADMIN | CAP_NET_RAW);
    assert_eq!(
        privileges(machine.capabilities()).found,
        "CAP_NET_ADMIN, CAP_NET_RAW"
    );
}

#[test]
fn the_kernels_drops_are_found_by_name() {
    let snmp = "Tcp: A\nTcp: 1\nUdp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 9 7 1\nUdpLite: X\nUdpLite: 0\n";
    let (_dir, machine) = machine(&[("proc/net/snmp", snmp)]);
    let check = machine.receive_drops();
    assert_eq!(check.status, Status::Warn);
    assert!(check.found.starts_with("7 datagrams"), "{}", check.found);
}

#[test]
fn the_larger_of_two_reverse_path_filters_counts() {
    let conf = |name: &str| format!("proc/sys/net/ipv4/conf/{name}/rp_filter");
    let (all, eth0, eth1) = (conf("all"), conf("eth0"), conf("eth1"));
    let (_dir, strict) = machine(&[(&all, "1"), (&eth0, "0"), (&eth1, "2")]);
    let check = strict.reverse_path_filter();
    assert_eq!(check.status, Status::Warn);
    assert!(check.found.starts_with("eth0:"), "{}", check.found);

    let (_dir, loose) = machine(&[(&all, "0"), (&eth0, "0"), (&eth1, "2")]);
    assert_eq!(loose.reverse_path_filter().status, Status::Ok);
}

#[test]
fn few_open_files_and_slow_clocks_are_warned_of() {
    let limits =
        "Limit  Soft Limit  Hard Limit  Units\nMax open files            256      4096     files\n";
    let clock = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    let (_dir, machine) = machine(&[("proc/self/limits", limits), (clock, "hpet\n")]);
    assert_eq!(machine.open_files().status, Status::Warn);
    assert_eq!(machine.clock_source().status, Status::Warn);
}

#[test]
fn a_machine_that_tells_nothing_does_not_fail() {
    let (_dir, machine) = machine(&[]);
    assert!(
        machine
            .checks()
            .iter()
            .all(|check| check.status != Status::Fail)
    );
}
