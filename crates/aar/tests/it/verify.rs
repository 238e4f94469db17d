//! `aar verify` finds whatever was changed in a finished run.

use crate::program::{Answer, aar};
use crate::study::{files, finished};
use aar_core::board::Group;
use aar_core::case::Suspicion;
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::id::{CaseId, Seed};
use aar_hub::ledger::{Entry, LEDGER_FILE, Ledger};
use aar_hub::snapshot;
use aar_hub::store::{STORE_DIR, Store};
use aar_referee::{PROMOTION_RULE, recompute};
use aar_web::{Material, Verification};
use std::fs;
use std::path::Path;

fn verify(run: &Path, options: &[&str]) -> Answer {
    aar(&[&["verify", run.to_str().unwrap()], options].concat())
}

/// The run must be refused, and the fault named.
fn refused(run: &Path, named: &str) {
    let answer = verify(run, &[]);
    assert_eq!(answer.code, Some(1), "{named}: {answer:?}");
    let faults: Vec<&str> = answer
        .stdout
        .lines()
        .filter(|line| line.starts_with("FAULT"))
        .collect();
    assert!(
        faults.iter().any(|fault| fault.contains(named)),
        "{named}: {faults:?}"
    );
}

/// Flips one bit of a file and gives back what the file held.
fn flip(file: &Path, position: usize, bit: u8) -> Vec<u8> {
    let before = fs::read(file).unwrap();
    let mut after = before.clone();
    after[position] ^= 1 << bit;
    fs::write(file, after).unwrap();
    before
}

#[test]
fn a_finished_run_verifies_wherever_it_is_moved() {
    let study = finished();
    let head = study.head().to_string();
    let copy = study.copy();
    for run in [study.dir.clone(), copy.path().join("run")] {
        let answer = verify(&run, &["--head", &head]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        assert!(answer.stdout.ends_with("this run verifies\n") && answer.stdout.contains(&head));
    }
}

#[test]
fn a_study_without_its_end_is_refused_unless_that_is_asked_for() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    let ledger = run.join(LEDGER_FILE);
    let text = fs::read_to_string(&ledger).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&ledger, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    fs::remove_dir_all(run.join("report")).unwrap();
    refused(&run, "the ledger does not close the study");
    let answer = verify(&run, &["--unfinished"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let board = aar(&["board", run.to_str().unwrap()]);
    assert!(board.stderr.contains("unfinished"), "{board:?}");
}

#[test]
fn a_study_file_of_other_bytes_is_a_fault_whatever_they_are() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    let file = run.join("study.toml");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() = 0xff;
    fs::write(&file, bytes).unwrap();
    refused(&run, "study.toml");
}

#[test]
fn another_head_is_refused() {
    let answer = verify(
        &finished().dir,
        &["--head", &Digest::of(b"another").to_string()],
    );
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stdout.contains("it was rewritten"), "{answer:?}");
}

/// Of every file three bytes and of the ledger many, each with one bit flipped.
#[test]
fn no_bit_of_ledger_store_and_problems_can_flip_unnoticed() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    let mut tried = 0;
    for part in ["ledger", "store", "problem", "transfer"] {
        for file in files(&run.join(part)) {
            let length = fs::metadata(&file).unwrap().len();
            let flips = if part == "ledger" { 200 } else { 2 };
            for number in 0..flips.min(length) {
                // Spread over the file, and another place in each file.
                let draw = Seed(tried).derive("flip", number).0;
                let position = (length * number + draw % length) / flips.max(1);
                let before = flip(&file, position.min(length - 1) as usize, (draw % 8) as u8);
                let faults = recompute(&run, None).faults;
                assert!(!faults.is_empty(), "{} byte {position}", file.display());
                fs::write(&file, before).unwrap();
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "{tried}");
    assert_eq!(recompute(&run, None).faults, Vec::<String>::new());
}

#[test]
fn no_bit_of_the_report_can_flip_unnoticed() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    for file in files(&run.join("report")) {
        let named = format!("report/{}", file.file_name().unwrap().to_str().unwrap());
        let length = fs::metadata(&file).unwrap().len() as usize;
        for position in [0, length / 2, length - 1] {
            let before = flip(&file, position, 0);
            refused(&run, &named);
            fs::write(&file, before).unwrap();
        }
        let before = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        refused(&run, &named);
        fs::write(&file, before).unwrap();
    }
    assert_eq!(verify(&run, &[]).code, Some(0));
}

