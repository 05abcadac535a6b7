use forebay_wire::encode::{Builder, IpfixBuilder, V9Builder};
use forebay_wire::ipfix::{self, RecordSequence};
use forebay_wire::v9::{self, MessageSequence};
use forebay_wire::{ElementId, FieldSpecifier, Template};
use proptest::prelude::*;

use super::*;

const SOURCE: &str = "192.0.2.1:50000";

fn source() -> SocketAddr {
    SOURCE.parse().unwrap()
}

fn template(id: u16, fields: u16) -> Template {
    let field = |number| FieldSpecifier {
        element: ElementId::iana(number),
        length: 4,
    };
    Template {
        id,
        scope_count: 0,
        fields: (1..=fields).map(field).collect(),
    }
}

fn options(id: u16) -> Template {
    Template {
        scope_count: 1,
        ..template(id, 3)
    }
}

/// Adds a set of each kind of template, and one of data for each of these.
fn fill<H>(builder: &mut Builder<'_, H>, templates: &[Template], data: &[u16]) {
    let (options, plain): (Vec<_>, Vec<_>) = templates.iter().partition(|of| of.is_options());
    if !plain.is_empty() {
        builder.templates(plain);
    }
    if !options.is_empty() {
        builder.options_templates(options);
    }
    for id in data {
        builder.data(*id, [[1, 2, 3, 4]], |out, record| out.extend(record));
    }
}

fn v9_message(sequence: u32, domain: u32, templates: &[Template], data: &[u16]) -> Vec<u8> {
    let header = v9::Header {
        count: 0,
        uptime_ms: 4_711,
        unix_secs: 1_700_000_000,
        sequence: MessageSequence(sequence),
        source_id: domain,
    };
    let mut out = Vec::new();
    let mut builder = V9Builder::new(&mut out, header);
    fill(&mut builder, templates, data);
    builder.finish().unwrap();
    out
}

fn ipfix_message(sequence: u32, domain: u32, templates: &[Template], data: &[u16]) -> Vec<u8> {
    let header = ipfix::Header {
        length: 0,
        export_secs: 1_700_000_000,
        sequence: RecordSequence(sequence),
        observation_domain: domain,
    };
    let mut out = Vec::new();
    let mut builder = IpfixBuilder::new(&mut out, header);
    fill(&mut builder, templates, data);
    builder.finish().unwrap();
    out
}

fn learn(templates: &mut Templates, payload: &[u8], at_ns: u64) -> bool {
    let message = Message::parse(payload).unwrap();
    templates.learn(source(), &message, at_ns, (1, 0))
}

/// The messages that are sent before `follows`.
fn told(templates: &Templates, follows: &[u8], at_ns: u64) -> Vec<Vec<u8>> {
    let mut scratch = Scratch::default();
    let mut messages = Vec::new();
    let follows = Message::parse(follows).unwrap();
    let each = |from, payload: &[u8]| {
        assert_eq!(from, source());
        messages.push(payload.to_vec());
    };
    let count = templates.messages(source(), &follows, at_ns, &mut scratch, each);
    assert_eq!(count, messages.len() as u64);
    messages
}

/// What a message defines, in its order.
fn defined(payload: &[u8]) -> Vec<Template> {
    let sets = match Message::parse(payload).unwrap() {
        Message::V9(message) => message.sets(),
        Message::Ipfix(message) => {
            assert_eq!(message.problem(), None);
            message.sets()
        }
        Message::Fixed(_) => panic!("no templates"),
    };
    let mut found = Vec::new();
    for set in sets {
        let set = set.unwrap();
        assert_ne!(set.kind(), SetKind::Data);
        for record in set.templates() {
            let TemplateRecord::Define(definition) = record.unwrap() else {
                panic!("a withdrawal");
            };
            found.push(definition.to_template(100).unwrap());
        }
    }
    found
}

#[test]
fn a_v9_session_is_told_before_its_next_message() {
    let mut templates = Templates::new(Limits::default());
    let all = [template(256, 3), template(257, 5), options(258)];
    assert!(learn(&mut templates, &v9_message(7, 1, &all[..1], &[]), 1));
    assert!(learn(
        &mut templates,
        &v9_message(8, 1, &all[1..], &[256]),
        2
    ));
    assert!(!learn(&mut templates, &v9_message(9, 1, &[], &[256]), 3));
    let messages = told(&templates, &v9_message(10, 1, &[], &[256]), 4);
    let [message] = messages.as_slice() else {
        panic!("{messages:?}");
    };
    assert_eq!(defined(message), all);
    let Ok(Message::V9(message)) = Message::parse(message) else {
        panic!("v9");
    };
    // The number before that of the message that follows, and the rest of its header.
    let expected = v9::Header {
        count: 3,
        uptime_ms: 4_711,
        unix_secs: 1_700_000_000,
        sequence: MessageSequence(9),
        source_id: 1,
    };
    assert_eq!(message.header, expected);
    // Other domains and other ports have their own.
    assert!(told(&templates, &v9_message(10, 2, &[], &[256]), 4).is_empty());
    assert!(told(&templates, &ipfix_message(10, 1, &[], &[256]), 4).is_empty());
}

