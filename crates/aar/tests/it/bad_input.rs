//! Bad input: exit code 2, a message that names file and line or field, and nothing half-written.

use crate::program::{Answer, aar_in};
use crate::study::{copy_all, files, finished, write_inputs};
use std::fs;
use std::path::Path;

const STUDY: &str = "problem = \"tiny\"\ntransfer = [\"other\"]\nminutes = 0.5\n";

/// Runs `aar run` on a damaged copy of good inputs; it must refuse and leave nothing behind.
fn refused(damage: impl FnOnce(&Path), options: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    write_inputs(home.path(), STUDY);
    damage(home.path());
    let before = files(home.path());
    let arguments = [&["run", "study.toml", "--out", "runs/out"], options].concat();
    let Answer {
        code,
        stdout,
        stderr,
    } = aar_in(home.path(), &arguments);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert_eq!(files(home.path()), before);
    assert!(!home.path().join("runs").exists(), "{stderr}");
    stderr
}

/// Changes a file's text, which must change.
fn edit(path: &Path, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed, "{}", path.display());
    fs::write(path, changed).unwrap();
}

/// Repeats the second line of a text in place of the first.
fn duplicate_line(text: &str) -> String {
    let (_, rest) = text.split_once('\n').unwrap();
    let (second, _) = rest.split_once('\n').unwrap();
    format!("{second}\n{rest}")
}

#[test]
fn a_study_file_is_refused_by_line_and_field() {
    let cases = [
        (
            "colour = 3\n",
            "study.toml: line 4: field colour: unknown field",
        ),
        (
            "[budget]\nevaluation = 3\n",
            "study.toml: line 5: field budget.evaluation: unknown field",
        ),
        (
            "researchers = \"two\"\n",
            "study.toml: line 4: field researchers: invalid type",
        ),
        (
            "researchers = 0\n",
            "study.toml: field researchers: found 0, expected 1 to 256",
        ),
        (
            "researchers = -1\n",
            "study.toml: line 4: field researchers: ",
        ),
        ("seed = -1\n", "study.toml: line 4: field seed: "),
        ("name = \"../up\"\n", "study.toml: line 4: field name: "),
        (
            "kind = \"oracle\"\n",
            "study.toml: line 4: field kind: unknown variant",
        ),
        (
            "format = 1\n",
            "study.toml: field format: found 1, expected 2",
        ),
        (
            "replication_seeds = 1\n",
            "study.toml: field replication_seeds: found 1",
        ),
        (
            "evaluation_seeds = 1\n",
            "study.toml: field evaluation_seeds: found 1",
        ),
        ("slots = 5000\n", "study.toml: field slots: found 5000"),
        (
            "[limits]\nwall_seconds = nan\n",
            "study.toml: field limits.wall_seconds: found NaN",
        ),
        (
            "[limits]\nwall_seconds = 1e300\n",
            "study.toml: field limits.wall_seconds: found 1",
        ),
        (
            "[limits]\nmemory_mib = 0\n",
            "study.toml: field limits.memory_mib: found 0",
        ),
        (
            "[budget]\ncompute_seconds = -1.0\n",
            "study.toml: field budget.compute_seconds: found -1",
        ),
        ("transfer = []\n", "study.toml: line 4: "),
        ("= 3\n", "study.toml: line 4: "),
        ("[budget\n", "study.toml: line 4: "),
    ];
    for (line, message) in cases {
        let found = refused(
            |home| fs::write(home.join("study.toml"), format!("{STUDY}{line}")).unwrap(),
            &[],
        );
        assert!(found.contains(message), "{line}{found}");
    }
    for minutes in ["0", "-1", "nan", "inf", "1e9", "0.49"] {
        let text = STUDY.replace("0.5", minutes);
        let found = refused(
            |home| fs::write(home.join("study.toml"), &text).unwrap(),
            &[],
        );
        assert!(
            found.contains("study.toml: ") && found.contains("field minutes: "),
            "{found}"
        );
    }
}

#[test]
fn a_study_that_is_no_text_or_not_there_is_refused() {
    let found = refused(
        |home| fs::write(home.join("study.toml"), [0xff, 0xfe]).unwrap(),
        &[],
    );
    assert!(found.contains("study.toml"), "{found}");
    let found = refused(
        |home| fs::remove_file(home.join("study.toml")).unwrap(),
        &[],
    );
    assert!(found.contains("study.toml"), "{found}");
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    for minutes in ["0", "-1", "nan", "inf", "many"] {
        let found = refused(|_| (), &["--minutes", minutes]);
        assert!(found.contains("minutes"), "{found}");
    }
    for seed in ["-1", "1.5", "18446744073709551615"] {
        let found = refused(|_| (), &["--seed", seed]);
        assert!(found.contains("--seed"), "{found}");
    }
}

