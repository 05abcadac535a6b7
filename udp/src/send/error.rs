//! Why datagrams cannot be sent.

use std::io;

use thiserror::Error;

/// A sender that cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// Raw sockets take a privilege.
    #[error(
        "cannot send from the exporters' addresses: no permission for raw sockets (CAP_NET_RAW); \
         grant it to the program: `sudo setcap cap_net_raw+ep {program}`"
    )]
    Permission {
        /// The path of this program.
        program: String,
    },
    /// Anything else that the system refuses.
    #[error("cannot open a socket to send from: {what} failed: {source}")]
    System {
        /// The step that failed.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl SendError {
    /// A raw socket cannot be opened.
    pub(super) fn raw(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Permission { program: program() },
            _ => Self::System {
                what: "a raw socket",
                source,
            },
        }
    }

    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// The path of this program, as a shell takes it.
pub(crate) fn program() -> String {
    match std::env::current_exe() {
        Ok(path) => path.display().to_string(),
        Err(_) => "/path/to/the/program".to_owned(),
    }
}
