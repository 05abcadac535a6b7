//! `forebay replay --search`: the highest rate at which a collector loses nothing.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use forebay_replay::search::{
    Ended, Instruments, Probe, Process, Results, SearchError, Sent, Settings, Step, run as search,
};
use forebay_replay::{Pace, PlayOptions, Player, Report};

use crate::outcome::{Outcome, WrongUsage, complain, tell};
use crate::progress::{StatusLine, counted, thousands};
use crate::units::{Period, Rate};

mod conditions;
mod html;
mod json;
mod plot;
mod table;
mod words;

use conditions::Conditions;

/// What is done where the flags do not say.
const STEP: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(3);
const CONFIRM: u32 = 3;
const FROM: u64 = 100_000;
const PRECISION: f64 = 0.02;
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a step is at least: shorter ones say nothing about a rate.
const STEP_LEAST: Duration = Duration::from_millis(100);

/// What is sent is new to the collector in every loop and step, and understood from the first datagram.
pub(super) const PLAY_OPTIONS: PlayOptions = PlayOptions {
    loops: None,
    rebase: true,
    prime: true,
};

/// The search's flags, beside those that say what is sent and where to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Search")]
pub(super) struct SearchFlags {
    /// Find the highest rate, in flows a second, at which the collector loses nothing; the recording is sent again and again, with --rebase and --prime
    #[arg(long, conflicts_with_all = ["pace", "ramp", "loops", "for_at_most"])]
    search: bool,

    /// How to learn what has arrived; may be repeated, and what misses most counts: kernel:PORT (drops of this host's UDP
    /// sockets on that port), http:URL (/stats of our collector or router), command:'…' (a shell command that prints the
    /// count of records stored so far)
    #[arg(long, value_name = "PROBE")]
    probe: Vec<ProbeFlag>,

    /// How long each rate is sent: long enough to fill the collector's buffers [default: 10s]
    #[arg(long, value_name = "TIME")]
    step: Option<Period>,

    /// How long nothing must have come after a step before what is missing is lost: longer than the collector takes to
    /// store, and than it takes between two files where the probe counts in files [default: 3s]
    #[arg(long, value_name = "TIME")]
    settle: Option<Period>,

    /// How many times in a row the rate must hold that is reported [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
    confirm: Option<u32>,

    /// The first rate, in flows a second [default: 100k]
    #[arg(long, value_name = "RATE")]
    from: Option<Rate>,

    /// The highest rate to try [default: as fast as it can send]
    #[arg(long, value_name = "RATE")]
    up_to: Option<Rate>,

    /// How far the rate that lost may be above the one that held, as a share of it [default: 0.02]
    #[arg(long, value_name = "0..1")]
    precision: Option<f64>,

    /// How long a probe may take to answer [default: 30s]
    #[arg(long, value_name = "TIME")]
    probe_timeout: Option<Period>,

    /// The collector's process: its CPU time and memory in each step
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// Write the report as a page that needs nothing else, with its plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A probe as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ProbeFlag {
    Kernel(u16),
    Http(String),
    Command(String),
}

impl FromStr for ProbeFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("kernel", port)) => match port.parse() {
                Ok(port @ 1..) => Ok(Self::Kernel(port)),
                _ => Err(format!(
                    "\"{port}\" is no port: write the collector's, such as kernel:2055"
                )),
            },
            // http:URL; the URL alone is clear too.
            Some(("http", rest)) if rest.len() > 2 => {
                let url = match rest.strip_prefix("//") {
                    Some(address) => address,
                    None => rest.strip_prefix("http://").unwrap_or(rest),
                };
                Ok(Self::Http(url.to_owned()))
            }
            Some(("command", command)) if !command.trim().is_empty() => {
                Ok(Self::Command(command.to_owned()))
            }
            Some(("https", _)) => {
                Err("the status endpoint has no TLS: write http:http://127.0.0.1:9180".to_owned())
            }
            _ => Err(format!(
                "\"{text}\" is no probe: write kernel:PORT, http:URL or command:'…'"
            )),
        }
    }
}

impl ProbeFlag {
    fn open(&self, limit: Duration) -> Probe {
        match self {
            Self::Kernel(port) => Probe::kernel(*port),
            Self::Http(url) => Probe::http(url, limit),
            Self::Command(command) => Probe::command(command, limit),
        }
    }
}

/// What is sent, and where to.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) recording: &'a Path,
    pub(super) target: SocketAddr,
}

/// What there is to tell, in every form.
struct Told<'a> {
    subject: &'a Subject<'a>,
    /// What the recording holds.
    datagrams: u64,
    flows: u64,
    settings: Settings,
    step: Duration,
    settle: Duration,
    probes: Vec<String>,
    pid: Option<u32>,
    conditions: Conditions,
    results: &'a Results,
}

impl SearchFlags {
    /// Whether this is a search at all.
    pub(super) fn is_asked(&self) -> bool {
        self.search
    }