#[test]
fn an_ipfix_session_is_told_with_the_number_of_its_next_message() {
    let mut templates = Templates::new(Limits::default());
    let all = [template(256, 3), options(300)];
    assert!(learn(&mut templates, &ipfix_message(7, 1, &all, &[]), 1));
    let messages = told(&templates, &ipfix_message(107, 1, &[], &[256]), 4);
    let [message] = messages.as_slice() else {
        panic!("{messages:?}");
    };
    assert_eq!(defined(message), all);
    let Ok(Message::Ipfix(parsed)) = Message::parse(message) else {
        panic!("IPFIX");
    };
    assert_eq!(parsed.header.sequence, RecordSequence(107));
    assert_eq!(usize::from(parsed.header.length), message.len());
}

#[test]
fn many_templates_are_several_messages_in_order() {
    let mut templates = Templates::new(Limits::default());
    let all: Vec<Template> = (0..60).map(|id| template(256 + id, 20)).collect();
    for template in &all {
        let one = std::slice::from_ref(template);
        learn(&mut templates, &v9_message(3, 1, one, &[]), 1);
        learn(&mut templates, &ipfix_message(3, 1, one, &[]), 1);
    }
    // Numbers wrap.
    let messages = told(&templates, &v9_message(2, 1, &[], &[256]), 4);
    assert!(messages.len() >= 4);
    let found: Vec<Template> = messages
        .iter()
        .flat_map(|message| defined(message))
        .collect();
    assert_eq!(found, all);
    let mut expected = 2_u32.wrapping_sub(messages.len() as u32);
    for message in &messages {
        assert!(message.len() <= 1_400);
        let Ok(Message::V9(message)) = Message::parse(message) else {
            panic!("v9");
        };
        assert_eq!(message.header.sequence, MessageSequence(expected));
        expected = expected.wrapping_add(1);
    }
    assert_eq!(expected, 2);
    for message in told(&templates, &ipfix_message(2, 1, &[], &[256]), 4) {
        let Ok(Message::Ipfix(message)) = Message::parse(&message) else {
            panic!("IPFIX");
        };
        assert_eq!(message.header.sequence, RecordSequence(2));
    }
}

#[test]
fn the_last_layout_counts_but_not_for_older_messages() {
    let mut templates = Templates::new(Limits::default());
    learn(
        &mut templates,
        &v9_message(1, 1, &[template(256, 3), options(300)], &[]),
        10,
    );
    learn(
        &mut templates,
        &v9_message(2, 1, &[template(256, 4)], &[]),
        20,
    );
    // The same again changes nothing.
    learn(
        &mut templates,
        &v9_message(3, 1, &[template(256, 4)], &[]),
        30,
    );
    let data = v9_message(4, 1, &[], &[256]);
    assert_eq!(
        defined(&told(&templates, &data, 20)[0]),
        [template(256, 4), options(300)]
    );
    assert_eq!(defined(&told(&templates, &data, 19)[0]), [options(300)]);
    // An older one, out of a spool, changes nothing either.
    learn(
        &mut templates,
        &v9_message(1, 1, &[template(256, 3)], &[]),
        10,
    );
    assert_eq!(
        defined(&told(&templates, &data, 30)[0])[0],
        template(256, 4)
    );
}

#[test]
fn each_incarnation_is_told_once() {
    let mut templates = Templates::new(Limits::default());
    let first = v9_message(1, 1, &[template(256, 3)], &[256]);
    let data = v9_message(2, 1, &[], &[256]);
    let due = |templates: &mut Templates, collector, copies| {
        templates.due(
            source(),
            &Message::parse(&data).unwrap(),
            5,
            collector,
            copies,
        )
    };
    let nothing = Due::default();
    // Nothing is known, so there is nothing to tell.
    assert_eq!(due(&mut templates, Some(9), None), nothing);
    learn(&mut templates, &first, 1);
    assert_eq!(due(&mut templates, Some(1), None), nothing);
    let collector = Due {
        collector: true,
        copies: false,
    };
    for (incarnation, expected) in [(2, collector), (2, nothing), (1, collector), (1, nothing)] {
        assert_eq!(due(&mut templates, Some(incarnation), None), expected);
    }
    // One that gets nothing now is not told.
    assert!(due(&mut templates, None, Some(5)).copies);
    assert_eq!(due(&mut templates, Some(1), Some(5)), nothing);
}

