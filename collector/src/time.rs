//! The times of flows: from whatever base the exporter uses to microseconds since 1970.

use forebay_store::{Column, ColumnData, FlowBatch, columns};

use crate::kernel::Fields;
use crate::plan::{Place, TimeField, TimeKind};
use crate::stage::{Gathered, Run};

/// Seconds from NTP's epoch (1900) to Unix's.
const NTP_TO_UNIX_S: i64 = 2_208_988_800;
/// Seconds of an NTP era.
const NTP_ERA_S: i64 = 1 << 32;
/// How far ahead of its message a flow's end may be by the exporter's own reckoning.
const AHEAD_US: i64 = 1_000_000;

/// When a message left its exporter, by the exporter's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExportTime {
    /// Microseconds since 1970.
    pub(crate) unix_us: i64,
    /// The same moment in milliseconds since boot, modulo 2^32; `None` where IPFIX's exporter has
    /// not told when it booted.
    pub(crate) uptime_ms: Option<u32>,
}

impl ExportTime {
    /// Of v1, v5, v7 and v9 headers.
    pub(crate) fn of_uptime(unix_secs: u32, unix_nsecs: u32, uptime_ms: u32) -> Self {
        // Uptime counts milliseconds: a boot time of more precision would give the same flow
        // different times in different messages.
        let unix_ms = i64::from(unix_secs) * 1000 + i64::from(unix_nsecs / 1_000_000);
        Self {
            unix_us: unix_ms * 1000,
            uptime_ms: Some(uptime_ms),
        }
    }

    /// Of IPFIX headers. `system_init_ms` is systemInitTimeMilliseconds (160), if known.
    pub(crate) fn of_ipfix(export_secs: u32, system_init_ms: Option<u64>) -> Self {
        let unix_ms = i64::from(export_secs) * 1000;
        Self {
            unix_us: unix_ms * 1000,
            uptime_ms: system_init_ms.map(|init| uptime(unix_ms, init)),
        }
    }

    /// The time at which the uptime was `value` milliseconds.
    ///
    /// Uptime wraps after 49.7 days, so only its distance from the header's counts. A flow that
    /// lies up to 24.8 days back is told from one that lies ahead.
    #[inline]
    fn at_uptime(unix_us: i64, uptime_ms: u32, value: u32) -> i64 {
        let age_ms = uptime_ms.wrapping_sub(value).cast_signed();
        unix_us - i64::from(age_ms) * 1000
    }
}

/// The uptime at `unix_ms` of an exporter that booted at `init_ms`, modulo 2^32.
fn uptime(unix_ms: i64, init_ms: u64) -> u32 {
    unix_ms.wrapping_sub(init_ms.cast_signed()) as u32
}

/// Seconds and fraction since 1900; the era is the one that lies nearest to our time.
#[inline]
fn ntp(value: u64) -> i64 {
    let (seconds, fraction) = ((value >> 32) as i64, value & 0xffff_ffff);
    let era = if seconds < NTP_ERA_S / 2 {
        NTP_ERA_S
    } else {
        0
    };
    (seconds + era - NTP_TO_UNIX_S) * 1_000_000 + ((fraction * 1_000_000) >> 32) as i64
}

/// A time that no field of 64 bits can push out of range.
#[inline]
fn milliseconds(value: u64) -> i64 {
    const MAX: u64 = (i64::MAX / 1000) as u64;
    value.min(MAX).cast_signed() * 1000
}

