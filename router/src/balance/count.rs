//! Counting: samples in, loads of exporters, and of each split's shards in the second that is the worst so far.

use std::collections::HashMap;
use std::net::IpAddr;

use super::evaluation::{Balance, ExporterLoad, Sheet};
use super::{Load, Split};
use crate::MAX_SHARDS;

/// What is to be evaluated.
pub struct Setup<'a> {
    /// The splits, in the order in which they are evaluated. Those of more than [`MAX_SHARDS`] are left out.
    pub splits: Vec<Split>,
    /// The collectors' weights. Empty: there are no collectors yet, and each shard counts as one.
    pub weights: Vec<u32>,
    /// The collector that an exporter is pinned to, whatever the split.
    pub pinned: &'a dyn Fn(IpAddr) -> Option<usize>,
    /// How many exporters are kept. What others send is counted as beyond the limit.
    pub exporters_max: usize,
}

/// Takes samples until there are no more.
pub struct Counter<'a> {
    setup: Setup<'a>,
    index: HashMap<IpAddr, usize>,
    exporters: Vec<Counted>,
    /// The second that samples are of, and who sent in it.
    second: Option<u64>,
    active: Vec<usize>,
    seconds: u64,
    sheets: Vec<Sheet>,
    beyond_limit: Load,
}

struct Counted {
    load: ExporterLoad,
    second: Load,
}

impl<'a> Counter<'a> {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(setup: Setup<'a>) -> Self {
        let sheets = setup
            .splits
            .iter()
            .filter(|split| split.shards.get() <= MAX_SHARDS)
            .map(|split| Sheet::new(*split, &setup.weights))
            .collect();
        Self {
            setup,
            index: HashMap::new(),
            exporters: Vec::new(),
            second: None,
            active: Vec::new(),
            seconds: 0,
            sheets,
            beyond_limit: Load::default(),
        }
    }

    /// Counts what an exporter sent, in a second since 1970 if that is known.
    ///
    /// A second ends when a later one begins. What comes late counts in the second that is under way. Who sent nothing
    /// is no exporter.
    pub fn add(&mut self, exporter: IpAddr, second: Option<u64>, load: &Load) {
        if *load == Load::default() {
            return;
        }
        let exporter = exporter.to_canonical();
        if let Some(second) = second {
            if self.second.is_some_and(|current| current < second) {
                self.end_second();
            }
            self.second = self.second.max(Some(second));
        }
        let Some(index) = self.find(exporter) else {
            self.beyond_limit.add(load);
            return;
        };
        let Some(counted) = self.exporters.get_mut(index) else {
            return;
        };
        counted.load.load.add(load);
        if second.is_some() {
            if counted.second == Load::default() {
                self.active.push(index);
            }
            counted.second.add(load);
        }
    }

    /// Counts the samples to come as another input's: its time may be any other.
    pub fn next_input(&mut self) {
        self.end_second();
        self.second = None;
    }

    /// The loads of all splits. `current` is the collector, among those of the setup, that an exporter is sent to now;
    /// `None` where it is sent to none of them.
    #[must_use]
    pub fn finish(mut self, current: Option<&dyn Fn(IpAddr) -> Option<usize>>) -> Balance {
        self.end_second();
        let exporters = self.exporters.into_iter().map(|counted| counted.load);
        Balance::new(
            exporters.collect(),
            self.sheets,
            self.setup.weights,
            self.seconds,
            self.beyond_limit,
            current,
        )
    }

    fn find(&mut self, exporter: IpAddr) -> Option<usize> {
        if let Some(index) = self.index.get(&exporter) {
            return Some(*index);
        }
        if self.exporters.len() >= self.setup.exporters_max {
            return None;
        }
        let index = self.exporters.len();
        let collectors = self.setup.weights.len();
        self.index.insert(exporter, index);
        self.exporters.push(Counted {
            load: ExporterLoad {
                exporter,
                load: Load::default(),
                pinned: (self.setup.pinned)(exporter).filter(|collector| *collector < collectors),
                current: None,
            },
            second: Load::default(),
        });
        Some(index)
    }

    /// Sees for each split what this second would have meant.
    fn end_second(&mut self) {
        let Some(second) = self.second else {
            return;
        };
        if self.active.is_empty() {
            return;
        }
        self.seconds += 1;
        let mut parts = Vec::new();
        for sheet in &mut self.sheets {
            parts.clear();
            parts.resize(sheet.parts(), Load::default());
            for index in &self.active {
                let Some(counted) = self.exporters.get(*index) else {
                    continue;
                };
                let part = sheet.part(counted.load.exporter, counted.load.pinned);
                if let Some(part) = part.and_then(|part| parts.get_mut(part)) {
                    part.add(&counted.second);
                }
            }
            sheet.see_second(second, &parts);
        }
        for index in self.active.drain(..) {
            if let Some(counted) = self.exporters.get_mut(index) {
                counted.second = Load::default();
            }
        }
    }
}
