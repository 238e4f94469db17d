//! The whole of critic training, from texts and true labels of `teacher` to predictions.

use super::grpo::Rewarded;
use super::judge::Judge;
use super::lessons::{cases, judged, rewarded, with_all};
use super::outcome::{
    CriticDiagnostics, CriticOutcome, CriticRun, CriticTask, empty, positive, same,
};
use super::work::Work;
use super::writing::{Asking, Case, Critique, imitate, write};
use super::{Hear, Stage, Told};
use crate::numeric::random::{permutation, stream};
use crate::text::example::Wording;
use crate::text::method::drawn;
use crate::text::tuning::{Lengths, Step, probabilities, tune};
use crate::text::{Model, TextError};
use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{Critic, FineTune, Recipe};
use aar_core::row::{Item, Label, RowId};
use aar_models::train::Record;
use aar_problem::Row;
use serde::{Deserialize, Serialize};

/// What the student says.
#[derive(Serialize, Deserialize)]
struct Learnt {
    curve: Vec<Record>,
    p: Vec<f64>,
    lengths: Lengths,
}

/// Runs a recipe that has `critic`. What a run with the same input finished before is found and not done again.
///
/// # Errors
/// If the recipe has none, no row or critique is left to learn from, or a model cannot be read, trained or asked.
pub fn run(
    recipe: &Recipe,
    task: CriticTask<'_>,
    how: &CriticRun,
    hear: &mut Hear<'_>,
) -> Result<CriticOutcome, TextError> {
    let course = Course::new(recipe, task, how)?;
    let (train, predict) = (&course.train[..], &course.predict[..]);
    let origin = course.work()?;

    let (mut writer, examples, imitation_curve, work) = course.critic(&origin, hear)?;
    let written = |stage: Stage, rows: &[&Row], work: &Work, writer: &mut Model, hear: &mut _| {
        let seed = course.seed.derive(stage.name(), 0);
        let cases = cases(rows);
        write(writer, &course.asking, &cases, seed, work, stage, hear)
    };
    let lessons = written(
        Stage::TeacherCritiques,
        &course.teacher,
        &work,
        &mut writer,
        hear,
    )?;
    let before = written(Stage::TrainCritiques, train, &work, &mut writer, hear)?;
    let told_before = written(Stage::PredictCritiques, predict, &work, &mut writer, hear)?;

    let (mut judge, judge_curve, lengths, work) = course.judge(&lessons, &work, hear)?;
    let told = ((train, &before[..]), (predict, &told_before[..]));
    let first = judged(&mut judge, &work, "judged", told, hear)?;

    let work = work.then(&course.critic.grpo)?;
    let practice = (task.kind, course.critic, &course.imitation);
    let (seed, asking) = (course.seed.derive("grpo", 0), &course.asking);
    let pair = (&mut writer, &mut judge);
    let rewards = rewarded(pair, practice, (train, &before), asking, seed, &work, hear)?;

    let after = written(Stage::TrainAnew, train, &work, &mut writer, hear)?;
    let told_after = written(Stage::PredictAnew, predict, &work, &mut writer, hear)?;
    drop(writer);
    let told = ((train, &after[..]), (predict, &told_after[..]));
    let last = judged(&mut judge, &work, "judged-anew", told, hear)?;
    drop(judge);

    // One half stands for a row that the judge could not read.
    let sure = last.train.iter().enumerate().filter(|(_, p)| **p != 0.5);
    let learnt: Vec<(usize, Label)> = sure.map(|(row, p)| (row, Label::from(*p > 0.5))).collect();
    let student = course.student(&learnt, &work, hear)?;

    let labels = label(&student.p);
    let judge = [label(&first.predict), label(&last.predict)];
    let labelled = [label(&first.train), label(&last.train)];
    let ends =
        |of: fn(&Rewarded) -> f64| [rewards.first(), rewards.last()].map(|r| r.map_or(0.0, of));
    let mut diagnostics = CriticDiagnostics {
        teacher_rows: course.teacher.len(),
        train_rows: train.len(),
        kept_rows: learnt.len(),
        imitated: examples.len(),
        empty: [&examples, &before, &after].map(|written| empty(written)),
        reward: ends(|step| step.reward),
        flat: rewards.iter().map(|step| step.flat).sum::<f64>() / rewards.len() as f64,
        kl: ends(|step| step.kl)[1],
        judge_positive: [positive(&labelled[0]), positive(&labelled[1])],
        judge_unmoved: same(&labelled[0], &labelled[1]),
        judge_agrees: same(&judge[1], &labels),
        lengths: [first.lengths, last.lengths, student.lengths]
            .into_iter()
            .fold(lengths, Lengths::plus),
        predicted_rows: labels.len(),
        positive_rate: positive(&labels),
        last_loss: student.curve.last().map_or(f64::NAN, |record| record.loss),
        warnings: Vec::new(),
    };
    diagnostics.warn();
    let numbers = &course.train_numbers;
    Ok(CriticOutcome {
        labels,
        judge,
        train: learnt
            .iter()
            .map(|(row, label)| (numbers[*row], *label))
            .collect(),
        curves: [
            (Stage::Imitation, imitation_curve),
            (Stage::Judge, judge_curve),
            (Stage::Student, student.curve),
        ],
        rewards,
        diagnostics,
    })
}

