//! The study's files become problem directories; what is wrong with them is refused whole.

use aar_core::id::Seed;
use aar_core::problem::{ItemKind, Split};
use aar_problem::import::{
    Grouping, ImportError, ImportPlan, ImportReport, MAX_FIELDS, MAX_FILE, MAX_LINE, SourceFile,
};
use aar_problem::{CheckReport, MAX_FAULTS, Problem, check, import};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Files of the study's layout that every test may change, and a place for the problem.
struct Source {
    home: TempDir,
    files: BTreeMap<SourceFile, Vec<String>>,
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn pair(prompt: &str, first: &str, second: &str, label: &str) -> String {
    let [prompt, first, second] = [prompt, first, second].map(quoted);
    format!(r#"{{"prompt":{prompt},"first":{first},"second":{second},"label":{label}}}"#)
}

fn claim(question: &str, choice: &str, label: &str) -> String {
    let [question, choice] = [question, choice].map(quoted);
    format!(r#"{{"question":{question},"choice":{choice},"label":{label}}}"#)
}

/// Three rows for each of so many questions, numbered from `from`.
fn rows(kind: ItemKind, from: usize, questions: usize) -> Vec<String> {
    let row = |question: usize, member: usize| {
        let asked = format!("What is thing {question}?");
        let one = (question + member).is_multiple_of(2);
        match kind {
            ItemKind::Pair => pair(
                &asked,
                &format!("It is {member}."),
                &format!("Not {member}."),
                if one { "\"B\"" } else { "\"A\"" },
            ),
            ItemKind::Claim => claim(
                &asked,
                &format!("It is {member}."),
                if one { "true" } else { "false" },
            ),
        }
    };
    (from..from + questions)
        .flat_map(|question| (0..3).map(move |member| (question, member)))
        .map(|(question, member)| row(question, member))
        .collect()
}

impl Source {
    fn new(kind: ItemKind) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            files: BTreeMap::from([
                (SourceFile::TrainLabel, rows(kind, 0, 6)),
                (SourceFile::TrainUnlabel, rows(kind, 100, 10)),
                (SourceFile::Test, rows(kind, 200, 20)),
            ]),
        }
    }

    fn lines(&mut self, file: SourceFile) -> &mut Vec<String> {
        self.files.get_mut(&file).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn out(&self) -> PathBuf {
        self.home.path().join("out")
    }

    fn write(&self) {
        fs::create_dir_all(self.data()).unwrap();
        for (file, lines) in &self.files {
            fs::write(self.data().join(file.name()), lines.join("\n") + "\n").unwrap();
        }
    }

    fn import(&self) -> Result<ImportReport, ImportError> {
        self.write();
        import(&self.data(), &self.out(), &plan(7))
    }

    fn good(&self) -> (ImportReport, CheckReport) {
        let report = self.import().unwrap_or_else(|error| panic!("{error}"));
        let checked = check(&self.out()).unwrap_or_else(|failed| panic!("{failed}"));
        (report, checked)
    }
}

fn plan(seed: u64) -> ImportPlan {
    ImportPlan {
        id: "brought@2".parse().unwrap(),
        practice: true,
        seed: Seed(seed),
    }
}

/// Every file below a directory with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn both_formats_become_problems_that_pass_their_check() {
    for kind in [ItemKind::Pair, ItemKind::Claim] {
        let source = Source::new(kind);
        let (report, checked) = source.good();
        assert_eq!((report.kind, checked.about.kind), (kind, kind));
        assert_eq!(report.grouped_by, Grouping::Question);
        assert_eq!(checked.manifest.id, "brought@2".parse().unwrap());
        assert_eq!(checked.manifest.rows[&Split::Teacher], 18);
        assert_eq!(checked.manifest.rows[&Split::Train], 30);
        assert_eq!(checked.manifest.rows[&Split::Dev], 21);
        assert_eq!(checked.manifest.rows[&Split::Rank], 39);
        assert_eq!((report.left_out(), report.shared_groups), (0, 0));
        for (split, counts) in &report.splits {
            assert_eq!(counts.rows, checked.manifest.rows[split]);
            assert_eq!(counts.groups, checked.groups[split]);
            assert_eq!(counts.zeros + counts.ones, counts.rows);
        }

        let about = fs::read_to_string(source.out().join("public/about.toml")).unwrap();
        assert!(!about.contains("strong_model") && !about.contains("activations"));
        let problem = Problem::open(&source.out()).unwrap();
        assert!(problem.teacher().is_err());
        for split in Split::ALL {
            let ids = problem.table(split).ids();
            assert!(ids.is_sorted(), "the order of rows tells something");
        }
        let text = fs::read_to_string(source.out().join("public/dev/inputs.jsonl")).unwrap();
        assert!(!text.contains("label"), "{text}");
    }
}

#[test]
fn labels_are_those_of_the_files_in_every_form() {
    let mut source = Source::new(ItemKind::Pair);
    let forms = ["\"A\"", "\"B\"", "0", "1"];
    *source.lines(SourceFile::TrainLabel) = forms
        .iter()
        .enumerate()
        .map(|(index, label)| pair(&format!("Prompt {index}?"), "this", "that", label))
        .collect();
    source.good();
    let problem = Problem::open(&source.out()).unwrap();
    let rows = problem.table(Split::Teacher).rows.iter();
    for (row, label) in rows.zip(problem.labels(Split::Teacher)) {
        let text = format!("{:?}", row.item);
        let one = text.contains("Prompt 1?") || text.contains("Prompt 3?");
        assert_eq!(u8::from(*label) == 1, one, "{text}");
    }

    let mut source = Source::new(ItemKind::Claim);
    for (index, form) in ["false", "true", "0", "1"].iter().enumerate() {
        source.lines(SourceFile::Test)[index] = claim("How many?", &format!("{index}"), form);
    }
    source.good();
    let problem = Problem::open(&source.out()).unwrap();
    for split in [Split::Dev, Split::Rank] {
        let rows = problem.table(split).rows.iter();
        for (row, label) in rows.zip(problem.labels(split)) {
            if let aar_core::row::Item::Claim { question, choice } = &row.item
                && question == "How many?"
            {
                assert_eq!(u8::from(*label) == 1, ["1", "3"].contains(&choice.as_str()));
            }
        }
    }
}

#[test]
fn the_same_files_and_seed_give_the_same_bytes_whatever_the_order_of_lines() {
    let mut source = Source::new(ItemKind::Claim);
    source.good();
    let first = files(&source.out());
    for lines in source.files.values_mut() {
        lines.reverse();
    }
    source.write();
    let again = source.home.path().join("again");
    import(&source.data(), &again, &plan(7)).unwrap();
    assert_eq!(files(&again), first);

    let other = source.home.path().join("other");
    import(&source.data(), &other, &plan(8)).unwrap();
    let dev = Path::new("public/dev/inputs.jsonl");
    assert_ne!(files(&other)[dev], first[dev]);
}

/// The attack: everything that follows from a label stands in a field that methods might see.
#[test]
fn nothing_public_follows_from_a_label() {
    let secret = |flipped: bool| {
        let mut source = Source::new(ItemKind::Claim);
        for lines in source.files.values_mut() {
            for (index, line) in lines.iter_mut().enumerate() {
                let truth = line.contains("true") != flipped;
                let word = if truth { "correct" } else { "mistaken" };
                let body = line.split(",\"label\"").next().unwrap().to_owned();
                *line = format!(
                    r#"{body},"label":{truth},"id":"{word}-{index}","subset":"{word}","difficulty":"{word}",
                    "consistency_key":"{word}","answer":"{word}","note":"{word}"}}"#
                )
                .replace('\n', "");
            }
        }
        source.good();
        files(&source.out().join("public"))
    };
    let (plain, flipped) = (secret(false), secret(true));
    for (file, bytes) in &plain {
        let text = String::from_utf8_lossy(bytes);
        for word in [
            "correct",
            "mistaken",
            "subset",
            "difficulty",
            "answer",
            "label",
        ] {
            assert!(!text.contains(word), "{word} in {}", file.display());
        }
    }
    assert_eq!(plain, flipped);
}

