//! Records, written a column at a time.
//!
//! ```text
//!           offset 0    4    8   …           stride
//! flow 0    │ src │ dst │ …                  │     what a field is, is asked once per set
//! flow 1    │ src │ dst │ …                  │     rather than once per record
//! …
//! ```

use std::ops::Range;

use forebay_wire::template::VARIABLE_LENGTH;

use super::flow::Flow;
use super::value::{FieldValue, Integers, Teller, http_host};

/// The longest field of variable length: 40 bytes after three that give its length.
pub(crate) const VARIABLE_FIELD_BYTES: usize = 43;

/// Where the fields of a record lie, and where their contents come from.
#[derive(Debug)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    /// The longest record.
    stride: usize,
    /// The room of the field of variable length, of which there is one at most.
    variable: Option<Range<usize>>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    offset: usize,
    length: usize,
    value: FieldValue,
}

impl Columns {
    /// Lays out fields of given lengths one after the other.
    pub(crate) fn new(fields: impl IntoIterator<Item = (u16, FieldValue)>) -> Self {
        let mut stride = 0;
        let mut variable = None;
        let columns = fields.into_iter().map(|(length, value)| {
            let offset = stride;
            let length = match length {
                VARIABLE_LENGTH => VARIABLE_FIELD_BYTES,
                length => length.into(),
            };
            stride += length;
            if value == FieldValue::HttpHost {
                variable = Some(offset..stride);
            }
            Column {
                offset,
                length,
                value,
            }
        });
        Self {
            columns: columns.collect(),
            stride,
            variable,
        }
    }

    /// No record is longer.
    pub(crate) const fn stride(&self) -> usize {
        self.stride
    }

    /// The records of flows, in rows of the longest one's length.
    pub(crate) fn rows(&self, flows: &[Flow], teller: &Teller) -> Vec<u8> {
        let mut rows = vec![0; flows.len() * self.stride];
        let mut values = Vec::with_capacity(flows.len());
        for &Column {
            offset,
            length,
            value,
        } in &self.columns
        {
            let mut places = Places {
                rows: &mut rows,
                stride: self.stride,
                offset,
            };
            match value {
                FieldValue::SourceIpv6 => places.store(flows, |flow| flow.key.source.ipv6),
                FieldValue::DestinationIpv6 => {
                    places.store(flows, |flow| flow.key.destination.ipv6)
                }
                FieldValue::NextHopIpv6 => places.store(flows, |flow| {
                    teller.place.next_hop_ipv6(flow.output).to_be_bytes()
                }),
                FieldValue::HttpHost => places.store(flows, http_host),
                value => {
                    values.clear();
                    let mut integers = Integers {
                        flows,
                        values: &mut values,
                    };
                    integers.gather(value, length, teller);
                    places.integers(length, &values);
                }
            }
        }
        rows
    }

    /// Appends the record of a row.
    pub(crate) fn append(&self, out: &mut Vec<u8>, row: &[u8]) {
        let Some(variable) = &self.variable else {
            out.extend_from_slice(row);
            return;
        };
        let length = match row[variable.start] {
            255 => 3 + usize::from(row[variable.start + 2]),
            length => 1 + usize::from(length),
        };
        out.extend_from_slice(&row[..variable.start + length]);
        out.extend_from_slice(&row[variable.end..]);
    }

    /// Appends the record of the exporter's options, which tells of no flow.
    pub(crate) fn append_options(&self, out: &mut Vec<u8>, teller: &Teller) {
        let start = out.len();
        out.resize(start + self.stride, 0);
        for column in &self.columns {
            let value = match column.value {
                FieldValue::Constant(value) => value,
                FieldValue::ObservationDomain => teller.observation_domain.into(),
                FieldValue::BootUnixMs => teller.boot_ms,
                value => unreachable!("{value:?} is no option"),
            };
            let mut place = Places {
                rows: &mut out[start..],
                stride: self.stride,
                offset: column.offset,
            };
            place.integers(column.length, &[value]);
        }
    }
}

/// The places of a field in all rows.
struct Places<'r> {
    rows: &'r mut [u8],
    stride: usize,
    offset: usize,
}

impl Places<'_> {
    /// Stores what `content` makes of each of `of`.
    #[inline]
    fn store<T, const N: usize>(&mut self, of: &[T], content: impl Fn(&T) -> [u8; N]) {
        for (row, from) in self.rows.chunks_exact_mut(self.stride).zip(of) {
            row[self.offset..][..N].copy_from_slice(&content(from));
        }
    }

    /// Stores the last `length` bytes of each integer.
    fn integers(&mut self, length: usize, values: &[u64]) {
        match length {
            1 => self.store(values, |&value| [value as u8]),
            2 => self.store(values, |&value| (value as u16).to_be_bytes()),
            4 => self.store(values, |&value| (value as u32).to_be_bytes()),
            8 => self.store(values, |&value| value.to_be_bytes()),
            _ => {
                for (row, value) in self.rows.chunks_exact_mut(self.stride).zip(values) {
                    row[self.offset..][..length]
                        .copy_from_slice(&value.to_be_bytes()[8 - length..]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_in_any_length() {
        for length in 1..=8 {
            let mut rows = [0; 20];
            let mut places = Places {
                rows: &mut rows,
                stride: 10,
                offset: 1,
            };
            places.integers(length, &[0x0102_0304_0506_0708, 0]);
            let mut expected = [0; 20];
            expected[1..=length].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8][8 - length..]);
            assert_eq!(rows, expected);
        }
    }

    #[test]
    fn the_unused_room_of_a_variable_field_is_left_out() {
        let fields = [
            (2, FieldValue::Input),
            (VARIABLE_LENGTH, FieldValue::HttpHost),
            (1, FieldValue::Tos),
        ];
        let columns = Columns::new(fields);
        assert_eq!(columns.stride(), 2 + 43 + 1);
        for (field, used) in [
            (&[0][..], 1),
            (&[3, 7, 7, 7], 4),
            (&[255, 0, 3, 7, 7, 7], 6),
        ] {
            let mut row = vec![9; 2];
            row.extend(field);
            row.resize(45, 0);
            row.push(8);
            let mut out = Vec::new();
            columns.append(&mut out, &row);
            assert_eq!(out, [&[9, 9], &field[..used], &[8]].concat());
        }
    }
}
