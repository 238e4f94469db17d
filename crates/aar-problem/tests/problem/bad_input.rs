//! Each kind of bad input is found, and the message says where.

use crate::fixture::Written;
use aar_core::problem::ItemKind;
use aar_problem::{MAX_FAULTS, Problem, ProblemError, check};
use std::fs;
use std::path::Path;

/// What a fault must say: file, line, field and the start of the reason.
type Expected<'a> = (&'a str, Option<usize>, Option<&'a str>, &'a str);

fn assert_fault(written: &Written, expected: Expected<'_>) {
    let failed = check(&written.dir).expect_err("the damage was not found");
    let found = failed
        .faults
        .iter()
        .any(|fault| matches(fault, &written.dir, expected));
    assert!(found, "expected {expected:?}, found:\n{failed}");
}

fn matches(fault: &ProblemError, dir: &Path, expected: Expected<'_>) -> bool {
    let (file, line, field, reason) = expected;
    let place = match (line, field) {
        (Some(line), Some(field)) => format!("line {line}: field {field}: "),
        (Some(line), None) => format!("line {line}: "),
        (None, Some(field)) => format!("field {field}: "),
        (None, None) => String::new(),
    };
    fault
        .to_string()
        .starts_with(&format!("{}: {place}{reason}", dir.join(file).display()))
}

/// Damages a fresh problem and expects `check` and `open` to find it.
fn case(expected: Expected<'_>, damage: impl FnOnce(&Written)) {
    let written = Written::new(ItemKind::Pair);
    damage(&written);
    assert_fault(&written, expected);
    let error = Problem::open(&written.dir).expect_err("open did not find it");
    assert!(
        matches(&error, &written.dir, expected),
        "expected {expected:?}, found {error}"
    );
}

/// As `case`, for what only `check` looks at.
fn check_case(expected: Expected<'_>, damage: impl FnOnce(&Written)) {
    let written = Written::new(ItemKind::Pair);
    damage(&written);
    assert_fault(&written, expected);
}

const DEV_INPUTS: &str = "public/dev/inputs.jsonl";
const DEV_LABELS: &str = "vault/dev/labels.jsonl";

#[test]
fn unknown_keys() {
    case(
        (
            "problem.toml",
            Some(1),
            Some("colour"),
            "unknown field `colour`",
        ),
        |p| {
            p.edit("problem.toml", |text| format!("colour = 3\n{text}"));
        },
    );
    case(
        (
            "public/about.toml",
            Some(4),
            Some("labels"),
            "unknown field",
        ),
        |p| {
            p.edit("public/about.toml", |text| {
                text.replacen("\n\n", "\nlabels = 1\n\n", 1)
            });
        },
    );
    // Labels must not slip into the public part.
    for key in ["label", "difficulty", "subset"] {
        case((DEV_INPUTS, Some(3), Some(key), "unknown field"), |p| {
            p.edit_line(DEV_INPUTS, 3, |line| {
                line.replacen('{', &format!("{{\"{key}\":1,"), 1)
            });
        });
    }
    case((DEV_LABELS, Some(2), Some("p"), "unknown field"), |p| {
        p.edit_line(DEV_LABELS, 2, |line| line.replacen('{', "{\"p\":0.5,", 1));
    });
}

#[test]
fn wrong_types_and_broken_lines() {
    case(
        ("problem.toml", Some(3), Some("practice"), "invalid type"),
        |p| {
            p.replace("problem.toml", "practice = true", "practice = \"yes\"");
        },
    );
    case(
        (
            "public/about.toml",
            Some(2),
            Some("kind"),
            "unknown variant `choice`",
        ),
        |p| {
            p.replace("public/about.toml", "pair", "choice");
        },
    );
    case(
        (
            DEV_INPUTS,
            Some(4),
            Some("prompt"),
            "invalid type: integer `3`",
        ),
        |p| {
            p.edit_line(DEV_INPUTS, 4, |line| {
                line.replacen("\"What", "3,\"x\":\"What", 1)
            });
        },
    );
    case(
        (DEV_INPUTS, Some(1), Some("second"), "missing field"),
        |p| {
            p.edit_line(DEV_INPUTS, 1, |line| {
                line.replacen("\"second\"", "\"consistency_key\"", 1)
            });
        },
    );
    case((DEV_INPUTS, Some(2), Some("group"), "is empty"), |p| {
        p.edit_line(DEV_INPUTS, 2, |line| {
            let group = line.split('"').nth(7).unwrap().to_owned();
            line.replacen(&group, "", 1)
        });
    });
    case(
        (DEV_LABELS, Some(8), Some("id"), "EOF while parsing"),
        |p| {
            p.edit_line(DEV_LABELS, 8, |line| line[..9].to_owned());
        },
    );
    case((DEV_LABELS, Some(1), None, "not valid UTF-8"), |p| {
        fs::write(p.path(DEV_LABELS), b"\xff\xfe\n").unwrap();
    });
    case(
        (
            "vault/salt",
            Some(1),
            Some("salt"),
            "expected 64 hexadecimal digits",
        ),
        |p| {
            fs::write(p.path("vault/salt"), "pepper\n").unwrap();
        },
    );
}

