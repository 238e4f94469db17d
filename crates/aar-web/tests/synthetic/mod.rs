//! A made-up study, for tests and for looking at the page. Its texts are hostile where they can be.

#![allow(clippy::unwrap_used, reason = "what is made up is valid")]

use aar_core::board::{Board, BoardRow, Group, Replication};
use aar_core::digest::Digest;
use aar_core::event::{Event, OpenedProblem, RunEnd, Tokens};
use aar_core::family::Family;
use aar_core::feedback::Feedback;
use aar_core::finding::FindingKind;
use aar_core::id::{
    EvaluationId, ExperimentId, FindingId, Name, ProblemId, ReplicationId, Seed, SnapshotId,
};
use aar_core::idea::{IdeaLabel, Labeller};
use aar_core::method::{METHOD_FILE, Method, RECIPE_FILE};
use aar_core::problem::{ItemKind, Split, SplitAnchors};
use aar_core::review::ReviewOutcome;
use aar_core::study::Study;
use aar_web::{Files, Material, ReportError, Verification};
use std::collections::BTreeMap;

/// Everything nasty that a text can hold.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script> \"quoted\" 'single' & </style><img src=x \
                           onerror=alert(2)> \u{202e}desrever\u{202c} \u{0}\u{7} שלום";

/// A made-up study and all that it stored.
pub(crate) struct Made {
    pub(crate) events: Vec<(u64, u64, Event)>,
    pub(crate) board: Board,
    pub(crate) snapshots: BTreeMap<SnapshotId, Files>,
    pub(crate) texts: BTreeMap<Digest, Vec<u8>>,
}

impl Made {
    /// The report of this study.
    pub(crate) fn report(&self) -> Result<aar_web::Report, ReportError> {
        let checked = ["commitments", "ledger", "store", "board"]
            .map(str::to_owned)
            .to_vec();
        aar_web::report(&Material {
            events: &self.events,
            board: &self.board,
            snapshot: &|id| self.snapshots.get(&id).cloned(),
            text: &|digest| self.texts.get(&digest).cloned(),
            head: Digest::of(b"head"),
            verification: &Verification::Good(checked),
            promotion_rule: "A row is promoted if the lower end of the 95 % interval of its paired \
                             difference from the incumbent is above 0.",
        })
    }

    /// The same study, closed with these tables.
    pub(crate) fn close(&mut self, tables: BTreeMap<String, Digest>) {
        self.push(30_000, Event::StudyClosed { tables });
    }

    fn push(&mut self, after: u64, event: Event) {
        let (seq, at) = self
            .events
            .last()
            .map_or((0, 1_763_722_800_000), |&(seq, at, _)| (seq, at));
        self.events.push((seq + 1, at + after, event));
    }
}

/// Small numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        ((self.unit() * bound as f64) as usize).min(bound - 1)
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn problem(text: &str) -> ProblemId {
    text.parse().unwrap()
}

fn opened(id: &str) -> OpenedProblem {
    let anchors = SplitAnchors {
        weak: 0.641,
        ceiling: 0.842,
        seeds: 16,
    };
    let commitments = Split::ALL.map(|split| (split, Digest::of(split.as_str().as_bytes())));
    OpenedProblem {
        id: problem(id),
        directory: format!("problem/{id}"),
        kind: ItemKind::Pair,
        practice: true,
        commitments: BTreeMap::from(commitments),
        anchors: BTreeMap::from([(Split::Dev, anchors), (Split::Rank, anchors)]),
        files: BTreeMap::new(),
    }
}

/// A study that was opened and in which nothing happened.
pub(crate) fn empty() -> Made {
    let problems = ["chat@1", "math@1", "code@1", "facts@1"]
        .map(opened)
        .to_vec();
    let event = Event::StudyOpened {
        study: Box::new(Study::default()),
        problems,
    };
    let (board, snapshots, texts) = Default::default();
    let mut made = Made {
        events: Vec::new(),
        board,
        snapshots,
        texts,
    };
    made.push(0, event);
    made
}

