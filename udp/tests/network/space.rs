//! A network namespace for each test: the program runs again in it, and with its end all that
//! was set up is gone.

use std::process::Command;

use libtest_mimic::{Completion, Failed};

/// The test that this process is for.
const TEST: &str = "FOREBAY_NETWORK_TEST";
/// What a process ends with whose test takes more than this kernel has.
const MISSING: i32 = 77;

pub(crate) fn wanted_test() -> Option<String> {
    std::env::var(TEST).ok()
}

/// Why no namespace can be had.
pub(crate) fn missing() -> Option<String> {
    match unshare("ip").args(["link", "set", "lo", "up"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let first = said.lines().next().unwrap_or_default();
            Some(format!("no network namespace: {first}"))
        }
        Err(error) => Some(format!("no network namespace: unshare: {error}")),
    }
}

/// Runs the test in a namespace of its own.
pub(crate) fn run(test: &str) -> Result<Completion, Failed> {
    let output = unshare(std::env::current_exe()?).env(TEST, test).output()?;
    match output.status.code() {
        Some(0) => Ok(Completion::Completed),
        // A kernel is not installed for a test: not even `FOREBAY_NO_SKIP` asks for that.
        Some(MISSING) => {
            let why = String::from_utf8_lossy(&output.stderr);
            Ok(Completion::ignored_with(why.trim().to_owned()))
        }
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// Ends the process of a test that takes more than this kernel has.
pub(crate) fn end_for_want_of(what: &str) -> ! {
    eprintln!("{what}");
    std::process::exit(MISSING)
}

pub(crate) fn set_up() {
    ip("link set lo up");
}

/// Runs `ip` with these words.
#[track_caller]
pub(crate) fn ip(words: &str) -> String {
    program("ip", words)
}

/// Whether `ip` with these words succeeds.
pub(crate) fn try_ip(words: &str) -> bool {
    let output = Command::new("ip").args(words.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs a program that must succeed; returns what it says.
#[track_caller]
pub(crate) fn program(name: &str, words: &str) -> String {
    let output = Command::new(name)
        .args(words.split(' '))
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {words}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn unshare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net"]).arg(program);
    command
}
