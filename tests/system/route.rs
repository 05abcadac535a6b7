//! The router at work, between numbered exporters and collectors on loopback.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::num::NonZero;
use std::process::{Command, Stdio};

use forebay_router::{Config, Down, Hash, Route, Routing};
use libtest_mimic::Completion;

use crate::Outcome;
use crate::collector::{Collector, free_udp_address, own_loopback};
use crate::needs;
use crate::numbered::{Exporter, FLOWS, once};
use crate::route_farm::{
    EACH, Exporters, Farm, cannot_forge, check_books, check_rights, forwarded, host,
    lost_in_one_piece,
};
use crate::support::{program, wait_for};

pub(crate) fn every_message_goes_to_the_collector_that_the_table_names() -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    const EXPORTERS: u8 = 24;
    let farm = Farm::new(3);
    let listen = free_udp_address(own_loopback());
    let flags = [farm.to(), "--shards=7".to_owned(), "--hash=xxh3".to_owned()];
    let flags: Vec<&str> = flags
        .iter()
        .map(String::as_str)
        .chain(["--threads=2"])
        .collect();
    let mut sent = 0;
    // Another process, with other threads, splits them the same.
    for threads in [None, Some("--threads=3")] {
        let flags: Vec<&str> = flags
            .iter()
            .copied()
            .filter(|flag| threads.is_none() || !flag.starts_with("--threads"))
            .collect();
        let router = Collector::start_router(listen, &[&flags[..], threads.as_slice()].concat());
        check_rights(&router);
        let mut exporters: Vec<Exporter> = (0..EXPORTERS)
            .map(|number| {
                let first = 1 + u32::from(number) * EACH + sent;
                let version = [5, 9, 10][usize::from(number) % 3];
                Exporter::new(host(number), router.address(), version, first)
            })
            .collect();
        for exporter in &mut exporters {
            exporter.send_many(8);
        }
        sent += 8 * FLOWS;
        let messages = u64::from(EXPORTERS) * 8;
        wait_for("all messages to be forwarded", || {
            (forwarded(&router) >= messages).then_some(())
        });
        check_books(&router);
        let ended = router.end();
        assert!(ended.status.success(), "{}", ended.log);
        assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    }
    let all = u64::from(sent / FLOWS) * u64::from(EXPORTERS);
    wait_for("all messages at the collectors", || {
        (farm.messages() >= all).then_some(())
    });
    let addresses = farm.addresses.clone();
    let routing = Routing::new(
        &Config {
            routes: vec![Route {
                versions: vec![5, 9, 10],
                collectors: addresses
                    .iter()
                    .map(|address| forebay_router::Collector {
                        address: *address,
                        weight: 1,
                        probe: None,
                    })
                    .collect(),
                shards: NonZero::new(7).expect("not 0"),
                hash: Hash::Xxh3,
                down: Down::Hold,
                pins: Vec::new(),
                copies: Vec::new(),
            }],
            default: None,
        },
        None,
    )?;
    let mut all_found = HashSet::new();
    let mut used = HashSet::new();
    for (address, flows) in addresses.iter().zip(farm.finish()) {
        for flow in &flows {
            let exporter: IpAddr = flow.exporter.parse()?;
            let expected = routing.collector_of(flow.version.into(), exporter);
            assert_eq!(expected, Some(*address), "{exporter}");
            used.insert(*address);
        }
        let found = once(&flows);
        assert!(all_found.is_disjoint(&found));
        all_found.extend(found);
    }
    assert_eq!(used.len(), 3);
    for number in 0..u32::from(EXPORTERS) {
        let first = 1 + number * EACH;
        assert!((first..first + sent).all(|number| all_found.contains(&number)));
    }
    assert_eq!(all_found.len() as u32, sent * u32::from(EXPORTERS));
    Ok(Completion::Completed)
}

pub(crate) fn a_reload_under_load_loses_and_repeats_nothing() -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    const EXPORTERS: u8 = 12;
    let farm = Farm::new(3);
    let config = farm.write("route.toml", &[0, 1], "shards = 2\nhash = 'address'\n");
    let flag = format!("--config={}", config.display());
    let router = Collector::start_router(free_udp_address(own_loopback()), &[&flag, "--threads=2"]);
    let exporters = Exporters::start(router.address(), EXPORTERS);
    wait_for("messages", || (forwarded(&router) > 100).then_some(()));

    // A file that makes no sense changes nothing, and is told.
    farm.write("route.toml", &[0, 0], "");
    router.signal("HUP");
    router.wait_for_stat("/reloads_failed", 1);
    assert!(router.log().contains("is there twice"), "{}", router.log());
    assert_eq!(router.stat("/reloads"), 0);

    // The third collector takes shards of both. Nobody says so: the file is looked at.
    farm.write("route.toml", &[0, 1, 2], "shards = 3\nhash = 'address'\n");
    router.wait_for_stat("/reloads", 1);
    let before = forwarded(&router);
    wait_for("messages", || {
        (forwarded(&router) > before + 100).then_some(())
    });
    // And back, by a signal.
    farm.write("route.toml", &[0, 1], "shards = 2\nhash = 'address'\n");
    router.signal("HUP");
    router.wait_for_stat("/reloads", 2);
    let before = forwarded(&router);
    wait_for("messages", || {
        (forwarded(&router) > before + 100).then_some(())
    });

    let sent = exporters.stop();
    wait_for("all to be forwarded", || {
        (forwarded(&router) >= sent).then_some(())
    });
    check_books(&router);
    assert_eq!(forwarded(&router), sent);
    wait_for("all messages at the collectors", || {
        (farm.messages() >= sent).then_some(())
    });
    assert!(router.stat("/total/template_messages") > 0);
    let ended = router.end();
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let flows = farm.finish();
    assert!(flows.iter().all(|flows| !flows.is_empty()));
    let found = once(&flows.concat());
    assert_eq!(lost_in_one_piece(&found, EXPORTERS), 0);
    assert_eq!(found.len() as u64, sent * u64::from(FLOWS));
    Ok(Completion::Completed)
}

