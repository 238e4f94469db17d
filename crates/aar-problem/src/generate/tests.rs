use super::*;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};

fn pool(problem: BuiltinProblem) -> Vec<Generated> {
    generate(problem).expect("the embedded tables are well formed")
}

fn by_group(pool: &[Generated]) -> HashMap<&str, Vec<&Generated>> {
    let mut groups: HashMap<&str, Vec<&Generated>> = HashMap::new();
    for row in pool {
        groups.entry(&row.group).or_default().push(row);
    }
    groups
}

/// The parts of a row that must not occur in another group.
fn distinctive(problem: BuiltinProblem, item: &Item) -> Vec<String> {
    match item {
        Item::Pair {
            prompt,
            first,
            second,
        } => {
            vec![prompt.clone(), first.clone(), second.clone()]
        }
        // A statement is a subject (word or city) and a class, and classes are shared by design.
        Item::Claim { choice, .. } if problem == BuiltinProblem::Facts => {
            let subject = choice
                .split_once(" refers to ")
                .or(choice.split_once(" is located in "));
            vec![subject.expect("a statement of a known form").0.to_owned()]
        }
        // The claims of `code` are as distinctive as its functions; a solution of `math` is not.
        Item::Claim { question, choice } if problem == BuiltinProblem::Code => {
            vec![question.clone(), choice.clone()]
        }
        Item::Claim { question, .. } => vec![question.clone()],
    }
}

#[test]
fn pools_fill_their_splits_with_whole_groups() {
    for problem in BuiltinProblem::ALL {
        let pool = pool(problem);
        let size = if problem == BuiltinProblem::Chat {
            6
        } else {
            4
        };
        let sizes = problem.split_sizes();
        assert!(
            pool.len() >= sizes.total(),
            "{problem:?}: {} rows",
            pool.len()
        );
        assert!(
            pool.len() <= sizes.total() + 400,
            "{problem:?}: rows that nobody uses cost time"
        );
        assert!(problem.teacher_labels() <= sizes.teacher);
        for part in [sizes.teacher, sizes.train, sizes.dev, sizes.rank] {
            assert_eq!(part % size, 0);
        }
        for (group, rows) in by_group(&pool) {
            assert_eq!(rows.len(), size, "{group}");
        }
    }
}

#[test]
fn no_row_occurs_twice() {
    for problem in BuiltinProblem::ALL {
        let pool = pool(problem);
        let ids: HashSet<_> = pool.iter().map(|row| row.item.id()).collect();
        assert_eq!(ids.len(), pool.len(), "{problem:?}");
        // Nor the same pair with its answers exchanged.
        let swapped: HashSet<_> = pool.iter().map(|row| row.item.swapped().id()).collect();
        if problem == BuiltinProblem::Chat {
            assert!(ids.is_disjoint(&swapped));
        }
    }
}

#[test]
fn each_group_is_balanced_and_each_answer_is_right_as_often_as_wrong() {
    for problem in BuiltinProblem::ALL {
        for (group, rows) in by_group(&pool(problem)) {
            let ones = rows.iter().filter(|row| row.label == Label::One).count();
            assert_eq!(2 * ones, rows.len(), "{group}");
            let mut balance: HashMap<&str, i32> = HashMap::new();
            for row in rows {
                let sign = if row.label == Label::One { 1 } else { -1 };
                match &row.item {
                    Item::Pair { first, second, .. } => {
                        *balance.entry(second).or_default() += sign;
                        *balance.entry(first).or_default() -= sign;
                    }
                    Item::Claim { question, choice } if question.is_empty() => {
                        for word in choice.split(' ') {
                            *balance.entry(word).or_default() += sign;
                        }
                    }
                    Item::Claim { question, choice } => {
                        *balance.entry(question).or_default() += sign;
                        *balance.entry(choice).or_default() += sign;
                    }
                }
            }
            assert!(
                balance.values().all(|&sum| sum == 0),
                "{group}: {balance:?}"
            );
        }
    }
}

#[test]
fn no_content_stands_in_two_groups() {
    for problem in BuiltinProblem::ALL {
        let mut owners: HashMap<String, String> = HashMap::new();
        for row in pool(problem) {
            for text in distinctive(problem, &row.item) {
                let owner = owners
                    .entry(text.clone())
                    .or_insert_with(|| row.group.clone());
                assert_eq!(*owner, row.group, "{text:?}");
            }
        }
    }
}

