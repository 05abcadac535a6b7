//! NetFlow v1, v5, v7, v9 and IPFIX: bytes to typed views and back.
//!
//! ```text
//! payload ─ Message::parse ┬ Fixed (v1, v5, v7) ─ records()
//!                          ├ V9    ┐
//!                          └ Ipfix ┴ sets() ─ Set ┬ templates() ─ TemplateRecord ─ to_template()
//!                                                 └ Records::new(template, body) ─ Record ─ fields()
//! ```
//!
//! Everything that borrows from a datagram is a view: parsing copies and allocates nothing, except
//! [`Definition::to_template`](template::Definition::to_template), which is called once per template and not per
//! record.
//!
//! The crate keeps no state. Which template belongs to which exporter, whether a sequence number leaves a gap, and what
//! time it is, are the caller's to know.
//!
//! # Untrusted input
//!
//! No input panics, loops without end or allocates beyond a limit the caller gave. A bad set costs that set and what
//! follows it in the datagram only if its length cannot be trusted; a bad template record costs its set; the good ones
//! beside it still decode. Every error is `Copy`, holds the facts, and has a `reason()` that labels a counter and does
//! not change between releases.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::cast_possible_truncation
    )
)]

pub mod element;
pub mod encode;
pub mod fixed;
pub mod ipfix;
pub mod message;
pub mod reader;
pub mod record;
pub mod set;
pub mod template;
pub mod v9;
pub mod value;

pub use message::{Message, MessageError};
pub use record::{Record, Records};
pub use set::{Set, SetKind, Sets};
pub use template::{ElementId, FieldSpecifier, Template, TemplateRecord};
pub use value::Value;
