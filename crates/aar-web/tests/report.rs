//! What the report promises, on made-up studies.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod synthetic;

use aar_core::board::Board;
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::family::Family;
use aar_core::feedback::FeedbackPolicy;
use aar_core::id::SnapshotId;
use aar_web::{Material, ReportError, Verification, board_json, digests, short_board};
use std::collections::BTreeMap;
use synthetic::{Made, empty, full, problem, row};

/// The page without its style sheet, in which no text by others could stand.
fn body(html: &str) -> &str {
    html.split_once("</style>").unwrap().1
}

/// The rows of a table, the first holding its header.
fn parse(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(bytes);
    let record = |r: Result<csv::StringRecord, _>| r.unwrap().iter().map(str::to_owned).collect();
    reader.records().map(record).collect()
}

/// Every tag of a page that opens is closed, in order.
fn assert_balanced(html: &str) {
    const VOID: [&str; 3] = ["meta", "!DOCTYPE", "br"];
    let mut open = Vec::new();
    for tag in body(html).split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().expect("a tag has a name");
        if let Some(name) = name.strip_prefix('/') {
            // The head and the page itself opened before the part that is looked at.
            let opened = open.pop();
            assert!(
                opened == Some(name) || matches!(name, "head" | "html"),
                "{opened:?} {name}"
            );
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

fn assert_sound(made: &Made) -> String {
    let report = made.report().unwrap();
    assert_eq!(report, made.report().unwrap());
    assert_balanced(&report.html);
    for bad in ["NaN", "inf,", ">inf", "=\"inf"] {
        assert!(!report.html.contains(bad), "{bad}");
    }
    assert_eq!(report.tables.len(), 13);
    for (name, bytes) in &report.tables {
        let rows = parse(bytes);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{name}");
        assert!(
            !rows
                .concat()
                .iter()
                .any(|cell| cell == "NaN" || cell == "inf"),
            "{name}"
        );
    }
    report.html
}

#[test]
fn a_full_study_has_all_of_its_parts() {
    let html = assert_sound(&full());
    for anchor in [
        "board",
        "climb-section",
        "transfer",
        "shrinkage-section",
        "methods",
        "diversity-section",
        "budget",
        "findings",
        "failures",
        "trust",
    ] {
        assert!(
            html.contains(&format!("<section id=\"{anchor}\">")),
            "{anchor}"
        );
    }
    for group in [
        "This study's methods",
        "Established baselines",
        "Published methods",
    ] {
        assert!(
            html.contains(&format!("scope=\"rowgroup\">{group}")),
            "{group}"
        );
    }
    let plots = html.matches("<svg role=\"img\"").count();
    assert_eq!(plots, 6);
    assert_eq!(html.matches("<title id=").count(), plots);
    assert_eq!(html.matches("<desc id=").count(), plots);
    assert!(html.contains("Practice problem."));
    assert!(html.contains(&Digest::of(b"head").to_string()));
    assert!(
        html.contains(&Digest::of(b"dev").to_string()),
        "a label commitment"
    );
    assert!(html.contains("anchors, weak and ceiling accuracy, is not in it"));
    assert!(html.contains("paired difference from the incumbent is above 0"));
    assert!(html.contains("Mean shrinkage, dev minus verified, over 21 methods"));
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let html = full().report().unwrap().html;
    for part in [
        "<script",
        "<img",
        "<link",
        "<iframe",
        "<object",
        "@import",
        "url(",
        " src=\"",
        "javascript:",
    ] {
        assert!(!html.contains(part), "{part}");
    }
    let links = html.split("href=\"").skip(1);
    assert!(links.into_iter().all(|link| link.starts_with('#')));
    assert!(html.contains("default-src 'none'"));
    assert!(
        !html
            .chars()
            .any(|c| c.is_control() && c != '\n' && c != '\t')
    );
    assert!(!html.contains('\u{202e}'));
    assert!(
        html.contains("\\u{202e}desrever"),
        "a reversal is shown as what it is"
    );
    assert!(
        html.contains("&lt;script&gt;alert(1)"),
        "hostile texts are quoted"
    );
}

#[test]
fn tables_hold_what_the_page_shows() {
    let made = full();
    let tables = made.report().unwrap().tables;
    let board = parse(&tables["board.csv"]);
    let rows = made.board.verified.len() + made.board.baselines.len() + made.board.published.len();
    assert_eq!(board.len(), 1 + rows);
    assert_eq!(
        board[1][..4],
        [
            "study",
            "chat@1",
            made.board.verified[0].method.as_str(),
            "ensemble"
        ]
        .map(str::to_owned)
    );
    let pgr: f64 = board[1][4].parse().unwrap();
    assert!(
        (pgr - made
            .board
            .verified
            .iter()
            .find(|r| r.problem == problem("chat@1"))
            .unwrap()
            .pgr)
            .abs()
            < 1e-6
    );

    let climb = parse(&tables["climb.csv"]);
    let hours: Vec<f64> = climb[1..]
        .iter()
        .map(|row| row[2].parse().unwrap())
        .collect();
    assert!(hours.is_sorted() && hours[0] > 0.0);
    assert_eq!(climb.iter().filter(|row| row[3] == "promoted").count(), 5);

    assert_eq!(parse(&tables["transfer.csv"]).len(), 1 + 3 * (2 + 4));
    assert_eq!(parse(&tables["budget.csv"]).len(), 1 + 9);
    let bits = parse(&tables["label_bits.csv"]);
    let released: Vec<&str> = bits.iter().map(|row| &*row[1]).collect();
    assert_eq!(released, ["released", "floored", "promoted or not"]);
    assert!(bits[1][3].parse::<f64>().unwrap() > 1_000.0, "{bits:?}");
    assert_eq!(parse(&tables["diversity.csv"]).len(), 1 + 12);
    assert_eq!(parse(&tables["methods.csv"]).len(), 1 + 9 + 230);
    let evaluations: u64 = parse(&tables["diversity.csv"])[1..]
        .iter()
        .flat_map(|row| row[8..].iter().map(|cell| cell.parse::<u64>().unwrap()))
        .sum();
    assert_eq!(
        evaluations, 230,
        "every evaluation is in exactly one stretch of time"
    );
}

#[test]
fn labels_and_reviews_are_counted_and_clear_nobody() {
    let report = full().report().unwrap();
    let findings = parse(&report.tables["findings.csv"]);
    let reviews = parse(&report.tables["reviews.csv"]);
    let labelled = findings[1..].iter().filter(|row| !row[13].is_empty());
    assert_eq!(labelled.count(), findings.len() - 1);
    assert_eq!(reviews.len(), findings.len());
    let complexity = parse(&report.tables["complexity.csv"]);
    assert_eq!(complexity.len(), 1 + 12);
    let ideas: usize = complexity[1..]
        .iter()
        .map(|row| row[4].parse::<usize>().unwrap())
        .sum();
    assert_eq!(
        ideas,
        findings.len() - 1,
        "every idea is in one stretch of time"
    );
    for row in &complexity[1..] {
        let [low, mean, high] = [6, 5, 7].map(|cell| row[cell].parse::<f64>().unwrap());
        assert!(
            low <= mean && mean <= high && (1.0..=10.0).contains(&mean),
            "{row:?}"
        );
    }
    let best: Vec<f64> = complexity[1..]
        .iter()
        .filter_map(|row| row[8].parse().ok())
        .collect();
    assert!(best.is_sorted() && !best.is_empty());
    let silent = reviews
        .iter()
        .filter(|row| row[2] == "silent" && row[3] == "0")
        .count();
    let said = format!("named nothing in {silent} that it read whole");
    assert!(report.html.contains(&said), "{said}");
    assert!(report.html.contains("clears nobody"));
    let cost = (findings.len() - 1) as f64 * 5e-4;
    assert!(
        report
            .html
            .contains(&format!("replies of a model and ${cost:.4}"))
    );
}

#[test]
fn a_spreadsheet_runs_no_cell() {
    let tables = full().report().unwrap().tables;
    let findings = parse(&tables["findings.csv"]);
    assert!(
        findings
            .iter()
            .any(|row| row[4] == "'=HYPERLINK(\"http://x\")")
    );
    for row in tables.values().flat_map(|bytes| parse(bytes)) {
        for cell in row {
            let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(!formula || cell.parse::<f64>().is_ok(), "{cell}");
            assert!(!cell.contains(['\u{202e}', '\u{0}', '\n']), "{cell}");
        }
    }
}

#[test]
fn tables_do_not_depend_on_what_follows_them() {
    let mut made = full();
    let before = made.report().unwrap();
    made.close(digests(&before.tables));
    let after = made.report().unwrap();
    assert_eq!(before.tables, after.tables);
    assert!(before.html.contains("Not closed yet"));
    assert!(!after.html.contains("Not closed yet"));
    assert!(
        after
            .html
            .contains("closing event holds these SHA-256 digests")
    );
    let mut forged = full();
    forged.close(BTreeMap::new());
    assert!(
        forged
            .report()
            .unwrap()
            .html
            .contains("closing event holds other digests for")
    );
}

#[test]
fn an_empty_study_and_one_row() {
    let mut made = empty();
    let html = assert_sound(&made);
    assert!(html.contains("No method of this study has been verified."));
    assert!(html.contains("Nothing failed."));
    let id = SnapshotId(Digest::of(b"only"));
    made.board
        .verified
        .push(row(id, "only", Family::Other, "chat@1", 0.5));
    let html = assert_sound(&made);
    assert!(html.contains("<strong>only</strong>, PGR <strong>0.50</strong>"));
    assert!(html.contains("The snapshot's files could not be read."));
}

#[test]
fn figures_that_are_none() {
    let mut made = full();
    for (place, bad) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300]
        .into_iter()
        .enumerate()
    {
        let worst = &mut made.board.verified[place * 2];
        (worst.pgr, worst.ci_low, worst.ci_high) = (bad, -bad, bad);
        (worst.gain, worst.accuracy) = (Some(bad), bad);
    }
    assert_sound(&made);
    let json = board_json(&made.board).unwrap();
    assert!(
        serde_json::from_str::<serde_json::Value>(&json).unwrap()["verified"][0]["pgr"].is_null()
    );
}

#[test]
fn verification_is_told_as_it_is() {
    let made = full();
    let told = |verification: &Verification| {
        let material = Material {
            events: &made.events,
            board: &made.board,
            snapshot: &|_| None,
            text: &|_| None,
            head: Digest::ZERO,
            verification,
            promotion_rule: "",
        };
        aar_web::report(&material).unwrap().html
    };
    assert!(told(&Verification::NotRun).contains("Not run when this page was written."));
    let bad = told(&Verification::Bad(vec![
        "store/ab: <b>changed</b>".to_owned(),
    ]));
    assert!(bad.contains("do not trust") && bad.contains("&lt;b&gt;changed"));
    assert!(!bad.contains("<strong>Passed"));
}

#[test]
fn a_ledger_without_a_study_has_no_report() {
    let mut made = full();
    made.events.remove(0);
    assert!(matches!(made.report(), Err(ReportError::NoStudy)));
    made.events.clear();
    assert!(matches!(made.report(), Err(ReportError::NoStudy)));
    let mut made = empty();
    if let Event::StudyOpened { problems, .. } = &mut made.events[0].2 {
        problems.clear();
    }
    assert!(matches!(made.report(), Err(ReportError::NoStudy)));
}

#[test]
fn the_terminal_board_fits() {
    let mut made = full();
    made.board.verified[0].method = "a".repeat(40).parse().unwrap();
    made.board.verified[1].pgr = 1e9;
    for board in [&made.board, &Board::default()] {
        let text = short_board(board, &problem("chat@1"), true, FeedbackPolicy::Ladder);
        assert!(text.is_ascii());
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        for group in [
            "This study's methods",
            "Established baselines",
            "Published methods",
        ] {
            assert_eq!(text.matches(group).count(), 1);
        }
        assert!(text.contains("practice problem") && text.contains(": ladder."));
    }
    let text = short_board(
        &made.board,
        &problem("chat@1"),
        false,
        FeedbackPolicy::Floored,
    );
    assert!(!text.contains("practice") && text.contains("Transfer to math@1"));
    assert!(text.contains("(the best baseline)") && text.contains(" and 12 more"));
}

#[test]
fn the_json_board_reads_back() {
    let made = full();
    let board: Board = serde_json::from_str(&board_json(&made.board).unwrap()).unwrap();
    // Rows, not boards: without `float_roundtrip` serde_json may miss the last bit.
    for (read, row) in board.verified.iter().zip(&made.board.verified) {
        assert_eq!((&read.method, read.snapshot), (&row.method, row.snapshot));
        assert!((read.pgr - row.pgr).abs() < 1e-12);
    }
    assert_eq!(board.verified.len(), made.board.verified.len());
    let value: serde_json::Value = serde_json::from_str(&board_json(&made.board).unwrap()).unwrap();
    for key in [
        "method",
        "problem",
        "pgr",
        "ci_low",
        "ci_high",
        "seeds",
        "gain",
        "gain_ci_low",
    ] {
        assert!(value["verified"][0].get(key).is_some(), "{key}");
    }
}
