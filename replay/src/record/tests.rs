//! What is recorded is read again, in whole files, no more of them than wanted, each drop in one of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_udp::Datagram;
use forebay_udp::capture::{CaptureFormat, CaptureReader};

use super::*;

mod primer;

const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_700_000_000 * SECOND;

/// A datagram that has left a capture: where from, and the payload.
type Taken = (String, Vec<u8>);

fn config(folder: &Path, name: &str) -> RecordConfig {
    RecordConfig {
        output: folder.join(name),
        format: None,
        compressed: false,
        rotation: Rotation::default(),
        retain: None,
    }
}

fn datagram(payload: &[u8], received_ns: u64) -> Datagram<'_> {
    Datagram {
        source: "192.0.2.1:50000".parse().expect("an address"),
        destination: "198.51.100.1:2055".parse().expect("an address"),
        received_ns,
        payload,
    }
}

fn read(path: &Path) -> Vec<Taken> {
    let mut capture = CaptureReader::open(path).expect("a capture");
    let mut all = Vec::new();
    while let Some(datagram) = capture.next().expect("whole") {
        all.push((datagram.source.to_string(), datagram.payload.to_vec()));
    }
    all
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    names.sort();
    names
}

fn numbered(count: u32) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| number.to_be_bytes().to_vec())
        .collect()
}

#[test]
fn a_file_is_hidden_until_it_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.pcap", "b.pcapng", "c.pcap.zst", "d.pcapng.zst"] {
        let mut recorder =
            Recorder::new(config(folder.path(), name), None, BEGIN).expect("it begins");
        let target = folder.path().join(name);
        let payloads = numbered(1000);
        for payload in &payloads {
            recorder
                .record(&datagram(payload, BEGIN))
                .expect("recorded");
        }
        assert!(!target.exists());
        let hidden = folder.path().join(format!(".{name}.tmp"));
        assert!(hidden.exists());
        assert_eq!(recorder.open_file(), Some(target.as_path()));
        let counts = recorder.finish(BEGIN + 1, 7).expect("closed");
        assert!(!hidden.exists());
        let found: Vec<Vec<u8>> = read(&target).into_iter().map(|taken| taken.1).collect();
        assert_eq!(found, payloads, "{name}");
        assert_eq!(
            (counts.recorded, counts.dropped, counts.received()),
            (1000, 7, 1007)
        );
        assert_eq!((counts.bytes, counts.files), (4000, 1));
        let first = fs::read(&target).expect("a file");
        assert_eq!(
            first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
            name.ends_with(".zst")
        );
    }
}

#[test]
fn nothing_recorded_is_an_empty_capture() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::new(config(folder.path(), "a.pcap"), None, BEGIN).expect("it begins");
    recorder.finish(BEGIN, 0).expect("closed");
    assert_eq!(read(&folder.path().join("a.pcap")), []);
    // Where others follow, an empty one is of no use.
    let rotating = RecordConfig {
        rotation: Rotation {
            datagrams: Some(2),
            ..Rotation::default()
        },
        ..config(folder.path(), "b.pcap")
    };
    let recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    assert_eq!(recorder.finish(BEGIN, 0).expect("closed").files, 0);
    assert_eq!(names(folder.path()), [folder.path().join("a.pcap")]);
}

#[test]
fn files_follow_by_count_and_the_oldest_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let earlier = folder.path().join("x-20200101T000000.000000Z.pcap");
    let other = folder.path().join("x-2020.pcap");
    for path in [&earlier, &other] {
        fs::write(path, "").expect("a file");
    }
    let rotating = RecordConfig {
        rotation: Rotation {
            datagrams: Some(10),
            ..Rotation::default()
        },
        retain: Some(3),
        ..config(folder.path(), "x.pcap")
    };
    let mut recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    // All at the same time: their names differ all the same.
    let payloads = numbered(45);
    for payload in &payloads {
        recorder
            .record(&datagram(payload, BEGIN))
            .expect("recorded");
    }
    let counts = recorder.finish(BEGIN, 0).expect("closed");
    assert_eq!((counts.recorded, counts.files, counts.removed), (45, 5, 3));
    let mut left = names(folder.path());
    assert!(left.contains(&other), "others' files stay");
    left.retain(|path| *path != other);
    assert_eq!(left.len(), 3);
    let found: Vec<Vec<u8>> = left
        .iter()
        .flat_map(|path| read(path))
        .map(|taken| taken.1)
        .collect();
    assert_eq!(found, payloads[20..]);
}

