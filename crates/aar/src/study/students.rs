//! The language models of a study: found before it begins, shown in every sandbox.

use super::open::STUDY_FILE;
use aar_core::digest::Digest;
use aar_core::problem::Ceilings;
use aar_core::study::{STUDENTS_FILE, Study};
use aar_lab::models::{ModelSource, Weights};
use aar_lab::text::source::ModelName;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files of a model that programs read; whatever else lies beside them is not shown.
const SHOWN: [&str; 6] = ["json", "safetensors", "jinja", "gguf", "txt", "model"];

/// One of the study's models.
pub(crate) struct Student {
    /// What recipes and programs call it.
    name: String,
    /// What anchors call it.
    model: String,
    /// What identifies its content.
    content: Digest,
    /// Where its files lie, if that is a directory of its own.
    directory: Option<PathBuf>,
    /// Its files, each an absolute path.
    files: Vec<PathBuf>,
}

/// Finds the study's models and fetches those that are not there yet; paths are relative to `base`.
pub(super) fn gather(study: &Study, base: &Path, weights: &Weights) -> Result<Vec<Student>> {
    let mut names = BTreeSet::new();
    let mut students = Vec::new();
    for text in &study.students {
        let student =
            find(text, base, weights).with_context(|| format!("field students: {text:?}"))?;
        if !names.insert(student.name.clone()) {
            bail!(
                "field students: two are called {:?} in sandboxes: give one of them another place",
                student.name
            );
        }
        students.push(student);
    }
    Ok(students)
}

fn find(text: &str, base: &Path, weights: &Weights) -> Result<Student> {
    let mut model: ModelName = text.parse().map_err(anyhow::Error::msg)?;
    if let ModelName::At(ModelSource::File(path)) = &model {
        model = ModelName::At(ModelSource::File(base.join(path)));
    }
    let name = model.student();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) || name == STUDENTS_FILE
    {
        bail!(
            "sandboxes would call it {name:?}: give its directory a name of letters, digits and -_."
        );
    }
    let path = model.path(weights)?;
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(&path).with_context(|| format!("reading {}", path.display()))? {
            files.push(
                entry
                    .with_context(|| format!("reading {}", path.display()))?
                    .path(),
            );
        }
        files.retain(|file| {
            let kind = file.extension().and_then(|kind| kind.to_str());
            file.is_file() && kind.is_some_and(|kind| SHOWN.contains(&kind))
        });
        files.sort();
    } else {
        files.push(path.clone());
    }
    if files.is_empty() {
        bail!("{} holds no file of a model", path.display());
    }
    let files = files.iter().map(std::path::absolute);
    Ok(Student {
        name,
        model: model.name(),
        content: model.digest(weights)?,
        directory: path.is_dir().then_some(path),
        files: files
            .collect::<Result<_, _>>()
            .context("finding its files")?,
    })
}

/// Refuses a default student that is not the ceilings' model.
pub(super) fn check_ceilings(students: &[Student], ceilings: &Ceilings) -> Result<()> {
    let model = &ceilings.model;
    match students.first() {
        None => bail!(
            "its ceilings are of the language model {model:?}, and the study names no student: add it \
             to `students` of {STUDY_FILE}, first"
        ),
        Some(first) if first.content != ceilings.content => bail!(
            "its ceilings are of {model:?}, but the first of `students` is {:?}, with other content: PGR would \
             compare two models; name the ceilings' model first",
            first.model
        ),
        Some(_) => Ok(()),
    }
}

