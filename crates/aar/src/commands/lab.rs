//! `aar lab`: recipes outside of a study, without a sandbox. The code that runs is this program's.

use super::anchors::{Engine, News};
use super::{critic, say, tell};
use crate::shipped;
use aar_core::id::Seed;
use aar_core::problem::Split;
use aar_core::recipe::Recipe;
use aar_lab::experiment::{self, Task};
use aar_lab::teacher::Teacher;
use aar_lab::text::method::{TextRun, TextTask};
use aar_lab::text::{method, source::ModelName};
use aar_problem::{MethodView, Problem, Table, write_predictions};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The subcommands of `aar lab`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a recipe on a problem's train split and predict dev; with a finetune part the strong language
    /// model itself is trained
    Run(Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The recipe
    recipe: PathBuf,
    /// The problem directory, with its vault
    #[arg(long)]
    problem: PathBuf,
    /// The seed of teacher and student
    #[arg(long)]
    pub(super) seed: u64,
    /// Where predictions.jsonl, diagnostics.json and loss.jsonl are written
    #[arg(long)]
    pub(super) out: PathBuf,
    /// The student of a recipe that fine-tunes: smollm2 or file:PATH; the model of the ceilings
    #[arg(long, value_name = "MODEL", default_value = "smollm2")]
    strong: ModelName,
    /// First critic and judge of a recipe with a critic [default: that of the problem's weak teachers]
    #[arg(long, value_name = "MODEL")]
    pub(super) weak: Option<ModelName>,
    /// Most train rows, drawn by the seed; with a critic, also most rows of `teacher` [default: all]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(2..))]
    rows: Option<u32>,
    /// Stop the training of a language model after this many steps [default: all]
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// What runs and trains the model, whatever the recipe says [default: the recipe's, or native]
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// Where the weights are; by default the Hugging Face cache and installed Python packages
    #[arg(long)]
    weights: Option<PathBuf>,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let Command::Run(args) = command;
    let file = args.recipe.display();
    let text = fs::read_to_string(&args.recipe).with_context(|| format!("reading {file}"))?;
    let mut recipe = Recipe::from_toml(&text).with_context(|| file.to_string())?;
    match (&mut recipe.finetune, args.engine) {
        (Some(finetune), Some(engine)) => finetune.engine = engine.into(),
        (None, Some(_)) => bail!("{file} has no [finetune], so --engine has nothing to run"),
        (_, None) => {}
    }
    let problem = Problem::open(&args.problem)?;
    fs::create_dir_all(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    match &recipe.finetune {
        Some(_) => texts(args, &recipe, &problem)?,
        None => states(args, &recipe, &problem)?,
    }
    say!("wrote {}", args.out.join("predictions.jsonl").display());
    Ok(ExitCode::SUCCESS)
}

/// The strong language model itself is trained.
fn texts(args: &Args, recipe: &Recipe, problem: &Problem) -> Result<()> {
    let named = recipe.finetune.as_ref().and_then(|one| one.student.clone());
    if let Some(name) = named.filter(|name| *name != args.strong.student()) {
        bail!(
            "field finetune.student: the recipe trains {name:?}, and --strong is called {:?}",
            args.strong.student()
        );
    }
    let anchored = problem.about().strong.as_ref();
    if let Some(anchored) = anchored.filter(|model| model.name != args.strong.name()) {
        tell(&format!(
            "WARNING: the student is {}, but the problem's ceilings are of {}: its PGR compares \
             two models; --strong names the student",
            args.strong.name(),
            anchored.name
        ));
    }
    let how = TextRun {
        student: args.strong.clone(),
        weights: shipped::weights(args.weights.as_deref()),
        seed: Seed(args.seed),
        rows: args.rows.map(|rows| rows as usize),
    };
    if recipe.critic.is_some() {
        if args.steps.is_some() {
            bail!(
                "--steps: critic training has many trainings; limit it by --rows and the numbers in [critic]"
            );
        }
        return critic::run(args, recipe, problem, how);
    }
    let weak = match recipe.uses_teacher() {
        true => weak_labels(args, problem)?,
        false => Vec::new(),
    };
    let task = TextTask {
        kind: problem.about().kind,
        train: &problem.table(Split::Train).rows,
        weak: &weak,
        predict: &problem.table(Split::Dev).rows,
    };
    let mut news = News::new();
    let what = format!("student, seed {}", args.seed);
    let mut recipe = recipe.clone();
    if let Some(finetune) = &mut recipe.finetune {
        finetune.stop_after = args.steps;
    }
    let outcome = method::run(&recipe, task, &how, &mut |step| news.hear(&what, step))?;
    let ids = problem.table(Split::Dev).ids();
    write(
        args,
        "predictions.jsonl",
        &write_predictions(&ids, &outcome.labels),
    )?;
    write(args, "loss.jsonl", &lines(&outcome.curve)?)?;
    let diagnostics = serde_json::to_string_pretty(&outcome.diagnostics)?;
    say!("{diagnostics}");
    write(args, "diagnostics.json", &(diagnostics + "\n"))
}

/// What the teacher of the run's seed says, stored or trained.
fn weak_labels(args: &Args, problem: &Problem) -> Result<Vec<f64>> {
    Ok(match problem.teacher() {
        Ok(_) => Teacher::train(problem, Seed(args.seed))?.soft_labels(problem, Split::Train)?,
        Err(_) => problem.stored_weak_labels(args.seed)?,
    })
}

/// A student on the strong model's frozen states, as in a study's sandbox.
fn states(args: &Args, recipe: &Recipe, problem: &Problem) -> Result<()> {
    if problem.about().activations().is_empty() {
        bail!(
            "{} has no activations of a strong model, and the recipe has no [finetune]: add \
             [finetune] to train the language model itself",
            args.problem.display()
        );
    }
    let seed = Seed(args.seed);
    let table = |split| -> Result<Table> {
        let layout = problem.layout();
        let (inputs, states) = (layout.inputs(split), layout.activations(split));
        Ok(Table::open(problem.about(), &inputs, &states)?)
    };
    let view = MethodView {
        about: problem.about().clone(),
        train: table(Split::Train)?,
        predict: table(Split::Dev)?,
        weak: weak_labels(args, problem)?,
    };
    let task = Task::read(&view, recipe, seed, args.rows.map(|rows| rows as usize))?;
    let outcome = experiment::run(recipe, &task, seed);
    let ids = view.predict.ids();
    write(
        args,
        "predictions.jsonl",
        &write_predictions(&ids, &outcome.labels),
    )?;
    let diagnostics = serde_json::to_string_pretty(&outcome.diagnostics)?;
    say!("{diagnostics}");
    write(args, "diagnostics.json", &(diagnostics + "\n"))
}

pub(super) fn lines<T: Serialize>(records: &[T]) -> Result<String> {
    let mut text = String::new();
    for record in records {
        text.push_str(&serde_json::to_string(record)?);
        text.push('\n');
    }
    Ok(text)
}

pub(super) fn write(args: &Args, name: &str, text: &str) -> Result<()> {
    let path: &Path = &args.out.join(name);
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