#[test]
fn templates_of_another_port_are_sent_from_there() {
    for (write, numbers) in [
        (
            v9_message as fn(_, _, &[Template], &[u16]) -> Vec<u8>,
            [7, 8],
        ),
        (ipfix_message, [7, 7]),
    ] {
        let mut templates = Templates::new(Limits::default());
        let told_by = write(numbers[0], 1, &[template(256, 3)], &[]);
        learn(&mut templates, &told_by, 1);
        let again = write(numbers[1], 1, &[template(257, 3)], &[]);
        templates.due(source(), &Message::parse(&again).unwrap(), 2, Some(1), None);
        learn(&mut templates, &again, 2);
        // Of another domain: it has nothing to do with it.
        learn(&mut templates, &write(1, 2, &[template(258, 3)], &[]), 2);
        let data = write(900, 1, &[], &[256]);
        let data = Message::parse(&data).unwrap();
        let from = SocketAddr::new(source().ip(), 50_001);
        assert_eq!(templates.due(from, &data, 3, Some(1), None), Due::default());
        assert!(templates.due(from, &data, 3, Some(2), None).collector);
        assert_eq!(templates.due(from, &data, 3, Some(2), None), Due::default());
        let mut messages = Vec::new();
        let each = |from, payload: &[u8]| messages.push((from, payload.to_vec()));
        templates.messages(from, &data, 3, &mut Scratch::default(), each);
        let [(from, message)] = messages.as_slice() else {
            panic!("{messages:?}");
        };
        assert_eq!(*from, source());
        assert_eq!(defined(message), [template(256, 3), template(257, 3)]);
        let number = match Message::parse(message).unwrap() {
            Message::V9(message) => message.header.sequence.0,
            Message::Ipfix(message) => message.header.sequence.0,
            Message::Fixed(_) => panic!("no templates"),
        };
        assert_eq!(number, numbers[1]);
        // Its own port is told no more.
        let next = write(numbers[1] + 1, 1, &[], &[256]);
        let next = Message::parse(&next).unwrap();
        assert_eq!(
            templates.due(source(), &next, 4, Some(2), None),
            Due::default()
        );
    }
}

#[test]
fn limits_hold_and_what_they_cost_is_counted() {
    let limits = Limits {
        domains: 10,
        domains_per_exporter: 4,
        templates_per_domain: 2,
        template_bytes: 2_000,
        ..Limits::default()
    };
    let mut templates = Templates::new(limits);
    let learn_from = |templates: &mut Templates, host: u8, domain, id, fields| {
        let source = SocketAddr::from(([192, 0, 2, host], 9));
        let payload = v9_message(1, domain, &[template(id, fields)], &[]);
        templates.learn(source, &Message::parse(&payload).unwrap(), 1, (1, 0));
    };
    for id in 256..260 {
        learn_from(&mut templates, 1, 1, id, 1);
    }
    assert_eq!(
        (templates.counts().templates, templates.counts().refused),
        (2, 2)
    );
    for domain in 1..=6 {
        learn_from(&mut templates, 1, domain, 256, 1);
    }
    assert_eq!(
        (
            templates.counts().domains,
            templates.counts().domains_evicted
        ),
        (4, 2)
    );
    for host in 2..100 {
        learn_from(&mut templates, host, 1, 256, 1);
    }
    assert_eq!(templates.counts().domains, 10);
    for host in 2..100 {
        learn_from(&mut templates, host, 1, 256, 200);
        assert!(templates.counts().bytes <= 2_000);
    }
    let counts = templates.counts();
    assert_eq!(
        (counts.domains, counts.templates, counts.bytes),
        (2, 2, 2 * (804 + OVERHEAD as u64))
    );
    let kept: usize = templates
        .exporters
        .values()
        .map(|of| of.sessions.len())
        .sum();
    assert_eq!(kept, 2);
    learn_from(&mut templates, 1, 1, 256, 600);
    assert_eq!(templates.counts().refused, 3);
}

/// A map of small templates takes far more memory than their bytes.
#[test]
fn small_templates_count_with_what_keeping_them_takes() {
    let limits = Limits {
        template_bytes: 100_000,
        ..Limits::default()
    };
    let mut templates = Templates::new(limits);
    for domain in 0..10 {
        let all: Vec<Template> = (0..100).map(|id| template(256 + id, 1)).collect();
        learn(&mut templates, &v9_message(1, domain, &all, &[]), 1);
    }
    let TemplateCounts {
        templates, bytes, ..
    } = templates.counts();
    assert_eq!(bytes, templates * (8 + OVERHEAD as u64));
    assert!((800..1_000).contains(&templates), "{templates}");
}

