//! What a measurement depends on beside what it measures.

use std::fs;

use serde::Serialize;

use crate::clock;
use crate::time::Rfc3339;

/// When, where and by what a search was made.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Conditions {
    pub(super) started: String,
    /// How to repeat it.
    pub(super) command: Vec<String>,
    pub(super) version: &'static str,
    pub(super) cores: usize,
    pub(super) processor: Option<String>,
    pub(super) kernel: Option<String>,
}

impl Conditions {
    /// As they are now.
    pub(super) fn now() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let named = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let processor = named.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
        Self {
            started: Rfc3339::from_s(clock::unix_us() / 1_000_000).to_string(),
            command: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            version: env!("CARGO_PKG_VERSION"),
            // All of them, whichever this process is pinned to.
            cores: processors
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            processor,
            kernel: kernel.map(|kernel| kernel.trim().to_owned()),
        }
    }

    /// The command as a shell takes it.
    pub(super) fn shell(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_given_to_a_shell() {
        let mut conditions = Conditions::now();
        conditions.command = ["forebay", "--probe", "command:echo 'a b' | wc -w", ""]
            .map(str::to_owned)
            .into();
        let echoed = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\n' {}", conditions.shell())])
            .output()
            .expect("sh starts");
        let lines = String::from_utf8(echoed.stdout).expect("UTF-8");
        let lines: Vec<&str> = lines.trim_end_matches('\n').split('\n').collect();
        assert_eq!(lines[..3], conditions.command[..3]);
    }
}
