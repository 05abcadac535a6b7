use clap::{Args, Command, FromArgMatches};

use super::*;

/// The settings by these flags and this configuration file.
fn settings(flags: &str, file: &str) -> Result<Settings> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("collect.toml");
    std::fs::write(&path, file).expect("a file");
    let mut words: Vec<&str> = vec!["collect", "--config", path.to_str().expect("a path")];
    words.extend(flags.split_whitespace());
    let command = Raw::augment_args(Command::new("collect"));
    let matches = command.try_get_matches_from(words)?;
    Settings::new(Raw::from_arg_matches(&matches)?)
}

fn problem(flags: &str, file: &str) -> String {
    let error = settings(flags, file).expect_err("a problem");
    assert!(error.is::<WrongUsage>(), "{error:?}");
    error.to_string()
}

#[test]
fn nothing_told_listens_on_the_usual_ports() {
    let settings = settings("", "").expect("the defaults");
    let Source::Sockets {
        listen,
        shards,
        options,
    } = settings.source
    else {
        panic!("sockets are the default");
    };
    assert_eq!(
        listen.iter().map(SocketAddr::port).collect::<Vec<_>>(),
        [2055, 4739]
    );
    assert!((1..=SHARDS_BY_DEFAULT_MAX).contains(&shards));
    assert_eq!(options.receive_buffer_bytes, 64 << 20);
    assert_eq!(settings.collector.output, PathBuf::from("flows"));
    assert_eq!(
        settings.collector.format,
        Format::Parquet(Compression::Zstd)
    );
    assert_eq!(settings.collector.decoder.versions, VERSIONS);
    assert_eq!(settings.collector.decoder.limits, Limits::default());
    assert_eq!(settings.grace, Duration::from_secs(10));
}

#[test]
fn the_file_tells_what_flags_do_not() {
    let file = "listen = ['127.0.0.1:9995', 9996]\noutput = '/data'\nrotate = '30s'\nmax-exporters = 7\nfail-on-loss = true\n\
                [[column]]\nname = 'nbar'\nelement = '9/12235'\ntype = 'binary'\n";
    let told = settings(
        "--output /elsewhere --max-templates 9 --compression lz4",
        file,
    )
    .expect("settings");
    let Source::Sockets { listen, .. } = told.source else {
        panic!("sockets are told");
    };
    assert_eq!(
        listen,
        [
            "127.0.0.1:9995".parse().expect("an address"),
            wildcard(9996)
        ]
    );
    assert_eq!(told.collector.output, PathBuf::from("/elsewhere"));
    assert_eq!(told.collector.decoder.rotation_seconds, 30);
    assert_eq!(told.collector.decoder.limits.exporters, 7);
    assert_eq!(told.collector.decoder.limits.templates, 9);
    assert_eq!(told.collector.format, Format::Parquet(Compression::Lz4));
    assert!(told.fail_on_loss);
    assert!(
        told.collector
            .decoder
            .columns
            .schema()
            .find("nbar")
            .is_some()
    );

    let read = settings("--read a.pcap b.pcap", file).expect("captures instead");
    assert!(matches!(read.source, Source::Captures(captures) if captures.len() == 2));
}

#[test]
fn every_default_that_the_help_tells_is_the_default() {
    let told = settings(
        "--output flows --versions 1,5,7,9,10 --format parquet --compression zstd --rotate 60s --rotate-size 1GiB \
         --min-free 1GiB --receive-buffer 64MiB --queue-size 256MiB --log text --grace 10s --max-exporters 65536 \
         --max-domains 131072 --max-domains-per-exporter 4096 --max-templates 262144 --max-templates-per-domain 1024 \
         --max-fields 1024 --max-samplers-per-domain 1024 --max-pending 64MiB --max-pending-per-exporter 1MiB \
         --max-pending-time 300s",
        "",
    );
    let (told, untold) = (told.expect("settings"), settings("", "").expect("settings"));
    assert_eq!(format!("{told:?}"), format!("{untold:?}"));
}

#[test]
fn what_makes_no_sense_is_told_by_its_name() {
    for (flags, file, what) in [
        ("--versions 6", "", "versions: 6 is none"),
        ("--shards 0", "", "shards is 0, but must be from 1 to 1024"),
        (
            "--rotate 1.5s",
            "",
            "rotate is 1.5s, but must be whole seconds",
        ),
        ("--rotate 2h", "", "rotate is 7200s"),
        (
            "--format arrow --compression lz4",
            "",
            "compression is for parquet",
        ),
        (
            "--read a.pcap --listen 2055",
            "",
            "read and listen exclude each other",
        ),
        ("--read a.pcap --shards 2", "", "captures are read by one"),
        (
            "--rotate-size 1kB",
            "",
            "rotate-size is 1000B, but must be at least 1MiB",
        ),
        ("--max-fields 0", "", "max-fields is 0"),
        (
            "--retain-size 0",
            "",
            "retain-size is 0B, but must be at least 1MiB",
        ),
        (
            "--retain-age 59s",
            "",
            "retain-age is 59s, but must be at least 60s",
        ),
        ("", "shards = 0", "collect.toml: shards is 0"),
        (
            "",
            "listen = ['nowhere']",
            ":1: listen: \"nowhere\" is no address to listen on",
        ),
        (
            "",
            "\nformat = 'parquett'",
            ":2: format: unknown variant `parquett`",
        ),
        (
            "",
            "shard = 2",
            ":1: unknown key \"shard\": did you mean \"shards\"?",
        ),
        ("", "max-exporter = 2", "did you mean \"max-exporters\"?"),
        ("", "max-exporters = 'many'", ":1: "),
        (
            "",
            "[[column]]\nname = 'bytes'\nelement = '95'\ntype = 'u64'",
            "collect.toml: column \"bytes\" exists already",
        ),
    ] {
        let problem = problem(flags, file);
        assert!(problem.contains(what), "{flags} {file}: {problem}");
    }
}

#[test]
fn a_bad_column_is_told_by_its_name() {
    for (element, kind, what) in [
        (
            "octetDeltaCont",
            "u64",
            "column \"a\": no information element is called \"octetDeltaCont\"; did you mean",
        ),
        (
            "1",
            "u46",
            "column \"a\": \"u46\" is no type: choose from u8, u16",
        ),
    ] {
        let file = format!("[[column]]\nname = 'a'\nelement = '{element}'\ntype = '{kind}'\n");
        let problem = problem("", &file);
        assert!(problem.contains(what), "{problem}");
    }
    let taken = "[[column]]\nname = 'bytes'\nelement = '1'\ntype = 'u64'\n";
    assert!(problem("", taken).contains("exists already"));
}

#[test]
fn every_setting_is_documented() {
    let documentation = include_str!("../../../docs/configuration.md");
    let command = Raw::augment_args(Command::new("collect"));
    for flag in command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
    {
        let row = format!("\n| `{flag}` | ");
        assert!(flag == "config" || documentation.contains(&row), "{flag}");
    }
}