#[test]
fn the_problems_of_a_study_are_found_and_differ() {
    let cases = [
        (
            "problem = \"nowhere\"\ntransfer = []\n",
            "problem \"nowhere\" is neither a built-in problem (chat, math, code, facts) nor a directory",
        ),
        (
            "problem = \"study.toml\"\ntransfer = []\n",
            "problem \"study.toml\" is neither",
        ),
        (
            "problem = \"tiny\"\ntransfer = [\"nowhere\"]\n",
            "problem \"nowhere\" is neither",
        ),
        (
            "problem = \"tiny\"\ntransfer = [\"tiny\"]\n",
            "field transfer: ",
        ),
        (
            "problem = \"tiny\"\ntransfer = [\"./tiny\"]\n",
            "field transfer: ",
        ),
        (
            "problem = \"tiny\"\ntransfer = [\"other\", \"other/\"]\n",
            "field transfer: ",
        ),
    ];
    for (text, message) in cases {
        let found = refused(
            |home| fs::write(home.join("study.toml"), text).unwrap(),
            &[],
        );
        assert!(found.contains(message), "{text}{found}");
    }
}

/// What was damaged in a problem, and what the refusal says.
type Damage = (&'static str, fn(&Path), &'static str);

const DAMAGES: [Damage; 14] = [
    (
        "wrong label",
        |p| {
            edit(&p.join("vault/dev/labels.jsonl"), |t| {
                t.replacen("\"label\":1", "\"label\":2", 1)
            })
        },
        "vault/dev/labels.jsonl: line ",
    ),
    (
        "duplicate label id",
        |p| edit(&p.join("vault/rank/labels.jsonl"), duplicate_line),
        "vault/rank/labels.jsonl: line ",
    ),
    (
        "missing label",
        |p| {
            edit(&p.join("vault/train/labels.jsonl"), |t| {
                t.split_once('\n').unwrap().1.to_owned()
            })
        },
        "vault/train/labels.jsonl: ",
    ),
    (
        "duplicate row",
        |p| edit(&p.join("public/dev/inputs.jsonl"), duplicate_line),
        "public/dev/inputs.jsonl: line 2: field id: ",
    ),
    (
        "missing row",
        |p| {
            edit(&p.join("public/dev/inputs.jsonl"), |t| {
                t.split_once('\n').unwrap().1.to_owned()
            })
        },
        "rows.dev",
    ),
    (
        "wrong id",
        |p| {
            edit(&p.join("public/train/inputs.jsonl"), |t| {
                t.replacen("one answer", "one reply", 1)
            })
        },
        "public/train/inputs.jsonl: line 1: field id: ",
    ),
    (
        "unknown key",
        |p| edit(&p.join("problem.toml"), |t| format!("colour = 1\n{t}")),
        "problem.toml: line 1: field colour: unknown field",
    ),
    (
        "wrong type",
        |p| {
            edit(&p.join("problem.toml"), |t| {
                t.replacen("practice = true", "practice = 1", 1)
            })
        },
        "field practice: ",
    ),
    (
        "other version",
        |p| {
            edit(&p.join("problem.toml"), |t| {
                t.replacen("format = 1", "format = 7", 1)
            })
        },
        "problem.toml: field format: found 7",
    ),
    (
        "no brief",
        |p| fs::remove_file(p.join("brief.md")).unwrap(),
        "brief.md: ",
    ),
    (
        "no activations",
        |p| fs::remove_file(p.join("public/train/activations.safetensors")).unwrap(),
        "public/train/activations.safetensors: ",
    ),
    (
        "NaN",
        |p| not_a_number(&p.join("public/dev/activations.safetensors")),
        "public/dev/activations.safetensors: ",
    ),
    (
        "cut tensor",
        |p| cut(&p.join("vault/teacher/weak.safetensors")),
        "vault/teacher/weak.safetensors: ",
    ),
    (
        "changed label",
        flip_label,
        "vault/dev/labels.jsonl: does not match field commitments.dev of problem.toml",
    ),
];

fn not_a_number(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.pop();
    fs::write(path, bytes).unwrap();
}

fn flip_label(problem: &Path) {
    edit(&problem.join("vault/dev/labels.jsonl"), |text| {
        text.replacen("\"label\":1", "\"label\":0", 1)
    });
}

