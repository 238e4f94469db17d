//! Several explorers: sharing, adopting, finding the planted region.

use crate::support::{House, Played, landscape};
use aar_core::budget::Budget;
use aar_core::finding::FindingKind;
use aar_core::id::FindingId;
use aar_core::recipe::Recipe;
use aar_core::study::Directions;
use aar_researcher::explorer::{Direction, End};
use std::collections::BTreeSet;

#[test]
fn nine_find_the_planted_region_together() {
    let house = House::new(Budget {
        evaluations: 12,
        experiments: 40,
        compute_seconds: 1_000.0,
        ..Budget::default()
    });
    let ends = house.run(Directions::Study, 9, |recipe| {
        Played::Pgr(landscape(recipe))
    });
    assert!(ends.iter().all(|end| end.end == End::Spent));

    // Better than any start, and near the top of 0.65.
    let start = (0..9)
        .flat_map(|i| Direction::assign(Directions::Study, i).starts().to_vec())
        .map(|recipe| landscape(&recipe))
        .fold(f64::MIN, f64::max);
    let board = house.hub.leaderboard().unwrap().provisional;
    let top = board[0].feedback.pgr().unwrap();
    assert!(top > start + 0.05 && top > 0.55, "start {start}, top {top}");

    // Each nominated what it trusts most: only the good.
    let nominated = house.hub.nominations().unwrap();
    assert!(!nominated.is_empty() && nominated.len() <= 9);
    let least = nominated
        .iter()
        .map(|row| row.feedback.pgr().unwrap())
        .fold(f64::MAX, f64::min);
    assert!(least > start, "start {start}, least {least}");

    // Nothing is evaluated twice, by whomever.
    let recipe = |snapshot| {
        let files = house.hub.snapshot_files(snapshot).unwrap();
        Recipe::from_toml(std::str::from_utf8(&files["recipe.toml"]).unwrap()).unwrap()
    };
    let different: BTreeSet<String> = board
        .iter()
        .map(|row| format!("{:?}", recipe(row.snapshot)))
        .collect();
    assert_eq!(different.len(), board.len());

    // They adopted from each other, thanked for it, and said what they learned.
    assert!(ends.iter().map(|end| end.votes).sum::<u64>() > 0);
    let adopted = board.iter().any(|row| {
        let child = house.hub.get_snapshot(row.snapshot).unwrap();
        let of_another =
            |parent| house.hub.get_snapshot(parent).unwrap().researcher != child.researcher;
        child.parents.into_iter().any(of_another)
    });
    assert!(adopted);
    let mut findings = house.hub.findings_since(FindingId(0), 100).unwrap();
    let last = findings.last().map_or(FindingId(0), |finding| finding.id);
    findings.extend(house.hub.findings_since(last, 100).unwrap());
    let count = |kind| {
        findings
            .iter()
            .filter(|finding| finding.kind == kind)
            .count()
    };
    assert!(count(FindingKind::Result) > 9);
    assert!(count(FindingKind::Insight) > 0);
    assert!(count(FindingKind::Hypothesis) > 0);
}

#[test]
fn an_undirected_team_starts_alike_and_still_goes_on() {
    let house = House::new(Budget {
        evaluations: 5,
        experiments: 20,
        compute_seconds: 1_000.0,
        ..Budget::default()
    });
    let ends = house.run(Directions::None, 3, |recipe| Played::Pgr(landscape(recipe)));
    assert!(ends.iter().all(|end| end.evaluations >= 5), "{ends:?}");
    let board = house.hub.leaderboard().unwrap().provisional;
    assert!(board.len() >= 13);
}

#[test]
fn a_team_that_hears_only_improved_or_not_climbs_far_above_vanilla() {
    let house = House::with_ladder(Budget {
        evaluations: 12,
        experiments: 40,
        compute_seconds: 1_000.0,
        ..Budget::default()
    });
    let ends = house.run(Directions::Study, 9, |recipe| {
        Played::Pgr(landscape(recipe))
    });
    assert!(
        ends.iter()
            .all(|end| end.end == End::Spent && end.dropped == 0),
        "{ends:?}"
    );
    let vanilla = landscape(&Recipe::default());
    let board = house.hub.leaderboard().unwrap().provisional;
    let told: Vec<f64> = board.iter().filter_map(|row| row.feedback.pgr()).collect();
    assert!(told.len() >= 3 && told.len() < board.len() / 2, "{told:?}");
    assert!(told[0] > vanilla + 0.25, "vanilla {vanilla}, told {told:?}");

    // What they found stands on what others were told: improvements are shared, adopted and thanked for.
    let findings = house.hub.findings_since(FindingId(0), 100).unwrap();
    let shared = findings
        .iter()
        .filter(|finding| finding.feedback.is_some_and(|told| told.pgr().is_some()));
    assert_eq!(shared.count(), told.len() - 1, "all but the baseline's");
    let top = house.hub.get_snapshot(board[0].snapshot).unwrap();
    assert!(!top.parents.is_empty());
    // Each trusts most a recipe with an answer, be it only *not improved*.
    assert!(ends.iter().all(|end| end.best.is_some()), "{ends:?}");
}
