use super::*;
use aar_core::digest::Digest;
use aar_core::id::{EvaluationId, Secret, Seed};
use std::collections::BTreeMap;

const ROWS: usize = 2_000;
const SEEDS: usize = 5;

/// 32 bits that depend on all of `words`.
fn draw(words: &[u64]) -> f64 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let digest = Digest::of(&bytes);
    let bytes = digest.as_bytes();
    f64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) / f64::from(u32::MAX)
}

/// A model: rows have a depth, teachers and settings shift and blur it.
fn model(setting: f64) -> Vec<Vec<Label>> {
    let predict = |seed: usize, row: usize| {
        let depth = draw(&[1, row as u64]) - 0.5;
        let teacher = draw(&[2, seed as u64, row as u64]) - 0.5;
        let own = draw(&[3, seed as u64, row as u64, 7]) - 0.5;
        Label::from(depth + 0.6 * teacher + setting * own > 0.0)
    };
    (0..SEEDS)
        .map(|seed| (0..ROWS).map(|row| predict(seed, row)).collect())
        .collect()
}

fn program(data: &str) -> Files {
    let method = "name = \"m\"\nfamily = \"other\"\nsummary = \"s\"\ncommand = [\"sh\", \"run.sh\"]\nclaims_teacher = true\n";
    let run = format!("python3 fit.py --rows '{data}'\n");
    BTreeMap::from([
        ("method.toml".to_owned(), method.as_bytes().to_vec()),
        ("run.sh".to_owned(), run.into_bytes()),
    ])
}

fn evaluated(number: u64, files: Files, outputs: Vec<Vec<Label>>) -> Evaluated {
    Evaluated {
        researcher: "eve".parse().unwrap(),
        snapshot: SnapshotId(Digest::of(&number.to_le_bytes())),
        parents: Vec::new(),
        files,
        outputs,
    }
}

/// Eight honest evaluations of one program with other settings.
fn history() -> Vec<Evaluated> {
    (0..8u32)
        .map(|at| {
            let setting = 0.02 * f64::from(at);
            evaluated(
                u64::from(at),
                program(&format!("{setting}")),
                model(setting),
            )
        })
        .collect()
}

fn flipped(mut outputs: Vec<Vec<Label>>, rows: impl Fn(usize) -> bool) -> Vec<Vec<Label>> {
    for output in &mut outputs {
        for (_, label) in output.iter_mut().enumerate().filter(|(row, _)| rows(*row)) {
            *label = label.flipped();
        }
    }
    outputs
}

fn kinds(signals: &[Signal]) -> Vec<Suspicion> {
    signals.iter().map(|signal| signal.suspicion).collect()
}

#[test]
fn flips_of_chosen_rows_are_seen_and_other_settings_are_not() {
    let history = history();
    for (at, one) in history.iter().enumerate() {
        assert_eq!(examine(one, &history[..at]), [], "evaluation {at}");
    }
    // Two rows, as a climber flips them; and forty, scattered.
    for flips in [2, 40] {
        let probe = flipped(model(0.0), |row| row % (ROWS / flips) == 7);
        let latest = evaluated(99, program("7,57,107"), probe);
        let found = near_duplicate(&latest, &history).unwrap();
        assert!(found.weight >= aar_core::case::FLAG_SNAPSHOT, "{found:?}");
    }
    // The same flips by another program may be a rule about the rows' texts.
    let mut rule = program("");
    rule.insert(
        "rule.py".to_owned(),
        b"if ' not ' in text: flip(row)\n".to_vec(),
    );
    let probe = flipped(model(0.0), |row| row % 50 == 7);
    let found = near_duplicate(&evaluated(99, rule, probe), &history).unwrap();
    assert!(found.weight < aar_core::case::FLAG_SNAPSHOT, "{found:?}");
}

#[test]
fn a_block_of_rows_is_seen_and_with_the_flips_disqualifies() {
    let history = history();
    let probe = flipped(model(0.0), |row| (400..520).contains(&row));
    let mut latest = evaluated(99, program("400-520"), probe);
    latest.parents = vec![history[0].snapshot];
    let signals = examine(&latest, &history);
    let sum: f64 = signals.iter().map(|signal| signal.weight).sum();
    assert_eq!(
        kinds(&signals),
        [Suspicion::NearDuplicate, Suspicion::BlockDifference]
    );
    assert!(sum >= aar_core::case::DISQUALIFY_SNAPSHOT, "{signals:?}");
}

#[test]
fn random_vectors_are_seen_and_do_not_flag_alone() {
    let history = history();
    let random = |number: u64| {
        let row =
            |seed: usize, row: usize| Label::from(draw(&[number, seed as u64, row as u64]) > 0.5);
        let output = |seed| (0..ROWS).map(|at| row(seed, at)).collect();
        evaluated(number, program("r"), (0..SEEDS).map(output).collect())
    };
    let first = examine(&random(1_000), &history);
    assert_eq!(kinds(&first), [Suspicion::Uncorrelated]);
    let mut longer = history;
    longer.push(random(1_000));
    let second = uncorrelated(&random(1_001), &longer).unwrap();
    assert!(second.weight > first[0].weight && second.weight < aar_core::case::FLAG_SNAPSHOT);
}

