//! The changed inputs of a counterfactual run.

use super::nonsense::garbled;
use crate::testbed::{Testbed, TestbedError, failed};
use aar_compute::View;
use aar_core::audit::Counterfactual;
use aar_core::id::{Secret, Seed};
use aar_core::problem::Split;
use aar_core::row::RowId;
use aar_problem::{
    Problem, ProblemError, Row, Tensor, read_weak_labels, write_inputs, write_weak_labels,
};
use aar_stats::Groups;
use std::fs;

/// What a method is run with, and under which seed.
pub(crate) struct ChangedView {
    pub(crate) view: View,
    pub(crate) seed: Seed,
}

impl ChangedView {
    /// The view of the replication with teacher `seed`, with one thing changed.
    pub(crate) fn new(
        testbed: &Testbed,
        change: Counterfactual,
        seed: Seed,
    ) -> Result<Self, TestbedError> {
        let mut changed = Self {
            view: testbed.view(Split::Rank, seed)?,
            seed,
        };
        let rank = &testbed.problem().table(Split::Rank).rows;
        let draw = |row: usize| seed.derive("audit-teacher", row as u64);
        match change {
            Counterfactual::OtherSeed => changed.seed = seed.derive("audit-seed", 0),
            Counterfactual::HalfPool => {
                let chosen = half_pool(&testbed.groups(Split::Rank));
                let rows: Vec<Row> = chosen.iter().map(|&row| rank[row].clone()).collect();
                changed.predict(testbed, change, &rows, |tensor| tensor.gather(&chosen))?;
            }
            Counterfactual::SwappedOptions => {
                let rows: Vec<Row> = rank.iter().map(swapped).collect();
                changed.predict(testbed, change, &rows, swap_vectors)?;
            }
            Counterfactual::GarbledTexts => changed.garble(testbed, change)?,
            Counterfactual::PermutedStates => changed.permute(testbed, change)?,
            Counterfactual::InvertedTeacher => {
                changed.teach(testbed, change, |p| p.iter().map(|p| 1.0 - p).collect())?;
            }
            Counterfactual::NoTeacher => {
                changed.teach(testbed, change, |p| vec![0.5; p.len()])?;
            }
            Counterfactual::RandomTeacher => {
                // 52 random bits are a fraction below 1.
                let uniform = |row| draw(row).0 as f64 / (1u64 << 52) as f64;
                changed.teach(testbed, change, |p| (0..p.len()).map(uniform).collect())?;
            }
            Counterfactual::ShuffledTeacher => {
                changed.teach(testbed, change, |p| {
                    let mut order: Vec<usize> = (0..p.len()).collect();
                    order.sort_by_cached_key(|&row| draw(row).0);
                    order.into_iter().map(|row| p[row]).collect()
                })?;
            }
        }
        Ok(changed)
    }

    /// Other weak labels for the same train rows.
    fn teach(
        &mut self,
        testbed: &Testbed,
        change: Counterfactual,
        labels: impl FnOnce(&[f64]) -> Vec<f64>,
    ) -> Result<(), TestbedError> {
        let ids = testbed.problem().table(Split::Train).ids();
        self.teach_named(testbed, change, &ids, labels)
    }

    /// Other weak labels, for train rows that are called `named`.
    fn teach_named(
        &mut self,
        testbed: &Testbed,
        change: Counterfactual,
        named: &[RowId],
        labels: impl FnOnce(&[f64]) -> Vec<f64>,
    ) -> Result<(), TestbedError> {
        let path = testbed.changed(&format!("{change}-{}.jsonl", self.seed));
        testbed.once(&path, |partial| {
            let given = fs::read(&self.view.weak).map_err(failed(&self.view.weak))?;
            let ids = testbed.problem().table(Split::Train).ids();
            let given = read_weak_labels(&given, &ids).map_err(|error| TestbedError::Teacher {
                seed: self.seed,
                problem: testbed.problem().layout().dir().to_owned(),
                reason: error.to_string(),
            })?;
            let text = write_weak_labels(named, &labels(&given));
            fs::write(partial, text).map_err(failed(partial))
        })?;
        self.view.weak = path;
        Ok(())
    }

