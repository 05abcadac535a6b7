//! What a message holds, ready to be shown: parts in order, each at its offset.

use std::fmt::Display;
use std::sync::Arc;

use forebay_udp::Datagram;
use forebay_wire::set::{HEADER_LENGTH, SetKind, Version};
use forebay_wire::template::{Definition, TemplateError};
use forebay_wire::{Message, Set, Sets, Template, TemplateRecord, fixed, ipfix, v9};

use super::rows::Rows;
use super::templates::{Change, Session, Templates};
use crate::time::Rfc3339;

/// The fields of a template that are looked at; the collector's default limit.
const FIELDS_MAX: usize = 1_024;

/// A message.
pub(super) struct MessageView<'a> {
    /// 1, 5, 7, 9 or 10; `None` where it is no message.
    pub(super) version: Option<u8>,
    pub(super) header: Vec<(&'static str, HeaderValue)>,
    pub(super) sets: Vec<SetView<'a>>,
    pub(super) problems: Vec<Problem>,
}

/// A header field's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum HeaderValue {
    Number(u32),
    Time(Rfc3339),
}

/// Something wrong, and where in the datagram.
pub(super) struct Problem {
    pub(super) offset: usize,
    /// The stable name.
    pub(super) reason: &'static str,
    pub(super) what: String,
}

impl Problem {
    pub(super) fn new(offset: usize, reason: &'static str, what: impl Display) -> Self {
        Self {
            offset,
            reason,
            what: what.to_string(),
        }
    }
}

/// A set; the records of v1, v5 and v7 are one without an id.
pub(super) struct SetView<'a> {
    pub(super) offset: usize,
    pub(super) id: Option<u16>,
    /// With the set's header.
    pub(super) bytes: usize,
    pub(super) content: Content<'a>,
    pub(super) problems: Vec<Problem>,
}

/// What is in a set.
pub(super) enum Content<'a> {
    Templates(Vec<TemplateView>),
    Records(Rows<'a>),
    /// A data set whose template is not known.
    NoTemplate,
    /// A set of an id that is not specified.
    Reserved,
}

/// A template record.
pub(super) enum TemplateView {
    Define {
        offset: usize,
        template: Arc<Template>,
        change: Change,
    },
    Withdraw {
        id: u16,
    },
    WithdrawAll {
        options: bool,
    },
}

impl<'a> MessageView<'a> {
    /// Reads a datagram, and keeps its templates.
    pub(super) fn read(datagram: &Datagram<'a>, templates: &mut Templates) -> Self {
        let message = match Message::parse(datagram.payload) {
            Ok(message) => message,
            Err(error) => {
                return Self {
                    version: None,
                    header: Vec::new(),
                    sets: Vec::new(),
                    problems: vec![Problem::new(0, error.reason(), error)],
                };
            }
        };
        let mut view = Self {
            version: Some(message.version()),
            header: Vec::new(),
            sets: Vec::new(),
            problems: Vec::new(),
        };
        let session = |version| Session {
            version,
            exporter: datagram.source,
            domain: message.observation_domain(),
        };
        match message {
            Message::Fixed(fixed) => view.read_fixed(&fixed),
            Message::V9(v9) => {
                view.header = v9_header(&v9.header);
                view.read_sets(v9.sets(), session(Version::V9), templates);
            }
            Message::Ipfix(ipfix) => {
                view.header = ipfix_header(&ipfix.header);
                if let Some(problem) = ipfix.problem() {
                    view.problems
                        .push(Problem::new(2, problem.reason(), problem));
                }
                view.read_sets(ipfix.sets(), session(Version::Ipfix), templates);
            }
        }
        view
    }

    fn read_fixed(&mut self, message: &fixed::Message<'a>) {
        let version = message.header.version;
        self.header = fixed_header(&message.header);
        let offset = version.header_length();
        let bytes = message.records().len();
        if let Some(problem) = message.problem() {
            let at = match problem {
                // The count is what is wrong.
                fixed::Problem::CountTooLarge { .. } => 2,
                fixed::Problem::TrailingBytes { .. } => offset + bytes,
            };
            self.problems
                .push(Problem::new(at, problem.reason(), problem));
        }
        self.sets.push(SetView {
            offset,
            id: None,
            bytes,
            content: Content::Records(Rows::fixed(version, message.records(), offset)),
            problems: Vec::new(),
        });
    }