#[test]
fn consistency_is_told_by_keys_or_else_by_answers() {
    let mut source = Source::new(ItemKind::Claim);
    let extra = |line: String, fields: &str| line.replacen('{', &format!("{{{fields},"), 1);
    let train = source.lines(SourceFile::TrainUnlabel);
    train.push(extra(claim("One?", "a", "true"), r#""answer":"12""#));
    train.push(extra(claim("One?", "b", "true"), r#""answer":" 12 ""#));
    train.push(extra(claim("One?", "c", "false"), r#""answer":13"#));
    train.push(extra(
        claim("Two?", "a", "true"),
        r#""answer":"12","consistency_key":1"#,
    ));
    train.push(extra(
        claim("Two?", "b", "false"),
        r#""answer":"12","consistency_key":2"#,
    ));
    // One thing asked in two ways.
    train.push(extra(claim("Three?", "a", "true"), r#""consistency_id":9"#));
    train.push(extra(claim("3?", "b", "false"), r#""consistency_id":9"#));
    let (report, _) = source.good();
    assert_eq!(
        (
            report.consistency.rows,
            report.consistency.keys,
            report.consistency.contradicting
        ),
        (5, 4, 0)
    );
    let problem = Problem::open(&source.out()).unwrap();
    let found = |question: &str, choice: &str| {
        let item = aar_core::row::Item::Claim {
            question: question.to_owned(),
            choice: choice.to_owned(),
        };
        let rows = &problem.table(Split::Train).rows;
        rows.iter().find(|row| row.item == item).unwrap().clone()
    };
    let key = |question, choice| found(question, choice).consistency_key;
    assert!(key("One?", "a").is_some());
    assert_eq!(key("One?", "a"), key("One?", "b"));
    assert_ne!(key("One?", "a"), key("One?", "c"));
    assert_ne!(key("Two?", "a"), key("Two?", "b"));
    assert_ne!(key("One?", "a"), key("Two?", "a"));
    assert_eq!(key("Three?", "a"), None);
    assert_eq!(found("Three?", "a").group, found("3?", "b").group);
}

#[test]
fn one_question_for_all_rows_groups_them_by_statement() {
    let mut source = Source::new(ItemKind::Claim);
    for (file, lines) in &mut source.files {
        *lines = (0..30)
            .map(|i| {
                let choice = format!("Thing {i} is in {file}");
                claim(
                    "Is it true?",
                    &choice,
                    if i % 2 == 0 { "true" } else { "false" },
                )
            })
            .collect();
    }
    let again = source.lines(SourceFile::Test)[4].replace("Thing", "  thing");
    source.lines(SourceFile::Test).push(again);
    let (report, checked) = source.good();
    assert_eq!(report.grouped_by, Grouping::Statement);
    assert_eq!(checked.groups[&Split::Train], 30);
    let test = &report.files[&SourceFile::Test];
    assert_eq!((test.rows, test.groups), (31, 30));
    assert_eq!((test.exact_duplicates, test.normalised_duplicates), (0, 1));
}

#[test]
fn duplicates_and_overlap_are_counted_and_scored_rows_stay() {
    let mut source = Source::new(ItemKind::Pair);
    let test = source.lines(SourceFile::Test)[0].clone();
    let swapped = pair("What is thing 201?", "Not 0.", "It is 0.", "\"A\"");
    let again = source.lines(SourceFile::TrainUnlabel)[5].clone();
    let train = source.lines(SourceFile::TrainUnlabel);
    train.extend([test, swapped, again]);
    let (report, checked) = source.good();
    let train = &report.files[&SourceFile::TrainUnlabel];
    assert_eq!(
        (train.rows, train.exact_duplicates, train.elsewhere),
        (33, 1, 2)
    );
    assert_eq!(report.files[&SourceFile::Test].elsewhere, 0);
    assert_eq!(checked.manifest.rows[&Split::Train], 30);
    assert_eq!(checked.manifest.duplicates, 3);
    let shared = report
        .overlaps
        .iter()
        .find(|o| (o.one, o.other) == (SourceFile::TrainUnlabel, SourceFile::Test))
        .unwrap();
    assert_eq!((shared.groups, shared.exact_rows), (2, 1));
    // The rows that shared their groups with test are gone.
    assert_eq!(report.shared_groups, 0);
}

#[test]
fn groups_that_came_in_two_files_are_stated_but_never_in_dev_and_rank() {
    let mut source = Source::new(ItemKind::Pair);
    for question in 200..220 {
        let row = pair(&format!("what is  thing {question}?"), "x", "y", "\"A\"");
        source.lines(SourceFile::TrainUnlabel).push(row);
    }
    let (report, checked) = source.good();
    assert_eq!(
        (report.shared_groups, checked.manifest.shared_groups),
        (20, 20)
    );
    let problem = Problem::open(&source.out()).unwrap();
    let groups = |split| -> BTreeSet<String> {
        let rows = problem.table(split).rows.iter();
        rows.map(|row| row.group.to_string()).collect()
    };
    assert!(groups(Split::Dev).is_disjoint(&groups(Split::Rank)));
    assert!(!groups(Split::Dev).is_disjoint(&groups(Split::Train)));

    // The number is checked, and dev and rank are kept apart all the same.
    let manifest = source.out().join("problem.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(
        &manifest,
        text.replace("shared_groups = 20", "shared_groups = 19"),
    )
    .unwrap();
    let failed = check(&source.out()).unwrap_err().to_string();
    assert!(
        failed.contains("field shared_groups: found 19, but 20 groups are in more than one split"),
        "{failed}"
    );
    fs::write(&manifest, text).unwrap();
    let [dev, rank] = ["public/dev/inputs.jsonl", "vault/rank/inputs.jsonl"];
    let group = |file: &str| {
        let text = fs::read_to_string(source.out().join(file)).unwrap();
        let name = text.split('"').nth(7).unwrap().to_owned();
        (text, name)
    };
    let (_, theirs) = group(dev);
    let (text, own) = group(rank);
    fs::write(source.out().join(rank), text.replace(&own, &theirs)).unwrap();
    let failed = check(&source.out()).unwrap_err().to_string();
    assert!(
        failed.contains("is in split dev too; keep each group in one split"),
        "{failed}"
    );
}

#[test]
fn foreign_fields_and_texts_that_are_none_are_counted() {
    let mut source = Source::new(ItemKind::Pair);
    let test = source.lines(SourceFile::Test);
    test[0] = test[0].replacen('{', r#"{"model":"m","subset":"s","deep":{"a":[1]},"#, 1);
    test[1] = test[1].replacen('{', r#"{"model":null,"#, 1);
    test[2] = test[2]
        .replace("\"It is 2.\"", "true")
        .replace("\"Not 2.\"", "\"\"");
    let (report, _) = source.good();
    assert_eq!(
        report.unknown_fields,
        BTreeMap::from([("deep".to_owned(), 1), ("model".to_owned(), 2)])
    );
    assert_eq!(
        report.withheld_fields,
        BTreeMap::from([("subset".to_owned(), 1)])
    );
    let test = &report.files[&SourceFile::Test];
    assert_eq!((test.converted_texts, test.empty_answers), (1, 1));
    let all: Vec<u8> = files(&source.out()).into_values().flatten().collect();
    let all = String::from_utf8_lossy(&all);
    assert!(all.contains(r#""first":"True""#), "not as Python prints it");
    assert!(!all.contains("model\":"), "a foreign field came in");
}

/// Damages good files and expects the whole import to be refused, with this among its reasons.
fn refused(kind: ItemKind, expected: &str, damage: impl FnOnce(&mut Source)) {
    let mut source = Source::new(kind);
    damage(&mut source);
    source.write();
    refused_there(&source, expected);
}

fn refused_there(source: &Source, expected: &str) {
    let error = import(&source.data(), &source.out(), &plan(1))
        .expect_err("the damage was not found")
        .to_string();
    let expected = format!("{}/{expected}", source.data().display());
    assert!(
        error.contains(&expected),
        "expected {expected}\nfound {error}"
    );
    assert!(!source.out().exists());
    let left = fs::read_dir(source.home.path()).unwrap().count();
    assert_eq!(left, 1, "something was left behind");
}

/// Replaces the third line of `test.jsonl`.
fn third(kind: ItemKind, line: &str, expected: &str) {
    refused(kind, &format!("test.jsonl:3: {expected}"), |source| {
        source.lines(SourceFile::Test)[2] = line.to_owned();
    });
}

#[test]
fn empty_questions_are_refused_and_empty_answers_are_not() {
    let (pairs, claims) = (ItemKind::Pair, ItemKind::Claim);
    third(
        pairs,
        &pair(" \t", "a", "b", "0"),
        "field prompt is empty; give",
    );
    third(
        claims,
        &claim("", "a", "true"),
        "field question is empty; give",
    );
    for (kind, row) in [
        (pairs, pair("Why?", "", "", "\"A\"")),
        (claims, claim("Why?", "", "true")),
    ] {
        let mut source = Source::new(kind);
        source.lines(SourceFile::Test).push(row);
        source.good();
    }
}

#[test]
fn labels_outside_the_set_are_refused() {
    let cases = [
        (
            ItemKind::Pair,
            "\"C\"",
            "field label is \"C\"; give \"A\" or \"B\", or 0 or 1",
        ),
        (ItemKind::Pair, "\"a\"", "field label is \"a\""),
        (ItemKind::Pair, "2", "field label is 2"),
        (ItemKind::Pair, "-1", "field label is -1"),
        (ItemKind::Pair, "0.5", "field label is 0.5"),
        (ItemKind::Pair, "true", "field label is True"),
        (ItemKind::Pair, "null", "field label is missing or null"),
        (
            ItemKind::Claim,
            "\"true\"",
            "field label is \"true\"; give true or false, or 1 or 0",
        ),
        (ItemKind::Claim, "\"A\"", "field label is \"A\""),
        (ItemKind::Claim, "2", "field label is 2"),
    ];
    for (kind, label, expected) in cases {
        let row = match kind {
            ItemKind::Pair => pair("Why?", "a", "b", label),
            ItemKind::Claim => claim("Why?", "a", label),
        };
        third(kind, &row, expected);
    }
    third(
        ItemKind::Claim,
        r#"{"question":"Why?","choice":"a"}"#,
        "field label is missing or null; give true or false",
    );
}

#[test]
fn mixed_formats_are_refused_in_one_file_and_between_files() {
    let (pairs, claims) = (ItemKind::Pair, ItemKind::Claim);
    third(
        pairs,
        &claim("Why?", "a", "true"),
        "a claim (question, choice), but train_label.jsonl:1 is a pair (prompt, first, second); keep",
    );
    refused(claims, "train_unlabel.jsonl:1: a pair", |source| {
        *source.lines(SourceFile::TrainUnlabel) = rows(pairs, 0, 9);
    });
    third(
        pairs,
        r#"{"prompt":"a","question":"b","first":"c","second":"d","label":0}"#,
        "has fields of a pair and of a claim; keep",
    );
    third(
        pairs,
        r#"{"label":0}"#,
        "has neither prompt, first and second nor",
    );
    third(
        pairs,
        r#"{"prompt":"a","first":"c","label":0}"#,
        "field second is missing or null; give its text",
    );
    third(
        claims,
        r#"{"question":"a","choice":null,"label":0}"#,
        "field choice is missing or null; give its text",
    );
}

#[test]
fn lines_that_are_no_rows_are_refused() {
    let kind = ItemKind::Pair;
    third(
        kind,
        "{\"prompt\": ",
        "field prompt: EOF while parsing a value; write each row as one whole JSON object",
    );
    third(kind, "[1, 2]", "invalid type: ");
    third(kind, "null", "invalid type: ");
    third(
        kind,
        &(pair("a", "b", "c", "0") + " x"),
        "trailing characters; write",
    );
    third(
        kind,
        &pair("a", "b", "c", "0").replacen('{', r#"{"label":1,"#, 1),
        "field label: duplicate field `label`",
    );
    third(
        kind,
        r#"{"prompt":"a","first":["b"],"second":"c","label":0}"#,
        "field first: found an array, expected a text",
    );
    third(
        kind,
        &format!(r#"{{"prompt":{}"#, "[".repeat(5000)),
        "field prompt[0][0][0][0][0][0][0][0][0][0][0][…: recursion limit exceeded; write",
    );
    let long = pair("a", &"b".repeat(MAX_LINE), "c", "0");
    let found = long.len();
    third(
        kind,
        &long,
        &format!("has {found} bytes, at most {MAX_LINE} are read"),
    );
    let fields = (0..=MAX_FIELDS)
        .map(|i| format!("\"f{i}\":0,"))
        .collect::<String>();
    third(
        kind,
        &pair("a", "b", "c", "0").replacen('{', &format!("{{{fields}"), 1),
        "has a field that is not one of the layout, as 64 other names before it",
    );

    let source = Source::new(kind);
    source.write();
    let file = source.data().join("test.jsonl");
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 13;
    bytes[place] = 0xff;
    fs::write(&file, bytes).unwrap();
    refused_there(
        &source,
        "test.jsonl:2: not valid UTF-8; save the file as UTF-8",
    );
}

#[test]
fn given_ids_that_repeat_are_refused() {
    for [one, two] in [["\"x\"", "\"x\""], ["7", "7"]] {
        refused(ItemKind::Pair, "train_unlabel.jsonl:5: id ", |source| {
            let lines = source.lines(SourceFile::TrainUnlabel);
            lines[1] = lines[1].replacen('{', &format!("{{\"id\":{one},"), 1);
            lines[4] = lines[4].replacen('{', &format!("{{\"id\":{two},"), 1);
        });
    }
    // Every file may count from 0.
    let mut source = Source::new(ItemKind::Pair);
    for lines in source.files.values_mut() {
        for (index, line) in lines.iter_mut().enumerate() {
            *line = line.replacen('{', &format!("{{\"id\":{index},"), 1);
        }
    }
    source.good();
}

#[test]
fn a_row_with_both_labels_is_refused() {
    refused(
        ItemKind::Claim,
        "train_label.jsonl:19: repeats line 2 with the other label; keep",
        |source| {
            let lines = source.lines(SourceFile::TrainLabel);
            let other = lines[1].replace("false", "true");
            lines.push(other);
        },
    );
}

#[test]
fn files_that_are_missing_empty_too_large_or_no_files_are_refused() {
    let source = Source::new(ItemKind::Pair);
    source.write();
    let file = source.data().join("train_label.jsonl");
    let good = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    refused_there(&source, "train_label.jsonl: No such file or directory");
    fs::create_dir(&file).unwrap();
    refused_there(&source, "train_label.jsonl: is not a regular file");
    fs::remove_dir(&file).unwrap();
    for empty in ["", "\n \n"] {
        fs::write(&file, empty).unwrap();
        refused_there(&source, "train_label.jsonl: holds no row");
    }
    // No bytes on the disk, but as long as one that would not fit into memory.
    let large = fs::File::create(&file).unwrap();
    large.set_len(MAX_FILE + 1).unwrap();
    refused_there(
        &source,
        "train_label.jsonl: has 268435457 bytes, at most 268435456",
    );
    // The same files are good again when the one is.
    fs::write(&file, good).unwrap();
    import(&source.data(), &source.out(), &plan(1)).unwrap();
}

#[test]
fn splits_of_one_group_or_one_label_are_refused() {
    let kind = ItemKind::Claim;
    refused(
        kind,
        "train_label.jsonl: all its rows are one group",
        |source| {
            *source.lines(SourceFile::TrainLabel) = rows(kind, 0, 1);
        },
    );
    refused(
        kind,
        "test.jsonl: its rows are 3 groups (of one prompt or question or consistency_id), at least 4",
        |source| *source.lines(SourceFile::Test) = rows(kind, 200, 3),
    );
    refused(
        kind,
        "train_unlabel.jsonl: all its rows are in a file scored later too",
        |source| {
            let test = source.lines(SourceFile::Test).clone();
            *source.lines(SourceFile::TrainUnlabel) = test;
        },
    );
    refused(kind, "test.jsonl: all its rows are one group", |source| {
        // One id for everything makes one group of everything.
        for line in source.lines(SourceFile::Test) {
            *line = line.replacen('{', "{\"consistency_id\":0,", 1);
        }
    });
    refused(
        kind,
        "train_unlabel.jsonl: all 30 rows for split train have label 1, a split needs both",
        |source| {
            for line in source.lines(SourceFile::TrainUnlabel) {
                *line = line.replace("false", "true");
            }
        },
    );
}

#[test]
fn many_faults_are_listed_at_once_and_then_counted() {
    let mut source = Source::new(ItemKind::Claim);
    for line in source.lines(SourceFile::Test) {
        line.push('}');
    }
    source.lines(SourceFile::TrainLabel)[3] = "{}".to_owned();
    let error = source.import().unwrap_err();
    let ImportError::Data(refused) = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (refused.faults.len(), refused.more),
        (MAX_FAULTS, 61 - MAX_FAULTS)
    );
    assert_eq!(refused.faults[0].line, Some(4));
    assert!(
        error.to_string().ends_with("\n… and 41 more faults"),
        "{error}"
    );
}

#[test]
fn a_target_with_something_in_it_is_refused_and_an_empty_one_is_filled() {
    let source = Source::new(ItemKind::Pair);
    fs::create_dir(source.out()).unwrap();
    fs::write(source.out().join("mine"), "kept").unwrap();
    let error = source.import().unwrap_err().to_string();
    assert!(
        error.contains("out exists already; remove it or choose another"),
        "{error}"
    );
    assert_eq!(files(&source.out()).len(), 1);
    fs::remove_file(source.out().join("mine")).unwrap();
    source.good();
}

/// The real sets: `AAR_STUDY_DATA=DIR cargo test --release -p aar-problem --test problem -- --ignored
/// --nocapture study_data`, where each directory in `DIR` holds the three files.
#[test]
#[ignore = "needs AAR_STUDY_DATA, a directory of data sets in the study's layout"]
fn study_data_is_imported() {
    let data = std::env::var_os("AAR_STUDY_DATA")
        .expect("AAR_STUDY_DATA must name a directory of data sets in the study's layout");
    let home = tempfile::tempdir().unwrap();
    let mut sets = 0;
    for entry in fs::read_dir(data).unwrap() {
        let source = entry.unwrap().path();
        let out = home.path().join(source.file_name().unwrap());
        let report = import(&source, &out, &plan(1)).unwrap_or_else(|error| panic!("{error}"));
        println!("{}\n{report}", source.display());
        let checked = check(&out).unwrap_or_else(|failed| panic!("{failed}"));
        let made: usize = report.splits.values().map(|split| split.rows).sum();
        let came: usize = report.files.values().map(|file| file.rows).sum();
        assert_eq!(made + report.left_out(), came);
        assert_eq!(checked.manifest.duplicates, report.left_out());
        sets += 1;
    }
    assert!(sets > 0, "AAR_STUDY_DATA holds no data set");
}
