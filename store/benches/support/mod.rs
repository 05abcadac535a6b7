//! Flows such as 200 exporters send, for benches and tests: a third each of
//! NetFlow v5, v9 and IPFIX, in runs of a datagram's 25 flows.
//!
//! Hosts come from a pool, few of them often (Zipf's law); one end of a flow has
//! a well-known port and the other an ephemeral one; packets and bytes are
//! heavy-tailed; flows ended within the last minute.

use std::sync::Arc;

use forebay_store::{ColumnData, ColumnId, FlowBatch, FlowSchema, columns};

/// The time that the first batch is received: 2026-11-21 16:40:00 UTC.
pub(crate) const START_US: i64 = 1_795_279_200_000_000;

/// The flows of a datagram of 1450 bytes.
const RUN: usize = 25;

/// A stream of numbers (xorshift64*): the same for the same seed.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A fraction from 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A rank below `count`, where rank r comes with a frequency of about 1/r.
    pub(crate) fn rank(&mut self, count: u64) -> u64 {
        let rank = (count as f64).powf(self.fraction());
        (rank as u64 - 1).min(count - 1)
    }

    /// One of `values`.
    pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

#[derive(Clone, Copy)]
struct Flow {
    src: u32,
    dst: u32,
    src_port: u16,
    dst_port: u16,
    protocol: u8,
    tos: u8,
    tcp_flags: u16,
    packets: u64,
    bytes: u64,
    first: i64,
    last: i64,
    in_if: u32,
    out_if: u32,
    next_hop: u32,
    src_as: u32,
    dst_as: u32,
    src_mask: u8,
    dst_mask: u8,
}

/// Makes batches, one after the other.
pub(crate) struct Generator {
    numbers: Numbers,
    names: Vec<Arc<str>>,
    now_us: i64,
}

