//! Data records (RFC 7011 §3.4.3), with variable-length fields (§7).
//!
//! ```text
//! set body   | record | record | record | … | padding |
//!
//! a field of variable length, shorter than 255 bytes:
//! +---------------+---------------------------- - -
//! |  length <255  |  content
//! +---------------+---------------------------- - -
//!
//! and any:
//! +---------------+-------------------------------+-------------------- - -
//! |      255      |            length             |  content
//! +---------------+-------------------------------+-------------------- - -
//! ```
//!
//! This is the slow and obvious way to read records: for inspection, for tests, and to hold a faster decoder against.

use thiserror::Error;

use crate::reader::{ReadError, Reader};
use crate::template::{FieldSpecifier, Template};

/// Why the records of a set end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A record goes beyond its set, because a variable-length field does.
    #[error("a record needs {needed} bytes where {left} are left in the set")]
    TooLong {
        /// How many bytes the field that does not fit takes.
        needed: usize,
        /// How many there are.
        left: usize,
    },
}

impl RecordError {
    /// The label of this error's counter.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong { .. } => "record_too_long",
        }
    }
}

impl From<ReadError> for RecordError {
    fn from(ReadError { needed, left }: ReadError) -> Self {
        Self::TooLong { needed, left }
    }
}

/// Takes a variable-length field: its length in 1 or 3 bytes, then its content, which is returned.
///
/// # Errors
///
/// The field goes beyond what is left.
#[inline]
pub fn variable_length<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], ReadError> {
    let length = match reader.u8()? {
        255 => usize::from(reader.u16()?),
        length => usize::from(length),
    };
    reader.take(length)
}

#[inline]
fn read_field<'a>(field: FieldSpecifier, reader: &mut Reader<'a>) -> Result<&'a [u8], ReadError> {
    if field.is_variable() {
        variable_length(reader)
    } else {
        reader.take(usize::from(field.length))
    }
}

/// Walks the records of a data set.
///
/// Ends silently at padding: what is shorter than the shortest record, and, where lengths vary, what is all zeros.
/// Ends with an error at a record that goes beyond the set.
#[derive(Debug, Clone)]
pub struct Records<'a, 't> {
    template: &'t Template,
    minimum_length: usize,
    fixed: bool,
    /// Where nothing but zeros follows. Found once, so that zeros do not cost a look at each of them per record.
    content_length: usize,
    reader: Reader<'a>,
}

impl<'a, 't> Records<'a, 't> {
    /// The records of a data set's `body`, laid out by `template`.
    #[must_use]
    pub fn new(template: &'t Template, body: &'a [u8]) -> Self {
        let minimum_length = template.minimum_length();
        Self {
            template,
            minimum_length,
            fixed: template.record_length().is_some(),
            // A layout of no length would never come to an end. `to_template` refuses it, but a `Template` can be made
            // by hand.
            reader: Reader::new(if minimum_length == 0 { &[] } else { body }),
            content_length: body
                .iter()
                .rposition(|&byte| byte != 0)
                .map_or(0, |last| last + 1),
        }
    }

    /// Where the next record starts in the set's body. After an error: where the bad one does.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.reader.offset()
    }

    fn read(&self, reader: &mut Reader<'a>) -> Result<Record<'a, 't>, ReadError> {
        let rest = reader.rest();
        let start = reader.offset();
        if self.fixed {
            reader.take(self.minimum_length)?;
        } else {
            for &field in &self.template.fields {
                read_field(field, reader)?;
            }
        }
        let length = reader.offset() - start;
        Ok(Record {
            template: self.template,
            bytes: rest.get(..length).unwrap_or_default(),
        })
    }
}

impl<'a, 't> Iterator for Records<'a, 't> {
    type Item = Result<Record<'a, 't>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.left() == 0 || self.reader.left() < self.minimum_length {
            return None;
        }
        if !self.fixed && self.reader.offset() >= self.content_length {
            return None;
        }
        let mut reader = self.reader;
        match self.read(&mut reader) {
            Ok(record) => {
                self.reader = reader;
                Some(Ok(record))
            }
            Err(error) => {
                self.minimum_length = usize::MAX;
                Some(Err(error.into()))
            }
        }
    }
}

