//! The tools of an agent, each defined once: its name, what it says to the model, and what it takes.
//!
//! The words on a struct are the tool's description, those on its fields the descriptions of what it takes;
//! the JSON schema follows from them. The built-in loop and MCP offer the same list.

use crate::llm::{Tool, ToolInput};
use aar_core::finding::FindingKind;
use aar_core::id::{EvaluationId, ExperimentId, FindingId, SnapshotId};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Runs a shell command in your sandbox and returns its output, standard error included. The working
/// directory stays as the command leaves it; variables do not. No network. Long output loses its middle.
/// With background = true it returns at once with a process id and a log file.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bash {
    /// For bash -c.
    pub command: String,
    /// When to kill it, 1 to 600; 60 if left out.
    #[serde(default = "a_minute")]
    pub timeout_seconds: u64,
    /// Start it and return at once.
    #[serde(default)]
    pub background: bool,
}

/// Shows a text file of your sandbox with line numbers.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The file, absolute or relative to the working directory.
    pub path: String,
    /// The first line to show; 1 if left out.
    #[serde(default)]
    pub first_line: Option<usize>,
    /// How many lines; 400 if left out.
    #[serde(default)]
    pub lines: Option<usize>,
}

/// Makes or replaces a text file of your sandbox, with the directories above it.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// The file.
    pub path: String,
    /// All of its text.
    pub text: String,
}

/// Replaces a passage of a text file of your sandbox. The passage must occur exactly once.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file.
    pub path: String,
    /// The passage, with enough around it to be unique.
    pub old: String,
    /// What takes its place.
    pub new: String,
}

/// Queues one run of a method on the experiments' teacher, without a score, and returns its number at
/// once. Ask `status` for its output.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunExperiment {
    /// What to run.
    pub method: MethodFiles,
    /// For a cheap trial: how many train rows to look at.
    #[serde(default)]
    pub trial_rows: Option<u64>,
    /// For a cheap trial of a recipe that fine-tunes: after how many steps training stops.
    #[serde(default)]
    pub trial_steps: Option<u64>,
}

/// Has a method scored on the dev rows, on five fresh teachers, and returns the evaluation's number at
/// once; it costs one of your evaluations unless this very method was scored before. Ask `status` for the
/// answer.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// What to score.
    pub method: MethodFiles,
}

/// A method: exactly one of the three.
#[derive(Clone, PartialEq, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MethodFiles {
    /// A stored snapshot.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub snapshot: Option<SnapshotId>,
    /// A directory of your sandbox that holds method.toml; all files below it are taken, hidden ones left out.
    #[serde(default)]
    pub directory: Option<String>,
    /// Text by relative path, method.toml among them.
    #[serde(default)]
    pub files: Option<BTreeMap<String, String>>,
    /// The snapshots that this method was made from, if it comes as a directory or as files.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub parents: Vec<SnapshotId>,
}

/// Tells where an experiment or an evaluation stands: its output, or its feedback.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The number of an experiment of yours.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub experiment: Option<ExperimentId>,
    /// The number of an evaluation.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub evaluation: Option<EvaluationId>,
    /// How long to wait for its end, 0 to 300; 0 if left out.
    #[serde(default)]
    pub wait_seconds: u64,
}

/// Takes an experiment of yours back that still waits for its turn.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Its number.
    #[schemars(with = "u64")]
    pub experiment: ExperimentId,
}

/// Shares a finding with all researchers. Negative results and errors are as welcome as gains. A result
/// must name your own evaluation; its score is the hub's, not yours to write.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareFinding {
    /// hypothesis, result, insight or error.
    #[schemars(with = "String")]
    pub kind: FindingKind,
    /// At most 200 characters.
    pub title: String,
    /// At most 5000 characters.
    pub text: String,
    /// The snapshot it is about.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub snapshot: Option<SnapshotId>,
    /// The evaluation it reports.
    #[serde(default)]
    #[schemars(with = "Option<u64>")]
    pub evaluation: Option<EvaluationId>,
}

