//! The parts that a recipe is composed of.

use super::TextLoss;
use crate::problem::Pooling;
use serde::{Deserialize, Serialize};

/// Which of the problem's depths are read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "layers is \"deepest\", \"middle\", \"all\" or a list of layer numbers"
)]
pub enum Layers {
    /// A choice that fits any problem.
    Named(NamedLayers),
    /// These depths; a problem without one of them is an error.
    Listed(Vec<u16>),
}

/// A choice of depths that does not name numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedLayers {
    /// The depth that most blocks come before.
    Deepest,
    /// The middle one of the depths there are (the deeper of two).
    Middle,
    /// Every depth.
    All,
}

impl Layers {
    /// The deepest layer that the problem gives.
    pub const DEEPEST: Self = Self::Named(NamedLayers::Deepest);
    /// The middle layer of those that the problem gives.
    pub const MIDDLE: Self = Self::Named(NamedLayers::Middle);
    /// Every layer that the problem gives.
    pub const ALL: Self = Self::Named(NamedLayers::All);
}

/// How the two options of a pair become one vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairView {
    /// State of B minus state of A: label 1 says that B is better.
    #[default]
    Difference,
    /// Both states, A first; twice as wide.
    Concat,
}

/// What the student sees of the strong model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Features {
    /// Depths; several are concatenated, unless the ensemble goes over them.
    pub layers: Layers,
    /// How tokens were pooled. A problem without this pooling is an error.
    pub pooling: Pooling,
    /// Divide each dimension by its own standard deviation on train, not all by one common scale.
    /// Dimensions are always centred.
    pub standardise: bool,
    /// Keep only this many principal components of train, 1 to 256; fewer if there are fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<usize>,
    /// For pairs; claims have one vector anyway.
    pub pair: PairView,
    /// For pairs: train on each pair in both orders. No effect on claims.
    pub swap_augment: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            layers: Layers::DEEPEST,
            pooling: Pooling::Last,
            standardise: true,
            components: None,
            pair: PairView::default(),
            swap_augment: false,
        }
    }
}

/// What decides which side of an elicited direction is label 1: consistency alone cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orient {
    /// Agreement with the majority of weak labels: one bit from the teacher.
    #[default]
    Weak,
    /// A coin that the run's seed throws: free of the teacher, and wrong half of the time.
    Coin,
}

/// Where the first labels come from. Labels are probabilities of label 1, one per train row.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Labels {
    /// The teacher's more probable label.
    WeakHard {},
    /// The teacher's probability.
    WeakSoft {
        /// Its logits are divided by this, 0.1 to 10; above 1 softens an over-confident teacher.
        temperature: f64,
    },
    /// Elicited from the strong model alone: contrast-consistent search for pairs, confident and
    /// balanced clusters for claims. See `docs/methods.md`.
    Consistency {
        /// Searches from different starts, of which the one with the lowest loss is kept; 1 to 16.
        restarts: usize,
        /// What gives the direction its sign.
        orient: Orient,
    },
    /// The principal component, among the first few, whose sides agree best with the weak labels.
    Principal {
        /// How many components are looked at, 1 to 64.
        among: usize,
    },
    /// Weak labels corrected by a judge that was trained to tell the teacher's errors, as
    /// cross-fitted strong probes see them.
    Judge {
        /// Parts for cross-fitting, 2 to 10.
        folds: usize,
    },
}

impl Default for Labels {
    fn default() -> Self {
        Self::WeakHard {}
    }
}

