//! Cuts the rows that stay into files by the time of their receipt: each file is made by one thread.
//!
//! Where a cut goes through a part of an input, that part is read for both sides. So cuts are made where
//! they go through the fewest rows; and at every hour, which is a partition.

use forebay_store::{Family, FlowParts};

const HOUR_US: i64 = 3_600_000_000;

/// A batch of the input as it was met: which rows, and when they were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) file: usize,
    /// The number of its first row in the file.
    pub(super) first_row: u64,
    pub(super) rows: u64,
    pub(super) least_us: i64,
    pub(super) greatest_us: i64,
}

/// A part of a file, and the batches in it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: usize,
    pub(super) part: usize,
    /// In the order of their rows.
    pub(super) spans: Vec<Span>,
}

impl Part {
    pub(super) fn least_us(&self) -> i64 {
        self.spans
            .iter()
            .map(|span| span.least_us)
            .min()
            .unwrap_or(i64::MAX)
    }

    pub(super) fn greatest_us(&self) -> i64 {
        self.spans
            .iter()
            .map(|span| span.greatest_us)
            .max()
            .unwrap_or(i64::MIN)
    }

    fn rows(&self) -> u64 {
        self.spans.iter().map(|span| span.rows).sum()
    }
}

/// Puts the batches into the parts that they are of, which are those of a family.
pub(super) fn parts(spans: &mut Vec<Span>, files: &[FlowParts], family: Family) -> Vec<Part> {
    spans.sort_unstable_by_key(|span| (span.file, span.first_row));
    let mut parts = Vec::new();
    let mut rest = spans.as_slice();
    for (file, of) in files.iter().enumerate() {
        let count = rest.partition_point(|span| span.file <= file);
        let (mut own, others) = rest.split_at(count);
        rest = others;
        if of.family() != family {
            continue;
        }
        for (part, rows) in of.parts().iter().enumerate() {
            let end = rows.first_row + rows.rows;
            let (spans, later) = own.split_at(own.partition_point(|span| span.first_row < end));
            own = later;
            if !spans.is_empty() {
                parts.push(Part {
                    file,
                    part,
                    spans: spans.to_vec(),
                });
            }
        }
    }
    parts
}

/// From when until when, both included, the rows of a file were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) family: Family,
    pub(super) start_us: i64,
    pub(super) last_us: i64,
}

/// Cuts the rows of `parts` into slices of about `rows` rows.
pub(super) fn slices(family: Family, parts: &[Part], rows: u64) -> Vec<Slice> {
    let mut spans: Vec<&Span> = parts.iter().flat_map(|part| &part.spans).collect();
    spans.sort_unstable_by_key(|span| span.least_us);
    let Some(first) = spans.first() else {
        return Vec::new();
    };
    let through = Through::new(parts);
    let mut slices = Vec::new();
    let mut start_us = first.least_us;
    let mut cut = |end_us: i64, slices: &mut Vec<Slice>| {
        if end_us > start_us {
            slices.push(Slice {
                family,
                start_us,
                last_us: end_us - 1,
            });
            start_us = end_us;
        }
        start_us
    };
    let mut count = 0;
    // The best place for a cut since there were enough rows: its cost, and the rows before it.
    let mut best: Option<(u64, i64, u64)> = None;
    let mut last_us = first.least_us;
    for span in &spans {
        let at_us = span.least_us;
        if at_us.div_euclid(HOUR_US) != last_us.div_euclid(HOUR_US) {
            cut(
                at_us.div_euclid(HOUR_US).saturating_mul(HOUR_US),
                &mut slices,
            );
            count = 0;
            best = None;
        }
        last_us = at_us;
        if count >= rows / 4 * 3 {
            let cost = through.rows(at_us);
            let is_better = |least| cost < least || cost == least && count <= rows;
            if best.is_none_or(|(least, ..)| is_better(least)) {
                best = Some((cost, at_us, count));
            }
        }
        if count >= rows / 4 * 5
            && let Some((_, at_us, before)) = best.take()
        {
            cut(at_us, &mut slices);
            count -= before;
        }
        count += span.rows;
    }
    let greatest = spans.iter().map(|span| span.greatest_us).max();
    let start_us = cut(i64::MIN, &mut slices);
    slices.push(Slice {
        family,
        start_us,
        last_us: greatest.unwrap_or(i64::MAX),
    });
    // They may still span hours, where batches do.
    slices.into_iter().flat_map(by_hour).collect()
}