#[test]
fn a_damaged_problem_is_refused_by_file_line_and_field() {
    for (what, damage, message) in DAMAGES {
        for problem in ["tiny", "other"] {
            // The other problem is of claims, which say nothing else.
            if what == "wrong id" && problem == "other" {
                continue;
            }
            let found = refused(|home| damage(&home.join(problem)), &[]);
            assert!(
                found.contains(message) && found.contains(problem),
                "{what}: {found}"
            );
        }
    }
}

#[test]
fn a_problem_on_which_no_study_can_be_scored_is_refused_before_it_starts() {
    let anchors = |split: &str, weak: &str, ceiling: &str| {
        format!("\n[anchors.{split}]\nweak = {weak}\nceiling = {ceiling}\nseeds = 16\n")
    };
    let append = |home: &Path, problem: &str, more: &str| {
        let file = home.join(problem).join("problem.toml");
        edit(&file, |text| format!("{text}{more}"));
    };
    // Hard problems may have anchors the wrong way round, but then nothing can be scored on them.
    let hard = anchors("dev", "0.7", "0.6") + &anchors("rank", "0.7", "0.6");
    for problem in ["tiny", "other"] {
        let found = refused(
            |home| {
                let file = home.join(problem).join("problem.toml");
                edit(&file, |text| {
                    text.replacen("hard = false", "hard = true", 1)
                });
                append(home, problem, &hard);
            },
            &[],
        );
        assert!(found.contains("anchors"), "{found}");
        let found = refused(
            |home| append(home, problem, &anchors("dev", "0.5", "0.8")),
            &[],
        );
        assert!(found.contains("none for split rank"), "{found}");
        let found = refused(
            |home| append(home, problem, &anchors("dev", "0.5", "8")),
            &[],
        );
        assert!(found.contains("anchors.dev.ceiling"), "{found}");
    }
}

#[test]
fn a_run_directory_is_never_overwritten_nor_made_inside_a_problem() {
    let home = tempfile::tempdir().unwrap();
    write_inputs(home.path(), STUDY);
    fs::create_dir(home.path().join("there")).unwrap();
    std::os::unix::fs::symlink("nowhere", home.path().join("link")).unwrap();
    let before = files(home.path());
    for (out, message) in [
        ("there", "there exists already"),
        ("study.toml", "study.toml exists already"),
        ("link", "link exists already"),
        ("study.toml/run", "study.toml"),
        ("tiny/run", "inside the problem"),
        ("other/public/run", "inside the problem"),
    ] {
        let answer = aar_in(home.path(), &["run", "study.toml", "--out", out]);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.stderr.contains(message), "{out}: {answer:?}");
        assert_eq!(files(home.path()), before, "{out}");
    }
}

#[test]
fn what_is_no_run_of_this_version_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let run = home.path().join("run");
    copy_all(&finished().dir, &run);
    edit(&run.join("study.toml"), |text| {
        text.replacen("format = 2", "format = 99", 1)
    });
    fs::create_dir(home.path().join("empty")).unwrap();
    for command in ["verify", "board"] {
        for (dir, message) in [
            (
                "run",
                "run: a run of format 99; this program reads format 2",
            ),
            ("empty", "empty is no run directory"),
            ("nowhere", "nowhere is no run directory"),
        ] {
            let answer = aar_in(home.path(), &[command, dir]);
            assert_eq!(answer.code, Some(2), "{answer:?}");
            assert!(
                answer.stderr.contains(message),
                "{command} {dir}: {answer:?}"
            );
        }
    }
    let answer = aar_in(home.path(), &["verify", "run", "--head", "abc"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
}

#[test]
fn problem_commands_refuse_what_they_do_not_know() {
    let home = tempfile::tempdir().unwrap();
    write_inputs(home.path(), STUDY);
    let good = aar_in(home.path(), &["problem", "check", "tiny"]);
    assert_eq!(good.code, Some(0), "{good:?}");
    not_a_number(&home.path().join("tiny/public/dev/activations.safetensors"));
    for (arguments, message) in [
        (["check", "tiny"], "public/dev/activations.safetensors: "),
        (["check", "nowhere"], "nowhere"),
        (["stats", "tiny"], "public/dev/activations.safetensors: "),
        (["stats", "nowhere"], "nowhere"),
        (
            ["build", "tiny"],
            "\"tiny\" is not a built-in problem; there are chat, math, code, facts",
        ),
    ] {
        let answer = aar_in(home.path(), &[&["problem"], &arguments[..]].concat());
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.stderr.contains(message), "{arguments:?}: {answer:?}");
    }
}