impl std::iter::FusedIterator for Records<'_, '_> {}

/// One data record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a, 't> {
    template: &'t Template,
    bytes: &'a [u8],
}

impl<'a, 't> Record<'a, 't> {
    /// The whole record.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The fields in the order of the template, each with its content: without its length where that varies.
    pub fn fields(&self) -> impl Iterator<Item = (FieldSpecifier, &'a [u8])> + use<'a, 't> {
        let mut reader = Reader::new(self.bytes);
        // `Records` has walked the same bytes by the same template, so that no field is missing.
        self.template
            .fields
            .iter()
            .map_while(move |&field| Some((field, read_field(field, &mut reader).ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{ElementId, VARIABLE_LENGTH};

    fn template(lengths: &[u16]) -> Template {
        let fields = lengths.iter().map(|&length| FieldSpecifier {
            element: ElementId::iana(1),
            length,
        });
        Template {
            id: 256,
            scope_count: 0,
            fields: fields.collect(),
        }
    }

    /// Each record's fields, or the error.
    fn read<'a>(template: &Template, body: &'a [u8]) -> Vec<Result<Vec<&'a [u8]>, RecordError>> {
        Records::new(template, body)
            .map(|record| {
                record.map(|record| record.fields().map(|(_, content)| content).collect())
            })
            .collect()
    }

    #[test]
    fn records_of_one_length_and_a_rest_that_is_none() {
        let template = template(&[1, 0, 2]);
        let body = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(
            read(&template, &body),
            [
                Ok(vec![&[1][..], &[], &[2, 3]]),
                Ok(vec![&[4][..], &[], &[5, 6]])
            ]
        );
        let mut records = Records::new(&template, &body);
        let bytes: Vec<_> = records
            .by_ref()
            .map(|record| record.unwrap().bytes())
            .collect();
        assert_eq!(bytes, [&body[..3], &body[3..6]]);
        assert_eq!(records.offset(), 6);
    }

    #[test]
    fn records_of_one_length_may_be_all_zeros() {
        assert_eq!(read(&template(&[2]), &[0; 5]).len(), 2);
    }

    #[test]
    fn each_record_may_say_its_length_in_one_byte_or_three() {
        let body = [9, 2, 1, 2, 8, 255, 0, 3, 4, 5, 6, 7, 0];
        assert_eq!(
            read(&template(&[1, VARIABLE_LENGTH]), &body),
            [
                Ok(vec![&[9][..], &[1, 2]]),
                Ok(vec![&[8][..], &[4, 5, 6]]),
                Ok(vec![&[7][..], &[]])
            ]
        );
    }

    #[test]
    fn a_length_in_three_bytes_goes_beyond_one() {
        let mut body = vec![255, 1, 0];
        body.resize(3 + 256, 7);
        assert_eq!(
            read(&template(&[VARIABLE_LENGTH]), &body),
            [Ok(vec![&body[3..]])]
        );
    }

    #[test]
    fn zeros_are_padding_where_lengths_vary() {
        let template = template(&[VARIABLE_LENGTH]);
        assert_eq!(read(&template, &[1, 7, 0, 0, 0]), [Ok(vec![&[7][..]])]);
        // Not at the end, they are empty fields.
        assert_eq!(read(&template, &[0, 1, 7, 0]).len(), 2);
        assert!(read(&template, &[0; 9]).is_empty());
    }

    #[test]
    fn a_record_beyond_its_set_ends_it() {
        let template = template(&[VARIABLE_LENGTH]);
        let body = [1, 7, 3, 1, 2];
        assert_eq!(
            read(&template, &body),
            [
                Ok(vec![&[7][..]]),
                Err(RecordError::TooLong { needed: 3, left: 2 })
            ]
        );
        let mut records = Records::new(&template, &body);
        assert_eq!(records.by_ref().count(), 2);
        assert_eq!(records.offset(), 2);
        assert_eq!(
            read(&template, &[255, 1]),
            [Err(RecordError::TooLong { needed: 2, left: 1 })]
        );
    }

    #[test]
    fn a_layout_of_no_length_has_no_records() {
        assert!(read(&template(&[]), &[1; 9]).is_empty());
        assert!(read(&template(&[0]), &[1; 9]).is_empty());
    }
}