/// Finds findings that hold all words of a query, best first. All findings also lie as files in forum/ of
/// your sandbox.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchFindings {
    /// Words.
    pub query: String,
}

/// Reads a finding with its comments.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadFinding {
    /// Its number.
    #[schemars(with = "u64")]
    pub id: FindingId,
}

/// Comments on a finding.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comment {
    /// The finding's number.
    #[schemars(with = "u64")]
    pub id: FindingId,
    /// At most 5000 characters.
    pub text: String,
}

/// Votes on another's finding; the last vote counts.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// The finding's number.
    #[schemars(with = "u64")]
    pub id: FindingId,
    /// For it, or against it.
    pub up: bool,
}

/// Fetches the code of any snapshot: into snapshots/ of your sandbox, or as text where you have none.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetSnapshot {
    /// Its id.
    #[schemars(with = "String")]
    pub snapshot: SnapshotId,
}

/// Shows the incumbent, the best scored methods and what was replicated. Dev answers are coarse; the
/// figures of replications are for people.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Leaderboard {}

/// Names the scored method that you trust most, whoever made it. When research ends it is replicated on
/// sealed rows even if no claim of yours was promoted. The last one counts.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nominate {
    /// Its id.
    #[schemars(with = "String")]
    pub snapshot: SnapshotId,
}

/// Your notebook, which stays when older parts of the conversation are condensed. Without arguments it is
/// shown.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notebook {
    /// Text to add at its end.
    #[serde(default)]
    pub append: Option<String>,
    /// Text to put in place of all of it.
    #[serde(default)]
    pub replace: Option<String>,
}

/// Shows what you may still spend: evaluations, experiments, compute, money and time.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {}

/// Ends your work for good. Only when nothing is left that is worth trying.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// What came of it, in a few sentences.
    pub summary: String,
}

fn a_minute() -> u64 {
    60
}

macro_rules! tools {
    ($($name:literal $kind:ident needs $where:ident,)*) => {
        /// A call of a tool that can be made.
        #[derive(Clone, PartialEq, Debug)]
        #[allow(missing_docs)]
        pub enum Call { $($kind($kind),)* }

        impl Call {
            /// Reads what a model asks for.
            ///
            /// # Errors
            /// A sentence for the model: the tool does not exist, or does not take this.
            pub fn read(name: &str, input: &ToolInput) -> Result<Self, String> {
                match name {
                    $($name => read(name, input).map(Self::$kind),)*
                    _ => Err(format!(
                        "there is no tool {name:?}; there are {}",
                        [$($name),*].join(", ")
                    )),
                }
            }
        }

        /// All tools, in the order in which they are offered.
        #[must_use]
        pub fn tools() -> Vec<Tool> {
            vec![$(tool::<$kind>($name)),*]
        }

        /// Those that need nothing but the hub, for agents that have no workspace of ours.
        #[must_use]
        pub fn hub_tools() -> Vec<Tool> {
            let needs = [$(Needs::$where),*];
            let all = tools().into_iter().zip(needs);
            all.filter(|(_, needs)| *needs == Needs::Hub).map(|(tool, _)| tool).collect()
        }
    };
}

#[derive(PartialEq)]
enum Needs {
    /// A token of the hub.
    Hub,
    /// A sandbox of its own.
    Workspace,
    /// The built-in loop.
    Loop,
}

