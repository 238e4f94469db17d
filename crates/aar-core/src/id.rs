//! Names and numbers of things, each kind a type of its own so that they cannot be mixed up.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A short name: 1 to 40 of `a-z 0-9 - _`, starting with a letter or a digit. Safe as a file name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let starts = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if starts && text.len() <= 40 && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "a name has 1 to 40 of a-z, 0-9, - and _ and starts with a letter or digit, found {text:?}"
            ))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// A forum post; counts from 1 in each study.
    FindingId
);
number_id!(
    /// A comment on a finding; counts from 1 in each study.
    CommentId
);
number_id!(
    /// One run of a method that a researcher asked for without a score.
    ExperimentId
);
number_id!(
    /// One scoring of a snapshot on `dev`.
    EvaluationId
);
number_id!(
    /// One re-run of a snapshot by the referee.
    ReplicationId
);
number_id!(
    /// A suspicion with its evidence; counts from 1 in each study.
    CaseId
);
number_id!(
    /// The explicit seed of anything random. A run's seed also names its weak teacher.
    Seed
);

impl Seed {
    /// A seed for one named purpose: independent of the seeds for all other purposes.
    #[must_use]
    pub fn derive(self, purpose: &str, index: u64) -> Self {
        Self::of_digest(&Digest::of_parts(&[
            &self.0.to_le_bytes(),
            purpose.as_bytes(),
            &index.to_le_bytes(),
        ]))
    }

    fn of_digest(digest: &Digest) -> Self {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest.as_bytes()[..8]);
        // TOML and many JSON readers hold only signed 64-bit or 53-bit integers.
        Self(u64::from_le_bytes(bytes) >> 12)
    }
}

/// 256 bits from which a study's splits, salts and seeds are derived.
///
/// Methods see seeds that come from it. A seed has 52 bits, too few to hide behind; this has enough
/// that none of the others can be found from those that were seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret made of random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret of a study whose seed a person chose: reproducible, and only as secret as the seed.
    #[must_use]
    pub fn of_seed(seed: Seed) -> Self {
        Self(*Digest::of_parts(&[b"study", &seed.0.to_le_bytes()]).as_bytes())
    }

    /// A seed for one named purpose.
    #[must_use]
    pub fn derive(&self, purpose: &str, index: u64) -> Seed {
        Seed::of_digest(&self.digest(purpose, index))
    }

    /// 32 bytes for one named purpose.
    #[must_use]
    pub fn bytes(&self, purpose: &str) -> [u8; 32] {
        *self.digest(purpose, u64::MAX).as_bytes()
    }

    fn digest(&self, purpose: &str, index: u64) -> Digest {
        Digest::of_parts(&[&self.0, purpose.as_bytes(), &index.to_le_bytes()])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The content hash of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(pub Digest);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A problem and its version, such as `chat@1`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProblemId {
    /// The problem's name.
    pub name: Name,
    /// Counts from 1; results of different versions are never compared.
    pub version: u32,
}

impl fmt::Display for ProblemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl FromStr for ProblemId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('@').and_then(|(name, version)| {
            Some(Self {
                name: name.parse().ok()?,
                version: version.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| format!("a problem id looks like chat@1, found {text:?}"))
    }
}

impl TryFrom<String> for ProblemId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ProblemId> for String {
    fn from(id: ProblemId) -> Self {
        id.to_string()
    }
}
