//! Identifiers: content keys, digests, attempts, sweeps.

use crate::ContractError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, io, str::FromStr};

fn is_lower_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal, $expected:literal) => {
        $(#[$doc])*
        // The digits themselves, without an allocation: a plan holds millions of them.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The lower-case hexadecimal text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("invariant: hexadecimal digits")
            }
            /// The first ten digits, for people.
            pub fn short(&self) -> &str {
                &self.as_str()[..10]
            }
            fn of_hash(hash: blake3::Hash) -> Self {
                let mut digits = [0; $len];
                digits.copy_from_slice(&hash.to_hex().as_bytes()[..$len]);
                Self(digits)
            }
        }
        impl FromStr for $name {
            type Err = ContractError;
            fn from_str(text: &str) -> Result<Self, ContractError> {
                match <[u8; $len]>::try_from(text.as_bytes()) {
                    Ok(digits) if is_lower_hex(text, $len) => Ok(Self(digits)),
                    _ => Err(ContractError::Malformed { what: $what, found: text.chars().take(80).collect(), expected: $expected }),
                }
            }
        }
        impl TryFrom<String> for $name {
            type Error = ContractError;
            fn try_from(text: String) -> Result<Self, ContractError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Digits;
                impl de::Visitor<'_> for Digits {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Digits)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

hex_id!(
    /// Content key of a job: BLAKE3 of its kind, schema version, canonical parameters, input
    /// digests and algorithm version, cut to 160 bits. Same work, same key, in every sweep.
    JobKey, 40, "job key", "40 lower-case hexadecimal digits"
);
hex_id!(
    /// BLAKE3 of some bytes: 64 hexadecimal digits.
    Digest, 64, "digest", "64 lower-case hexadecimal digits"
);

impl JobKey {
    /// The key of canonical bytes.
    pub fn of(canonical: &[u8]) -> Self {
        Self::of_hash(blake3::hash(canonical))
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_hash(blake3::hash(bytes))
    }
    /// Length in bytes and digest of all that a reader gives.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn of_reader(reader: impl io::Read) -> io::Result<(u64, Self)> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(reader)?;
        Ok((hasher.count(), Self::finish(&hasher)))
    }
    /// The digest a finished hasher holds.
    pub fn finish(hasher: &blake3::Hasher) -> Self {
        Self::of_hash(hasher.finalize())
    }
}

/// One delivery of one job to one worker: `<stream sequence>-<delivery count>-<ULID>`.
///
/// Its uploads lie below `object/<key>/<attempt>/`, so attempts never overwrite each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Attempt {
    /// Sequence of the job's message in the JOBS stream; 0 for work done without a broker.
    pub sequence: u64,
    /// How often that message had been delivered, this time included.
    pub delivery: u64,
    /// Unique, sorts by time.
    pub ulid: ulid::Ulid,
}

impl Attempt {
    /// A new attempt at the given delivery.
    pub fn new(sequence: u64, delivery: u64) -> Self {
        Self {
            sequence,
            delivery,
            ulid: ulid::Ulid::generate(),
        }
    }
}
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.sequence, self.delivery, self.ulid)
    }
}
impl FromStr for Attempt {
    type Err = ContractError;
    fn from_str(text: &str) -> Result<Self, ContractError> {
        let malformed = || ContractError::Malformed {
            what: "attempt",
            found: text.chars().take(80).collect(),
            expected: "<sequence>-<delivery>-<ULID>",
        };
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().ok_or_else(malformed);
        Ok(Self {
            sequence: next()?.parse().map_err(|_| malformed())?,
            delivery: next()?.parse().map_err(|_| malformed())?,
            ulid: next()?.parse().map_err(|_| malformed())?,
        })
    }
}
impl TryFrom<String> for Attempt {
    type Error = ContractError;
    fn try_from(text: String) -> Result<Self, ContractError> {
        text.parse()
    }
}
impl From<Attempt> for String {
    fn from(attempt: Attempt) -> String {
        attempt.to_string()
    }
}

/// Name of a sweep: chosen by its author, 1 to 48 of `a-z 0-9 -`, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SweepId(String);

impl SweepId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for SweepId {
    type Err = ContractError;
    fn from_str(text: &str) -> Result<Self, ContractError> {
        let fits = (1..=48).contains(&text.len())
            && !text.starts_with('-')
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ContractError::Malformed {
                what: "sweep name",
                found: text.chars().take(80).collect(),
                expected: "1 to 48 of a-z, 0-9 and -, starting with a letter or digit",
            })
        }
    }
}
impl TryFrom<String> for SweepId {
    type Error = ContractError;
    fn try_from(text: String) -> Result<Self, ContractError> {
        text.parse()
    }
}
impl From<SweepId> for String {
    fn from(id: SweepId) -> String {
        id.0
    }
}
impl fmt::Display for SweepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
