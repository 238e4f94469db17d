//! One finished study that many tests look at.

use crate::program::{Answer, aar_in};
use crate::tiny;
use aar_core::digest::Digest;
use aar_core::problem::ItemKind;
use aar_hub::ledger::{Entry, LEDGER_FILE, read_verified};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Small budgets, so that a short study reaches them; long enough for its transfer on a machine that
/// compiles beside it.
const STUDY: &str = r#"
name = "tiny"
seed = 20
problem = "tiny"
transfer = ["other"]
minutes = 1.5
researchers = 3

[budget]
evaluations = 4
experiments = 12
"#;

/// A study that ran to its end.
pub(crate) struct Finished {
    pub(crate) dir: PathBuf,
    pub(crate) answer: Answer,
    pub(crate) entries: Vec<Entry>,
}

impl Finished {
    /// The hash of the ledger's last entry.
    pub(crate) fn head(&self) -> Digest {
        self.entries.last().unwrap().hash
    }

    /// A copy that a test may damage.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        copy_all(&self.dir, &home.path().join("run"));
        home
    }
}

/// The study that all tests share. Nobody changes it.
pub(crate) fn finished() -> &'static Finished {
    static FINISHED: OnceLock<Finished> = OnceLock::new();
    FINISHED.get_or_init(|| {
        // Not a temporary directory: nothing would remove one at the end of the tests.
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("finished");
        if home.exists() {
            fs::remove_dir_all(&home).unwrap();
        }
        fs::create_dir_all(&home).unwrap();
        write_inputs(&home, STUDY);
        keep_private(&home.join("tiny"));
        let answer = aar_in(&home, &["run", "study.toml", "--out", "run"]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let dir = home.join("run");
        let entries = read_verified(&dir.join(LEDGER_FILE)).unwrap();
        Finished {
            dir,
            answer,
            entries,
        }
    })
}

/// A study's file with its problem `tiny` and its transfer problem `other`.
pub(crate) fn write_inputs(home: &Path, study: &str) {
    tiny::write(&home.join("tiny"), "tiny@1", ItemKind::Pair);
    tiny::write(&home.join("other"), "other@2", ItemKind::Claim);
    fs::write(home.join("study.toml"), study).unwrap();
}

/// As somebody's files are who shares nothing.
fn keep_private(path: &Path) {
    if path.is_dir() {
        fs::read_dir(path)
            .unwrap()
            .for_each(|entry| keep_private(&entry.unwrap().path()));
    }
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// All files below `dir`, sorted.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// Copies a directory.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}