tools! {
    "bash" Bash needs Workspace,
    "view" View needs Workspace,
    "write" Write needs Workspace,
    "edit" Edit needs Workspace,
    "run_experiment" RunExperiment needs Hub,
    "evaluate" Evaluate needs Hub,
    "status" Status needs Hub,
    "cancel" Cancel needs Hub,
    "share_finding" ShareFinding needs Hub,
    "search_findings" SearchFindings needs Hub,
    "read_finding" ReadFinding needs Hub,
    "comment" Comment needs Hub,
    "vote" Vote needs Hub,
    "get_snapshot" GetSnapshot needs Hub,
    "leaderboard" Leaderboard needs Hub,
    "nominate" Nominate needs Hub,
    "budget" Budget needs Hub,
    "notebook" Notebook needs Loop,
    "finish" Finish needs Loop,
}

fn read<T: DeserializeOwned>(name: &str, input: &ToolInput) -> Result<T, String> {
    match input {
        ToolInput::Json(object) => serde_path_to_error::deserialize(serde_json::Value::Object(
            object.clone(),
        ))
        .map_err(|error| {
            let path = error.path().to_string();
            let place = if path == "." {
                String::new()
            } else {
                format!(", field {path}")
            };
            format!("{name}{place}: {}", error.inner())
        }),
        ToolInput::Malformed(text) => Err(format!(
            "{name}: its input is no JSON object, so it was not run; it began {:?}",
            text.chars().take(80).collect::<String>()
        )),
    }
}

fn tool<T: JsonSchema>(name: &str) -> Tool {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    let mut description = String::new();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
        if let Some(serde_json::Value::String(text)) = object.remove("description") {
            description = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        object
            .entry("properties")
            .or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
    }
    Tool {
        name: name.to_owned(),
        description,
        schema,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn call(name: &str, input: Value) -> Result<Call, String> {
        let Value::Object(object) = input else {
            panic!("an object")
        };
        Call::read(name, &ToolInput::Json(object))
    }

    #[test]
    fn every_tool_says_what_it_does_and_takes_in_few_words() {
        for tool in tools() {
            assert!(tool.description.len() > 20, "{}", tool.name);
            assert_eq!(tool.schema["type"], "object", "{}", tool.name);
            let text = tool.schema.to_string();
            assert!(
                !text.contains("$ref") && !text.contains("$schema"),
                "{text}"
            );
            let fields = tool.schema["properties"].as_object().unwrap();
            for (field, about) in fields {
                assert!(about["description"].is_string(), "{} {field}", tool.name);
            }
        }
        // Whatever is offered can be read, and nothing else.
        for tool in tools() {
            let error = call(&tool.name, json!({"no such field": 1}));
            if let Err(error) = error {
                assert!(!error.contains("there is no tool"), "{error}");
            }
        }
        let hub: Vec<_> = hub_tools().into_iter().map(|tool| tool.name).collect();
        assert!(hub.contains(&"evaluate".to_owned()) && !hub.contains(&"bash".to_owned()));
    }

    #[test]
    fn a_call_is_read_or_refused_with_its_field() {
        let bash = call("bash", json!({"command": "ls"})).unwrap();
        let expected = Bash {
            command: "ls".into(),
            timeout_seconds: 60,
            background: false,
        };
        assert_eq!(bash, Call::Bash(expected));
        let wrong = call("bash", json!({"command": "ls", "timeout_seconds": "long"}));
        assert!(wrong.unwrap_err().contains("field timeout_seconds"));
        assert!(
            call("bash", json!({"cmd": "ls"}))
                .unwrap_err()
                .contains("cmd")
        );
        let unknown = call("rm", json!({})).unwrap_err();
        assert!(unknown.contains("no tool \"rm\"") && unknown.contains("bash, view"));
        let malformed = ToolInput::Malformed("{\"command\": ".into());
        assert!(
            Call::read("bash", &malformed)
                .unwrap_err()
                .contains("not run")
        );
        let wrong = call("vote", json!({"id": 1, "up": "yes"}));
        assert!(wrong.unwrap_err().contains("field up"));
        let kind = json!({"kind": "rumour", "title": "t", "text": "t"});
        assert!(
            call("share_finding", kind)
                .unwrap_err()
                .contains("hypothesis")
        );
    }
}