fn label(p: &[f64]) -> Vec<Label> {
    p.iter().map(|&p| Label::from(p > 0.5)).collect()
}

/// What all steps share.
struct Course<'a> {
    kind: ItemKind,
    critic: &'a Critic,
    finetune: &'a FineTune,
    /// How the strong model learns to write critiques; its adapters are also the rewarded critic's.
    imitation: FineTune,
    /// How the strong model is asked for critiques.
    asking: Asking,
    how: &'a CriticRun,
    seed: Seed,
    train: Vec<&'a Row>,
    train_numbers: Vec<usize>,
    teacher: Vec<&'a Row>,
    truth: Vec<Label>,
    predict: Vec<&'a Row>,
}

impl<'a> Course<'a> {
    fn new(
        recipe: &'a Recipe,
        task: CriticTask<'a>,
        how: &'a CriticRun,
    ) -> Result<Self, TextError> {
        let (Some(critic), Some(finetune)) = (&recipe.critic, &recipe.finetune) else {
            let what = "the recipe has no [critic]: it trains none";
            return Err(TextError::Refused(what.to_owned()));
        };
        let seed = how.text.seed;
        let train_numbers = drawn(task.train.len(), how.text.rows, seed);
        let of_teacher = drawn(task.teacher.len(), how.text.rows, seed.derive("teacher", 0));
        if of_teacher.is_empty() || train_numbers.is_empty() {
            let what = "critic training needs rows of `teacher` and of train";
            return Err(TextError::NoRows(what.to_owned()));
        }
        Ok(Self {
            kind: task.kind,
            critic,
            finetune,
            imitation: FineTune {
                trained: finetune.trained,
                form: finetune.form,
                epochs: critic.imitation.epochs,
                batch: finetune.batch,
                rate: critic.imitation.rate,
                max_tokens: finetune.max_tokens,
                ..FineTune::default()
            },
            asking: Asking {
                kind: task.kind,
                form: finetune.form,
                writing: critic.writing,
                max_tokens: finetune.max_tokens,
            },
            how,
            seed,
            train: train_numbers.iter().map(|&row| &task.train[row]).collect(),
            train_numbers,
            teacher: of_teacher.iter().map(|&row| &task.teacher[row]).collect(),
            truth: of_teacher.iter().map(|&row| task.truth[row]).collect(),
            predict: task.predict.iter().collect(),
        })
    }

    /// The place of all that follows from rows, labels, models and seed.
    fn work(&self) -> Result<Work, TextError> {
        let weights = &self.how.text.weights;
        let ids = |rows: &[&Row]| -> Vec<RowId> { rows.iter().map(|row| row.id).collect() };
        let weak = self.how.weak.digest(weights)?;
        let strong = self.how.text.student.digest(weights)?;
        let rows = (
            ids(&self.train),
            ids(&self.teacher),
            &self.truth,
            ids(&self.predict),
        );
        Work::new(
            &self.how.work,
            &(
                self.seed,
                self.kind,
                (weak, strong),
                self.finetune.engine,
                rows,
            ),
        )
    }

