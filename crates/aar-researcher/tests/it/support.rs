//! A hub with known labels, and a thread that plays compute: it reads each job's recipe and answers with
//! predictions as good as a planted landscape says.

use aar_core::board::Group;
use aar_core::budget::Budget;
use aar_core::digest::Digest;
use aar_core::event::{OpenedProblem, RunEnd};
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::{Name, Seed};
use aar_core::method::{METHOD_FILE, Method, RECIPE_FILE};
use aar_core::problem::{ItemKind, Split, SplitAnchors};
use aar_core::recipe::{Labels, Recipe, Refine};
use aar_core::row::Label;
use aar_core::study::{Directions, Study};
use aar_hub::http::{self, Server};
use aar_hub::hub::{EvaluationOutcome, ExperimentOutcome, Job, Run};
use aar_hub::{Client, Hub, HubSetup};
use aar_researcher::explorer::{Direction, ExplorerConfig, Progress, Summary, Surroundings};
use aar_researcher::run_explorer;
use aar_stats::Groups;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const ROWS: usize = 1_000;
const WEAK: f64 = 0.6137;
const CEILING: f64 = 0.8219;

pub(crate) struct House {
    _dir: TempDir,
    pub(crate) hub: Arc<Hub>,
    pub(crate) server: Server,
    time: Arc<AtomicU64>,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn labels() -> Vec<Label> {
    let bit = |row: usize| Digest::of(&row.to_le_bytes()).as_bytes()[0] & 1 == 1;
    (0..ROWS).map(|row| Label::from(bit(row))).collect()
}

impl House {
    pub(crate) fn new(budget: Budget) -> Self {
        Self::of(&Study {
            budget,
            ..Study::default()
        })
    }

    /// A house that takes as many researchers as there may be.
    pub(crate) fn for_many() -> Self {
        Self::of(&Study {
            researchers: 256,
            ..Study::default()
        })
    }

    /// A house whose hub starts its Ladder at the vanilla baseline.
    pub(crate) fn with_ladder(budget: Budget) -> Self {
        let house = Self::of(&Study {
            budget,
            feedback: FeedbackPolicy::Ladder,
            ..Study::default()
        });
        let recipe = Recipe::default();
        let name = name("vanilla");
        let method = Method::for_recipe(name, recipe.family(), "Vanilla.".to_owned(), true);
        let files = BTreeMap::from([
            (METHOD_FILE.to_owned(), toml::to_string(&method).unwrap()),
            (RECIPE_FILE.to_owned(), recipe.to_toml().unwrap()),
        ]);
        let files = files
            .into_iter()
            .map(|(path, text)| (path, text.into_bytes()));
        let hub = &house.hub;
        let vanilla = hub.put_trusted_snapshot(Group::Baseline, &files.collect());
        hub.request_baseline_evaluation(vanilla.unwrap()).unwrap();
        let job = hub.next_job().unwrap().unwrap();
        play(hub, &job, &|recipe| Played::Pgr(landscape(recipe)));
        house
    }

    fn of(study: &Study) -> Self {
        let anchors = SplitAnchors {
            weak: WEAK,
            ceiling: CEILING,
            seeds: 16,
        };
        let problem = OpenedProblem {
            id: "chat@1".parse().unwrap(),
            directory: "problem".to_owned(),
            kind: ItemKind::Pair,
            practice: true,
            commitments: BTreeMap::new(),
            anchors: BTreeMap::from([(Split::Dev, anchors)]),
            files: BTreeMap::new(),
        };
        let time = Arc::new(AtomicU64::new(1_763_722_800_000));
        let shown = Arc::clone(&time);
        let setup = HubSetup {
            dev_labels: labels(),
            dev_groups: Groups::singletons(ROWS as u32),
            seeds: (1..6).map(Seed).collect(),
            experiment_seed: Seed(6),
            clock: Arc::new(move || shown.load(Ordering::Relaxed)),
        };
        let dir = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::create(dir.path(), study, &[problem], setup).unwrap());
        let server = http::serve(hub.clone(), "127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            _dir: dir,
            hub,
            server,
            time,
        }
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn pass(&self, milliseconds: u64) {
        self.time.fetch_add(milliseconds, Ordering::Relaxed);
    }

    pub(crate) fn client(&self, who: &str) -> Client {
        let token = self.hub.join(&name(who), "").unwrap();
        Client::new(&self.server.base_url(), token.secret())
    }

    /// Plays compute for the next job, if one comes soon.
    pub(crate) fn play_one(&self, truth: &dyn Fn(&Recipe) -> Played) {
        if let Some(job) = self.hub.wait_job(Duration::from_millis(20)).unwrap() {
            play(&self.hub, &job, truth);
        }
    }