const SERVERS: [u16; 12] = [443, 443, 443, 443, 80, 53, 53, 123, 22, 25, 993, 3389];
const CLIENTS: u64 = 60_000;
const HOSTS: u64 = 8_000;

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let names = (0..200)
            .map(|n| format!("10.0.{}.{}", n / 100, n % 100 + 1).into())
            .collect();
        Self {
            numbers: Numbers::new(seed),
            names,
            now_us: START_US,
        }
    }

    /// A batch of `rows` IPv4 flows, received at 1 M flows/s.
    pub(crate) fn batch(&mut self, schema: &FlowSchema, rows: usize) -> FlowBatch {
        let mut batch = FlowBatch::new(schema, rows);
        let mut keys = vec![None; self.names.len()];
        while batch.rows() < rows {
            let count = RUN.min(rows - batch.rows());
            let exporter = self.numbers.below(self.names.len() as u64) as usize;
            let key =
                *keys[exporter].get_or_insert_with(|| batch.add_exporter(&self.names[exporter]));
            self.run(&mut batch, count, exporter, key);
            self.now_us += count as i64;
        }
        batch
    }

    fn run(&mut self, batch: &mut FlowBatch, count: usize, exporter: usize, key: i32) {
        let version = [5, 9, 10][exporter % 3];
        // v5 has no finer times than milliseconds of uptime; v9 neither.
        let flows: Vec<Flow> = (0..count).map(|_| self.flow(exporter)).collect();
        let row = batch.rows();
        let mut put = |id, filled: Filled<'_>| filled.put(batch.column(id), row, count);
        put(columns::RECEIVED, Filled::Time(self.now_us));
        put(columns::EXPORTER, Filled::Key(key));
        put(
            columns::EXPORTER_PORT,
            Filled::One(20_000 + exporter as u64),
        );
        put(
            columns::OBSERVATION_DOMAIN,
            Filled::One(exporter as u64 % 3),
        );
        put(columns::EXPORT_VERSION, Filled::One(version));
        put(
            columns::FIRST,
            Filled::Times(&mut flows.iter().map(|f| f.first)),
        );
        put(
            columns::LAST,
            Filled::Times(&mut flows.iter().map(|f| f.last)),
        );
        type Get = fn(&Flow) -> u64;
        let each: [(ColumnId, Get); 16] = [
            (columns::SRC_IPV4, |f| f.src.into()),
            (columns::DST_IPV4, |f| f.dst.into()),
            (columns::NEXT_HOP_IPV4, |f| f.next_hop.into()),
            (columns::SRC_PORT, |f| f.src_port.into()),
            (columns::DST_PORT, |f| f.dst_port.into()),
            (columns::PROTOCOL, |f| f.protocol.into()),
            (columns::TOS, |f| f.tos.into()),
            (columns::TCP_FLAGS, |f| f.tcp_flags.into()),
            (columns::PACKETS, |f| f.packets),
            (columns::BYTES, |f| f.bytes),
            (columns::IN_IF, |f| f.in_if.into()),
            (columns::OUT_IF, |f| f.out_if.into()),
            (columns::SRC_AS, |f| f.src_as.into()),
            (columns::DST_AS, |f| f.dst_as.into()),
            (columns::SRC_MASK, |f| f.src_mask.into()),
            (columns::DST_MASK, |f| f.dst_mask.into()),
        ];
        for (id, get) in each {
            put(id, Filled::Each(&mut flows.iter().map(get)));
        }
        if version == 5 {
            put(columns::SAMPLING_RATE, Filled::One(1));
        } else {
            put(columns::TEMPLATE_ID, Filled::One(256 + exporter as u64 % 4));
            put(columns::DIRECTION, Filled::One(exporter as u64 / 3 % 2));
        }
        if version == 10 {
            put(
                columns::FLOW_END_REASON,
                Filled::Each(&mut flows.iter().map(|f| 1 + f.bytes % 3)),
            );
            put(
                columns::SRC_VLAN,
                Filled::Each(&mut flows.iter().map(|f| 100 + u64::from(f.in_if))),
            );
        }
        batch.advance(count);
    }

    fn flow(&mut self, exporter: usize) -> Flow {
        let n = &mut self.numbers;
        // Addresses scatter over networks that belong to the exporter's site.
        let client_rank = n.rank(CLIENTS) as u32;
        let client = 0x0a40_0000 + client_rank.wrapping_mul(2_654_435_761) % (1 << 20);
        let server_rank = n.rank(HOSTS) as u32;
        let server = server_rank.wrapping_mul(2_246_822_519) | 0x2000_0000;
        let protocol = n.pick(&[6, 6, 6, 6, 17, 17, 17, 1]);
        let (server_port, client_port) = match protocol {
            1 => (0, 0),
            _ => (n.pick(&SERVERS), 32_768 + n.below(28_232) as u16),
        };
        let packets = (1.0 / (1.0 - n.fraction()).powf(0.9)) as u64;
        let packets = packets.clamp(1, 1 << 24);
        let bytes = packets * (40 + n.rank(1460));
        let last = self.now_us / 1000 * 1000 - 1000 * n.below(15_000) as i64;
        let first = match packets {
            1 => last,
            _ => last - 1000 * n.rank(45_000) as i64,
        };
        let tcp_flags = match protocol {
            6 => n.pick(&[0x1b, 0x1b, 0x1b, 0x18, 0x02, 0x10, 0x1f, 0x13]),
            _ => 0,
        };
        let out = n.next() & 1 == 0;
        let interface = 1 + n.rank(16) as u32;
        let uplink = 100 + exporter as u32 % 2;
        let as_of = |rank: u32| 1_000 + rank % 900 * 37;
        let end = |out: bool| match out {
            true => (client, client_port, interface, 0, 24),
            false => (
                server,
                server_port,
                uplink,
                as_of(server_rank),
                16 + (server_rank % 9) as u8,
            ),
        };
        let (src, src_port, in_if, src_as, src_mask) = end(out);
        let (dst, dst_port, out_if, dst_as, dst_mask) = end(!out);
        Flow {
            src,
            dst,
            src_port,
            dst_port,
            protocol,
            tos: n.pick(&[0, 0, 0, 0, 0, 0, 0x28, 0xb8]),
            tcp_flags,
            packets,
            bytes,
            first,
            last,
            in_if,
            out_if,
            next_hop: 0x0a00_0000 + exporter as u32 * 4 + u32::from(out),
            src_as,
            dst_as,
            src_mask,
            dst_mask,
        }
    }
}

/// The values of some rows of a column.
enum Filled<'a> {
    One(u64),
    Time(i64),
    Key(i32),
    Each(&'a mut dyn Iterator<Item = u64>),
    Times(&'a mut dyn Iterator<Item = i64>),
}

impl Filled<'_> {
    fn put(self, column: &mut ColumnData, row: usize, count: usize) {
        match (self, column) {
            (Self::One(value), ColumnData::U8(c)) => c.fill(row, count, value as u8),
            (Self::One(value), ColumnData::U16(c)) => c.fill(row, count, value as u16),
            (Self::One(value), ColumnData::U32(c)) => c.fill(row, count, value as u32),
            (Self::One(value), ColumnData::U64(c)) => c.fill(row, count, value),
            (Self::Time(value), ColumnData::Timestamp(c)) => c.fill(row, count, value),
            (Self::Key(key), ColumnData::Exporter(c)) => c.fill(row, count, key),
            (Self::Each(values), ColumnData::U8(c)) => {
                c.extend(row, count, values.map(|v| v as u8))
            }
            (Self::Each(values), ColumnData::U16(c)) => {
                c.extend(row, count, values.map(|v| v as u16))
            }
            (Self::Each(values), ColumnData::U32(c)) => {
                c.extend(row, count, values.map(|v| v as u32))
            }
            (Self::Each(values), ColumnData::U64(c)) => c.extend(row, count, values),
            (Self::Times(values), ColumnData::Timestamp(c)) => c.extend(row, count, values),
            _ => panic!("the generator fills a column of another type"),
        }
    }
}
