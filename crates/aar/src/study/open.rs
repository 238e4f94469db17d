//! Opening a study: drawing or copying its problems, training anchors, writing the run directory.
//!
//! Everything is made in a directory beside the run directory and renamed when it is whole, so that
//! a refused study leaves nothing behind.

use super::Progress;
use super::source::{Source, check_sources};
use super::students::{self, Student};
use crate::builtin::{self, ShippedMethod};
use aar_core::event::OpenedProblem;
use aar_core::id::{Secret, Seed};
use aar_core::problem::Split;
use aar_core::study::{RUN_FORMAT, Study};
use aar_lab::features::choose;
use aar_lab::models::Weights;
use aar_problem::{Layout, Problem, draw_builtin, write_problem};
use aar_stats::Anchors;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Teacher seeds behind the anchors: cheap, and their error is in every absolute PGR.
const ANCHOR_SEEDS: u64 = 32;
/// The study as run, in the run directory.
pub(crate) const STUDY_FILE: &str = "study.toml";

/// An opened study: everything that must be known before the hub starts.
pub(crate) struct Opened {
    pub(crate) study: Study,
    pub(crate) secret: Secret,
    pub(crate) run_dir: PathBuf,
    pub(crate) problems: Vec<OpenedProblem>,
    pub(crate) students: Vec<Student>,
    /// The main problem's baselines and published methods.
    pub(crate) methods: Vec<ShippedMethod>,
}

/// Opens `study`, whose file stands in `base`, as the new run directory `run_dir`.
pub(crate) fn open(
    study: Study,
    base: &Path,
    run_dir: &Path,
    weights: &Weights,
    progress: &Progress,
) -> Result<Opened> {
    study.validate().map_err(anyhow::Error::msg)?;
    if run_dir.symlink_metadata().is_ok() {
        bail!(
            "{} exists already: name another directory with --out",
            run_dir.display()
        );
    }
    for device in &study.devices {
        let seen = fs::metadata(device).with_context(|| format!("field devices: {device:?}"))?;
        if !seen.file_type().is_char_device() {
            bail!("field devices: {device:?} is no device that programs can use");
        }
    }
    let secret = match study.seed {
        Some(seed) => Secret::of_seed(seed),
        None => random_secret()?,
    };
    // Bad problems are found before anything is written.
    let names = [&study.problem].into_iter().chain(&study.transfer);
    let sources = names
        .map(|name| Source::find(name, base))
        .collect::<Result<Vec<_>>>()?;
    check_sources(&sources, run_dir)?;
    if let Some(python) = &study.python {
        let mut secret = vec![run_dir];
        secret.extend(sources.iter().filter_map(Source::place));
        check_python(Path::new(python), &secret)
            .with_context(|| format!("field python: {python:?}"))?;
    }
    for source in &sources {
        let checked = source.check_teachers(&study);
        checked.with_context(|| format!("problem {:?}", source.name()))?;
    }
    progress.stage("finding the students");
    let students = students::gather(&study, base, weights)?;
    for source in &sources {
        let checked = source.check_students(&students);
        checked.with_context(|| format!("problem {:?}", source.name()))?;
    }

    let staging = Staging::beside(run_dir)?;
    let (mut problems, mut methods) = (Vec::new(), Vec::new());
    for (index, source) in sources.iter().enumerate() {
        progress.stage(&format!("preparing problem {}", source.name()));
        let directory = match index {
            0 => "problem".to_owned(),
            _ => format!("transfer/{}", source.name()),
        };
        let about = || format!("problem {:?}", source.name());
        let problem = open_problem(source, &staging.dir, &directory, &secret);
        let problem = problem.with_context(about)?;
        if index == 0 {
            methods = builtin::methods(&problem)?;
        }
        problems.push(describe(&problem, directory, &methods).with_context(about)?);
    }
    let text = toml::to_string(&study).context("writing the study")?;
    let file = staging.dir.join(STUDY_FILE);
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    fs::rename(&staging.dir, run_dir).with_context(|| {
        format!(
            "renaming {} to {}",
            staging.dir.display(),
            run_dir.display()
        )
    })?;
    let run_dir = run_dir
        .canonicalize()
        .context("finding the run directory")?;
    Ok(Opened {
        study,
        secret,
        run_dir,
        problems,
        students,
        methods,
    })
}

/// Refuses a directory that sandboxes cannot show at its own path, or that holds what nobody in a sandbox
/// may see: `secret` are places of this study.
pub(super) fn check_place(directory: &Path, secret: &[&Path]) -> Result<()> {
    if !directory.is_absolute() {
        bail!("expected an absolute path");
    }
    let here = directory.canonicalize().context("finding it")?;
    if here != directory {
        bail!("it leads to {}: name that", here.display());
    }
    if !here.is_dir() {
        bail!("it is no directory");
    }
    const TAKEN: [&str; 14] = [
        "/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/dev", "/work", "/out",
        "/problem", "/tmp", "/opt/aar", "/models",
    ];
    let meets = |place: &Path| directory.starts_with(place) || place.starts_with(directory);
    if TAKEN.iter().any(|place| meets(Path::new(place))) {
        bail!("sandboxes have something else there: put it elsewhere, such as below /opt");
    }
    for place in secret {
        // What does not exist yet will lie in what does.
        let there = place.ancestors().find_map(|above| {
            let above = if above.as_os_str().is_empty() {
                Path::new(".")
            } else {
                above
            };
            Some(
                above
                    .canonicalize()
                    .ok()?
                    .join(place.strip_prefix(above).unwrap_or(Path::new(""))),
            )
        });
        if there.is_some_and(|there| there.starts_with(directory) || directory.starts_with(&there))
        {
            bail!(
                "{} lies in it or around it, and sandboxes may not see that: put one of them elsewhere",
                place.display()
            );
        }
    }
    Ok(())
}

