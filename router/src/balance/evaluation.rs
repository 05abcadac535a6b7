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

/// What no split into as many parts can go below, as long as pins and weights stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// The imbalance.
    pub imbalance: f64,
    /// What makes it.
    pub cause: FloorCause,
}

/// What makes a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloorCause {
    /// This exporter, which is the heaviest that is not pinned, alone.
    Exporter(IpAddr),
    /// What is pinned to this collector alone.
    Pins(usize),
    /// Collectors of weight 0 get less than their share: the others have to take it.
    WeightZero,
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
    floor: [Option<Floor>; 3],
    peaks: [Option<PeakSecond>; 3],
}

impl Evaluation {
    /// The largest load over what would be even: of collectors by their weights, or of shards where there are no
    /// collectors. 1 is even; `None` where nothing was counted, or there are too few shards for the collectors.
    ///
    /// A collector of weight 0 has a share only where something of what was counted is pinned to it: how strong it is
    /// is not known, and taken to be the mean of the others.
    #[must_use]
    pub const fn imbalance(&self, measure: Measure) -> Option<f64> {
        self.imbalance[measure as usize]
    }

    /// The imbalance that no split into as many parts can go below; `None` as for [`imbalance`](Self::imbalance).
    #[must_use]
    pub const fn floor(&self, measure: Measure) -> Option<Floor> {
        self.floor[measure as usize]
    }

    /// The second in which the fullest had the most to take; `None` where the samples had no time, and as for
    /// [`imbalance`](Self::imbalance).
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
            .map(|sheet| sheet.evaluate(&exporters, knows_current))
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
    /// Whether its loads mean something: there are no collectors, or enough shards for them.
    fits: bool,
    /// The parts by their weights in the table; 1 for each shard.
    weights: Vec<u32>,
    /// What each part should have to take, relative to the others.
    capacities: Vec<f64>,
    peaks: [Option<Peak>; 3],
}

/// A worst second so far. What its imbalance is turns out at the end, when it is known which collectors get something.
#[derive(Clone)]
struct Peak {
    second: u64,
    largest: u64,
    loads: Vec<u64>,
}

/// How strong collectors of these weights are. Where the weight is 0 it is not known: as the mean of the others.
pub(super) fn capacities(weights: &[u32]) -> Vec<f64> {
    let weighted = || weights.iter().filter(|weight| **weight > 0);
    let sum: f64 = weighted().copied().map(f64::from).sum();
    let mean = sum / weighted().count().max(1) as f64;
    let capacity = |weight: &u32| match weight {
        0 => mean,
        weight => f64::from(*weight),
    };
    weights.iter().map(capacity).collect()
}

impl Sheet {
    pub(super) fn new(split: Split, weights: &[u32]) -> Self {
        Self::with_capacities(split, weights, &capacities(weights))
    }

    /// A table filled by `weights`, of collectors that are as strong as `capacities` say.
    pub(super) fn with_capacities(split: Split, weights: &[u32], capacities: &[f64]) -> Self {
        let table = Table::new(split.shards, weights).ok();
        let shards = split.shards.get() as usize;
        let (weights_of_parts, capacities) = match &table {
            Some(_) => (weights.to_vec(), capacities.to_vec()),
            None => (vec![1; shards], vec![1.0; shards]),
        };
        Self {
            split,
            fits: table.is_some() || weights.is_empty(),
            table,
            weights: weights_of_parts,
            capacities,
            peaks: [const { None }; 3],
        }
    }

    /// How many collectors, or shards, there are.
    pub(super) fn parts(&self) -> usize {
        self.weights.len()
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
        for (measure, peak) in Measure::ALL.into_iter().zip(&mut self.peaks) {
            let largest = parts.iter().map(|part| part.of(measure)).max().unwrap_or(0);
            if largest > peak.as_ref().map_or(0, |peak| peak.largest) {
                *peak = Some(Peak {
                    second,
                    largest,
                    loads: of(parts, measure),
                });
            }
        }
    }

    /// The largest load over the even one.
    pub(super) fn imbalance(&self, parts: &[Load], measure: Measure) -> Option<f64> {
        let loads = of(parts, measure);
        imbalance(&loads, &self.shared(&loads))
    }

