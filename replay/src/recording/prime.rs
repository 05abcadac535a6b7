//! Templates before everything else.

use std::collections::HashSet;

use super::shift::{Kind, Patch};
use super::{Entry, Recording, export_message, payload_of};
use crate::templates::{TemplateMessages, definitions};

/// Puts messages with the templates in front.
pub(super) fn prime(recording: &mut Recording) {
    let mut entries = Vec::new();
    for (place, (count, payloads)) in made(recording).into_iter().enumerate() {
        let Some(stream) = recording.streams.get_mut(place) else {
            continue;
        };
        let version = stream.version;
        if version == 9
            && let Some(sequence) = &mut stream.sequence
        {
            // They come before the stream's first message, and v9 counts them.
            sequence.first = sequence.first.wrapping_sub(count);
        }
        for payload in payloads {
            let patches = recording.patches.len();
            recording.patches.extend(header_patches(version));
            entries.push(Entry {
                start: recording.payloads.len(),
                bytes: payload.len() as u16,
                patches,
                patch_count: (recording.patches.len() - patches) as u32,
                stream: place as u32,
                flows: 0,
                at_ns: 0,
            });
            recording.bytes += payload.len() as u64;
            recording.payloads.extend(payload);
        }
    }
    recording.entries.splice(..0, entries);
}

/// For each stream, how many messages tell its templates, each as it is first in the recording, and the messages: with
/// the header of the stream's first.
fn made(recording: &Recording) -> Vec<(u32, Vec<Vec<u8>>)> {
    let mut streams: Vec<Option<TemplateMessages<'_>>> = Vec::new();
    streams.resize_with(recording.streams.len(), || None);
    let mut known = HashSet::new();
    for entry in &recording.entries {
        let payload = payload_of(&recording.payloads, entry);
        let (Some(message), Some(of_stream)) = (
            export_message(payload),
            streams.get_mut(entry.stream as usize),
        ) else {
            continue;
        };
        if of_stream.is_none() {
            *of_stream = TemplateMessages::like(payload, &message);
        }
        let Some(of_stream) = of_stream else {
            continue;
        };
        for definition in definitions(&message) {
            if known.insert((entry.stream, definition.id())) {
                of_stream.add(definition.raw(), definition.is_options());
            }
        }
    }
    let numbered = streams.into_iter().zip(&recording.streams);
    let numbered = numbered.map(|(messages, stream)| match (messages, stream.sequence) {
        (Some(messages), Some(sequence)) => (
            messages.len() as u32,
            messages.before(sequence.first).collect(),
        ),
        _ => (0, Vec::new()),
    });
    numbered.collect()
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
