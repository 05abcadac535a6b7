//! `templates.bin`: the templates as last seen, so that a restart decodes the first datagram.
//!
//! ```text
//! 0        8          12         16
//! +--------+----------+----------+------------------------- - -
//! | magic  | version  | CRC-32   | payload, by wincode
//! +--------+----------+----------+------------------------- - -
//! ```
//!
//! The CRC is the payload's, and numbers are little-endian. The file is replaced as a whole. One that
//! is damaged or of another version is reported and ignored: templates come again.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use wincode::{SchemaRead, SchemaWrite};

const MAGIC: &[u8; 8] = b"forebayT";
const VERSION: u32 = 1;

/// What was known of the exporters.
#[derive(Debug, Clone, Default, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Saved {
    pub(crate) templates: Vec<SavedTemplate>,
    pub(crate) domains: Vec<SavedDomain>,
}

/// What a shard last told to be saved.
#[derive(Debug, Default)]
pub(crate) struct ToldSaved {
    pub(crate) saved: Saved,
    /// Since it was last written to the file.
    pub(crate) changed: bool,
}

impl ToldSaved {
    pub(crate) fn new(saved: Option<Saved>) -> Self {
        Self {
            changed: saved.is_some(),
            saved: saved.unwrap_or_default(),
        }
    }
}

/// A session's template.
#[derive(Debug, Clone, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct SavedTemplate {
    pub(crate) address: [u8; 16],
    pub(crate) port: u16,
    pub(crate) version: u8,
    pub(crate) domain: u32,
    /// Of an options template.
    pub(crate) options: bool,
    /// The template record as it came.
    pub(crate) raw: Vec<u8>,
    /// When it was last sent, in microseconds since 1970.
    pub(crate) seen_us: i64,
}

/// What options data said of a domain.
#[derive(Debug, Clone, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct SavedDomain {
    pub(crate) address: [u8; 16],
    pub(crate) version: u8,
    pub(crate) domain: u32,
    pub(crate) rate: Option<u32>,
    pub(crate) system_init_ms: Option<u64>,
    /// Element that names the sampler, its value, the rate.
    pub(crate) samplers: Vec<(u16, u64, u32)>,
    pub(crate) seen_us: i64,
}

/// Why saved templates were ignored.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The file cannot be read.
    #[error("cannot read the saved templates: {0}; exporters will send them again")]
    Read(#[from] io::Error),
    /// It is no file of saved templates, or of another version.
    #[error(
        "the saved templates are of another version or no such file; exporters will send them again"
    )]
    Foreign,
    /// Its content does not match its checksum, or is cut off.
    #[error("the saved templates are damaged; exporters will send them again")]
    Damaged,
}

impl Saved {
    /// Adds what another shard knows. Of what both know, the later is kept.
    pub(crate) fn merge(&mut self, other: Self) {
        self.templates.extend(other.templates);
        self.templates.sort_unstable_by_key(|t| {
            (
                t.address,
                t.port,
                t.version,
                t.domain,
                id(&t.raw),
                -t.seen_us,
            )
        });
        self.templates
            .dedup_by_key(|t| (t.address, t.port, t.version, t.domain, id(&t.raw)));
        self.domains.extend(other.domains);
        self.domains
            .sort_unstable_by_key(|d| (d.address, d.version, d.domain, -d.seen_us));
        self.domains
            .dedup_by_key(|d| (d.address, d.version, d.domain));
    }

    /// Reads the file; nothing, where there is none.
    ///
    /// # Errors
    /// The file is there and cannot be used.
    pub fn load(path: &Path) -> Result<Self, SavedError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let parts = bytes.split_first_chunk().and_then(|(magic, rest)| {
            let (version, rest) = rest.split_first_chunk()?;
            let (checksum, payload) = rest.split_first_chunk()?;
            Some((
                magic,
                u32::from_le_bytes(*version),
                u32::from_le_bytes(*checksum),
                payload,
            ))
        });
        let (magic, version, checksum, payload) = parts.ok_or(SavedError::Foreign)?;
        if magic != MAGIC || version != VERSION {
            return Err(SavedError::Foreign);
        }
        if crc32fast::hash(payload) != checksum {
            return Err(SavedError::Damaged);
        }
        wincode::deserialize_exact(payload).map_err(|_| SavedError::Damaged)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The file cannot be written; the old one stays.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let payload = wincode::serialize(self).map_err(io::Error::other)?;
        let temporary = path.with_extension("tmp");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        file.write_all(&crc32fast::hash(&payload).to_le_bytes())?;
        file.write_all(&payload)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    }
}

/// The template's id: the first two bytes of its record.
fn id(raw: &[u8]) -> Option<[u8; 2]> {
    raw.first_chunk().copied()
}

/// An address in 16 bytes, IPv4 mapped.
pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address of [`octets`].
pub(crate) fn address(octets: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(port: u16, seen_us: i64) -> SavedTemplate {
        let raw = vec![1, 0, 0, 1, 0, 8, 0, 4];
        SavedTemplate {
            address: octets([192, 0, 2, 1].into()),
            port,
            version: 9,
            domain: 7,
            options: false,
            raw,
            seen_us,
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_found() {
        let folder = std::env::temp_dir().join(format!("forebay-saved-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("templates.bin");
        assert_eq!(
            Saved::load(&path).expect("no file is no error"),
            Saved::default()
        );
        let saved = Saved {
            templates: vec![template(1, 5)],
            domains: vec![SavedDomain {
                address: octets([192, 0, 2, 1].into()),
                version: 9,
                domain: 7,
                rate: Some(100),
                system_init_ms: None,
                samplers: vec![(48, 1, 1000)],
                seen_us: 5,
            }],
        };
        saved.save(&path).expect("saved");
        assert_eq!(Saved::load(&path).expect("loaded"), saved);

        let whole = fs::read(&path).expect("the file");
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, &damaged).expect("written");
            assert!(Saved::load(&path).is_err(), "byte {place} was changed");
            fs::write(&path, &whole[..place]).expect("written");
            assert!(Saved::load(&path).is_err(), "cut at byte {place}");
        }
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn of_two_shards_knowledge_the_later_is_kept() {
        let mut one = Saved {
            templates: vec![template(1, 5), template(2, 5)],
            domains: vec![],
        };
        one.merge(Saved {
            templates: vec![template(1, 9)],
            domains: vec![],
        });
        assert_eq!(one.templates, [template(1, 9), template(2, 5)]);
    }
}
