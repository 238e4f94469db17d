//! An explorer's notebook: what it did and why, one line of JSON each.

use serde::Serialize;

/// What a note is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// A recipe that is about to be tried, and why.
    Idea,
    /// How its trial went.
    Trial,
    /// What the hub answered.
    Answer,
    /// What was posted, or voted for.
    Forum,
    /// What went wrong.
    Trouble,
    /// How it ended.
    End,
}

/// One note.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Note {
    /// Counts from 1.
    pub number: u64,
    /// What it is about.
    pub topic: Topic,
    /// What happened.
    pub text: String,
    /// The dev PGR it is about, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgr: Option<f64>,
}

/// All notes, oldest first.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Notebook {
    notes: Vec<Note>,
}

impl Notebook {
    /// Writes a note down.
    pub fn write(&mut self, topic: Topic, text: impl Into<String>, pgr: Option<f64>) {
        self.notes.push(Note {
            number: self.notes.len() as u64 + 1,
            topic,
            text: text.into(),
            pgr,
        });
    }

    /// The notes.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The notes as JSON lines.
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        let mut text = String::new();
        // A note holds only strings and finite numbers, so each can be written.
        for line in self
            .notes
            .iter()
            .filter_map(|note| serde_json::to_string(note).ok())
        {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_note_is_one_line_of_json() {
        let mut notebook = Notebook::default();
        notebook.write(Topic::Idea, "try\nthis", None);
        notebook.write(Topic::Answer, "good", Some(0.25));
        let text = notebook.to_json_lines();
        assert_eq!(text.lines().count(), 2);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["number"], 2);
        assert_eq!(last["pgr"], 0.25);
    }
}
