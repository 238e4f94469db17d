//! Generation: the worker says logits, tokens are chosen here.
//!
//! So sampling, seeds and ends are those of [`Decoder::generate`](crate::Decoder::generate) by construction: where the logits
//! are the same, the samples are. Samples begin and end in groups, since a cache with padding does not take newcomers.

use rayon::prelude::*;
use serde_json::json;

use super::wire::Array;
use super::{Done, Torch};
use crate::error::ModelError;
use crate::generate::{Draw, Sample, Sampling};

/// Said where the memory is full.
const FITS: &str = "fewer sequences at a time (`batch`), or fewer tokens, need less";

impl Torch {
    pub(super) fn generate(
        &mut self,
        prompts: &[Vec<u32>],
        sampling: &Sampling,
        stop: &(dyn Fn(&[u32]) -> bool + Sync),
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Sample>, ModelError> {
        sampling.check(&self.form.config, prompts)?;
        // Prompts of like length together need less padding.
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&prompt| prompts[prompt].len());
        let waiting: Vec<(usize, usize)> = order
            .into_iter()
            .flat_map(|prompt| (0..sampling.samples).map(move |nth| (prompt, nth)))
            .collect();
        let mut done = Vec::new();
        for group in waiting.chunks(sampling.batch) {
            self.group(prompts, group, sampling, stop, &mut |sample| {
                done.push(sample);
                progress(done.len());
            })?;
        }
        self.tell("forget", &json!({}), &[], FITS)?;
        done.sort_by_key(|sample| (sample.prompt, sample.nth));
        Ok(done)
    }

    /// Samples, given by prompt and number, that run side by side.
    fn group(
        &mut self,
        prompts: &[Vec<u32>],
        group: &[(usize, usize)],
        sampling: &Sampling,
        stop: &(dyn Fn(&[u32]) -> bool + Sync),
        done: &mut dyn FnMut(Sample),
    ) -> Result<(), ModelError> {
        let vocabulary = self.form.config.vocabulary;
        let mut read: Vec<usize> = group.iter().map(|of| of.0).collect();
        read.dedup();
        let lengths: Vec<u32> = read.iter().map(|&p| prompts[p].len() as u32).collect();
        let tokens: Vec<u32> = read.iter().flat_map(|&p| &prompts[p]).copied().collect();
        let mut running: Vec<Draw> = group
            .iter()
            .map(|&(prompt, nth)| Draw::new(prompt, nth, prompts[prompt].len(), sampling))
            .collect();
        // The row of the worker's last answer that each sample goes on from.
        let mut rows: Vec<u32> = Vec::new();
        for &(prompt, _) in group {
            let row = read.iter().position(|&p| p == prompt).unwrap_or_default();
            rows.push(row as u32);
        }
        let words = [Array::Words(&lengths), Array::Words(&tokens)];
        let mut logits = self.next("prompt", &words, read.len())?;
        loop {
            running.par_iter_mut().zip(&rows).for_each(|(draw, &row)| {
                let logits = &logits[row as usize * vocabulary..][..vocabulary];
                draw.take(logits, sampling);
            });
            let config = &self.form.config;
            let all = running.into_iter().zip(rows);
            (running, rows) = all
                .filter_map(|(mut draw, row)| {
                    if draw.ended(config, sampling, stop) {
                        done(draw.sample);
                        return None;
                    }
                    Some((draw, row))
                })
                .unzip();
            if running.is_empty() {
                return Ok(());
            }
            let tokens: Vec<u32> = running.iter().map(Draw::last).collect();
            let words = [Array::Words(&rows), Array::Words(&tokens)];
            logits = self.next("follow", &words, running.len())?;
            rows = (0..running.len() as u32).collect();
        }
    }

    fn next(
        &mut self,
        asked: &'static str,
        words: &[Array<'_>],
        rows: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let expected = [rows * self.form.config.vocabulary];
        let (Done {}, mut said) = self.worker.ask(asked, &json!({}), words, &expected, FITS)?;
        Ok(said.pop().unwrap_or_default())
    }
}
