//! Reading TOML and JSON into types, with errors that name the line and the field.

use serde::de::DeserializeOwned;
use serde_path_to_error::Path;
use std::fmt;

/// Why a text could not be read. Displayed as `line 3: field rows.dev: …`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// Counted from 1, where it is known.
    pub line: Option<usize>,
    /// Path of the field, such as `rows.dev`, where it is known.
    pub field: Option<String>,
    /// What was found and what was expected.
    pub reason: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "field {field}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ParseError {}

/// Reads a TOML document. Unknown keys are refused where the type says so.
///
/// # Errors
/// Names the line, the field and what was expected there.
pub fn toml<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    let refuse = |error: &toml::de::Error, field: Option<String>| ParseError {
        line: error.span().map(|span| line_of(text, span.start)),
        field,
        reason: error.message().to_owned(),
    };
    let reader = toml::Deserializer::parse(text).map_err(|error| refuse(&error, None))?;
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let field = field_of(error.path(), error.inner().message());
        refuse(error.inner(), field)
    })
}

/// Reads one line of a JSON-lines file; `line` counts from 1.
///
/// # Errors
/// Names the line, the field and the reason.
pub fn json_line<T: DeserializeOwned>(text: &str, line: usize) -> Result<T, ParseError> {
    let refuse = |error: &serde_json::Error, path: Option<&Path>| {
        // The reader's own position says "line 1", which would contradict the line of the file.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let reason = message.strip_suffix(&place).unwrap_or(&message).to_owned();
        ParseError {
            line: Some(line),
            field: path.and_then(|path| field_of(path, &reason)),
            reason,
        }
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| refuse(error.inner(), Some(error.path())))?;
    reader.end().map_err(|error| refuse(&error, None))?;
    Ok(value)
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|&&byte| byte == b'\n').count()
}

/// The field an error is about: its path, and the name that serde puts only into the message
/// when a field is unknown, missing or given twice.
fn field_of(path: &Path, reason: &str) -> Option<String> {
    let path = path.to_string();
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| reason.strip_prefix(start)?.split_once('`'))
        .map(|(name, _)| name);
    match (path.as_str(), named) {
        (".", None) => None,
        (".", Some(name)) => Some(name.to_owned()),
        (path, Some(name)) if path.rsplit('.').next() != Some(name) => {
            Some(format!("{path}.{name}"))
        }
        (path, _) => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{About, ProblemManifest};
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[expect(dead_code, reason = "read by serde only")]
        count: u8,
    }

    fn toml_error<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        toml::<T>(text).unwrap_err().to_string()
    }

    fn json_error(text: &str) -> String {
        json_line::<Line>(text, 7).unwrap_err().to_string()
    }

    #[test]
    fn toml_errors_name_line_and_field() {
        let good = "id = \"chat@1\"\nkind = \"pair\"\nstrong_model = \"s\"\n";
        assert!(toml::<About>(good).is_ok());
        let unknown = toml_error::<About>(&format!("{good}color = 1\n"));
        assert!(
            unknown.starts_with("line 4: field color: unknown field `color`"),
            "{unknown}"
        );
        let kind = toml_error::<About>(&good.replace("pair", "pear"));
        assert!(
            kind.starts_with("line 2: field kind: unknown variant `pear`"),
            "{kind}"
        );
        let missing = toml_error::<About>(&good.replace("kind = \"pair\"", ""));
        assert!(
            missing.contains("field kind: missing field `kind`"),
            "{missing}"
        );
        let syntax = toml_error::<About>("id = \"chat@1\"\nkind = = 3\n");
        assert!(syntax.starts_with("line 2: "), "{syntax}");
        let nested = toml_error::<ProblemManifest>(
            "format = 1\nid = \"a@1\"\npractice = true\n[teacher]\nmodel = 3\nlabels = 4\n[rows]\n",
        );
        assert!(
            nested.starts_with("line 5: field teacher.model: invalid type"),
            "{nested}"
        );
    }

    #[test]
    fn json_errors_name_line_and_field() {
        assert!(json_line::<Line>("{\"count\": 3}", 1).is_ok());
        assert_eq!(
            json_error("{\"count\": 300}"),
            "line 7: field count: invalid value: integer `300`, expected u8"
        );
        assert!(json_error("{\"count\":1,\"x\":2}").starts_with("line 7: field x: unknown field"));
        assert_eq!(
            json_error("{}"),
            "line 7: field count: missing field `count`"
        );
        let twice = json_error("{\"count\":1,\"count\":2}");
        assert!(
            twice.starts_with("line 7: field count: duplicate field"),
            "{twice}"
        );
        assert_eq!(json_error("{\"count\":1} x"), "line 7: trailing characters");
        assert!(
            json_error("").starts_with("line 7: EOF"),
            "{}",
            json_error("")
        );
    }
}
