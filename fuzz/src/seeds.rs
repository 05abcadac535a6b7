//! Writes seeds for the targets that take bytes: `seeds FOLDER`.
//!
//! They are generated traffic and, where `FOREBAY_CORPUS` names a folder of captures, what those
//! hold. The targets that take structured input need none.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use forebay_collector::{Columns, Decoder, DecoderConfig, Output};
use forebay_fuzz::{START_US, push_frame};
use forebay_replay::generate::{GenerateConfig, Generator, to_capture};
use forebay_store::{
    Compression, Dataset, Family, FlowBatch, FlowSchema, SegmentWriter, SettleOptions, settle,
};
use forebay_udp::Datagram;
use forebay_udp::capture::CaptureReader;
// With the coverage counters that everything is built with.
use libfuzzer_sys as _;

/// Seeds are kept short: mutations of long ones hit little.
const SEED_BYTES: usize = 8_192;
/// Behind the magic, the version and the checksum of `templates.bin`.
const SAVED_HEADER_BYTES: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?);
    let temporary = tempfile::tempdir()?;
    let generated = temporary.path().join("generated.pcap");
    let config = GenerateConfig {
        exporters: 9,
        flows: 2_000,
        flows_per_message: 12,
        template_refresh: 3,
        ..GenerateConfig::default()
    };
    to_capture(
        config.clone(),
        &generated,
        &AtomicBool::new(false),
        &mut |_| (),
    )?;
    let mut captures = vec![generated];
    if let Some(corpus) = std::env::var_os("FOREBAY_CORPUS") {
        let corpus = Path::new(&corpus);
        for folder in [corpus.to_owned(), corpus.join("malformed")] {
            let files = fs::read_dir(&folder)
                .map_err(|error| format!("FOREBAY_CORPUS: {}: {error}", folder.display()))?;
            let paths = files.map(|file| file.map(|file| file.path()));
            for path in paths.collect::<Result<Vec<_>, _>>()? {
                if path.extension().is_some_and(|kind| kind == "pcap") {
                    captures.push(path);
                }
            }
        }
    }
    let mut seeds = Seeds { folder, written: 0 };
    for path in &captures {
        let bytes = fs::read(path)?;
        seeds.write("capture", bytes.get(..2 * SEED_BYTES).unwrap_or(&bytes))?;
        seeds.messages(path)?;
    }
    seeds.decoded(config, temporary.path())?;
    println!("{} seeds of {} captures", seeds.written, captures.len());
    Ok(())
}

struct Seeds {
    folder: PathBuf,
    written: usize,
}

impl Seeds {
    fn write(&mut self, target: &str, input: &[u8]) -> std::io::Result<()> {
        let folder = self.folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{}", self.written)), input)?;
        self.written += 1;
        Ok(())
    }

    /// The messages of a capture, a few of an exporter together.
    fn messages(&mut self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut inputs = BTreeMap::<_, Vec<u8>>::new();
        let mut capture = CaptureReader::open(path)?;
        // A damaged capture has seeds up to the damage.
        while let Ok(Some(datagram)) = capture.next() {
            let target = match datagram.payload {
                [0, 9, ..] => "v9",
                [0, 10, ..] => "ipfix",
                _ => "fixed",
            };
            let key = (target, datagram.source);
            let input = inputs.entry(key).or_default();
            if !input.is_empty() && input.len() + datagram.payload.len() > SEED_BYTES {
                let full = std::mem::take(input);
                self.write(target, &full)?;
                self.write("forward", &full)?;
                self.write("replay", &full)?;
            }
            push_frame(inputs.entry(key).or_default(), datagram.payload);
        }
        for ((target, _), input) in inputs {
            self.write(target, &input)?;
            self.write("forward", &input)?;
            self.write("replay", &input)?;
        }
        Ok(())
    }

    /// What becomes of generated messages: segments, flow files, saved templates.
    fn decoded(&mut self, config: GenerateConfig, temporary: &Path) -> Result<(), Box<dyn Error>> {
        let mut decoder = Decoder::new(DecoderConfig {
            batch_rows: 30,
            ..DecoderConfig::default()
        });
        let mut generator = Generator::new(config)?;
        let mut payload = Vec::new();
        while let Some(message) = generator.next_message(&mut payload) {
            decoder.decode(&Datagram {
                source: message.source,
                destination: message.source,
                received_ns: START_US.unsigned_abs() * 1000,
                payload: &payload,
            });
        }
        decoder.finish();
        let saved = temporary.join("templates.bin");
        decoder.saved().save(&saved)?;
        let saved = fs::read(saved)?;
        self.write(
            "saved_templates",
            saved.get(SAVED_HEADER_BYTES..).unwrap_or_default(),
        )?;

        let schema = Arc::new(FlowSchema::clone(Columns::default().schema()));
        let dataset = Dataset::open(&temporary.join("flows"))?;
        let mut batches = Vec::new();
        while let Some(output) = decoder.next_output() {
            if let Output::Batch(ready) = output
                && ready.family == Family::Ipv4
            {
                batches.push(ready.batch);
            }
        }
        for (some, place) in batches.chunks_mut(2).zip(0..4) {
            let set = some
                .iter()
                .fold(Default::default(), |set, batch| batch.present().union(set));
            let mut writer =
                SegmentWriter::create(&dataset, place, Family::Ipv4, START_US, set, &schema)?;
            for batch in some {
                let empty = FlowBatch::new(&schema, 0);
                writer
                    .append(std::mem::replace(batch, empty))
                    .map_err(|_| "a segment cannot be written")?;
            }
            let segment = writer.close()?.ok_or("a segment without flows")?;
            self.write("segment", &fs::read(&segment.path)?)?;
            let compression = match place % 3 {
                0 => Compression::None,
                1 => Compression::Lz4,
                _ => Compression::Zstd,
            };
            let settled = settle(&dataset, &segment.path, &SettleOptions { compression })?;
            let path = settled.path.ok_or("a flow file without flows")?;
            self.write("flow_file", &fs::read(path)?)?;
        }
        Ok(())
    }
}