#[test]
fn the_program_names_what_was_flipped() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    let blob = files(&run.join("store")).swap_remove(3);
    let cases = [
        (run.join(LEDGER_FILE), "ledger line "),
        (blob.clone(), blob.file_name().unwrap().to_str().unwrap()),
        (
            run.join("problem/vault/rank/labels.jsonl"),
            "vault/rank/labels.jsonl",
        ),
        (run.join("problem/vault/salt"), "vault/salt"),
        (run.join("problem/brief.md"), "problem/brief.md"),
        (
            run.join("transfer/other/vault/dev/weak.safetensors"),
            "vault/dev/weak.safetensors",
        ),
        (run.join("study.toml"), "study.toml"),
    ];
    for (file, named) in cases {
        let length = fs::metadata(&file).unwrap().len() as usize;
        let before = flip(&file, length - 3, 0);
        refused(&run, named);
        fs::write(file, before).unwrap();
    }
    let manifest = run.join("problem/problem.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    for field in ["[commitments]", "[anchors.rank]"] {
        let (start, rest) = text.split_once(field).unwrap();
        let at = rest.find(['3', '5', '7']).unwrap();
        let changed = format!("{start}{field}{}4{}", &rest[..at], &rest[at + 1..]);
        fs::write(&manifest, changed).unwrap();
        refused(&run, "differ from those in the ledger");
    }
}

#[test]
fn files_that_were_removed_or_added_are_found() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    for part in ["store", "problem", "transfer/other"] {
        for file in files(&run.join(part)).into_iter().step_by(5) {
            let before = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            assert!(
                !recompute(&run, None).faults.is_empty(),
                "{}",
                file.display()
            );
            fs::write(&file, before).unwrap();
        }
    }
    for added in [
        "store/new",
        "store/ab/new",
        "problem/new",
        "problem/vault/dev/new",
        "transfer/other/new",
        "ledger/events.jsonl.new",
        "report/index.html.new",
        "report/verified.csv.new",
        "report/.new",
    ] {
        let file = run.join(added);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "new").unwrap();
        refused(&run, added.rsplit('/').next().unwrap());
        fs::remove_file(&file).unwrap();
    }
}

/// Closes a copy of the study again as if a case had been opened on a method of its board before.
fn close_with_a_case(run: &Path) -> (CaseId, Digest) {
    let (_closing, before) = finished().entries.split_last().unwrap();
    let at = before.last().unwrap().at;
    let known = before.iter().filter_map(|entry| match entry.event {
        Event::CaseOpened { case, .. } => Some(case.0),
        _ => None,
    });
    let case = CaseId(known.max().unwrap_or(0) + 1);
    let ranked = before.iter().find_map(|entry| match &entry.event {
        Event::Replicated { replication, .. } if replication.group == Group::Study => {
            Some(replication.snapshot)
        }
        _ => None,
    });
    let opened = Event::CaseOpened {
        case,
        suspicion: Suspicion::EmbeddedData,
        researcher: "ada".parse().unwrap(),
        snapshot: Some(ranked.unwrap()),
        weight: 2.0,
        evidence: "many opaque words".to_owned(),
    };
    let file = run.join(LEDGER_FILE);
    fs::remove_file(&file).unwrap();
    let mut ledger = Ledger::create(&file).unwrap();
    for Entry { at, event, .. } in before {
        ledger.append(*at, std::slice::from_ref(event)).unwrap();
    }
    ledger.append(at, &[opened]).unwrap();

    let report = |verification: &Verification| {
        let made = recompute(run, None);
        assert_eq!(made.faults, Vec::<String>::new());
        let store = Store::at(&run.join(STORE_DIR));
        let events: Vec<_> = made
            .entries
            .iter()
            .map(|entry| (entry.seq, entry.at, entry.event.clone()))
            .collect();
        let material = Material {
            events: &events,
            board: &made.board_at_closing,
            snapshot: &|id| snapshot::get(&store, id).ok(),
            text: &|digest| store.get(digest).ok(),
            head: made.head,
            verification,
            promotion_rule: PROMOTION_RULE,
        };
        aar_web::report(&material).unwrap()
    };
    let tables = report(&Verification::NotRun).tables;
    for (name, bytes) in &tables {
        fs::write(run.join("report").join(name), bytes).unwrap();
    }
    let tables = aar_web::digests(&tables);
    ledger.append(at, &[Event::StudyClosed { tables }]).unwrap();
    let checked = Verification::Good(recompute(run, None).checked);
    let page = report(&checked).html;
    fs::write(run.join("report/report.html"), page).unwrap();
    (case, ledger.head())
}

