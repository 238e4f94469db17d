//! `study.toml`: one campaign.

use crate::budget::{Budget, EvaluationRate};
use crate::feedback::FeedbackPolicy;
use crate::id::{Name, Seed};
use crate::review::ReviewSettings;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// The version of the run directory's layout that this program reads and writes.
pub const RUN_FORMAT: u32 = 2;

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
    /// The model of researchers that are one.
    pub llm: LlmSettings,
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
            slots: 0,
            team_evaluations: 10_000,
            budget: Budget::default(),
            rate: EvaluationRate::default(),
            limits: RunLimits::default(),
            llm: LlmSettings::default(),
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
    fn the_policy_is_chosen_by_its_name() {
        let read = |word: &str| toml::from_str::<Study>(&format!("feedback = \"{word}\"\n"));
        assert_eq!(read("ladder").unwrap().feedback, FeedbackPolicy::Ladder);
        assert_eq!(read("floored").unwrap().feedback, FeedbackPolicy::Floored);
        assert!(read("exact").unwrap_err().to_string().contains("ladder"));
    }
}
