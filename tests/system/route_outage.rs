//! The router while collectors end and come back.

use std::process::{Command, Stdio};
use std::thread;

use libtest_mimic::Completion;
use serde_json::Value;

use crate::Outcome;
use crate::collector::{Collector, free_udp_address, own_loopback};
use crate::needs;
use crate::numbered::{Exporter, FLOWS, once};
use crate::route_farm::{
    Exporters, Farm, cannot_forge, check_books, exporter, forwarded, is_up, lost_in_one_piece,
};
use crate::support::wait_for;

fn total(stats: &Value, name: &str) -> u64 {
    stats["total"][name]["datagrams"]
        .as_u64()
        .expect("a number")
}

/// A collector ends and comes back under load. What was sent to it before it was known to be down is lost, and nothing
/// else.
fn outage(policy: &str, count: usize) -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    const EXPORTERS: u8 = 12;
    let mut farm = Farm::new(count);
    let spool = farm.folder.path().join("spool");
    let flags = [
        farm.to(),
        "--threads=2".to_owned(),
        format!("--down={policy}"),
        format!("--spool={}", spool.display()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let router = Collector::start_router(free_udp_address(own_loopback()), &flags);
    let exporters = Exporters::start(router.address(), EXPORTERS);
    wait_for("messages", || (forwarded(&router) > 100).then_some(()));
    farm.end(0);
    wait_for("the collector to be down", || {
        (!is_up(&router, 0)).then_some(())
    });
    let before = router.stat("/total/received/datagrams");
    router.wait_for_stat("/total/received/datagrams", before + 200);
    // All threads know now.
    let before = router.stats();
    router.wait_for_stat(
        "/total/received/datagrams",
        total(&before, "received") + 400,
    );
    let after = router.stats();
    let grown = |index: usize| {
        let of = |stats: &Value| {
            stats["collectors"][index]["forwarded"]["datagrams"]
                .as_u64()
                .expect("a number")
        };
        of(&after) - of(&before)
    };
    assert_eq!(grown(0), 0);
    if policy == "spool" {
        assert!(total(&after, "waiting") > total(&before, "waiting"));
    } else {
        // The others get all of it, and with it the share of the one that is down.
        let others: u64 = (1..count).map(grown).sum();
        let received = total(&after, "received") - total(&before, "received");
        assert_eq!(others, received);
        assert_eq!(total(&after, "waiting"), 0);
    }
    farm.start(0);
    wait_for("the collector to be up", || is_up(&router, 0).then_some(()));
    let before = router.stat("/total/received/datagrams");
    router.wait_for_stat("/total/received/datagrams", before + 200);
    let sent = exporters.stop();
    wait_for("all to be forwarded", || {
        (forwarded(&router) >= sent).then_some(())
    });
    check_books(&router);
    assert_eq!(router.stat("/total/waiting/datagrams"), 0);
    assert_eq!(forwarded(&router), sent);
    // Messages on their way: the counts stand still when all are there.
    let mut last = 0;
    wait_for("the collectors to have all", || {
        let now = farm.messages();
        thread::sleep(std::time::Duration::from_millis(500));
        let still = now == std::mem::replace(&mut last, now);
        still.then_some(())
    });
    if policy == "spool" {
        // The collector that is new got all of its exporters' messages since, in order.
        assert_eq!(farm.missing(), 0);
    }
    let ended = router.end();
    assert!(ended.log.contains("nothing lost"), "{}", ended.log);
    let found = once(&farm.finish().concat());
    let lost = lost_in_one_piece(&found, EXPORTERS);
    assert_eq!(lost + found.len() as u64, sent * u64::from(FLOWS));
    // A quarter of a second between two looks, and four times that on a busy machine.
    assert!(
        lost < sent * u64::from(FLOWS) / 2,
        "{lost} of {sent} messages"
    );
    Ok(Completion::Completed)
}

pub(crate) fn what_waits_for_a_collector_comes_in_order_when_it_is_back() -> Outcome {
    outage("spool", 2)
}

pub(crate) fn the_others_take_over_from_a_collector_that_is_down() -> Outcome {
    outage("spread", 3)
}

pub(crate) fn what_waits_at_the_end_is_sent_after_the_next_start() -> Outcome {
    if let Some(why) = cannot_forge() {
        return needs::missing(why);
    }
    let mut farm = Farm::new(1);
    farm.end(0);
    let spool = farm.folder.path().join("spool");
    let spool = format!("--spool={}", spool.display());
    let to = farm.to();
    let listen = free_udp_address(own_loopback());
    let start = |threads| Collector::start_router(listen, &[&to, &spool, "--down=spool", threads]);
    let router = start("--threads=3");
    let mut exporters: Vec<Exporter> = (0..9).map(|number| exporter(listen, number)).collect();
    for exporter in &mut exporters {
        exporter.send_many(20);
    }
    router.wait_for_stat("/total/waiting/datagrams", 180);
    let ended = router.end();
    assert!(
        ended.log.contains("180 datagrams wait for the next start"),
        "{}",
        ended.log
    );

    let router = start("--threads=2");
    router.wait_for_stat("/total/recovered/datagrams", 180);
    // Two cannot have the folder.
    let other = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["route", &to, &spool, "--down=spool", "--listen"])
        .arg(free_udp_address(own_loopback()).to_string())
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(said.contains("is another router's"), "{said}");
    for exporter in &mut exporters {
        exporter.send();
    }
    farm.start(0);
    router.wait_for_stat("/total/forwarded/datagrams", 189);
    check_books(&router);
    wait_for("all messages at the collector", || {
        (farm.messages() >= 189).then_some(())
    });
    assert_eq!(farm.missing(), 0);
    router.end();
    let found = once(&farm.finish().concat());
    assert_eq!(found.len() as u32, 189 * FLOWS);
    Ok(Completion::Completed)
}

