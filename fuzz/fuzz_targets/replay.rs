//! A capture of a few exporters: recorded anew with the templates that each file lacks, and replayed in loops that go on
//! from each other.
#![no_main]

use std::collections::HashMap;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::Path;

use forebay_fuzz::{Frames, only_templates};
use forebay_replay::record::Primer;
use forebay_replay::{Filter, PlayOptions, Recording};
use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureReader, CaptureWriter};
use forebay_wire::Message;
use libfuzzer_sys::fuzz_target;

/// When the capture began, and when it is replayed: it goes forwards.
const BEGAN_NS: u64 = 1_700_000_000_000_000_000;
const NOW_NS: u64 = 1_795_279_200_000_000_000;
/// As it was recorded, moved to the present, and gone on from twice.
const LOOPS: usize = 3;
/// After so many datagrams another file begins.
const FILE: u16 = 5;

type Sent = (SocketAddr, Vec<u8>);

fuzz_target!(|input: &[u8]| {
    let datagrams: Vec<Datagram<'_>> = (0_u16..)
        .zip(Frames(input))
        .map(|(number, payload)| {
            let [host, port] = [number % 3, number / 3 % 2];
            Datagram {
                source: SocketAddr::from(([192, 0, 2, host as u8], 50_000 + port)),
                destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
                received_ns: BEGAN_NS + u64::from(number) * 300_000_000,
                payload,
            }
        })
        .collect();
    let mut primer = Primer::default();
    let mut primed = Vec::new();
    for (number, datagram) in (0_u16..).zip(&datagrams) {
        if number % FILE == 0 {
            primer.begin_file();
        }
        let told = primer.prime(datagram, |made| {
            only_templates(made.payload);
            assert_eq!(made.source.ip(), datagram.source.ip());
            primed.push((made.source, made.payload.to_vec()));
            Ok::<(), ()>(())
        });
        assert!(told.is_ok());
        primed.push((datagram.source, datagram.payload.to_vec()));
    }
    // What is put in harms nothing.
    let _recording = recording(&primed);

    let as_is: Vec<Sent> = datagrams
        .iter()
        .map(|datagram| (datagram.source, datagram.payload.to_vec()))
        .collect();
    for prime in [false, true] {
        let Some(recording) = recording(&as_is) else {
            return;
        };
        play(recording, &as_is, prime);
    }
});

fn recording(sent: &[Sent]) -> Option<Recording> {
    let mut capture = CaptureWriter::new("input", Vec::new()).expect("memory");
    for ((source, payload), number) in sent.iter().zip(0..) {
        let written = capture.write(&Datagram {
            source: *source,
            destination: SocketAddr::from(([198, 51, 100, 1], 2055)),
            received_ns: BEGAN_NS + number * 300_000_000,
            payload,
        });
        if written.is_err() {
            // Longer than an IP packet.
            return None;
        }
    }
    let capture = Cursor::new(capture.finish().expect("memory"));
    let capture = CaptureReader::from_reader("input", capture).expect("a capture of ours");
    Recording::read(capture, Path::new("input"), &Filter::default()).ok()
}

/// Plays a recording, and holds what is sent against what it holds.
fn play(recorded: Recording, as_is: &[Sent], prime: bool) {
    let (count, flows, uncounted) = (
        recorded.datagrams() as usize,
        recorded.flows(),
        recorded.left_out().uncounted_sets,
    );
    let options = PlayOptions {
        loops: Some(LOOPS as u64),
        rebase: true,
        prime,
    };
    let mut sent: Vec<Sent> = Vec::new();
    options.rehearse(recorded, NOW_NS, &mut |source, payload| {
        sent.push((source, payload.to_vec()));
    });
    assert_eq!(sent.len() % LOOPS, 0);
    let loops: Vec<&[Sent]> = sent.chunks(sent.len() / LOOPS).collect();
    let made = loops[0].len() - count;
    assert!(prime || made == 0);
    let messages: Vec<&Sent> = as_is
        .iter()
        .filter(|(_, payload)| Message::parse(payload).is_ok())
        .collect();
    assert_eq!(messages.len(), count);
    let mut advance = HashMap::new();
    for of_loop in &loops {
        let (told, played) = of_loop.split_at(made);
        for (_, payload) in told {
            only_templates(payload);
        }
        for ((source, payload), (from, recorded)) in played.iter().zip(&messages) {
            assert_eq!((source, payload.len()), (from, recorded.len()));
            let [now, then] = [payload, recorded].map(|of| Message::parse(of).expect("a message"));
            assert_eq!(now.version(), then.version());
            assert_eq!(now.observation_domain(), then.observation_domain());
        }
    }
    // From loop to loop the numbers of an exporter's domain advance by as much.
    for pair in loops.windows(2) {
        for ((source, before), (_, after)) in pair[0].iter().zip(pair[1]) {
            let [first, second] = [before, after].map(|of| Message::parse(of).expect("a message"));
            let (Some(from), Some(to)) = (number(&first), number(&second)) else {
                continue;
            };
            let key = (*source, first.version(), first.observation_domain());
            let by = to.wrapping_sub(from);
            assert_eq!(*advance.entry(key).or_insert(by), by, "{key:?}");
        }
    }
    // Every loop holds the flows that were recorded.
    let again = recording(loops[1]).expect("what was sent is a recording");
    assert_eq!(again.flows(), flows);
    assert_eq!(again.left_out().uncounted_sets, uncounted);
}

/// The sequence number, but for v1, which has none.
fn number(message: &Message<'_>) -> Option<u32> {
    match message {
        Message::Fixed(message) if message.header.version.number() == 1 => None,
        Message::Fixed(message) => Some(message.header.flow_sequence.0),
        Message::V9(message) => Some(message.header.sequence.0),
        Message::Ipfix(message) => Some(message.header.sequence.0),
    }
}
