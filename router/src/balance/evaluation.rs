//! What each split would mean: the loads of its shards and collectors, and how uneven they are.

use std::net::IpAddr;

use super::{Load, Measure, Split};
use crate::{Table, is_prime};

/// What an exporter sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExporterLoad {
    /// Its address.
    pub exporter: IpAddr,
    /// What it sent in all.
    pub load: Load,
    /// The collector that it is pinned to.
    pub pinned: Option<usize>,
    /// The collector that it is sent to now; `None` where that is none of them, or not known.
    pub current: Option<usize>,
}

/// The second in which a collector (or a shard, where there are no collectors) had more to take than in any other: the
/// one in which it would have dropped first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeakSecond {
    /// In seconds since 1970.
    pub second: u64,
    /// What the fullest had to take.
    pub largest: u64,
    /// The imbalance in that second.
    pub imbalance: Option<f64>,
}

/// What a split would have meant for the loads that were counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The number of shards and the hash.
    pub split: Split,
    /// Whether the number of shards is prime.
    pub prime: bool,
    /// The load of each shard, without that of pinned exporters.
    pub shards: Vec<Load>,
    /// The load of each collector; `None` where there are no collectors, or too few shards for all of them.
    pub collectors: Option<Vec<Load>>,
    /// Exporters that the split would send to another collector than now; `None` where that is not known.
    pub moved: Option<u64>,
    imbalance: [Option<f64>; 3],
    floor: [Option<f64>; 3],
    peaks: [Option<PeakSecond>; 3],
}

impl Evaluation {
    /// The largest load over what would be even: of collectors by their weights, or of shards where there are no
    /// collectors. 1 is even; `None` where nothing was counted.
    #[must_use]
    pub const fn imbalance(&self, measure: Measure) -> Option<f64> {
        self.imbalance[measure as usize]
    }

    /// The imbalance that no split into as many parts can go below: what the heaviest exporter alone makes.
    #[must_use]
    pub const fn floor(&self, measure: Measure) -> Option<f64> {
        self.floor[measure as usize]
    }

    /// The second in which the fullest had the most to take; `None` where the samples had no time.
    #[must_use]
    pub const fn peak(&self, measure: Measure) -> Option<PeakSecond> {
        self.peaks[measure as usize]
    }
}

/// The loads of all exporters under all splits.
#[derive(Debug, Clone)]
pub struct Balance {
    /// The exporters, each once, in the order of their addresses.
    pub exporters: Vec<ExporterLoad>,
    /// What all of them sent.
    pub total: Load,
    /// What was not counted because there were too many exporters.
    pub beyond_limit: Load,
    /// The collectors' weights; empty where there are none.
    pub weights: Vec<u32>,
    /// How many seconds had samples.
    pub seconds: u64,
    /// The splits, in the order of the setup.
    pub evaluations: Vec<Evaluation>,
    /// Whether it is known where exporters are sent to now.
    pub(super) knows_current: bool,
}

impl Balance {
    pub(super) fn new(
        mut exporters: Vec<ExporterLoad>,
        sheets: Vec<Sheet>,
        weights: Vec<u32>,
        seconds: u64,
        beyond_limit: Load,
        current: Option<&dyn Fn(IpAddr) -> Option<usize>>,
    ) -> Self {
        exporters.sort_unstable_by_key(|exporter| exporter.exporter);
        let mut total = Load::default();
        for exporter in &exporters {
            total.add(&exporter.load);
        }
        if let Some(current) = current {
            for exporter in &mut exporters {
                exporter.current = current(exporter.exporter);
            }
        }
        let knows_current = current.is_some();
        let evaluations = sheets
            .into_iter()
            .map(|sheet| sheet.evaluate(&exporters, &total, knows_current))
            .collect();
        Self {
            exporters,
            total,
            beyond_limit,
            weights,
            seconds,
            evaluations,
            knows_current,
        }
    }

    /// What the collectors' capacity is best judged by: records where they are known, else datagrams, else bytes.
    #[must_use]
    pub fn measure(&self) -> Measure {
        [Measure::Records, Measure::Datagrams, Measure::Bytes]
            .into_iter()
            .find(|measure| self.total.of(*measure) > 0)
            .unwrap_or(Measure::Datagrams)
    }

    /// The exporters from the heaviest down.
    #[must_use]
    pub fn heaviest(&self, measure: Measure) -> Vec<ExporterLoad> {
        let mut exporters = self.exporters.clone();
        exporters.sort_by_key(|exporter| std::cmp::Reverse(exporter.load.of(measure)));
        exporters
    }

    /// An exporter's part of all that was sent, from 0 to 1.
    #[must_use]
    pub fn share(&self, exporter: &ExporterLoad, measure: Measure) -> f64 {
        exporter.load.of(measure) as f64 / self.total.of(measure).max(1) as f64
    }
}

