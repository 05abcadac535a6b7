//! Flows read back from files.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use forebay_store::{Family, FlowFile};

use crate::support::{files, is_flow_file};

/// A flow, as far as these tests look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) file: Arc<Path>,
    pub(crate) exporter: Arc<str>,
    pub(crate) version: u8,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) source_port: Option<u16>,
    pub(crate) destination_port: Option<u16>,
    pub(crate) protocol: Option<u8>,
    pub(crate) packets: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) reverse_packets: Option<u64>,
    pub(crate) reverse_bytes: Option<u64>,
    pub(crate) sampling_rate: Option<u32>,
    pub(crate) first_us: Option<i64>,
    pub(crate) last_us: Option<i64>,
}

/// All flows in the flow files of a dataset. Every file with a final name must be whole.
#[track_caller]
pub(crate) fn stored(dataset: &Path) -> Vec<Flow> {
    let paths = files(dataset).into_iter().filter(|path| is_flow_file(path));
    paths.flat_map(|path| read(&path)).collect()
}

/// All flows in one flow file, or in the whole batches of a segment.
#[track_caller]
pub(crate) fn read(path: &Path) -> Vec<Flow> {
    let file = FlowFile::open(path, None).unwrap_or_else(|error| panic!("{error}"));
    let family = file.family();
    let path = Arc::from(path);
    let mut flows = Vec::new();
    for batch in file {
        let batch = batch.unwrap_or_else(|error| panic!("{error}"));
        append(&batch, family, &path, &mut flows);
    }
    flows
}

fn append(batch: &RecordBatch, family: Family, path: &Arc<Path>, flows: &mut Vec<Flow>) {
    let source = addresses(batch, family, "src");
    let destination = addresses(batch, family, "dst");
    let exporters = batch["exporter"].as_any_dictionary();
    let keys = exporters.normalized_keys();
    let names = exporters.values().as_string::<i32>().iter();
    let names: Vec<Arc<str>> = names.map(|name| name.unwrap_or_default().into()).collect();
    let version = numbers::<UInt8Type>(batch, "export_version");
    let source_port = numbers::<UInt16Type>(batch, "src_port");
    let destination_port = numbers::<UInt16Type>(batch, "dst_port");
    let protocol = numbers::<UInt8Type>(batch, "protocol");
    let packets = numbers::<UInt64Type>(batch, "packets");
    let bytes = numbers::<UInt64Type>(batch, "bytes");
    let reverse_packets = numbers::<UInt64Type>(batch, "reverse_packets");
    let reverse_bytes = numbers::<UInt64Type>(batch, "reverse_bytes");
    let sampling_rate = numbers::<UInt32Type>(batch, "sampling_rate");
    let first = numbers::<TimestampMicrosecondType>(batch, "first");
    let last = numbers::<TimestampMicrosecondType>(batch, "last");
    flows.extend((0..batch.num_rows()).map(|row| Flow {
        file: Arc::clone(path),
        exporter: Arc::clone(&names[keys[row]]),
        version: version[row].expect("always there"),
        source: source[row],
        destination: destination[row],
        source_port: source_port[row],
        destination_port: destination_port[row],
        protocol: protocol[row],
        packets: packets[row],
        bytes: bytes[row],
        reverse_packets: reverse_packets[row],
        reverse_bytes: reverse_bytes[row],
        sampling_rate: sampling_rate[row],
        first_us: first[row],
        last_us: last[row],
    }));
}

/// A column's values; a column that a file leaves out holds none.
fn numbers<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str) -> Vec<Option<T::Native>> {
    match batch.column_by_name(name) {
        Some(column) => column.as_primitive::<T>().iter().collect(),
        None => vec![None; batch.num_rows()],
    }
}

fn addresses(batch: &RecordBatch, family: Family, side: &str) -> Vec<Option<IpAddr>> {
    match family {
        Family::Ipv4 => numbers::<UInt32Type>(batch, &format!("{side}_ipv4"))
            .into_iter()
            .map(|address| address.map(|bits| IpAddr::V4(bits.into())))
            .collect(),
        Family::Ipv6 => match batch.column_by_name(&format!("{side}_ipv6")) {
            Some(column) => column
                .as_fixed_size_binary()
                .iter()
                .map(|octets| {
                    let octets: [u8; 16] = octets?.try_into().expect("16 octets");
                    Some(IpAddr::from(octets))
                })
                .collect(),
            None => vec![None; batch.num_rows()],
        },
        Family::Other => vec![None; batch.num_rows()],
    }
}