/// Cuts a slice at the hours in it.
fn by_hour(slice: Slice) -> Vec<Slice> {
    let mut cuts = Vec::new();
    let mut rest = slice;
    // Batches in no order are read for each hour in them. Times that nobody can mean are not cut into
    // millions of hours: what is later is in the folder of the first such hour.
    const HOURS_MAX: usize = 24 * 366;
    while cuts.len() < HOURS_MAX {
        let next = (rest.start_us.div_euclid(HOUR_US) + 1).saturating_mul(HOUR_US);
        if next > rest.last_us {
            break;
        }
        cuts.push(Slice {
            last_us: next - 1,
            ..rest
        });
        rest.start_us = next;
    }
    cuts.push(rest);
    cuts
}

/// How many rows are in parts that a cut would go through.
struct Through {
    /// When parts begin, and the rows of all that have begun until then; and when they end.
    begun: Vec<(i64, u64)>,
    ended: Vec<(i64, u64)>,
}

impl Through {
    fn new(parts: &[Part]) -> Self {
        let sums = |at: fn(&Part) -> i64| {
            let mut sums: Vec<(i64, u64)> =
                parts.iter().map(|part| (at(part), part.rows())).collect();
            sums.sort_unstable();
            let mut sum = 0;
            for (_, rows) in &mut sums {
                sum += *rows;
                *rows = sum;
            }
            sums
        };
        Self {
            begun: sums(Part::least_us),
            ended: sums(Part::greatest_us),
        }
    }

    fn rows(&self, at_us: i64) -> u64 {
        let before = |sums: &[(i64, u64)]| {
            let count = sums.partition_point(|(us, _)| *us < at_us);
            count.checked_sub(1).map_or(0, |last| sums[last].1)
        };
        before(&self.begun) - before(&self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(file: usize, times: &[(i64, i64)]) -> Part {
        let spans = times
            .iter()
            .zip(0..)
            .map(|(&(least_us, greatest_us), place)| Span {
                file,
                first_row: place * 100,
                rows: 100,
                least_us,
                greatest_us,
            });
        Part {
            file,
            part: 0,
            spans: spans.collect(),
        }
    }

    fn ends(parts: &[Part], rows: u64) -> Vec<(i64, i64)> {
        let slices = slices(Family::Ipv4, parts, rows);
        slices
            .iter()
            .map(|slice| (slice.start_us, slice.last_us))
            .collect()
    }

    #[test]
    fn cuts_are_between_files_where_they_are_near() {
        let second = |n: i64| (n * 1_000_000, n * 1_000_000 + 999_999);
        // Two files of ten batches, one after the other, and a third of both times.
        let times: Vec<(i64, i64)> = (0..20).map(second).collect();
        let parts = [
            part(0, &times[..10]),
            part(1, &times[10..]),
            part(2, &times),
        ];
        assert_eq!(
            ends(&parts, 1800),
            [(0, 9_999_999), (10_000_000, 19_999_999)]
        );
        // Where nothing is near, they go through.
        assert_eq!(ends(&parts[2..], 500).len(), 4);
        assert_eq!(ends(&parts, 1 << 20), [(0, 19_999_999)]);
        assert_eq!(ends(&[], 100), []);
    }

    #[test]
    fn a_batch_of_a_hundred_hours_is_cut_at_each() {
        let ends = ends(&[part(0, &[(5, 100 * HOUR_US + 5)])], 1000);
        assert_eq!(ends.len(), 101);
        let in_one =
            |(start, last): &(i64, i64)| start.div_euclid(HOUR_US) == last.div_euclid(HOUR_US);
        assert!(ends.iter().all(in_one));
    }

    #[test]
    fn hours_are_cut_apart() {
        let times = [
            (0, 5),
            (HOUR_US - 1, HOUR_US + 1),
            (3 * HOUR_US, 3 * HOUR_US),
        ];
        let expected = [
            (0, HOUR_US - 1),
            (HOUR_US, 2 * HOUR_US - 1),
            (2 * HOUR_US, 3 * HOUR_US - 1),
            (3 * HOUR_US, 3 * HOUR_US),
        ];
        assert_eq!(ends(&[part(0, &times)], 1 << 20), expected);
    }

    #[test]
    fn every_time_is_in_one_slice_whatever_times_there_are() {
        let times = [(i64::MIN, i64::MIN), (-5, 7), (i64::MAX, i64::MAX)];
        let found = ends(&[part(0, &times)], 100);
        assert_eq!(found.first().map(|first| first.0), Some(i64::MIN));
        assert_eq!(found.last().map(|last| last.1), Some(i64::MAX));
        assert!(
            found.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0),
            "{found:?}"
        );
    }
}
