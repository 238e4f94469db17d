//! Snapshots that try to be more than a method's files.

use crate::support::{Lab, files, method_toml, name};
use aar_core::board::Group;
use aar_core::digest::Digest;
use aar_core::family::Family;
use aar_core::id::SnapshotId;
use aar_core::method::Trial;
use aar_hub::HubError;
use aar_hub::snapshot::{Files, id_of};

#[test]
fn paths_stay_inside() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let deep = ["d"; 9].join("/");
    let long = "x".repeat(201);
    let bad = [
        "../x",
        "/etc/passwd",
        "a/../../x",
        "a/./b",
        "a//b",
        "a/",
        "",
        ".",
        "..",
        "a\\..\\x",
        "C:\\x",
        "nul\0",
        "line\nfeed",
        &deep,
        &long,
        "run.sh/x",
    ];
    for path in bad {
        let mut files = files("m");
        files.insert(path.to_owned(), b"x".to_vec());
        let answer = lab.hub.put_snapshot(&ada, &files, &[]);
        assert!(
            matches!(answer, Err(HubError::Invalid(_))),
            "{path:?}: {answer:?}"
        );
    }
    let mut good = files("m");
    good.insert(["d"; 8].join("/"), b"x".to_vec());
    good.insert("..x/...".to_owned(), b"x".to_vec());
    let stored = lab.hub.put_snapshot(&ada, &good, &[]).unwrap();
    assert_eq!(lab.hub.snapshot_files(stored.snapshot).unwrap(), good);
}

#[test]
fn sizes_are_bounded() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let mut many = files("m");
    for n in 0..199 {
        many.insert(format!("f{n}"), Vec::new());
    }
    let too_many = lab.hub.put_snapshot(&ada, &many, &[]);
    assert!(matches!(too_many, Err(HubError::TooLarge { .. })));
    let mut large = files("m");
    large.insert("blob".to_owned(), vec![0; 4 << 20]);
    let too_large = lab.hub.put_snapshot(&ada, &large, &[]);
    assert!(matches!(too_large, Err(HubError::TooLarge { .. })));
    large.insert("blob".to_owned(), vec![0; (4 << 20) - 1_000]);
    lab.hub.put_snapshot(&ada, &large, &[]).unwrap();
}

#[test]
fn the_name_is_the_content() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    let first = lab.hub.put_snapshot(&ada, &files("m"), &[]).unwrap();
    assert_eq!(first.snapshot, id_of(&files("m")).unwrap());
    let again = lab.hub.put_snapshot(&bob, &files("m"), &[]).unwrap();
    assert_eq!((again.snapshot, again.new), (first.snapshot, false));
    assert_eq!(
        lab.hub.get_snapshot(first.snapshot).unwrap().researcher,
        ada
    );
    let mut renamed = files("m");
    let text = renamed.remove("run.sh").unwrap();
    renamed.insert("run2.sh".to_owned(), text);
    assert_ne!(id_of(&renamed).unwrap(), first.snapshot);
    // Parents are history, not content.
    let parents = [first.snapshot];
    let child = lab.hub.put_snapshot(&bob, &renamed, &parents).unwrap();
    assert_eq!(child.snapshot, id_of(&renamed).unwrap());
    assert_eq!(
        lab.hub.get_snapshot(child.snapshot).unwrap().parents,
        parents
    );
    let nobody = SnapshotId(Digest::of(b"nobody"));
    let orphan = lab.hub.put_snapshot(&bob, &files("orphan"), &[nobody]);
    assert!(matches!(orphan, Err(HubError::NotFound { .. })));
}

#[test]
fn the_method_must_be_readable_and_the_family_is_derived() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let put = |method: String, recipe: Option<&str>| {
        let mut files = files("m");
        files.insert("method.toml".to_owned(), method.into_bytes());
        if let Some(recipe) = recipe {
            files.insert("recipe.toml".to_owned(), recipe.as_bytes().to_vec());
        }
        lab.hub.put_snapshot(&ada, &files, &[])
    };
    let lab_method = method_toml("m").replace(
        r#"["sh", "run.sh"]"#,
        r#"["aar-lab", "run", "recipe.toml"]"#,
    );
    for bad in ["", "name = 3", "nonsense = 1"] {
        let error = put(bad.to_owned(), None).unwrap_err();
        assert!(error.to_string().contains("method.toml"), "{error}");
    }
    assert!(
        put(lab_method.clone(), None)
            .unwrap_err()
            .to_string()
            .contains("recipe.toml")
    );
    let error = put(lab_method.clone(), Some("nonsense = 1")).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
    // The author said ensemble; the recipe is the plain one.
    let plain = put(lab_method, Some("")).unwrap().snapshot;
    let derived = lab.hub.get_snapshot(plain).unwrap().family;
    assert_eq!(derived, aar_core::recipe::Recipe::default().family());
    // Of a program neither its decoy recipe is believed nor what its author says.
    let decoy = put(method_toml("m"), Some("")).unwrap().snapshot;
    assert_eq!(lab.hub.get_snapshot(decoy).unwrap().family, Family::Other);
}

