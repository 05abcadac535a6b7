//! `forebay route`: what it refuses before it opens anything.

use std::net::UdpSocket;

use crate::support::{Folder, fails, forebay};

#[test]
fn a_mistake_in_the_file_is_told_with_its_line_and_the_nearest_word() {
    let folder = Folder::new();
    let file = folder.write(
        "route.toml",
        "listen = ['127.0.0.1:2055']\n\n[[route]]\ncollectors = ['203.0.113.1:2055']\n\n[[route.pin]]\n\
         exporter = '10.0.0.0/8'\ncolector = '203.0.113.1:2055'\n",
    );
    let line = fails(2, &["route", "--config", &file]);
    assert!(
        line.ends_with("route.toml:8: unknown key \"colector\": did you mean \"collector\"?"),
        "{line}"
    );
    let file = folder.write(
        "spread.toml",
        "[[route]]\ncollectors = ['203.0.113.1:2055']\ndown = 'spred'\n",
    );
    let line = fails(2, &["route", "--config", &file]);
    assert!(line.contains("spread.toml:3: "), "{line}");
    assert!(line.contains("`hold`, `spread`, `spool`"), "{line}");
}

#[test]
fn nothing_is_opened_before_all_is_checked() {
    // The port is taken: that would be another error, and another exit code.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = socket.local_addr().unwrap().to_string();
    let arguments = ["route", "--listen", &listen, "--to", "203.0.113.1:2055"];
    let line = fails(2, &[&arguments[..], &["--shards", "70000"]].concat());
    assert!(line.contains("70000 shards are more than 65536"), "{line}");
    let line = fails(2, &[&arguments[..], &["--hash", "adress"]].concat());
    assert!(
        line.contains("'adress'") && line.contains("'address'"),
        "{line}"
    );
    for twice in [
        [&*listen, &listen],
        [&listen, &listen.replace("127.0.0.1", "0.0.0.0")],
    ] {
        let line = fails(
            2,
            &[&arguments[..], &["--listen", &twice.join(",")]].concat(),
        );
        assert!(line.contains("remove one"), "{line}");
    }
    let line = fails(2, &["route", "--listen", &listen, "--to", &listen]);
    assert!(line.contains("a loop: "), "{line}");
    let line = fails(2, &["route", "--listen", &listen]);
    assert!(
        line.contains("there is no route: name the collectors"),
        "{line}"
    );
    // Nor is a raw socket, which would be another error without the right to it.
    let packets = [&arguments[..], &["--input", "packets"]].concat();
    for (more, what) in [
        (["--ring-size", "64KiB"], "a ring of 65536 bytes"),
        (["--threads", "257"], "257 shards"),
        (["--interface", "nowhere0"], "interface nowhere0"),
    ] {
        let line = fails(2, &[&packets[..], &more].concat());
        assert!(line.contains(what), "{line}");
    }
    // Now it is opened.
    let own = [&arguments[..], &["--source", "own"]].concat();
    let ended = forebay(&own);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(&listen), "{}", ended.stderr);
    assert!(ended.stderr.contains("in use"), "{}", ended.stderr);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let line = fails(1, &["route", "--config", "/nowhere/route.toml"]);
    assert!(
        line.contains("cannot read configuration /nowhere/route.toml"),
        "{line}"
    );
}