#[test]
fn missing_files() {
    for file in [
        "problem.toml",
        "brief.md",
        "public/about.toml",
        "public/train/inputs.jsonl",
        "public/dev/activations.safetensors",
        "vault/teacher/inputs.jsonl",
        "vault/train/labels.jsonl",
        "vault/rank/labels.jsonl",
    ] {
        case((file, None, None, "No such file"), |p| {
            fs::remove_file(p.path(file)).unwrap()
        });
    }
    check_case(
        ("vault/dev/weak.safetensors", None, None, "No such file"),
        |p| {
            fs::remove_file(p.path("vault/dev/weak.safetensors")).unwrap();
        },
    );
    check_case(
        ("vault/salt", None, None, "is missing, so the commitments"),
        |p| {
            fs::remove_file(p.path("vault/salt")).unwrap();
        },
    );
    let nowhere = check(Path::new("/no/such/problem")).unwrap_err();
    assert!(
        nowhere
            .to_string()
            .contains("/no/such/problem/problem.toml: No such file")
    );
}

#[test]
fn wrong_label_values() {
    for (value, reason) in [
        ("2", "label must be 0 or 1, found 2"),
        ("-1", "invalid value: integer `-1`"),
        ("0.5", "invalid type: floating point `0.5`"),
        ("true", "invalid type: boolean `true`"),
        ("null", "invalid type: null"),
        ("\"A\"", "invalid type: string \"A\""),
    ] {
        case((DEV_LABELS, Some(5), Some("label"), reason), |p| {
            p.edit_line(DEV_LABELS, 5, |line| {
                format!(
                    "{}\"label\":{value}}}",
                    line.split("\"label\"").next().unwrap()
                )
            });
        });
    }
}

#[test]
fn labels_of_one_kind() {
    let reason = "all labels are 0; a split needs both 0 and 1";
    check_case((DEV_LABELS, None, Some("label"), reason), |p| {
        let text = fs::read_to_string(p.path(DEV_LABELS)).unwrap();
        fs::write(
            p.path(DEV_LABELS),
            text.replace("\"label\":1", "\"label\":0"),
        )
        .unwrap();
    });
}