    /// What cannot be is told before anything is opened.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(WrongUsage(what.to_owned()).into());
        if !self.search {
            return match self.of_a_search() {
                Some(flag) => wrong(&format!(
                    "{flag} is of a search: give --search and --probe too, or leave it out"
                )),
                None => Ok(()),
            };
        }
        if self.probe.is_empty() {
            return wrong(
                "--search must learn what has arrived: give --probe kernel:PORT, http:URL or command:'…'",
            );
        }
        let Rate(first) = self.first();
        if first == 0 {
            return wrong("--from: a search begins above 0");
        }
        if self.up_to.is_some_and(|Rate(highest)| highest < first) {
            return wrong("--up-to: the highest rate is below the first: lower --from");
        }
        if self
            .precision
            .is_some_and(|of| !(0.001..=1.0).contains(&of))
        {
            return wrong("--precision: give a share from 0.001 to 1, such as 0.02 for 2 %");
        }
        if self.step() < STEP_LEAST {
            return wrong("--step: less than 0.1 s says nothing about a rate");
        }
        Ok(())
    }

    /// A flag that means nothing without a search, if one was given.
    fn of_a_search(&self) -> Option<&'static str> {
        let given = [
            ("--probe", !self.probe.is_empty()),
            ("--step", self.step.is_some()),
            ("--settle", self.settle.is_some()),
            ("--confirm", self.confirm.is_some()),
            ("--from", self.from.is_some()),
            ("--up-to", self.up_to.is_some()),
            ("--precision", self.precision.is_some()),
            ("--probe-timeout", self.probe_timeout.is_some()),
            ("--pid", self.pid.is_some()),
            ("--html", self.html.is_some()),
        ];
        let first = given.into_iter().find(|&(_, is_given)| is_given);
        first.map(|(flag, _)| flag)
    }

    fn first(&self) -> Rate {
        self.from.unwrap_or(Rate(FROM))
    }

    fn step(&self) -> Duration {
        self.step.map_or(STEP, |Period(step)| step)
    }

    fn settle(&self) -> Duration {
        self.settle.map_or(SETTLE, |Period(settle)| settle)
    }

    fn settings(&self) -> Settings {
        Settings {
            first: self.first().0 as f64,
            highest: self.up_to.map(|Rate(highest)| highest as f64),
            precision: self.precision.unwrap_or(PRECISION),
            confirm: self.confirm.unwrap_or(CONFIRM),
        }
    }

    fn instruments(&self) -> Result<Instruments> {
        let limit = self.probe_timeout;
        let limit = limit.map_or(PROBE_TIMEOUT, |Period(limit)| limit);
        let probes = self.probe.iter();
        Ok(Instruments {
            probes: probes.map(|probe| probe.open(limit)).collect(),
            process: self.pid.map(Process::new).transpose()?,
            settle: self.settle(),
        })
    }
}

/// Searches until the rate is found, something fails or `stop` says so, and tells what was measured in every case.
///
/// # Errors
///
/// A report cannot be written. What fails while searching is told as an outcome.
pub(super) fn run(
    flags: &SearchFlags,
    subject: &Subject<'_>,
    player: &mut Player,
    as_json: bool,
    stop: &AtomicBool,
) -> Result<Outcome> {
    let (datagrams, flows) = (player.recording().datagrams(), player.recording().flows());
    if flows == 0 {
        anyhow::bail!(
            "{} has no flows that can be counted, so that nothing can be missed: does it have the templates?",
            subject.recording.display()
        );
    }
    if let Some(path) = &flags.html {
        html::check(path)?;
    }
    let settings = flags.settings();
    let mut instruments = flags.instruments()?;
    let probes = instruments.probes.iter().map(ToString::to_string).collect();
    let conditions = Conditions::now();
    let mut line = StatusLine::new();
    if !as_json {
        writeln!(io::stdout(), "{}", table::HEAD)?;
    }
    let mut refused: Option<io::Error> = None;
    let results = {
        let mut send = |rate: f64| {
            let mut tell = |report: &Report| line.show(|| progress(rate, report));
            let pace = Pace::Flows(rate);
            let report = player.play_telling(pace, Some(flags.step()), stop, &mut tell);
            line.clear();
            sent(&report)
        };
        let mut each = |step: &Step| {
            if !as_json && let Err(error) = writeln!(io::stdout(), "{}", table::row(step)) {
                refused.get_or_insert(error);
            }
        };
        search(settings, &mut instruments, &mut send, &mut each, stop)
    };
    let told = Told {
        subject,
        datagrams,
        flows,
        settings,
        step: flags.step(),
        settle: flags.settle(),
        probes,
        pid: flags.pid,
        conditions,
        results: &results,
    };
    // The page first: whoever reads the output may be gone. What is told does not wait for a disk that has become full.
    let page = flags.html.as_ref().map(|path| html::write(&told, path));
    if as_json {
        io::stdout().write_all(json::text(&told).as_bytes())?;
    } else {
        writeln!(io::stdout())?;
        for sentence in words::sentences(&told) {
            writeln!(io::stdout(), "{sentence}")?;
        }
    }
    if let Some(error) = refused {
        return Err(error.into());
    }
    page.transpose()?;
    Ok(outcome(&results))
}

/// Everything else has been told already.
fn outcome(results: &Results) -> Outcome {
    match &results.problem {
        Some(SearchError::Interrupted) => {
            tell("interrupted: this is what was measured until then");
            return Outcome::Failed;
        }
        Some(problem) => {
            complain(&format!("the search ended: {problem}"));
            return Outcome::Failed;
        }
        None => {}
    }
    match results.found.map(|found| found.ended) {
        Some(Ended::Limit | Ended::Sender | Ended::Highest) => Outcome::Done,
        Some(Ended::NothingHeld | Ended::Unsteady) | None => Outcome::Failed,
    }
}

fn sent(report: &Report) -> Sent {
    Sent {
        datagrams: report.datagrams,
        flows: report.flows,
        bytes: report.bytes,
        seconds: report.seconds,
        errors: report.errors.datagrams + report.errors.refused,
        latest_us: report.lateness.max_us,
    }
}

fn progress(rate: f64, report: &Report) -> String {
    format!(
        "{} flows/s  {:.0} s  {}",
        thousands(rate as u64),
        report.seconds,
        counted(report.flows, "flow")
    )
}

#[cfg(test)]
mod tests;
