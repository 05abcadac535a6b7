//! `forebay demo`, small.

use crate::support::{Folder, fails, forebay};

#[test]
fn the_demo_verifies_what_it_sent() {
    let folder = Folder::new();
    let flows = folder.path("flows");
    let ended = forebay(&[
        "demo", "--flows", "60k", "--rate", "60k", "--output", &flows,
    ]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    for words in [
        "60,000 flows of 50 exporters",
        "flows/s",
        "top talkers",
        "\nverified: ",
        "IPFIX",
    ] {
        assert!(ended.stdout.contains(words), "{}", ended.stdout);
    }
    let line = fails(2, &["demo", "--output", &flows]);
    assert!(
        line.contains(&flows) && line.contains("not empty"),
        "{line}"
    );
}
