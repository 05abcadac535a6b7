//! What to do where no hash makes the split even: pins and weights.

use std::net::IpAddr;

use super::evaluation::{Sheet, capacities};
use super::{Balance, EVEN, Evaluation, ExporterLoad, Load, Measure};

/// The most exporters that are to be pinned: who pins more has a table to keep.
const PINS_MAX: usize = 16;

/// How much a pin must gain to be worth having.
const GAIN: f64 = 0.01;

/// An exporter that should be pinned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pinned {
    /// The exporter.
    pub exporter: IpAddr,
    /// The collector to pin it to; the shard, where there are no collectors.
    pub collector: usize,
    /// Its part of everything, from 0 to 1.
    pub share: f64,
}

/// Pins and weights that make a split more even.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// The exporters to pin, the heaviest first. None where weights alone help.
    pub pins: Vec<Pinned>,
    /// The weights to fill the table by. A collector that pinned exporters alone fill gets 0, also where they are pinned
    /// already.
    pub weights: Vec<u32>,
    /// The imbalance with these pins and weights.
    pub imbalance: f64,
    /// Exporters that would go to another collector than now; `None` where that is not known.
    pub moved: Option<u64>,
}

impl Balance {
    /// The fewest pins that make a split even, or as even as it can be; `None` where it is even as it is, or where pins
    /// gain nothing.
    #[must_use]
    pub fn advise(&self, evaluation: &Evaluation, measure: Measure) -> Option<Advice> {
        let before = evaluation.imbalance(measure)?;
        if before <= EVEN {
            return None;
        }
        let weights = if evaluation.collectors.is_some() {
            self.weights.clone()
        } else {
            vec![1; evaluation.split.shards.get() as usize]
        };
        let mut plan = Plan {
            balance: self,
            evaluation,
            measure,
            capacities: capacities(&weights),
            weights,
            own: Vec::new(),
        };
        let heaviest = self.heaviest(measure);
        let mut free: Vec<ExporterLoad> = heaviest
            .into_iter()
            .filter(|exporter| exporter.pinned.is_none())
            .collect();
        plan.give_own_collectors(&mut free);
        let floor = evaluation.floor(measure).map(|floor| floor.imbalance);
        let enough = EVEN.max(floor.unwrap_or(1.0) + GAIN);
        let mut best = plan.with_pins(&[])?;
        for pins in 1..=free.len().min(PINS_MAX) {
            if best.imbalance <= enough {
                break;
            }
            let candidate = plan.with_pins(free.get(..pins)?)?;
            if candidate.imbalance < best.imbalance - GAIN {
                best = candidate;
            }
        }
        (best.imbalance < before - GAIN).then_some(best)
    }
}

struct Plan<'b> {
    balance: &'b Balance,
    evaluation: &'b Evaluation,
    measure: Measure,
    capacities: Vec<f64>,
    weights: Vec<u32>,
    /// Exporters with a collector of their own.
    own: Vec<(ExporterLoad, usize)>,
}