    /// Other rows to predict, with activations made from those of the sealed rows.
    fn predict(
        &mut self,
        testbed: &Testbed,
        change: Counterfactual,
        rows: &[Row],
        activations: impl Fn(Tensor) -> Tensor,
    ) -> Result<(), TestbedError> {
        let about = testbed.problem().about();
        let directory = testbed.changed(change.as_str());
        testbed.once(&directory, |partial| {
            let tensors = tensors(testbed.problem(), Split::Rank, |_, one| activations(one))?;
            Ok(write_inputs(partial, about, rows, &tensors)?)
        })?;
        self.view.predict_ids = rows.iter().map(|row| row.id).collect();
        self.view.predict_inputs = directory.join("inputs.jsonl");
        if self.view.predict_activations.is_some() {
            self.view.predict_activations = Some(directory.join("activations.safetensors"));
        }
        Ok(())
    }

    /// Other places and signs for the dimensions of all states, on both sides; everything else stays.
    fn permute(&mut self, testbed: &Testbed, change: Counterfactual) -> Result<(), TestbedError> {
        let problem = testbed.problem();
        let secret = Secret::new(salt(problem).bytes("permuted states"));
        let write = |split: Split, to: &std::path::Path| -> Result<(), ProblemError> {
            let permute = |name: &str, one| permuted(one, &secret, name);
            let tensors = tensors(problem, split, permute)?;
            write_inputs(to, problem.about(), &problem.table(split).rows, &tensors)
        };
        let learn = testbed.changed(&format!("{change}-train"));
        testbed.once(&learn, |partial| Ok(write(Split::Train, partial)?))?;
        self.view.train = learn;
        let predict = testbed.changed(change.as_str());
        testbed.once(&predict, |partial| Ok(write(Split::Rank, partial)?))?;
        if self.view.predict_activations.is_some() {
            self.view.predict_activations = Some(predict.join("activations.safetensors"));
        }
        Ok(())
    }

    /// Nonsense for texts on both sides; activations, to the byte, and weak labels stay.
    fn garble(&mut self, testbed: &Testbed, change: Counterfactual) -> Result<(), TestbedError> {
        let about = testbed.problem().about();
        let train = nonsense(testbed.problem(), Split::Train);
        let ids: Vec<RowId> = train.iter().map(|row| row.id).collect();
        self.teach_named(testbed, change, &ids, <[f64]>::to_vec)?;
        let learn = testbed.changed(&format!("{change}-train"));
        testbed.once(&learn, |partial| {
            write_inputs(partial, about, &train, &[])?;
            if about.activations().is_empty() {
                return Ok(());
            }
            let file = "activations.safetensors";
            fs::copy(self.view.train.join(file), partial.join(file)).map_err(failed(partial))?;
            Ok(())
        })?;
        self.view.train = learn;

        let rank = nonsense(testbed.problem(), Split::Rank);
        let predict = testbed.changed(change.as_str());
        testbed.once(&predict, |partial| {
            Ok(write_inputs(partial, about, &rank, &[])?)
        })?;
        self.view.predict_inputs = predict.join("inputs.jsonl");
        self.view.predict_ids = rank.iter().map(|row| row.id).collect();
        Ok(())
    }
}

/// A split's rows with nonsense for texts: the same for every seed and method, and not to be
/// foretold by who does not know the vault's salt.
fn nonsense(problem: &Problem, split: Split) -> Vec<Row> {
    let secret = Secret::new(salt(problem).bytes(&format!("garbled texts of {split}")));
    garbled(&problem.table(split).rows, &secret)
}