#[test]
fn order_and_position_tell_no_label() {
    for problem in BuiltinProblem::ALL {
        let pool = pool(problem);
        let size = if problem == BuiltinProblem::Chat {
            6
        } else {
            4
        };
        for place in 0..size {
            let labels: Vec<f64> = pool
                .iter()
                .skip(place)
                .step_by(size)
                .map(|row| row.label.as_f64())
                .collect();
            let mean = labels.iter().sum::<f64>() / labels.len() as f64;
            assert!(
                (mean - 0.5).abs() < 0.05,
                "{problem:?} place {place}: {mean}"
            );
        }
    }
}

#[test]
fn texts_are_short_plain_ascii() {
    for problem in BuiltinProblem::ALL {
        for row in pool(problem) {
            for text in row.item.texts() {
                assert!(text.is_ascii() && text.len() <= 180, "{text:?}");
                assert!(
                    !text.contains(['{', '}', '\t', '\n']),
                    "unfilled blank in {text:?}"
                );
            }
        }
    }
}

/// Shipped activations belong to exactly these rows: a change here needs new activations.
#[test]
fn pools_are_frozen() {
    let digests = BuiltinProblem::ALL.map(|problem| {
        let mut hash = Sha256::new();
        for row in pool(problem) {
            hash.update(format!(
                "{} {} {}\n",
                row.group,
                row.item.id(),
                u8::from(row.label)
            ));
        }
        (problem, hex::encode(&hash.finalize()[..16]))
    });
    let golden = [
        (BuiltinProblem::Chat, "1d7c15ca12ca67c63f651d79920529ad"),
        (BuiltinProblem::Math, "7ddecd666975a9f4f0a9cbd3d6ccf6de"),
        (BuiltinProblem::Code, "9553311802c614826a196dbcb289f66d"),
        (BuiltinProblem::Facts, "84022dbca71ab233675e5c11bd200084"),
    ];
    assert_eq!(
        digests,
        golden.map(|(problem, digest)| (problem, digest.to_owned()))
    );
}

#[test]
fn malformed_tables_are_refused_with_their_line() {
    let error = table::<2>("x.tsv", "a\tb\n1\t2\n3\n").expect_err("line 3 has one column");
    assert_eq!(
        error.to_string(),
        "facts table x.tsv, line 3: expected 2 tab-separated columns"
    );
}

#[test]
fn names_lead_back_to_their_problem() {
    for problem in BuiltinProblem::ALL {
        assert_eq!(BuiltinProblem::from_name(problem.name()), Some(problem));
        assert!(
            problem
                .brief()
                .starts_with(&format!("# {}", problem.name()))
        );
    }
    assert_eq!(BuiltinProblem::from_name("poetry"), None);
}

#[test]
fn a_fresh_instance_shares_no_row_with_the_shipped_one() {
    for problem in [
        BuiltinProblem::Chat,
        BuiltinProblem::Math,
        BuiltinProblem::Code,
    ] {
        let shipped: HashSet<_> = pool(problem)
            .iter()
            .flat_map(|row| [row.item.id(), row.item.swapped().id()])
            .collect();
        let make = |seed| generate_fresh(problem, Seed(seed)).expect("there is enough");
        let fresh = make(7);
        assert!(fresh.iter().all(|row| !shipped.contains(&row.item.id())));
        let sizes = problem.split_sizes();
        assert!(fresh.len() >= sizes.total() - sizes.rank + FRESH_RANK);
        for (group, rows) in by_group(&fresh) {
            let ones = rows.iter().filter(|row| row.label == Label::One).count();
            assert_eq!(2 * ones, rows.len(), "{group}");
        }
        assert_eq!(fresh, make(7));
        assert_ne!(fresh, make(8));
    }
}

#[test]
fn facts_has_no_second_instance_and_says_so() {
    let refused = generate_fresh(BuiltinProblem::Facts, Seed(7)).expect_err("no other facts");
    let why = refused.to_string();
    assert!(
        why.starts_with("problem facts: the facts give 0 groups"),
        "{why}"
    );
}