#[test]
fn one_class_is_implausible_and_a_chance_level_model_is_not() {
    let history = history();
    let constant = vec![vec![Label::One; ROWS]; SEEDS];
    let constant = evaluated(99, program("1"), constant);
    let found = implausible(&constant, &history).unwrap();
    // The same oddity is not counted twice.
    assert!(uncorrelated(&constant, &history).is_none());
    assert!(found.weight < aar_core::case::FLAG_SNAPSHOT);
    assert_eq!(
        implausible(&evaluated(99, program("c"), model(9.0)), &history),
        None
    );
}

#[test]
fn an_ensemble_and_the_same_recipe_found_twice_are_clean() {
    let history = history();
    let vote = |seed: usize, row: usize| {
        let ones = history
            .iter()
            .filter(|one| one.outputs[seed][row] == Label::One)
            .count();
        Label::from(2 * ones > history.len())
    };
    let ensemble = (0..SEEDS)
        .map(|seed| (0..ROWS).map(|row| vote(seed, row)).collect())
        .collect();
    assert_eq!(
        examine(&evaluated(99, program("all"), ensemble), &history),
        []
    );
    let mut twin = evaluated(100, program("0.02"), model(0.02));
    twin.researcher = "ann".parse().unwrap();
    assert_eq!(examine(&twin, &history), []);
    // Teacher-free: the same output under every teacher, tuned in a few steps.
    let free = |at: u64, shift: f64| {
        let predict = |row: usize| Label::from(draw(&[1, row as u64]) > 0.5 + shift);
        let output: Vec<Label> = (0..ROWS).map(predict).collect();
        evaluated(at, program(&format!("{shift}")), vec![output; SEEDS])
    };
    let mut longer = history;
    for at in 0..6u32 {
        let next = free(200 + u64::from(at), 0.005 * f64::from(at));
        assert_eq!(examine(&next, &longer), [], "step {at}");
        longer.push(next);
    }
}

#[test]
fn code_that_gives_another_output_is_told_from_rounding() {
    let output = &model(0.0)[0];
    assert_eq!(compare(output, output), (1.0, Reproduction::Same));
    let some = |one_in: usize| flipped(vec![output.clone()], |row| row % one_in == 0).remove(0);
    assert_eq!(compare(output, &some(200)).1, Reproduction::Same);
    assert_eq!(compare(output, &some(40)).1, Reproduction::Close);
    assert_eq!(compare(output, &some(4)).1, Reproduction::Different);
    assert_eq!(compare(output, &[]).1, Reproduction::Different);
}

#[test]
fn a_fifth_is_chosen_and_another_secret_chooses_others() {
    let chosen = |seed| {
        let secret = Secret::of_seed(Seed(seed));
        (0..2_000)
            .filter(|&id| choose_share(&secret, EvaluationId(id)))
            .collect::<Vec<_>>()
    };
    let (one, other) = (chosen(1), chosen(2));
    assert!((300..500).contains(&one.len()), "{}", one.len());
    assert_ne!(one, other);
}

#[test]
fn a_gap_beyond_the_splits_difficulty_is_seen() {
    let scored = |accuracy: f64, rows, middle| Scored {
        accuracies: (0..SEEDS)
            .map(|seed| accuracy + 0.002 * seed as f64)
            .collect(),
        rows,
        middle,
    };
    let rank = scored(0.72, 6_000, 0.75);
    assert_eq!(dev_rank_gap(&scored(0.74, ROWS, 0.77), &rank), None);
    assert_eq!(dev_rank_gap(&scored(0.73, ROWS, 0.75), &rank), None);
    let found = dev_rank_gap(&scored(0.80, ROWS, 0.75), &rank).unwrap();
    assert!(found.weight > aar_core::case::FLAG_SNAPSHOT, "{found:?}");
}

#[test]
fn unscored_seeds_beside_a_scored_one_are_seen_and_reported_ones_are_not() {
    let tried = |seed: u64, evaluated| Tried {
        researcher: "eve".parse().unwrap(),
        snapshot: SnapshotId(Digest::of(&seed.to_le_bytes())),
        files: {
            let mut files = program("x");
            files.insert(
                "fit.py".to_owned(),
                format!("random_state = {seed}\n").into_bytes(),
            );
            files
        },
        evaluated,
    };
    let picked: Vec<_> = (0..20).map(|seed| tried(seed, seed == 13)).collect();
    let found = picked_seeds(&picked);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, picked[13].snapshot);
    let open: Vec<_> = (0..20).map(|seed| tried(seed, true)).collect();
    assert!(picked_seeds(&open).is_empty());
    let few: Vec<_> = (0..6).map(|seed| tried(seed, seed == 3)).collect();
    assert!(picked_seeds(&few).is_empty());
}

#[test]
fn prying_is_noted_below_what_flags_and_ordinary_programs_are_clean() {
    let mut files = program("x");
    assert_eq!(prying(&files), None);
    let pry = "import subprocess\nfor row in rows: exec(row['choice'])\nopen('/proc/1/root/vault/labels')\n";
    files.insert("fit.py".to_owned(), pry.as_bytes().to_vec());
    let found = prying(&files).unwrap();
    assert!(found.weight > 2.0 && found.weight < aar_core::case::FLAG_SNAPSHOT);
    files.insert(
        "fit.py".to_owned(),
        b"# exec( is not used\nprint(1)\n".to_vec(),
    );
    assert_eq!(prying(&files), None);
}
