use clap::{Args, FromArgMatches};
use forebay_router::{Prefix, ProbeUrl};

use super::*;

fn flags(arguments: &[&str]) -> Raw {
    let command = Raw::augment_args(clap::Command::new("route").no_binary_name(true));
    let matches = command.get_matches_from(arguments);
    Raw::from_arg_matches(&matches).expect("flags")
}

fn checked(arguments: &[&str]) -> Result<Settings> {
    Settings::new(flags(arguments))
}

fn problem(arguments: &[&str]) -> String {
    let error = checked(arguments).expect_err("wrong usage");
    assert!(error.is::<WrongUsage>(), "{error}");
    error.to_string()
}

/// With a file of this text.
fn with_file(text: &str, arguments: &[&str]) -> Result<Settings> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("route.toml");
    std::fs::write(&path, text).expect("a file");
    let config = format!("--config={}", path.display());
    checked(&[&[config.as_str()], arguments].concat())
}

fn file_problem(text: &str) -> String {
    let error = with_file(text, &[]).expect_err(text);
    assert!(error.is::<WrongUsage>(), "{error}");
    let text = error.to_string();
    let (_folder, problem) = text.split_once("route.toml").expect("the file's name");
    problem.to_owned()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn flags_alone_are_a_route() {
    let settings = checked(&["--to", "203.0.113.1:2055,203.0.113.2:2055,203.0.113.3:2055"]);
    let settings = settings.expect("settings");
    let [route] = settings.routes.routes.as_slice() else {
        panic!("{:?}", settings.routes);
    };
    assert_eq!(route.versions, [5, 9, 10]);
    assert_eq!(route.shards.get(), 3);
    assert_eq!((route.hash, route.down), (Hash::Address, Down::Hold));
    assert_eq!(settings.fixed.listen, PORTS.map(wildcard));
    assert_eq!(settings.fixed.source, Source::Exporter);
    assert_eq!(settings.warnings, [""; 0]);

    let settings = checked(&[
        "--to=203.0.113.1:2055",
        "--versions=9",
        "--shards=7",
        "--hash=xxh3",
        "--down=spool",
        "--source=own",
        "--default=203.0.113.9:99",
        "--input=packets",
        "--interface=lo",
        "--ring-size=8MiB",
        "--threads=2",
    ]);
    let settings = settings.expect("settings");
    let route = &settings.routes.routes[0];
    assert_eq!((route.shards.get(), route.hash), (7, Hash::Xxh3));
    assert_eq!((route.down, &*route.versions), (Down::Spool, &[9][..]));
    assert_eq!(settings.routes.default, Some(address("203.0.113.9:99")));
    let input = Input::Packets {
        interfaces: vec!["lo".to_owned()],
        ring_bytes: 8 << 20,
    };
    assert_eq!(settings.fixed.input, input);
    assert_eq!(settings.fixed.threads, 2);
    assert_eq!(settings.fixed.source, Source::Own);
}

#[test]
fn the_file_says_all_that_there_is() {
    let settings = with_file(
        r#"
            listen = ["127.0.0.1:2055", 4739]
            hash = "xxh3"
            down = "spread"
            threads = 3
            spool-size = "2MiB"

            [[route]]
            versions = [5]
            collectors = ["203.0.113.1:2055"]
            down = "hold"

            [[route]]
            versions = [9, 10]
            collectors = [
                "203.0.113.1:2055",
                { address = "203.0.113.2:2055", weight = 3, probe = "http://203.0.113.2:9180/healthz" },
            ]
            hash = "address"

            [[route.pin]]
            exporter = "198.51.100.0/24"
            collector = "203.0.113.2:2055"

            [[route.copy]]
            to = "203.0.113.8:2055"
            every = 10

            [[route.copy]]
            to = "203.0.113.9:2055"
        "#,
        &["--threads=2"],
    );
    let settings = settings.expect("settings");
    assert_eq!(
        settings.fixed.listen,
        [address("127.0.0.1:2055"), wildcard(4739)]
    );
    // Flags win.
    assert_eq!(settings.fixed.threads, 2);
    assert_eq!(settings.spool_bytes, 2 << 20);
    let [first, second] = settings.routes.routes.as_slice() else {
        panic!("{:?}", settings.routes);
    };
    assert_eq!((first.hash, first.down), (Hash::Xxh3, Down::Hold));
    assert_eq!((second.hash, second.down), (Hash::Address, Down::Spread));
    // The weights' sum is 4.
    assert_eq!(second.shards.get(), 5);
    let probe: ProbeUrl = "http://203.0.113.2:9180/healthz".parse().expect("a probe");
    assert_eq!(second.collectors[1].probe, Some(probe));
    assert_eq!(second.collectors[1].weight, 3);
    let exporters: Prefix = "198.51.100.0/24".parse().expect("a prefix");
    assert_eq!(second.pins[0].exporters, exporters);
    let copies: Vec<_> = second
        .copies
        .iter()
        .map(|copy| (copy.to.port(), copy.every.get()))
        .collect();
    assert_eq!(copies, [(2055, 10), (2055, 1)]);
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line() {
    for (text, expected) in [
        (
            "hash = 'adress'\n",
            ":1: hash: unknown variant `adress`, expected `address` or `xxh3`",
        ),
        (
            "[[route]]\ncollectors = ['203.0.113.1:2055']\nshard = 3",
            ":3: unknown key \"shard\": did you mean \"shards\"?",
        ),
        (
            "[[route]]\ncollectors = [\n'203.0.113.1:2055',\n{ adress = '203.0.113.2:2055' },\n]",
            ":4: unknown key \"adress\": did you mean \"address\"?",
        ),
        (
            "[[route]]\ncollectors = [\n'203.0.113.1:2055',\n'203.0.113.2',\n]",
            ":4: route.collectors: \"203.0.113.2\" is no address and port: write it as 192.0.2.1:2055 or [2001:db8::1]:2055",
        ),
        (
            "[[route]]\ncollectors = [\n'203.0.113.1:2055',\n'203.0.113.1:2055',\n]",
            ":4: collector 203.0.113.1:2055 is there twice: give it more weight instead",
        ),
        (
            "[[route]]\ncollectors = ['203.0.113.1:2055']\n[[route.pin]]\nexporter = '10.0.0.1/8'\n",
            ":4: route.pin.exporter: \"10.0.0.1/8\" has bits behind its length: did you mean 10.0.0.0/8?",
        ),
        (
            "\n[[route]]\ncollectors = ['203.0.113.1:2055']\n[[route.pin]]\nexporter = '10.0.0.0/8'\n\
             collector = '203.0.113.1:2056'",
            ":4: 10.0.0.0/8 is pinned to 203.0.113.1:2056, which is no collector of the route: did you mean \
             203.0.113.1:2055?",
        ),
        (
            "\n\n[[route]]\ncollectors = ['203.0.113.1:2055', '203.0.113.2:2055']\nshards = 1",
            ":3: of 1 shards none falls to collector 2: give more shards, or the collector more weight",
        ),
        (
            "[[route]]\ncollectors = ['203.0.113.1:2055']\nshards = 0",
            ":1: shards is 0, but must be at least 1",
        ),
        (
            "[[route]]\ncollectors = ['203.0.113.1:2055']\n[[route]]\ncollectors = ['203.0.113.1:2055']",
            ":3: version 5 has two routes: leave it to one of them",
        ),
        (
            "to = ['203.0.113.1:2055']\n[[route]]\ncollectors = ['203.0.113.1:2055']",
            ":2: to and [[route]] exclude each other: give the collectors by one of them",
        ),
        (
            "versions = [9]\n[[route]]\ncollectors = ['203.0.113.1:2055']",
            ":2: versions at the top is for to: each [[route]] has its own",
        ),
        (
            "listen = '127.0.0.1:2055'\n[[route]]\ncollectors = [\n'127.0.0.1:2055']",
            ":1: listen: expected a list in brackets, but found string \"127.0.0.1:2055\"",
        ),
        (
            "[[route]]\ncollectors = ['203.0.113.1:2055']\n[[route.copy]]\nto = '203.0.113.2:2055'\nevery = 0",
            ":3: every is 0, but must be at least 1",
        ),
        (
            "\n[route]\ncollectors = ['203.0.113.1:2055']",
            ":2: route: write it in two brackets: [[route]]",
        ),
        (
            "[[route]]\ncollectors = ['203.0.113.1:2055']\n[route.pin]\nexporter = '10.0.0.1'",
            ":3: route.pin: write it in two brackets: [[route.pin]]",
        ),
        (
            "http = 'localhost'",
            ":1: http: that is no address and port: write it as",
        ),
        (
            "log = 3",
            ":1: log: expected text in quotes, as for the flag",
        ),
        (
            "threads = 'four'",
            ":1: threads: expected a whole number, but found string \"four\"",
        ),
        (
            "[[route]]\nversions = [5]\n[[route]]\nversions = [9]\ncollectors = ['203.0.113.1:2055']",
            ":1: route: missing field `collectors`",
        ),
        (
            "[[route]]\ncollectors = [\n{ address = '203.0.113.1:2055', weight = '2' }]",
            ":3: route.collectors.weight: expected a whole number, but found string \"2\"",
        ),
        (
            "listen = ['127.0.0.1:2055']\n[[route]]\ncollectors = [\n'127.0.0.1:2055']",
            ":4: a loop: 127.0.0.1:2055 is this router's own 127.0.0.1:2055; give the collector another port or \
             address",
        ),
        (
            "# mine\nthreads = 0",
            ":2: threads is 0, but must be from 1 to 1024",
        ),
        (
            "\n\nspool-size = '1KiB'",
            ":3: spool-size must be at least 1MiB",
        ),
        (
            "interface = ['eth0']",
            ":1: interface is for input packets: a socket takes what comes to its address",
        ),
        (
            "to = ['203.0.113.1:2055']\nversions = [8]",
            ":2: versions: 8 is none that can be routed",
        ),
    ] {
        let found = file_problem(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn what_is_wrong_with_the_flags_is_told_by_their_names() {
    for (arguments, expected) in [
        (
            &[][..],
            "there is no route: name the collectors by --to ADDR:PORT, or by [[route]] in a file that --config names",
        ),
        (
            &["--to=203.0.113.1:2055", "--listen=127.0.0.1:9,127.0.0.1:9"],
            "listen has 127.0.0.1:9 twice: remove one",
        ),
        (
            &["--to=127.0.0.1:2055", "--listen=0.0.0.0:2055"],
            "a loop: 127.0.0.1:2055 is this router's own 0.0.0.0:2055",
        ),
        (
            &["--to=203.0.113.1:2055", "--versions=8"],
            "versions: 8 is none",
        ),
        (
            &[
                "--to=203.0.113.1:2055",
                "--input=packets",
                "--listen=127.0.0.1:0",
            ],
            "input packets needs its number",
        ),
        (
            &[
                "--to=203.0.113.1:2055",
                "--input=packets",
                "--ring-size=64KiB",
            ],
            "a ring of 65536 bytes: from 1048576 to",
        ),
        (
            &["--to=203.0.113.1:2055", "--input=packets", "--threads=257"],
            "257 shards: from 1 to 256",
        ),
        (
            &[
                "--to=203.0.113.1:2055",
                "--input=packets",
                "--interface=nowhere0",
            ],
            "interface nowhere0: there is none",
        ),
        (
            &["--to=203.0.113.1:2055", "--max-domains=0"],
            "max-domains is 0",
        ),
    ] {
        let found = problem(arguments);
        assert!(found.contains(expected), "{found}");
    }
    let error = with_file("# nothing yet\n", &[]).expect_err("no route");
    let (_folder, error) = error.to_string().split_once("route.toml").map_or_else(
        || panic!("{error}"),
        |(folder, error)| (folder.to_owned(), error.to_owned()),
    );
    assert_eq!(
        error,
        ": there is no route: name the collectors by to or [[route]] there, or by --to ADDR:PORT"
    );
    let routes = "[[route]]\ncollectors = ['203.0.113.1:2055']";
    let error = with_file(routes, &["--versions=9"]).expect_err("which route is meant?");
    assert!(
        error.to_string().contains("versions is for --to"),
        "{error}"
    );
    // Collectors by flag are there instead of the file's.
    let settings = with_file(routes, &["--to=203.0.113.2:2055", "--versions=9"]).expect("settings");
    assert_eq!(settings.routes.routes.len(), 1);
    assert_eq!(settings.routes.routes[0].versions, [9]);
}

#[test]
fn a_composite_number_of_shards_is_warned_of_where_it_matters() {
    let to = "--to=203.0.113.1:2055,203.0.113.2:2055";
    let warnings = |more: &[&str]| checked(&[&[to], more].concat()).expect("settings").warnings;
    let [warning] = &warnings(&["--shards=4"])[..] else {
        panic!("one warning");
    };
    assert!(
        warning.contains("shards is 4, which is no prime"),
        "{warning}"
    );
    assert!(warning.contains("5 is the next prime"), "{warning}");
    assert_eq!(warnings(&["--shards=5"]), [""; 0]);
    assert_eq!(warnings(&["--shards=4", "--hash=xxh3"]), [""; 0]);
}

#[test]
fn a_reload_must_not_lead_back_to_where_it_still_listens() {
    let to = |to: &str, listen: &str| {
        let flags = [format!("--to={to}"), format!("--listen={listen}")];
        checked(&flags.each_ref().map(String::as_str)).expect("settings")
    };
    let running = to("203.0.113.1:2055", "127.0.0.1:2055");
    let moved = to("127.0.0.1:2055", "127.0.0.1:2056");
    // Whatever port was free: what is told later must not lead there.
    let mut any = to("203.0.113.1:2055", "127.0.0.1:0");
    any.fixed.bound = vec![address("127.0.0.1:2055")];
    assert_eq!(any.setup().listen, any.fixed.bound);
    let error = moved.check_against(&any).expect_err("a loop");
    assert!(
        error.to_string().contains("a loop: 127.0.0.1:2055"),
        "{error}"
    );
    let error = moved.check_against(&running).expect_err("a loop");
    assert!(
        error.to_string().contains("a loop: 127.0.0.1:2055"),
        "{error}"
    );
    running.check_against(&moved).expect("no loop");
}

#[test]
fn what_needs_a_restart_is_told() {
    let running = checked(&["--to=203.0.113.1:2055"]).expect("settings");
    let same = checked(&["--to=203.0.113.2:2055", "--shards=7", "--down=spread"]);
    assert_eq!(same.expect("settings").need_restart(&running), [""; 0]);
    let other = checked(&[
        "--to=203.0.113.1:2055",
        "--listen=99",
        "--threads=17",
        "--max-exporters=5",
        "--spool=elsewhere",
        "--source=own",
        "--receive-buffer=1MiB",
        "--http=127.0.0.1:1",
        "--log=json",
        "--fail-on-loss",
        "--grace=1s",
    ]);
    let other = other.expect("settings");
    let names = [
        "listen",
        "input",
        "source",
        "threads",
        "http",
        "limits",
        "spool",
        "log",
        "fail-on-loss",
        "grace",
    ];
    assert_eq!(other.need_restart(&running), names);
}

/// Routes to so many collectors, by packets.
fn to_many(first: usize, count: usize) -> Result<Settings> {
    let to: Vec<String> = (first..first + count)
        .map(|port| format!("203.0.113.1:{port}"))
        .collect();
    let to = format!("--to={}", to.join(","));
    checked(&[&to, "--input=packets", "--listen=198.51.100.1:2055"])
}

#[test]
fn rings_leave_out_so_many_collectors_and_no_more() {
    to_many(1, 249).expect("settings");
    let error = to_many(1, 250).expect_err("too many");
    assert!(error.is::<WrongUsage>(), "{error}");
    assert!(
        error.to_string().contains("251 interfaces and addresses"),
        "{error}"
    );
    // A reload needs room for those before too, which are the same in part.
    let running = to_many(1, 200).expect("settings");
    let same = to_many(50, 200).expect("settings");
    same.check_against(&running).expect("249 in all");
    let others = to_many(51, 200).expect("settings");
    let error = others.check_against(&running).expect_err("250 in all");
    assert!(
        error.to_string().contains("251 interfaces and addresses"),
        "{error}"
    );
}

#[test]
fn a_collector_that_exporters_send_to_is_warned_of_where_packets_are_taken() {
    let warnings = |to: &str| {
        let settings = checked(&[to, "--input=packets", "--listen=0.0.0.0:2055"]);
        settings.expect("settings").warnings
    };
    let [warning] = &warnings("--to=127.0.0.1:2055,203.0.113.1:2055")[..] else {
        panic!("one warning");
    };
    assert!(
        warning.starts_with("127.0.0.1:2055 is an address of this machine"),
        "{warning}"
    );
    assert_eq!(warnings("--to=127.0.0.1:2056,203.0.113.1:2055"), [""; 0]);
}
