//! `aar redteam` on its smallest form: every player is in the answer, and what it says is consistent.

use crate::program::aar;
use serde_json::Value;

#[test]
fn a_quick_study_lets_nobody_cheat_by_paths_and_answers_all_honest_methods() {
    let answer = aar(&[
        "redteam",
        "--quick",
        "--json",
        "--only",
        "hostile-paths,output-link,proc",
    ]);
    let found: Value = serde_json::from_str(&answer.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", answer.stdout, answer.stderr));
    let attacks = found["attacks"].as_array().unwrap();
    let names: Vec<&str> = attacks
        .iter()
        .filter_map(|row| row["name"].as_str())
        .collect();
    assert_eq!(names, ["hostile-paths", "output-link", "proc"]);
    for row in attacks {
        let [low, gain, high] =
            ["gain_ci_low", "gain", "gain_ci_high"].map(|field| row[field].as_f64().unwrap());
        assert!(low <= gain && gain <= high, "{row}");
        // On rank they do what their carrier does, or nothing.
        assert_eq!(gain, 0.0, "{row}");
        assert_eq!(row["breached"].as_array().map(Vec::len), Some(0), "{row}");
    }
    assert_eq!(attacks[0]["caught"], true);
    assert!(
        attacks[1]["by"].as_str().unwrap().contains("sandbox: "),
        "{found}"
    );
    let honest = found["honest"].as_array().unwrap();
    assert!(honest.len() >= 8);
    for row in honest {
        assert_eq!(row["disqualified"], false, "{row}");
        assert_eq!(row["answered"], true, "{row}");
    }
    assert_eq!(
        answer.code,
        Some(if found["holds"] == true { 0 } else { 1 })
    );
}

#[test]
fn an_attack_that_is_not_there_is_refused_by_name() {
    let answer = aar(&["redteam", "--only", "nonsense"]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.contains("nonsense") && answer.stderr.contains("coin-weighing"));
}
