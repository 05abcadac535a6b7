//! What every test needs: programs, waiting, files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// How long a condition may take: far longer than it does on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TURN: Duration = Duration::from_millis(50);

/// Where a program stands, in the folders where only root looks too.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    try_to_wait(look).unwrap_or_else(|| panic!("waited in vain for {what}"))
}

/// As [`wait_for`]; `None` where that is in vain.
pub(crate) fn try_to_wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..PATIENCE.as_millis() / TURN.as_millis() {
        let found = look();
        if found.is_some() {
            return found;
        }
        thread::sleep(TURN);
    }
    None
}

/// Sends a signal by name to a process that has not been waited for.
#[track_caller]
pub(crate) fn signal(process: &Child, name: &str) {
    let kill = format!("kill -{name} {}", process.id());
    let sent = Command::new("sh").args(["-c", &kill]).status();
    assert!(sent.expect("sh starts").success(), "{kill}");
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether the path is a flow file's: not the ledger's, and not one that is being written.
pub(crate) fn is_flow_file(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/family=") && !name(path).starts_with('.')
}

/// Whether the path is a segment's that is not settled.
pub(crate) fn is_segment(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    folder.ends_with("staging") && path.extension().is_some_and(|is| is == "arrows")
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
