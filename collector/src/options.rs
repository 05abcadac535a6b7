//! Options data: what an exporter says of itself. Sampling rates and the boot time are kept.

use forebay_wire::record::Records;
use forebay_wire::{Record, Template};

use crate::counters::Scope;
use crate::domain::Domain;

/// Learns from the options data of a set. Returns how many records there were.
pub(crate) fn learn_all(
    template: &Template,
    body: &[u8],
    domain: &mut Domain,
    limit: usize,
) -> u64 {
    let mut records = 0;
    for record in Records::new(template, body) {
        match record {
            Ok(record) => {
                learn(domain, &record, template, limit);
                records += 1;
            }
            Err(error) => domain.counters.reasons.add(Scope::Set, error.reason(), 1),
        }
    }
    domain.counters.options_records += records;
    records
}

/// The fields of one options data record that are of use here.
#[derive(Debug, Default)]
struct Facts {
    sampler: Option<(u16, u64)>,
    rate: Option<u64>,
    taken: Option<u64>,
    space: Option<u64>,
    size: Option<u64>,
    population: Option<u64>,
    probability: Option<f64>,
    system_init_ms: Option<u64>,
}

/// Learns from one record. `version` decides what the scopes' numbers mean.
fn learn(domain: &mut Domain, record: &Record<'_, '_>, template: &Template, limit: usize) {
    let mut facts = Facts::default();
    for (place, (field, bytes)) in record.fields().enumerate() {
        // RFC 3954 §6.1: v9's scopes are numbered apart from its elements.
        let is_v9_scope = domain.version == 9 && place < usize::from(template.scope_count);
        if field.element.enterprise == 0 && !is_v9_scope {
            facts.take(field.element.number, bytes);
        }
    }
    if let Some(rate) = facts.rate() {
        domain.learn_rate(facts.sampler, rate, limit);
    }
    if facts.system_init_ms.is_some() {
        domain.system_init_ms = facts.system_init_ms;
    }
}

impl Facts {
    fn take(&mut self, number: u16, bytes: &[u8]) {
        if number == 311 {
            self.probability = bytes.try_into().ok().map(f64::from_be_bytes);
            return;
        }
        if bytes.is_empty() || bytes.len() > 8 {
            return;
        }
        let value = Some(
            bytes
                .iter()
                .fold(0, |value, &byte| value << 8 | u64::from(byte)),
        );
        match number {
            // samplerId, selectorId.
            48 | 302 => self.sampler = value.map(|value| (number, value)),
            // samplingInterval, samplerRandomInterval.
            34 | 50 => self.rate = value,
            // samplingPacketInterval, samplingPacketSpace.
            305 => self.taken = value,
            306 => self.space = value,
            // samplingSize, samplingPopulation.
            309 => self.size = value,
            310 => self.population = value,
            160 => self.system_init_ms = value,
            _ => {}
        }
    }

    /// Of how many packets one was taken.
    fn rate(&self) -> Option<u32> {
        let interval = || interval_rate(self.taken?, self.space?);
        let fraction = || self.population?.checked_div(self.size?);
        let probability = || {
            let probability = self.probability.filter(|&p| p > 0.0 && p <= 1.0)?;
            Some((1.0 / probability).round() as u64)
        };
        let rate = self
            .rate
            .or_else(interval)
            .or_else(fraction)
            .or_else(probability)?;
        // 0 says nothing; 1 says that every packet was taken.
        u32::try_from(rate).ok().filter(|&rate| rate > 0)
    }
}

/// RFC 5477 §8.2.2–8.2.3: `taken` packets, then `space` that are not.
pub(crate) fn interval_rate(taken: u64, space: u64) -> Option<u64> {
    taken.checked_add(space)?.checked_div(taken)
}
