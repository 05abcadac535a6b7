//! How a run ends: its exit code, and one line of error.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Error;
use clap::error::ErrorKind;

/// How a command ended that did not fail on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 0: it did what was asked.
    Done,
    /// 1: it has said itself what is not as it should be.
    Failed,
    /// 3: it did what was asked, but with losses, and was asked to tell.
    Losses,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::FAILURE,
            Outcome::Losses => Self::from(3),
        }
    }
}

/// What was asked for makes no sense: exit code 2.
#[derive(Debug)]
pub(crate) struct WrongUsage(pub(crate) String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// Says what failed, in one line, and with which exit code.
pub(crate) fn report(error: &Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    let mut text = describe(error);
    if error
        .chain()
        .next()
        .is_some_and(|outermost| outermost.is::<io::Error>())
    {
        // What is read or written elsewhere is told by its name; only standard output has none.
        text.insert_str(0, "cannot write to standard output: ");
    }
    complain(&one_line(&text));
    if error.chain().any(|cause| cause.is::<WrongUsage>()) {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

/// Says what is wrong with the flags, in one line; or shows the help that was asked for.
/// `help` is the command that tells more.
pub(crate) fn report_flags(error: &clap::Error, help: &str) -> ExitCode {
    if !error.use_stderr() {
        // A reader that is gone has seen enough of the help.
        let _gone = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _gone = error.print();
        return ExitCode::from(2);
    }
    let line = flags_line(&error.render().to_string());
    complain(&format!("{line}: see `{help}`"));
    ExitCode::from(2)
}

/// Tells something on standard error. If nobody hears it, that is theirs to know.
pub(crate) fn tell(text: &str) {
    let _gone = writeln!(io::stderr(), "{text}");
}

/// Tells what went wrong.
pub(crate) fn complain(what: &str) {
    tell(&format!("forebay: {what}"));
}

/// The causes from the outermost in, without those that the ones before have said already.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn one_line(text: &str) -> String {
    let parts: Vec<&str> = text.split('\n').map(str::trim).collect();
    parts.join(" ")
}

/// Clap's message without its headings, usage and pointers to the help.
fn flags_line(rendered: &str) -> String {
    let mut parts = Vec::new();
    for line in rendered.lines().map(str::trim) {
        if line.starts_with("Usage:") {
            break;
        }
        let line = line.strip_prefix("error: ").unwrap_or(line);
        let line = line.strip_prefix("tip: ").unwrap_or(line);
        if !line.is_empty() && !line.starts_with("For more information") {
            parts.push(line.trim_end_matches(':'));
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_is_one_line_that_says_nothing_twice() {
        let source = io::Error::other("the disk\nis gone");
        let error = Err::<(), _>(source)
            .context("cannot read a.pcap: the disk\nis gone")
            .context("inspect")
            .expect_err("an error");
        assert_eq!(
            one_line(&describe(&error)),
            "inspect: cannot read a.pcap: the disk is gone"
        );
    }

    #[test]
    fn claps_errors_become_one_line() {
        let rendered = "error: unexpected argument '--lisen' found\n\n  tip: a similar argument exists: '--listen'\n\n\
                        Usage: forebay collect --listen <ADDR>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            flags_line(rendered),
            "unexpected argument '--lisen' found: a similar argument exists: '--listen'"
        );
    }
}