/// A split while samples are counted.
pub(super) struct Sheet {
    split: Split,
    /// Where there are collectors, and enough shards for them.
    table: Option<Table>,
    /// What each part should have to take, relative to the others: a collector's weight, or 1 for each shard.
    capacities: Vec<u32>,
    peaks: [Option<PeakSecond>; 3],
}

impl Sheet {
    pub(super) fn new(split: Split, weights: &[u32]) -> Self {
        Self::with_capacities(split, weights, weights)
    }

    /// A table filled by `weights`, of collectors that are as strong as `capacities` say.
    pub(super) fn with_capacities(split: Split, weights: &[u32], capacities: &[u32]) -> Self {
        let table = Table::new(split.shards, weights).ok();
        let capacities = match &table {
            Some(_) => capacities.to_vec(),
            None => vec![1; split.shards.get() as usize],
        };
        Self {
            split,
            table,
            capacities,
            peaks: [None; 3],
        }
    }

    /// How many collectors, or shards, there are.
    pub(super) fn parts(&self) -> usize {
        self.capacities.len()
    }

    /// Where an exporter's load goes. A pinned exporter goes to no shard.
    pub(super) fn part(&self, exporter: IpAddr, pinned: Option<usize>) -> Option<usize> {
        let shard = self.split.hash.shard(exporter, self.split.shards);
        match (&self.table, pinned) {
            (Some(_), Some(collector)) => Some(collector),
            (Some(table), None) => Some(table.collector(shard)),
            (None, Some(_)) => None,
            (None, None) => usize::try_from(shard).ok(),
        }
    }

    /// Keeps a second with these loads if the fullest part never had more to take.
    pub(super) fn see_second(&mut self, second: u64, parts: &[Load]) {
        for measure in Measure::ALL {
            let largest = parts.iter().map(|part| part.of(measure)).max().unwrap_or(0);
            let peak = self.peaks[measure as usize];
            if largest > peak.map_or(0, |peak| peak.largest) {
                self.peaks[measure as usize] = Some(PeakSecond {
                    second,
                    largest,
                    imbalance: self.imbalance(parts, measure),
                });
            }
        }
    }

    /// The largest load over the even one. Parts without capacity are left out: there is nothing even about them.
    pub(super) fn imbalance(&self, parts: &[Load], measure: Measure) -> Option<f64> {
        let counted = || {
            let capacities = self.capacities.iter().copied();
            parts
                .iter()
                .map(|load| load.of(measure) as f64)
                .zip(capacities.map(f64::from))
                .filter(|(_, capacity)| *capacity > 0.0)
        };
        let load: f64 = counted().map(|(load, _)| load).sum();
        let capacity: f64 = counted().map(|(_, capacity)| capacity).sum();
        let even = load / capacity;
        (load > 0.0).then(|| {
            counted()
                .map(|(load, capacity)| load / capacity / even)
                .fold(1.0, f64::max)
        })
    }

    /// What the heaviest exporter alone makes, where it goes to the strongest collector.
    fn floor(&self, exporters: &[ExporterLoad], total: &Load, measure: Measure) -> Option<f64> {
        let heaviest = exporters.iter().map(|e| e.load.of(measure)).max()?;
        let total = total.of(measure);
        let capacity: f64 = self.capacities.iter().copied().map(f64::from).sum();
        let strongest = self.capacities.iter().copied().max()?;
        (total > 0 && strongest > 0).then(|| {
            let even = total as f64 * f64::from(strongest) / capacity;
            (heaviest as f64 / even).max(1.0)
        })
    }

    /// The loads of collectors, or of shards, in all.
    pub(super) fn loads(&self, exporters: &[ExporterLoad]) -> Vec<Load> {
        let mut parts = vec![Load::default(); self.parts()];
        for exporter in exporters {
            let part = self.part(exporter.exporter, exporter.pinned);
            if let Some(part) = part.and_then(|part| parts.get_mut(part)) {
                part.add(&exporter.load);
            }
        }
        parts
    }

    fn evaluate(self, exporters: &[ExporterLoad], total: &Load, knows_current: bool) -> Evaluation {
        let mut shards = vec![Load::default(); self.split.shards.get() as usize];
        for exporter in exporters.iter().filter(|e| e.pinned.is_none()) {
            let shard = self.split.hash.shard(exporter.exporter, self.split.shards);
            if let Some(load) = shards.get_mut(shard as usize) {
                load.add(&exporter.load);
            }
        }
        let parts = self.loads(exporters);
        let moved = (knows_current && self.table.is_some()).then(|| {
            let moved = exporters.iter().filter(|exporter| {
                exporter.current != self.part(exporter.exporter, exporter.pinned)
            });
            moved.count() as u64
        });
        Evaluation {
            split: self.split,
            prime: is_prime(self.split.shards.get()),
            imbalance: Measure::ALL.map(|measure| self.imbalance(&parts, measure)),
            floor: Measure::ALL.map(|measure| self.floor(exporters, total, measure)),
            shards,
            collectors: self.table.is_some().then_some(parts),
            moved,
            peaks: self.peaks,
        }
    }
}
