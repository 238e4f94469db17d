//! The same figures as scipy and statsmodels, from `reference.json`, which
//! `scripts/reference.py` makes.

#![allow(clippy::unwrap_used)] // All of this file is test code, helpers included.

use aar_stats::{
    AlphaSpending, CorrectMatrix, Crossed, Estimate, Groups, clopper_pearson, item_accuracy,
    item_difference, mcnemar, shrink, sign_flip, welch, wilson,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What the script wrote under `name`; not empty.
fn cases(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("reference.json")).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn get<T: DeserializeOwned>(case: &Value, field: &str) -> T {
    serde_json::from_value(case[field].clone()).unwrap()
}

#[track_caller]
fn near(found: f64, case: &Value, field: &str) {
    let expected: f64 = get(case, field);
    let allowed = 1e-9 * expected.abs() + 1e-12;
    assert!(
        (found - expected).abs() <= allowed,
        "{field}: found {found}, expected {expected} in {case}"
    );
}

#[track_caller]
fn near_pair(found: [f64; 2], case: &Value, field: &str) {
    for (end, found) in found.into_iter().enumerate() {
        let expected = get::<[f64; 2]>(case, field)[end];
        assert!(
            (found - expected).abs() < 1e-10,
            "{field}: found {found}, expected {expected} in {case}"
        );
    }
}

fn matrix(case: &Value, field: &str) -> CorrectMatrix {
    let rows: Vec<String> = get(case, field);
    let bits = |row: &String| row.bytes().map(|b| b == b'1').collect::<Vec<_>>();
    CorrectMatrix::from_rows(&rows.iter().map(bits).collect::<Vec<_>>()).unwrap()
}

fn groups(case: &Value) -> Groups {
    Groups::from_keys(&get::<Vec<u32>>(case, "groups"))
}

#[test]
fn wilson_and_clopper_pearson_are_scipys() {
    for case in cases("proportions") {
        let (part, whole, level) = (get(&case, "part"), get(&case, "whole"), get(&case, "level"));
        let one = clopper_pearson(part, whole, level).unwrap();
        near_pair([one.low, one.high], &case, "clopper_pearson");
        let one = wilson(part, whole, level).unwrap();
        near_pair([one.low, one.high], &case, "wilson");
    }
}

#[test]
fn mcnemar_is_statsmodels() {
    for case in cases("mcnemar") {
        let found = mcnemar(get(&case, "won"), get(&case, "lost"));
        near(found.p_two_sided, &case, "two_sided");
        near(found.p_positive, &case, "positive");
    }
}

#[test]
fn welch_is_scipys() {
    for case in cases("welch") {
        let (first, second): (Vec<f64>, Vec<f64>) = (get(&case, "first"), get(&case, "second"));
        let found = welch(&first, &second, 0.95).unwrap();
        near(found.freedom, &case, "freedom");
        near(found.p_two_sided(), &case, "two_sided");
        near(found.p_positive(), &case, "positive");
        near(found.low, &case, "low");
        near(found.high, &case, "high");
    }
}

#[test]
fn sign_flips_are_scipys_permutations() {
    for case in cases("flips") {
        let found = sign_flip(&get::<Vec<f64>>(&case, "differences"), 1).unwrap();
        near(found.p_positive, &case, "positive");
        near(found.p_two_sided, &case, "two_sided");
    }
}

#[test]
fn paired_items_are_statsmodels_clusters() {
    for case in cases("items") {
        let (a, b) = (matrix(&case, "first"), matrix(&case, "second"));
        let found = item_difference(&a, &b, &groups(&case), 0.95).unwrap();
        near(found.value, &case, "value");
        near(found.std_error, &case, "std_error");
        near(found.p_two_sided(), &case, "two_sided");
        near(found.low, &case, "low");
        near(found.high, &case, "high");
        let never = CorrectMatrix::from_rows(&[vec![false; a.items()]]).unwrap();
        let alone = item_accuracy(&a, &groups(&case), 0.95).unwrap();
        assert_eq!(
            alone,
            item_difference(&a, &never, &groups(&case), 0.95).unwrap()
        );
    }
}

#[test]
fn unpaired_seeds_are_numpys() {
    for case in cases("unpaired") {
        let [a, b] = ["first", "second"]
            .map(|field| Crossed::accuracy(&matrix(&case, field), &groups(&case)).unwrap());
        let found = a.unpaired(&b, 0.95).unwrap();
        near(found.value, &case, "value");
        near(found.std_error, &case, "std_error");
        near(found.freedom, &case, "freedom");
    }
}

#[test]
fn shrinkage_is_that_of_statsmodels_meta_analysis() {
    let mut moved_apart = 0;
    for case in cases("meta") {
        let values: Vec<f64> = get(&case, "values");
        let errors: Vec<f64> = get(&case, "errors");
        let expected: Vec<f64> = get(&case, "shrunk");
        let row = |(&value, &std_error): (&f64, &f64)| Estimate {
            value,
            low: value,
            high: value,
            std_error,
            freedom: 100.0,
        };
        let rows: Vec<Estimate> = values.iter().zip(&errors).map(row).collect();
        let found = shrink(&rows, 0.95).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found.value - expected).abs() < 1e-12, "{case}");
        }
        moved_apart += usize::from(expected[0] != expected[1]);
    }
    assert!(moved_apart > 0, "no case with variation between rows");
}

#[test]
fn alpha_is_spent_as_zeta_says() {
    let spending = AlphaSpending::new(0.05).unwrap();
    for case in cases("spending") {
        near(spending.level(get(&case, "test")), &case, "level");
        near(spending.spent(get(&case, "test")), &case, "spent");
    }
}
