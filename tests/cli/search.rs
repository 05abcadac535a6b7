//! What a search cannot be asked for.

use crate::support::{Folder, fails, v5};

/// The line of a search that is asked wrongly, after flags that are right.
fn wrong(flags: &[&str]) -> String {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5()]);
    let mut arguments = vec!["replay", &capture, "--to", "127.0.0.1:9"];
    arguments.extend(flags);
    fails(2, &arguments)
}

#[test]
fn a_search_that_makes_no_sense_is_wrong_usage() {
    let probe = ["--search", "--probe", "kernel:9"];
    for (flags, what) in [
        (&["--search"][..], "give --probe kernel:PORT"),
        (&["--probe", "kernel:9"], "--probe is of a search"),
        (&["--step", "5s"], "--step is of a search: give --search"),
        (&["--html", "a.html"], "--html is of a search"),
        (
            &["--search", "--probe", "tcp:9"],
            "write kernel:PORT, http:URL or command:",
        ),
        (&["--search", "--probe", "kernel:x"], "\"x\" is no port"),
        (&["--search", "--probe", "https://h"], "no TLS"),
    ] {
        let line = wrong(flags);
        assert!(line.contains(what), "{line}");
    }
    for (flags, what) in [
        (&["--fps", "1k"][..], "--fps"),
        (&["--flood"], "--flood"),
        (&["--loop", "3"], "--loop"),
        (&["--for", "3s"], "--for"),
        (&["--confirm", "0"], "--confirm"),
        (&["--from", "0"], "--from: a search begins above 0"),
        (&["--from", "2k", "--up-to", "1k"], "below the first"),
        (&["--precision", "0"], "0.02 for 2 %"),
        (&["--precision", "NaN"], "0.02 for 2 %"),
        (&["--step", "1ms"], "--step: less than 0.1 s"),
    ] {
        let line = wrong(&[&probe[..], flags].concat());
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn a_process_that_is_not_there_is_told() {
    let folder = Folder::new();
    let capture = folder.capture("a.pcap", &[v5()]);
    // Above the highest number that the system gives.
    let search = ["--search", "--probe", "kernel:9", "--pid", "4194305"];
    let arguments = [&["replay", &capture, "--to", "127.0.0.1:9"], &search[..]].concat();
    let line = fails(1, &arguments);
    assert!(line.contains("cannot look at process 4194305"), "{line}");
}