/// What sandboxes show, with its places below the models' directory. A directory that everybody can read, since sandboxes
/// may run as another user, and that holds a model alone is shown as it is. Otherwise its files are linked or copied to
/// `room`.
pub(super) fn lay_out(students: &[Student], room: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut shown = Vec::new();
    if students.is_empty() {
        return Ok(shown);
    }
    for student in students {
        let inside = room.join(&student.name);
        let seen = match student.as_it_is() {
            Some(directory) => directory,
            None => {
                fs::create_dir_all(&inside)
                    .with_context(|| format!("making {}", inside.display()))?;
                for file in &student.files {
                    link(file, &inside)?;
                }
                inside
            }
        };
        shown.push((seen, PathBuf::from(&student.name)));
    }
    fs::create_dir_all(room).with_context(|| format!("making {}", room.display()))?;
    let list = room.join(STUDENTS_FILE);
    let names: String = students
        .iter()
        .map(|one| format!("{}\n", one.name))
        .collect();
    fs::write(&list, names).with_context(|| format!("writing {}", list.display()))?;
    shown.push((list, STUDENTS_FILE.into()));
    Ok(shown)
}

impl Student {
    /// Its directory, if that holds the files themselves and nothing else, and everybody can read it. What else an
    /// owner keeps there, such as a problem with its vault, no sandbox may see. The directories above it do not
    /// matter.
    fn as_it_is(&self) -> Option<PathBuf> {
        let directory = self.directory.as_ref()?.canonicalize().ok()?;
        let open = |path: &Path, bits: u32| {
            let seen = fs::symlink_metadata(path);
            seen.is_ok_and(|seen| !seen.is_symlink() && seen.permissions().mode() & bits == bits)
        };
        let entries = fs::read_dir(&directory).ok()?.count();
        let whole = entries == self.files.len()
            && open(&directory, 0o005)
            && self.files.iter().all(|file| open(file, 0o004));
        whole.then_some(directory)
    }
}

/// A file of `directory` that everybody can read: a link to the file where that is possible, or a copy.
fn link(file: &Path, directory: &Path) -> Result<()> {
    let name = file.file_name();
    let to = directory.join(name.ok_or_else(|| anyhow!("{}: a file has a name", file.display()))?);
    let real = file.canonicalize();
    let real = real.with_context(|| format!("finding {}", file.display()))?;
    let readable = fs::metadata(&real).is_ok_and(|seen| seen.permissions().mode() & 0o004 != 0);
    if readable && fs::hard_link(&real, &to).is_ok() {
        return Ok(());
    }
    fs::copy(&real, &to).with_context(|| format!("copying {}", file.display()))?;
    let opened = fs::set_permissions(&to, Permissions::from_mode(0o644));
    opened.with_context(|| format!("opening {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_see_a_models_files_and_nothing_that_lies_beside_them() {
        let home = tempfile::tempdir().unwrap();
        let model = home.path().join("tiny");
        fs::create_dir(&model).unwrap();
        let write = |file: &str| {
            fs::write(model.join(file), file).unwrap();
            fs::set_permissions(model.join(file), Permissions::from_mode(0o644)).unwrap();
        };
        let shown = |room: &str| {
            let student = find("file:tiny", home.path(), &Weights::in_dir(home.path())).unwrap();
            let room = home.path().join(room);
            let shown = lay_out(&[student], &room).unwrap();
            let places: Vec<_> = shown.iter().map(|(_, inside)| inside.clone()).collect();
            assert_eq!(places, [Path::new("tiny"), Path::new(STUDENTS_FILE)]);
            let seen = fs::read_dir(&shown[0].0).unwrap();
            let mut seen: Vec<_> = seen.map(|one| one.unwrap().file_name()).collect();
            seen.sort();
            (shown[0].0.clone(), seen)
        };
        write("config.json");
        write("model.safetensors");
        fs::set_permissions(&model, Permissions::from_mode(0o755)).unwrap();
        let files = ["config.json", "model.safetensors"];
        let (place, seen) = shown("first");
        assert_eq!(place, model.canonicalize().unwrap());
        assert_eq!(seen, files);
        for beside in ["owner.toml", "vault", "test.jsonl"] {
            match beside {
                "vault" => fs::create_dir(model.join(beside)).unwrap(),
                file => write(file),
            }
            let (place, seen) = shown(beside);
            assert!(place.starts_with(home.path().join(beside)), "{beside}");
            assert_eq!(seen, files, "{beside}");
        }
    }
}
