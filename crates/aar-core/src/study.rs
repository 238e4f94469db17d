//! `study.toml`: one campaign.

use crate::budget::{Budget, EvaluationRate};
use crate::feedback::FeedbackPolicy;
use crate::id::{Name, Seed};
use crate::review::ReviewSettings;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The version of the run directory's layout that this program reads and writes.
pub const RUN_FORMAT: u32 = 2;

/// The names of a study's students, one a line, the default first. The file lies in the directory that
/// sandboxes find in `$AAR_MODELS`; beside it each student has a directory of its name.
pub const STUDENTS_FILE: &str = "students.txt";

/// Who the researchers start as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Directions {
    /// Each researcher gets one of the study's nine directions.
    #[default]
    Study,
    /// All start alike.
    None,
}

/// What kind of agent a researcher is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResearcherKind {
    /// The built-in searcher without a language model.
    #[default]
    Explorer,
    /// A language model in the built-in loop.
    Llm,
    /// A command-line agent in a sandbox, which has the hub's tools over MCP.
    Command,
    /// A place for a program that comes from outside with a token, over MCP or the hub's interface.
    Outside,
}

/// The kinds of a study's researchers: all alike, or a list that they take turns in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Kinds {
    /// One kind.
    All(ResearcherKind),
    /// The first researcher is of the first kind, and so on; after the last one the list begins again.
    InTurn(Vec<ResearcherKind>),
}

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Kinds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a kind of researcher or a list of kinds")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Kinds, E> {
                ResearcherKind::deserialize(word.into_deserializer()).map(Kinds::All)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Kinds, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Kinds::InTurn)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl Kinds {
    /// The kind of the researcher at `index`, counted from 0.
    #[must_use]
    pub fn of(&self, index: usize) -> ResearcherKind {
        match self {
            Self::All(kind) => *kind,
            Self::InTurn(kinds) => kinds
                .get(index % kinds.len().max(1))
                .copied()
                .unwrap_or_default(),
        }
    }
}

/// How language-model researchers reach their model, and what it may cost.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmSettings {
    /// The model, as the price table names it; the table's default if none.
    pub model: Option<String>,
    /// The provider's address, or that of a server of one's own; the model's home if none.
    pub base_url: Option<String>,
    /// The environment variable that holds the key; the provider's usual one if none.
    pub key_env: Option<String>,
    /// A file that holds the key, in place of a variable.
    pub key_file: Option<String>,
    /// A price table of one's own, which adds to the shipped one and overrides it.
    pub prices: Option<String>,
    /// US dollars that each researcher may spend on its model.
    pub dollars: f64,
    /// US dollars that all together may spend.
    pub team_dollars: f64,
    /// Tokens of one reply, thinking included.
    pub max_tokens: u64,
    /// Tokens of a prompt from which a conversation is condensed; at 0.6 of the context window it is anyway.
    pub condense_at: u64,
}

impl Default for LlmSettings {
    fn default() -> Self {
        Self {
            model: None,
            base_url: None,
            key_env: None,
            key_file: None,
            prices: None,
            dollars: 10.0,
            team_dollars: 50.0,
            max_tokens: 16_000,
            condense_at: 120_000,
        }
    }
}

/// A command-line agent: how it is started, what it is given.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandSettings {
    /// The program and its arguments; in each of them `{task}` becomes what the agent is to do, and `{name}` its
    /// name.
    pub run: Vec<String>,
    /// Directories of the machine with its programs, shown read-only at their own absolute paths.
    pub show: Vec<String>,
    /// A directory of files that are copied to where it works, its settings for example.
    pub home: Option<String>,
    /// Does it ask a model? Then that of `llm`, through a proxy that holds the key.
    pub model: bool,
    /// How often it is started, if it ends before research does. Its files stay.
    pub sessions: u32,
    /// Mebibytes of memory of all its processes together.
    pub memory_mib: u64,
    /// Mebibytes that it may write.
    pub disk_mib: u64,
    /// Processes and threads at one time.
    pub processes: u64,
    /// What it finds in its environment besides.
    pub env: BTreeMap<String, String>,
}

impl Default for CommandSettings {
    fn default() -> Self {
        Self {
            run: Vec::new(),
            show: Vec::new(),
            home: None,
            model: true,
            sessions: 20,
            memory_mib: 4_096,
            disk_mib: 1_024,
            processes: 512,
            env: BTreeMap::new(),
        }
    }
}

