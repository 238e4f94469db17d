//! What to try next.
//!
//! A direction's own starting recipes come first. Then a pool of candidates is made by moving, adopting,
//! recombining and taking away; the model of the archive says which of them promises most; and nothing is
//! tried that anyone has tried. Pure: no hub, no clock.

use super::archive::{Archive, Whose, cost};
use super::bandit::Bandit;
use super::blend;
use super::directions::Direction;
use super::moves::{Move, affordable, mutate};
use super::reading::MARGIN;
use super::surrogate::{Answer, Expectation};
use aar_core::id::Seed;
use aar_core::recipe::Recipe;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;
use std::fmt;

/// Candidates per idea, early and late: a small pool keeps the nine different, a large one exploits.
const POOL: (f64, f64) = (6.0, 24.0);
/// How much of its uncertainty counts in favour of a candidate, early and late.
const CURIOSITY: (f64, f64) = (0.8, 0.1);
/// Attempts for each candidate of the pool, as many are known, heavy or impossible.
const ATTEMPTS: usize = 6;

/// Where an idea came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// One of the direction's first attempts.
    Start,
    /// A change of one of the explorer's own recipes.
    Own(Move),
    /// A change of a recipe that another researcher shared.
    Adopted(Move),
    /// Parts of two recipes.
    Recombined,
    /// A recipe less the part named.
    Ablated(String),
    /// A change of the best recipe of all.
    Polished(Move),
}

impl Origin {
    fn moved(&self) -> Option<Move> {
        match self {
            Self::Own(kind) | Self::Adopted(kind) | Self::Polished(kind) => Some(*kind),
            Self::Start | Self::Recombined | Self::Ablated(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("first attempt of the direction"),
            Self::Own(kind) => write!(f, "own recipe, other {}", kind.as_str()),
            Self::Adopted(kind) => write!(f, "adopted recipe, other {}", kind.as_str()),
            Self::Recombined => f.write_str("two recipes recombined"),
            Self::Ablated(part) => write!(f, "ablation: without {part}"),
            Self::Polished(kind) => write!(f, "best recipe, other {}", kind.as_str()),
        }
    }
}

/// A recipe to try.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Idea {
    /// What to try.
    pub(super) recipe: Recipe,
    /// Where it came from.
    pub(super) origin: Origin,
    /// The archive's places of the recipes that it was made from.
    pub(super) parents: Vec<usize>,
    /// What the archive makes one expect.
    pub(super) expected: Expectation,
}

/// The part of an explorer that has ideas.
pub(super) struct Thinker {
    direction: Direction,
    starts: VecDeque<Recipe>,
    bandit: Bandit,
    rng: ChaCha8Rng,
}

impl Thinker {
    pub(super) fn new(direction: Direction, seed: Seed) -> Self {
        Self {
            starts: direction.starts().iter().cloned().collect(),
            bandit: Bandit::new(direction.weights()),
            rng: ChaCha8Rng::seed_from_u64(seed.0),
            direction,
        }
    }

    /// The next idea; none if every candidate that came to mind is known.
    pub(super) fn think(&mut self, archive: &Archive, progress: f64) -> Option<Idea> {
        while let Some(recipe) = self.starts.pop_front() {
            if !archive.knows(&recipe) {
                return Some(self.idea(archive, recipe, Origin::Start, Vec::new()));
            }
        }
        let curiosity = between(CURIOSITY, progress);
        let promise = |idea: &Idea| {
            idea.expected.mean + curiosity * idea.expected.spread - cost(&idea.recipe)
        };
        let size = between(POOL, progress) as usize;
        let mut pool: Vec<Idea> = Vec::new();
        for _ in 0..size * ATTEMPTS {
            if pool.len() == size {
                break;
            }
            pool.extend(self.candidate(archive, progress));
        }
        pool.into_iter()
            .max_by(|a, b| promise(a).total_cmp(&promise(b)))
    }