    fn read_sets(&mut self, sets: Sets<'a>, session: Session, templates: &mut Templates) {
        for set in sets {
            match set {
                Ok(set) => self.sets.push(SetView::read(&set, session, templates)),
                Err(error) => {
                    let problem = Problem::new(error.offset(), error.reason(), error);
                    self.problems.push(problem);
                }
            }
        }
    }
}

impl<'a> SetView<'a> {
    fn read(set: &Set<'a>, session: Session, templates: &mut Templates) -> Self {
        let mut problems = Vec::new();
        let content = match set.kind() {
            SetKind::Template | SetKind::OptionsTemplate => {
                Content::Templates(read_templates(set, session, templates, &mut problems))
            }
            SetKind::Data => match templates.find(session, set.id) {
                Some(template) => Content::Records(Rows::new(template, set)),
                None => {
                    let what = format!("no template {} has come yet", set.id);
                    problems.push(Problem::new(set.offset, "template_missing", what));
                    Content::NoTemplate
                }
            },
            SetKind::Reserved => {
                let what = format!("set id {} is not specified", set.id);
                problems.push(Problem::new(set.offset, "set_reserved_id", what));
                Content::Reserved
            }
        };
        Self {
            offset: set.offset,
            id: Some(set.id),
            bytes: HEADER_LENGTH + set.body.len(),
            content,
            problems,
        }
    }
}

fn read_templates(
    set: &Set<'_>,
    session: Session,
    templates: &mut Templates,
    problems: &mut Vec<Problem>,
) -> Vec<TemplateView> {
    let mut views = Vec::new();
    let mut records = set.templates();
    while let Some(record) = records.next() {
        match record {
            Ok(TemplateRecord::Define(definition)) => {
                match read_definition(&definition, session, templates) {
                    Ok(view) => views.push(view),
                    Err(error) => {
                        problems.push(Problem::new(definition.offset(), error.reason(), error));
                    }
                }
            }
            // RFC 7011 §8.4: over UDP "Template Withdrawal messages MUST NOT be used": what is known stays.
            Ok(TemplateRecord::Withdraw { id }) => views.push(TemplateView::Withdraw { id }),
            Ok(TemplateRecord::WithdrawAll { options }) => {
                views.push(TemplateView::WithdrawAll { options });
            }
            Err(error) => problems.push(Problem::new(records.offset(), error.reason(), error)),
        }
    }
    views
}

fn read_definition(
    definition: &Definition<'_>,
    session: Session,
    templates: &mut Templates,
) -> Result<TemplateView, TemplateError> {
    let template = Arc::new(definition.to_template(FIELDS_MAX)?);
    Ok(TemplateView::Define {
        offset: definition.offset(),
        change: templates.define(session, &template),
        template,
    })
}

fn number(value: impl Into<u32>) -> HeaderValue {
    HeaderValue::Number(value.into())
}

fn time(seconds: u32) -> HeaderValue {
    HeaderValue::Time(Rfc3339::from_s(seconds.into()))
}

fn v9_header(header: &v9::Header) -> Vec<(&'static str, HeaderValue)> {
    vec![
        ("count", number(header.count)),
        ("uptime_ms", number(header.uptime_ms)),
        ("export_time", time(header.unix_secs)),
        ("sequence", number(header.sequence.0)),
        ("observation_domain", number(header.source_id)),
    ]
}

fn ipfix_header(header: &ipfix::Header) -> Vec<(&'static str, HeaderValue)> {
    vec![
        ("length", number(header.length)),
        ("export_time", time(header.export_secs)),
        ("sequence", number(header.sequence.0)),
        ("observation_domain", number(header.observation_domain)),
    ]
}

fn fixed_header(header: &fixed::Header) -> Vec<(&'static str, HeaderValue)> {
    let seconds = i64::from(header.unix_secs) + i64::from(header.unix_nsecs / 1_000_000_000);
    let exported = Rfc3339::from_s_ns(seconds, header.unix_nsecs % 1_000_000_000);
    let mut fields = vec![
        ("count", number(header.count)),
        ("uptime_ms", number(header.uptime_ms)),
        ("export_time", HeaderValue::Time(exported)),
    ];
    if header.version != fixed::Version::V1 {
        fields.push(("sequence", number(header.flow_sequence.0)));
    }
    if header.version == fixed::Version::V5 {
        fields.push(("engine_type", number(header.engine_type)));
        fields.push(("engine_id", number(header.engine_id)));
        fields.push(("sampling_mode", number(header.sampling_mode())));
        fields.push(("sampling_interval", number(header.sampling_interval())));
    }
    fields
}