pub(crate) fn from_its_own_address_it_needs_no_right_and_knows_who_is_gone() {
    let mut farm = Farm::new(2);
    let copy = farm.write(
        "route.toml",
        &[0],
        &format!("[[route.copy]]\nto = '{}'\n", farm.addresses[1]),
    );
    let flag = format!("--config={}", copy.display());
    let router = Collector::start_router(
        free_udp_address(own_loopback()),
        &[&flag, "--source=own", "--threads=1", "--fail-on-loss"],
    );
    let mut exporter = exporter(router.address(), 1);
    exporter.send_many(40);
    wait_for("all messages at both", || {
        (farm.messages() >= 80).then_some(())
    });
    check_books(&router);
    assert_eq!(router.stat("/total/copied/datagrams"), 40);
    // It is sent to all the same, for that is what `hold` says.
    farm.end(0);
    wait_for("the collector to be down", || {
        (!is_up(&router, 0)).then_some(())
    });
    exporter.send_many(10);
    wait_for("all messages at the other", || {
        (forwarded(&router) >= 50 && farm.messages() >= 90).then_some(())
    });
    check_books(&router);
    assert!(!is_up(&router, 0));
    assert!(is_up(&router, 1));
    // All of them, but a few that the thread may have sent before it knew. What is known to be doubtful is no success.
    for pointer in ["/total/sent_while_down", "/collectors/0/sent_while_down"] {
        let doubtful = router.stat(pointer);
        assert!((1..=10).contains(&doubtful), "{doubtful}");
    }
    assert_eq!(router.stat("/collectors/1/sent_while_down"), 0);
    let ended = router.end();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.log);
    assert!(ended.log.contains("; may be lost: "), "{}", ended.log);
    let flows = farm.finish();
    let (collector, copies) = (once(&flows[0]), once(&flows[1]));
    assert!(collector.is_subset(&copies));
    assert_eq!(copies.len() - collector.len(), 10 * FLOWS as usize);
    assert!(flows[0].iter().all(|flow| *flow.exporter != *"127.0.7.1"));
}