impl Plan<'_> {
    /// Takes out of the table what pins fill: collectors that have enough by the pins that there are, and one for each
    /// exporter that fills a collector alone, from the heaviest down, as long as others are left for the rest.
    fn give_own_collectors(&mut self, free: &mut Vec<ExporterLoad>) {
        let measure = self.measure;
        let load = |exporter: &ExporterLoad| exporter.load.of(measure) as f64;
        let mut pinned = vec![0.0; self.weights.len()];
        for exporter in &self.balance.exporters {
            if let Some(pinned) = exporter.pinned.and_then(|part| pinned.get_mut(part)) {
                *pinned += load(exporter);
            }
        }
        let mut rest: f64 = free.iter().map(load).sum();
        loop {
            let weighted = || {
                let parts = self.weights.iter().zip(&pinned).enumerate();
                parts.filter(|(_, (weight, _))| **weight > 0)
            };
            if weighted().count() < 2 {
                return;
            }
            let left: f64 = weighted().map(|(_, (weight, _))| f64::from(*weight)).sum();
            let all = rest + weighted().map(|(_, (_, pinned))| *pinned).sum::<f64>();
            let even = |weight: u32| all * f64::from(weight) / left;
            let full = weighted()
                .find(|(_, (weight, pinned))| **pinned > 0.0 && **pinned >= even(**weight));
            if let Some((collector, _)) = full {
                self.take_out(collector);
                continue;
            }
            let Some(exporter) = free.first().copied() else {
                return;
            };
            // Of those that are equally strong the one with the least pinned to it, and of these the first.
            let strongest =
                weighted().min_by(|(_, a), (_, b)| b.0.cmp(a.0).then(a.1.total_cmp(b.1)));
            let Some((collector, (weight, _))) = strongest else {
                return;
            };
            if load(&exporter) < even(*weight) || self.own.len() >= PINS_MAX {
                return;
            }
            self.take_out(collector);
            rest -= load(&exporter);
            self.own.push((exporter, collector));
            free.remove(0);
        }
    }

    fn take_out(&mut self, collector: usize) {
        if let Some(weight) = self.weights.get_mut(collector) {
            *weight = 0;
        }
    }

    /// What comes of pinning these besides, each to the collector that has the least to take.
    fn with_pins(&self, pins: &[ExporterLoad]) -> Option<Advice> {
        let split = self.evaluation.split;
        let sheet = Sheet::with_capacities(split, &self.weights, &self.capacities);
        if sheet.parts() != self.weights.len() {
            // Too few shards for these weights.
            return None;
        }
        let mut placed = self.own.clone();
        let is_placed = |exporter: IpAddr| {
            let own = self.own.iter().map(|(own, _)| own.exporter);
            own.chain(pins.iter().map(|pin| pin.exporter))
                .any(|other| other == exporter)
        };
        let mut others = self.balance.exporters.clone();
        others.retain(|exporter| !is_placed(exporter.exporter));
        let mut loads = sheet.loads(&others);
        for (exporter, collector) in &self.own {
            loads.get_mut(*collector)?.add(&exporter.load);
        }
        for pin in pins {
            let filled = |collector: usize, load: &Load| {
                let capacity = self.weights.get(collector).copied().unwrap_or(0);
                let load = load.of(self.measure) as f64 + pin.load.of(self.measure) as f64;
                load / f64::from(capacity)
            };
            let (collector, _) = loads
                .iter()
                .enumerate()
                .filter(|(collector, _)| self.weights.get(*collector) > Some(&0))
                .min_by(|a, b| filled(a.0, a.1).total_cmp(&filled(b.0, b.1)))?;
            loads.get_mut(collector)?.add(&pin.load);
            placed.push((*pin, collector));
        }
        let moved = |exporter: &ExporterLoad| {
            let pin = placed
                .iter()
                .find(|(pin, _)| pin.exporter == exporter.exporter);
            let pinned = pin.map_or(exporter.pinned, |(_, collector)| Some(*collector));
            exporter.current != sheet.part(exporter.exporter, pinned)
        };
        let knows_current = self.balance.knows_current && self.evaluation.collectors.is_some();
        Some(Advice {
            moved: knows_current.then(|| {
                let exporters = self.balance.exporters.iter();
                exporters.filter(|exporter| moved(exporter)).count() as u64
            }),
            pins: placed
                .iter()
                // Where its hash sends it anyway it needs no pin.
                .filter(|(exporter, collector)| {
                    sheet.part(exporter.exporter, None) != Some(*collector)
                })
                .map(|(exporter, collector)| Pinned {
                    exporter: exporter.exporter,
                    collector: *collector,
                    share: self.balance.share(exporter, self.measure),
                })
                .collect(),
            weights: self.weights.clone(),
            imbalance: sheet.imbalance(&loads, self.measure)?,
        })
    }
}
