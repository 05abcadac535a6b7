//! The collector as a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use forebay_replay::generate::Truth;
use serde_json::Value;

use crate::support::{signal, wait_for};

/// A collector at work. One that is dropped is killed.
pub(crate) struct Collector {
    child: Child,
    http: SocketAddr,
    listen: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// How a collector ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Collector {
    /// Starts one that writes to `output`, settles every second and listens on loopback; with more flags.
    #[track_caller]
    pub(crate) fn start(output: &Path, flags: &[&str]) -> Self {
        Self::start_at(output, free_udp_address(own_loopback()), flags)
    }

    /// As [`start`](Self::start), where an earlier one listened, or where exporters expect it.
    #[track_caller]
    pub(crate) fn start_at(output: &Path, listen: SocketAddr, flags: &[&str]) -> Self {
        let mut started = Self::spawn(output, listen, flags);
        let is_ready = started.is_ready();
        assert!(is_ready, "the collector does not start: {}", started.log());
        started
    }

    /// Starts a router instead, which has the same ways to be asked and ended.
    #[track_caller]
    pub(crate) fn start_router(listen: SocketAddr, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.arg("route").args(flags);
        let mut started = Self::spawn_command(command, listen);
        let is_ready = started.is_ready();
        assert!(is_ready, "the router does not start: {}", started.log());
        started
    }

    fn spawn(output: &Path, listen: SocketAddr, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command
            .arg("collect")
            .args(defaults(flags))
            .arg("--output")
            .arg(output)
            .args(flags);
        Self::spawn_command(command, listen)
    }

    fn spawn_command(mut command: Command, listen: SocketAddr) -> Self {
        let http = free_tcp_address(own_loopback());
        command
            .args(["--listen", &listen.to_string()])
            .args(["--http", &http.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the collector starts");
        let stderr = child.stderr.take().expect("it is piped");
        let log = Arc::new(Mutex::new(String::new()));
        let told = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut told = told.lock().expect("no reader panics");
                told.push_str(&line);
                told.push('\n');
            }
        });
        Self {
            child,
            http,
            listen,
            log,
            reader: Some(reader),
        }
    }

    /// Waits until it answers, or has ended.
    fn is_ready(&mut self) -> bool {
        wait_for("the collector to start", || {
            if self.child.try_wait().expect("its state is known").is_some() {
                self.join_reader();
                return Some(false);
            }
            get(self.http, "/healthz").map(|answer| answer.contains("ok"))
        })
    }

    /// Where to send to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its status is.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// What `/stats` says.
    pub(crate) fn stats(&self) -> Value {
        let body = get(self.http, "/stats").expect("/stats answers");
        serde_json::from_str(&body).expect("/stats is JSON")
    }

    /// A number in `/stats`, by its JSON pointer; 0 where there is none.
    pub(crate) fn stat(&self, pointer: &str) -> u64 {
        let stats = self.stats();
        stats.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Waits until a number in `/stats` is at least so much.
    #[track_caller]
    pub(crate) fn wait_for_stat(&self, pointer: &str, least: u64) {
        wait_for(&format!("{pointer} to reach {least}"), || {
            (self.stat(pointer) >= least).then_some(())
        });
    }

    /// Waits until no segment is left of an earlier run.
    #[track_caller]
    pub(crate) fn wait_until_settled(&self) {
        wait_for("the segments to be settled", || {
            (self.stats()["files"]["segments_waiting"] == 0).then_some(())
        });
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Ends it as a service manager does.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        self.signal("TERM");
        let status = wait_for("the collector to end", || {
            self.child.try_wait().expect("its state is known")
        });
        self.join_reader();
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        Ended { status, log }
    }

    /// Ends it without a chance to do anything: SIGKILL.
    #[track_caller]
    pub(crate) fn kill(mut self) -> String {
        assert!(
            self.child.try_wait().expect("its state is known").is_none(),
            "ended by itself: {}",
            self.log()
        );
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it has ended");
        self.join_reader();
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        log
    }

    fn join_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log is read");
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What a test that does not say otherwise is content with.
fn defaults(flags: &[&str]) -> impl Iterator<Item = &'static str> {
    let defaults = ["--rotate=1s", "--min-free=64KiB", "--grace=60s"];
    let is_told = |default: &str| {
        let name = default.split('=').next();
        flags.iter().any(|flag| flag.split('=').next() == name)
    };
    defaults
        .into_iter()
        .filter(move |default| !is_told(default))
}

/// Runs `collect` until it ends by itself.
pub(crate) fn collect(output: &Path, flags: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.arg("collect").arg("--output").arg(output);
    command
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("the collector starts")
}

/// Collects all of captures.
#[track_caller]
pub(crate) fn collect_whole(output: &Path, flags: &[&str]) {
    let collected = collect(output, flags);
    let log = String::from_utf8_lossy(&collected.stderr);
    assert!(collected.status.success(), "{log}");
}

/// Generates a capture of so many flows and returns its path; beside it stands its truth.
pub(crate) fn generate(folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["generate", "--output"])
        .arg(&path)
        .args(flags)
        .output()
        .expect("the generator starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    path
}

/// What is true of a capture that was generated.
pub(crate) fn truth_of(capture: &Path) -> Truth {
    let told = format!("{}.truth.json", capture.display());
    let truth = fs::read(&told).expect(&told);
    serde_json::from_slice(&truth).expect(&told)
}

/// An address of loopback that nobody else asks for: tests run side by side, and a port that is free now may not be a
/// moment later.
pub(crate) fn own_loopback() -> IpAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    let host = TAKEN.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::new(127, 128 | high, low, host).into()
}

/// A UDP address with a port that is free.
pub(crate) fn free_udp_address(address: IpAddr) -> SocketAddr {
    let socket = UdpSocket::bind((address, 0)).expect("a port is free");
    socket.local_addr().expect("it is bound")
}

fn free_tcp_address(address: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// The body that a path answers with; `None` where nobody answers.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}
