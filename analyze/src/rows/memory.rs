//! How much memory there is, and how much of it is in use.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much memory an analysis may use for rows; beyond it they go to temporary files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit(pub usize);

impl Default for MemoryLimit {
    /// Half of what is available; 1 GiB where the system does not tell.
    fn default() -> Self {
        Self(available_bytes().map_or(1 << 30, |bytes| {
            usize::try_from(bytes / 2).unwrap_or(usize::MAX)
        }))
    }
}

/// The memory that is available to this process: the system's, within what its control groups leave.
pub fn available_bytes() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok();
    let system = system.and_then(|text| meminfo_available(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let left = groups
        .lines()
        .filter_map(|line| group_left(line, Path::new("/sys/fs/cgroup")));
    left.chain(system).min()
}

fn meminfo_available(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What a line of `/proc/self/cgroup`, `<id>:<controllers>:<path>`, leaves; the groups around count too.
fn group_left(line: &str, root: &Path) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (root, limit, used) = match controllers {
        "" => (root.to_owned(), "memory.max", "memory.current"),
        "memory" => (
            root.join("memory"),
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        ),
        _ => return None,
    };
    let own = root.join(path.trim_start_matches('/'));
    let groups = own.ancestors().take_while(|group| group.starts_with(&root));
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let left = groups.filter_map(|group| {
        // "max" is no limit.
        let limit = number(&group.join(limit))?;
        Some(limit.saturating_sub(number(&group.join(used)).unwrap_or(0)))
    });
    left.min()
}

/// Counts the memory that rows take.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(limit: MemoryLimit) -> Self {
        Self {
            limit: limit.0,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most that was in use.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Counts `bytes` more; whether that is more than there may be.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(used, Ordering::Relaxed);
        used > self.limit
    }

    pub(crate) fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read() {
        let text = "MemTotal:       24689764 kB\nMemAvailable:   23143892 kB\n";
        assert_eq!(meminfo_available(text), Some(23_143_892 << 10));
        assert_eq!(meminfo_available("MemFree: 1 kB"), None);
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn a_control_group_and_those_around_it_limit() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).expect("makes");
        let write = |path: &Path, text: &str| fs::write(path, text).expect("writes");
        write(&inner.join("memory.max"), "max\n");
        write(&dir.path().join("a/memory.max"), "1000\n");
        write(&dir.path().join("a/memory.current"), "400\n");
        assert_eq!(group_left("0::/a/b", dir.path()), Some(600));
        assert_eq!(group_left("0::/", dir.path()), None);
        assert_eq!(group_left("3:cpu:/a/b", dir.path()), None);
        fs::create_dir_all(dir.path().join("memory")).expect("makes");
        write(&dir.path().join("memory/memory.limit_in_bytes"), "77\n");
        assert_eq!(group_left("5:memory:/a/b", dir.path()), Some(77));
    }

    #[test]
    fn use_is_counted() {
        let memory = Memory::new(MemoryLimit(100));
        assert!(!memory.take(60) && memory.take(60));
        memory.give(60);
        assert_eq!(
            (memory.used(), memory.peak(), memory.limit()),
            (60, 120, 100)
        );
    }
}
