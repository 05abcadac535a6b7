//! What is known of one exporter's observation domain: its counters, samplers, boot time, and the
//! data sets that wait for a template.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;

use crate::counters::{Counters, Scope};
use crate::sessions::{Agreed, SessionKey};
use crate::time::ExportTime;

/// A data set that came before its template, with what decoding it needs later.
#[derive(Debug)]
pub(crate) struct WaitingSet {
    pub(crate) port: u16,
    pub(crate) template_id: u16,
    pub(crate) received_us: i64,
    pub(crate) export: ExportTime,
    pub(crate) body: Box<[u8]>,
}

impl WaitingSet {
    /// The memory it takes: a flood of empty sets must reach the bound too.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.body.len()
    }
}

/// An exporter's observation domain in one export version.
#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) address: IpAddr,
    pub(crate) name: Arc<str>,
    pub(crate) version: u8,
    pub(crate) id: u32,
    /// Its place among the shard's.
    pub(crate) place: usize,
    /// Tells it from one of the same name or place that was put out before.
    pub(crate) serial: u64,
    /// How many transport sessions it has.
    pub(crate) sessions: usize,
    /// What they agree on, by template id.
    pub(crate) agreed: AHashMap<u16, Agreed>,
    pub(crate) counters: Counters,
    pub(crate) last_us: i64,
    /// The sampling rate that options data gave for no sampler in particular.
    pub(crate) rate: Option<u32>,
    /// Rates by the element that names the sampler (48 or 302) and its value there.
    pub(crate) samplers: AHashMap<(u16, u64), u32>,
    /// systemInitTimeMilliseconds (160) from options data.
    pub(crate) system_init_ms: Option<u64>,
    pub(crate) waiting: VecDeque<WaitingSet>,
}

impl Domain {
    pub(crate) fn new(key: SessionKey, name: Arc<str>, place: usize, serial: u64) -> Self {
        Self {
            address: key.address,
            name,
            version: key.version,
            id: key.domain,
            place,
            serial,
            sessions: 0,
            agreed: AHashMap::new(),
            counters: Counters::default(),
            last_us: 0,
            rate: None,
            samplers: AHashMap::new(),
            system_init_ms: None,
            waiting: VecDeque::new(),
        }
    }

    /// Takes what an options data record says of sampling.
    pub(crate) fn learn_rate(&mut self, sampler: Option<(u16, u64)>, rate: u32, limit: usize) {
        match sampler {
            None => self.rate = Some(rate),
            Some(sampler) => {
                if self.samplers.len() < limit || self.samplers.contains_key(&sampler) {
                    self.samplers.insert(sampler, rate);
                } else {
                    self.counters
                        .reasons
                        .add(Scope::Limit, "samplers_per_domain", 1);
                }
            }
        }
    }
}
