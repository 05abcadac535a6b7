use super::*;

fn shard(hash: Hash, exporter: &str, shards: u32) -> u32 {
    hash.shard(
        exporter.parse().expect("an address"),
        NonZero::new(shards).expect("not 0"),
    )
}

/// Exporter, its shards of 7, 8 and 31 by `address`, and by `xxh3`: computed with Python's integers and the reference
/// implementation of XXH3 (xxHash 0.8).
const KNOWN: [(&str, [u32; 3], [u32; 3]); 10] = [
    ("0.0.0.0", [0, 0, 0], [6, 5, 0]),
    ("10.0.0.1", [4, 1, 6], [5, 6, 14]),
    ("10.1.2.3", [2, 3, 26], [3, 4, 21]),
    ("192.0.2.255", [0, 7, 26], [2, 1, 8]),
    ("255.255.255.255", [3, 7, 3], [2, 4, 3]),
    ("::", [0, 0, 0], [4, 0, 13]),
    ("2001:db8::1", [5, 1, 24], [4, 0, 29]),
    ("2001:db8:0:1::ffff", [0, 7, 9], [6, 7, 5]),
    ("fe80::1", [0, 1, 23], [2, 7, 3]),
    (
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        [3, 7, 7],
        [0, 3, 9],
    ),
];

#[test]
fn shards_are_those_of_every_other_router() {
    for (exporter, by_address, by_xxh3) in KNOWN {
        for (index, shards) in [7, 8, 31].into_iter().enumerate() {
            assert_eq!(
                shard(Hash::Address, exporter, shards),
                by_address[index],
                "{exporter} by address of {shards}"
            );
            assert_eq!(
                shard(Hash::Xxh3, exporter, shards),
                by_xxh3[index],
                "{exporter} by xxh3 of {shards}"
            );
        }
    }
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_that_ipv4_address() {
    for hash in [Hash::Address, Hash::Xxh3] {
        for shards in 1..100 {
            assert_eq!(
                shard(hash, "::ffff:10.1.2.3", shards),
                shard(hash, "10.1.2.3", shards)
            );
        }
    }
}

#[test]
fn there_is_no_shard_beyond_the_number_of_shards() {
    for hash in [Hash::Address, Hash::Xxh3] {
        for exporter in ["255.255.255.255", "ffff::ffff"] {
            assert_eq!(shard(hash, exporter, 1), 0);
            assert!(shard(hash, exporter, u32::MAX) < u32::MAX);
        }
    }
}

#[test]
fn names_are_read_back() {
    for (name, hash) in Hash::NAMES {
        assert_eq!(hash.to_string(), name);
    }
}

#[test]
fn primes_are_what_no_smaller_number_divides() {
    for n in 0..2_000 {
        let plainly = n >= 2 && (2..n).all(|factor| n % factor != 0);
        assert_eq!(is_prime(n), plainly, "{n}");
    }
    assert!(is_prime(4_294_967_291));
    assert!(!is_prime(u32::MAX));
    // 65,521 squared: its only factor is its root.
    assert!(!is_prime(4_293_001_441));
}

#[test]
fn the_next_prime_is_found_or_the_last() {
    for (from, prime) in [
        (0, 2),
        (2, 2),
        (4, 5),
        (7, 7),
        (8, 11),
        (32, 37),
        (4_294_967_280, 4_294_967_291),
        (4_294_967_291, 4_294_967_291),
        (u32::MAX, 4_294_967_291),
    ] {
        assert_eq!(smallest_prime_from(from), prime, "from {from}");
    }
}
