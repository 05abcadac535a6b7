//! Looks at everything that `wire` finds in a datagram, as `inspect` does, and holds it against what
//! `wire` promises.

use std::collections::HashMap;
use std::hint::black_box;

use forebay_wire::element::{self, DataType};
use forebay_wire::set::SetKind;
use forebay_wire::{Message, Records, Sets, Template, TemplateRecord, Value, fixed};

/// More fields than any template of a datagram can have.
const FIELDS_MAX: usize = usize::MAX;

/// Templates that came before, by id.
pub type Templates = HashMap<u16, Template>;

/// Walks a datagram to its last field.
pub fn walk(datagram: &[u8], templates: &mut Templates) {
    let message = match Message::parse(datagram) {
        Ok(message) => message,
        Err(error) => {
            black_box((error.reason(), error.to_string()));
            return;
        }
    };
    match message {
        Message::Fixed(message) => walk_fixed(&message),
        Message::V9(message) => walk_sets(datagram, message.sets(), templates),
        Message::Ipfix(message) => {
            black_box(message.problem().map(|problem| problem.to_string()));
            walk_sets(datagram, message.sets(), templates);
        }
    }
}

fn walk_fixed(message: &fixed::Message<'_>) {
    black_box(message.problem().map(|problem| problem.to_string()));
    let length = message.header.version.record_length();
    assert_eq!(message.records().len() % length, 0);
    for record in message.records().chunks_exact(length) {
        black_box(record);
    }
}

fn walk_sets(datagram: &[u8], sets: Sets<'_>, templates: &mut Templates) {
    let mut last = 0;
    for set in sets {
        let set = match set {
            Ok(set) => set,
            Err(error) => {
                black_box((error.reason(), error.to_string()));
                continue;
            }
        };
        assert!(set.offset > last, "sets go forward");
        last = set.offset;
        assert!(set.offset + 4 + set.body.len() <= datagram.len());
        match set.kind() {
            SetKind::Template | SetKind::OptionsTemplate => {
                for record in set.templates() {
                    match record {
                        Ok(TemplateRecord::Define(definition)) => {
                            assert!(definition.id() >= 256);
                            match definition.to_template(FIELDS_MAX) {
                                Ok(template) => drop(templates.insert(template.id, template)),
                                Err(error) => drop(black_box(error.to_string())),
                            }
                        }
                        Ok(TemplateRecord::Withdraw { id, .. }) => drop(templates.remove(&id)),
                        Ok(TemplateRecord::WithdrawAll { .. }) => templates.clear(),
                        Err(error) => drop(black_box((error.reason(), error.to_string()))),
                    }
                }
            }
            SetKind::Data => {
                if let Some(template) = templates.get(&set.id) {
                    walk_records(template, set.body);
                }
            }
            SetKind::Reserved => {}
        }
    }
}

fn walk_records(template: &Template, body: &[u8]) {
    let mut bytes = 0;
    for record in Records::new(template, body) {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                black_box((error.reason(), error.to_string()));
                break;
            }
        };
        let mut fields = 0;
        for (specifier, content) in record.fields() {
            fields += 1;
            bytes += content.len();
            if !specifier.is_variable() {
                assert_eq!(content.len(), usize::from(specifier.length));
            }
            let known = element::lookup(specifier.element).map(|element| element.data_type);
            for data_type in [known, Some(DataType::Unsigned64)].into_iter().flatten() {
                black_box(Value::new(data_type, content));
            }
        }
        assert_eq!(fields, template.fields.len());
    }
    assert!(bytes <= body.len(), "no byte is read twice");
}