#[test]
fn the_family_is_that_of_the_file_that_the_lab_runs() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let put = |command: &str| {
        let mut files = files("m");
        let method = method_toml("m").replace(r#"["sh", "run.sh"]"#, command);
        files.insert("method.toml".to_owned(), method.into_bytes());
        for (path, text) in [("recipe.toml", "nonsense = 1"), ("mine.toml", "")] {
            files.insert(path.to_owned(), text.as_bytes().to_vec());
        }
        lab.hub.put_snapshot(&ada, &files, &[])
    };
    let mine = put(r#"["aar-lab", "run", "mine.toml"]"#).unwrap().snapshot;
    let expected = aar_core::recipe::Recipe::default().family();
    assert_eq!(lab.hub.get_snapshot(mine).unwrap().family, expected);
    // What the lab would not run, or would run from elsewhere, is refused.
    for (command, why) in [
        (r#"["aar-lab"]"#, "field command"),
        (r#"["aar-lab", "run"]"#, "field command"),
        (r#"["aar-lab", "walk", "mine.toml"]"#, "field command"),
        (r#"["aar-lab", "run", "mine.toml", "x"]"#, "field command"),
        (r#"["aar-lab", "run", "recipe.toml"]"#, "line 1"),
        (r#"["aar-lab", "run", "/tmp/mine.toml"]"#, "not there"),
        (r#"["aar-lab", "run", "./mine.toml"]"#, "not there"),
    ] {
        let error = put(command).unwrap_err().to_string();
        assert!(error.contains(why), "{command}: {error}");
    }
}

fn large(n: u8) -> Files {
    let mut files = files(&format!("large-{n}"));
    files.insert("blob".to_owned(), vec![n; (4 << 20) - 2_000]);
    files
}

/// How many of `count` snapshots that are sent at once are taken.
fn taken(lab: &Lab, count: u8, snapshot: impl Fn(u8) -> Files + Sync) -> usize {
    let ada = name("ada");
    let put = &|n| lab.hub.put_snapshot(&ada, &snapshot(n), &[]);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || put(n))).collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers
            .filter(|answer| match answer {
                Ok(stored) => stored.new,
                Err(HubError::TooLarge { .. }) => false,
                Err(error) => panic!("{error}"),
            })
            .count()
    })
}

#[test]
fn a_researchers_snapshots_have_64_mib_also_when_sent_at_once() {
    let lab = Lab::new();
    let (ada, bob) = (lab.join("ada"), lab.join("bob"));
    assert_eq!(taken(&lab, 20, large), 16);
    // What was refused was not written either.
    let blobs = aar_hub::store::Store::at(&lab.dir.path().join("store"));
    assert_eq!(blobs.verify_all().unwrap().0, 16 * 4);
    // It holds across a restart and an index made anew, and for nobody else.
    let lab = lab.reopen();
    let refused = lab.hub.put_snapshot(&ada, &large(99), &[]).unwrap_err();
    assert!(
        matches!(
            refused,
            HubError::TooLarge {
                limit: 0x400_0000,
                ..
            }
        ),
        "{refused}"
    );
    assert!(lab.hub.put_snapshot(&bob, &large(99), &[]).unwrap().new);
    // Bytes that are stored already cost nothing.
    let mut again = large(99);
    again.insert("more".to_owned(), b"x".to_vec());
    assert!(lab.hub.put_snapshot(&ada, &again, &[]).unwrap().new);
}

#[test]
fn a_researchers_snapshots_are_counted_also_when_sent_at_once() {
    let lab = Lab::new();
    lab.join("ada");
    let db = rusqlite::Connection::open(lab.dir.path().join("hub.sqlite")).unwrap();
    for n in 0..1_997 {
        db.execute(
            "INSERT INTO snapshots (id, researcher, method, family, at)
             VALUES (?1, 'ada', 'm', 'other', 0)",
            [Digest::of(format!("{n}").as_bytes()).to_string()],
        )
        .unwrap();
    }
    assert_eq!(taken(&lab, 12, |n| files(&format!("small-{n}"))), 3);
}

#[test]
fn published_methods_are_hidden() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let hidden = lab
        .hub
        .put_trusted_snapshot(Group::Published, &files("secret"))
        .unwrap();
    let missing = |error: HubError| matches!(error, HubError::NotFound { .. });
    assert!(missing(lab.hub.get_snapshot(hidden).unwrap_err()));
    assert!(missing(
        lab.hub
            .request_experiment(&ada, hidden, Trial::default())
            .unwrap_err()
    ));
    assert!(missing(
        lab.hub.request_evaluation(&ada, hidden).unwrap_err()
    ));
    assert!(missing(
        lab.hub
            .put_snapshot(&ada, &files("x"), &[hidden])
            .unwrap_err()
    ));
    assert!(
        lab.hub
            .put_trusted_snapshot(Group::Study, &files("x"))
            .is_err()
    );
    lab.store(&ada, "taken");
    assert!(
        lab.hub
            .put_trusted_snapshot(Group::Baseline, &files("taken"))
            .is_err()
    );
    assert_eq!(lab.hub.snapshot_files(hidden).unwrap(), files("secret"));
}

#[test]
fn a_changed_or_missing_blob_is_found() {
    let lab = Lab::new();
    let ada = lab.join("ada");
    let snapshot = lab.store(&ada, "m");
    let faults = || aar_hub::verify::verify_run(lab.dir.path(), None).faults;
    assert!(faults().is_empty());
    let blob = Digest::of(&files("m")["run.sh"]).to_string();
    let path = lab
        .dir
        .path()
        .join("store")
        .join(&blob[..2])
        .join(&blob[2..]);
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&path, changed).unwrap();
        assert_eq!(
            faults().len(),
            2,
            "once as a blob, once as a part of the snapshot"
        );
        assert!(lab.hub.snapshot_files(snapshot).is_err());
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(faults().len(), 1);
    std::fs::write(&path, &bytes).unwrap();
    assert!(faults().is_empty());
    std::fs::write(lab.dir.path().join("store/stray"), "x").unwrap();
    assert_eq!(faults().len(), 1);
}