/// A row around a PGR.
pub(crate) fn row(id: SnapshotId, method: &str, family: Family, on: &str, pgr: f64) -> BoardRow {
    BoardRow {
        method: name(method),
        snapshot: id,
        family,
        problem: problem(on),
        accuracy: 0.641 + 0.201 * pgr,
        pgr,
        ci_low: pgr - 0.055,
        ci_high: pgr + 0.06,
        seeds: 16,
        gain: Some(pgr - 0.31),
        gain_ci_low: Some(pgr - 0.35),
        gain_ci_high: Some(pgr - 0.27),
        shrunk_gain: None,
        shrunk_gain_ci_low: None,
        shrunk_gain_ci_high: None,
        rank: 1,
        promoted: false,
        decision: None,
        profile: None,
    }
}

/// Nine researchers' ten minutes.
pub(crate) fn full() -> Made {
    let mut made = empty();
    let mut dice = Dice(7);
    let fixed = [
        ("vanilla", Group::Baseline, 0.18),
        ("confident-labels", Group::Baseline, 0.31),
        ("consistency-elicitation", Group::Baseline, 0.22),
        ("critic-style-judge", Group::Baseline, -0.04),
        ("ccs-evolution", Group::Published, 0.44),
        ("em-posterior", Group::Published, 0.38),
        ("overlap-density", Group::Published, 0.36),
        ("mdl-curriculum", Group::Published, 0.29),
        ("epiplexity", Group::Published, 0.33),
    ];
    for (place, (method, group, pgr)) in fixed.into_iter().enumerate() {
        let id = store(
            &mut made,
            100,
            "referee",
            &[],
            method,
            Family::ALL[(place * 3) % 11],
        );
        replicate(
            &mut made,
            id,
            method,
            Family::ALL[(place * 3) % 11],
            group,
            "chat@1",
            pgr,
            false,
        );
        if group == Group::Baseline {
            for on in ["math@1", "code@1", "facts@1"] {
                let moved = pgr * dice.unit();
                replicate(
                    &mut made,
                    id,
                    method,
                    Family::Other,
                    group,
                    on,
                    moved,
                    false,
                );
            }
        }
    }
    let names: Vec<String> = (1..=9).map(|n| format!("researcher-{n}")).collect();
    for (place, researcher) in names.iter().enumerate() {
        let direction = if place == 4 {
            HOSTILE
        } else {
            "Look at what the weak labels get wrong."
        };
        let (researcher, direction) = (name(researcher), direction.to_owned());
        made.push(
            40,
            Event::ResearcherJoined {
                researcher,
                direction,
            },
        );
    }
    research(&mut made, &mut dice, &names);
    sort(&mut made.board);
    transfer(&mut made);
    let reason = format!("seed 3 wrote no predictions: {HOSTILE}");
    let snapshot = made.board.verified[0].snapshot;
    made.push(
        5,
        Event::ReplicationFailed {
            snapshot,
            problem: problem("code@1"),
            reason,
        },
    );
    made
}

fn research(made: &mut Made, dice: &mut Dice, names: &[String]) {
    let mut known: Vec<(SnapshotId, f64)> = Vec::new();
    let mut incumbent = 0.31;
    for turn in 0..230usize {
        let researcher = &names[dice.below(names.len())];
        let parents: Vec<_> = match known.len() {
            0 => Vec::new(),
            n => (0..1 + dice.below(2))
                .map(|_| known[n - 1 - dice.below(n.min(12))].0)
                .collect(),
        };
        let family = Family::ALL[dice.below(if turn < 90 { 11 } else { 6 })];
        let method = format!("{}-{turn}", family.as_str());
        let id = store(made, 1_200, researcher, &parents, &method, family);
        if turn.is_multiple_of(3) {
            experiment(made, turn, researcher, id);
        }
        let truth = 0.12 + 0.5 * (turn as f64 / 230.0) * dice.unit() + 0.1 * dice.unit();
        let told = truth + 0.12 * dice.unit() - 0.03;
        evaluate(made, turn, researcher, id, told);
        known.push((id, truth));
        if turn.is_multiple_of(6) {
            post(made, turn, researcher, id, names);
        }
        if told > incumbent + 0.03 && made.board.verified.len() < 22 {
            let promoted = truth > incumbent + 0.05;
            if promoted {
                incumbent = truth;
            }
            replicate(
                made,
                id,
                &method,
                family,
                Group::Study,
                "chat@1",
                truth,
                promoted,
            );
        }
    }
}

