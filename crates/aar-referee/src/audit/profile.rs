//! From the outputs of changed runs to what kind of method it is.

use super::AUDIT_SEEDS;
use super::slices::{gather, no_ceiling, over_ceiling, stress};
use super::view::half_pool;
use crate::board::{BoardError, RankTruth, ReadBlob, decode, statistics, truth_of};
use aar_core::audit::{Audit, AuditRuns, Counterfactual, Evidence, Measure, Profile, Trait};
use aar_core::board::Replication;
use aar_core::row::Label;
use aar_stats::{CorrectMatrix, Crossed, Estimate, Groups, StatsError};
use std::collections::BTreeMap;

/// The share of its skill over chance from which a method is said to keep it.
const KEPT: f64 = 0.5;
/// The share of rows that must be answered alike for a change to count as none.
const ALIKE: f64 = 0.9;
/// A loss of accuracy that counts where answers must not depend on what was changed.
const LOSS: f64 = 0.01;

/// The profile that an audit's stored outputs make.
///
/// # Errors
/// If predictions cannot be read or do not fit the problem.
pub(crate) fn profile(
    audit: &Audit,
    replication: &Replication,
    truths: &BTreeMap<aar_core::id::ProblemId, RankTruth>,
    read: ReadBlob<'_>,
) -> Result<Profile, BoardError> {
    let truth = truth_of(replication, truths)?;
    let decode = |outputs: &[_]| -> Result<Vec<Vec<Label>>, BoardError> {
        let labels = outputs.iter().map(|&one| decode(one, replication, read));
        labels.collect()
    };
    let places = audit.seeds.iter().filter_map(|seed| {
        let place = replication.seeds.iter().position(|other| other == seed)?;
        replication.outputs.get(place).copied()
    });
    let original = decode(&places.collect::<Vec<_>>())?;
    let all = decode(&replication.outputs)?;
    let ceiling = audit.ceiling.map(|one| decode(&[one])).transpose()?;
    let mut changed = BTreeMap::new();
    for (&change, runs) in &audit.runs {
        if let AuditRuns::Good { outputs } = runs {
            changed.insert(change, decode(outputs)?);
        }
    }
    let reading = Reading {
        audit,
        truth,
        original,
        changed,
    };
    let judged = reading.judge().and_then(|mut profile| {
        stress(&mut profile, &all, truth)?;
        match &ceiling {
            Some(ceiling) => over_ceiling(&mut profile, &all, ceiling, truth)?,
            None => profile.evidence.push(no_ceiling()),
        }
        Ok(profile)
    });
    judged.map_err(|source| statistics(replication, source))
}

/// An audit's outputs beside those of its replication.
struct Reading<'a> {
    audit: &'a Audit,
    truth: &'a RankTruth,
    /// Of the audit's seeds. Each change was run with the first of them.
    original: Vec<Vec<Label>>,
    changed: BTreeMap<Counterfactual, Vec<Vec<Label>>>,
}

/// What one change did.
struct Effect {
    /// Accuracy of the replication minus accuracy of the changed runs.
    lost: Estimate,
    /// Accuracy of the changed runs.
    accuracy: Estimate,
    /// Share of rows answered alike.
    alike: Estimate,
    /// Mean over seeds of the accuracy of the answers or of their opposites, whichever is higher.
    either_side: f64,
}

