//! Templates before everything else.

use std::collections::HashSet;

use super::message::{definitions, header_bytes};
use super::shift::{Kind, Patch};
use super::{Entry, Recording, Stream, export_message, payload_of};

/// So long are the messages that are made here: they fit every path.
const MESSAGE_BYTES: usize = 1232;
/// Set ids of templates and of options templates, by version.
const V9_SETS: [u16; 2] = [0, 1];
const IPFIX_SETS: [u16; 2] = [2, 3];

/// The messages of one stream that tell its templates.
struct Made {
    stream: usize,
    payloads: Vec<Vec<u8>>,
    /// How many templates each tells, which v9's header says.
    counts: Vec<u16>,
}

/// Puts messages with the templates in front.
pub(super) fn prime(recording: &mut Recording) {
    let made: Vec<Made> = (0..recording.streams.len())
        .map(|stream| Made {
            stream,
            payloads: Vec::new(),
            counts: Vec::new(),
        })
        .collect();
    let made = collect(recording, made);
    let mut entries = Vec::new();
    for of_stream in made {
        let Some(stream) = recording.streams.get_mut(of_stream.stream) else {
            continue;
        };
        let before = reserve_numbers(stream, of_stream.payloads.len());
        let numbered = of_stream
            .payloads
            .into_iter()
            .zip(of_stream.counts)
            .zip(0..);
        for ((mut payload, count), index) in numbered {
            finish(
                stream.version,
                &mut payload,
                count,
                before.wrapping_add(match stream.version {
                    9 => index,
                    _ => 0,
                }),
            );
            let patches = recording.patches.len();
            recording.patches.extend(header_patches(stream.version));
            entries.push(Entry {
                start: recording.payloads.len(),
                bytes: payload.len() as u16,
                patches,
                patch_count: (recording.patches.len() - patches) as u32,
                stream: of_stream.stream as u32,
                flows: 0,
                at_ns: 0,
            });
            recording.bytes += payload.len() as u64;
            recording.payloads.append(&mut payload);
        }
    }
    recording.entries.splice(..0, entries);
}

/// Copies the first definition of every template.
fn collect(recording: &Recording, mut made: Vec<Made>) -> Vec<Made> {
    let mut known = HashSet::new();
    for entry in &recording.entries {
        let payload = payload_of(&recording.payloads, entry);
        let Some(message) = export_message(payload) else {
            continue;
        };
        let Some(of_stream) = made.get_mut(entry.stream as usize) else {
            continue;
        };
        for definition in definitions(&message) {
            // One that no record can have is of use to nobody, and may not even fit.
            let fits = definition.raw().len() <= MESSAGE_BYTES - 20 - 4;
            if fits && known.insert((entry.stream, definition.id())) {
                let header = header_bytes(message.version()).and_then(|bytes| payload.get(..bytes));
                of_stream.add(
                    header.unwrap_or_default(),
                    definition.is_options(),
                    definition.raw(),
                );
            }
        }
    }
    made
}

impl Made {
    /// Adds a template, in a message with this header if it needs a new one.
    fn add(&mut self, header: &[u8], options: bool, raw: &[u8]) {
        let room = |payload: &&mut Vec<u8>| payload.len() + 4 + raw.len() <= MESSAGE_BYTES;
        let payload = match self.payloads.last_mut().filter(room) {
            Some(payload) => payload,
            None => {
                self.payloads.push(header.to_vec());
                self.counts.push(0);
                let Some(payload) = self.payloads.last_mut() else {
                    return;
                };
                payload
            }
        };
        let [_, version, ..] = header else {
            return;
        };
        let ids = if *version == 9 { V9_SETS } else { IPFIX_SETS };
        let id = ids[usize::from(options)];
        // A set of its own: it costs four bytes.
        payload.extend(id.to_be_bytes());
        payload.extend((raw.len() as u16 + 4).to_be_bytes());
        payload.extend(raw);
        if let Some(count) = self.counts.last_mut() {
            *count += 1;
        }
    }
}

/// The number of the first of so many messages that come before the stream's first: v9 counts them.
fn reserve_numbers(stream: &mut Stream, messages: usize) -> u32 {
    let Some(sequence) = &mut stream.sequence else {
        return 0;
    };
    if stream.version == 9 {
        sequence.first = sequence.first.wrapping_sub(messages as u32);
    }
    sequence.first
}

/// Completes the header.
fn finish(version: u8, payload: &mut [u8], count: u16, number: u32) {
    let bytes = payload.len() as u16;
    let (count_or_length, at) = match version {
        9 => (count, 12),
        _ => (bytes, 8),
    };
    if let Some(field) = payload.get_mut(2..4) {
        field.copy_from_slice(&count_or_length.to_be_bytes());
    }
    if let Some(field) = payload.get_mut(at..at + 4) {
        field.copy_from_slice(&number.to_be_bytes());
    }
}

fn header_patches(version: u8) -> impl Iterator<Item = Patch> {
    let fields: &[(u16, Kind)] = match version {
        9 => &[(4, Kind::Uptime), (8, Kind::Seconds), (12, Kind::Sequence)],
        _ => &[(4, Kind::Seconds), (8, Kind::Sequence)],
    };
    fields.iter().map(|&(offset, kind)| Patch {
        offset,
        stride: 0,
        count: 1,
        kind,
    })
}