/// Writes the first and last times of records to the next rows.
pub(crate) fn write(batch: &mut FlowBatch, gathered: &Gathered<'_>) {
    let times = &gathered.plan.times;
    let mut row = batch.rows();
    let [
        ColumnData::Timestamp(first_column),
        ColumnData::Timestamp(last_column),
    ] = batch.columns_mut([columns::FIRST, columns::LAST])
    else {
        unreachable!("the schema says that these are timestamps");
    };
    match (gathered.runs, times.uptimes()) {
        // Where no record needs its message's time, all are as one.
        ([run, ..], _) if times.are_absolute() => {
            write_run(first_column, last_column, row, gathered, run.export);
        }
        (runs, Some(places)) if runs.iter().all(|run| run.export.uptime_ms.is_some()) => {
            let count = gathered.count();
            let rows = [first_column, last_column].map(|column| column.grow(row, count));
            write_uptimes(rows, places, gathered);
        }
        (runs, _) => {
            let mut rest = *gathered;
            for run in runs {
                let (records, others) = rest.split(run.count);
                write_run(first_column, last_column, row, &records, run.export);
                row += run.count;
                rest = others;
            }
        }
    }
}

/// Writes times that are told as v5 and v9 tell them: uptimes of 4 bytes.
fn write_uptimes(
    [mut first, mut last]: [&mut [i64]; 2],
    places: [Place; 2],
    gathered: &Gathered<'_>,
) {
    let mut rest = *gathered;
    for &Run { count, export, .. } in gathered.runs {
        let uptime_ms = export.uptime_ms.unwrap_or_default();
        let at = |value| ExportTime::at_uptime(export.unix_us, uptime_ms, value);
        let (records, others) = rest.split(count);
        let [first_values, last_values] = places.map(|place| records.field(place).u32s());
        let (first_rows, later_first) = first.split_at_mut(count.min(first.len()));
        let (last_rows, later_last) = last.split_at_mut(count.min(last.len()));
        let values = first_values.zip(last_values);
        let rows = first_rows.iter_mut().zip(last_rows);
        rows.zip(values).for_each(|((first, last), values)| {
            (*first, *last) = (at(values.0), at(values.1));
            *last = (*last).max(*first);
            keep_behind(first, last, export.unix_us);
        });
        (rest, first, last) = (others, later_first, later_last);
    }
}

/// Writes the times of records of one message: from the first candidate of each that has a base,
/// else the export time.
fn write_run(
    first_column: &mut Column<i64>,
    last_column: &mut Column<i64>,
    row: usize,
    gathered: &Gathered<'_>,
    export: ExportTime,
) {
    let (times, count) = (&gathered.plan.times, gathered.count());
    let system_init = times.system_init.map(|place| gathered.field(place));
    let usable = |field: &&TimeField| {
        field.kind != TimeKind::Uptime || system_init.is_some() || export.uptime_ms.is_some()
    };
    let (first, last) = (
        times.first.iter().find(usable),
        times.last.iter().find(usable),
    );
    for (column, chosen) in [(&mut *first_column, first), (&mut *last_column, last)] {
        let Some(TimeField { kind, place }) = chosen else {
            column.fill(row, count, export.unix_us);
            continue;
        };
        let values = gathered.field(*place);
        let unix_us = export.unix_us;
        match (kind, values.length()) {
            (TimeKind::Milliseconds, 8) => {
                column.extend(row, count, values.u64s().map(milliseconds))
            }
            (TimeKind::Seconds, 4) => {
                let seconds = |value| i64::from(value) * 1_000_000;
                column.extend(row, count, values.u32s().map(seconds));
            }
            (TimeKind::Ntp, _) => column.extend(row, count, values.u64s().map(ntp)),
            (TimeKind::Uptime, 4) if system_init.is_none() => {
                let uptime_ms = export.uptime_ms.unwrap_or_default();
                let at = |value| ExportTime::at_uptime(unix_us, uptime_ms, value);
                column.extend(row, count, values.u32s().map(at));
            }
            (kind, _) => {
                // Rare lengths and bases: reduced-size encoding, boot time in the record.
                let boots = system_init.iter().flat_map(Fields::unsigned);
                let boots = boots.map(Some).chain(std::iter::repeat(None));
                let values = values.unsigned().zip(boots).map(|(value, boot)| {
                    let value = value?;
                    Some(match kind {
                        TimeKind::Milliseconds => milliseconds(value),
                        TimeKind::Seconds => milliseconds(value.saturating_mul(1000)),
                        TimeKind::DeltaMicroseconds => unix_us - i64::try_from(value).ok()?,
                        TimeKind::Uptime => {
                            let uptime_ms = match boot {
                                Some(boot) => uptime(unix_us / 1000, boot?),
                                None => export.uptime_ms?,
                            };
                            ExportTime::at_uptime(unix_us, uptime_ms, u32::try_from(value).ok()?)
                        }
                        TimeKind::Ntp => ntp(value),
                    })
                });
                column.extend_optional(row, values);
            }
        }
    }
    let by_uptime = |field: Option<&TimeField>| field.is_some_and(|f| f.kind == TimeKind::Uptime);
    if by_uptime(first) && by_uptime(last) {
        let rows = first_column
            .written_since(row)
            .iter_mut()
            .zip(last_column.written_since(row));
        for (first, last) in rows {
            *last = (*last).max(*first);
            // An exporter that tells its start with each record means what it says.
            if system_init.is_none() {
                keep_behind(first, last, export.unix_us);
            }
        }
    }
}

