//! Critic training, the study's fourth baseline, on language models.
//!
//! Trusted: the judge learns from true labels of `teacher`. The steps, each kept as soon as it is done:
//!
//! 1. the weak model writes critiques of train's answers ([`writing`]), in the words of [`prompts`];
//! 2. the strong model learns to write like it, and is then the critic;
//! 3. the critic writes critiques of the answers of `teacher`, train and the rows to predict;
//! 4. the weak model learns true labels of `teacher` with critiques: the [`judge`];
//! 5. the critic is rewarded if the judge turns against the answer that it criticises ([`grpo`], [`policy`]);
//! 6. it writes critiques anew, and the judge labels train with them;
//! 7. the strong model, as it was at first, learns these labels and predicts.

pub mod grpo;
pub mod judge;
mod lessons;
mod outcome;
pub mod policy;
pub mod prompts;
mod run;
mod work;
pub mod writing;

pub use outcome::{CriticDiagnostics, CriticOutcome, CriticRun, CriticTask};
pub use run::run;

use super::tuning::Step;
use grpo::Rewarded;

/// A step of critic training. The names are those of its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The weak model writes critiques of train.
    WeakCritiques,
    /// The strong model learns to write like it.
    Imitation,
    /// The critic writes critiques of `teacher`.
    TeacherCritiques,
    /// The critic writes critiques of train.
    TrainCritiques,
    /// The critic writes critiques of the rows to predict.
    PredictCritiques,
    /// The judge learns true labels.
    Judge,
    /// The critic is rewarded.
    Grpo,
    /// The rewarded critic writes critiques of train.
    TrainAnew,
    /// The rewarded critic writes critiques of the rows to predict.
    PredictAnew,
    /// The judge says labels.
    Labels,
    /// The student learns and predicts.
    Student,
}

impl Stage {
    /// What its files and its lines are called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WeakCritiques => "weak-critiques",
            Self::Imitation => "imitation",
            Self::TeacherCritiques => "teacher-critiques",
            Self::TrainCritiques => "train-critiques",
            Self::PredictCritiques => "predict-critiques",
            Self::Judge => "judge",
            Self::Grpo => "grpo",
            Self::TrainAnew => "train-critiques-anew",
            Self::PredictAnew => "predict-critiques-anew",
            Self::Labels => "labels",
            Self::Student => "student",
        }
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// Critiques written, of so many.
    Written(usize, usize),
    /// Training, or rows asked about.
    Step(Step<'a>),
    /// A step of GRPO, of so many.
    Rewarded(&'a Rewarded, usize),
}

/// What hears how far things are.
pub type Hear<'a> = dyn FnMut(Stage, Told<'_>) + 'a;
