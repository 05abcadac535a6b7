//! What a process has used so far: CPU time and memory.

use std::fs;
use std::io;

use thiserror::Error;

/// In what part of a second /proc tells CPU time: `USER_HZ`, 100 on x86-64 and aarch64 (time(7)).
const TICKS_PER_SEC: f64 = 100.0;

/// The fields of /proc/PID/stat that follow the name, which may hold anything, by place (proc_pid_stat(5)).
const USER_TIME: usize = 14 - 3;
const SYSTEM_TIME: usize = 15 - 3;
const START_TIME: usize = 22 - 3;

/// A process that is watched.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pid: u32,
    /// Tells it from another that later gets the same number.
    start_time: u64,
}

/// What it has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time of all its threads, those that have ended too.
    pub cpu_seconds: f64,
    /// The resident memory now.
    pub memory_bytes: u64,
}

/// A process that cannot be watched.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It is not there, or not ours to look at.
    #[error("cannot look at process {pid}: {source}: is it the collector's?")]
    Unreadable {
        /// The process.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel tells it in another form than it does.
    #[error("cannot look at process {pid}: /proc/{pid} is not as proc(5) says")]
    Unknown {
        /// The process.
        pid: u32,
    },
    /// It has ended.
    #[error("the collector (process {pid}) has ended")]
    Ended {
        /// The process.
        pid: u32,
    },
}

impl Process {
    /// Watches a process from now on.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub fn new(pid: u32) -> Result<Self, ProcessError> {
        let stat = read(pid, "stat")?;
        let start_time = field(&stat, START_TIME).ok_or(ProcessError::Unknown { pid })?;
        Ok(Self { pid, start_time })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has used so far.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn usage(&self) -> Result<Usage, ProcessError> {
        let pid = self.pid;
        let ended = |_| ProcessError::Ended { pid };
        let stat = read(pid, "stat").map_err(ended)?;
        let status = read(pid, "status").map_err(ended)?;
        let unknown = ProcessError::Unknown { pid };
        let start_time = field(&stat, START_TIME);
        // A process that nobody has waited for has no memory any more.
        if start_time != Some(self.start_time) || stat.contains(") Z ") {
            return Err(ProcessError::Ended { pid });
        }
        let times = [USER_TIME, SYSTEM_TIME].map(|place| field(&stat, place));
        let ([Some(user), Some(system)], Some(memory_kb)) = (times, resident_kb(&status)) else {
            return Err(unknown);
        };
        Ok(Usage {
            cpu_seconds: (user + system) as f64 / TICKS_PER_SEC,
            memory_bytes: memory_kb * 1024,
        })
    }
}

fn read(pid: u32, name: &str) -> Result<String, ProcessError> {
    // A name may hold bytes that are no UTF-8.
    let bytes = fs::read(format!("/proc/{pid}/{name}"));
    let bytes = bytes.map_err(|source| ProcessError::Unreadable { pid, source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A field of /proc/PID/stat, counted from the one after the name.
fn field(stat: &str, place: usize) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(place)?.parse().ok()
}

fn resident_kb(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) S) 1 (x) R 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 4711 9 9";
        assert_eq!(field(stat, USER_TIME), Some(250));
        assert_eq!(field(stat, SYSTEM_TIME), Some(50));
        assert_eq!(field(stat, START_TIME), Some(4711));
        assert_eq!(field("7", START_TIME), None);
        assert_eq!(resident_kb("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2048));
    }

    #[test]
    fn what_this_process_uses_grows() {
        let process = Process::new(std::process::id()).expect("it is there");
        let before = process.usage().expect("it runs");
        let memory = black_box(vec![1_u8; 64 << 20]);
        let mut after = process.usage().expect("it runs");
        assert!(
            after.memory_bytes >= before.memory_bytes + (32 << 20),
            "{after:?}"
        );
        while after.cpu_seconds <= before.cpu_seconds {
            black_box(memory.iter().map(|byte| u64::from(*byte)).sum::<u64>());
            after = process.usage().expect("it runs");
        }
    }

    #[test]
    fn an_end_is_told() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat starts");
        let process = Process::new(child.id()).expect("it is there");
        assert!(process.usage().is_ok());
        child.kill().expect("killed");
        child.wait().expect("ended");
        let error = process.usage().expect_err("it has ended").to_string();
        assert!(error.contains("has ended"), "{error}");
        assert!(Process::new(child.id()).is_err());
    }
}