#[test]
fn pipes_in_place_of_files() {
    let reason = "is not a regular file";
    case(("brief.md", None, None, reason), |p| {
        fs::remove_file(p.path("brief.md")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(p.path("brief.md"))
            .status();
        assert!(made.unwrap().success());
    });
}

#[test]
fn duplicate_missing_and_foreign_ids() {
    case((DEV_INPUTS, Some(6), Some("id"), ""), |p| {
        let copy = p.line(DEV_INPUTS, 2);
        p.edit_line(DEV_INPUTS, 6, |_| copy.clone());
    });
    case((DEV_LABELS, Some(3), Some("id"), ""), |p| {
        let copy = p.line(DEV_LABELS, 2);
        p.edit_line(DEV_LABELS, 3, |_| copy.clone());
    });
    case(
        (
            DEV_LABELS,
            None,
            Some("id"),
            "2 ids have no label, the first is ",
        ),
        |p| {
            p.edit(DEV_LABELS, |text| {
                text.lines().take(6).map(|l| format!("{l}\n")).collect()
            });
        },
    );
    case(
        (
            DEV_LABELS,
            Some(1),
            Some("id"),
            "00000000000000ab is not one of the inputs",
        ),
        |p| {
            p.edit_line(DEV_LABELS, 1, |_| {
                "{\"id\":\"00000000000000ab\",\"label\":1}".to_owned()
            });
        },
    );
    case(
        (DEV_LABELS, Some(1), Some("id"), "a row id is 16 lower-case"),
        |p| {
            p.edit_line(DEV_LABELS, 1, |_| "{\"id\":\"AB\",\"label\":1}".to_owned());
        },
    );
    case((DEV_LABELS, Some(1), Some("id"), "found "), |p| {
        p.edit(DEV_LABELS, |text| {
            text.lines().rev().map(|line| format!("{line}\n")).collect()
        });
    });
    check_case((DEV_INPUTS, Some(7), Some("id"), "found "), |p| {
        p.edit_line(DEV_INPUTS, 7, |line| line.replacen("thing", "THING", 1));
    });
}

#[test]
fn rows_and_groups_in_two_splits() {
    check_case(("vault/rank/inputs.jsonl", Some(4), Some("id"), ""), |p| {
        let copy = p.line(DEV_INPUTS, 1);
        p.edit_line("vault/rank/inputs.jsonl", 4, |_| copy.clone());
    });
    check_case(
        ("vault/rank/inputs.jsonl", Some(4), Some("group"), "\"g-"),
        |p| {
            let stolen = p.line(DEV_INPUTS, 1).split('"').nth(7).unwrap().to_owned();
            p.edit_line("vault/rank/inputs.jsonl", 4, |line| {
                let own = line.split('"').nth(7).unwrap();
                line.replacen(own, &stolen, 1)
            });
        },
    );
}

#[test]
fn a_pair_and_its_swap_in_two_splits() {
    let written = Written::new(ItemKind::Pair);
    let problem = written.open();
    let row = &problem.table(aar_core::problem::Split::Dev).rows[0];
    let swapped = row.item.swapped();
    let aar_core::row::Item::Pair {
        prompt,
        first,
        second,
    } = &swapped
    else {
        panic!("a pair")
    };
    let strings = [prompt, first, second].map(|text| serde_json::to_string(text).unwrap());
    written.edit_line("vault/rank/inputs.jsonl", 1, |_| {
        format!(
            "{{\"id\":\"{}\",\"group\":\"fresh\",\"prompt\":{},\"first\":{},\"second\":{}}}",
            swapped.id(),
            strings[0],
            strings[1],
            strings[2],
        )
    });
    let reason = "the same pair with its options exchanged";
    assert_fault(
        &written,
        ("vault/rank/inputs.jsonl", Some(1), Some("id"), reason),
    );
}

#[test]
fn tensors() {
    let file = "public/dev/activations.safetensors";
    check_case(
        (file, None, Some("mean.4"), "row 7 (from 0) holds NaN"),
        |p| {
            let mut bytes = fs::read(p.path(file)).unwrap();
            let end = bytes.len();
            bytes[end - 2..].copy_from_slice(&[0, 0x7e]);
            fs::write(p.path(file), bytes).unwrap();
        },
    );
    case(
        (
            file,
            None,
            Some("mean.4"),
            "has shape [8, 2, 5], expected [8, 2, 6]",
        ),
        |p| {
            p.edit("public/about.toml", |text| {
                let (first, last) = text.rsplit_once("width = 5").unwrap();
                format!("{first}width = 6{last}")
            });
            fs::remove_file(p.path("public/train/activations.safetensors")).unwrap();
            copy_with_width_6(p);
        },
    );
    case((file, None, None, "not a safetensors file"), |p| {
        fs::write(p.path(file), b"these are no tensors").unwrap();
    });
    case((file, None, None, "too short"), |p| {
        fs::write(p.path(file), b"").unwrap()
    });
    case((file, None, None, "has "), |p| {
        let bytes = fs::read(p.path(file)).unwrap();
        fs::write(p.path(file), &bytes[..bytes.len() - 3]).unwrap();
    });
    check_case(
        (file, None, Some("mean.4"), "is not listed in activations"),
        |p| {
            p.edit("public/about.toml", |text| {
                text.rsplit_once("[[").unwrap().0.to_owned()
            });
        },
    );
}

/// Gives `train` (and `teacher`) a file that fits the changed description, so that `dev` is next.
fn copy_with_width_6(p: &Written) {
    use safetensors::tensor::{Dtype, TensorView};
    for (path, rows) in [
        ("public/train/activations.safetensors", 12),
        ("vault/teacher/activations.safetensors", 8),
    ] {
        let bytes = vec![0; rows * 2 * 6 * 4];
        let view = |width: usize| {
            TensorView::new(
                Dtype::F32,
                vec![rows, 2, width],
                &bytes[..rows * 2 * width * 4],
            )
            .unwrap()
        };
        let bytes =
            safetensors::serialize([("last.2", view(5)), ("mean.4", view(6))], None).unwrap();
        fs::write(p.path(path), bytes).unwrap();
    }
}

#[test]
fn manifest_values() {
    case(
        (
            "problem.toml",
            None,
            Some("format"),
            "found 2, but this program reads format 1",
        ),
        |p| {
            p.replace("problem.toml", "format = 1", "format = 2\nnewer = true");
        },
    );
    case(
        ("problem.toml", None, Some("rows.dev"), "found 9, but "),
        |p| {
            p.replace("problem.toml", "dev = 8", "dev = 9");
        },
    );
    case(
        ("problem.toml", None, Some("rows.rank"), "found none"),
        |p| {
            p.replace("problem.toml", "rank = 12\n", "");
        },
    );
    case(
        (
            "problem.toml",
            None,
            Some("teacher.labels"),
            "found 9, expected 1 to 8",
        ),
        |p| {
            p.replace("problem.toml", "labels = 4", "labels = 9");
        },
    );
    case(
        (
            "public/about.toml",
            None,
            Some("id"),
            "found other@3, but problem.toml says",
        ),
        |p| {
            p.replace("public/about.toml", "tiny", "other");
        },
    );
    case(
        (
            "public/about.toml",
            None,
            Some("activations[1]"),
            "last.2 is listed twice",
        ),
        |p| {
            p.replace(
                "public/about.toml",
                "layer = 4\npooling = \"mean\"",
                "layer = 2\npooling = \"last\"",
            );
        },
    );
    for (anchors, field) in [
        (
            "weak = 0.8\nceiling = 0.7\nseeds = 16",
            "anchors.dev.ceiling",
        ),
        (
            "weak = 0.6\nceiling = 1.7\nseeds = 16",
            "anchors.dev.ceiling",
        ),
        ("weak = nan\nceiling = 0.7\nseeds = 16", "anchors.dev.weak"),
        ("weak = 0.6\nceiling = 0.7\nseeds = 0", "anchors.dev.seeds"),
    ] {
        case(("problem.toml", None, Some(field), "found "), |p| {
            p.edit("problem.toml", |text| {
                text.replacen("[anchors]\n", "", 1) + &format!("\n[anchors.dev]\n{anchors}\n")
            });
        });
    }
}

#[test]
fn labels_that_do_not_match_their_commitment() {
    let written = Written::new(ItemKind::Pair);
    written.edit_line(DEV_LABELS, 5, |line| {
        let (start, end) = line.split_at(line.len() - 2);
        format!("{start}{}", if end == "0}" { "1}" } else { "0}" })
    });
    let expected = (
        DEV_LABELS,
        None,
        None,
        "does not match field commitments.dev of problem.toml",
    );
    assert_fault(&written, expected);
    let error = written.open().verify_commitments().unwrap_err();
    assert!(matches(&error, &written.dir, expected), "{error}");
}

#[test]
fn stray_files() {
    check_case(
        ("public/dev/labels.jsonl", None, None, "does not belong"),
        |p| {
            fs::copy(p.path(DEV_LABELS), p.path("public/dev/labels.jsonl")).unwrap();
        },
    );
    check_case(
        (
            "public/dev/vault",
            None,
            None,
            "is neither a file nor a directory",
        ),
        |p| {
            std::os::unix::fs::symlink("../../vault", p.path("public/dev/vault")).unwrap();
        },
    );
}

#[test]
fn many_faults_are_listed_up_to_a_limit() {
    let written = Written::new(ItemKind::Pair);
    for file in ["public/train/inputs.jsonl", DEV_INPUTS, DEV_LABELS] {
        written.edit(file, |text| text.replace("\"id\"", "\"name\""));
    }
    let failed = check(&written.dir).unwrap_err();
    assert_eq!(failed.faults.len(), MAX_FAULTS);
    assert!(failed.more >= 8, "{failed}");
    assert!(
        failed
            .to_string()
            .ends_with(&format!("… and {} more faults", failed.more))
    );
}

#[test]
fn weak_features_and_the_way_to_use_them_come_together() {
    let without = |text: &str| {
        let (before, rest) = text.split_once("[teacher]\n").unwrap();
        let (_, after) = rest.split_once("\n\n").unwrap();
        format!("{before}{after}")
    };
    check_case(
        (
            "vault/train/weak.safetensors",
            None,
            None,
            "there is no [teacher] in problem.toml; say",
        ),
        |p| p.edit("problem.toml", without),
    );
    check_case(
        ("vault/dev/weak.safetensors", None, None, "No such file"),
        |p| fs::remove_file(p.path("vault/dev/weak.safetensors")).unwrap(),
    );
    // Neither: texts and activations, until a weak model has seen them.
    let written = Written::new(ItemKind::Pair);
    written.edit("problem.toml", without);
    for split in ["teacher", "train", "dev", "rank"] {
        fs::remove_file(written.path(&format!("vault/{split}/weak.safetensors"))).unwrap();
    }
    let report = check(&written.dir).unwrap().to_string();
    assert!(
        report.contains("  no weak model has seen the rows yet"),
        "{report}"
    );
    let refused = written.open().teacher().unwrap_err().to_string();
    assert!(
        refused.contains("problem.toml: field teacher: is missing"),
        "{refused}"
    );
}

#[test]
fn activations_need_a_model() {
    case(
        (
            "public/about.toml",
            None,
            None,
            "activations are listed; name their model in strong_model",
        ),
        |p| p.replace("public/about.toml", "strong_model = \"strong\"\n", ""),
    );
}
