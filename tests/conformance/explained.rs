//! Mismatches that an RFC decides, by capture and field: explained.toml.

use serde::Deserialize;

use crate::compare::Mismatch;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    explained: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The capture's name, or `*`.
    capture: String,
    /// The expectation's key, or the column.
    field: String,
    /// What is expected, where it is always the same.
    expected: Option<String>,
    /// What we give, where it is always the same.
    ours: Option<String>,
    /// The sentence that decides it, and where it stands.
    because: String,
}

/// The list.
pub(crate) struct List {
    /// Entries, whether their capture was there, and how many mismatches they explained.
    entries: Vec<(Entry, bool, usize)>,
}

impl List {
    pub(crate) fn read() -> Self {
        let file: File =
            toml::from_str(include_str!("explained.toml")).expect("explained.toml is right");
        let entries = file.explained.into_iter().map(|entry| {
            assert!(
                entry.because.contains("RFC"),
                "{}: no RFC decides it",
                entry.capture
            );
            (entry, false, 0)
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// How many of a capture's mismatches are explained, and the others.
    pub(crate) fn split(
        &mut self,
        capture: &str,
        mismatches: Vec<Mismatch>,
    ) -> (usize, Vec<Mismatch>) {
        for (entry, present, _) in &mut self.entries {
            *present |= entry.capture == capture;
        }
        let all = mismatches.len();
        let unknown: Vec<_> = mismatches
            .into_iter()
            .filter(|mismatch| !self.explains(mismatch))
            .collect();
        (all - unknown.len(), unknown)
    }

    fn explains(&mut self, mismatch: &Mismatch) -> bool {
        let found = self.entries.iter_mut().find(|(entry, ..)| {
            let is = |listed: &Option<String>, found: &String| {
                listed.as_ref().is_none_or(|listed| listed == found)
            };
            (entry.capture == "*" || entry.capture == mismatch.capture)
                && entry.field == mismatch.field
                && is(&entry.expected, &mismatch.expected)
                && is(&entry.ours, &mismatch.ours)
        });
        found.map(|(.., count)| *count += 1).is_some()
    }

    /// Entries that explain nothing, though their capture is there.
    pub(crate) fn stale(&self) -> Vec<String> {
        let stale = self
            .entries
            .iter()
            .filter(|(_, present, count)| *present && *count == 0);
        stale
            .map(|(entry, ..)| format!("{}: {}", entry.capture, entry.field))
            .collect()
    }
}