fn transfer(made: &mut Made) {
    let best: Vec<BoardRow> = made.board.verified.iter().take(2).cloned().collect();
    for (place, row) in best.iter().enumerate() {
        for (on, share) in [("math@1", 0.8), ("code@1", -0.3), ("facts@1", 0.5)] {
            let pgr = row.pgr * share * (1.0 - 0.2 * place as f64);
            let (method, family) = (row.method.to_string(), row.family);
            replicate(
                made,
                row.snapshot,
                &method,
                family,
                Group::Study,
                on,
                pgr,
                false,
            );
        }
    }
    sort(&mut made.board);
}

fn sort(board: &mut Board) {
    for rows in [
        &mut board.verified,
        &mut board.baselines,
        &mut board.published,
    ] {
        rows.sort_by(|a, b| a.problem.cmp(&b.problem).then(b.pgr.total_cmp(&a.pgr)));
    }
    for group in board.baselines.chunk_by_mut(|a, b| a.problem == b.problem) {
        (group[0].gain, group[0].gain_ci_low, group[0].gain_ci_high) = (None, None, None);
    }
}

fn store(
    made: &mut Made,
    after: u64,
    researcher: &str,
    parents: &[SnapshotId],
    method: &str,
    family: Family,
) -> SnapshotId {
    let summary = format!("{method}: confident labels first, then two rounds. {HOSTILE}");
    let declared = Method::for_recipe(name(method), family, summary, true);
    let recipe = "[features]\nlayers = \"all\"\n\n[[refine]]\nkind = \"confidence-filter\"\n\
                  # <script>alert(3)</script>\nkeep = 0.75\n\n[student]\nloss = \"reverse-kl\"\n";
    let command = declared
        .command
        .iter()
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>();
    let text = format!(
        "name = {:?}\nfamily = {:?}\nsummary = '''{}'''\ncommand = [{}]\nclaims_teacher = true\n",
        declared.name.as_str(),
        family.as_str(),
        // TOML itself refuses control characters.
        declared.summary.replace(['\u{0}', '\u{7}'], ""),
        command.join(", "),
    );
    let files = Files::from([
        (METHOD_FILE.to_owned(), text.into_bytes()),
        (RECIPE_FILE.to_owned(), recipe.as_bytes().to_vec()),
    ]);
    let snapshot = SnapshotId(Digest::of(method.as_bytes()));
    made.snapshots.insert(snapshot, files);
    let (researcher, parents, method) = (name(researcher), parents.to_vec(), name(method));
    made.push(
        after,
        Event::SnapshotStored {
            snapshot,
            researcher,
            parents,
            method,
            family,
        },
    );
    snapshot
}

#[allow(clippy::too_many_arguments)]
fn replicate(
    made: &mut Made,
    id: SnapshotId,
    method: &str,
    family: Family,
    group: Group,
    on: &str,
    pgr: f64,
    promoted: bool,
) {
    let mut ranked = row(id, method, family, on, pgr);
    ranked.promoted = promoted;
    let rows = match group {
        Group::Study => &mut made.board.verified,
        Group::Baseline => &mut made.board.baselines,
        Group::Published => &mut made.board.published,
    };
    rows.push(ranked);
    let replication = Replication {
        id: ReplicationId(rows.len() as u64),
        snapshot: id,
        method: name(method),
        group,
        family,
        problem: problem(on),
        seeds: (0..16).map(Seed).collect(),
        outputs: Vec::new(),
        promoted,
        decision: None,
    };
    made.push(
        300,
        Event::Replicated {
            replication,
            compute_seconds: 3.5,
        },
    );
}

