//! Counters: every datagram, set and record ends in one.

pub use forebay_store::Scope;

/// Counts by reason. There are few reasons, and most exporters never give one.
#[derive(Debug, Clone, Default)]
pub struct Reasons(Vec<(Scope, &'static str, u64)>);

impl PartialEq for Reasons {
    /// Whichever came first.
    fn eq(&self, other: &Self) -> bool {
        let has = |(scope, reason, count)| other.count(scope, reason) == count;
        self.0.len() == other.0.len() && self.iter().all(has)
    }
}

impl Eq for Reasons {}

impl Reasons {
    /// Counts `count` more for a reason.
    pub fn add(&mut self, scope: Scope, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        match self
            .0
            .iter_mut()
            .find(|entry| entry.0 == scope && entry.1 == reason)
        {
            Some(entry) => entry.2 += count,
            None => self.0.push((scope, reason, count)),
        }
    }

    /// The reasons that were given, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Scope, &'static str, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The sum of one scope's counts.
    pub fn total(&self, scope: Scope) -> u64 {
        self.iter()
            .filter(|entry| entry.0 == scope)
            .map(|entry| entry.2)
            .sum()
    }

    /// The count of one reason.
    pub fn count(&self, scope: Scope, reason: &str) -> u64 {
        self.iter()
            .find(|entry| entry.0 == scope && entry.1 == reason)
            .map_or(0, |entry| entry.2)
    }

    fn add_all(&mut self, other: &Self) {
        for (scope, reason, count) in other.iter() {
            self.add(scope, reason, count);
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        let mut difference = Self::default();
        for (scope, reason, count) in self.iter() {
            difference.add(
                scope,
                reason,
                count.wrapping_sub(earlier.count(scope, reason)),
            );
        }
        difference
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What was counted: of one exporter and domain, or of all.
        ///
        /// `datagrams = messages + reasons(Datagram)`, and
        /// `records = stored + reasons(Record)` once the batches are written.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
            /// Why something was not decoded or not stored.
            pub reasons: Reasons,
        }

        impl Counters {
            /// The counts that are not by reason, with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Adds another's counts.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                self.reasons.add_all(&other.reasons);
            }

            /// What was counted since `earlier`, which counted the same thing. Late arrivals lower
            /// `sequence_lost`: it is below 0 then, in two's complement.
            pub fn since(&self, earlier: &Self) -> Self {
                Self {
                    $($name: self.$name.wrapping_sub(earlier.$name),)*
                    reasons: self.reasons.since(&earlier.reasons),
                }
            }
        }
    };
}

counters! {
    /// Datagrams received.
    datagrams,
    /// Their bytes (UDP payload).
    octets,
    /// Datagrams that were a message of an accepted version.
    messages,
    /// Data records that were decoded into flows.
    records,
    /// Options data records.
    options_records,
    /// Template and options template records that were accepted, repeated ones too.
    templates,
    /// Those of them that changed a template already known.
    templates_changed,
    /// Template withdrawals. RFC 7011 §8.4: over UDP they "MUST be ignored".
    withdrawals,
    /// Data sets decoded by a template that another session of the exporter sent.
    sets_by_sibling,
    /// Data sets that were kept until their template came.
    sets_waited,
    /// Those of them that were then decoded.
    sets_recovered,
    /// Messages (v9), flows (v5, v7) or data records (IPFIX) that were exported and never came.
    sequence_lost,
    /// Those that were missed and came late.
    sequence_late,
    /// Messages that came twice.
    sequence_repeated,
    /// Times that an exporter began to count anew.
    sequence_resets,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_sums_cancel() {
        let mut earlier = Counters {
            datagrams: 2,
            ..Counters::default()
        };
        earlier.reasons.add(Scope::Set, "set_too_long", 1);
        let mut more = Counters {
            datagrams: 3,
            records: 7,
            ..Counters::default()
        };
        more.reasons.add(Scope::Set, "set_too_long", 4);
        more.reasons.add(Scope::Datagram, "unknown_version", 1);
        let mut later = earlier.clone();
        later.add(&more);
        assert_eq!(later.since(&earlier), more);
        assert_eq!(later.reasons.count(Scope::Set, "set_too_long"), 5);
        assert_eq!(later.reasons.total(Scope::Datagram), 1);
    }

    #[test]
    fn reasons_are_equal_whichever_came_first() {
        let reasons = |counts: &[(&'static str, u64)]| {
            let mut reasons = Reasons::default();
            for &(reason, count) in counts {
                reasons.add(Scope::Set, reason, count);
            }
            reasons
        };
        let both = reasons(&[("a", 1), ("b", 2)]);
        assert_eq!(both, reasons(&[("b", 2), ("a", 1)]));
        assert_ne!(both, reasons(&[("b", 1), ("a", 2)]));
        assert_ne!(both, reasons(&[("a", 1)]));
        assert_ne!(both, reasons(&[("a", 1), ("b", 2), ("c", 1)]));
    }

    #[test]
    fn a_gap_that_closes_later_counts_down() {
        let counters = |sequence_lost| Counters {
            sequence_lost,
            ..Counters::default()
        };
        let since = counters(2).since(&counters(5));
        assert_eq!(since.sequence_lost.cast_signed(), -3);
    }
}