impl CommandSettings {
    /// Refuses what no agent can be started with: the field, what it holds, what it may hold.
    fn validate(&self) -> Result<(), (&'static str, String, String)> {
        let refuse = |field, found: String, wanted: &str| Err((field, found, wanted.to_owned()));
        if self.run.first().is_none_or(String::is_empty) {
            let wanted = "the agent's program and its arguments";
            return refuse("command.run", "nothing".to_owned(), wanted);
        }
        for (field, texts) in [
            ("command.run", self.run.iter().collect::<Vec<_>>()),
            ("command.env", self.env.values().collect()),
        ] {
            if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
                return refuse(field, format!("{text:?}"), "text without NUL");
            }
        }
        let is_name = |name: &&String| {
            let first = |c: char| c.is_ascii_alphabetic() || c == '_';
            name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
        };
        if let Some(name) = self.env.keys().find(|name| !is_name(name)) {
            let wanted = "names of letters, digits and _";
            return refuse("command.env", format!("{name:?}"), wanted);
        }
        if let Some(path) = self.show.iter().find(|path| !path.starts_with('/')) {
            return refuse("command.show", format!("{path:?}"), "absolute paths");
        }
        for (field, value, least) in [
            ("command.sessions", u64::from(self.sessions), 1),
            ("command.memory_mib", self.memory_mib, 64),
            ("command.disk_mib", self.disk_mib, 8),
            ("command.processes", self.processes, 4),
        ] {
            if !(least..=1 << 24).contains(&value) {
                return refuse(field, value.to_string(), &format!("{least} to 16777216"));
            }
        }
        Ok(())
    }
}

/// What keeps methods from the machine and its vault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A sandbox; where none can be had, the study is refused.
    #[default]
    Required,
    /// Nothing. Such a study's figures prove nothing, and its report says so.
    None,
}

/// The limits of one run of a method in a sandbox.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunLimits {
    /// Seconds from start to end.
    pub wall_seconds: f64,
    /// CPU seconds of all processes together.
    pub cpu_seconds: f64,
    /// Mebibytes of memory of all processes together.
    pub memory_mib: u64,
    /// Processes and threads at one time.
    pub processes: u64,
    /// Mebibytes that may be written.
    pub disk_mib: u64,
    /// Kibibytes of standard output and error that are kept.
    pub output_kib: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            wall_seconds: 60.0,
            cpu_seconds: 60.0,
            memory_mib: 1_024,
            processes: 64,
            disk_mib: 64,
            output_kib: 64,
        }
    }
}

/// A study as its file gives it. Every default is written out into the run directory.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Study {
    /// The version of this layout; always [`RUN_FORMAT`].
    pub format: u32,
    /// The study's name.
    pub name: Name,
    /// Makes the study reproducible: splits, salts and all other seeds follow from it, so whoever
    /// knows or guesses it knows them. Where there is none, they come from 256 random bits.
    pub seed: Option<Seed>,
    /// A built-in problem's name, or a path to a problem directory (relative to the study file).
    pub problem: String,
    /// Problems on which the best methods run unchanged at the end.
    pub transfer: Vec<String>,
    /// Wall-clock minutes of the whole study, set-up and report included.
    pub minutes: f64,
    /// How many researchers work side by side, 1 to 256.
    pub researchers: usize,
    /// Their kind, or a list of kinds that they take turns in.
    pub kind: Kinds,
    /// How they start.
    pub directions: Directions,
    /// How dev scores are coarsened.
    pub feedback: FeedbackPolicy,
    /// Seeds of an evaluation on dev.
    pub evaluation_seeds: usize,
    /// Fresh teacher seeds of a replication on rank; 16 or more for probes.
    pub replication_seeds: usize,
    /// What keeps methods from the machine.
    pub isolation: Isolation,
    /// A Python environment of the machine that all sandboxes are shown read-only, at its own absolute path.
    pub python: Option<String>,
    /// Language models that recipes may fine-tune and programs may read, as `smollm2`, `file:PATH`,
    /// `hf:OWNER/NAME` or `pypi:PACKAGE==VERSION`. The first one is the default, and the ceilings' model
    /// where those are language models.
    pub students: Vec<String>,
    /// Devices of the machine, such as a GPU's, that sandboxes of programs and agents have.
    pub devices: Vec<String>,
    /// Sandboxes that run at one time; 0 means one for each core.
    pub slots: usize,
    /// Evaluations that all researchers together may spend, whatever their own budgets hold: names are free,
    /// so a limit on each of them is none on what is learned of `dev`.
    pub team_evaluations: u64,
    /// What each researcher may spend.
    pub budget: Budget,
    /// How fast each researcher may ask for evaluations.
    pub rate: EvaluationRate,
    /// The limits of one run.
    pub limits: RunLimits,
    /// The model of researchers that are one, or ask one.
    pub llm: LlmSettings,
    /// The command-line agent of researchers that are one.
    pub command: CommandSettings,
    /// The model that reviews, if any.
    pub review: ReviewSettings,
}