#[test]
fn who_could_not_be_told_is_told_again_but_not_at_once() {
    let mut templates = Templates::new(Limits::default());
    learn(
        &mut templates,
        &v9_message(1, 1, &[template(256, 3)], &[]),
        1,
    );
    let data = v9_message(2, 1, &[], &[256]);
    let data = Message::parse(&data).unwrap();
    let other = SocketAddr::new(source().ip(), 50_001);
    let mut now_ns = 1_000_000_000;
    for from in [source(), other] {
        let nothing = Due::default();
        let both = Due {
            collector: true,
            copies: true,
        };
        let mut due = |at_ns, incarnation, failed| {
            let to = Some(incarnation);
            let due = templates.due(from, &data, at_ns, to, to);
            templates.not_told(from, &data, at_ns, failed);
            due
        };
        now_ns += AGAIN_NS;
        let incarnation = now_ns;
        assert_eq!(due(now_ns, incarnation, both), both);
        now_ns += AGAIN_NS;
        assert_eq!(due(now_ns - 1, incarnation, nothing), nothing);
        let copies = Due {
            collector: false,
            copies: true,
        };
        assert_eq!(due(now_ns, incarnation, copies), both);
        now_ns += AGAIN_NS;
        assert_eq!(due(now_ns, incarnation, copies), copies);
        // Another collector waits for nothing.
        assert_eq!(due(now_ns, incarnation + 1, nothing), both);
        now_ns += AGAIN_NS;
        assert_eq!(due(now_ns, incarnation + 1, nothing), nothing);
    }
}

proptest! {
    /// Whatever comes, the counts are those of what is kept, and what is told can be read.
    #[test]
    fn any_bytes(payloads in prop::collection::vec(hostile(), 1..20)) {
        let limits = Limits { domains: 3, domains_per_exporter: 2, templates_per_domain: 3, template_bytes: 600, ..Limits::default() };
        let mut templates = Templates::new(limits);
        for payload in payloads {
            let Ok(message) = Message::parse(&payload) else { continue };
            templates.due(source(), &message, 5, Some(2), None);
            templates.learn(source(), &message, 5, (1, 0));
            let sessions = || templates.exporters.values().flat_map(|of| of.sessions.values());
            let known = || sessions().flat_map(|session| session.templates.values());
            let counts = templates.counts();
            prop_assert_eq!(counts.domains, sessions().count() as u64);
            prop_assert_eq!(counts.templates, known().count() as u64);
            prop_assert_eq!(counts.bytes, known().map(Known::cost).sum::<u64>());
            prop_assert!(counts.domains <= 3 && counts.bytes <= 600);
            let session = session_of(source(), &message)
                .and_then(|(key, _)| templates.exporters.get(&source().ip())?.sessions.get(&key));
            let expected = session.map_or(0, |session| session.templates.len());
            let told: Vec<Template> =
                told(&templates, &payload, 5).iter().flat_map(|message| definitions(message)).collect();
            prop_assert!(told.len() <= expected);
        }
    }
}

/// As [`defined`], of layouts that a collector may refuse.
fn definitions(payload: &[u8]) -> Vec<Template> {
    let sets = session_of(source(), &Message::parse(payload).unwrap())
        .unwrap()
        .1;
    let records = sets.flat_map(|set| set.unwrap().templates());
    let defined = |record: TemplateRecord<'_>| match record {
        TemplateRecord::Define(definition) => definition.to_template(usize::MAX).ok(),
        _ => None,
    };
    records
        .filter_map(|record| defined(record.unwrap()))
        .collect()
}

/// Messages with templates, of which some bytes may be others.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let message = (
        any::<bool>(),
        0..4_u32,
        256..260_u16,
        1..30_u16,
        any::<bool>(),
    )
        .prop_map(|(is_v9, domain, id, fields, with_options)| {
            let mut templates = vec![template(id, fields)];
            if with_options {
                templates.push(options(id + 1));
            }
            let write = if is_v9 { v9_message } else { ipfix_message };
            write(5, domain, &templates, &[id])
        });
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (
        message,
        changes,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut message, changes, end, cut)| {
            for (place, byte) in changes {
                let place = place.index(message.len());
                message[place] = byte;
            }
            if cut {
                message.truncate(end.index(message.len()));
            }
            message
        })
}