/// One change of labels and weights. Rows whose weight is 0 are left out from then on.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Refine {
    /// Keep the share of rows whose weak label is surest.
    KeepConfident {
        /// Share kept, 0.05 to 1.
        fraction: f64,
        /// Take the same number from each class, as far as there are enough.
        balanced: bool,
    },
    /// Keep rows whose weak label is surer than this.
    KeepAbove {
        /// Least probability of the more probable label, 0.5 to 0.99.
        threshold: f64,
    },
    /// Weigh rows by |2p − 1| to a power, p being the current label.
    Reweight {
        /// 0.25 to 4.
        power: f64,
    },
    /// Weigh rows by agreement of the weak label with contrast-consistent search.
    CcsAgreement {
        /// Factor of the weight where they disagree, 0 to 1.
        epsilon: f64,
    },
    /// Replace labels by posteriors of a latent label behind a noisy teacher.
    NoisyChannelEm {
        /// Rounds of channel and student, 1 to 4.
        rounds: usize,
        /// Parts for cross-fitted margins, 2 to 10.
        folds: usize,
    },
    /// Mix labels with those of students that did not see them.
    KfoldRelabel {
        /// 2 to 10.
        folds: usize,
        /// Share of the students' say, 0 to 1.
        mix: f64,
    },
    /// Keep rows whose label most of their nearest neighbours share.
    KnnAgreement {
        /// 1 to 50.
        neighbours: usize,
        /// Share kept, 0.05 to 1.
        fraction: f64,
    },
    /// Keep rows in regions where weak labels are learnable, shared by neighbours, dense and
    /// moderately unsure.
    OverlapDensity {
        /// 1 to 50.
        neighbours: usize,
        /// Share kept, 0.05 to 1.
        fraction: f64,
    },
    /// Smooth the labels from which a probe learns little.
    Epiplexity {
        /// Share that stays unsmoothed, 0.05 to 1.
        fraction: f64,
        /// Power of the rank by which the rest is smoothed, 0.5 to 4.
        gamma: f64,
    },
    /// Train the student, take its own most confident predictions as labels, and again.
    SelfTraining {
        /// 1 to 10.
        rounds: usize,
        /// Share kept in each round, from both ends alike, 0.05 to 1.
        fraction: f64,
    },
}

impl Refine {
    /// Does the part leave rows out?
    #[must_use]
    pub fn is_filter(&self) -> bool {
        matches!(
            self,
            Self::KeepConfident { .. }
                | Self::KeepAbove { .. }
                | Self::KnnAgreement { .. }
                | Self::OverlapDensity { .. }
        )
    }

    /// Does the part look at the weak labels beside the current ones?
    #[must_use]
    pub fn reads_weak_labels(&self) -> bool {
        matches!(
            self,
            Self::KeepConfident { .. }
                | Self::KeepAbove { .. }
                | Self::CcsAgreement { .. }
                | Self::NoisyChannelEm { .. }
                | Self::OverlapDensity { .. }
        )
    }

    /// The part's name in files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::KeepConfident { .. } => "keep-confident",
            Self::KeepAbove { .. } => "keep-above",
            Self::Reweight { .. } => "reweight",
            Self::CcsAgreement { .. } => "ccs-agreement",
            Self::NoisyChannelEm { .. } => "noisy-channel-em",
            Self::KfoldRelabel { .. } => "kfold-relabel",
            Self::KnnAgreement { .. } => "knn-agreement",
            Self::OverlapDensity { .. } => "overlap-density",
            Self::Epiplexity { .. } => "epiplexity",
            Self::SelfTraining { .. } => "self-training",
        }
    }
}

/// What is trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", from = "StudentForm")]
pub enum StudentKind {
    /// A linear probe.
    #[default]
    Linear,
    /// One hidden layer of tanh units.
    Mlp {
        /// Units, 1 to 64.
        hidden: usize,
    },
    /// A linear probe in the few directions that covary most with the labels (partial least
    /// squares); rank 1 is the difference of the two class means.
    LowRank {
        /// Directions, 1 to 32.
        rank: usize,
    },
}

/// [`StudentKind`] as it is read: serde lets unknown keys pass beside a unit variant, not beside an
/// empty one.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum StudentForm {
    Linear {},
    Mlp { hidden: usize },
    LowRank { rank: usize },
}

impl From<StudentForm> for StudentKind {
    fn from(form: StudentForm) -> Self {
        match form {
            StudentForm::Linear {} => Self::Linear,
            StudentForm::Mlp { hidden } => Self::Mlp { hidden },
            StudentForm::LowRank { rank } => Self::LowRank { rank },
        }
    }
}

/// What the student minimises.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Cross-entropy with the labels.
    CrossEntropy {
        /// Round the labels to 0 or 1 first.
        hard: bool,
    },
    /// Burns' auxiliary confidence loss: part of the target is the student's own hardened
    /// prediction.
    Confidence {
        /// The part, 0 to 0.9.
        alpha: f64,
    },
    /// Divergence of the labels from the student, which seeks modes.
    ReverseKl {},
}

