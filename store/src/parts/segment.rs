//! Where a segment's messages are, and reading some of them: of each batch only what is asked for.
//!
//! ```text
//! schema | dictionary, batch | dictionary, batch | … a part is a run of these
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};

use super::FlowPart;
use crate::error::StoreError;
use crate::read::not_flows;
use crate::schema::is_required;

/// A part ends with the batch that fills it.
const PART_ROWS: u64 = 1 << 17;
/// What is read first of a message: most have no longer metadata.
const HEAD_BYTES: usize = 4096;
const PREFIX_BYTES: u64 = 4;
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Longer messages are not read: a length is soon written, and memory would have to hold it.
const BODY_BYTES_MAX: u64 = 1 << 31;
const METADATA_BYTES_MAX: u64 = 1 << 28;
/// Nor are batches that claim more rows: a claim is soon written, too, and columns without values take no room.
const BATCH_ROWS_MAX: u64 = 1 << 22;
/// Nor schemas of more columns.
const FIELDS_MAX: usize = 1024;
/// So many buffers are looked at for one that is free.
const BUFFERS_MAX: usize = 64;
/// What is read along between two columns, rather than read apart.
const GAP_BYTES: u64 = 4096;

/// A message of the stream.
#[derive(Debug, Clone, Copy)]
struct Message {
    /// Where its metadata is.
    metadata: (u64, u64),
    /// Where its body is.
    body: (u64, u64),
    kind: MessageKind,
}

#[derive(Debug, Clone, Copy)]
enum MessageKind {
    Dictionary { id: i64, is_delta: bool },
    Batch { rows: u64 },
}

struct Part {
    rows: FlowPart,
    /// The dictionaries before it that are still good.
    before: Vec<usize>,
    messages: Range<usize>,
}

/// Where a segment's messages are.
pub(super) struct SegmentIndex {
    schema: SchemaRef,
    messages: Vec<Message>,
    parts: Vec<Part>,
}

impl SegmentIndex {
    /// Finds the messages of `file`: their index, or `None` where there is no whole schema; and the
    /// bytes behind the last whole batch.
    pub(super) fn read(file: &File, path: &Path) -> Result<(Option<Self>, u64), StoreError> {
        let metadata = file.metadata().map_err(StoreError::io("look at", path))?;
        let mut walk = Walk {
            file,
            length: metadata.len(),
            at: 0,
            head: Vec::new(),
        };
        let read = panic::catch_unwind(AssertUnwindSafe(|| Self::walk(&mut walk)));
        let Ok(read) = read else {
            return Err(not_flows(path, "a message is damaged".to_owned()));
        };
        let (index, whole) = read.map_err(StoreError::io("read", path))?;
        Ok((index, walk.length - whole))
    }

    /// Also returns the end of the last whole batch.
    fn walk(walk: &mut Walk<'_>) -> io::Result<(Option<Self>, u64)> {
        let schema = match walk.next()? {
            Next::Schema(schema) if schema.fields().len() <= FIELDS_MAX => Arc::new(schema),
            _ => return Ok((None, 0)),
        };
        let mut index = Self {
            schema,
            messages: Vec::new(),
            parts: Vec::new(),
        };
        let mut whole = walk.at;
        let mut parts = Parts::default();
        loop {
            match walk.next()? {
                Next::Message(message) => {
                    if parts.add(index.messages.len(), message) {
                        whole = walk.at;
                    }
                    index.messages.push(message);
                }
                Next::EndMark => {
                    whole = walk.at;
                    break;
                }
                // A schema has no place here.
                Next::Schema(_) | Next::Torn => break,
            }
        }
        index.parts = parts.finish();
        Ok((Some(index), whole))
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = FlowPart> {
        self.parts.iter().map(|part| part.rows)
    }

    /// Reads those columns of a part that `columns` names, or all.
    pub(super) fn reader(
        &self,
        file: Arc<File>,
        part: usize,
        columns: Option<&[&str]>,
    ) -> SegmentPartReader<'_> {
        let fields = self.schema.fields().iter().enumerate();
        let projection = columns.map(|names| {
            let chosen = fields.filter(|(_, field)| names.contains(&field.name().as_str()));
            chosen.map(|(place, _)| place).collect()
        });
        let part = &self.parts[part];
        let messages = part.before.iter().copied().chain(part.messages.clone());
        SegmentPartReader {
            index: self,
            file,
            projection,
            messages: messages.collect::<Vec<_>>().into_iter(),
            dictionaries: HashMap::new(),
            metadata: Vec::new(),
        }
    }
}