    /// Learns whether the idea did better than what it was made from, where the answers tell; no answer is a failure.
    pub(super) fn learn(&mut self, idea: &Idea, archive: &Archive, answer: Option<Answer>) {
        let Some(kind) = idea.origin.moved() else {
            return;
        };
        let before = idea
            .parents
            .first()
            .and_then(|&parent| archive.entry(parent).answer);
        let better = match (answer, before) {
            (None, _) => Some(false),
            (Some(Answer::Value(pgr)), Some(Answer::Value(before))) => Some(pgr > before),
            (Some(Answer::Value(_)), _) => Some(true),
            // Nothing is known beside a parent that is itself below some bar, or well below this one.
            (Some(Answer::Below(bar)), Some(Answer::Value(before))) => {
                (before + MARGIN >= bar).then_some(false)
            }
            (Some(Answer::Below(_)), _) => None,
        };
        if let Some(better) = better {
            self.bandit.learn(kind, better);
        }
    }

    fn candidate(&mut self, archive: &Archive, progress: f64) -> Option<Idea> {
        let mine = archive.draw(Whose::Mine, progress, &mut self.rng);
        let shared = archive.draw(Whose::Shared, progress, &mut self.rng);
        let best = archive.best(Whose::Any);
        let move_kind = self.bandit.draw(&mut self.rng);
        // Early on one's own direction, later what the team knows, at last around the best.
        let ways = [
            (5.0 - 4.0 * progress, Way::Own),
            (1.0 + 2.0 * progress, Way::Adopt),
            (1.5 + 1.5 * progress, Way::Recombine),
            (0.5 + progress, Way::Ablate),
            (3.0 * progress, Way::Polish),
        ];
        let way = ways
            .choose_weighted(&mut self.rng, |way| way.0)
            .map_or(Way::Own, |way| way.1);
        let (recipe, origin, parents) = match way {
            Way::Own => self.moved(archive, mine.or(shared), move_kind, Origin::Own)?,
            Way::Adopt => self.moved(archive, Some(shared?), move_kind, Origin::Adopted)?,
            Way::Polish => self.moved(archive, Some(best?), move_kind, Origin::Polished)?,
            Way::Recombine => {
                let (one, other) = (mine.or(best)?, shared.or(best)?);
                let recipes = (&archive.entry(one).recipe, &archive.entry(other).recipe);
                let child = blend::recombine(recipes.0, recipes.1, &mut self.rng)?;
                (child, Origin::Recombined, vec![one, other])
            }
            Way::Ablate => {
                let whole = if self.rng.random_bool(0.5) {
                    best
                } else {
                    mine.or(best)
                }?;
                let ablations = blend::ablations(&archive.entry(whole).recipe);
                let (part, less) = ablations.choose(&mut self.rng)?;
                (less.clone(), Origin::Ablated(part.clone()), vec![whole])
            }
        };
        let fresh = !archive.knows(&recipe) && affordable(&recipe);
        fresh.then(|| self.idea(archive, recipe, origin, parents))
    }

    /// A move from a known recipe or, before anything is known, from the direction's first.
    fn moved(
        &mut self,
        archive: &Archive,
        from: Option<usize>,
        kind: Move,
        origin: fn(Move) -> Origin,
    ) -> Option<(Recipe, Origin, Vec<usize>)> {
        let before = match from {
            Some(place) => &archive.entry(place).recipe,
            None => self.direction.starts().first()?,
        };
        let after = mutate(before, kind, self.direction.palette(), &mut self.rng)?;
        Some((after, origin(kind), from.into_iter().collect()))
    }

    fn idea(&self, archive: &Archive, recipe: Recipe, origin: Origin, parents: Vec<usize>) -> Idea {
        let expected = archive.expect(&recipe);
        Idea {
            recipe,
            origin,
            parents,
            expected,
        }
    }
}

/// How a candidate is made.
#[derive(Clone, Copy)]
enum Way {
    Own,
    Adopt,
    Recombine,
    Ablate,
    Polish,
}

fn between((early, late): (f64, f64), progress: f64) -> f64 {
    early + (late - early) * progress.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests;