impl Default for Study {
    fn default() -> Self {
        let transfer = ["math", "code", "facts"].map(str::to_owned).to_vec();
        Self {
            format: RUN_FORMAT,
            name: "demo".parse().expect("a valid literal"),
            seed: None,
            problem: "chat".to_owned(),
            transfer,
            minutes: 10.0,
            researchers: 9,
            kind: Kinds::All(ResearcherKind::default()),
            directions: Directions::default(),
            feedback: FeedbackPolicy::default(),
            evaluation_seeds: 5,
            replication_seeds: 16,
            isolation: Isolation::default(),
            python: None,
            students: Vec::new(),
            devices: Vec::new(),
            slots: 0,
            team_evaluations: 10_000,
            budget: Budget::default(),
            rate: EvaluationRate::default(),
            limits: RunLimits::default(),
            llm: LlmSettings::default(),
            command: CommandSettings::default(),
            review: ReviewSettings::default(),
        }
    }
}

impl Study {
    /// Is any of the researchers of this kind?
    #[must_use]
    pub fn has(&self, kind: ResearcherKind) -> bool {
        (0..self.researchers).any(|index| self.kind.of(index) == kind)
    }

    /// Does any of the researchers ask the model of `llm`?
    #[must_use]
    pub fn asks_model(&self) -> bool {
        self.has(ResearcherKind::Llm) || (self.has(ResearcherKind::Command) && self.command.model)
    }