/// Exporters send uptimes from before a wrap of their own, or from another clock than the header's.
/// The end is never later than the message that reports it: it is put there; where the start is
/// later too, the flow is moved as it is, with its duration.
#[inline]
fn keep_behind(first: &mut i64, last: &mut i64, export_us: i64) {
    let latest = export_us + AHEAD_US;
    if *first > latest {
        *first -= *last - export_us;
        *last = export_us;
    } else if *last > latest {
        *last = export_us.max(*first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_counts_back_from_the_header() {
        let export = ExportTime::of_uptime(1_700_000_000, 999_999_999, 10_000);
        assert_eq!(export.unix_us, 1_700_000_000_999_000);
        let at = |value| ExportTime::at_uptime(export.unix_us, 10_000, value);
        assert_eq!(at(10_000), 1_700_000_000_999_000);
        assert_eq!(at(4_000), 1_699_999_994_999_000);
    }

    #[test]
    fn a_flow_from_before_the_wrap_is_not_49_days_ahead() {
        let now = 1_700_000_000_000_000;
        assert_eq!(ExportTime::at_uptime(now, 500, u32::MAX), now - 501_000);
    }

    #[test]
    fn the_end_is_never_after_the_message() {
        let behind = |mut first, mut last| {
            keep_behind(&mut first, &mut last, 10_000_000);
            (first, last)
        };
        assert_eq!(behind(5_000_000, 11_000_000), (5_000_000, 11_000_000));
        assert_eq!(behind(900_000_000, 903_000_000), (7_000_000, 10_000_000));
        // A start that can be is left alone.
        assert_eq!(behind(4_000_000, 903_000_000), (4_000_000, 10_000_000));
    }

    #[test]
    fn ntp_times_cross_the_era_of_2036() {
        // RFC 5905 figure 4: 1970-01-01 is 2,208,988,800 s of era 0; era 1 begins on 2036-02-07.
        assert_eq!(ntp(2_208_988_800 << 32 | 0x8000_0000), 500_000);
        assert_eq!(ntp(0), 2_085_978_496_000_000);
    }

    #[test]
    fn boot_time_gives_ipfix_its_uptime_even_after_a_wrap() {
        let export = ExportTime::of_ipfix(1_700_000_000, Some(1_690_000_000_000));
        let uptime_ms = export.uptime_ms.expect("boot time is known");
        assert_eq!(u64::from(uptime_ms), 10_000_000_000 % (1 << 32));
        assert_eq!(ExportTime::of_ipfix(1, None).uptime_ms, None);
    }

    #[test]
    fn no_value_overflows() {
        assert!(milliseconds(u64::MAX) > 0);
        assert!(ntp(u64::MAX) > 0);
        assert_eq!(uptime(0, u64::MAX), 1);
    }
}
