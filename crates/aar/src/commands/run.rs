//! `aar run`: a study from its problem to its report.

use super::estimate;
use super::{say, tell};
use crate::shipped;
use crate::study::{Finished, Progress, Reviewer, Team, conduct, open};
use aar_core::study::{Kinds, ResearcherKind, Study};
use aar_sandbox::{Isolation, Launcher, Sandbox};
use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// TOML has no larger integers.
const MAX_SEED: u64 = i64::MAX as u64;

/// What `aar run` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The study's file; without one, the built-in study `demo` runs
    study: Option<PathBuf>,
    /// The run directory to make; by default a new one below `runs`
    #[arg(long)]
    out: Option<PathBuf>,
    /// Wall-clock minutes of the whole study, in place of the study's own
    #[arg(long, allow_negative_numbers = true)]
    minutes: Option<f64>,
    /// The study's seed, in place of the study's own; by default one that nobody can guess
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=MAX_SEED))]
    seed: Option<u64>,
    /// The kind of all researchers, in place of the study's own: explorer, llm or outside
    #[arg(long, value_name = "KIND", value_parser = kind)]
    researchers: Option<ResearcherKind>,
    /// The port of this machine that MCP is served on, for researchers from outside; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    mcp_port: u16,
    /// Where the installed models' weights are, for students; by default the Hugging Face cache and installed
    /// Python packages
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Tell what the study would spend on language models, and run nothing; needs no key
    #[arg(long)]
    dry_run: bool,
    /// Run methods as plain processes that can read and do whatever you can
    #[arg(long)]
    unsafe_no_sandbox: bool,
}

impl Args {
    /// A study whose researchers all come from outside.
    pub(crate) fn outside(
        study: Option<PathBuf>,
        out: PathBuf,
        minutes: Option<f64>,
        mcp_port: u16,
    ) -> Self {
        Self {
            study,
            out: Some(out),
            minutes,
            seed: None,
            researchers: Some(ResearcherKind::Outside),
            mcp_port,
            weights: None,
            dry_run: false,
            unsafe_no_sandbox: false,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (mut study, base) = match &args.study {
        Some(file) => (
            read_study(file)?,
            file.parent().unwrap_or(Path::new(".")).to_owned(),
        ),
        None => (Study::default(), PathBuf::from(".")),
    };
    if let Some(minutes) = args.minutes {
        study.minutes = minutes;
    }
    if let Some(seed) = args.seed {
        study.seed = Some(aar_core::id::Seed(seed));
    }
    if let Some(kind) = args.researchers {
        study.kind = Kinds::All(kind);
    }
    if args.dry_run {
        study.validate().map_err(anyhow::Error::msg)?;
        say!("{}", estimate::of(&study, &base)?);
        return Ok(ExitCode::SUCCESS);
    }
    // A study file comes from anywhere; only who starts it can give up their machine's walls.
    if study.isolation == aar_core::study::Isolation::None && !args.unsafe_no_sandbox {
        bail!(
            "field isolation: this study runs without isolation; allow it with --unsafe-no-sandbox"
        );
    }
    let isolation = if args.unsafe_no_sandbox {
        study.isolation = aar_core::study::Isolation::None;
        Isolation::NoneByName
    } else {
        Isolation::Required
    };
    let sandbox = sandbox(isolation)?;
    let run_dir = match &args.out {
        Some(out) => out.clone(),
        None => new_run_dir(study.name.as_str()),
    };
    if isolation == Isolation::NoneByName {
        tell("warning: methods run without isolation and can read every label");
    }
    allow_many_files();
    study.validate().map_err(anyhow::Error::msg)?;
    let team = Team::gather(&study, &base, &run_dir, args.mcp_port)?;
    let reviewer = Reviewer::find(&study, &base)?;
    let progress = Progress::new(study.minutes);
    let weights = shipped::weights(args.weights.as_deref());
    let opened = open(study, &base, &run_dir, &weights, &progress)?;
    let finished = conduct(&opened, &sandbox, &team, reviewer.as_ref(), &progress)?;
    print(&finished, &opened.run_dir);
    Ok(ExitCode::SUCCESS)
}

fn kind(word: &str) -> Result<ResearcherKind, String> {
    match word {
        "explorer" => Ok(ResearcherKind::Explorer),
        "llm" => Ok(ResearcherKind::Llm),
        "outside" => Ok(ResearcherKind::Outside),
        _ => Err("expected explorer, llm or outside".to_owned()),
    }
}

/// Sandboxes that this program enters; refuses a machine that has none, unless none are wanted.
pub(crate) fn sandbox(isolation: Isolation) -> Result<Sandbox> {
    let sandbox = Sandbox::new(Launcher::current_exe(), isolation);
    if isolation == Isolation::Required {
        let probe = sandbox.probe();
        if !probe.usable {
            let problem = probe.problem.unwrap_or_default();
            bail!(
                "this machine cannot isolate methods: {problem}\n`aar doctor` says more; \
                 --unsafe-no-sandbox runs without isolation"
            );
        }
    }
    Ok(sandbox)
}

fn read_study(file: &Path) -> Result<Study> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let study: Study = aar_core::parse::toml(&text).with_context(|| file.display().to_string())?;
    study
        .validate()
        .map_err(anyhow::Error::msg)
        .with_context(|| file.display().to_string())?;
    Ok(study)
}

/// `runs/NAME`, or `runs/NAME-2` and so on if there is one already.
fn new_run_dir(name: &str) -> PathBuf {
    let runs = Path::new("runs");
    let numbered = (2..).map(|number| runs.join(format!("{name}-{number}")));
    let mut candidates = [runs.join(name)].into_iter().chain(numbered);
    candidates
        .find(|path| !path.exists())
        .unwrap_or_else(|| runs.join(name))
}

fn print(finished: &Finished, run_dir: &Path) {
    say!(
        "{}",
        aar_web::short_board(
            &finished.board,
            &finished.main,
            finished.practice,
            finished.feedback
        )
    );
    say!("report       {}", finished.report.display());
    say!("ledger head  {}", finished.head);
    say!(
        "check it     aar verify {} --head {}",
        run_dir.display(),
        finished.head
    );
}

/// Connections of many agents are many files; the usual soft limit is for older programs.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it cannot be had, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, limit);
}