    /// Runs explorers to their ends while `truth` plays compute.
    pub(crate) fn run(
        &self,
        directions: Directions,
        count: usize,
        truth: impl Fn(&Recipe) -> Played + Sync,
    ) -> Vec<Summary> {
        let (over, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if let Some(job) = self.hub.wait_job(Duration::from_millis(20)).unwrap() {
                        play(&self.hub, &job, &truth);
                    }
                }
            });
            let explorers: Vec<_> = (0..count)
                .map(|index| {
                    let who = format!("r{index}");
                    let client = self.client(&who);
                    let config = config(&who, Direction::assign(directions, index));
                    let stop = &stop;
                    scope.spawn(move || run_explorer(&client, &config, around(stop, &|_| {})))
                })
                .collect();
            let ends: Vec<_> = explorers.into_iter().map(|thread| thread.join()).collect();
            over.store(true, Ordering::Relaxed);
            ends.into_iter().map(|end| end.unwrap().unwrap()).collect()
        })
    }
}

pub(crate) fn config(who: &str, direction: Direction) -> ExplorerConfig {
    let seed = Seed(7).derive(who, 0);
    ExplorerConfig {
        spread: false,
        ..ExplorerConfig::new(name(who), direction, seed)
    }
}

/// Surroundings without any pause worth the name.
pub(crate) fn around<'a>(
    stop: &'a AtomicBool,
    progress: &'a dyn Fn(&Progress),
) -> Surroundings<'a> {
    Surroundings {
        stop,
        pause: &|_| std::thread::sleep(Duration::from_millis(1)),
        progress,
    }
}

/// What playing compute comes to.
pub(crate) enum Played {
    /// Predictions with this PGR.
    Pgr(f64),
    /// A trial with this share of label 1.
    Lopsided(f64),
    /// A failed run.
    Broken(&'static str),
}

/// A landscape whose best region no direction starts in.
pub(crate) fn landscape(recipe: &Recipe) -> f64 {
    let has = |kind: fn(&Refine) -> bool| recipe.refine.iter().any(kind);
    let gains = [
        (recipe.ensemble.over_layers, 0.2),
        (
            recipe.features.components.is_some_and(|count| count <= 64),
            0.1,
        ),
        (recipe.student.c <= 0.003, 0.1),
        (has(|r| matches!(r, Refine::KfoldRelabel { .. })), 0.15),
        (recipe.evolve.is_some(), -0.15),
        (
            matches!(
                recipe.labels,
                Labels::Consistency { .. } | Labels::Principal { .. }
            ),
            -0.2,
        ),
    ];
    0.1 + gains
        .iter()
        .filter(|(there, _)| *there)
        .map(|(_, gain)| gain)
        .sum::<f64>()
}

fn play(hub: &Hub, job: &Job, truth: &dyn Fn(&Recipe) -> Played) {
    let recipe = Recipe::from_toml(std::str::from_utf8(&job.files[RECIPE_FILE]).unwrap()).unwrap();
    match (job.run, truth(&recipe)) {
        (Run::Experiment(id), played) => {
            assert_eq!(job.trial.rows, Some(400));
            let (end, rate) = match played {
                Played::Pgr(_) => (RunEnd::Good, 0.5),
                Played::Lopsided(rate) => (RunEnd::Good, rate),
                Played::Broken(why) => (
                    RunEnd::Failed {
                        reason: why.to_owned(),
                    },
                    0.5,
                ),
            };
            let output = format!("{{\"weak_agreement\": 0.8, \"positive_rate\": {rate}}}\n");
            let outcome = ExperimentOutcome {
                end,
                output,
                compute_seconds: 0.1,
            };
            hub.finish_experiment(id, outcome).unwrap();
        }
        (Run::Evaluation(id), Played::Pgr(pgr)) => {
            let accuracy = WEAK + pgr * (CEILING - WEAK);
            let wrong = ((1.0 - accuracy) * ROWS as f64) as usize;
            let flip = |(row, label): (usize, Label)| match row < wrong {
                true => label.flipped(),
                false => label,
            };
            let predictions: Vec<Label> = labels().into_iter().enumerate().map(flip).collect();
            let all = vec![predictions; job.seeds.len()];
            hub.finish_evaluation(id, EvaluationOutcome::Predictions(all), 1.0)
                .unwrap();
        }
        (Run::Evaluation(_), _) => panic!("a hopeless recipe got past its trial"),
    }
}
