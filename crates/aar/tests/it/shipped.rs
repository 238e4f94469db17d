//! The shipped activations are what the published weights give.

use crate::program::aar;

/// Every N-th group of the four pools, so that all of them together take less than a minute.
const SAMPLES: [(&str, &str); 4] = [
    ("chat", "100"),
    ("math", "100"),
    ("code", "100"),
    ("facts", "100"),
];

/// `AAR_WEIGHTS` names a directory as made by `scripts/fetch_weights.py`. CI always sets it;
/// elsewhere the models may be missing, because nothing but this needs them.
#[test]
fn remade_activations_agree_with_the_shipped_ones() {
    let Some(weights) = std::env::var_os("AAR_WEIGHTS") else {
        assert!(std::env::var_os("CI").is_none(), "CI must set AAR_WEIGHTS");
        println!("AAR_WEIGHTS is not set: the shipped activations were not remade");
        return;
    };
    let weights = std::path::absolute(weights).unwrap();
    for (problem, every) in SAMPLES {
        let weights = weights.to_str().unwrap();
        let answer = aar(&[
            "problem",
            "build",
            problem,
            "--every",
            every,
            "--weights",
            weights,
        ]);
        assert_eq!(answer.code, Some(0), "{problem}: {answer:?}");
        let agreeing = answer
            .stdout
            .lines()
            .filter(|line| line.contains("agrees"))
            .count();
        assert!(
            agreeing >= 3 && agreeing == answer.stdout.lines().count(),
            "{answer:?}"
        );
    }
}

#[test]
fn missing_weights_are_named_with_the_way_to_fetch_them() {
    let empty = tempfile::tempdir().unwrap();
    let weights = empty.path().to_str().unwrap();
    let answer = aar(&[
        "problem",
        "build",
        "facts",
        "--every",
        "100",
        "--weights",
        weights,
    ]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(
        answer.stderr.contains("pip install") && answer.stderr.contains(weights),
        "{answer:?}"
    );
}
