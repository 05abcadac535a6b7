//! Whether flow files can be written where they are to be.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use forebay_store::free_bytes;

use super::Check;
use super::machine::Machine;
use crate::units::Size;

/// The free space below which `collect` stops settling unless told otherwise.
const FREE_LEAST: u64 = 1 << 30;
/// What a million flows a second fill in a quarter of an hour.
const FREE_ENOUGH: u64 = 20 << 30;

pub(super) fn checks(output: &Path, machine: &Machine) -> Vec<Check> {
    let Some(folder) = nearest_folder(output) else {
        let found = format!("{} has no folder above it", output.display());
        return vec![Check::fail("output", found, "choose another with --output")];
    };
    vec![
        writable(output, &folder),
        free_space(&folder),
        file_system(&folder, machine),
    ]
}

/// The output folder, or the one that it will be made in.
fn nearest_folder(output: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(output).ok()?;
    let existing = absolute.ancestors().find(|path| path.exists())?;
    Some(existing.to_owned())
}

fn writable(output: &Path, folder: &Path) -> Check {
    const NAME: &str = "output";
    if !folder.is_dir() {
        let found = format!("{} is no folder", folder.display());
        return Check::fail(
            NAME,
            found,
            "choose another with --output, or move the file away",
        );
    }
    // Permissions, quotas and read-only mounts are best asked by doing.
    let probe = folder.join(format!(".forebay-doctor-{}", std::process::id()));
    let tried = File::create_new(&probe)
        .map(drop)
        .and_then(|()| fs::remove_file(&probe));
    match tried {
        Ok(()) => Check::ok(NAME, format!("{} can be written", output.display())),
        Err(error) => {
            let advice = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "give this user write access, or choose another with --output"
                }
                _ => "choose another with --output",
            };
            Check::fail(
                NAME,
                format!("{} cannot be written: {error}", folder.display()),
                advice,
            )
        }
    }
}

fn free_space(folder: &Path) -> Check {
    const NAME: &str = "free space";
    let free = match free_bytes(folder) {
        Ok(free) => free,
        Err(error) => return Check::warn(NAME, error.to_string(), "choose another with --output"),
    };
    let gibibytes = format!("{:.1} GiB", free as f64 / (1_u64 << 30) as f64);
    if free < FREE_LEAST {
        let found = format!(
            "{gibibytes}: below {}, flows are not settled",
            Size(FREE_LEAST)
        );
        return Check::fail(
            NAME,
            found,
            "make room, choose another with --output, or lower --min-free",
        );
    }
    if free < FREE_ENOUGH {
        return Check::warn(
            NAME,
            gibibytes,
            "at high rates this lasts minutes: see --retain-size and --retain-age",
        );
    }
    Check::ok(NAME, gibibytes)
}

fn file_system(folder: &Path, machine: &Machine) -> Check {
    const NAME: &str = "file system";
    let mounts = machine.read("proc/self/mounts").unwrap_or_default();
    let Some((point, kind)) = mount_of(folder, &mounts) else {
        return Check::ok(NAME, "not shown here");
    };
    match kind {
        "tmpfs" | "ramfs" => Check::warn(
            NAME,
            format!("{kind} at {point}: flow files take memory, and are gone after a restart"),
            "choose a disk with --output",
        ),
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" => Check::warn(
            NAME,
            format!("{kind} at {point}: segments written over a network wait for it"),
            "choose a local disk with --output, and move settled files",
        ),
        _ => Check::ok(NAME, format!("{kind} at {point}")),
    }
}

/// The mount point and file system that a folder is on: the longest that is above it, of those the last.
fn mount_of<'m>(folder: &Path, mounts: &'m str) -> Option<(&'m str, &'m str)> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_is_the_folders() {
        let mounts =
            "/dev/a / ext4 rw 0 0\ntmpfs /data tmpfs rw 0 0\n/dev/b /data/flows xfs rw 0 0\n";
        let of = |folder: &str| mount_of(Path::new(folder), mounts);
        assert_eq!(of("/home"), Some(("/", "ext4")));
        assert_eq!(of("/data/else"), Some(("/data", "tmpfs")));
        assert_eq!(of("/data/flows/x"), Some(("/data/flows", "xfs")));
        assert_eq!(of("/database"), Some(("/", "ext4")));
    }

    #[test]
    fn a_file_in_the_way_fails() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("flows");
        fs::write(&file, "").expect("a file");
        let check = writable(
            &file,
            &nearest_folder(&file.join("deeper")).expect("a path"),
        );
        assert_eq!(check.status, super::super::Status::Fail);
        let fine = writable(dir.path(), dir.path());
        assert_eq!(fine.status, super::super::Status::Ok, "{fine:?}");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
    }
}
