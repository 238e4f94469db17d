//! Between critic and judge: rows with critiques, what the judge says of them, and the critic's practice.

use super::grpo::{Practice, Rewarded, practise};
use super::judge::{Judge, reward};
use super::prompts::{answers, with_critiques};
use super::work::Work;
use super::writing::{Asking, Case, Critique, said};
use super::{Hear, Stage, Told};
use crate::numeric::random::stream;
use crate::text::tuning::Lengths;
use crate::text::{Model, TextError};
use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{Critic, FineTune};
use aar_core::row::Item;
use aar_problem::Row;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// What the judge says of train and of the rows to predict.
#[derive(Serialize, Deserialize)]
pub(super) struct Judged {
    pub(super) train: Vec<f64>,
    pub(super) predict: Vec<f64>,
    pub(super) lengths: Lengths,
}

/// All answers of rows.
pub(super) fn cases(rows: &[&Row]) -> Vec<Case> {
    let each = rows.iter().enumerate().flat_map(|(row, of)| {
        let answers = answers(&of.item).into_iter().enumerate();
        answers.map(move |(option, answer)| Case {
            row,
            option,
            answer,
        })
    });
    each.collect()
}

/// Rows with the critiques of all their answers.
pub(super) fn with_all(rows: &[&Row], critiques: &[Critique]) -> Vec<Item> {
    let options = critiques.len() / rows.len().max(1);
    let each = rows.iter().zip(critiques.chunks(options.max(1)));
    each.map(|(row, critiques)| {
        let texts: Vec<&str> = critiques.iter().map(|one| one.text.as_str()).collect();
        with_critiques(&row.item, &texts)
    })
    .collect()
}

/// Rows, and critiques of all their answers.
pub(super) type Criticised<'a> = (&'a [&'a Row], &'a [Critique]);

/// What the judge says, kept under `name`.
pub(super) fn judged(
    judge: &mut Judge,
    work: &Work,
    name: &str,
    (train, predict): (Criticised<'_>, Criticised<'_>),
    hear: &mut Hear<'_>,
) -> Result<Judged, TextError> {
    let whole = |judged: &Judged| {
        (judged.train.len(), judged.predict.len()) == (train.0.len(), predict.0.len())
    };
    work.kept(name, whole, || {
        let (of_train, cut) = judge.asked(&with_all(train.0, train.1), Stage::Labels, hear)?;
        let (of_predict, more) =
            judge.asked(&with_all(predict.0, predict.1), Stage::Labels, hear)?;
        Ok(Judged {
            train: of_train,
            predict: of_predict,
            lengths: cut.plus(more),
        })
    })
}

/// GRPO on one answer of each train row, drawn by the seed. Of a pair the other answer keeps the critique that it had
/// before, so that the judge reads what it was trained to read.
pub(super) fn rewarded(
    (writer, judge): (&mut Model, &mut Judge),
    (kind, critic, settings): (ItemKind, &Critic, &FineTune),
    (rows, before): Criticised<'_>,
    asking: &Asking,
    seed: Seed,
    work: &Work,
    hear: &mut Hear<'_>,
) -> Result<Vec<Rewarded>, TextError> {
    let mut rng = stream(seed, "options", 0);
    let mut prompts = Vec::new();
    let mut asked = Vec::new();
    let text = asking.writer(writer)?;
    for (row, of) in rows.iter().enumerate() {
        let answers = answers(&of.item);
        let option = rng.random_range(0..answers.len());
        if let Some(tokens) = text.prompt(&answers[option])?.tokens() {
            prompts.push(tokens.to_vec());
            asked.push((row, option));
        }
    }
    let practice = Practice {
        prompts: &prompts,
        grpo: critic.grpo,
        sampling: asking.sampling(critic.grpo.samples, seed),
        settings,
        seed,
    };
    let hear = std::cell::RefCell::new(hear);
    practise(
        writer,
        &practice,
        &work.file(Stage::Grpo.name(), "checkpoint"),
        &mut |tokenizer, drawn, samples| {
            let mut critiques = Vec::new();
            let mut items = Vec::new();
            for sample in samples {
                let (row, option) = asked[drawn[sample.prompt]];
                let (text, _) = said(tokenizer, sample)?;
                let item = &rows[row].item;
                let count = before.len() / rows.len();
                let mut texts: Vec<&str> = before[row * count..][..count]
                    .iter()
                    .map(|one| one.text.as_str())
                    .collect();
                texts[option] = &text;
                items.push(with_critiques(item, &texts));
                critiques.push((option, text));
            }
            let (p, _) = judge.asked(&items, Stage::Grpo, &mut **hear.borrow_mut())?;
            let each = critiques.iter().zip(p);
            Ok(each
                .map(|((option, text), p)| reward(kind, *option, p, text))
                .collect())
        },
        &mut |step| {
            (hear.borrow_mut())(Stage::Grpo, Told::Rewarded(step, critic.grpo.steps));
        },
    )
}
