use std::cell::Cell;
use std::io::Cursor;
use std::rc::Rc;

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureReader, CaptureWriter};
use proptest::prelude::*;

use super::*;
use crate::filter::Filter;
use crate::generate::{GenerateConfig, Generator};

static NEVER: AtomicBool = AtomicBool::new(false);

/// A machine: looking at the clock and sending take time, and waiting takes more than asked for.
struct Machine {
    now_ns: Rc<Cell<u64>>,
    look_ns: u64,
    /// How much longer waits take, in turns.
    overshoots_ns: Vec<u64>,
    waits: usize,
}

impl Machine {
    fn new(overshoots_ns: &[u64]) -> Self {
        Self {
            now_ns: Rc::new(Cell::new(1_000_000_000)),
            look_ns: 50,
            overshoots_ns: overshoots_ns.to_vec(),
            waits: 0,
        }
    }
}

impl Clock for Machine {
    fn now(&self) -> Duration {
        self.now_ns.set(self.now_ns.get() + self.look_ns);
        Duration::from_nanos(self.now_ns.get())
    }

    fn wait(&mut self, until: Duration) {
        let overshoot = self.overshoots_ns[self.waits % self.overshoots_ns.len()];
        self.waits += 1;
        let until = until.as_nanos() as u64 + overshoot;
        self.now_ns.set(self.now_ns.get().max(until));
    }

    fn unix_ns(&self) -> u64 {
        1_800_000_000_000_000_000
    }
}

/// A recording of so many flows, 25 in a message, 1,000 messages a second.
fn recording(flows: u64) -> Recording {
    let mut generator = Generator::new(GenerateConfig {
        flows,
        exporters: 4,
        flows_per_sec: 25_000.0,
        flows_per_message: 25,
        ..GenerateConfig::default()
    })
    .unwrap();
    let mut writer = CaptureWriter::new("memory", Vec::new()).unwrap();
    let mut payload = Vec::new();
    while let Some(message) = generator.next_message(&mut payload) {
        let datagram = Datagram {
            source: message.source,
            destination: "127.0.0.1:2055".parse().unwrap(),
            received_ns: message.at_ns,
            payload: &payload,
        };
        writer.write(&datagram).unwrap();
    }
    let capture = CaptureReader::from_reader("memory", Cursor::new(writer.finish().unwrap()));
    Recording::read(capture.unwrap(), "memory".as_ref(), &Filter::default()).unwrap()
}

fn tape(flows: u64, options: &PlayOptions) -> Tape {
    Tape::new(recording(flows), options)
}

fn session<'s>(pace: Pace, loops: Option<u64>, stop: &'s AtomicBool) -> Session<'s, Machine> {
    Session {
        pace,
        limit: None,
        loops,
        stop,
        clock: Machine::new(&[0]),
    }
}

fn close(is: f64, wanted: f64) -> bool {
    (is / wanted - 1.0).abs() < 0.01
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Below the machine's limit the mean is the one asked for, however waits end.
    #[test]
    fn the_mean_rate_is_the_one_asked_for(
        datagrams_per_sec in 2_000.0_f64..400_000.0,
        overshoots_ns in prop::collection::vec(prop_oneof![0_u64..3_000, 0_u64..2_000_000], 1..50),
        which in 0..5,
    ) {
        let flows = 75_000;
        let mut tape = tape(flows, &PlayOptions::default());
        let (count, bytes) = (tape.recording.datagrams() as f64, tape.recording.bytes() as f64);
        let seconds = count / datagrams_per_sec;
        let pace = match which {
            0 => Pace::Datagrams(datagrams_per_sec),
            1 => Pace::Flows(flows as f64 / seconds),
            2 => Pace::Bits(bytes * 8.0 / seconds),
            3 => Pace::Delay(Duration::from_secs_f64(1.0 / datagrams_per_sec)),
            _ => Pace::Recorded { speed: tape.period_ns as f64 / 1e9 / seconds },
        };
        let mut session = session(pace, Some(1), &NEVER);
        session.clock = Machine::new(&overshoots_ns);
        let mut sent = 0;
        let report = session.run(&mut tape, |batch, _| {
            sent += batch.len();
        }, &mut |_| {});
        prop_assert_eq!(sent as u64, report.datagrams);
        prop_assert_eq!(report.flows, flows);
        prop_assert_eq!(report.ended, Ended::Recording);
        // The last wait's overshoot is not the pace's.
        let slack = *overshoots_ns.iter().max().unwrap() as f64 / 1e9;
        prop_assert!(
            report.seconds >= seconds * 0.99 && report.seconds <= seconds * 1.01 + slack,
            "{:?}: {} of {}", pace, report.seconds, seconds
        );
        let latest = *overshoots_ns.iter().max().unwrap() as f64 / 1e3;
        prop_assert!(report.lateness.max_us <= latest + 100.0, "{:?}", report.lateness);
    }
}

#[test]
fn nothing_is_sent_before_it_is_due() {
    let mut tape = tape(50_000, &PlayOptions::default());
    let mut session = session(Pace::Recorded { speed: 2.0 }, Some(1), &NEVER);
    let due: Vec<u64> = (0..tape.recording.datagrams() as usize)
        .map(|at| tape.recording.at_ns(at).unwrap() / 2)
        .collect();
    // It does not go on while it is looked at, so that it shows when sending was decided on.
    session.clock.look_ns = 0;
    let now_ns = Rc::clone(&session.clock.now_ns);
    let began = now_ns.get();
    let mut sent = 0;
    let report = session.run(
        &mut tape,
        |batch, _| {
            for _ in batch {
                assert!(now_ns.get() - began >= due[sent], "datagram {sent}");
                sent += 1;
            }
        },
        &mut |_| {},
    );
    assert_eq!(sent as u64, report.datagrams);
    assert_eq!(report.lateness.max_us, 0.0);
}

