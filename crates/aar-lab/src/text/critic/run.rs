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
use aar_core::recipe::{FineTune, Recipe};
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
    let (Some(critic), Some(finetune)) = (&recipe.critic, &recipe.finetune) else {
        let what = "the recipe has no [critic]: it trains none";
        return Err(TextError::Refused(what.to_owned()));
    };
    let seed = how.text.seed;
    let train: Vec<&Row> = pick(task.train, how.text.rows, seed);
    let teacher_rows = drawn(task.teacher.len(), how.text.rows, seed.derive("teacher", 0));
    let teacher: Vec<&Row> = teacher_rows.iter().map(|&row| &task.teacher[row]).collect();
    let truth: Vec<Label> = teacher_rows.iter().map(|&row| task.truth[row]).collect();
    let predict: Vec<&Row> = task.predict.iter().collect();
    if teacher.is_empty() || train.is_empty() {
        let what = "critic training needs rows of `teacher` and of train";
        return Err(TextError::NoRows(what.to_owned()));
    }
    let weights = &how.text.weights;
    let ids = |rows: &[&Row]| -> Vec<RowId> { rows.iter().map(|row| row.id).collect() };
    let models = (how.weak.digest(weights)?, how.text.student.digest(weights)?);
    let rows = (ids(&train), ids(&teacher), &truth, ids(&predict));
    let work = Work::new(&how.work, &(seed, task.kind, models, rows))?;

    // 1. The weak model writes.
    let weak_asking = Asking {
        kind: task.kind,
        form: critic.weak_form,
        writing: critic.writing,
        max_tokens: finetune.max_tokens,
    };
    let all = cases(&train);
    let mut cases_drawn = permutation(all.len(), &mut stream(seed, "imitation", 0));
    cases_drawn.truncate(critic.imitation.critiques);
    cases_drawn.sort_unstable();
    let imitated: Vec<Case> = cases_drawn.iter().map(|&case| all[case].clone()).collect();
    let work = work.then(&(weak_asking, critic.imitation.critiques))?;
    let stage = Stage::WeakCritiques;
    let examples = write(
        &mut how.weak.open(weights)?,
        &weak_asking,
        &imitated,
        seed.derive("weak", 0),
        &work,
        stage,
        hear,
    )?;

    // 2. The strong model learns to.
    let asking = Asking {
        form: finetune.form,
        ..weak_asking
    };
    let imitation = FineTune {
        trained: finetune.trained,
        form: finetune.form,
        epochs: critic.imitation.epochs,
        batch: finetune.batch,
        rate: critic.imitation.rate,
        max_tokens: finetune.max_tokens,
        ..FineTune::default()
    };
    let work = work.then(&(asking, &imitation))?;
    let mut writer = how.text.student.open(weights)?;
    let rows: Vec<(&Case, &Critique)> = imitated.iter().zip(&examples).collect();
    let imitation_curve = imitate(
        &mut writer,
        &asking,
        &rows,
        &imitation,
        seed.derive("critic", 0),
        &work,
        hear,
    )?;
    writer.decoder.merge()?;

    // 3. The critic writes.
    let written = |stage: Stage, rows: &[&Row], work: &Work, writer: &mut Model, hear: &mut _| {
        let seed = seed.derive(stage.name(), 0);
        write(writer, &asking, &cases(rows), seed, work, stage, hear)
    };
    let of_teacher = written(Stage::TeacherCritiques, &teacher, &work, &mut writer, hear)?;
    let before = written(Stage::TrainCritiques, &train, &work, &mut writer, hear)?;
    let predict_before = written(Stage::PredictCritiques, &predict, &work, &mut writer, hear)?;

    // 4. The judge learns.
    let judging = FineTune {
        form: critic.weak_form,
        epochs: critic.judge.epochs,
        rate: critic.judge.rate,
        max_tokens: critic.judge.max_tokens,
        ..imitation.clone()
    };
    let work = work.then(&judging)?;
    let lessons = with_all(&teacher, &of_teacher).into_iter().zip(truth);
    let (mut judge, judge_curve, mut lengths) = Judge::train(
        how.weak.open(weights)?,
        task.kind,
        &lessons.collect::<Vec<_>>(),
        judging,
        seed.derive("judge", 0),
        &work,
        hear,
    )?;
    let first = judged(
        &mut judge,
        &work,
        "judged",
        (&train, &before),
        (&predict, &predict_before),
        hear,
    )?;

    // 5. The critic is rewarded.
    let work = work.then(&critic.grpo)?;
    let rewards = rewarded(
        &mut writer,
        &mut judge,
        (task.kind, critic, &imitation),
        (&train, &before),
        &asking,
        seed.derive("grpo", 0),
        &work,
        hear,
    )?;

    // 6. It writes anew, and the judge labels.
    let after = written(Stage::TrainAnew, &train, &work, &mut writer, hear)?;
    let predict_after = written(Stage::PredictAnew, &predict, &work, &mut writer, hear)?;
    drop(writer);
    let last = judged(
        &mut judge,
        &work,
        "judged-anew",
        (&train, &after),
        (&predict, &predict_after),
        hear,
    )?;
    drop(judge);

    // 7. The student learns. One half stands for what the judge could not read.
    let sure = |p: &&f64| **p != 0.5;
    let kept = train.iter().zip(&last.train).filter(|(_, p)| sure(p));
    let kept: Vec<(&Item, f64)> = kept
        .map(|(row, p)| (&row.item, Label::from(*p > 0.5).as_f64()))
        .collect();
    let work = work.then(finetune)?;
    let student = work.kept(
        Stage::Student.name(),
        |learnt: &Learnt| learnt.p.len() == predict.len(),
        || {
            let mut model = how.text.student.open(weights)?;
            let mut told = |step: Step<'_>| hear(Stage::Student, Told::Step(step));
            let keep = work.file(Stage::Student.name(), "checkpoint");
            let seed = seed.derive("student", 0);
            let (curve, learnt) = tune(
                &mut model,
                task.kind,
                &kept,
                finetune,
                seed,
                Some(&keep),
                &mut told,
            )?;
            let items: Vec<&Item> = predict.iter().map(|row| &row.item).collect();
            let wording = Wording::label(task.kind);
            let (p, asked) = probabilities(&mut model, wording, &items, finetune, &mut told)?;
            let lengths = learnt.plus(asked);
            Ok(Learnt { curve, p, lengths })
        },
    )?;

    lengths = lengths
        .plus(first.lengths)
        .plus(last.lengths)
        .plus(student.lengths);
    let label = |p: &Vec<f64>| -> Vec<Label> { p.iter().map(|&p| Label::from(p > 0.5)).collect() };
    let (judge_first, judge_last) = (label(&first.predict), label(&last.predict));
    let labels = label(&student.p);
    let rewarded_steps = rewards.len().max(1) as f64;
    let ends =
        |of: fn(&Rewarded) -> f64| [rewards.first(), rewards.last()].map(|r| r.map_or(0.0, of));
    let mut diagnostics = CriticDiagnostics {
        teacher_rows: teacher.len(),
        train_rows: train.len(),
        kept_rows: kept.len(),
        imitated: imitated.len(),
        empty: [&examples, &before, &after].map(|written| empty(written)),
        reward: ends(|step| step.reward),
        flat: rewards.iter().map(|step| step.flat).sum::<f64>() / rewarded_steps,
        kl: ends(|step| step.kl)[1],
        judge_positive: [&first.train, &last.train].map(|p| positive(&label(p))),
        judge_unmoved: same(&label(&first.train), &label(&last.train)),
        judge_agrees: same(&judge_last, &labels),
        lengths,
        predicted_rows: labels.len(),
        positive_rate: positive(&labels),
        last_loss: student.curve.last().map_or(f64::NAN, |record| record.loss),
        warnings: Vec::new(),
    };
    diagnostics.warn();
    let numbers = drawn(task.train.len(), how.text.rows, seed);
    let learnt = numbers
        .into_iter()
        .zip(&last.train)
        .filter(|(_, p)| sure(p));
    Ok(CriticOutcome {
        labels,
        judge: [judge_first, judge_last],
        train: learnt
            .map(|(row, p)| (row, Label::from(*p > 0.5)))
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

fn pick(rows: &[Row], limit: Option<usize>, seed: Seed) -> Vec<&Row> {
    let drawn = drawn(rows.len(), limit, seed);
    drawn.into_iter().map(|row| &rows[row]).collect()
}