    /// Refuses values that no study can have.
    ///
    /// # Errors
    /// One sentence that names the field, what it holds and what it may hold.
    pub fn validate(&self) -> Result<(), String> {
        let refuse = |field: &str, found: String, wanted: &str| {
            Err(format!("field {field}: found {found}, expected {wanted}"))
        };
        if self.format != RUN_FORMAT {
            return refuse("format", self.format.to_string(), &RUN_FORMAT.to_string());
        }
        if !(self.minutes.is_finite() && (0.5..=100_000.0).contains(&self.minutes)) {
            return refuse("minutes", self.minutes.to_string(), "0.5 to 100000");
        }
        if !(1..=256).contains(&self.researchers) {
            return refuse("researchers", self.researchers.to_string(), "1 to 256");
        }
        if !(2..=64).contains(&self.evaluation_seeds) {
            return refuse(
                "evaluation_seeds",
                self.evaluation_seeds.to_string(),
                "2 to 64",
            );
        }
        if !(2..=256).contains(&self.replication_seeds) {
            return refuse(
                "replication_seeds",
                self.replication_seeds.to_string(),
                "2 to 256",
            );
        }
        if self.slots > 1_024 {
            return refuse("slots", self.slots.to_string(), "0 to 1024");
        }
        if self.transfer.contains(&self.problem) {
            return refuse(
                "transfer",
                format!("{:?}", self.problem),
                "problems other than the main one",
            );
        }
        if self.kind == Kinds::InTurn(Vec::new()) {
            return refuse("kind", "an empty list".to_owned(), "at least one kind");
        }
        for (field, dollars) in [
            ("llm.dollars", self.llm.dollars),
            ("llm.team_dollars", self.llm.team_dollars),
        ] {
            if !(0.0..=1e6).contains(&dollars) {
                return refuse(field, dollars.to_string(), "0 to 1e6");
            }
        }
        for (field, tokens) in [
            ("llm.max_tokens", self.llm.max_tokens),
            ("llm.condense_at", self.llm.condense_at),
        ] {
            if !(256..=10_000_000).contains(&tokens) {
                return refuse(field, tokens.to_string(), "256 to 10000000");
            }
        }
        if self.llm.key_env.is_some() && self.llm.key_file.is_some() {
            return refuse(
                "llm.key_file",
                "a file beside llm.key_env".to_owned(),
                "one of the two",
            );
        }
        let is_device = |path: &&String| path.starts_with("/dev/") && !path.contains("..");
        if let Some(path) = self.devices.iter().find(|path| !is_device(path)) {
            return refuse("devices", format!("{path:?}"), "paths below /dev");
        }
        if self.has(ResearcherKind::Command) {
            if self.isolation == Isolation::None {
                return refuse(
                    "isolation",
                    "none".to_owned(),
                    "required, where a researcher is a command: it would have the whole machine",
                );
            }
            if let Err((field, found, wanted)) = self.command.validate() {
                return refuse(field, found, &wanted);
            }
        }
        self.review.validate()?;
        let positive = [
            ("limits.wall_seconds", self.limits.wall_seconds),
            ("limits.cpu_seconds", self.limits.cpu_seconds),
            ("budget.compute_seconds", self.budget.compute_seconds),
            ("rate.per_hour", self.rate.per_hour),
        ];
        for (field, value) in positive {
            if !(value > 0.0 && value <= 1e9) {
                return refuse(field, value.to_string(), "more than 0, at most 1e9");
            }
        }
        let counts = [
            ("rate.burst", self.rate.burst, 1),
            ("limits.memory_mib", self.limits.memory_mib, 1),
            ("limits.processes", self.limits.processes, 1),
            // The largest snapshot that the hub takes must fit.
            ("limits.disk_mib", self.limits.disk_mib, 8),
            ("limits.output_kib", self.limits.output_kib, 1),
        ];
        for (field, value, least) in counts {
            if value < least || value > 1 << 24 {
                return refuse(field, value.to_string(), &format!("{least} to 16777216"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_field_and_what_it_may_hold() {
        let refused = |change: fn(&mut Study)| {
            let mut study = Study::default();
            change(&mut study);
            study.validate().unwrap_err()
        };
        assert_eq!(Study::default().validate(), Ok(()));
        assert_eq!(
            refused(|study| study.rate.burst = 0),
            "field rate.burst: found 0, expected 1 to 16777216"
        );
        for wrong in [
            |s: &mut Study| s.rate.per_hour = 0.0,
            |s: &mut Study| s.rate.per_hour = f64::NAN,
        ] {
            let why = refused(wrong);
            assert!(why.starts_with("field rate.per_hour: found "), "{why}");
        }
    }

    #[test]
    fn researchers_take_turns_in_a_list_of_kinds() {
        let read = |text: &str| toml::from_str::<Study>(text);
        let all = read("kind = \"llm\"\nresearchers = 2\n").unwrap();
        assert!(all.has(ResearcherKind::Llm) && !all.has(ResearcherKind::Explorer));
        let mixed = read("kind = [\"llm\", \"explorer\"]\nresearchers = 3\n").unwrap();
        let kinds: Vec<_> = (0..3).map(|index| mixed.kind.of(index)).collect();
        use ResearcherKind::{Explorer, Llm};
        assert_eq!(kinds, [Llm, Explorer, Llm]);
        let text = toml::to_string(&mixed).unwrap();
        assert_eq!(read(&text).unwrap(), mixed);
        assert!(read("kind = \"human\"\n").is_err());
        let empty = read("kind = []\n").unwrap().validate().unwrap_err();
        assert!(empty.starts_with("field kind: "), "{empty}");
    }

    #[test]
    fn a_command_is_named_with_its_program_and_never_runs_without_walls() {
        let read = |text: &str| {
            let head = "kind = [\"explorer\", \"command\"]\nresearchers = 2\n";
            toml::from_str::<Study>(&format!("{head}{text}")).unwrap()
        };
        let refused = |text: &str| read(text).validate().unwrap_err();
        let good = read("[command]\nrun = [\"agent\", \"{task}\"]\n");
        assert_eq!(good.validate(), Ok(()));
        assert!(good.asks_model());
        assert_eq!(toml::from_str(&toml::to_string(&good).unwrap()), Ok(good));
        assert!(refused("").starts_with("field command.run: found nothing"));
        let alone = "isolation = \"none\"\n[command]\nrun = [\"agent\"]\n";
        assert!(refused(alone).starts_with("field isolation: found none"));
        for (text, field) in [
            ("show = [\"opt\"]", "command.show"),
            ("env = { \"A=B\" = \"\" }", "command.env"),
            ("run = [\"a\\u0000\"]", "field command.run"),
            ("sessions = 0", "command.sessions"),
            ("memory_mib = 1", "command.memory_mib"),
        ] {
            let run = if text.starts_with("run") {
                ""
            } else {
                "run = [\"a\"]\n"
            };
            let why = refused(&format!("[command]\n{run}{text}\n"));
            assert!(why.contains(field), "{why}");
        }
        // Whoever has none may leave it out.
        assert_eq!(Study::default().validate(), Ok(()));
    }

    #[test]
    fn the_policy_is_chosen_by_its_name() {
        let read = |word: &str| toml::from_str::<Study>(&format!("feedback = \"{word}\"\n"));
        assert_eq!(read("ladder").unwrap().feedback, FeedbackPolicy::Ladder);
        assert_eq!(read("floored").unwrap().feedback, FeedbackPolicy::Floored);
        assert!(read("exact").unwrap_err().to_string().contains("ladder"));
    }
}
