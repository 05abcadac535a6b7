//! What to do where no hash makes the split even: pins and weights.

use std::net::IpAddr;

use super::evaluation::Sheet;
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
    /// The exporters to pin, the heaviest first.
    pub pins: Vec<Pinned>,
    /// The weights to fill the table by. A collector that pinned exporters alone fill gets 0.
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
        let capacities = if evaluation.collectors.is_some() {
            self.weights.clone()
        } else {
            vec![1; evaluation.split.shards.get() as usize]
        };
        let mut plan = Plan {
            balance: self,
            evaluation,
            measure,
            weights: capacities.clone(),
            capacities,
            own: Vec::new(),
        };
        let heaviest = self.heaviest(measure);
        let mut free: Vec<ExporterLoad> = heaviest
            .into_iter()
            .filter(|exporter| exporter.pinned.is_none())
            .collect();
        plan.give_own_collectors(&mut free);
        let floor = evaluation.floor(measure).unwrap_or(1.0);
        let enough = EVEN.max(floor + GAIN);
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
    capacities: Vec<u32>,
    weights: Vec<u32>,
    /// Exporters with a collector of their own.
    own: Vec<(ExporterLoad, usize)>,
}

impl Plan<'_> {
    /// Gives exporters that fill a collector alone one of their own, from the strongest down, as long as others are left
    /// for the rest.
    fn give_own_collectors(&mut self, free: &mut Vec<ExporterLoad>) {
        let mut rest: u64 = free.iter().map(|e| e.load.of(self.measure)).sum();
        while self.own.len() < PINS_MAX
            && let Some(exporter) = free.first().copied()
        {
            let left: u64 = self.weights.iter().copied().map(u64::from).sum();
            let strongest = self.weights.iter().enumerate().rev();
            let Some((collector, weight)) = strongest.max_by_key(|(_, weight)| **weight) else {
                return;
            };
            let load = exporter.load.of(self.measure);
            let even = rest as f64 * f64::from(*weight) / left as f64;
            if u64::from(*weight) == left || (load as f64) < even {
                return;
            }
            if let Some(weight) = self.weights.get_mut(collector) {
                *weight = 0;
            }
            rest -= load;
            self.own.push((exporter, collector));
            free.remove(0);
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
                let load = load.of(self.measure) + pin.load.of(self.measure);
                load as f64 / f64::from(capacity)
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
