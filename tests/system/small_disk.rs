//! A small file system in a mount namespace of its own, in which the program of the tests runs again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Completion;

use crate::{Outcome, needs};

/// Where the small file system is, for the program that was run again, and which test's part it does there.
const DISK: &str = "FOREBAY_SMALL_DISK";
const PART: &str = "FOREBAY_SMALL_DISK_PART";
const SCRIPT: &str = "mount -t tmpfs -o size=\"$2\" tmpfs \"$1\" && exec \"$3\"";

/// Runs the part `part` with a file system of `size` at `disk`, and with a variable where it needs one.
pub(crate) fn run(part: &str, size: &str, disk: &Path, with: Option<(&str, &Path)>) -> Outcome {
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(disk)
        .arg(size)
        .arg(std::env::current_exe()?)
        .env(DISK, disk)
        .env(PART, part)
        .envs(with)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok(Completion::Completed);
    }
    let first = said.lines().next().unwrap_or_default();
    if first.starts_with("unshare:") || first.starts_with("mount:") {
        return needs::missing(format!("no small file system can be mounted: {first}"));
    }
    Err(said.into())
}

/// The part, and its small file system, where this is the program that was run again.
pub(crate) fn part() -> Option<(OsString, PathBuf)> {
    let disk = std::env::var_os(DISK)?;
    Some((std::env::var_os(PART)?, disk.into()))
}