impl Default for Loss {
    fn default() -> Self {
        Self::CrossEntropy { hard: false }
    }
}

/// A stage of training on the surest rows, in steps of gradient descent rather than to the optimum.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Share of rows with the surest labels, 0.05 to 1.
    pub fraction: f64,
    /// Passes over them, 1 to 50.
    pub epochs: usize,
    /// Factor of the learning rate, 0.01 to 10.
    pub rate: f64,
}

/// The student and its training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Student {
    /// What is trained.
    pub model: StudentKind,
    /// What it minimises.
    pub loss: Loss,
    /// Inverse strength of the L2 penalty as scikit-learn's `C`: the sum of losses plus
    /// |w|² / 2C is minimised. 1e-6 to 1e4. The default is about the strongest naive student on a few
    /// thousand rows of some hundred standardised dimensions; true labels would bear ten times more.
    pub c: f64,
    /// Stages in order; none means training to the optimum.
    pub stages: Vec<Stage>,
}

impl Default for Student {
    fn default() -> Self {
        Self {
            model: StudentKind::default(),
            loss: Loss::default(),
            c: 0.001,
            stages: Vec::new(),
        }
    }
}

/// Evolution-strategy search on consistency, without labels.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evolve {
    /// Antithetic steps, 1 to 500.
    pub steps: usize,
    /// Length of a perturbation as a share of the parameters' length, 0.001 to 1.
    pub sigma: f64,
    /// Step size in the same unit, 0.001 to 1.
    pub rate: f64,
    /// Train rows drawn for each fitness, 16 to 2000.
    pub rows: usize,
}

/// How the logits of several students become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Mean of logits, each student's scaled to unit root mean square on train.
    #[default]
    MeanLogit,
    /// The same without the highest and lowest 15 % of each row.
    TrimmedLogit,
    /// Mean of probabilities.
    MeanProbability,
}

/// How many students, and how they differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ensemble {
    /// Students per feature set, 1 to 32. From two on, each sees its own bootstrap sample.
    pub bags: usize,
    /// One set of students per layer, instead of one on all layers side by side.
    pub over_layers: bool,
    /// How they are averaged.
    pub combine: Combine,
}

impl Default for Ensemble {
    fn default() -> Self {
        Self {
            bags: 1,
            over_layers: false,
            combine: Combine::default(),
        }
    }
}

/// Above which logit the label is 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threshold {
    /// 0, a probability of one half.
    #[default]
    Half,
    /// The median over train, so that half of train would be labelled 1. Rows to be predicted are
    /// not looked at together.
    Balanced,
}

/// How logits become labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prediction {
    /// For pairs: average the logit with the negated one of the swapped pair. No effect on claims.
    pub symmetrise: bool,
    /// The dividing line.
    pub threshold: Threshold,
}

/// Fine-tunes the strong language model itself on the texts of rows. The rest of the recipe says
/// which labels it learns; features, students and what follows them are for frozen states.
///
/// Fixed as in the study: AdamW with betas 0.9 and 0.95, no weight decay, a tenth of the steps to
/// warm up, then a straight line down to 0.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FineTune {
    /// Which of the study's models is trained; without a name the first. 1 to 100 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub student: Option<String>,
    /// What is trained.
    pub trained: Tuned,
    /// How a row is written.
    pub form: TextForm,
    /// Learn what the model itself answers before any training, made consistent, instead of weak
    /// labels.
    pub zero_shot: bool,
    /// What it minimises.
    pub loss: TextLoss,
    /// What runs and trains the model. Not written where it is the native engine.
    #[serde(skip_serializing_if = "EngineName::is_native")]
    pub engine: EngineName,
    /// How often every row is seen, 1 to 100.
    pub epochs: usize,
    /// Rows of a step, 1 to 1024.
    pub batch: usize,
    /// Learning rate after the warm-up, above 0, at most 1.
    pub rate: f64,
    /// Most tokens of a row with its label, 16 to 131072; the model's context is a bound too.
    pub max_tokens: usize,
    /// After how many steps training stops, in a cheap trial. No part of a recipe.
    #[serde(skip)]
    pub stop_after: Option<u64>,
}

