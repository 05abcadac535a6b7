//! The shard function: which shard an exporter belongs to.
//!
//! ```text
//! exporter address ─ hash ─ mod P ─ shard ─ table ─ collector
//! ```
//!
//! It depends on nothing but the address, the hash and the number of shards: a restart, another router and another CPU
//! give the same shard.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZero;

use twox_hash::XxHash3_64;

/// How an exporter's address becomes a number, of which the remainder by the number of shards is the shard.
///
/// An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hash {
    /// The address as an integer: what the field calls modulo. It follows the address plan, for good (neighbours go to
    /// neighbouring shards) and ill (hosts numbered in steps meet at a number of shards that shares a factor with the
    /// step: hence primes).
    #[default]
    Address,
    /// XXH3 (64 bits, seed 0) of the address' octets in network order: as good as random.
    Xxh3,
}

impl Hash {
    /// Every hash with its name in configurations.
    pub const NAMES: [(&'static str, Self); 2] = [("address", Self::Address), ("xxh3", Self::Xxh3)];

    /// Its name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Xxh3 => "xxh3",
        }
    }

    /// The shard of an exporter, less than `shards`.
    ///
    /// ```
    /// use std::num::NonZero;
    /// use forebay_router::Hash;
    ///
    /// let seven = NonZero::new(7).unwrap();
    /// let exporter = "10.0.0.1".parse().unwrap();
    /// assert_eq!(Hash::Address.shard(exporter, seven), 4); // 167,772,161 mod 7
    /// assert_eq!(Hash::Xxh3.shard(exporter, seven), 5);
    /// ```
    #[inline]
    #[must_use]
    pub fn shard(self, exporter: IpAddr, shards: NonZero<u32>) -> u32 {
        match (self, exporter.to_canonical()) {
            (Self::Address, IpAddr::V4(address)) => address.to_bits() % shards,
            (Self::Address, IpAddr::V6(address)) => {
                // A remainder by 32 bits has no more than 32 bits.
                (address.to_bits() % u128::from(shards.get())) as u32
            }
            (Self::Xxh3, IpAddr::V4(address)) => xxh3(&address.octets(), shards),
            (Self::Xxh3, IpAddr::V6(address)) => xxh3(&address.octets(), shards),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[inline]
fn xxh3(octets: &[u8], shards: NonZero<u32>) -> u32 {
    // A remainder by 32 bits has no more than 32 bits.
    (XxHash3_64::oneshot(octets) % u64::from(shards.get())) as u32
}

/// Whether a number is prime: it is then no multiple of the step in which hosts are numbered, unless the step is a
/// multiple of it.
#[must_use]
pub const fn is_prime(n: u32) -> bool {
    if n < 2 || (n > 2 && n.is_multiple_of(2)) {
        return false;
    }
    let mut factor = 3;
    // The quotient rather than the square, which could overflow.
    while factor <= n / factor {
        if n.is_multiple_of(factor) {
            return false;
        }
        factor += 2;
    }
    true
}

/// The smallest prime that is not below `n`; 4,294,967,291 above that, the largest in 32 bits.
#[must_use]
pub const fn smallest_prime_from(n: u32) -> u32 {
    const LARGEST: u32 = 4_294_967_291;
    if n >= LARGEST {
        return LARGEST;
    }
    let mut candidate = n;
    while !is_prime(candidate) {
        candidate += 1;
    }
    candidate
}

#[cfg(test)]
mod tests;
