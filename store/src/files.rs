//! Files that appear under their final name only when they are whole and on disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// Who wrote a flow file, for its metadata.
pub(crate) fn created_by() -> String {
    format!("forebay version {}", env!("CARGO_PKG_VERSION"))
}

/// Where a final file stands while it is written: hidden, so that no reader takes it.
pub(crate) fn temporary_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.tmp"))
}

/// Writes the file at `target` anew, by `write`: its length.
///
/// # Errors
/// What `write` says, or the system. What stood at `target` is still there.
pub(crate) fn replace(
    target: &Path,
    write: impl FnOnce(File) -> Result<File, StoreError>,
) -> Result<u64, StoreError> {
    make_parent(target)?;
    let temporary = temporary_path(target);
    let result = File::create(&temporary)
        .map_err(StoreError::io("write", target))
        .and_then(write)
        .and_then(|file| commit(&file, &temporary, target));
    if result.is_err() {
        // Space may be what is missing.
        let _stays = fs::remove_file(&temporary);
    }
    result
}

/// Gives a whole file its final name, on disk: the file's length.
pub(crate) fn commit(file: &File, temporary: &Path, target: &Path) -> Result<u64, StoreError> {
    file.sync_all().map_err(StoreError::io("sync", target))?;
    let bytes = file
        .metadata()
        .map_err(StoreError::io("look at", target))?
        .len();
    fs::rename(temporary, target).map_err(StoreError::io("write", target))?;
    let parent = target.parent().unwrap_or(target);
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::io("sync", parent))?;
    Ok(bytes)
}

pub(crate) fn make_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(StoreError::io("make", parent))
}

pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(StoreError::io("remove", path))
}

/// Removes unfinished files in `folder` and below.
pub(crate) fn remove_temporaries(folder: &Path) -> Result<(), StoreError> {
    for path in list(folder)? {
        if path.is_dir() {
            remove_temporaries(&path)?;
        } else if is_temporary(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".tmp")
}

/// What stands in a folder, in order; nothing where there is no such folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(StoreError::io("list", folder))?;
    let mut paths = entries
        .map(|entry| Ok(entry.map_err(StoreError::io("list", folder))?.path()))
        .collect::<Result<Vec<_>, StoreError>>()?;
    paths.sort();
    Ok(paths)
}
