//! Templates, made into where the times of a record are.

use forebay_wire::element::{self, DataType};
use forebay_wire::reader::Reader;
use forebay_wire::record::variable_length;
use forebay_wire::{ElementId, Template};

use super::shift::Kind;

/// systemInitTimeMilliseconds: when the exporter booted.
const SYSTEM_INIT: u16 = 160;
/// flowEndSysUpTime and flowStartSysUpTime.
const UPTIME_FIELDS: [u16; 2] = [21, 22];

/// What a template says about its records, as far as sending them again goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Whether the records are about the exporter rather than flows.
    pub(super) is_options: bool,
    minimum_length: usize,
    /// The length of each record, where it is the same for all.
    length: Option<usize>,
    steps: Vec<Step>,
}

/// What comes next in a record. Bytes between what matters are one step, so that a record has no more steps than bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Skip(usize),
    Time(Kind),
    Variable,
}

/// Where in a set's body the times are: `count` of a kind, each `stride` after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) offset: usize,
    pub(super) stride: usize,
    pub(super) count: usize,
    pub(super) kind: Kind,
}

impl Layout {
    pub(super) fn new(template: &Template) -> Self {
        let mut steps = Vec::new();
        for field in &template.fields {
            match kind(field.element, field.length) {
                Some(kind) => steps.push(Step::Time(kind)),
                None if field.is_variable() => steps.push(Step::Variable),
                None => match steps.last_mut() {
                    Some(Step::Skip(bytes)) => *bytes += usize::from(field.length),
                    _ => steps.push(Step::Skip(field.length.into())),
                },
            }
        }
        Self {
            is_options: template.is_options(),
            minimum_length: template.minimum_length(),
            length: template.record_length(),
            steps,
        }
    }

    /// Counts the records of a data set's body, and tells where their times are.
    ///
    /// The records are those that [`Records`](forebay_wire::Records) finds.
    pub(super) fn walk(&self, body: &[u8], mut times: impl FnMut(Times)) -> usize {
        if self.minimum_length == 0 {
            return 0;
        }
        let Some(stride) = self.length else {
            return self.walk_each(body, times);
        };
        let count = body.len() / stride;
        if count == 0 {
            // A message of nothing but empty sets would otherwise cost as many times all fields.
            return 0;
        }
        let mut offset = 0;
        for step in &self.steps {
            match *step {
                Step::Skip(bytes) => offset += bytes,
                Step::Time(kind) => {
                    times(Times {
                        offset,
                        stride,
                        count,
                        kind,
                    });
                    offset += kind.bytes();
                }
                // A layout with one has no length.
                Step::Variable => {}
            }
        }
        count
    }

    fn walk_each(&self, body: &[u8], mut times: impl FnMut(Times)) -> usize {
        let content = body.iter().rposition(|&byte| byte != 0);
        let content_length = content.map_or(0, |last| last + 1);
        let mut reader = Reader::new(body);
        let mut found = Vec::new();
        let mut count = 0;
        while reader.left() >= self.minimum_length && reader.offset() < content_length {
            found.clear();
            let mut read = || {
                for step in &self.steps {
                    match *step {
                        Step::Skip(bytes) => drop(reader.take(bytes)?),
                        Step::Variable => drop(variable_length(&mut reader)?),
                        Step::Time(kind) => {
                            found.push((reader.offset(), kind));
                            reader.take(kind.bytes())?;
                        }
                    }
                }
                Ok::<(), forebay_wire::reader::ReadError>(())
            };
            if read().is_err() {
                break;
            }
            count += 1;
            for &(offset, kind) in &found {
                times(Times {
                    offset,
                    stride: 0,
                    count: 1,
                    kind,
                });
            }
        }
        count
    }
}

/// What of a field advances with time. One whose length contradicts its type is left as it is.
pub(super) fn kind(element: ElementId, length: u16) -> Option<Kind> {
    let is_iana = element.enterprise == 0 || element.enterprise == element::REVERSE_ENTERPRISE;
    if is_iana && UPTIME_FIELDS.contains(&element.number) {
        return (length == 4).then_some(Kind::Uptime);
    }
    let of_type = match element::lookup(element)?.data_type {
        DataType::DateTimeSeconds => Kind::Seconds,
        DataType::DateTimeMilliseconds if element.number == SYSTEM_INIT => Kind::BootMilliseconds,
        DataType::DateTimeMilliseconds => Kind::Milliseconds,
        DataType::DateTimeMicroseconds | DataType::DateTimeNanoseconds => Kind::Ntp,
        _ => return None,
    };
    (usize::from(length) == of_type.bytes()).then_some(of_type)
}

#[cfg(test)]
mod tests;
