//! The files of a spool's folder: `192.0.2.1_2055.0.00000017.pcap` is of a collector, a thread, and in order.

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
        let parsed = path.file_name().and_then(|name| parse(name.to_str()?));
        if let Some((collector, number)) = parsed {
            found.push(Leftover {
                collector,
                number,
                path,
            });
        }
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
    let (port, thread) = (collector.port(), options.thread);
    options
        .folder
        .join(format!("{address}_{port}.{thread}.{number:08}.{EXTENSION}"))
}

fn parse(name: &str) -> Option<(SocketAddr, u64)> {
    let (name, extension) = name.rsplit_once('.')?;
    let (name, number) = name.rsplit_once('.')?;
    let (name, thread) = name.rsplit_once('.')?;
    let (address, port) = name.rsplit_once('_')?;
    let _thread: usize = thread.parse().ok()?;
    let address: IpAddr = address.replace('-', ":").parse().ok()?;
    let collector = SocketAddr::new(address, port.parse().ok()?);
    (extension == EXTENSION).then_some((collector, number.parse().ok()?))
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
            threads: 1,
            next: Arc::default(),
        };
        for collector in ["192.0.2.1:2055", "[2001:db8::1]:4739", "[::1]:9"] {
            let collector: SocketAddr = collector.parse().unwrap();
            let path = path(&options, collector, 17);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(!name.contains(':'));
            assert_eq!(parse(name), Some((collector, 17)));
        }
        for name in [
            "",
            ".lock",
            "a.pcap",
            "192.0.2.1_2055.0.1.rest",
            "1_2.x.3.pcap",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
