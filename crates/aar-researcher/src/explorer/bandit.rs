//! Which kind of move to make next: the direction's taste, corrected by what has worked.

use super::moves::Move;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// One kind of move with the direction's weight for it and its record so far.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Arm {
    kind: Move,
    weight: f64,
    tried: f64,
    worked: f64,
}

/// A bandit over moves. An arm's chance is its weight times its posterior mean success under a uniform prior:
/// a coarse record of a dozen evaluations carries no finer rule, and no arm ever dies.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Bandit {
    arms: Vec<Arm>,
}

impl Bandit {
    /// A bandit that prefers moves as the direction does. Moves without weight are never made.
    pub(super) fn new(weights: &[(Move, f64)]) -> Self {
        let arms = weights.iter().map(|&(kind, weight)| Arm {
            kind,
            weight: weight.max(0.0),
            tried: 0.0,
            worked: 0.0,
        });
        Self {
            arms: arms.collect(),
        }
    }

    /// Draws a move.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> Move {
        let chance = |arm: &Arm| arm.weight * (arm.worked + 1.0) / (arm.tried + 2.0);
        let total: f64 = self.arms.iter().map(chance).sum();
        let mut mark = rng.random::<f64>() * total;
        for arm in &self.arms {
            mark -= chance(arm);
            if mark < 0.0 {
                return arm.kind;
            }
        }
        self.arms
            .last()
            .map_or(Move::Regularisation, |arm| arm.kind)
    }

    /// Records whether a recipe made by this move did better than the recipe it was made from.
    pub(super) fn learn(&mut self, kind: Move, worked: bool) {
        if let Some(arm) = self.arms.iter_mut().find(|arm| arm.kind == kind) {
            arm.tried += 1.0;
            arm.worked += f64::from(u8::from(worked));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn share(bandit: &Bandit, kind: Move) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let hits = (0..2_000).filter(|_| bandit.draw(&mut rng) == kind).count();
        hits as f64 / 2_000.0
    }

    #[test]
    fn what_worked_is_made_more_often_and_what_failed_less_but_not_never() {
        let mut bandit = Bandit::new(&[(Move::Loss, 1.0), (Move::Student, 1.0)]);
        assert!((share(&bandit, Move::Loss) - 0.5).abs() < 0.05);
        for _ in 0..4 {
            bandit.learn(Move::Loss, true);
            bandit.learn(Move::Student, false);
        }
        let loss = share(&bandit, Move::Loss);
        assert!(loss > 0.75 && loss < 0.95, "{loss}");
    }

    #[test]
    fn a_move_without_weight_is_never_made() {
        let bandit = Bandit::new(&[(Move::Loss, 0.0), (Move::Student, 1.0)]);
        assert_eq!(share(&bandit, Move::Loss), 0.0);
    }
}
