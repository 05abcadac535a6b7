//! What the kernel says about this machine, in `/proc` and `/sys`.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::Check;
use crate::progress::thousands;
use crate::units::Size;

/// The receive buffer that `collect` asks for unless told otherwise.
const RECEIVE_BUFFER: u64 = 64 << 20;
/// Packets that a core may have waiting before the protocols see them: a burst of 10 ms at a million a second.
const BACKLOG: u64 = 10_000;
/// Files that a collector of a few shards has open at a time, with room for `/stats` and settling.
const OPEN_FILES: u64 = 1_024;

// linux/capability.h
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_NET_RAW: u64 = 1 << 13;

/// A machine: the root of its file system.
pub(super) struct Machine {
    root: PathBuf,
}

impl Machine {
    pub(super) fn this() -> Self {
        Self {
            root: PathBuf::from("/"),
        }
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let capabilities = self.capabilities();
        vec![
            self.receive_buffer(capabilities),
            self.receive_drops(),
            self.backlog(),
            self.reverse_path_filter(),
            privileges(capabilities),
            cores(thread::available_parallelism().map_or(1, usize::from)),
            self.open_files(),
            self.ipv6(),
            self.clock_source(),
        ]
    }

    pub(super) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.trim().parse().ok()
    }

    /// The effective capabilities, as bits.
    fn capabilities(&self) -> u64 {
        let status = self.read("proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
            .unwrap_or(0)
    }

    fn receive_buffer(&self, capabilities: u64) -> Check {
        const NAME: &str = "receive buffer";
        let Some(most) = self.number("proc/sys/net/core/rmem_max") else {
            return Check::warn(
                NAME,
                "net.core.rmem_max cannot be read",
                "is /proc mounted?",
            );
        };
        let (wanted, granted) = (Size(RECEIVE_BUFFER), Size(most));
        if capabilities & CAP_NET_ADMIN != 0 {
            return Check::ok(
                NAME,
                format!("CAP_NET_ADMIN allows any (net.core.rmem_max is {granted})"),
            );
        }
        if most >= RECEIVE_BUFFER {
            return Check::ok(NAME, format!("net.core.rmem_max allows {granted}"));
        }
        Check::warn(
            NAME,
            format!("net.core.rmem_max allows {granted} of {wanted}: longer bursts are lost"),
            format!(
                "sudo sysctl -w net.core.rmem_max={RECEIVE_BUFFER}   (to keep it: put the setting into /etc/sysctl.d/)"
            ),
        )
    }

    /// What any program of this machine has lost in full receive buffers.
    fn receive_drops(&self) -> Check {
        const NAME: &str = "drops so far";
        let snmp = self.read("proc/net/snmp").unwrap_or_default();
        let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp:"));
        let (names, values) = (
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        );
        let mut counts = names.split_whitespace().zip(values.split_whitespace());
        let full = counts.find(|(name, _)| *name == "RcvbufErrors");
        match full.and_then(|(_, count)| count.parse::<u64>().ok()) {
            Some(0) => Check::ok(
                NAME,
                "no datagram was dropped in a full receive buffer since the machine started",
            ),
            Some(count) => Check::warn(
                NAME,
                format!(
                    "{} datagrams were dropped in full receive buffers since the machine started",
                    thousands(count)
                ),
                "by which program, `ss -ulmnp` tells (the number after d, at the end of skmem); if by a collector: raise net.core.rmem_max, or give it more shards",
            ),
            None => Check::warn(NAME, "the kernel does not say", "is /proc mounted?"),
        }
    }

    fn backlog(&self) -> Check {
        const NAME: &str = "backlog";
        match self.number("proc/sys/net/core/netdev_max_backlog") {
            Some(most) if most >= BACKLOG => {
                Check::ok(NAME, format!("net.core.netdev_max_backlog is {most}"))
            }
            Some(most) => Check::warn(
                NAME,
                format!(
                    "net.core.netdev_max_backlog is {most}: more packets at a time are dropped before any counter of ours"
                ),
                format!("sudo sysctl -w net.core.netdev_max_backlog={BACKLOG}"),
            ),
            // Not shown in a network namespace other than the first.
            None => Check::ok(
                NAME,
                "net.core.netdev_max_backlog is not shown here (a container?)",
            ),
        }
    }

    fn reverse_path_filter(&self) -> Check {
        const NAME: &str = "rp_filter";
        let folder = self.root.join("proc/sys/net/ipv4/conf");
        let setting =
            |interface: &str| self.number(&format!("proc/sys/net/ipv4/conf/{interface}/rp_filter"));
        // The kernel takes the larger of `all` and the interface's own.
        let all = setting("all").unwrap_or(0);
        let mut strict: Vec<String> = interfaces(&folder)
            .into_iter()
            .filter(|interface| !matches!(interface.as_str(), "all" | "default" | "lo"))
            .filter(|interface| setting(interface).unwrap_or(0).max(all) == 1)
            .collect();
        strict.sort();
        if strict.is_empty() {
            return Check::ok(
                NAME,
                "datagrams are taken whichever way their sender is routed",
            );
        }
        let commands: Vec<String> = strict
            .iter()
            .map(|interface| format!("net.ipv4.conf.{interface}.rp_filter=2"))
            .collect();
        Check::warn(
            NAME,
            format!(
                "{}: datagrams from senders that are routed another way are dropped unseen",
                strict.join(", ")
            ),
            format!("if exporters are: sudo sysctl -w {}", commands.join(" ")),
        )
    }

    fn open_files(&self) -> Check {
        const NAME: &str = "open files";
        let limits = self.read("proc/self/limits").unwrap_or_default();
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let soft = line
            .and_then(|line| line.split_whitespace().next())
            .unwrap_or("unknown");
        match soft.parse::<u64>() {
            Ok(most) if most < OPEN_FILES => Check::warn(
                NAME,
                format!("at most {most}"),
                format!("ulimit -n {OPEN_FILES}, or LimitNOFILE={OPEN_FILES} in a systemd unit"),
            ),
            _ => Check::ok(NAME, format!("at most {soft}")),
        }
    }

    fn ipv6(&self) -> Check {
        const NAME: &str = "IPv6";
        match self.read("proc/net/if_inet6") {
            Some(_) => Check::ok(NAME, "the kernel has it"),
            None => Check::ok(
                NAME,
                "the kernel has none: exporters are heard over IPv4 only",
            ),
        }
    }

    fn clock_source(&self) -> Check {
        const NAME: &str = "clock";
        let path = "sys/devices/system/clocksource/clocksource0/current_clocksource";
        let source = self.read(path).unwrap_or_default();
        match source.trim() {
            "" => Check::ok(NAME, "its source is not shown here"),
            slow @ ("hpet" | "acpi_pm" | "jiffies") => Check::warn(
                NAME,
                format!("{slow}: every datagram's time of receipt takes a slow system call"),
                "see /sys/devices/system/clocksource/clocksource0/available_clocksource for tsc, and `dmesg | grep -i tsc`",
            ),
            fast => Check::ok(NAME, fast),
        }
    }
}

fn interfaces(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn privileges(capabilities: u64) -> Check {
    const NAME: &str = "privileges";
    let named: Vec<&str> = [
        (CAP_NET_ADMIN, "CAP_NET_ADMIN"),
        (CAP_NET_RAW, "CAP_NET_RAW"),
        (CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"),
    ]
    .into_iter()
    .filter_map(|(bit, name)| (capabilities & bit != 0).then_some(name))
    .collect();
    if named.is_empty() {
        // Nothing that collecting needs.
        return Check::ok(
            NAME,
            "none; they are needed only for ports below 1024 and buffers beyond net.core.rmem_max",
        );
    }
    Check::ok(NAME, named.join(", "))
}

fn cores(count: usize) -> Check {
    const NAME: &str = "cores";
    if count == 1 {
        return Check::warn(
            NAME,
            "1: settling flow files takes time from receiving",
            "at high rates give the machine a second core, or use --format arrow and settle elsewhere",
        );
    }
    Check::ok(NAME, count.to_string())
}

#[cfg(test)]
mod tests;
