//! What is written is what is read, by both readers.

use crate::fixture::{SALT, SPECS, Written, parts};
use aar_core::digest::Digest;
use aar_core::problem::{ItemKind, Split, SplitAnchors};
use aar_problem::{MethodView, Problem, WriteError, check, write_problem};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const HALF: f32 = 1.0 / 2048.0;

#[test]
fn a_written_problem_reads_back() {
    for kind in [ItemKind::Pair, ItemKind::Claim] {
        let written = Written::new(kind);
        let parts = parts(kind);
        let problem = written.open();
        assert_eq!(problem.about(), &parts.about);
        assert_eq!(problem.brief(), parts.brief);
        assert_eq!(problem.salt(), Some(&SALT));
        for (split, part) in &parts.splits {
            let table = problem.table(*split);
            assert_eq!(table.rows, part.rows);
            assert_eq!(problem.labels(*split), part.labels);
            let weak = problem.weak_features(*split).unwrap();
            assert_eq!(
                (weak.rows, weak.options, weak.width),
                (part.rows.len(), kind.options(), 3)
            );
            for (spec, wanted) in SPECS.iter().zip(&part.activations) {
                let found = table.activations.get(spec).unwrap();
                assert_eq!(found.data.len(), wanted.data.len());
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= HALF;
                assert!(found.data.iter().zip(&wanted.data).all(near));
            }
        }
        let report = check(&written.dir).unwrap();
        assert_eq!(report.groups[&Split::Rank], 3);
        assert!(
            report
                .to_string()
                .contains("rank        12 rows in     3 groups"),
            "{report}"
        );
    }
}

#[test]
fn a_method_sees_inputs_and_weak_labels() {
    let written = Written::new(ItemKind::Pair);
    let view = MethodView::open(&written.method_view(Split::Rank)).unwrap();
    let problem = written.open();
    assert_eq!(view.train.rows, problem.table(Split::Train).rows);
    assert_eq!(view.predict.rows, problem.table(Split::Rank).rows);
    assert_eq!(view.weak[3], 0.03);
    let spec = &view.about.activations()[1];
    let tensor = view.predict.activations.get(spec).unwrap();
    assert_eq!(
        tensor,
        problem.table(Split::Rank).activations.get(spec).unwrap()
    );
    assert_eq!(tensor.vector(2, 1), &tensor.data[25..30]);
}

#[test]
fn a_method_without_weak_labels_is_told_which() {
    let written = Written::new(ItemKind::Pair);
    let view = written.method_view(Split::Dev);
    let file = view.join("weak/labels.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("0.03}", "1.03}")).unwrap();
    let error = MethodView::open(&view).unwrap_err().to_string();
    assert!(
        error.contains("weak/labels.jsonl: line 4: field p: found 1.03"),
        "{error}"
    );
    fs::write(
        &file,
        text.lines()
            .skip(1)
            .map(|l| format!("{l}\n"))
            .collect::<String>(),
    )
    .unwrap();
    let error = MethodView::open(&view).unwrap_err().to_string();
    assert!(
        error.contains("field id: 1 of 12 ids are missing"),
        "{error}"
    );
}

#[test]
fn an_existing_directory_is_refused_and_left_alone() {
    let written = Written::new(ItemKind::Claim);
    let before = written.open().file_digests().unwrap();
    let error = write_problem(&written.dir, &parts(ItemKind::Pair)).unwrap_err();
    assert!(matches!(error, WriteError::Exists(_)), "{error}");
    assert_eq!(written.open().file_digests().unwrap(), before);
}

