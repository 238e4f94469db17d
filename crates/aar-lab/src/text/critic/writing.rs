//! Critiques: written by a model, kept line by line, and learnt from.

use super::prompts::critique;
use super::work::{Work, json, replace};
use super::{Hear, Stage, Told};
use crate::text::example::Writer;
use crate::text::tuning::{KEEP_EVERY, Step, planned};
use crate::text::{Model, TextError};
use aar_core::id::Seed;
use aar_core::problem::ItemKind;
use aar_core::recipe::{FineTune, TextForm, Writing};
use aar_core::row::Item;
use aar_models::train::{Keep, Record, Target, cross_entropy, train};
use aar_models::{End, Engine, LanguageModel, Sample, Sampling, Sequence, Tokenizer};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::ops::ControlFlow;

/// Answers that are criticised between two writes to the file.
const PART: usize = 64;
/// Critiques that are written at a time.
pub(super) const AT_ONCE: usize = 32;

/// An answer to be criticised.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// Which row of its split, from 0.
    pub row: usize,
    /// Which of the row's answers, from 0.
    pub option: usize,
    /// Question and answer.
    pub answer: Item,
}

/// A critique of one answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Critique {
    /// Which row of its split, from 0.
    pub row: usize,
    /// Which of the row's answers, from 0.
    pub option: usize,
    /// What was said; empty if the answer is too long for the model's template, or nothing was.
    pub text: String,
    /// Whether the model ended it itself, before the greatest length.
    pub ended: bool,
}

/// How a model is asked for critiques.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Asking {
    /// Pairs or claims.
    pub kind: ItemKind,
    /// How the model is written to.
    pub form: TextForm,
    /// How critiques are drawn.
    pub writing: Writing,
    /// Most tokens of an answer with its critique; the model's context is a bound too.
    pub max_tokens: usize,
}

impl Asking {
    pub(super) fn writer<'a, E: Engine>(
        &self,
        model: &'a LanguageModel<E>,
    ) -> Result<Writer<'a, E>, TextError> {
        let most = self.max_tokens.min(model.decoder.config().context);
        let room = most.saturating_sub(self.writing.max_tokens);
        if room == 0 {
            return Err(TextError::Refused(format!(
                "field critic.writing.max_tokens: found {}, but an answer and its critique have {most} tokens together \
                 in this model: take fewer",
                self.writing.max_tokens
            )));
        }
        Writer::new(model, critique(self.kind), self.form, room)
    }

    pub(super) fn sampling(&self, samples: usize, seed: Seed) -> Sampling {
        Sampling {
            temperature: 1.0,
            top_k: 0,
            top_p: self.writing.top_p,
            seed: seed.0,
            samples,
            most: self.writing.max_tokens,
            batch: AT_ONCE,
        }
    }
}

/// What a sample says.
pub(super) fn said(tokenizer: &Tokenizer, sample: &Sample) -> Result<(String, bool), TextError> {
    let text = tokenizer.decode(&sample.tokens)?;
    Ok((text.trim().to_owned(), sample.end == End::Token))
}

/// One critique of each case, in their order. They are written to a file part by part; a run that was
/// stopped goes on after the last whole part.
///
/// # Errors
/// If the model cannot be asked, or the file cannot be written.
pub fn write(
    model: &mut Model,
    asking: &Asking,
    cases: &[Case],
    seed: Seed,
    work: &Work,
    stage: Stage,
    hear: &mut Hear<'_>,
) -> Result<Vec<Critique>, TextError> {
    let path = work.file(stage.name(), "jsonl");
    let mut done = found(&fs::read_to_string(&path).unwrap_or_default(), cases);
    if done.len() < cases.len() {
        done.truncate(done.len() / PART * PART);
        let lines: Result<Vec<String>, TextError> = done.iter().map(json).collect();
        let lines = lines?.into_iter().map(|line| line + "\n");
        replace(&path, &lines.collect::<String>())?;
    }
    while done.len() < cases.len() {
        let from = done.len();
        let part = &cases[from..cases.len().min(from + PART)];
        let seed = seed.derive("critiques", (from / PART) as u64);
        let told = &mut |now: usize| hear(stage, Told::Written(from + now, cases.len()));
        let new = write_part(model, asking, part, seed, told)?;
        let mut text = String::new();
        for critique in &new {
            text += &(json(critique)? + "\n");
        }
        let file = OpenOptions::new().append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(TextError::io(&path))?;
        done.extend(new);
    }
    Ok(done)
}

