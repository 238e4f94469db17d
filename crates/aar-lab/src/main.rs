//! `aar-lab run recipe.toml`: runs a recipe on the problem at `$AAR_PROBLEM`.
//!
//! Reads `$AAR_SEED`, writes `$AAR_OUT/predictions.jsonl`, prints diagnostics as one line of JSON.
//! `$AAR_TRIAL_ROWS` makes a cheap trial on that many train rows, `$AAR_TRIAL_STEPS` stops the training of
//! a language model after that many steps. Language models are read from `$AAR_MODELS`. Bad input: a message
//! on standard error and exit code 2; 3 where a recipe that trains one keeps no row to learn from.
//!
//! `aar-lab workspace` serves an agent's workspace; see [`aar_lab::workspace`]. `aar-lab mcp` and
//! `aar-lab model` are the ways out of a command-line agent's sandbox; see [`aar_lab::bridge`].

use aar_core::id::Seed;
use aar_core::recipe::Recipe;
use aar_core::row::Label;
use aar_lab::bridge;
use aar_lab::experiment::{Task, run};
use aar_lab::workspace::{Workspace, serve};
use aar_problem::{MethodView, write_predictions};
use rustix::process::DumpableBehavior;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

const USAGE: &str = "usage: aar-lab run recipe.toml, or aar-lab workspace, mcp or model";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["run", recipe] => method(recipe).map(|diagnostics| println!("{diagnostics}")),
        ["workspace"] => workspace().map_err(Failure::from),
        ["mcp"] => line("the hub", bridge::serve_hub()).map_err(Failure::from),
        ["model"] => line("the model", bridge::serve_model()).map_err(Failure::from),
        ["run", ..] | [] => Err(USAGE.to_owned().into()),
        [verb, ..] => Err(format!("unknown command {verb:?}; {USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("aar-lab: {message}");
            ExitCode::from(code)
        }
    }
}

/// What is told, and the exit code.
struct Failure {
    message: String,
    code: u8,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, code: 2 }
    }
}

fn line(to: &str, served: io::Result<()>) -> Result<(), String> {
    served.map_err(|error| format!("the line to {to}: {error}"))
}

fn workspace() -> Result<(), String> {
    // The agent's commands run as the same user; they should not write into this program's memory.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("closing this program to its commands: {error}"))?;
    let here = env::current_dir().map_err(|error| format!("the working directory: {error}"))?;
    // In a sandbox nobody else sees this; without one, no two workspaces share their notes.
    let notes = env::temp_dir().join(format!("aar-notes-{}", std::process::id()));
    let mut workspace =
        Workspace::new(&here, &notes).map_err(|error| format!("{}: {error}", notes.display()))?;
    serve(&mut workspace, io::stdin().lock(), io::stdout().lock())
        .map_err(|error| format!("the workspace's line: {error}"))
}

fn method(file: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let recipe = Recipe::from_toml(&text).map_err(|error| format!("{file}: {error}"))?;
    if recipe.critic.is_some() {
        let what = "field critic: its judge learns from true labels, which no sandbox has; the problem's owner \
                    can run it with `aar lab run`";
        return Err(format!("{file}: {what}").into());
    }
    let seed = Seed(whole("AAR_SEED")?.ok_or_else(|| "AAR_SEED is not set".to_owned())?);
    let rows = whole("AAR_TRIAL_ROWS")?.map(|rows| rows as usize);
    if rows.is_some_and(|rows| rows < 2) {
        return Err("AAR_TRIAL_ROWS: at least 2 rows are needed"
            .to_owned()
            .into());
    }
    let out = directory("AAR_OUT")?;
    let problem = directory("AAR_PROBLEM")?;
    let view = MethodView::open(&problem).map_err(|error| error.to_string())?;
    let (labels, diagnostics) = if recipe.finetune.is_some() {
        texts(recipe, &view, seed, rows)?
    } else {
        let task = Task::read(&view, &recipe, seed, rows).map_err(|error| error.to_string())?;
        let outcome = run(&recipe, &task, seed);
        (outcome.labels, serde_json::to_string(&outcome.diagnostics))
    };
    let path = out.join("predictions.jsonl");
    write(&path, &write_predictions(&view.predict.ids(), &labels))?;
    Ok(diagnostics.map_err(|error| error.to_string())?)
}

/// What a run leaves: a label for each row, and what can be said of it as a line of JSON.
type Ran = (Vec<Label>, serde_json::Result<String>);

/// The strong language model itself is trained.
#[cfg(feature = "models")]
fn texts(
    mut recipe: Recipe,
    view: &MethodView,
    seed: Seed,
    rows: Option<usize>,
) -> Result<Ran, Failure> {
    use aar_core::method::NOTHING_TO_LEARN;
    use aar_lab::text::TextError;
    use aar_lab::text::method::{TextRun, TextTask, run};
    use aar_lab::text::shown::student;
    if env::var_os("AAR_MODELS").is_none() {
        let what = "there is no model to fine-tune: the study's file names none in `students`";
        return Err(format!("field finetune: {what}").into());
    }
    let models = directory("AAR_MODELS")?;
    let steps = whole("AAR_TRIAL_STEPS")?;
    if steps == Some(0) {
        return Err("AAR_TRIAL_STEPS: at least 1 step is needed"
            .to_owned()
            .into());
    }
    let finetune = recipe.finetune.get_or_insert_default();
    finetune.stop_after = steps;
    let how = TextRun {
        student: student(&models, finetune.student.as_deref())
            .map_err(|error| error.to_string())?,
        weights: aar_lab::models::Weights::in_dir(models),
        seed,
        rows,
    };
    let task = TextTask {
        kind: view.about.kind,
        train: &view.train.rows,
        weak: &view.weak,
        predict: &view.predict.rows,
    };
    let outcome = run(&recipe, task, &how, &mut |_| ()).map_err(|error| Failure {
        code: match error {
            TextError::NoRows(_) => NOTHING_TO_LEARN,
            _ => 2,
        },
        message: error.to_string(),
    })?;
    Ok((outcome.labels, serde_json::to_string(&outcome.diagnostics)))
}

#[cfg(not(feature = "models"))]
fn texts(_: Recipe, _: &MethodView, _: Seed, _: Option<usize>) -> Result<Ran, Failure> {
    Err(
        "field finetune: this aar-lab was built without language models"
            .to_owned()
            .into(),
    )
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn whole(name: &str) -> Result<Option<u64>, String> {
    let Some(value) = env::var_os(name) else {
        return Ok(None);
    };
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed
        .map(Some)
        .ok_or_else(|| format!("{name}: found {value:?}, expected a whole number"))
}

fn directory(name: &str) -> Result<PathBuf, String> {
    let path = env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{name} is not set"))?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(format!("{name}: {} is not a directory", path.display()))
    }
}
