//! Budgets are hard: the ledger of a finished study shows it.

use crate::study::finished;
use aar_core::event::{Event, RunEnd};
use aar_core::id::Name;
use std::collections::BTreeMap;

#[test]
fn no_researcher_spends_more_than_its_budget() {
    let study = finished();
    let Event::StudyOpened { study: opened, .. } = &study.entries[0].event else {
        panic!("{:?}", study.entries[0]);
    };
    let mut evaluations: BTreeMap<&Name, u64> = BTreeMap::new();
    let mut experiments: BTreeMap<&Name, u64> = BTreeMap::new();
    for entry in &study.entries {
        match &entry.event {
            Event::EvaluationEnded {
                researcher,
                end: RunEnd::Good,
                ..
            } => {
                *evaluations.entry(researcher).or_default() += 1;
            }
            Event::ExperimentEnded { researcher, .. } => {
                *experiments.entry(researcher).or_default() += 1;
            }
            _ => {}
        }
    }
    let budget = opened.budget;
    let researchers: Vec<Name> = (1..=opened.researchers)
        .map(|number| format!("r{number}").parse().unwrap())
        .collect();
    for researcher in &researchers {
        let spent = [&evaluations, &experiments].map(|of| of.get(researcher).copied().unwrap_or(0));
        assert!(
            spent[0] <= budget.evaluations && spent[1] <= budget.experiments,
            "{spent:?}"
        );
    }
    assert!(
        researchers.iter().any(|one| evaluations.contains_key(one)),
        "nobody evaluated"
    );
}

#[test]
fn everything_that_was_asked_for_has_ended() {
    let (mut asked, mut ended) = (0, 0);
    for entry in &finished().entries {
        match entry.event {
            Event::EvaluationRequested { .. } | Event::ExperimentRequested { .. } => asked += 1,
            Event::EvaluationEnded { .. } | Event::ExperimentEnded { .. } => ended += 1,
            _ => {}
        }
    }
    assert!(asked > 0);
    assert_eq!(asked, ended);
}