impl Reading<'_> {
    fn judge(&self) -> Result<Profile, StatsError> {
        let mut effects = BTreeMap::new();
        for &change in self.changed.keys() {
            effects.insert(change, self.effect(change)?);
        }
        let mut profile = Profile {
            traits: vec![self.teacher(&effects)?],
            evidence: Vec::new(),
        };
        let depends = |change: Counterfactual| match self.audit.runs.get(&change) {
            // Whoever fails because the texts changed has read them. The other changes may break
            // an honest method, this one cannot.
            Some(AuditRuns::Failed { .. }) => change == Counterfactual::GarbledTexts,
            _ => effects
                .get(&change)
                .is_some_and(|effect| effect.alike.high < ALIKE || effect.lost.low > LOSS),
        };
        for (change, found) in [
            (Counterfactual::SwappedOptions, Trait::OrderBiased),
            (Counterfactual::HalfPool, Trait::PoolDependent),
            (Counterfactual::OtherSeed, Trait::SeedDependent),
            (Counterfactual::GarbledTexts, Trait::ReadsTexts),
        ] {
            if depends(change) {
                profile.traits.push(found);
            }
        }
        // Random weights to begin with meet other dimensions, so answers may change a little, but
        // whoever learns from what is given learns as much.
        let permuted = effects.get(&Counterfactual::PermutedStates);
        if permuted.is_some_and(|effect| effect.lost.low > LOSS) {
            profile.traits.push(Trait::CarriesWeights);
        }
        for change in Counterfactual::ALL {
            if let Some(runs) = self.audit.runs.get(&change) {
                let effect = effects.get(&change);
                profile.evidence.push(evidence(change, runs, effect));
            }
        }
        Ok(profile)
    }

    fn effect(&self, change: Counterfactual) -> Result<Effect, StatsError> {
        let mut changed = self.changed[&change].clone();
        let seeds = changed.len().min(self.original.len());
        let mut original = self.original[..seeds].to_vec();
        let mut labels = self.truth.labels.clone();
        let mut keys = self.truth.groups.of_items().to_vec();
        match change {
            Counterfactual::HalfPool => {
                // The rows that both runs predicted.
                let rows = half_pool(&self.truth.groups);
                labels = gather(&labels, &rows);
                keys = gather(&keys, &rows);
                for one in &mut original {
                    *one = gather(one, &rows);
                }
            }
            Counterfactual::SwappedOptions => {
                for label in changed.iter_mut().flatten() {
                    *label = label.flipped();
                }
            }
            _ => {}
        }
        let groups = Groups::from_keys(&keys);
        let before = CorrectMatrix::score(&original, &labels)?;
        let after = CorrectMatrix::score(&changed, &labels)?;
        let alike: Vec<Vec<bool>> = original
            .iter()
            .zip(&changed)
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a == b).collect())
            .collect();
        let alike = CorrectMatrix::from_rows(&alike)?;
        let sides = after.accuracies();
        let best = sides.iter().map(|&right| right.max(1.0 - right));
        Ok(Effect {
            lost: Crossed::difference(&before, &after, &groups)?.estimate(0.95)?,
            accuracy: Crossed::accuracy(&after, &groups)?.estimate(0.95)?,
            alike: Crossed::accuracy(&alike, &groups)?.estimate(0.95)?,
            either_side: best.sum::<f64>() / sides.len() as f64,
        })
    }

    /// What part the teacher has in the answers.
    fn teacher(&self, effects: &BTreeMap<Counterfactual, Effect>) -> Result<Trait, StatsError> {
        let truth = &self.truth.labels;
        let seeds = AUDIT_SEEDS.min(self.original.len());
        let correct = CorrectMatrix::score(&self.original[..seeds], truth)?;
        let accuracy = Crossed::accuracy(&correct, &self.truth.groups)?.estimate(0.95)?;
        let ones = truth.iter().filter(|&&label| label == Label::One).count() as f64;
        let share = ones / truth.len() as f64;
        let chance = share.max(1.0 - share);
        // Who knows nothing can lose nothing.
        if accuracy.low <= chance {
            return Ok(Trait::TeacherUnclear);
        }
        let skill = accuracy.value - chance;
        let keeps = |accuracy: f64| accuracy - chance >= KEPT * skill;
        let ignorant = [
            Counterfactual::ShuffledTeacher,
            Counterfactual::RandomTeacher,
            Counterfactual::NoTeacher,
            Counterfactual::InvertedTeacher,
        ];
        let known = ignorant.iter().filter_map(|change| effects.get(change));
        if known
            .into_iter()
            .any(|effect| effect.accuracy.low > chance && keeps(effect.accuracy.value))
        {
            return Ok(Trait::TeacherFree);
        }
        let noise: Vec<&Effect> = ignorant[..2]
            .iter()
            .filter_map(|change| effects.get(change))
            .collect();
        let either_side =
            noise.iter().map(|effect| effect.either_side).sum::<f64>() / noise.len() as f64;
        Ok(if noise.is_empty() {
            Trait::TeacherUnclear
        } else if keeps(either_side) {
            Trait::TeacherOriented
        } else if noise.iter().all(|effect| effect.lost.low > 0.0) {
            Trait::UsesTeacher
        } else {
            Trait::TeacherUnclear
        })
    }
}

fn evidence(change: Counterfactual, runs: &AuditRuns, effect: Option<&Effect>) -> Evidence {
    let (measure, says) = match (runs, effect) {
        (AuditRuns::Good { .. }, Some(effect)) => (
            Measure::AccuracyLost,
            format!(
                "{}: accuracy {:.3}, {:+.3} against the replication; {:.0} % of answers {}",
                meaning(change),
                effect.accuracy.value,
                -effect.lost.value,
                100.0 * effect.alike.value,
                match change {
                    Counterfactual::SwappedOptions => "moved with their option",
                    _ => "stayed",
                }
            ),
        ),
        (AuditRuns::Failed { reason }, _) => (
            Measure::Nothing,
            format!("{}: the method failed: {reason}", meaning(change)),
        ),
        _ => (
            Measure::Nothing,
            format!("{}: left out, {}", meaning(change), without(change)),
        ),
    };
    Evidence {
        check: change.as_str().to_owned(),
        measure,
        value: effect.map(|effect| effect.lost.value),
        ci_low: effect.map(|effect| effect.lost.low),
        ci_high: effect.map(|effect| effect.lost.high),
        agreement: effect.map(|effect| effect.alike.value),
        says,
    }
}

fn meaning(change: Counterfactual) -> &'static str {
    match change {
        Counterfactual::ShuffledTeacher => "weak labels shuffled among rows",
        Counterfactual::InvertedTeacher => "weak labels inverted",
        Counterfactual::RandomTeacher => "weak labels drawn at random",
        Counterfactual::NoTeacher => "all weak labels 0.5",
        Counterfactual::OtherSeed => "same teacher, another seed",
        Counterfactual::HalfPool => "half of the rows to predict left out",
        Counterfactual::SwappedOptions => "options swapped",
        Counterfactual::GarbledTexts => "nonsense in place of the texts",
        Counterfactual::PermutedStates => "dimensions of the states permuted, with random signs",
    }
}

/// Why a change has no place on a problem.
fn without(change: Counterfactual) -> &'static str {
    match change {
        Counterfactual::SwappedOptions => "claims have no options",
        Counterfactual::GarbledTexts => {
            "the problem has no states, so nothing but its texts is there"
        }
        Counterfactual::PermutedStates => "the problem has no states",
        _ => "it does not apply to this problem",
    }
}
