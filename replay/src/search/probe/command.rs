//! Any shell command that prints the count of records stored so far.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Count, Counted, ProbeError, Reading};
use crate::search::now;

/// How much of what a command prints is kept; a count is shorter.
const KEPT: usize = 256;

/// How often it is looked whether the command has ended.
const TURN: Duration = Duration::from_millis(5);

pub(super) fn read(
    command: &str,
    limit: Duration,
    stop: &AtomicBool,
) -> Result<Reading, ProbeError> {
    let until = now() + limit;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: all of a pipeline can be killed, and Ctrl-C does not reach it.
        .process_group(0);
    let child = shell.spawn().map_err(|source| ProbeError::Start {
        command: command.to_owned(),
        source,
    })?;
    let mut group = Group {
        shell: child,
        is_over: false,
    };
    let printed = collect(group.shell.stdout.take());
    let told = collect(group.shell.stderr.take());
    let hangs = || ProbeError::Hangs {
        command: command.to_owned(),
        limit,
    };
    let Some(status) = group.wait(until, stop)? else {
        return Err(hangs());
    };
    // The pipes stay open as long as anything that the command started.
    let left = until.saturating_duration_since(now()).max(TURN);
    let (Ok(printed), Ok(told)) = (printed.recv_timeout(left), told.recv_timeout(left)) else {
        return Err(hangs());
    };
    group.is_over = true;
    if !status.success() {
        return Err(ProbeError::Failed {
            command: command.to_owned(),
            status,
            told: told
                .lines()
                .next()
                .map_or_else(String::new, |line| format!(": {}", line.trim())),
        });
    }
    let Ok(count) = printed.trim().parse() else {
        return Err(ProbeError::NoCount {
            command: command.to_owned(),
            printed: printed.trim().escape_default().to_string(),
        });
    };
    Ok(Reading {
        counts: vec![Count {
            of: Counted::StoredRecords,
            count,
        }],
        waiting_bytes: None,
    })
}

/// A command with everything that it starts; killed when dropped, unless it is over.
struct Group {
    shell: Child,
    is_over: bool,
}

impl Group {
    /// Waits until it ends; `None` where it takes too long.
    fn wait(
        &mut self,
        until: Instant,
        stop: &AtomicBool,
    ) -> Result<Option<ExitStatus>, ProbeError> {
        loop {
            // A child that cannot be waited for is as good as one that hangs.
            if let Some(status) = self.shell.try_wait().ok().flatten() {
                return Ok(Some(status));
            }
            if stop.load(Ordering::Relaxed) {
                return Err(ProbeError::Interrupted);
            }
            if now() >= until {
                return Ok(None);
            }
            thread::sleep(TURN);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_over {
            // The group's number is still its own: the shell has not been waited for, or something in it holds a pipe.
            let _gone = kill_process_group(Pid::from_child(&self.shell), Signal::KILL);
            let _waited = self.shell.wait();
        }
    }
}

/// Reads a pipe to its end on a thread of its own, and keeps the beginning.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
        let mut pipe = pipe;
        while let Some(pipe) = &mut pipe {
            match pipe.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    let more = buffer.iter().take(length.min(KEPT - kept.len()));
                    kept.extend(more);
                }
            }
        }
        let _nobody_waits = sender.send(String::from_utf8_lossy(&kept).into_owned());
    };
    // Without a thread nothing is ever sent, and the command counts as one that hangs.
    let _spawned = thread::Builder::new().spawn(run);
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn count(command: &str) -> Result<u64, String> {
        let reading = read(command, LONG, &AtomicBool::new(false));
        let reading = reading.map_err(|error| error.to_string())?;
        Ok(reading.counts[0].count)
    }

    #[test]
    fn what_is_printed_is_the_count() {
        assert_eq!(count("echo 42"), Ok(42));
        assert_eq!(count("echo; printf ' 17 \n\n' | cat"), Ok(17));
    }

    #[test]
    fn what_is_no_count_is_told() {
        for (command, what) in [
            ("true", "printed \"\""),
            ("echo Flows: 7", "printed \"Flows: 7\""),
            ("echo -7", "printed \"-7\""),
            ("echo 1.5", "one whole number"),
            ("echo 99999999999999999999", "one whole number"),
            ("head -c 1000000 /dev/zero | tr '\\0' 7", "one whole number"),
        ] {
            let error = count(command).expect_err(command);
            assert!(error.contains(what) && error.contains(command), "{error}");
            assert!(error.len() < 500, "{error}");
        }
    }

    #[test]
    fn a_failure_is_told_with_what_the_command_said() {
        let error = count("echo 7; echo no such table >&2; exit 3").expect_err("it fails");
        assert!(
            error.contains("exit status: 3") && error.contains(": no such table"),
            "{error}"
        );
        let error = count("kill -9 $$").expect_err("it is killed");
        assert!(error.contains("signal: 9"), "{error}");
    }

    #[test]
    fn what_hangs_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        for command in [
            format!("sleep 1000 & echo $! > {0}; wait", file.display()),
            // The shell ends, what it started does not, and holds the pipe.
            format!("sleep 1000 & echo $! > {0}", file.display()),
        ] {
            let limit = Duration::from_millis(300);
            let error = read(&command, limit, &AtomicBool::new(false)).expect_err("it hangs");
            assert!(matches!(error, ProbeError::Hangs { .. }), "{error}");
            let pid = std::fs::read_to_string(&file).expect("it had started");
            let stat = format!("/proc/{}/stat", pid.trim());
            // Killed, if perhaps not yet waited for by whoever inherited it.
            let is_gone =
                || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
            while !is_gone() {
                thread::sleep(TURN);
            }
        }
    }

    #[test]
    fn an_interrupt_does_not_wait() {
        let error = read("sleep 1000", LONG, &AtomicBool::new(true)).expect_err("interrupted");
        assert!(matches!(error, ProbeError::Interrupted), "{error}");
    }
}
