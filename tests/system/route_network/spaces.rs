//! Network namespaces, each held by a process that ends with the test, and what runs in them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::parts::{Arrived, PART, Part, READY, read};
use crate::support::{signal, wait_for};

/// The name of a link in the namespaces around the router.
pub(crate) const FAR: &str = "far";
/// The router's hardware address, on every link.
pub(super) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 254];
pub(super) const NARROW_MTU: usize = 1300;
const INJECT: &str = "import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((sys.argv[1], 0))
for line in sys.stdin:
    link.send(bytes.fromhex(line))
";

/// Why no namespaces can be had.
pub(crate) fn missing() -> Option<String> {
    let output = Command::new("unshare").args(["--net", "true"]).output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let first = said.lines().next().unwrap_or_default();
            Some(format!("no network namespaces: {first}"))
        }
        Err(error) => Some(format!("no network namespaces: unshare: {error}")),
    }
}

/// A namespace. It is gone with this value, and in any case after ten minutes.
pub(crate) struct Space {
    holder: Child,
}

impl Space {
    pub(crate) fn new() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let space = Self { holder };
        let own = fs::read_link("/proc/self/ns/net").expect("proc is mounted");
        wait_for("a namespace", || {
            let its = fs::read_link(space.path()).ok()?;
            (its != own).then_some(())
        });
        space.ip("link set lo up");
        space
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// A program that is to run in the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Runs `ip` with these words.
    #[track_caller]
    pub(crate) fn ip(&self, words: &str) {
        succeed(self.command("ip").args(words.split(' ')), words);
    }

    /// Sends what is nobody's by the router.
    pub(super) fn route_by(&self, router: &[IpAddr]) {
        for address in router {
            let family = if address.is_ipv4() { "-4" } else { "-6" };
            self.ip(&format!("{family} route add default via {address}"));
        }
    }

    /// Sends frames, in hexadecimal digits, each on a line.
    pub(super) fn inject(&self, frames: &str) {
        let mut python = self
            .command("python3")
            .args(["-c", INJECT, FAR])
            .stdin(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut input = python.stdin.take().expect("it is piped");
        input.write_all(frames.as_bytes()).expect("it reads");
        drop(input);
        assert!(python.wait().expect("it ends").success());
    }

    /// Starts a part, and waits until it is ready.
    pub(super) fn part(&self, part: &Part, words: &[String]) -> Running {
        let program = std::env::current_exe().expect("it runs");
        let all = std::iter::once(format!("{part:?}")).chain(words.iter().cloned());
        let mut child = self
            .command(&program.to_string_lossy())
            .env(PART, all.collect::<Vec<_>>().join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        if *part == Part::Collector {
            let mut line = String::new();
            output.read_line(&mut line).expect("it tells");
            assert_eq!(line.trim_end(), READY);
        }
        let told = thread::spawn(move || {
            let mut told = String::new();
            output.read_to_string(&mut told).expect("it tells");
            told
        });
        Running {
            child,
            told: Some(told),
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _gone = self.holder.kill();
        let _status = self.holder.wait();
    }
}

/// Joins two namespaces by a link, with addresses at both ends.
pub(crate) fn join(
    near: &Space,
    name: &str,
    near_ends: &[IpAddr],
    far: &Space,
    far_ends: &[IpAddr],
) {
    let words = format!(
        "link add name {name} netns {} type veth peer name {FAR} netns {}",
        near.holder.id(),
        far.holder.id()
    );
    succeed(Command::new("ip").args(words.split(' ')), &words);
    let [a, b, c, d, e, f] = ROUTER_MAC;
    near.ip(&format!(
        "link set {name} address {a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}"
    ));
    for (space, name, ends) in [(near, name, near_ends), (far, FAR, far_ends)] {
        for address in ends {
            let length = if address.is_ipv4() { "24" } else { "64 nodad" };
            space.ip(&format!("address add {address}/{length} dev {name}"));
        }
        space.ip(&format!("link set {name} up"));
    }
}

/// A part that runs. One that is dropped is killed.
pub(super) struct Running {
    child: Child,
    told: Option<JoinHandle<String>>,
}

impl Running {
    /// Waits until it has ended by itself or, if it receives, for nothing more comes; returns the
    /// datagrams that it tells of.
    pub(super) fn end(mut self) -> Vec<Arrived> {
        drop(self.child.stdin.take());
        let told = self.told.take().expect("it ends once");
        let told = told.join().expect("it is read");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        read(&told)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A program that logs. One that is dropped is killed.
pub(super) struct Logged {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Logged {
    pub(super) fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stderr = child.stderr.take().expect("it is piped");
        let log = Arc::new(Mutex::new(String::new()));
        let told = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut told = told.lock().expect("no reader panics");
                told.push_str(&line);
                told.push('\n');
            }
        });
        Self {
            child,
            log,
            reader: Some(reader),
        }
    }

    fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// The capabilities that its main thread has, of proc(5).
    pub(super) fn capabilities(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        u64::from_str_radix(line.expect("it is told").trim(), 16).expect("a number")
    }

    /// Waits until it has logged this.
    pub(super) fn wait_for(&self, text: &str) {
        wait_for(&format!("{text:?} in the log: {}", self.log()), || {
            self.log().contains(text).then_some(())
        });
    }

    /// Has it end; returns how it did, and what it logged.
    pub(super) fn end(mut self) -> (ExitStatus, String) {
        signal(&self.child, "TERM");
        let status = self.child.wait().expect("it ends");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        (status, self.log())
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

#[track_caller]
fn succeed(command: &mut Command, words: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{words}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}: {said}");
}
