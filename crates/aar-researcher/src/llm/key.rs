//! A provider's key: read once, sent in one header, printed nowhere.

use super::error::SetupError;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Far more than any key; a larger file is not one.
const MOST_BYTES: u64 = 4096;
/// A shorter word could stand in any text by chance, and blotting it out would tell what it is.
const FEWEST_BYTES: usize = 8;

/// A secret that opens a provider. It has no way to be printed or serialised, and [`Key::redact`] takes it out of texts.
#[derive(Clone)]
pub struct Key {
    secret: String,
    origin: String,
}

impl Key {
    /// The key in an environment variable.
    ///
    /// # Errors
    /// [`SetupError::Key`] if it is not set or cannot be a key.
    pub fn from_env(variable: &str) -> Result<Self, SetupError> {
        let origin = format!("the environment variable {variable}");
        match std::env::var(variable) {
            Ok(text) => Self::new(&text, origin),
            Err(std::env::VarError::NotPresent) => Err(SetupError::Key {
                origin,
                why: "is not set".into(),
            }),
            Err(std::env::VarError::NotUnicode(_)) => Err(SetupError::Key {
                origin,
                why: "is not text".into(),
            }),
        }
    }

    /// The key in a file, with or without a line end. The file should be readable by its owner alone (mode 0600); see
    /// [`Key::is_exposed`].
    ///
    /// # Errors
    /// [`SetupError::Key`] if it cannot be read or cannot be a key.
    pub fn from_file(path: &Path) -> Result<Self, SetupError> {
        let origin = format!("the file {}", path.display());
        let refuse = |why: String| SetupError::Key {
            origin: origin.clone(),
            why,
        };
        let file = File::open(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let mut text = String::new();
        file.take(MOST_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|error| refuse(format!("cannot be read: {error}")))?;
        Self::new(&text, origin)
    }

    /// A key that is at hand; `origin` says in errors where it came from.
    ///
    /// # Errors
    /// [`SetupError::Key`] if it cannot be a key: empty, very short or long, or with characters that a header cannot hold.
    pub fn new(text: &str, origin: impl Into<String>) -> Result<Self, SetupError> {
        let origin = origin.into();
        let secret = text.trim();
        let why = if secret.is_empty() {
            "is empty"
        } else if secret.len() < FEWEST_BYTES || secret.len() as u64 > MOST_BYTES {
            "is not a key: it should have 8 to 4096 characters"
        } else if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            "is not a key: it holds white space or characters beyond ASCII"
        } else {
            return Ok(Self {
                secret: secret.to_owned(),
                origin,
            });
        };
        Err(SetupError::Key {
            origin,
            why: why.into(),
        })
    }

    /// Can others on this machine read the file? Worth a warning.
    #[must_use]
    #[cfg(unix)]
    pub fn is_exposed(path: &Path) -> bool {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
    }

    /// Where it came from: a variable's or a file's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The text without the key. Providers put keys into their error messages.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.secret, "[key]")
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(from {})", self.origin)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key from {}", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-ant-0123456789abcdef";

    #[test]
    fn a_key_prints_where_it_came_from_and_nothing_else() {
        let key = Key::new(&format!(" {SECRET}\n"), "the file /k").unwrap();
        let printed = format!("{key} {key:?} {:#?}", Some(&key));
        assert!(!printed.contains(SECRET), "{printed}");
        assert!(printed.contains("the file /k"));
        assert_eq!(key.secret(), SECRET);
        assert_eq!(
            key.redact(&format!("no such key {SECRET}.")),
            "no such key [key]."
        );
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_without_being_shown() {
        for text in [
            "",
            "   \n",
            "short",
            "sk-ant-01234567\n89abcdef",
            "sk-ant-ключ-0123",
        ] {
            let error = Key::new(text, "the test").unwrap_err().to_string();
            assert!(error.starts_with("the test is"), "{error}");
            assert!(
                text.trim().is_empty() || !error.contains(text.trim()),
                "{error}"
            );
        }
        assert!(Key::new(&"k".repeat(4097), "the test").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Key::from_file(Path::new("/nowhere/key"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/key"), "{error}");
    }
}
