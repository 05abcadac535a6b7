//! Messages about rare events, on standard error: for people, or as JSON.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Logs from now on.
pub(crate) fn start(json: bool) {
    let clears_line = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        // It would be told on the same closed pipe, by a panic of the thread that logs.
        .log_internal_errors(false)
        .with_writer(StandardError { clears_line });
    // Only a second call can fail, and that changes nothing.
    let _already = if json {
        log.json().flatten_event(true).with_target(false).try_init()
    } else {
        log.compact().with_target(false).with_ansi(false).try_init()
    };
}

/// Standard error, where a status line may stand.
#[derive(Debug, Clone, Copy)]
struct StandardError {
    clears_line: bool,
}

impl MakeWriter<'_> for StandardError {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// Each message is one write.
impl Write for StandardError {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if self.clears_line {
            stderr.write_all(b"\r\x1b[K")?;
        }
        stderr.write_all(message)?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