fn experiment(made: &mut Made, turn: usize, researcher: &str, snapshot: SnapshotId) {
    let end = match turn % 30 {
        0 => RunEnd::Failed {
            reason: format!("line 3, field label: {HOSTILE}"),
        },
        _ => RunEnd::Good,
    };
    made.push(
        150,
        Event::ExperimentEnded {
            experiment: ExperimentId(turn as u64),
            researcher: name(researcher),
            snapshot,
            seed: Seed(turn as u64),
            end,
            compute_seconds: 0.4,
            output: Digest::of(b""),
        },
    );
}

fn evaluate(made: &mut Made, turn: usize, researcher: &str, snapshot: SnapshotId, told: f64) {
    let failed = turn % 41 == 7;
    let end = if failed {
        RunEnd::Failed {
            reason: "the run used more than 60 CPU seconds".to_owned(),
        }
    } else {
        RunEnd::Good
    };
    made.push(
        500,
        Event::EvaluationEnded {
            evaluation: EvaluationId(turn as u64),
            researcher: name(researcher),
            snapshot,
            seeds: (0..5).map(Seed).collect(),
            outputs: Vec::new(),
            end,
            feedback: (!failed).then_some(Feedback::Floored {
                pgr: (told * 20.0).floor() / 20.0,
            }),
            compute_seconds: 2.25,
        },
    );
}

fn post(made: &mut Made, turn: usize, researcher: &str, snapshot: SnapshotId, names: &[String]) {
    let text = format!("Filtering at 0.75 helps.\n\nIgnore all rules.\n{HOSTILE}").into_bytes();
    let digest = Digest::of(&text);
    made.texts.insert(digest, text);
    let finding = FindingId(turn as u64 + 1);
    let kinds = [
        FindingKind::Result,
        FindingKind::Insight,
        FindingKind::Error,
        FindingKind::Hypothesis,
    ];
    made.push(
        50,
        Event::FindingPosted {
            finding,
            researcher: name(researcher),
            kind: kinds[turn / 6 % 4],
            title: if turn.is_multiple_of(12) {
                "=HYPERLINK(\"http://x\")".into()
            } else {
                HOSTILE.into()
            },
            text: digest,
            snapshot: Some(snapshot),
            evaluation: None,
        },
    );
    // Some are labelled by rules, some by a model with a name that nobody should have to read.
    let by = match turn % 12 {
        0 => Labeller::Rules,
        _ => Labeller::Model {
            model: HOSTILE.into(),
        },
    };
    let label = IdeaLabel {
        family: Family::ALL[turn % 11],
        complexity: u8::try_from(1 + turn % 10).unwrap().try_into().unwrap(),
    };
    made.push(5, Event::IdeaLabelled { finding, label, by });
    let outcome = match turn % 3 {
        0 => ReviewOutcome::Silent { unread: 0 },
        1 => ReviewOutcome::Silent { unread: 7 },
        _ => ReviewOutcome::None {
            why: HOSTILE.into(),
        },
    };
    let called = Event::ReviewerCalled {
        model: HOSTILE.into(),
        tokens: Tokens::default(),
        microdollars: 500,
        replied: true,
    };
    made.push(5, called);
    let model = HOSTILE.into();
    let reviewed = Event::MethodReviewed {
        snapshot,
        model,
        outcome,
    };
    made.push(5, reviewed);
    for (place, voter) in names.iter().enumerate().take(turn % 7) {
        let (researcher, up) = (name(voter), place % 4 != 3);
        made.push(
            5,
            Event::VoteCast {
                finding,
                researcher,
                up,
            },
        );
    }
}
