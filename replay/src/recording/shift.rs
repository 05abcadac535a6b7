//! What advances when a recording is sent again.
//!
//! ```text
//! v5   | 5 | n | uptime | seconds | ns | sequence | …   records: first, last (uptime)
//! v9   | 9 | n | uptime | seconds | sequence | …        records: 21, 22 (uptime), 150–157 …
//! IPFIX| 10| l | seconds | sequence | …                 records: 150–157, 160, 21, 22 …
//! ```
//!
//! Each loop is later than the one before by the same whole number of seconds: then seconds, milliseconds and uptimes all
//! advance by the same time, and what a collector makes of them together is as right as it was recorded. Before the
//! first loop the recording is moved to the present, also by whole seconds: that moves the time of the exporter's boot,
//! and not its uptime.

/// What a field that advances is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Seconds since 1970, in 4 bytes.
    Seconds,
    /// Milliseconds since 1970, in 8 bytes.
    Milliseconds,
    /// A time in NTP's format, in 8 bytes, of which the first 4 are seconds.
    Ntp,
    /// Milliseconds since 1970 at the exporter's boot, in 8 bytes.
    BootMilliseconds,
    /// Milliseconds since the exporter's boot, in 4 bytes.
    Uptime,
    /// The header's sequence number, in 4 bytes.
    Sequence,
}

impl Kind {
    /// How many bytes it takes.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Seconds | Self::Uptime | Self::Sequence => 4,
            Self::Milliseconds | Self::Ntp | Self::BootMilliseconds => 8,
        }
    }
}

/// Where fields that advance are in a payload: `count` of them, each `stride` after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) offset: u16,
    pub(super) stride: u16,
    pub(super) count: u16,
    pub(super) kind: Kind,
}

/// By how much the fields of a message advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shift {
    /// By how many seconds times since 1970 do; backwards is a wrap.
    pub(super) seconds: i64,
    /// Of these, how many the exporter's boot does.
    pub(super) boot_seconds: i64,
    /// The sequence number.
    pub(super) sequence: u32,
}

impl Shift {
    /// Advances the fields in place.
    pub(super) fn apply(&self, patches: &[Patch], payload: &mut [u8]) {
        for patch in patches {
            let mut at = usize::from(patch.offset);
            for _ in 0..patch.count {
                let Some(field) = payload.get_mut(at..at + patch.kind.bytes()) else {
                    break;
                };
                self.advance(patch.kind, field);
                at += usize::from(patch.stride);
            }
        }
    }

    /// A time since 1970 that is zero has not been set, and stays so.
    #[inline]
    fn advance(&self, kind: Kind, field: &mut [u8]) {
        // Sequence numbers and uptimes wrap by design, and times where their 32 bits end.
        let uptime_ms = (self.seconds - self.boot_seconds).wrapping_mul(1000);
        match kind {
            Kind::Seconds | Kind::Ntp => add_to_set(field, self.seconds as u32),
            Kind::Milliseconds => add_to_set_long(field, self.seconds.wrapping_mul(1000)),
            Kind::BootMilliseconds => add_to_set_long(field, self.boot_seconds.wrapping_mul(1000)),
            Kind::Uptime => add(field, uptime_ms as u32),
            Kind::Sequence => add(field, self.sequence),
        }
    }
}

#[inline]
fn add(field: &mut [u8], by: u32) {
    if let Some(bytes) = field.first_chunk_mut() {
        *bytes = u32::from_be_bytes(*bytes).wrapping_add(by).to_be_bytes();
    }
}

#[inline]
fn add_to_set(field: &mut [u8], by: u32) {
    if field.iter().any(|&byte| byte != 0) {
        add(field, by);
    }
}

#[inline]
fn add_to_set_long(field: &mut [u8], by: i64) {
    if let Some(bytes) = field.first_chunk_mut() {
        let value = u64::from_be_bytes(*bytes);
        if value != 0 {
            *bytes = value.wrapping_add_signed(by).to_be_bytes();
        }
    }
}

#[cfg(test)]
mod tests;