/// Refuses what is no Python environment, or one whose interpreter no sandbox would find.
fn check_python(python: &Path, secret: &[&Path]) -> Result<()> {
    check_place(python, secret)?;
    let interpreter = python.join("bin/python3").canonicalize();
    let interpreter = interpreter.context("it has no bin/python3")?;
    let found = interpreter.starts_with(python) || interpreter.starts_with("/usr/bin");
    if !found {
        bail!(
            "its interpreter is {}, which sandboxes do not have: make it with /usr/bin/python3 -m venv, or with its \
             own interpreter inside",
            interpreter.display()
        );
    }
    Ok(())
}

fn open_problem(source: &Source, root: &Path, directory: &str, secret: &Secret) -> Result<Problem> {
    let target = root.join(directory);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    let salt = secret.bytes(&format!("salt of {}", source.name()));
    match source {
        Source::Builtin(builtin) => {
            let bundle = builtin::bundle(*builtin)?;
            let splits = secret.derive(builtin.name(), 0);
            write_problem(&target, &draw_builtin(*builtin, &bundle, splits, salt)?)?;
        }
        Source::Directory { path, .. } => copy_directory(path, &target)?,
    }
    let layout = Layout::new(&target);
    for open in [layout.brief(), layout.public()] {
        make_readable(&open)?;
    }
    let mut problem = Problem::open(&target)?;
    problem.commit(salt)?;
    if problem.manifest().anchors.is_empty() {
        let seeds: Vec<Seed> = (0..ANCHOR_SEEDS)
            .map(|index| secret.derive("anchor-teacher", index))
            .collect();
        let measured = aar_lab::anchors::measure_anchors(&problem, &seeds)
            .map_err(|error| anyhow!("measuring the anchors of {}: {error}", source.name()))?;
        problem.set_anchors(measured)?;
    }
    Ok(problem)
}

/// What the ledger says of a problem, on which `methods` will run.
fn describe(
    problem: &Problem,
    directory: String,
    methods: &[ShippedMethod],
) -> Result<OpenedProblem> {
    let manifest = problem.manifest();
    let files = problem.file_digests()?;
    let files = files
        .into_iter()
        .map(|(path, digest)| (path.to_string_lossy().into_owned(), digest));
    for split in [Split::Dev, Split::Rank] {
        let Some(anchors) = manifest.anchors.get(&split) else {
            bail!(
                "problem {} has anchors, but none for split {split}",
                manifest.id
            );
        };
        Anchors::new(anchors.weak, anchors.ceiling)
            .with_context(|| format!("problem {}: anchors of split {split}", manifest.id))?;
    }
    for method in methods {
        if method.recipe.finetune.is_some() {
            continue;
        }
        choose(&method.recipe.features, problem.about().activations())
            .with_context(|| format!("problem {}: a shipped method cannot run", manifest.id))?;
    }
    Ok(OpenedProblem {
        id: manifest.id.clone(),
        directory,
        kind: problem.about().kind,
        practice: manifest.practice,
        commitments: manifest.commitments.clone(),
        anchors: manifest.anchors.clone(),
        files: files.collect::<BTreeMap<_, _>>(),
    })
}

/// The hidden directory in which a run directory is made. Dropped before it was renamed, it goes
/// away with the directories above it that were made for it.
struct Staging {
    dir: PathBuf,
    above: Vec<PathBuf>,
}

impl Staging {
    fn beside(run_dir: &Path) -> Result<Self> {
        let name = run_dir
            .file_name()
            .ok_or_else(|| anyhow!("--out must name a new directory"))?;
        let parent = match run_dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = name.to_string_lossy();
        let staging = Self {
            dir: parent.join(format!(".{name}.opening-{}", std::process::id())),
            above: parent
                .ancestors()
                .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
                .map(Path::to_owned)
                .collect(),
        };
        let dir = &staging.dir;
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        // Weak labels, seeds and other people's drafts are in there: nobody else may look.
        fs::set_permissions(dir, Permissions::from_mode(0o700))
            .with_context(|| format!("closing {} to others", dir.display()))?;
        Ok(staging)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing of this can be done about, and after the rename all of it fails as it should.
        let _ = fs::remove_dir_all(&self.dir);
        for above in &self.above {
            let _ = fs::remove_dir(above);
        }
    }
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry.with_context(|| format!("reading {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry
            .file_type()
            .with_context(|| format!("reading {}", source.display()))?
            .is_dir()
        {
            copy_directory(&source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
        }
    }
    Ok(())
}

/// Sandboxes run as another user, whatever the umask and the modes of a copied directory.
fn make_readable(path: &Path) -> Result<()> {
    let failed = || format!("making {} readable", path.display());
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(failed)?;
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(failed)? {
            make_readable(&entry.with_context(failed)?.path())?;
        }
    }
    Ok(())
}

/// A secret that nobody can guess.
fn random_secret() -> Result<Secret> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("drawing the study's secret: {error}"))?;
    Ok(Secret::new(bytes))
}

/// Refuses a directory that is no run, or a run of another version.
pub(crate) fn check_format(run_dir: &Path) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let file = run_dir.join(STUDY_FILE);
    let text = fs::read_to_string(&file).with_context(|| {
        format!(
            "{} is no run directory: reading {STUDY_FILE}",
            run_dir.display()
        )
    })?;
    let Format { format } =
        aar_core::parse::toml(&text).with_context(|| file.display().to_string())?;
    if format != RUN_FORMAT {
        bail!(
            "{}: a run of format {format}; this program reads format {RUN_FORMAT}",
            run_dir.display()
        );
    }
    Ok(())
}
