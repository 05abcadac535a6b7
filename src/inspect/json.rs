//! A message as JSON: one object with the keys that the tree has.

use std::cell::RefCell;

use forebay_wire::set::Version;
use forebay_wire::{FieldSpecifier, Template};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::Shown;
use super::message::{Content, HeaderValue, Problem, SetView, TemplateView};
use super::rows::{Row, Rows, element_name, scope_name};
use super::templates::Change;

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = &self.message;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("capture", self.capture)?;
        map.serialize_entry("datagram", &self.number)?;
        map.serialize_entry("time", &self.time().to_string())?;
        map.serialize_entry("source", &self.datagram.source)?;
        map.serialize_entry("destination", &self.datagram.destination)?;
        map.serialize_entry("bytes", &self.datagram.payload.len())?;
        if let Some(version) = message.version {
            map.serialize_entry("version", &version)?;
            map.serialize_entry("header", &Header(&message.header))?;
            let sets: Vec<_> = message.sets.iter().map(|set| Set(version, set)).collect();
            map.serialize_entry("sets", &sets)?;
        }
        map.serialize_entry("problems", &message.problems)?;
        map.end()
    }
}

struct Header<'h>(&'h [(&'static str, HeaderValue)]);

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for HeaderValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Time(time) => serializer.collect_str(time),
        }
    }
}

/// A set of a message of that version.
struct Set<'a, 's>(u8, &'s SetView<'a>);

impl Serialize for Set<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(version, set) = self;
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = set.id {
            map.serialize_entry("id", &id)?;
        }
        map.serialize_entry("offset", &set.offset)?;
        map.serialize_entry("bytes", &set.bytes)?;
        // A record that goes beyond the set shows when the records are read.
        let record_problem = RefCell::new(None);
        match &set.content {
            Content::Templates(templates) => {
                let of_version: Vec<_> =
                    templates.iter().map(|view| View(*version, view)).collect();
                map.serialize_entry("templates", &of_version)?;
            }
            Content::Records(rows) => {
                map.serialize_entry("options", &rows.options())?;
                map.serialize_entry("records", &Records(rows, &record_problem))?;
            }
            Content::NoTemplate | Content::Reserved => {}
        }
        let record_problem = record_problem.into_inner();
        let problems: Vec<_> = set.problems.iter().chain(&record_problem).collect();
        map.serialize_entry("problems", &problems)?;
        map.end()
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("offset", &self.offset)?;
        map.serialize_entry("reason", self.reason)?;
        map.serialize_entry("what", &self.what)?;
        map.end()
    }
}

/// A template record of a message of that version.
struct View<'t>(u8, &'t TemplateView);

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(version, view) = self;
        let mut map = serializer.serialize_map(None)?;
        match view {
            TemplateView::Define {
                offset,
                template,
                change,
            } => {
                map.serialize_entry("id", &template.id)?;
                map.serialize_entry("offset", offset)?;
                map.serialize_entry("options", &template.is_options())?;
                let change = match change {
                    Change::New => "new",
                    Change::Same => "same",
                    Change::Changed => "changed",
                    Change::Refused => "refused",
                };
                map.serialize_entry("change", change)?;
                map.serialize_entry("fields", &Fields(*version, template))?;
            }
            TemplateView::Withdraw { id } => map.serialize_entry("withdraw", id)?,
            TemplateView::WithdrawAll { options } => {
                let which = if *options {
                    "all options templates"
                } else {
                    "all templates"
                };
                map.serialize_entry("withdraw", which)?;
            }
        }
        map.end()
    }
}

struct Fields<'t>(u8, &'t Template);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(version, template) = self;
        let version = if *version == 9 {
            Version::V9
        } else {
            Version::Ipfix
        };
        let fields = template.fields.iter().enumerate();
        serializer.collect_seq(fields.map(|(index, &specifier)| Field {
            version,
            is_scope: index < usize::from(template.scope_count),
            specifier,
        }))
    }
}

struct Field {
    version: Version,
    is_scope: bool,
    specifier: FieldSpecifier,
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FieldSpecifier { element, length } = self.specifier;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("element", &element.to_string())?;
        let name = if self.is_scope {
            scope_name(self.version, element)
        } else {
            element_name(element)
        };
        map.serialize_entry("name", &name)?;
        let length = (!self.specifier.is_variable()).then_some(length);
        // `null` is a length that each record gives.
        map.serialize_entry("length", &length)?;
        if self.is_scope {
            map.serialize_entry("scope", &true)?;
        }
        map.end()
    }
}

struct Records<'a, 'r>(&'r Rows<'a>, &'r RefCell<Option<Problem>>);

impl Serialize for Records<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for row in self.0.iter() {
            match row {
                Ok(row) => sequence.serialize_element(&Record(row))?,
                Err(problem) => *self.1.borrow_mut() = Some(problem),
            }
        }
        sequence.end()
    }
}

struct Record<'a, 'r>(Row<'a, 'r>);

impl Serialize for Record<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.fields())
    }
}
