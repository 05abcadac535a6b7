//! Which numbers of shards are tried: `7`, `2..31`, `7,11,13`.

use std::num::NonZero;
use std::str::FromStr;

use forebay_router::MAX_SHARDS;
use forebay_router::balance::Split;

use super::HashFlag;

/// How many shards all splits may have together, so that their loads stay small.
const SHARDS_IN_ALL: u64 = 1 << 20;

/// Numbers of shards, each once, from the fewest up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shards(Vec<NonZero<u32>>);

impl Shards {
    /// Each number with each hash.
    pub(super) fn splits(&self, hashes: &[HashFlag]) -> Vec<Split> {
        let mut splits = Vec::new();
        for shards in &self.0 {
            for hash in [HashFlag::Address, HashFlag::Xxh3] {
                if hashes.contains(&hash) {
                    splits.push(Split {
                        shards: *shards,
                        hash: hash.into(),
                    });
                }
            }
        }
        splits
    }
}

impl FromStr for Shards {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = Vec::new();
        let mut in_all = 0;
        for part in text.split(',') {
            let (from, to) = part.split_once("..").unwrap_or((part, part));
            let to = to.strip_prefix('=').unwrap_or(to);
            let (from, to) = (number(from, text)?, number(to, text)?);
            if from > to {
                return Err(format!("{part} has its end before its start"));
            }
            for shards in from.get()..=to.get() {
                in_all += u64::from(shards);
                if in_all > SHARDS_IN_ALL {
                    return Err(format!(
                        "{text} is {SHARDS_IN_ALL} shards and more in all: try fewer numbers"
                    ));
                }
                numbers.extend(NonZero::new(shards));
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(Self(numbers))
    }
}

fn number(part: &str, text: &str) -> Result<NonZero<u32>, String> {
    let number = part.trim().parse::<NonZero<u32>>().ok();
    number
        .filter(|number| number.get() <= MAX_SHARDS)
        .ok_or_else(|| {
            format!(
                "\"{text}\" is no number of shards: write 7, 2..31 or 7,11,13, from 1 to {MAX_SHARDS}"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Result<Vec<u32>, String> {
        let shards: Shards = text.parse()?;
        Ok(shards.0.into_iter().map(NonZero::get).collect())
    }

    #[test]
    fn ranges_have_their_ends() {
        assert_eq!(numbers("7"), Ok(vec![7]));
        assert_eq!(numbers("2..5"), Ok(vec![2, 3, 4, 5]));
        assert_eq!(numbers("2..=3, 11 ,3"), Ok(vec![2, 3, 11]));
    }

    #[test]
    fn what_is_no_range_is_told() {
        for text in ["", "0", "2..", "a", "2..65537", "-1", "2...5"] {
            let error = numbers(text).expect_err(text);
            assert!(error.contains("is no number of shards"), "{error}");
        }
        assert_eq!(
            numbers("5..2"),
            Err("5..2 has its end before its start".to_owned())
        );
        assert!(numbers("1..65536").is_err());
        assert!(numbers("65536").is_ok());
    }
}
