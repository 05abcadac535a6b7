//! Messages that are made by us.

use forebay_wire::{Message, SetKind, TemplateRecord};

/// Holds a message that only tells templates to that.
///
/// # Panics
/// It is no whole message, or tells something else.
pub fn only_templates(payload: &[u8]) {
    let sets = match Message::parse(payload).expect("a message of ours") {
        Message::V9(message) => message.sets(),
        Message::Ipfix(message) => {
            assert_eq!(message.problem(), None);
            message.sets()
        }
        Message::Fixed(_) => panic!("a version without templates"),
    };
    for set in sets {
        let set = set.expect("a whole set");
        assert!(matches!(
            set.kind(),
            SetKind::Template | SetKind::OptionsTemplate
        ));
        for record in set.templates() {
            let record = record.expect("a whole record");
            assert!(matches!(record, TemplateRecord::Define(_)));
        }
    }
}