/// Cuts the messages into parts.
#[derive(Default)]
struct Parts {
    parts: Vec<Part>,
    /// Of each dictionary the messages that make it what it is.
    live: BTreeMap<i64, Vec<usize>>,
    open: Option<Part>,
    next_row: u64,
}

impl Parts {
    /// Adds the message at `place`: whether it ends a batch.
    fn add(&mut self, place: usize, message: Message) -> bool {
        let part = self.open.get_or_insert_with(|| {
            let mut before: Vec<usize> = self.live.values().flatten().copied().collect();
            before.sort_unstable();
            let rows = FlowPart {
                first_row: self.next_row,
                rows: 0,
            };
            Part {
                rows,
                before,
                messages: place..place,
            }
        });
        part.messages.end = place + 1;
        match message.kind {
            MessageKind::Dictionary { id, is_delta } => {
                let live = self.live.entry(id).or_default();
                if !is_delta {
                    live.clear();
                }
                live.push(place);
                false
            }
            MessageKind::Batch { rows } => {
                part.rows.rows += rows;
                self.next_row += rows;
                if part.rows.rows >= PART_ROWS {
                    self.parts.extend(self.open.take());
                }
                true
            }
        }
    }

    /// What comes behind the last batch belongs to none.
    fn finish(mut self) -> Vec<Part> {
        self.parts.extend(self.open);
        self.parts.retain(|part| part.rows.rows > 0);
        self.parts
    }
}

enum Next {
    Schema(Schema),
    Message(Message),
    EndMark,
    /// The end of the file, or something that is no message.
    Torn,
}

/// Goes from message to message.
struct Walk<'a> {
    file: &'a File,
    length: u64,
    at: u64,
    head: Vec<u8>,
}

impl Walk<'_> {
    /// The next message, behind which `at` is then.
    fn next(&mut self) -> io::Result<Next> {
        let left = self.length - self.at;
        self.fill(left.min(HEAD_BYTES as u64))?;
        let (prefix, length) = match self.head.first_chunk() {
            Some(&CONTINUATION) => (2 * PREFIX_BYTES, self.head.get(4..8)),
            // As before version 0.15 of the format.
            _ => (PREFIX_BYTES, self.head.get(..4)),
        };
        let Some(length) = length.and_then(|length| length.try_into().ok()) else {
            return Ok(Next::Torn);
        };
        let metadata_bytes = u64::from(u32::from_le_bytes(length));
        let metadata_end = prefix + metadata_bytes;
        if metadata_end > left || metadata_bytes > METADATA_BYTES_MAX {
            return Ok(Next::Torn);
        }
        if metadata_bytes == 0 {
            self.at += prefix;
            return Ok(Next::EndMark);
        }
        if metadata_end > self.head.len() as u64 {
            self.fill(metadata_end)?;
        }
        let metadata = self.head.get(prefix as usize..metadata_end as usize);
        let Some(message) = metadata.and_then(|metadata| root_as_message(metadata).ok()) else {
            return Ok(Next::Torn);
        };
        let body_bytes = u64::try_from(message.bodyLength()).unwrap_or(u64::MAX);
        if body_bytes > BODY_BYTES_MAX || body_bytes > left - metadata_end {
            return Ok(Next::Torn);
        }
        let body = self.at + metadata_end;
        let next = match message.header_type() {
            MessageHeader::Schema => {
                let schema = message.header_as_schema();
                let schema = schema.and_then(|schema| try_fb_to_schema(schema).ok());
                schema.map_or(Next::Torn, Next::Schema)
            }
            _ => kind_of(message).map_or(Next::Torn, |kind| {
                Next::Message(Message {
                    metadata: (self.at + prefix, metadata_bytes),
                    body: (body, body_bytes),
                    kind,
                })
            }),
        };
        if !matches!(next, Next::Torn) {
            self.at = body + body_bytes;
        }
        Ok(next)
    }

    fn fill(&mut self, bytes: u64) -> io::Result<()> {
        self.head.resize(bytes as usize, 0);
        self.file.read_exact_at(&mut self.head, self.at)
    }
}

