//! The files of a spool's folder: `192.0.2.1_2055.0-4.00000017.pcap` is of a collector, of thread 0 of 4, and in order.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::SpoolOptions;

const EXTENSION: &str = "pcap";

/// Why what waits cannot be kept in a folder.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The folder cannot be made or read.
    #[error("cannot use spool folder {}: {source}; choose another with --spool", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another router uses it.
    #[error("spool folder {} is another router's: choose another with --spool", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
}

/// Keeps others from a folder while it lives.
#[derive(Debug)]
pub(crate) struct SpoolLock(#[expect(dead_code, reason = "its end frees the lock")] File);

impl SpoolLock {
    /// Makes the folder if it is not there.
    pub(crate) fn take(folder: &Path) -> Result<Self, SpoolError> {
        let failed = |source| SpoolError::Folder {
            path: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = File::create(folder.join(".lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(SpoolError::Taken {
                path: folder.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// A file that an earlier run left.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leftover {
    pub(crate) collector: SocketAddr,
    /// With this, files are in order for each exporter.
    pub(crate) number: u64,
    /// Which thread's it was, of how many.
    pub(crate) thread: usize,
    pub(crate) threads: usize,
    pub(crate) path: PathBuf,
}

/// What an earlier run left, in order.
pub(crate) fn leftovers(folder: &Path) -> Result<Vec<Leftover>, SpoolError> {
    let failed = |source| SpoolError::Folder {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        found.extend(parse(path));
    }
    found.sort();
    Ok(found)
}

/// Puts the names of the files in a folder on the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The name of a file. Colons mean something to many programs, so addresses are written without.
pub(super) fn path(options: &SpoolOptions, collector: SocketAddr, number: u64) -> PathBuf {
    let address = collector.ip().to_string().replace(':', "-");
    let (port, thread, threads) = (collector.port(), options.thread, options.threads);
    options.folder.join(format!(
        "{address}_{port}.{thread}-{threads}.{number:08}.{EXTENSION}"
    ))
}

fn parse(path: PathBuf) -> Option<Leftover> {
    let name = path.file_name()?.to_str()?;
    let (name, extension) = name.rsplit_once('.')?;
    let (name, number) = name.rsplit_once('.')?;
    let (name, thread) = name.rsplit_once('.')?;
    let (address, port) = name.rsplit_once('_')?;
    let (thread, threads) = thread.split_once('-')?;
    let address: IpAddr = address.replace('-', ":").parse().ok()?;
    (extension == EXTENSION).then_some(())?;
    Some(Leftover {
        collector: SocketAddr::new(address, port.parse().ok()?),
        number: number.parse().ok()?,
        thread: thread.parse().ok()?,
        threads: threads.parse().ok()?,
        path,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let options = SpoolOptions {
            folder: PathBuf::from("/spool"),
            bytes: 0,
            used: Arc::default(),
            thread: 3,
            threads: 4,
            next: Arc::default(),
        };
        for collector in ["192.0.2.1:2055", "[2001:db8::1]:4739", "[::1]:9"] {
            let collector: SocketAddr = collector.parse().unwrap();
            let path = path(&options, collector, 17);
            assert!(!path.to_str().unwrap().contains(':'));
            let expected = Leftover {
                collector,
                number: 17,
                thread: 3,
                threads: 4,
                path: path.clone(),
            };
            assert_eq!(parse(path), Some(expected));
        }
        for name in [
            "",
            ".lock",
            "a.pcap",
            "192.0.2.1_2055.0-1.1.rest",
            "192.0.2.1_2055.0.1.pcap",
            "192.0.2.1_2.x-1.3.pcap",
        ] {
            assert_eq!(parse(PathBuf::from(name)), None, "{name}");
        }
    }
}
