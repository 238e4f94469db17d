//! Language-model researchers on the command line: estimates, and what is refused before a study begins.

use crate::program::{Answer, aar_in};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

const PRICES: &str = "default_model = \"fake\"\n[[model]]\nname = \"fake\"\nwire = \"anthropic\"\n\
    context_window = 200_000\nmax_output = 16_000\n\
    price = { input = 4.0, output = 20.0, cache_write = 5.0, cache_read = 0.4 }\n\
    source = \"made up\"\nread = 2026-11-21\n";

/// A study of one model at `llm`, and what `aar run` says of it.
fn refused(llm: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let study = format!(
        "kind = \"llm\"\nresearchers = 1\nminutes = 0.5\n[llm]\nprices = \"prices.toml\"\n{llm}"
    );
    fs::write(home.path().join("study.toml"), study).unwrap();
    fs::write(home.path().join("prices.toml"), PRICES).unwrap();
    fs::write(home.path().join("key"), "sk-secret-1234567890").unwrap();
    let Answer { code, stderr, .. } = aar_in(home.path(), &["run", "study.toml", "--out", "run"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(!home.path().join("run").exists(), "nothing is left behind");
    assert!(!stderr.contains("sk-secret"), "the key is shown: {stderr}");
    stderr
}

/// A provider that answers everything with `status` and `body`.
fn provider(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut seen = Vec::new();
            let mut part = [0; 4096];
            // The whole request, whose end is that of its JSON.
            while !seen.ends_with(b"}") {
                match stream.read(&mut part) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => seen.extend_from_slice(&part[..read]),
                }
            }
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn a_dry_run_tells_a_range_without_a_key_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dry = |extra: &[&str]| {
        let answer = aar_in(home.path(), &[&["run", "--dry-run"], extra].concat());
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        answer.stdout
    };
    let said = dry(&["--researchers", "llm"]);
    assert!(
        said.contains("costs between $") && said.contains("9 of them with a language model"),
        "{said}"
    );
    assert!(said.contains("read 2026-"), "the day of the price: {said}");
    // Twice the time costs more, up to the cap.
    let cost = |minutes: &str| {
        let said = dry(&["--researchers", "llm", "--minutes", minutes]);
        let range = said.split("costs between $").nth(1).unwrap().to_owned();
        let high = range
            .split("and $")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        high.parse::<f64>().unwrap()
    };
    let (short, long, capped) = (cost("10"), cost("20"), cost("100000"));
    assert!((long / short - 2.0).abs() < 0.01, "{short} {long}");
    assert_eq!(capped, 50.0);
    assert!(dry(&[]).contains("no researcher asks a model: $0.00"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn what_a_model_needs_is_missed_before_the_study_begins() {
    let said = refused("key_env = \"AAR_TEST_NO_SUCH_KEY\"\n");
    assert!(said.contains("AAR_TEST_NO_SUCH_KEY"), "{said}");
    let said = refused("model = \"no-such-model\"\n");
    assert!(
        said.contains("no-such-model") && said.contains("llm.model"),
        "{said}"
    );
    let said = refused("key_file = \"none\"\n");
    assert!(said.contains("none"), "{said}");
    let said = refused("key_file = \"key\"\nbase_url = \"ftp://x\"\n");
    assert!(said.contains("ftp://x"), "{said}");
    // Nobody listens on a port that was just closed.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = refused(&format!(
        "key_file = \"key\"\nbase_url = \"http://{closed}\"\n"
    ));
    assert!(
        said.contains("no reply") && said.contains("trying out"),
        "{said}"
    );
    let error = r#"{"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}"#;
    let url = provider("401 Unauthorized", error);
    let said = refused(&format!("key_file = \"key\"\nbase_url = \"{url}\"\n"));
    assert!(said.contains("does not take the key"), "{said}");
    let error =
        r#"{"type": "error", "error": {"type": "not_found_error", "message": "model: fake"}}"#;
    let url = provider("404 Not Found", error);
    let said = refused(&format!("key_file = \"key\"\nbase_url = \"{url}\"\n"));
    assert!(said.contains("has no model fake"), "{said}");
}

#[test]
fn what_a_command_needs_is_missed_before_the_study_begins() {
    let refused = |command: &str| {
        let home = tempfile::tempdir().unwrap();
        let study = format!("kind = \"command\"\nresearchers = 1\nminutes = 0.5\n{command}");
        fs::write(home.path().join("study.toml"), study).unwrap();
        let answer = aar_in(home.path(), &["run", "study.toml", "--out", "run"]);
        assert_eq!(answer.code, Some(2), "{}", answer.stderr);
        assert!(!home.path().join("run").exists(), "nothing is left behind");
        answer.stderr
    };
    assert!(refused("").contains("field command.run"));
    let said = refused("[command]\nrun = [\"/opt/no/such/agent\"]\nmodel = false\n");
    assert!(said.contains("no program /opt/no/such/agent"), "{said}");
    let run = "[command]\nrun = [\"sh\"]\nmodel = false\n";
    assert!(refused(&format!("{run}show = [\"/usr\"]\n")).contains("something else there"));
    assert!(refused(&format!("{run}show = [\"/opt/none\"]\n")).contains("field command.show"));
    assert!(refused(&format!("{run}home = \"none\"\n")).contains("field command.home"));
    let said = refused(&format!("devices = [\"/dev/null/../../etc\"]\n{run}"));
    assert!(said.contains("field devices"), "{said}");
}

#[test]
fn who_has_no_transcript_or_no_running_study_is_told() {
    let home = tempfile::tempdir().unwrap();
    let said = |args: &[&str]| {
        let answer = aar_in(home.path(), args);
        assert_eq!(answer.code, Some(2), "{}", answer.stderr);
        answer.stderr
    };
    assert!(said(&["transcript", "nowhere"]).contains("no run directory"));
    assert!(said(&["token", "nowhere", "--researcher", "a"]).contains("no run directory"));
    fs::create_dir(home.path().join("run")).unwrap();
    fs::write(home.path().join("run/study.toml"), "format = 2\n").unwrap();
    assert!(said(&["transcript", "run"]).contains("none of its researchers was a language model"));
    assert!(said(&["token", "run", "--researcher", "a"]).contains("no study runs in run"));
    assert!(said(&["token", "run", "--researcher", "../a"]).contains("invalid value"));
}