fn kind_of(message: arrow_ipc::Message<'_>) -> Option<MessageKind> {
    if let Some(batch) = message.header_as_record_batch() {
        let rows = u64::try_from(batch.length()).ok();
        let rows = rows.filter(|&rows| rows <= BATCH_ROWS_MAX)?;
        return Some(MessageKind::Batch { rows });
    }
    let dictionary = message.header_as_dictionary_batch()?;
    Some(MessageKind::Dictionary {
        id: dictionary.id(),
        is_delta: dictionary.isDelta(),
    })
}

/// Reads the batches of one part of a segment.
pub(super) struct SegmentPartReader<'a> {
    index: &'a SegmentIndex,
    file: Arc<File>,
    projection: Option<Vec<usize>>,
    messages: std::vec::IntoIter<usize>,
    dictionaries: HashMap<i64, ArrayRef>,
    metadata: Vec<u8>,
}

/// What batches of segments are read into: memory that is used again once nobody looks at the batch that
/// was in it.
#[derive(Debug, Default)]
pub struct BatchMemory(Vec<Buffer>);

impl BatchMemory {
    /// Some memory of that length, with whatever was in it.
    fn take(&mut self, length: usize) -> MutableBuffer {
        let mut found = None;
        for buffer in std::mem::take(&mut self.0) {
            if found.is_some() {
                self.0.push(buffer);
                continue;
            }
            match buffer.into_mutable() {
                Ok(free) if (length..=4 * length).contains(&free.capacity()) => found = Some(free),
                // What is too short is of no use any more, and what is far too long would be wasted on this.
                Ok(_) => {}
                Err(in_use) => self.0.push(in_use),
            }
        }
        // With room to spare: batches are not all of one length.
        let new = || MutableBuffer::from_len_zeroed(length.next_power_of_two());
        let mut memory = found.unwrap_or_else(new);
        memory.resize(length, 0);
        memory
    }

    /// Keeps in mind what a batch is in.
    fn keep(&mut self, body: Buffer) {
        if self.0.len() >= BUFFERS_MAX {
            self.0.remove(0);
        }
        self.0.push(body);
    }
}