#[test]
fn a_flood_waits_for_nothing_and_fills_its_batches() {
    let mut tape = tape(50_000, &PlayOptions::default());
    let mut session = session(Pace::Flood, Some(3), &NEVER);
    let mut batches = 0;
    let report = session.run(&mut tape, |_, _| batches += 1, &mut |_| {});
    let datagrams = tape.recording.datagrams();
    assert_eq!(report.datagrams, 3 * datagrams);
    assert_eq!(report.loops, 3);
    assert_eq!(batches, 3 * datagrams.div_ceil(BATCH as u64));
    assert_eq!(session.clock.waits, 0);
    assert_eq!(report.lateness, crate::report::Lateness::default());
}

#[test]
fn loops_follow_each_other_at_the_recorded_pace() {
    let mut tape = tape(25_000, &PlayOptions::default());
    let period = tape.period_ns as f64 / 1e9;
    let report = session(Pace::Recorded { speed: 1.0 }, Some(4), &NEVER).run(
        &mut tape,
        |_, _| {},
        &mut |_| {},
    );
    let span = tape.recording.span().as_secs_f64();
    assert!(
        close(report.seconds, 3.0 * period + span),
        "{}",
        report.seconds
    );
}

#[test]
fn a_limit_ends_it_and_the_next_goes_on_from_there() {
    let options = PlayOptions {
        loops: None,
        rebase: true,
        prime: false,
    };
    let mut tape = tape(25_000, &options);
    let count = tape.recording.datagrams();
    let mut numbers = std::collections::HashMap::new();
    let mut total = 0;
    for _ in 0..5 {
        let mut session = session(Pace::Datagrams(1_000.0), None, &NEVER);
        session.limit = Some(Duration::from_millis(300));
        let report = session.run(
            &mut tape,
            |batch, _| {
                for datagram in batch.iter().filter(|of| of.payload[1] == 9) {
                    let number = u32::from_be_bytes(datagram.payload[12..16].try_into().unwrap());
                    if let Some(last) = numbers.insert(datagram.source, number) {
                        assert_eq!(number, last.wrapping_add(1));
                    }
                }
            },
            &mut |_| {},
        );
        assert_eq!(report.ended, Ended::Time);
        assert!(report.datagrams.abs_diff(300) <= 1, "{}", report.datagrams);
        assert!(close(report.seconds, 0.3), "{}", report.seconds);
        total += report.datagrams;
    }
    assert!(!numbers.is_empty());
    assert!(total > count, "the numbers went on over a loop");
    assert_eq!(tape.next as u64, total % count);
}

#[test]
fn it_stops_when_told_and_reports_what_was_sent() {
    let stop = AtomicBool::new(false);
    let mut tape = tape(250_000, &PlayOptions::default());
    let mut sent = 0;
    let report = session(Pace::Datagrams(1_000.0), None, &stop).run(
        &mut tape,
        |batch, _| {
            sent += batch.len() as u64;
            stop.store(sent >= 100, Ordering::Relaxed);
        },
        &mut |_| {},
    );
    assert_eq!((report.ended, report.datagrams), (Ended::Stopped, sent));
    assert!((100..200).contains(&sent));
}

#[test]
fn every_datagram_is_sent_or_an_error() {
    let mut tape = tape(25_000, &PlayOptions::default());
    let (datagrams, flows) = (tape.recording.datagrams(), tape.recording.flows());
    let mut failed = 0;
    let report = session(Pace::Flood, Some(1), &NEVER).run(
        &mut tape,
        |batch, results| {
            for place in (0..batch.len()).step_by(3) {
                failed += 1;
                results.failed(place, &io::Error::from_raw_os_error(101));
            }
            results.refused();
        },
        &mut |_| {},
    );
    let errors = &report.errors;
    assert!(failed > 100);
    assert_eq!(errors.datagrams, failed);
    assert_eq!(report.datagrams + errors.datagrams, datagrams);
    assert_eq!(report.flows + errors.flows, flows);
    assert_eq!(errors.reasons.len(), 1);
    assert_eq!(errors.refused, datagrams.div_ceil(BATCH as u64));
}

#[test]
fn a_rate_of_flows_takes_a_recording_with_flows() {
    let recording = recording(25);
    assert!(Pace::Flows(1.0).check_for(&recording).is_ok());
    assert!(Pace::Flows(0.0).check_for(&recording).is_err());
}

#[test]
fn a_rehearsal_is_what_is_sent() {
    for (rebase, prime) in [(false, false), (true, false), (true, true)] {
        let options = PlayOptions {
            loops: Some(3),
            rebase,
            prime,
        };
        let mut sent = Vec::new();
        let mut session = session(Pace::Flood, options.loops, &NEVER);
        let now_ns = session.clock.unix_ns();
        let report = session.run(
            &mut tape(2_000, &options),
            |batch, _| sent.extend(batch.iter().map(|of| (of.source, of.payload.to_vec()))),
            &mut |_| {},
        );
        let mut rehearsed = Vec::new();
        options.rehearse(recording(2_000), now_ns, &mut |source, payload| {
            rehearsed.push((source, payload.to_vec()));
        });
        assert_eq!(report.datagrams, rehearsed.len() as u64);
        assert!(rehearsed == sent, "{options:?}");
    }
}