#[test]
fn a_bad_problem_is_not_half_written() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("new");
    let mut bad = parts(ItemKind::Pair);
    let copy = bad.splits[&Split::Dev].rows[0].group.clone();
    bad.splits.get_mut(&Split::Rank).unwrap().rows[2].group = copy;
    let error = write_problem(&dir, &bad).unwrap_err().to_string();
    let place = format!(
        "{}: line 3: field group: ",
        dir.join("vault/rank/inputs.jsonl").display()
    );
    assert!(error.starts_with(&place), "{error}");
    let mut bad = parts(ItemKind::Pair);
    bad.splits.get_mut(&Split::Dev).unwrap().weak.data[9] = 1e6;
    let error = write_problem(&dir, &bad).unwrap_err().to_string();
    assert!(
        error.contains("field weak: row 1 (from 0) holds 1000000, too large"),
        "{error}"
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_vault_is_closed_to_other_users() {
    let written = Written::new(ItemKind::Claim);
    let mode = |file: &str| {
        fs::metadata(written.path(file))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("vault"), 0o700);
    for file in [
        "vault/salt",
        "vault/dev/labels.jsonl",
        "vault/rank/inputs.jsonl",
    ] {
        assert_eq!(mode(file) & 0o077, 0, "{file}");
    }
}

#[test]
fn anchors_are_added_and_judged() {
    let written = Written::new(ItemKind::Claim);
    let mut problem = written.open();
    let anchors = |weak, ceiling| {
        BTreeMap::from([(
            Split::Dev,
            SplitAnchors {
                weak,
                ceiling,
                seeds: 16,
            },
        )])
    };
    for (weak, ceiling, field) in [
        (0.6, 0.6, "ceiling"),
        (-0.1, 0.6, "weak"),
        (0.5, f64::NAN, "ceiling"),
    ] {
        let error = problem
            .set_anchors(anchors(weak, ceiling))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("problem.toml: field anchors.dev.{field}: ")),
            "{error}"
        );
    }
    assert!(problem.manifest().anchors.is_empty());
    problem.set_anchors(anchors(0.6, 0.8)).unwrap();
    let again = written.open();
    assert_eq!(again.manifest().anchors[&Split::Dev].ceiling, 0.8);
    assert_eq!(again.manifest(), problem.manifest());
    check(&written.dir).unwrap();
}

#[test]
fn commitments_follow_salt_split_and_bytes() {
    let written = Written::new(ItemKind::Claim);
    let problem = written.open();
    problem.verify_commitments().unwrap();
    let bytes = fs::read(written.path("vault/dev/labels.jsonl")).unwrap();
    let expected = Digest::of_parts(&[&SALT, b"dev", &bytes]);
    assert_eq!(problem.manifest().commitments[&Split::Dev], expected);
    // The labels of one split cannot stand in for those of another.
    assert_ne!(
        problem.manifest().commitments[&Split::Rank],
        Digest::of_parts(&[&SALT, b"dev", &bytes])
    );
    let digests = problem.file_digests().unwrap();
    assert_eq!(
        digests[std::path::Path::new("vault/dev/labels.jsonl")],
        Digest::of(&bytes)
    );
    assert_eq!(digests.len(), 3 + 1 + 4 * 4, "{digests:?}");
}

#[test]
fn a_problem_may_come_without_salt_and_commitments() {
    let written = Written::new(ItemKind::Claim);
    written.edit("problem.toml", |text| {
        text.split("[commitments]").next().unwrap().to_owned()
    });
    fs::remove_file(written.path("vault/salt")).unwrap();
    check(&written.dir).unwrap();
    let mut problem = written.open();
    assert_eq!(problem.salt(), None);
    problem.verify_commitments().unwrap();
    problem.commit([9; 32]).unwrap();
    let again = Problem::open(&written.dir).unwrap();
    assert_eq!(again.salt(), Some(&[9; 32]));
    assert_eq!(again.manifest().commitments.len(), 4);
    again.verify_commitments().unwrap();
    check(&written.dir).unwrap();
}

#[test]
fn a_problem_may_come_without_activations() {
    let written = Written::new(ItemKind::Pair);
    fs::remove_file(written.path("vault/teacher/activations.safetensors")).unwrap();
    check(&written.dir).unwrap();
    assert!(
        written
            .open()
            .table(Split::Teacher)
            .activations
            .get(&SPECS[0])
            .is_err()
    );
    for part in ["public/train", "public/dev", "vault/rank"] {
        fs::remove_file(written.path(part).join("activations.safetensors")).unwrap();
    }
    written.edit("public/about.toml", |text| {
        text.split("[[").next().unwrap().to_owned()
    });
    check(&written.dir).unwrap();
    assert!(
        written
            .open()
            .table(Split::Dev)
            .activations
            .specs()
            .is_empty()
    );
}
