//! `forebay doctor`: is this machine fit to collect?

use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use forebay_udp::wildcard;
use serde::Serialize;

use crate::collect::Listen;
use crate::outcome::Outcome;

mod machine;
mod output;

use machine::Machine;

/// Check whether this machine is fit to collect, and say what to do where it is not.
///
/// Exit code 1 if something must be changed before `collect` can work. Warnings are about rates and risks.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Where flow files are going to be written
    #[arg(long, value_name = "DIR", default_value = "flows")]
    output: PathBuf,

    /// What is going to be listened on: ADDR:PORT, or PORT for every address [default: 2055 and 4739]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<Listen>,

    /// An array of JSON objects
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Fail,
}

/// What was looked at, what was found, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    status: Status,
    check: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            status: Status::Ok,
            check,
            found: found.into(),
            advice: None,
        }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            advice: Some(advice.into()),
            ..Self::ok(check, found)
        }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(check, found, advice)
        }
    }
}

pub(crate) fn run(flags: &Flags) -> Result<Outcome> {
    let machine = Machine::this();
    let mut checks = machine.checks();
    checks.extend(output::checks(&flags.output, &machine));
    let standard = [wildcard(2055), wildcard(4739)].map(Listen);
    let listen = if flags.listen.is_empty() {
        &standard[..]
    } else {
        &flags.listen
    };
    checks.extend(listen.iter().map(|&Listen(address)| port(address)));

    let mut out = io::stdout().lock();
    if flags.json {
        serde_json::to_writer_pretty(&mut out, &checks).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for check in &checks {
            write_check(check, &mut out)?;
        }
    }
    let failed = checks.iter().any(|check| check.status == Status::Fail);
    Ok(if failed {
        Outcome::Failed
    } else {
        Outcome::Done
    })
}

fn write_check(check: &Check, out: &mut impl Write) -> io::Result<()> {
    let status = match check.status {
        Status::Ok => "ok  ",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
    };
    writeln!(out, "{status}  {:<15} {}", check.check, check.found)?;
    match &check.advice {
        Some(advice) => writeln!(out, "{:23}{advice}", ""),
        None => Ok(()),
    }
}

fn port(address: SocketAddr) -> Check {
    const NAME: &str = "port";
    match UdpSocket::bind(address) {
        Ok(_) => Check::ok(NAME, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::fail(
            NAME,
            format!("{address} is in use"),
            format!(
                "see who listens with `ss -ulpn 'sport = :{}'`, or choose another with --listen",
                address.port()
            ),
        ),
        Err(error) => Check::fail(
            NAME,
            format!("{address} cannot be listened on: {error}"),
            "choose another with --listen",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_has_is_told() {
        let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("bound");
        assert_eq!(port(address).status, Status::Fail);
        drop(taken);
        assert_eq!(port(address).status, Status::Ok);
    }

    #[test]
    fn advice_stands_below_its_check() {
        let mut out = Vec::new();
        write_check(&Check::warn("backlog", "1000", "raise it"), &mut out).expect("memory");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "warn  backlog         1000\n                       raise it\n"
        );
    }
}