    /// The capacities that share in these loads, which are of all time: a part of weight 0 that gets nothing has none.
    fn shared(&self, loads: &[u64]) -> Vec<f64> {
        let parts = loads.iter().zip(&self.weights).zip(&self.capacities);
        parts
            .map(|((load, weight), capacity)| match (load, weight) {
                (0, 0) => 0.0,
                _ => *capacity,
            })
            .collect()
    }

    fn floor(&self, exporters: &[ExporterLoad], measure: Measure) -> Option<Floor> {
        let mut pinned = vec![0; self.parts()];
        let mut free: u64 = 0;
        let mut heaviest: Option<(u64, IpAddr)> = None;
        for exporter in exporters {
            let load = exporter.load.of(measure);
            match exporter.pinned.and_then(|part| pinned.get_mut(part)) {
                Some(pinned) => *pinned = load.saturating_add(*pinned),
                None => {
                    free = load.saturating_add(free);
                    if heaviest.is_none_or(|(most, _)| most < load) {
                        heaviest = Some((load, exporter.exporter));
                    }
                }
            }
        }
        let shared = self.shared(&pinned);
        let weighted = || {
            let parts = self.weights.iter().zip(&shared).zip(&pinned);
            parts.filter(|((weight, _), _)| **weight > 0)
        };
        let sum =
            |loads: &mut dyn Iterator<Item = &u64>| -> f64 { loads.map(|load| *load as f64).sum() };
        let total = free as f64 + sum(&mut pinned.iter());
        let even = total / shared.iter().sum::<f64>();
        let strongest = weighted().map(|((_, of), _)| *of).fold(0.0, f64::max);
        let exporter = heaviest.map(|(load, exporter)| Floor {
            imbalance: load as f64 / strongest / even,
            cause: FloorCause::Exporter(exporter),
        });
        let pins = pinned.iter().zip(&shared).enumerate();
        let pins = pins.filter(|(_, (load, _))| **load > 0);
        let pins = pins.map(|(part, (load, of))| Floor {
            imbalance: *load as f64 / of / even,
            cause: FloorCause::Pins(part),
        });
        let left = free as f64 + sum(&mut weighted().map(|(_, pinned)| pinned));
        let others = Floor {
            imbalance: left / weighted().map(|((_, of), _)| *of).sum::<f64>() / even,
            cause: FloorCause::WeightZero,
        };
        // Of equals `max_by` takes the last: an exporter is the plainest cause.
        let causes = std::iter::once(others).chain(pins).chain(exporter);
        let floor = causes.max_by(|a, b| a.imbalance.total_cmp(&b.imbalance))?;
        (total > 0.0).then_some(Floor {
            imbalance: floor.imbalance.max(1.0),
            ..floor
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

    fn evaluate(self, exporters: &[ExporterLoad], knows_current: bool) -> Evaluation {
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
        let measures = Measure::ALL.map(|measure| self.fits.then_some(measure));
        Evaluation {
            split: self.split,
            prime: is_prime(self.split.shards.get()),
            imbalance: measures.map(|measure| self.imbalance(&parts, measure?)),
            floor: measures.map(|measure| self.floor(exporters, measure?)),
            peaks: measures.map(|measure| self.peak(&parts, measure?)),
            shards,
            collectors: self.table.is_some().then_some(parts),
            moved,
        }
    }

    fn peak(&self, parts: &[Load], measure: Measure) -> Option<PeakSecond> {
        let peak = self.peaks[measure as usize].as_ref()?;
        let shared = self.shared(&of(parts, measure));
        Some(PeakSecond {
            second: peak.second,
            largest: peak.largest,
            imbalance: imbalance(&peak.loads, &shared),
        })
    }
}

fn of(parts: &[Load], measure: Measure) -> Vec<u64> {
    parts.iter().map(|part| part.of(measure)).collect()
}

/// The largest load over the even one. Parts without capacity are left out.
fn imbalance(loads: &[u64], capacities: &[f64]) -> Option<f64> {
    let load: f64 = loads.iter().map(|load| *load as f64).sum();
    let capacity: f64 = capacities.iter().sum();
    let even = load / capacity;
    (load > 0.0).then(|| {
        let parts = loads.iter().zip(capacities);
        parts
            .filter(|(_, capacity)| **capacity > 0.0)
            .map(|(load, capacity)| *load as f64 / capacity / even)
            .fold(1.0, f64::max)
    })
}
