//! The parsers of what comes out of sandboxes: nothing makes them panic, nothing wrong passes.

use aar_core::row::{Item, Label, RowId};
use aar_problem::{
    PredictionError, read_predictions, read_weak_labels, write_predictions, write_weak_labels,
};
use proptest::prelude::*;

fn ids(count: usize) -> Vec<RowId> {
    let claim = |i| Item::Claim {
        question: String::new(),
        choice: format!("claim {i}"),
    };
    (0..count).map(|i| claim(i).id()).collect()
}

/// Lines with a chance of being nearly right, which plain random bytes never are.
fn line() -> impl Strategy<Value = String> {
    let id = prop_oneof![
        (0_usize..6).prop_map(|i| format!("\"{}\"", ids(6)[i])),
        Just("\"zz\"".to_owned()),
        Just("7".to_owned()),
    ];
    let label = prop_oneof![
        Just("0"),
        Just("1"),
        Just("2"),
        Just("1.0"),
        Just("null"),
        Just("1e99")
    ];
    let key = prop_oneof![Just("label"), Just("p"), Just("id"), Just("\\u001b[31m")];
    (id, key, label).prop_map(|(id, key, label)| format!("{{\"id\":{id},\"{key}\":{label}}}"))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read_predictions(&bytes, &ids(2));
        let _ = read_weak_labels(&bytes, &ids(2));
    }

    #[test]
    fn only_complete_files_pass(lines in prop::collection::vec(line(), 0..8)) {
        let text = lines.join("\n");
        if let Ok(labels) = read_predictions(text.as_bytes(), &ids(3)) {
            prop_assert_eq!(labels.len(), 3);
            prop_assert_eq!(lines.len(), 3);
        }
        if let Ok(weak) = read_weak_labels(text.as_bytes(), &ids(3)) {
            prop_assert!(weak.iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }

    #[test]
    fn errors_are_short_and_printable(text in ".{0,400}") {
        let line = format!("{{\"{}\":1}}", text.replace('"', "\\\""));
        if let Err(error) = read_predictions(line.as_bytes(), &ids(1)) {
            let error = error.to_string();
            prop_assert!(error.chars().count() < 500, "{}", error);
            prop_assert!(!error.chars().any(char::is_control), "{:?}", error);
        }
    }

    #[test]
    fn predictions_round_trip(labels in prop::collection::vec(any::<bool>(), 1..60), turn in 0_usize..60) {
        let labels: Vec<Label> = labels.into_iter().map(Label::from).collect();
        let ids = ids(labels.len());
        let text = write_predictions(&ids, &labels);
        prop_assert_eq!(&read_predictions(text.as_bytes(), &ids).unwrap(), &labels);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.rotate_left(turn % labels.len());
        let turned = lines.join("\r\n");
        prop_assert_eq!(read_predictions(turned.as_bytes(), &ids).unwrap(), labels);
    }

    #[test]
    fn weak_labels_round_trip(p in prop::collection::vec(0.0..=1.0_f64, 1..60)) {
        let ids = ids(p.len());
        let text = write_weak_labels(&ids, &p);
        prop_assert_eq!(read_weak_labels(text.as_bytes(), &ids).unwrap(), p);
    }
}

fn error(text: &str) -> String {
    read_predictions(text.as_bytes(), &ids(2))
        .unwrap_err()
        .to_string()
}

#[test]
fn prediction_errors_name_line_and_field() {
    let ids = ids(2);
    let good = write_predictions(&ids, &[Label::One, Label::Zero]);
    let [first, second] = [good.lines().next().unwrap(), good.lines().last().unwrap()];
    assert_eq!(
        error(&format!("{first}\n{first}\n")),
        format!("line 2: field id: {} is on line 1 too", ids[0])
    );
    assert_eq!(
        error(&format!("{second}\n")),
        format!("field id: 1 of 2 ids are missing, the first is {}", ids[0])
    );
    assert!(error("").starts_with("field id: 2 of 2 ids are missing"));
    assert_eq!(
        error(&format!(
            "{second}\n{}",
            first.replace("\"label\":1", "\"label\":3")
        )),
        "line 2: field label: label must be 0 or 1, found 3"
    );
    assert_eq!(
        error("{\"label\":1}"),
        "line 1: field id: missing field `id`"
    );
    let unknown = error(&format!(
        "{first}\n{second}\n{{\"id\":\"{:016x}\",\"label\":1}}",
        5
    ));
    assert_eq!(
        unknown,
        "line 3: field id: 0000000000000005 is not one of the inputs"
    );
    let blank = error(&format!("{first}\n\n{second}"));
    assert!(blank.starts_with("line 2: EOF"), "{blank}");
    let nested = format!("{{\"id\":{}", "[".repeat(200));
    assert!(
        error(&nested).starts_with("line 1: field id: invalid type: sequence"),
        "{}",
        error(&nested)
    );
}

#[test]
fn sizes_are_bounded() {
    let huge = "x".repeat(257);
    assert_eq!(error(&huge), "line 1: has 257 bytes, at most 256 are read");
    let flood = "\n".repeat(10_000);
    let refused = read_predictions(flood.as_bytes(), &ids(2));
    assert!(matches!(
        refused,
        Err(PredictionError::TooLarge {
            bytes: 10_000,
            limit: 768,
            rows: 2
        })
    ));
}

#[test]
fn weak_labels_must_be_probabilities() {
    let ids = ids(1);
    for p in ["-0.1", "1.5", "1e300"] {
        let line = format!("{{\"id\":\"{}\",\"p\":{p}}}", ids[0]);
        let error = read_weak_labels(line.as_bytes(), &ids)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("line 1: field p: found"), "{error}");
    }
    let line = format!("{{\"id\":\"{}\",\"p\":NaN}}", ids[0]);
    assert!(read_weak_labels(line.as_bytes(), &ids).is_err());
}