#[test]
fn a_decision_after_the_closing_does_not_pass_unnoticed() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    let (case, closed) = close_with_a_case(&run);
    let closed = closed.to_string();
    let at_closing = verify(&run, &["--head", &closed]);
    assert_eq!(at_closing.code, Some(0), "{at_closing:?}");
    assert!(!at_closing.stdout.contains("decided"), "{at_closing:?}");

    let decide = |verdict: &str| {
        let (run, case) = (run.to_str().unwrap(), case.to_string());
        let decision = ["case", run, "--decide", &case, "--verdict", verdict];
        let words = ["--reason", "I \"ran\" it", "--judge", "ann"];
        let answer = aar(&[&decision[..], &words].concat());
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let head = answer.stdout.trim_end().rsplit(' ').next().unwrap();
        head.to_owned()
    };
    let told = |options: &[&str], code: i32, lines: &[&str]| {
        let answer = verify(&run, options);
        assert_eq!(answer.code, Some(code), "{answer:?}");
        for line in lines {
            assert!(answer.stdout.contains(line), "{line}: {answer:?}");
        }
        assert_eq!(answer.stdout.ends_with("this run verifies\n"), code == 0);
        answer.stdout
    };
    let first = decide("disqualified");
    let out = format!("case {case} is disqualified, says ann at ");
    let differs = "board    differs now from the report's tables";
    let since = "the head you gave is that of the closing; 1 decision came after it";
    let seen = [&*out, r#": "I \"ran\" it""#, differs];
    told(&[], 0, &seen);
    told(&["--head", &closed], 1, &[&seen[..], &[since]].concat());
    let allowed = ["--head", &closed, "--allow-decisions"];
    told(&allowed, 0, &[&seen[..], &[since]].concat());
    let covered = told(&["--head", &first], 0, &seen);
    assert!(!covered.contains("the head you gave"), "{covered}");

    // The second one takes the first one back: the board is as it was, and that too must be seen.
    let second = decide("clean");
    let back = format!("case {case} is clean, says ann at ");
    let same = "board    is still that of the report's tables";
    let both = [&*out, &*back, same];
    let since = "is that of the closing; 2 decisions came after it";
    told(&["--head", &closed], 1, &[&both[..], &[since]].concat());
    let since = "; 1 decision came after it";
    told(&["--head", &first], 1, &[&both[..], &[since]].concat());
    told(&["--head", &second], 0, &both);
    assert_eq!(verify(&run, &["--allow-decisions"]).code, Some(2));
}

/// Writes the run's ledger anew with some events changed: every hash and link is right again.
fn rewrite(run: &Path, change: impl Fn(&mut Event)) -> Digest {
    let file = run.join(LEDGER_FILE);
    fs::remove_file(&file).unwrap();
    let mut ledger = Ledger::create(&file).unwrap();
    for Entry { at, event, .. } in &finished().entries {
        let mut event = event.clone();
        change(&mut event);
        ledger.append(*at, &[event]).unwrap();
    }
    ledger.head()
}

#[test]
fn a_chain_that_was_rewritten_consistently_needs_the_head_to_be_found() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    let new_head = rewrite(&run, |event| {
        if let Event::TokenIssued { token_hash, .. } = event {
            *token_hash = Digest::of(b"another token");
        }
    });
    // The page shows the head that was.
    refused(&run, "report/report.html");
    let page = run.join("report/report.html");
    let (old_head, new_head) = (finished().head().to_string(), new_head.to_string());
    let text = fs::read_to_string(&page).unwrap();
    fs::write(&page, text.replace(&old_head, &new_head)).unwrap();
    assert_eq!(verify(&run, &[]).code, Some(0));
    assert_eq!(verify(&run, &["--head", &new_head]).code, Some(0));
    assert_eq!(verify(&run, &["--head", &old_head]).code, Some(1));
}

#[test]
fn a_chain_that_was_rewritten_against_store_problem_or_tables_is_found_without_the_head() {
    let copy = finished().copy();
    let run = copy.path().join("run");
    type Lie = fn(&mut Event);
    let lies: [(&str, Lie); 4] = [
        ("the ledger says promoted = ", |event| {
            if let Event::Replicated { replication, .. } = event {
                replication.promoted = !replication.promoted;
            }
        }),
        // A fault of the promotions, or of the tables.
        ("FAULT", |event| {
            if let Event::Replicated { replication, .. } = event {
                let first = replication.outputs[0];
                replication.outputs.fill(first);
            }
        }),
        ("the store lacks", |event| {
            if let Event::Replicated { replication, .. } = event {
                replication.outputs[0] = Digest::of(b"better predictions");
            }
        }),
        ("anchors differ from those in the ledger", |event| {
            if let Event::StudyOpened { problems, .. } = event {
                problems[0]
                    .anchors
                    .values_mut()
                    .for_each(|anchors| anchors.weak -= 0.01);
            }
        }),
    ];
    for (named, lie) in lies {
        rewrite(&run, lie);
        refused(&run, named);
    }
}
