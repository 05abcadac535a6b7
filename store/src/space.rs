//! Free space on the dataset's file system.

use std::path::Path;

use crate::error::StoreError;

/// The bytes that this process may still write to the file system of `path`
/// (without those that are kept for root).
///
/// # Errors
/// The file system cannot be asked.
pub fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let facts = rustix::fs::statvfs(path)
        .map_err(|error| StoreError::io("ask the free space of", path)(error.into()))?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_free_bytes_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().expect("temporary folder");
        assert!(free_bytes(dir.path()).expect("asks") > 0);
        let error = free_bytes(&dir.path().join("none")).expect_err("is not there");
        assert!(error.to_string().contains("none"), "{error}");
    }
}
