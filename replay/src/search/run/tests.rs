use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

const SETTINGS: Settings = Settings {
    first: 1_000.0,
    highest: None,
    precision: 0.05,
    confirm: 3,
};

/// A collector that stores what it holds in a file, which a command prints.
struct Collector {
    folder: tempfile::TempDir,
    stored: Cell<u64>,
}

impl Collector {
    fn new() -> Self {
        let collector = Self {
            folder: tempfile::tempdir().expect("a folder"),
            stored: Cell::new(0),
        };
        collector.store(1_234);
        collector
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("stored")
    }

    fn store(&self, more: u64) {
        let stored = self.stored.get() + more;
        self.stored.set(stored);
        fs::write(self.file(), stored.to_string()).expect("written");
    }

    fn instruments(&self, command: &str) -> Instruments {
        let command = format!("cd {} && {command}", self.folder.path().display());
        Instruments {
            probes: vec![Probe::command(&command, Duration::from_secs(60))],
            process: None,
            settle: Duration::ZERO,
        }
    }
}

/// A second at a rate.
fn sent(rate: f64) -> Sent {
    Sent {
        datagrams: rate as u64 / 10,
        flows: rate as u64,
        bytes: rate as u64 * 50,
        seconds: 1.0,
        errors: 0,
        latest_us: 0.0,
    }
}

#[test]
fn a_collectors_limit_is_found_by_what_it_has_stored() {
    let collector = Collector::new();
    let mut told = 0;
    let results = run(
        SETTINGS,
        &mut collector.instruments("cat stored"),
        &mut |rate| {
            collector.store(rate.min(7_000.0) as u64);
            sent(rate)
        },
        &mut |_| told += 1,
        &AtomicBool::new(false),
    );
    assert!(results.problem.is_none(), "{:?}", results.problem);
    let found = results.found.expect("a limit");
    let (held, lost) = (found.held.expect("a rate"), found.lost.expect("a rate"));
    assert!(held.rate <= 7_000.0 && lost.rate > 7_000.0, "{found:?}");
    assert_eq!(told, results.steps.len());
    let lossy = results
        .steps
        .iter()
        .find(|step| !step.held)
        .expect("one lost");
    assert_eq!(lossy.lost_flows, lossy.sent.flows - 7_000);
    assert_eq!(lossy.received_flows_per_second, 7_000.0);
}

#[test]
fn what_comes_late_is_waited_for() {
    let collector = Collector::new();
    let mut instruments = collector.instruments("cat stored");
    instruments.settle = Duration::from_secs(30);
    let settings = Settings {
        highest: Some(1_000.0),
        ..SETTINGS
    };
    let mut send = |rate: f64| {
        let stored = collector.stored.get() + rate as u64;
        collector.stored.set(stored);
        let file = collector.file();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(400));
            // Nobody reads half of it.
            let fresh = file.with_extension("fresh");
            fs::write(&fresh, stored.to_string()).expect("written");
            fs::rename(fresh, file).expect("renamed");
        });
        sent(rate)
    };
    let stop = AtomicBool::new(false);
    let results = run(settings, &mut instruments, &mut send, &mut |_| (), &stop);
    assert_eq!(results.steps.len(), 3);
    assert!(
        results.steps.iter().all(|step| step.held),
        "{:?}",
        results.steps
    );
}

#[test]
fn a_probe_that_fails_ends_the_search_and_what_was_measured_stays() {
    let collector = Collector::new();
    let results = run(
        SETTINGS,
        &mut collector.instruments("cat stored"),
        &mut |rate| {
            collector.store(rate as u64);
            if rate >= 4_000.0 {
                fs::write(collector.file(), "no count").expect("written");
            }
            sent(rate)
        },
        &mut |_| (),
        &AtomicBool::new(false),
    );
    let problem = results.problem.expect("a problem").to_string();
    assert!(
        problem.contains("cat stored") && problem.contains("no count"),
        "{problem}"
    );
    assert_eq!(results.steps.len(), 2);
    assert_eq!(results.found, None);
    assert_eq!(results.so_far.held.expect("a rate").rate, 2_000.0);
    assert_eq!(results.so_far.lost, None);
}

#[test]
fn an_interrupt_ends_the_search_and_what_was_measured_stays() {
    let collector = Collector::new();
    let stop = AtomicBool::new(false);
    let results = run(
        SETTINGS,
        &mut collector.instruments("cat stored"),
        &mut |rate| {
            collector.store(rate as u64);
            stop.store(rate >= 4_000.0, Ordering::Relaxed);
            sent(rate)
        },
        &mut |_| (),
        &stop,
    );
    assert!(matches!(results.problem, Some(SearchError::Interrupted)));
    // The third step is not whole.
    assert_eq!(results.steps.len(), 2);
}

#[test]
fn where_nothing_can_be_sent_there_is_nothing_to_find() {
    let collector = Collector::new();
    let results = run(
        SETTINGS,
        &mut collector.instruments("cat stored"),
        &mut |_| Sent {
            errors: 7,
            ..Sent::default()
        },
        &mut |_| (),
        &AtomicBool::new(false),
    );
    let problem = results.problem.expect("a problem").to_string();
    assert!(problem.contains("refused 7 times"), "{problem}");
}

#[test]
fn a_collector_that_ends_is_told() {
    let collector = Collector::new();
    let child = Command::new("cat")
        .stdin(Stdio::piped())
        .spawn()
        .expect("cat starts");
    let mut instruments = collector.instruments("cat stored");
    instruments.process = Some(Process::new(child.id()).expect("it runs"));
    let mut child = Some(child);
    let results = run(
        SETTINGS,
        &mut instruments,
        &mut |rate| {
            collector.store(rate as u64);
            if rate >= 2_000.0
                && let Some(mut child) = child.take()
            {
                child.kill().expect("killed");
                child.wait().expect("ended");
            }
            sent(rate)
        },
        &mut |_| (),
        &AtomicBool::new(false),
    );
    let problem = results.problem.expect("a problem").to_string();
    assert!(problem.contains("has ended"), "{problem}");
    assert_eq!(results.steps.len(), 1);
    assert!(results.steps[0].cpu_seconds.is_some() && results.steps[0].memory_bytes.is_some());
}
