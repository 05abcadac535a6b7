//! A decoder under small limits, whose counters must balance after every datagram.

use std::net::{IpAddr, SocketAddr};

use forebay_collector::{
    Columns, Counters, Decoder, DecoderConfig, ExtraType, Limits, Output, ReadyBatch, Scope,
};
use forebay_udp::Datagram;
use forebay_wire::ElementId;

/// When the first datagram arrives, in microseconds since 1970: a while before a full hour.
pub const START_US: i64 = 1_795_276_000_000_000;

const LIMITS: Limits = Limits {
    exporters: 3,
    domains: 8,
    domains_per_exporter: 4,
    templates_per_domain: 4,
    templates: 12,
    fields_per_template: 64,
    samplers_per_domain: 4,
    pending_bytes_per_exporter: 2_000,
    pending_bytes: 5_000,
    pending_seconds: 5,
};

/// Columns of every type, of elements that a fuzzer finds soon.
///
/// # Panics
/// A name is taken.
#[must_use]
pub fn extra_columns() -> Columns {
    let mut columns = Columns::default();
    for ((name, kind), number) in ExtraType::NAMES.into_iter().zip(1..) {
        let element = ElementId {
            enterprise: 0,
            number,
        };
        columns
            .add(&format!("extra_{name}"), element, kind)
            .expect("names are free");
    }
    columns
}

/// A decoder, and how many rows it has handed over.
pub struct Books {
    decoder: Decoder,
    config: DecoderConfig,
    now_us: i64,
    rows: u64,
    /// What of the rows are of decoders that were restarted.
    records_before: u64,
    batches: Vec<ReadyBatch>,
    keep: bool,
}

impl Books {
    /// Books of a new decoder. Its batches are kept for [`finish`](Self::finish) if `keep`.
    #[must_use]
    pub fn new(columns: Columns, keep: bool) -> Self {
        let config = DecoderConfig {
            columns,
            limits: LIMITS,
            batch_rows: 8,
            ..DecoderConfig::default()
        };
        Self {
            decoder: Decoder::new(config.clone()),
            config,
            now_us: START_US,
            rows: 0,
            records_before: 0,
            batches: Vec::new(),
            keep,
        }
    }

    /// Lets time pass, or go back.
    pub fn advance(&mut self, microseconds: i64) {
        self.now_us = (self.now_us + microseconds).max(0);
    }

    /// Gives the decoder a datagram.
    pub fn decode(&mut self, source: SocketAddr, payload: &[u8]) {
        self.decoder.decode(&Datagram {
            source,
            destination: SocketAddr::from(([127, 0, 0, 1], 2055)),
            received_ns: self.now_us.unsigned_abs() * 1000,
            payload,
        });
        self.check();
    }

    /// What a shard does every second.
    pub fn tick(&mut self) {
        self.decoder.tick(self.now_us);
        self.check();
    }

    /// Ends the rotation window.
    pub fn rotate(&mut self) {
        self.decoder.rotate();
        self.check();
    }

    /// Goes on with a new decoder that knows the templates of this one.
    pub fn restart(&mut self) {
        self.end();
        self.records_before += self.total().records;
        let saved = self.decoder.saved();
        self.decoder = Decoder::new(self.config.clone());
        self.decoder.restore(&saved, |_: IpAddr| true);
        self.check();
    }

    /// Ends the decoder. Returns the batches, if they were kept.
    #[must_use]
    pub fn finish(mut self) -> Vec<ReadyBatch> {
        self.end();
        self.batches
    }

    fn end(&mut self) {
        self.decoder.finish();
        self.check();
        let total = self.total();
        assert_eq!(
            self.rows,
            total.records + self.records_before,
            "every record is a row"
        );
        assert_eq!(self.decoder.tables().pending_bytes, 0, "nothing waits");
        let given_up = total
            .reasons
            .iter()
            .filter(|(_, reason, _)| reason.starts_with("template_missing"))
            .map(|(_, _, count)| count)
            .sum::<u64>();
        assert_eq!(
            total.sets_waited,
            total.sets_recovered + given_up,
            "a set that waits is decoded or given up: {total:?}"
        );
    }

    fn total(&self) -> Counters {
        let mut total = self.decoder.unassigned();
        for domain in self.decoder.domains() {
            total.add(&domain.counters);
        }
        total
    }

    fn check(&mut self) {
        while let Some(output) = self.decoder.next_output() {
            if let Output::Batch(ready) = output {
                let rows = ready.batch.rows();
                assert!(rows > 0, "a batch that is handed over has rows");
                self.rows += rows as u64;
                if self.keep {
                    self.batches.push(ready);
                }
            }
        }
        let total = self.total();
        assert_eq!(
            total.datagrams,
            total.messages + total.reasons.total(Scope::Datagram),
            "every datagram is a message or rejected"
        );
        assert!(self.rows <= total.records + self.records_before);
        let tables = self.decoder.tables();
        assert!(tables.exporters <= LIMITS.exporters);
        assert!(tables.templates <= LIMITS.templates);
        assert!(tables.pending_bytes <= LIMITS.pending_bytes);
        assert!(self.decoder.domains().count() <= LIMITS.domains);
    }
}