    fn weak(&self) -> Result<Model, TextError> {
        self.how
            .weak
            .open(&self.how.text.weights, self.finetune.engine)
    }

    fn strong(&self) -> Result<Model, TextError> {
        self.how
            .text
            .student
            .open(&self.how.text.weights, self.finetune.engine)
    }

    /// The weak model writes critiques and the strong one learns to: the critic, what it learnt from, and how.
    fn critic(
        &self,
        work: &Work,
        hear: &mut Hear<'_>,
    ) -> Result<(Model, Vec<Critique>, Vec<Record>, Work), TextError> {
        let asking = Asking {
            form: self.critic.weak_form,
            ..self.asking
        };
        let most = self.critic.imitation.critiques;
        let all = cases(&self.train);
        let mut order = permutation(all.len(), &mut stream(self.seed, "imitation", 0));
        order.truncate(most);
        order.sort_unstable();
        let imitated: Vec<Case> = order.iter().map(|&case| all[case].clone()).collect();
        let work = work.then(&(asking, most))?;
        let (seed, stage) = (self.seed.derive("weak", 0), Stage::WeakCritiques);
        let examples = write(
            &mut self.weak()?,
            &asking,
            &imitated,
            seed,
            &work,
            stage,
            hear,
        )?;

        let work = work.then(&(self.asking, &self.imitation))?;
        let mut writer = self.strong()?;
        let rows: Vec<(&Case, &Critique)> = imitated.iter().zip(&examples).collect();
        let (asking, settings) = (&self.asking, &self.imitation);
        let seed = self.seed.derive("critic", 0);
        let curve = imitate(&mut writer, asking, &rows, settings, seed, &work, hear)?;
        writer.decoder.merge()?;
        Ok((writer, examples, curve, work))
    }

    /// The judge learns true labels.
    fn judge(
        &self,
        critiques: &[Critique],
        work: &Work,
        hear: &mut Hear<'_>,
    ) -> Result<(Judge, Vec<Record>, Lengths, Work), TextError> {
        let settings = FineTune {
            form: self.critic.weak_form,
            epochs: self.critic.judge.epochs,
            rate: self.critic.judge.rate,
            max_tokens: self.critic.judge.max_tokens,
            ..self.imitation.clone()
        };
        let work = work.then(&settings)?;
        let rows = with_all(&self.teacher, critiques).into_iter();
        let rows: Vec<(Item, Label)> = rows.zip(self.truth.iter().copied()).collect();
        let (weak, seed) = (self.weak()?, self.seed.derive("judge", 0));
        let (judge, curve, lengths) =
            Judge::train(weak, self.kind, &rows, settings, seed, &work, hear)?;
        Ok((judge, curve, lengths, work))
    }

    /// The student learns labels of train and predicts.
    fn student(
        &self,
        labels: &[(usize, Label)],
        work: &Work,
        hear: &mut Hear<'_>,
    ) -> Result<Learnt, TextError> {
        let stage = Stage::Student;
        let work = work.then(self.finetune)?;
        let whole = |learnt: &Learnt| learnt.p.len() == self.predict.len();
        work.kept(stage.name(), whole, || {
            let labelled = labels.iter();
            let rows: Vec<(&Item, f64)> = labelled
                .map(|(row, label)| (&self.train[*row].item, label.as_f64()))
                .collect();
            let mut told = |step: Step<'_>| hear(stage, Told::Step(step));
            let told = &mut told;
            let keep = work.file(stage.name(), "checkpoint");
            let (mut model, seed) = (self.strong()?, self.seed.derive("student", 0));
            let (kind, settings) = (self.kind, self.finetune);
            let (curve, learnt) = tune(&mut model, kind, &rows, settings, seed, Some(&keep), told)?;
            let items: Vec<&Item> = self.predict.iter().map(|row| &row.item).collect();
            let wording = Wording::label(kind);
            let (p, asked) = probabilities(&mut model, wording, &items, settings, told)?;
            let lengths = learnt.plus(asked);
            Ok(Learnt { curve, p, lengths })
        })
    }
}