impl SegmentPartReader<'_> {
    pub(super) fn next_batch(
        &mut self,
        path: &Path,
        memory: &mut BatchMemory,
    ) -> Result<Option<RecordBatch>, StoreError> {
        let next = panic::catch_unwind(AssertUnwindSafe(|| self.read_next(memory)));
        match next {
            Ok(Ok(batch)) => Ok(batch),
            Ok(Err(ArrowError::IoError(_, source))) => Err(StoreError::io("read", path)(source)),
            Ok(Err(error)) => Err(not_flows(path, error.to_string())),
            Err(_) => Err(not_flows(path, "a message is damaged".to_owned())),
        }
    }

    fn read_next(&mut self, memory: &mut BatchMemory) -> Result<Option<RecordBatch>, ArrowError> {
        for place in self.messages.by_ref() {
            let message = self.index.messages[place];
            let (at, length) = message.metadata;
            self.metadata.resize(length as usize, 0);
            self.file.read_exact_at(&mut self.metadata, at)?;
            let damaged = || ArrowError::IpcError("a message is damaged".to_owned());
            let metadata = root_as_message(&self.metadata).map_err(|_| damaged())?;
            let schema = &self.index.schema;
            match message.kind {
                MessageKind::Dictionary { .. } => {
                    let dictionary = metadata.header_as_dictionary_batch().ok_or_else(damaged)?;
                    let (at, length) = message.body;
                    let mut body = MutableBuffer::from_len_zeroed(length as usize);
                    self.file.read_exact_at(&mut body, at)?;
                    let version = metadata.version();
                    let known = &mut self.dictionaries;
                    read_dictionary(&body.into(), dictionary, schema, known, &version)?;
                }
                MessageKind::Batch { .. } => {
                    let batch = metadata.header_as_record_batch().ok_or_else(damaged)?;
                    let present = match self.projection {
                        Some(_) => None,
                        None => present(schema, batch),
                    };
                    let projection = self.projection.as_deref().or(present.as_deref());
                    let ranges = wanted(schema, projection, batch, message.body.1);
                    let body = read_body(&self.file, memory, message.body, &ranges)?;
                    let body: Buffer = body.into();
                    let batch = read_record_batch(
                        &body,
                        batch,
                        Arc::clone(schema),
                        &self.dictionaries,
                        projection,
                        &metadata.version(),
                    )?;
                    memory.keep(body);
                    if batch.num_rows() > 0 {
                        return Ok(Some(batch));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Reads the `ranges` of a body. Between them stands what was in the memory, and nobody looks at it.
fn read_body(
    file: &File,
    memory: &mut BatchMemory,
    (start, length): (u64, u64),
    ranges: &[Range<u64>],
) -> io::Result<MutableBuffer> {
    let mut body = memory.take(length as usize);
    for range in ranges {
        let place = range.start as usize..range.end as usize;
        // `wanted` keeps them within the body.
        if let Some(place) = body.get_mut(place) {
            file.read_exact_at(place, start + range.start)?;
        }
    }
    Ok(body)
}

/// Where in its body of so many bytes the chosen columns of a batch are.
///
/// For types that flow files have not, the order of buffers is not known here: then it is all.
fn wanted(
    schema: &Schema,
    projection: Option<&[usize]>,
    batch: arrow_ipc::RecordBatch<'_>,
    body_bytes: u64,
) -> Vec<Range<u64>> {
    let all = || std::iter::once(0..body_bytes).collect();
    let (Some(projection), Some(buffers)) = (projection, batch.buffers()) else {
        return all();
    };
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut buffers = buffers.iter();
    for (place, field) in schema.fields().iter().enumerate() {
        let Some((_, count)) = shape(field.data_type()) else {
            return all();
        };
        for buffer in buffers.by_ref().take(count) {
            // They are in order.
            if projection.binary_search(&place).is_err() {
                continue;
            }
            let start = u64::try_from(buffer.offset()).unwrap_or(u64::MAX);
            let length = u64::try_from(buffer.length()).unwrap_or(u64::MAX);
            let range = start.min(body_bytes)..start.saturating_add(length).min(body_bytes);
            match ranges.last_mut() {
                Some(last) if (last.end..=last.end + GAP_BYTES).contains(&range.start) => {
                    last.end = range.end;
                }
                _ => ranges.push(range),
            }
        }
    }
    ranges
}

/// The columns of a batch that have a value, and those that every row has; `None` where there are types that flow files have not.
fn present(schema: &Schema, batch: arrow_ipc::RecordBatch<'_>) -> Option<Vec<usize>> {
    let mut nodes = batch.nodes()?.iter();
    let mut present = Vec::new();
    for (place, field) in schema.fields().iter().enumerate() {
        let (count, _) = shape(field.data_type())?;
        let column = nodes.next()?;
        if column.null_count() < column.length() || is_required(field.name()) {
            present.push(place);
        }
        // Those of the values of lists.
        nodes.by_ref().take(count - 1).for_each(drop);
    }
    Some(present)
}

/// How many nodes and how many buffers a column of that type has in a batch.
fn shape(kind: &DataType) -> Option<(usize, usize)> {
    Some(match kind {
        DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => (1, 3),
        DataType::Boolean | DataType::FixedSizeBinary(_) | DataType::Dictionary(..) => (1, 2),
        DataType::List(item) => {
            let (nodes, buffers) = shape(item.data_type())?;
            (1 + nodes, 2 + buffers)
        }
        kind if kind.is_primitive() => (1, 2),
        _ => return None,
    })
}