impl Default for FineTune {
    /// The study's.
    fn default() -> Self {
        Self {
            student: None,
            trained: Tuned::Lora { rank: 32 },
            form: TextForm::Plain,
            zero_shot: false,
            loss: TextLoss::default(),
            engine: EngineName::Native,
            epochs: 5,
            batch: 32,
            rate: 1e-4,
            max_tokens: 8192,
            stop_after: None,
        }
    }
}

/// What runs and trains a language model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineName {
    /// The program's own, on the CPU.
    #[default]
    Native,
    /// PyTorch, in a Python that the owner has set up.
    Torch,
}

impl EngineName {
    fn is_native(&self) -> bool {
        *self == Self::Native
    }

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Torch => "torch",
        }
    }
}

/// Which weights of a language model are trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Tuned {
    /// Low-rank adapters of all linear maps, scaled with √rank (alpha = rank, rsLoRA).
    Lora {
        /// 1 to 256.
        rank: usize,
    },
    /// All weights of the last blocks.
    LastLayers {
        /// How many blocks, at least 1.
        layers: usize,
    },
}

/// How a row is written for a language model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextForm {
    /// As it is, for base models. Rows that are too long are cut, but keep the label's cue.
    #[default]
    Plain,
    /// By the model's chat template. Rows that are too long are left out.
    Chat,
}

/// Critic training: labels of a judge that reads critiques, in place of a weak teacher's. `[finetune]` beside it says how
/// the student learns them. Defaults are the study's.
///
/// A weak model writes critiques of answers, the strong model learns to write like it, a judge (the weak model) learns true
/// labels of rows with critiques, the critic is rewarded for persuading the judge that answers are bad, and the judge labels
/// train with the critic's help. True labels of `teacher` are read, so only the problem's owner can run it.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Critic {
    /// How the weak model, as first critic and as judge, is written to.
    pub weak_form: TextForm,
    /// How critiques are drawn.
    pub writing: Writing,
    /// How the strong model learns to write critiques.
    pub imitation: Imitation,
    /// How the judge learns.
    pub judge: Judging,
    /// How the critic learns from the judge.
    pub grpo: Grpo,
}

/// How critiques are drawn: at temperature 1, where samples are what the model itself would say.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Writing {
    /// Most tokens of a critique, 1 to 8192.
    pub max_tokens: usize,
    /// Only the likeliest tokens with this probability in all are drawn from; above 0, at most 1.
    pub top_p: f64,
}

impl Default for Writing {
    fn default() -> Self {
        Self {
            max_tokens: 1024,
            top_p: 0.99,
        }
    }
}

/// Fine-tuning the strong model on the weak one's critiques of train rows.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Imitation {
    /// Most critiques, drawn by the seed, 1 to 100000.
    pub critiques: usize,
    /// How often each is seen, 1 to 100.
    pub epochs: usize,
    /// Learning rate after the warm-up, above 0, at most 1.
    pub rate: f64,
}

impl Default for Imitation {
    fn default() -> Self {
        Self {
            critiques: 3000,
            epochs: 1,
            rate: 2e-4,
        }
    }
}

/// Fine-tuning the judge on true labels.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Judging {
    /// How often each row is seen, 1 to 100.
    pub epochs: usize,
    /// Learning rate after the warm-up, above 0, at most 1.
    pub rate: f64,
    /// Most tokens of a row with its critiques and its label, 16 to 131072; the model's context is a bound too.
    pub max_tokens: usize,
}

impl Default for Judging {
    fn default() -> Self {
        Self {
            epochs: 5,
            rate: 2e-4,
            max_tokens: 10_240,
        }
    }
}

/// Group relative policy optimisation of the critic (Shao et al. 2024).
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grpo {
    /// Steps, 1 to 10000.
    pub steps: usize,
    /// Answers that are criticised in a step, 1 to 1024.
    pub questions: usize,
    /// Critiques of each, 2 to 64; at most 4096 in a step.
    pub samples: usize,
    /// Learning rate of all steps, above 0, at most 1.
    pub rate: f64,
    /// Weight of the divergence from the critic before it was rewarded, 0 to 10.
    pub kl: f64,
}

impl Default for Grpo {
    fn default() -> Self {
        Self {
            steps: 50,
            questions: 32,
            samples: 8,
            rate: 1e-5,
            kl: 0.02,
        }
    }
}
