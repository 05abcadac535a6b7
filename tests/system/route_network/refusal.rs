//! A collector on another machine, of which nothing but its refusals tells.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use libtest_mimic::Completion;
use serde_json::Value;

use super::spaces::{self, Logged, Space};
use crate::Outcome;
use crate::needs;
use crate::support::{program, wait_for};

const COLLECTOR: &str = "10.9.0.2:2055";
/// Messages that wait.
const WAITING: u64 = 500;

/// Sends messages with numbers to the router.
const SEND: &str = "import socket, sys
exporter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    exporter.sendto(b'\\0\\5' + number.to_bytes(4, 'big'), ('127.0.0.1', 2055))
";
/// Receives until the message with this number has come, and writes down the numbers.
const RECEIVE: &str = "import socket, sys
collector = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
collector.settimeout(100)
collector.bind(('10.9.0.2', 2055))
numbers = []
while not numbers or numbers[-1] != int(sys.argv[1]):
    payload = collector.recv(100)
    if payload:
        numbers.append(int.from_bytes(payload[2:], 'big'))
with open(sys.argv[2], 'w') as out:
    out.write(' '.join(map(str, numbers)))
";
const ASK: &str = "import urllib.request
print(urllib.request.urlopen('http://127.0.0.1:9180/stats').read().decode())
";

pub(crate) fn what_waits_is_not_sent_to_find_out_who_refuses() -> Outcome {
    for name in ["ip", "nsenter", "python3"] {
        if program(name).is_none() {
            return needs::missing(format!("there is no {name}"));
        }
    }
    if let Some(why) = spaces::missing() {
        return needs::missing(why);
    }
    let folder = tempfile::tempdir()?;
    let (here, there) = (Space::new(), Space::new());
    let [near, far] = [[10, 9, 0, 1], [10, 9, 0, 2]].map(Into::into);
    spaces::join(&here, "c", &[near], &there, &[far]);
    // As where an address moves between machines: a socket can be bound to any, which must not make any this machine's.
    let sysctl = "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind";
    assert!(here.command("sh").args(["-c", sysctl]).status()?.success());

    let mut command = here.command(env!("CARGO_BIN_EXE_forebay"));
    command
        .args(["route", "--source=own", "--down=spool", "--threads=1"])
        .args(["--listen=0.0.0.0:2055", "--http=127.0.0.1:9180"])
        .args(["--to", COLLECTOR, "--spool"])
        .arg(folder.path().join("spool"));
    let router = Logged::start(command);
    router.wait_for("listening on");
    assert!(is_up(&here));
    // What was refused is told by the next send.
    let mut sent = 0;
    wait_for("a refusal", || {
        python(&here, SEND, &[&sent.to_string(), &(sent + 1).to_string()]);
        sent += 1;
        (!is_up(&here)).then_some(())
    });
    let end = sent + WAITING;
    python(&here, SEND, &[&sent.to_string(), &end.to_string()]);
    wait_for("messages to wait", || {
        (stat(&here, "/total/received/datagrams") == end).then_some(())
    });
    let forwarded = stat(&here, "/total/forwarded/datagrams");
    assert!(forwarded <= sent, "{forwarded}");
    // It is tried again, twice, with nothing that waits.
    wait_for("trials", || {
        (refusals(&there) >= forwarded + 2).then_some(())
    });
    assert_eq!(stat(&here, "/total/waiting/datagrams"), end - forwarded);
    assert_eq!(stat(&here, "/total/forwarded/datagrams"), forwarded);
    assert!(!is_up(&here));

    let received = folder.path().join("received");
    let mut collector = receive(&there, end - 1, &received);
    wait_for("the collector to have all", || {
        collector.try_wait().expect("its state is known")
    });
    let numbers: Vec<String> = (forwarded..end).map(|number| number.to_string()).collect();
    assert_eq!(fs::read_to_string(&received)?, numbers.join(" "));
    let (status, log) = router.end();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("is back"), "{log}");
    Ok(Completion::Completed)
}

pub(crate) fn nothing_is_sent_to_an_address_that_moves_here() -> Outcome {
    for name in ["ip", "nsenter", "python3"] {
        if program(name).is_none() {
            return needs::missing(format!("there is no {name}"));
        }
    }
    if let Some(why) = spaces::missing() {
        return needs::missing(why);
    }
    let (here, there) = (Space::new(), Space::new());
    let [near, far] = [[10, 9, 0, 1], [10, 9, 0, 3]].map(Into::into);
    spaces::join(&here, "c", &[near], &there, &[far]);
    let mut command = here.command(env!("CARGO_BIN_EXE_forebay"));
    command
        .args(["route", "--source=own", "--down=hold", "--threads=1"])
        .args(["--listen=0.0.0.0:2055", "--http=127.0.0.1:9180"])
        .args(["--to", COLLECTOR]);
    let router = Logged::start(command);
    router.wait_for("listening on");
    assert!(is_up(&here));
    here.ip("address add 10.9.0.2/24 dev c");
    wait_for("the collector to be down", || (!is_up(&here)).then_some(()));
    python(&here, SEND, &["0", "10"]);
    wait_for("the messages", || {
        (stat(&here, "/total/received/datagrams") >= 10).then_some(())
    });
    let failed = || stats(&here)["total"]["failed"]["loop"].as_u64();
    wait_for("all to be stopped", || (failed() == Some(10)).then_some(()));
    // What went out before the thread knew has come back.
    let forwarded = stat(&here, "/total/forwarded/datagrams");
    assert_eq!(stat(&here, "/total/received/datagrams"), 10 + forwarded);
    let (_, log) = router.end();
    for what in [
        "a loop: 10.9.0.2:2055 is this router's own 0.0.0.0:2055",
        "10 datagrams not sent (loop)",
    ] {
        assert!(log.contains(what), "{log}");
    }
    Ok(Completion::Completed)
}

/// Runs a script in a namespace; returns what it prints.
#[track_caller]
fn python(space: &Space, script: &str, words: &[&str]) -> String {
    let mut command = space.command("python3");
    let output = command.args(["-c", script]).args(words).output();
    let output = output.expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn receive(space: &Space, last: u64, out: &Path) -> Child {
    let mut command = space.command("python3");
    command.args(["-c", RECEIVE, &last.to_string()]).arg(out);
    let started = command.stdout(Stdio::null()).spawn();
    started.expect("python3 starts")
}

fn stats(space: &Space) -> Value {
    serde_json::from_str(&python(space, ASK, &[])).expect("/stats is JSON")
}

#[track_caller]
fn stat(space: &Space, pointer: &str) -> u64 {
    let stats = stats(space);
    let count = stats.pointer(pointer).and_then(Value::as_u64);
    count.expect("it is told")
}

fn is_up(space: &Space) -> bool {
    stats(space)["collectors"][0]["up"]
        .as_bool()
        .expect("it is told")
}

/// Datagrams that came where nobody listens: `NoPorts` of /proc/net/snmp, proc(5).
fn refusals(space: &Space) -> u64 {
    let output = space.command("cat").arg("/proc/net/snmp").output();
    let text = String::from_utf8(output.expect("cat starts").stdout).expect("text");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next(), lines.next());
    let mut columns = names
        .expect("proc(5)")
        .split(' ')
        .zip(values.expect("proc(5)").split(' '));
    let (_, count) = columns
        .find(|(name, _)| *name == "NoPorts")
        .expect("proc(5)");
    count.parse().expect("a number")
}