pub(crate) fn packets_are_taken_beside_a_collector_and_never_twice() -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    const EXPORTERS: u8 = 12;
    let farm = Farm::new(3);
    // The first has the port that exporters send to. On loopback, what is sent to the others passes the ring too.
    let beside = farm.addresses[0];
    let config = farm.write("route.toml", &[1], "");
    let flag = format!("--config={}", config.display());
    let flags = [&flag, "--input=packets", "--threads=2"];
    let router = Collector::start_router(beside, &flags);
    let exporters = Exporters::start(beside, EXPORTERS);
    wait_for("messages", || (forwarded(&router) > 100).then_some(()));
    farm.write("route.toml", &[1, 2], "shards = 2\nhash = 'address'\n");
    router.signal("HUP");
    router.wait_for_stat("/reloads", 1);
    let before = forwarded(&router);
    wait_for("messages", || {
        (forwarded(&router) > before + 100).then_some(())
    });
    let sent = exporters.stop();
    wait_for("all to be forwarded", || {
        (forwarded(&router) >= sent).then_some(())
    });
    wait_for("all messages at both", || {
        (farm.messages() >= 2 * sent).then_some(())
    });
    check_books(&router);
    let ended = router.end();
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let flows = farm.finish();
    let beside = once(&flows[0]);
    assert_eq!(beside.len() as u64, sent * u64::from(FLOWS));
    assert!(!flows[2].is_empty());
    assert_eq!(once(&flows[1..].concat()), beside);
    Ok(Completion::Completed)
}

pub(crate) fn without_the_right_to_forge_it_says_which() -> Outcome {
    let (None, Some(setpriv)) = (cannot_forge(), program("setpriv")) else {
        return needs::missing("there is no setpriv, or no right to give up");
    };
    let output = Command::new(setpriv)
        .args([
            "--bounding-set=-net_raw",
            "--inh-caps=-net_raw",
            env!("CARGO_BIN_EXE_forebay"),
        ])
        .args(["route", "--to=203.0.113.1:2055", "--listen"])
        .arg(free_udp_address(own_loopback()).to_string())
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for what in ["CAP_NET_RAW", "setcap cap_net_raw+ep", "--source own"] {
        assert!(said.contains(what), "{said}");
    }
    Ok(Completion::Completed)
}

pub(crate) fn garbage_is_counted_and_stops_nothing() {
    let farm = Farm::new(1);
    let listen = free_udp_address(own_loopback());
    let flags = [&farm.to(), "--source=own", "--fail-on-loss", "--log=json"];
    let router = Collector::start_router(listen, &flags);
    let socket = std::net::UdpSocket::bind((host(200), 0)).expect("loopback");
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for length in 0..50_u16 {
        for version in [0_u16, 5, 7, 9, 10, 11, 0xffff] {
            let mut payload = vec![0xff; usize::from(length)];
            let bytes = version.to_be_bytes();
            for (place, byte) in payload.iter_mut().zip(bytes) {
                *place = byte;
            }
            socket.send_to(&payload, listen).expect("sent");
            let end = match (length, version) {
                (0 | 1, _) => "too_short",
                (_, 5 | 9 | 10) => "forwarded",
                (_, 7) => "no_route",
                _ => "unknown_version",
            };
            *expected.entry(end).or_default() += 1;
        }
    }
    router.wait_for_stat("/total/received/datagrams", 350);
    check_books(&router);
    // Without a file there is none to be read again.
    router.signal("HUP");
    wait_for("an answer", || {
        router.log().contains("nothing to reload").then_some(())
    });
    assert_eq!(router.stat("/reloads") + router.stat("/reloads_failed"), 0);
    let forwarded = expected.remove("forwarded").expect("some were");
    assert_eq!(router.stat("/total/forwarded/datagrams"), forwarded);
    let rejected: u64 = expected.values().sum();
    for (reason, count) in expected {
        assert_eq!(
            router.stat(&format!("/total/rejected/{reason}")),
            count,
            "{reason}"
        );
    }
    let ended = router.end();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.log);
    let last = ended.log.lines().last().expect("a summary");
    let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(
        (&last["message"], &last["received"]),
        (&"ended".into(), &350.into())
    );
    assert_eq!(last["rejected"], rejected);
    farm.finish();
}
