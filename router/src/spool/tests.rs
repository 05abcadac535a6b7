use super::*;

const COLLECTOR: ([u8; 4], u16) = ([203, 0, 113, 1], 2055);

fn options(folder: &Path, bytes: u64) -> SpoolOptions {
    SpoolOptions {
        folder: folder.to_owned(),
        bytes,
        used: Arc::default(),
        thread: 0,
        threads: 1,
        next: Arc::default(),
    }
}

fn push(spool: &mut Spool, payload: &[u8]) -> Result<(), NotKept> {
    let datagram = Datagram {
        source: "10.0.0.1:50000".parse().unwrap(),
        destination: "198.51.100.1:2055".parse().unwrap(),
        received_ns: 1_700_000_000_000_000_000,
        payload,
    };
    spool.push(&datagram, Tally::of(payload, false), Origin::Received)
}

fn number(number: u32) -> Vec<u8> {
    let mut payload = vec![0; 1_000];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

fn take(spool: &mut Spool, most: usize) -> (Vec<u32>, u64) {
    let mut taken = Taken::default();
    spool.take(most, &mut taken);
    let numbers = taken.iter().map(|datagram| {
        assert_eq!(datagram.payload.len(), 1_000);
        u32::from_be_bytes(*datagram.payload.first_chunk().unwrap())
    });
    (numbers.collect(), taken.lost.datagrams)
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn what_goes_in_comes_out_in_order_and_space_is_free_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(options(folder.path(), 200_000), COLLECTOR.into());
    assert!(spool.is_empty());
    let (mut next_in, mut next_out) = (0, 0);
    // Far more than its space in all, half of it waiting at a time.
    for _ in 0..30 {
        while next_in - next_out < 100 {
            push(&mut spool, &number(next_in)).unwrap();
            next_in += 1;
        }
        let (taken, lost) = take(&mut spool, 37);
        assert_eq!(taken, (next_out..next_out + 37).collect::<Vec<_>>());
        assert_eq!(lost, 0);
        next_out += 37;
        assert!(files(folder.path()) <= 12, "{}", files(folder.path()));
    }
    let (rest, _) = take(&mut spool, 1_000);
    assert_eq!(rest, (next_out..next_in).collect::<Vec<_>>());
    assert!(spool.is_empty());
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn threads_share_the_space_however_uneven_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let first = SpoolOptions {
        threads: 4,
        ..options(folder.path(), 200 * 1_064)
    };
    let second = SpoolOptions {
        thread: 1,
        ..first.clone()
    };
    let mut first = Spool::new(first, COLLECTOR.into());
    let mut second = Spool::new(second, COLLECTOR.into());
    (0..150).for_each(|of| push(&mut first, &number(of)).unwrap());
    (0..50).for_each(|of| push(&mut second, &number(of)).unwrap());
    for spool in [&mut first, &mut second] {
        assert!(matches!(push(spool, &number(0)), Err(NotKept::Full)));
    }
    // What one gives back is the other's too.
    assert_eq!(take(&mut first, 200).0.len(), 150);
    (50..200).for_each(|of| push(&mut second, &number(of)).unwrap());
    assert!(matches!(push(&mut first, &number(0)), Err(NotKept::Full)));
    assert_eq!(take(&mut second, 300).0, (0..200).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_read_any_more_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(options(folder.path(), 200_000), COLLECTOR.into());
    (0..50).for_each(|of| push(&mut spool, &number(of)).unwrap());
    let (first, _) = take(&mut spool, 1);
    assert_eq!(first, [0]);
    // The second file is cut, the third is gone.
    let mut paths: Vec<PathBuf> = fs::read_dir(folder.path())
        .unwrap()
        .map(|of| of.unwrap().path())
        .collect();
    paths.sort();
    let cut = File::options().write(true).open(&paths[1]).unwrap();
    cut.set_len(3 * 1_060).unwrap();
    fs::remove_file(&paths[2]).unwrap();
    let (rest, lost) = take(&mut spool, 1_000);
    assert!(rest.is_sorted());
    assert!(lost > 10);
    assert_eq!(1 + rest.len() as u64 + lost, 50);
    assert!(spool.is_empty());
}

/// The file of this number will take nothing: full(4).
pub(crate) fn fill_disk(options: &SpoolOptions, collector: SocketAddr, number: u64) {
    let path = files::path(options, collector, number);
    std::os::unix::fs::symlink("/dev/full", path).unwrap();
}

#[test]
fn what_a_full_disk_does_not_take_is_lost_and_gives_its_space_back() {
    let folder = tempfile::tempdir().unwrap();
    // A file is written to the disk several times before it is full, or at once when it is closed.
    for bytes in [32 << 20, 1 << 20] {
        let options = options(folder.path(), bytes);
        fill_disk(&options, COLLECTOR.into(), 0);
        let mut spool = Spool::new(options.clone(), COLLECTOR.into());
        let mut refused = Vec::new();
        let mut lost = 0;
        for of in 0..600 {
            match push(&mut spool, &number(of)) {
                Ok(()) => {}
                Err(NotKept::Failed) => refused.push(of),
                Err(NotKept::Full) => panic!("there is space"),
            }
            lost += spool.take_lost().datagrams;
        }
        assert!(lost > 50, "{lost}");
        assert_eq!(spool.waiting().datagrams, 600 - lost - refused.len() as u64);
        let used = options.used.of(COLLECTOR.into()).load(Ordering::Relaxed);
        assert_eq!(used, spool.waiting().datagrams * 1_064);
        let (taken, lost_later) = take(&mut spool, 1_000);
        let first = lost as u32 + refused.len() as u32;
        assert_eq!(taken, (first..600).collect::<Vec<_>>());
        assert_eq!(lost_later, 0);
        assert_eq!(files(folder.path()), 0);
    }
}

#[test]
fn of_a_file_that_is_written_in_part_that_part_waits_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(options(folder.path(), 1 << 20), COLLECTOR.into());
    (0..20).for_each(|of| push(&mut spool, &number(of)).unwrap());
    spool.close();
    let segment = spool.closed.pop_back().unwrap();
    // As if the rest had found no room.
    let cut = File::options().write(true).open(&segment.path).unwrap();
    cut.set_len(24 + 7 * (16 + 28 + 1_000) + 500).unwrap();
    spool.salvage(segment);
    assert_eq!(spool.take_lost().datagrams, 13);
    assert_eq!(spool.waiting().datagrams, 7);
    assert_eq!(take(&mut spool, 100), ((0..7).collect(), 0));
    assert_eq!(spool.used.load(Ordering::Relaxed), 0);
}

#[test]
fn what_was_taken_out_is_not_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(options(folder.path(), 1 << 20), COLLECTOR.into());
    (0..100).for_each(|of| push(&mut spool, &number(of)).unwrap());
    let (taken, _) = take(&mut spool, 42);
    assert_eq!(taken.len(), 42);
    drop(spool);
    let mut found = Vec::new();
    for left in leftovers(folder.path()).unwrap() {
        assert_eq!(left.collector, SocketAddr::from(COLLECTOR));
        let mut reader = CaptureReader::open(&left.path).unwrap();
        while let Some(datagram) = reader.next().unwrap() {
            found.push(u32::from_be_bytes(*datagram.payload.first_chunk().unwrap()));
        }
    }
    assert_eq!(found, (42..100).collect::<Vec<_>>());
}

#[test]
fn one_router_has_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("spool");
    let lock = SpoolLock::take(&folder).unwrap();
    let refused = SpoolLock::take(&folder).unwrap_err();
    assert!(
        refused.to_string().contains("is another router's"),
        "{refused}"
    );
    drop(lock);
    SpoolLock::take(&folder).unwrap();
    assert!(leftovers(&folder).unwrap().is_empty());
    let file = folder.join("file");
    File::create(&file).unwrap();
    let refused = SpoolLock::take(&file).unwrap_err();
    assert!(
        refused.to_string().starts_with("cannot use spool folder"),
        "{refused}"
    );
}
