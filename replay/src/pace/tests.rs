use proptest::prelude::*;

use super::*;

fn done(datagrams: u64) -> Done {
    Done {
        datagrams,
        flows: datagrams * 25,
        bytes: datagrams * 1_000,
        recorded_ns: datagrams * 1_000_000,
    }
}

fn due(pace: Pace, datagrams: u64) -> f64 {
    pace.due(&done(datagrams)).as_secs_f64()
}

#[test]
fn each_pace_has_its_own_measure() {
    for (pace, seconds) in [
        (Pace::Recorded { speed: 1.0 }, 10.0),
        (Pace::Recorded { speed: 4.0 }, 2.5),
        (Pace::Delay(Duration::from_micros(10)), 0.1),
        (Pace::Datagrams(20_000.0), 0.5),
        (Pace::Flows(1e6), 0.25),
        (Pace::Bits(1e9), 0.08),
        (Pace::Flood, 0.0),
    ] {
        assert!((due(pace, 10_000) - seconds).abs() < 1e-9, "{pace:?}");
        assert_eq!(due(pace, 0), 0.0);
    }
}

#[test]
fn a_ramp_brings_what_its_mean_rate_does_and_then_goes_on_at_its_last() {
    for (from, to) in [
        (0.0, 1_000.0),
        (1_000.0, 0.001),
        (200.0, 800.0),
        (500.0, 500.0),
    ] {
        let pace = Pace::Ramp {
            unit: Unit::Datagrams,
            from,
            to,
            over: Duration::from_secs(10),
        };
        assert_eq!(pace.check(), Ok(()));
        let brought = ((from + to) * 5.0) as u64;
        assert!(
            (due(pace, brought) - 10.0).abs() < 0.1,
            "{from} {to} {}",
            due(pace, brought)
        );
        if to > 1.0 {
            assert!((due(pace, brought + 1_000) - due(pace, brought) - 1_000.0 / to).abs() < 0.01);
        }
    }
    let rising = Pace::Ramp {
        unit: Unit::Flows,
        from: 0.0,
        to: 2_500.0,
        over: Duration::from_secs(10),
    };
    // 12,500 flows in all, a quarter of them in half of the time.
    assert!((due(rising, 125) - 5.0).abs() < 1e-9);
    let at_once = Pace::Ramp {
        unit: Unit::Datagrams,
        from: 0.0,
        to: 100.0,
        over: Duration::ZERO,
    };
    assert!((due(at_once, 50) - 0.5).abs() < 1e-9);
}

#[test]
fn what_would_never_send_is_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for pace in [
            Pace::Datagrams(rate),
            Pace::Flows(rate),
            Pace::Bits(rate),
            Pace::Recorded { speed: rate },
        ] {
            assert!(matches!(pace.check(), Err(PaceError::Rate(_))), "{pace:?}");
        }
    }
    let ramp = |from, to| Pace::Ramp {
        unit: Unit::Datagrams,
        from,
        to,
        over: Duration::from_secs(1),
    };
    assert!(ramp(0.0, 0.0).check().is_err());
    assert!(ramp(-1.0, 5.0).check().is_err());
    assert!(ramp(0.0, 5.0).check().is_ok());
    assert!(Pace::Flood.check().is_ok());
    assert!(Pace::Delay(Duration::ZERO).check().is_ok());
}

#[test]
fn what_is_due_after_the_end_of_time_is_never_due() {
    let pace = Pace::Datagrams(1e-300);
    assert_eq!(pace.due(&done(u64::MAX / 1_000_000)), Duration::MAX);
    let pace = Pace::Delay(Duration::MAX);
    assert!(pace.due(&done(2)) > Duration::from_secs(1 << 34));
}

proptest! {
    /// No datagram is due before the one before it.
    #[test]
    fn times_never_go_back(
        from in 0.0_f64..1e6, to in 1e-3_f64..1e6, over_ms in 0_u64..100_000, count in 1_u64..1_000_000,
    ) {
        let ramp = Pace::Ramp { unit: Unit::Datagrams, from, to, over: Duration::from_millis(over_ms) };
        for pace in [ramp, Pace::Datagrams(to), Pace::Flows(to), Pace::Bits(to), Pace::Recorded { speed: to }] {
            let (earlier, later) = (pace.due(&done(count - 1)), pace.due(&done(count)));
            prop_assert!(earlier <= later, "{:?} {:?} {:?}", pace, earlier, later);
        }
    }
}