/// A split's states, each changed by its name and what it holds.
fn tensors(
    problem: &Problem,
    split: Split,
    change: impl Fn(&str, Tensor) -> Tensor,
) -> Result<Vec<Tensor>, ProblemError> {
    let states = &problem.table(split).activations;
    let specs = problem.about().activations().iter();
    specs
        .map(|spec| Ok(change(&spec.tensor_name(), states.get(spec)?)))
        .collect()
}

fn salt(problem: &Problem) -> Secret {
    Secret::new(problem.salt().copied().unwrap_or_default())
}

/// The same permutation and the same signs for every vector of one tensor, whatever the split.
fn permuted(mut tensor: Tensor, secret: &Secret, name: &str) -> Tensor {
    let mut places: Vec<(u64, usize)> = (0..tensor.width)
        .map(|dimension| (secret.derive(name, dimension as u64).0, dimension))
        .collect();
    places.sort_unstable();
    let mut before = vec![0.0; tensor.width];
    for vector in tensor.data.chunks_exact_mut(tensor.width.max(1)) {
        before.copy_from_slice(vector);
        for (value, &(draw, from)) in vector.iter_mut().zip(&places) {
            *value = if draw % 2 == 0 {
                before[from]
            } else {
                -before[from]
            };
        }
    }
    tensor
}

fn swapped(row: &Row) -> Row {
    let item = row.item.swapped();
    Row {
        id: item.id(),
        item,
        ..row.clone()
    }
}

fn swap_vectors(mut tensor: Tensor) -> Tensor {
    let width = tensor.width;
    for row in tensor.data.chunks_exact_mut(2 * width) {
        row.rotate_left(width);
    }
    tensor
}

/// The rows that stay when half of the groups are left out, in row order. The same half for every
/// seed and method, so that their outputs can be paired.
#[must_use]
pub fn half_pool(groups: &Groups) -> Vec<usize> {
    let mut drawn: Vec<u32> = (0..groups.count() as u32).collect();
    drawn.sort_by_cached_key(|&group| Seed(0).derive("audit-pool", u64::from(group)).0);
    drawn.truncate(groups.count().div_ceil(2));
    drawn.sort_unstable();
    let stays = |group: &u32| drawn.binary_search(group).is_ok();
    let rows = groups.of_items().iter().enumerate();
    rows.filter(|(_, group)| stays(group))
        .map(|(row, _)| row)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_change_places_and_signs_alike_in_all_rows() {
        let width = 32;
        let row = |shift: f32| (0..width).map(move |at| shift + at as f32);
        let tensor = Tensor {
            data: row(1.0).chain(row(101.0)).collect(),
            rows: 2,
            options: 1,
            width,
        };
        let secret = Secret::new([3; 32]);
        let after = permuted(tensor.clone(), &secret, "a");
        let (first, second) = after.data.split_at(width);
        let mut kept: Vec<f32> = first.iter().map(|value| value.abs()).collect();
        assert_ne!(kept, tensor.data[..width]);
        assert!(first.iter().any(|&value| value < 0.0));
        assert!(first.iter().any(|&value| value > 0.0));
        for (a, b) in first.iter().zip(second) {
            assert_eq!(b - a, 100.0 * a.signum());
        }
        kept.sort_by(f32::total_cmp);
        assert_eq!(kept, tensor.data[..width]);
        assert_eq!(after, permuted(tensor.clone(), &secret, "a"));
        assert_ne!(after, permuted(tensor, &secret, "b"));
    }

    #[test]
    fn half_of_the_groups_stay_whole() {
        let groups = Groups::from_keys(&[0, 0, 1, 2, 2, 3, 4]);
        let rows = half_pool(&groups);
        let kept: std::collections::BTreeSet<u32> =
            rows.iter().map(|&row| groups.of_items()[row]).collect();
        assert_eq!(kept.len(), 3);
        for row in 0..7 {
            assert_eq!(rows.contains(&row), kept.contains(&groups.of_items()[row]));
        }
    }
}
