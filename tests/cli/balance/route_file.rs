//! Route files that are read and written.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::Value;

use super::heavy;
use crate::support::{Folder, command, done, fails};

const THREE: &str = "192.0.2.1:9995,192.0.2.2:9995,192.0.2.3:9995";

/// Two routes, and settings besides.
const CURRENT: &str = "\
# Mine.
listen = ['127.0.0.1:2055']
hash = 'xxh3'

[[route]]
versions = [9, 10]
collectors = [
    '192.0.2.1:9995',
    { address = '192.0.2.2:9995', weight = 2, probe = 'http://192.0.2.2:9180/healthz' },
]
down = 'spread'
pin = [
    { exporter = '10.0.0.0/30', collector = '192.0.2.1:9995' },
    { exporter = '10.0.0.1', collector = '192.0.2.2:9995' },
]

[[route.copy]]
to = '192.0.2.8:9995'
every = 10

[[route]]
versions = [5]
collectors = ['192.0.2.7:9995']
";

fn recommended(arguments: &[&str]) -> Value {
    let text = done(&[arguments, &["--json"]].concat());
    let mut found: Value = serde_json::from_str(&text).expect(&text);
    found["recommendation"].take()
}

#[test]
fn what_is_recommended_is_a_configuration_with_its_pins() {
    let folder = Folder::new();
    let (list, route) = (heavy(&folder), folder.path("route.toml"));
    let shards = ["--shards", "5", "--hash", "address"];
    let arguments = [
        &["balance", &list, "--collectors", THREE, "--output", &route][..],
        &shards,
    ];
    done(&arguments.concat());
    let expected = "\
# recommended: 5 shards by address: the fullest of 3 collectors gets 1.80 times its share of the records, and no split \
that was tried is more even
# no hash can make it even: 10.0.0.77 alone sends 50.0 % of the records, so that the fullest gets 1.50 times its share \
at best
# pin 10.0.0.77 (50.0 %) to 192.0.2.1:9995 and give 192.0.2.1:9995 weight 0: the fullest then gets 1.50 times its share

[[route]]
versions = [5, 9, 10]
collectors = [
    { address = \"192.0.2.1:9995\", weight = 0 },
    \"192.0.2.2:9995\",
    \"192.0.2.3:9995\",
]
shards = 5
hash = \"address\"
down = \"hold\"

[[route.pin]]
exporter = \"10.0.0.77\"
collector = \"192.0.2.1:9995\"
";
    assert_eq!(fs::read_to_string(&route).unwrap(), expected);
    assert!(!fs::exists(folder.path("route.toml.new")).unwrap());
    // Once it is in use, nothing moves, and it is as even as was said.
    let arguments = [&["balance", &list, "--current", &route][..], &shards];
    let found = recommended(&arguments.concat());
    assert_eq!(found["moved"], 0);
    assert_eq!(found["imbalance"], 1.5);
    assert_eq!(found["advice"], Value::Null);
    assert_eq!(
        found["text"][1],
        "no hash can make it even: what is pinned to 192.0.2.1:9995 is 1.50 times its share"
    );
}

#[test]
fn what_is_in_use_is_kept_and_what_moves_is_counted() {
    let folder = Folder::new();
    let hosts = (1..=60).map(|host| format!("10.0.0.{host},10\n"));
    let list = folder.write("even.csv", hosts.collect::<String>());
    let current = folder.write("current.toml", CURRENT);
    let route = folder.path("route.toml");
    let arguments = [
        "balance",
        &list,
        "--current",
        &current,
        "--versions",
        "9,10",
        "--shards",
        "3,7",
        "--collectors",
        "192.0.2.2:9995,192.0.2.4:9995",
        "--output",
        &route,
    ];
    let text = done(&arguments);
    assert!(text.contains(" moved\n"), "{text}");
    assert!(
        text.ends_with("1 pin to collectors that are gone: left out\n"),
        "{text}"
    );
    let written = fs::read_to_string(&route).unwrap();
    let (_comment, settings) = written.split_once("\n\n").expect("a comment first");
    let expected = "\
listen = [\"127.0.0.1:2055\"]

[[route]]
versions = [9, 10]
collectors = [
    { address = \"192.0.2.2:9995\", weight = 2, probe = \"http://192.0.2.2:9180/healthz\" },
    \"192.0.2.4:9995\",
]
shards = 3
hash = \"address\"
down = \"spread\"

[[route.pin]]
exporter = \"10.0.0.1\"
collector = \"192.0.2.2:9995\"

[[route.copy]]
to = \"192.0.2.8:9995\"
every = 10

[[route]]
versions = [5]
collectors = [
    \"192.0.2.7:9995\",
]
shards = 2
hash = \"xxh3\"
down = \"hold\"
";
    assert_eq!(settings, expected);
}

#[test]
fn pins_that_are_there_do_not_hide_what_helps_besides() {
    let folder = Folder::new();
    let list = heavy(&folder);
    let current = folder.write(
        "current.toml",
        "listen = ['127.0.0.1:2055']\n[[route]]\nversions = [5, 9, 10]\ncollectors = ['192.0.2.1:9995', '192.0.2.2:9995', '192.0.2.3:9995']\n\
         shards = 3\npin = [{ exporter = '10.0.0.77', collector = '192.0.2.2:9995' }]\n",
    );
    let text = done(&[
        "balance",
        &list,
        "--current",
        &current,
        "--shards",
        "3",
        "--hash",
        "address",
    ]);
    let expected = "
recommended: 3 shards by address: the fullest of 3 collectors gets 2.00 times its share of the records, and no split \
that was tried is more even
no hash can make it even: what is pinned to 192.0.2.2:9995 is 1.50 times its share
give 192.0.2.2:9995 weight 0: the fullest then gets 1.50 times its share; 20 of 31 exporters move
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn exporters_of_another_family_than_their_collectors_are_told() {
    let folder = Folder::new();
    let list = folder.write(
        "both.csv",
        "10.0.0.1,5\n10.0.0.2,5\n2001:db8::1,5\n2001:db8::2,5\n",
    );
    let both = "192.0.2.1:9995,[2001:db8:1::1]:9995";
    let told = |count: &str, arguments: &[&str]| {
        let found = recommended(&[&["balance", &list, "--shards", "2"], arguments].concat());
        let expected = format!("{count} may fall to a collector of the other address family");
        let text = found["text"].as_array().expect("sentences");
        text.iter().any(|line| {
            line.as_str()
                .is_some_and(|line| line.starts_with(&expected))
        })
    };
    assert!(told("2 exporters", &["--collectors", "192.0.2.1:9995"]));
    assert!(told("4 exporters", &["--collectors", both]));
    // Pinned to their own, or where the source is not kept, they are fine.
    let [v4, v6] = [
        ("10.0.0.0/8", "192.0.2.1:9995"),
        ("2001:db8::/32", "[2001:db8:1::1]:9995"),
    ];
    let pin =
        |(exporter, collector)| format!("{{ exporter = '{exporter}', collector = '{collector}' }}");
    let route = format!(
        "[[route]]\nversions = [9]\ncollectors = ['{}', '{}']\n",
        v4.1, v6.1
    );
    for (file, is_told) in [
        (format!("listen = ['127.0.0.1:2055']\n{route}"), true),
        (
            format!("listen = ['127.0.0.1:2055']\nsource = 'own'\n{route}"),
            false,
        ),
        (
            format!(
                "listen = ['127.0.0.1:2055']\n{route}pin = [{}, {}]\n",
                pin(v4),
                pin(v6)
            ),
            false,
        ),
    ] {
        let current = folder.write("current.toml", &file);
        assert_eq!(
            told("4 exporters", &["--current", &current]),
            is_told,
            "{file}"
        );
    }
}

#[test]
fn files_are_written_also_for_who_reads_no_text() {
    let folder = Folder::new();
    let (list, route) = (heavy(&folder), folder.path("route.toml"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut balance = command(&["balance", &list, "--collectors", THREE, "--output", &route]);
    let status = balance.stdout(writer).status().expect("the program starts");
    assert_eq!(status.code(), Some(0));
    assert!(fs::exists(&route).unwrap());
}

#[test]
fn a_route_file_that_is_replaced_keeps_its_rights_and_its_link() {
    let folder = Folder::new();
    let (list, file) = (heavy(&folder), folder.write("real.toml", "old"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path("route.toml");
    symlink(&file, &link).unwrap();
    done(&["balance", &list, "--collectors", THREE, "--output", &link]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().contains("[[route]]"));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    // What is no file has no place to be put in.
    let written = fs::read_to_string(&file).unwrap();
    let output = ["--output", "/dev/stdout"];
    let text = done(&[&["balance", &list, "--collectors", THREE][..], &output].concat());
    assert!(text.ends_with(&written), "{text}");
}

#[test]
fn a_route_file_that_does_not_do_is_told() {
    let folder = Folder::new();
    let list = heavy(&folder);
    let current = folder.write("current.toml", CURRENT);
    for (arguments, what) in [
        (
            &["--current", &current][..],
            "has several routes: say which is to be balanced, by --versions 9,10 or --versions 5",
        ),
        (
            &["--current", &current, "--versions", "7"],
            "has no route for these versions: take --versions 9,10 or",
        ),
        (
            &[
                "--current",
                &current,
                "--versions",
                "5",
                "--collectors",
                "3",
            ],
            "beside --current give the addresses",
        ),
        (&["--output", "r.toml"], "needs the collectors' addresses"),
        (
            &["--output", "r.toml", "--collectors", "3"],
            "needs the collectors' addresses",
        ),
    ] {
        let line = fails(2, &[&["balance", &list], arguments].concat());
        assert!(line.contains(what), "{line}");
    }
    let broken = folder.write("broken.toml", "[[route]]\ncollectors = ['here']\n");
    let line = fails(2, &["balance", &list, "--current", &broken]);
    assert!(
        line.contains("broken.toml:2: route.collectors: \"here\" is no address"),
        "{line}"
    );
    // Too few shards for the collectors: there is nothing to write.
    let route = folder.path("route.toml");
    let line = fails(
        1,
        &[
            "balance",
            &list,
            "--shards",
            "2",
            "--collectors",
            THREE,
            "--output",
            &route,
        ],
    );
    assert!(line.contains("no split is recommended"), "{line}");
    let arguments = ["balance", &list, "--collectors", THREE, "--output"];
    let line = fails(1, &[&arguments[..], &["/nowhere/r.toml"]].concat());
    assert!(line.contains("cannot write /nowhere/r.toml"), "{line}");
    assert!(!fs::exists(&route).unwrap());
}
