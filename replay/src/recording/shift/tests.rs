use proptest::prelude::*;

use super::*;

fn applied(shift: Shift, kind: Kind, field: &[u8]) -> Vec<u8> {
    let mut payload = vec![0xaa; 3];
    payload.extend(field);
    payload.push(0xbb);
    let patch = Patch {
        offset: 3,
        stride: 0,
        count: 1,
        kind,
    };
    shift.apply(&[patch], &mut payload);
    assert_eq!(
        (&payload[..3], payload.last()),
        (&[0xaa; 3][..], Some(&0xbb))
    );
    payload[3..payload.len() - 1].to_vec()
}

#[test]
fn each_kind_advances_by_its_own_measure() {
    let shift = Shift {
        seconds: 10,
        boot_seconds: 4,
        sequence: 7,
    };
    for (kind, before, after) in [
        (Kind::Seconds, 1_700_000_000, 1_700_000_010),
        (Kind::Uptime, 5_000, 11_000),
        (Kind::Sequence, 100, 107),
    ] {
        let after = u32::to_be_bytes(after).to_vec();
        assert_eq!(applied(shift, kind, &u32::to_be_bytes(before)), after);
    }
    for (kind, before, after) in [
        (Kind::Milliseconds, 1_700_000_000_123, 1_700_000_010_123),
        (Kind::BootMilliseconds, 1_700_000_000_123, 1_700_000_004_123),
        (
            Kind::Ntp,
            3_900_000_000 << 32 | 77,
            3_900_000_010 << 32 | 77,
        ),
    ] {
        let after = u64::to_be_bytes(after).to_vec();
        assert_eq!(applied(shift, kind, &u64::to_be_bytes(before)), after);
    }
}

#[test]
fn a_recording_of_the_future_is_moved_back() {
    let shift = Shift {
        seconds: -10,
        boot_seconds: -10,
        sequence: 0,
    };
    let back = |kind, before: u64| {
        u64::from_be_bytes(
            applied(shift, kind, &before.to_be_bytes())
                .try_into()
                .unwrap(),
        )
    };
    assert_eq!(
        back(Kind::Milliseconds, 1_700_000_000_123),
        1_699_999_990_123
    );
    assert_eq!(
        back(Kind::Ntp, 3_900_000_000 << 32 | 77),
        3_899_999_990 << 32 | 77
    );
    assert_eq!(applied(shift, Kind::Uptime, &[0, 0, 0, 9]), [0, 0, 0, 9]);
}

#[test]
fn a_time_that_was_not_set_stays_so_and_counters_wrap() {
    let shift = Shift {
        seconds: 10,
        boot_seconds: 0,
        sequence: 2,
    };
    assert_eq!(applied(shift, Kind::Seconds, &[0; 4]), [0; 4]);
    for kind in [Kind::Milliseconds, Kind::BootMilliseconds, Kind::Ntp] {
        assert_eq!(applied(shift, kind, &[0; 8]), [0; 8]);
    }
    assert_eq!(applied(shift, Kind::Sequence, &[0xff; 4]), [0, 0, 0, 1]);
    assert_eq!(
        applied(shift, Kind::Uptime, &[0; 4]),
        10_000_u32.to_be_bytes()
    );
    assert_eq!(
        applied(shift, Kind::Uptime, &[0xff; 4]),
        9_999_u32.to_be_bytes()
    );
}

#[test]
fn fields_that_follow_each_other_all_advance() {
    let shift = Shift {
        seconds: 0,
        boot_seconds: 0,
        sequence: 1,
    };
    let mut payload = vec![0; 20];
    let patch = Patch {
        offset: 1,
        stride: 6,
        count: 3,
        kind: Kind::Sequence,
    };
    shift.apply(&[patch], &mut payload);
    let ones: Vec<usize> = (0..20).filter(|&at| payload[at] == 1).collect();
    assert_eq!(ones, [4, 10, 16]);
}

proptest! {
    /// Whatever a patch says, it stays within the payload.
    #[test]
    fn a_patch_beyond_the_payload_does_nothing_there(
        offset: u16, stride: u16, count: u16, length in 0_usize..100, which in 0_usize..6,
    ) {
        let kinds = [
            Kind::Seconds, Kind::Milliseconds, Kind::Ntp, Kind::BootMilliseconds, Kind::Uptime, Kind::Sequence,
        ];
        let shift = Shift { seconds: i64::MAX, boot_seconds: i64::MAX - 3, sequence: 1 };
        let mut payload = vec![1; length];
        shift.apply(&[Patch { offset, stride, count, kind: kinds[which] }], &mut payload);
        prop_assert_eq!(payload.len(), length);
    }
}