#[test]
fn files_follow_by_size_and_by_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let rotating = RecordConfig {
        rotation: Rotation {
            bytes: Some(2_000),
            period: Some(Duration::from_secs(60)),
            datagrams: None,
        },
        ..config(folder.path(), "x.pcap")
    };
    let mut recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    let payload = [1; 156];
    let turn = |recorder: &mut Recorder, now| recorder.turn(now, || 0).expect("a turn");
    // An empty file's time is never up.
    turn(&mut recorder, BEGIN + 90 * SECOND);
    let begin = BEGIN + 90 * SECOND;
    // Ten of 200 bytes each, with the headers, and the file's own.
    for _ in 0..11 {
        recorder
            .record(&datagram(&payload, begin))
            .expect("recorded");
    }
    turn(&mut recorder, begin);
    turn(&mut recorder, begin + 59 * SECOND);
    recorder
        .record(&datagram(&payload, begin + 59 * SECOND))
        .expect("recorded");
    turn(&mut recorder, begin + 60 * SECOND);
    assert!(recorder.open_file().is_none(), "its time is up");
    recorder
        .record(&datagram(&payload, begin + 90 * SECOND))
        .expect("recorded");
    let counts = recorder.finish(begin + 91 * SECOND, 0).expect("closed");
    assert_eq!((counts.files, counts.recorded), (3, 13));
    let each: Vec<usize> = names(folder.path())
        .iter()
        .map(|path| read(path).len())
        .collect();
    assert_eq!(each, [10, 2, 1]);
}

#[test]
fn compressed_files_follow_by_their_size_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let limit = 300_000;
    let rotating = RecordConfig {
        rotation: Rotation {
            bytes: Some(limit),
            ..Rotation::default()
        },
        ..config(folder.path(), "x.pcap.zst")
    };
    let mut recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    let mut state = 1_u64;
    for _ in 0..2_000 {
        let payload: Vec<u8> = (0..1000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        recorder
            .record(&datagram(&payload, BEGIN))
            .expect("recorded");
    }
    let counts = recorder.finish(BEGIN, 0).expect("closed");
    assert!(counts.files > 3, "{counts:?}");
    let files = names(folder.path());
    let all: usize = files.iter().map(|path| read(path).len()).sum();
    assert_eq!(all, 2_000);
    for path in files {
        let bytes = fs::metadata(&path).expect("a file").len();
        assert!(bytes < 2 * limit + (1 << 18), "{bytes}");
    }
}

/// Received and dropped, as the statistics at the end of a pcapng file say.
fn statistics(path: &Path) -> (u64, u64) {
    let file = fs::read(path).expect("a file");
    let block = &file[file.len() - 88..];
    assert_eq!(block[..8], [5, 0, 0, 0, 88, 0, 0, 0]);
    let value = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("8 bytes"));
    (value(48), value(60))
}

#[test]
fn each_drop_is_in_the_statistics_of_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let rotating = RecordConfig {
        rotation: Rotation {
            datagrams: Some(2),
            ..Rotation::default()
        },
        ..config(folder.path(), "x.pcapng")
    };
    let mut recorder = Recorder::new(rotating, None, BEGIN).expect("it begins");
    for number in 0..3 {
        recorder.record(&datagram(b"a", BEGIN)).expect("recorded");
        recorder.record(&datagram(b"b", BEGIN)).expect("recorded");
        recorder
            .turn(BEGIN + number, || 5 * (number + 1))
            .expect("a turn");
    }
    recorder.record(&datagram(b"c", BEGIN)).expect("recorded");
    let counts = recorder.finish(BEGIN + 9, 17).expect("closed");
    assert_eq!(counts.received(), 7 + 17);
    let each: Vec<(u64, u64)> = names(folder.path())
        .iter()
        .map(|path| statistics(path))
        .collect();
    assert_eq!(each, [(7, 5), (7, 5), (7, 5), (3, 2)]);
}

#[test]
fn what_is_there_already_is_not_written_over_half_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Recorder::new(config(folder.path(), "a.pcap"), None, BEGIN).expect("it begins");
    let second = Recorder::new(config(folder.path(), "a.pcap"), None, BEGIN).expect_err("refused");
    assert!(matches!(second, RecordError::Unfinished { .. }), "{second}");
    first.finish(BEGIN, 0).expect("closed");
    fs::create_dir(folder.path().join("folder")).expect("a folder");
    for (name, says) in [
        ("folder", "is there: choose"),
        ("a.pcap", "is there: choose"),
        ("nowhere/a.pcap", "cannot make"),
    ] {
        let error = Recorder::new(config(folder.path(), name), None, BEGIN).expect_err("refused");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn the_format_that_is_asked_for_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = RecordConfig {
        format: Some(CaptureFormat::Pcapng),
        ..config(folder.path(), "a.pcap")
    };
    Recorder::new(asked, None, BEGIN)
        .expect("it begins")
        .finish(BEGIN, 0)
        .expect("closed");
    let file = fs::read(folder.path().join("a.pcap")).expect("a file");
    assert!(file.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
}
