//! A file that appears whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::{Builder, NamedTempFile};

/// What the system's mask leaves of it.
const PERMISSIONS: u32 = 0o666;

/// A file in the making, under a hidden name. Where it is dropped before it is finished, nothing of it is left, and what
/// stood under its name is still there.
pub(crate) struct WholeFile {
    file: NamedTempFile,
    target: PathBuf,
}

impl WholeFile {
    pub(crate) fn create(target: &Path) -> Result<Self> {
        if fs::metadata(target).is_ok_and(|metadata| !metadata.is_file()) {
            bail!(
                "{} is there and is no file: choose another name",
                target.display()
            );
        }
        let mut prefix = OsString::from(".");
        prefix.push(target.file_name().unwrap_or_default());
        prefix.push(".");
        let mut refused = None;
        let make = |path: &Path| {
            let mut options = File::options();
            let options = options.read(true).write(true).create_new(true);
            let made = options.mode(PERMISSIONS).open(path);
            refused = made.as_ref().err().and_then(io::Error::raw_os_error);
            made
        };
        let mut builder = Builder::new();
        let made = builder.prefix(&prefix).suffix(".tmp");
        let made = made.make_in(folder(target), make);
        // Its own error would tell the hidden name, which nobody has asked for.
        let file = made
            .map_err(|error| refused.map_or(error, io::Error::from_raw_os_error))
            .with_context(|| format!("cannot write {}", target.display()))?;
        let target = target.to_owned();
        Ok(Self { file, target })
    }

    /// To write to.
    pub(crate) fn file(&self) -> Result<File> {
        let file = self.file.as_file().try_clone();
        file.with_context(|| format!("cannot write {}", self.target.display()))
    }

    /// Gives it its name, on disk.
    pub(crate) fn finish(self) -> Result<()> {
        let target = self.target;
        let what = || format!("cannot write {}", target.display());
        self.file.as_file().sync_all().with_context(what)?;
        let named = self.file.persist(&target);
        named.map_err(|error| error.error).with_context(what)?;
        let folder = File::open(folder(&target)).with_context(what)?;
        folder.sync_all().with_context(what)
    }
}

/// The folder that a path without one is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("lists");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries.map(|entry| name(entry.expect("lists"))).collect()
    }

    #[test]
    fn it_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("a.csv");
        fs::write(&target, "old").expect("writes");
        let dropped = WholeFile::create(&target).expect("begins");
        assert_eq!(names(folder.path()).len(), 2);
        drop(dropped);
        assert_eq!(names(folder.path()), ["a.csv"]);

        let whole = WholeFile::create(&target).expect("begins");
        whole
            .file()
            .expect("its file")
            .write_all(b"new")
            .expect("writes");
        assert_eq!(fs::read(&target).expect("reads"), b"old");
        whole.finish().expect("ends");
        assert_eq!(fs::read(&target).expect("reads"), b"new");
        assert_eq!(names(folder.path()), ["a.csv"]);
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_told_as_it_was_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("nowhere/a.csv");
        let error = WholeFile::create(&target).err().expect("no such folder");
        assert_eq!(
            format!("{error:#}"),
            format!(
                "cannot write {}: No such file or directory (os error 2)",
                target.display()
            )
        );
        // The folder goes while the file is written.
        let below = folder.path().join("below");
        fs::create_dir(&below).expect("makes");
        let target = below.join("a.csv");
        let whole = WholeFile::create(&target).expect("begins");
        fs::remove_dir_all(&below).expect("removes");
        let error = whole.finish().expect_err("it has gone");
        assert_eq!(
            format!("{error:#}"),
            format!(
                "cannot write {}: No such file or directory (os error 2)",
                target.display()
            )
        );
    }

    #[test]
    fn the_mask_says_who_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let [whole, plain] = ["whole", "plain"].map(|name| folder.path().join(name));
        let file = WholeFile::create(&whole).expect("begins");
        file.finish().expect("ends");
        fs::write(&plain, "").expect("writes");
        let permissions = |path| fs::metadata(path).expect("is there").permissions();
        assert_eq!(permissions(whole), permissions(plain));
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = WholeFile::create(folder.path()).err().expect("a folder");
        assert!(
            error
                .to_string()
                .ends_with("is no file: choose another name")
        );
    }
}