/// The critiques in a file as far as they are those of the cases.
fn found(text: &str, cases: &[Case]) -> Vec<Critique> {
    let read = text
        .lines()
        .map_while(|line| serde_json::from_str::<Critique>(line).ok());
    read.zip(cases)
        .take_while(|(read, case)| (read.row, read.option) == (case.row, case.option))
        .map(|(read, _)| read)
        .collect()
}

fn write_part(
    model: &mut Model,
    asking: &Asking,
    cases: &[Case],
    seed: Seed,
    told: &mut dyn FnMut(usize),
) -> Result<Vec<Critique>, TextError> {
    let mut prompts = Vec::new();
    let mut asked = Vec::new();
    let writer = asking.writer(model)?;
    for (index, case) in cases.iter().enumerate() {
        if let Some(tokens) = writer.prompt(&case.answer)?.tokens() {
            prompts.push(tokens.to_vec());
            asked.push(index);
        }
    }
    let mut critiques: Vec<Critique> = cases
        .iter()
        .map(|case| Critique {
            row: case.row,
            option: case.option,
            text: String::new(),
            ended: false,
        })
        .collect();
    let sampling = asking.sampling(1, seed);
    let samples = model
        .decoder
        .generate(&prompts, &sampling, &|_| false, told)?;
    for sample in &samples {
        let critique = &mut critiques[asked[sample.prompt]];
        (critique.text, critique.ended) = said(&model.tokenizer, sample)?;
    }
    told(cases.len());
    Ok(critiques)
}

/// Trains a model to write these critiques, in place; gives the loss of every step. Empty ones are left out. The
/// end is learnt where the writer ended by itself.
///
/// # Errors
/// If there is nothing to learn from, or training fails.
pub fn imitate(
    model: &mut Model,
    asking: &Asking,
    rows: &[(&Case, &Critique)],
    settings: &FineTune,
    seed: Seed,
    work: &Work,
    hear: &mut Hear<'_>,
) -> Result<Vec<Record>, TextError> {
    let (mut sequences, mut targets) = (Vec::new(), Vec::new());
    let writer = asking.writer(model)?;
    for (case, critique) in rows {
        let prompt = writer.prompt(&case.answer)?;
        if let (Some(tokens), false) = (prompt.tokens(), critique.text.is_empty()) {
            let mut words = writer.continuation(&critique.text)?;
            words.truncate(asking.writing.max_tokens);
            if critique.ended && words.len() < asking.writing.max_tokens {
                words.push(writer.end());
            }
            sequences.push(continued(tokens, &words));
            targets.push(words.into_iter().map(Target::token).collect());
        }
    }
    if sequences.is_empty() {
        let all = rows.len();
        return Err(TextError::NoRows(format!(
            "none of the {all} critiques that the weak model wrote is left to learn from: all are empty, or of \
             answers that are too long"
        )));
    }
    let plan = planned(model, &sequences, settings, seed)?;
    let path = work.file(Stage::Imitation.name(), "checkpoint");
    let keep = Keep {
        path: &path,
        every: KEEP_EVERY,
    };
    let mut loss = cross_entropy(&targets);
    let run = train(
        &mut model.decoder,
        &sequences,
        &plan,
        &mut loss,
        Some(&keep),
        &mut |progress| {
            hear(Stage::Imitation, Told::Step(Step::Trained(progress)));
            ControlFlow::Continue(())
        },
    )?;
    Ok(run.curve)
}

/// A prompt with the words after it, looked at where each of them is said. The last word is followed by nothing, so
/// it does not go in.
pub(super) fn continued(prompt: &[u32], words: &[u32]) -> Sequence {
    let places = (prompt.len() - 1..prompt.len() - 1 + words.len()).collect();
    let before = &words[..words.len().saturating_sub(1)];
    Sequence {
        tokens: [prompt, before].concat(),
        places,
    }
}
