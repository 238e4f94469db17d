//! `aar problem anchors`: weak teachers and ceilings on texts.

use super::{say, tell};
use crate::shipped;
use aar_core::recipe::{EngineName, FineTune, TextForm, Tuned};
use aar_lab::text::anchors::{AnchorPlan, Measured, Role, measure};
use aar_lab::text::source::{ModelName, WeakSource};
use aar_lab::text::tuning::Step;
use aar_problem::{Problem, check};
use aar_stats::Estimate;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The least time between two lines about progress.
const EVERY: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The problem directory
    dir: PathBuf,
    /// The weak model: as for --strong, or probe:minilm, or layers:K@smollm2 for a probe on the
    /// first K blocks
    #[arg(long, value_name = "MODEL")]
    weak: WeakSource,
    /// The strong model: smollm2; file:PATH of a directory or a .gguf file; hf:OWNER/NAME, hf:OWNER/NAME@REVISION
    #[arg(long, value_name = "MODEL")]
    strong: ModelName,
    /// Teachers and ceilings of seeds 1 to N are trained
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    seeds: u32,
    /// So many ceilings, of seeds 1 to N; weak teachers are cheaper, and studies want many [default: as --seeds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=256))]
    ceilings: Option<u32>,
    #[command(flatten)]
    tuning: Tuning,
    /// How rows are written for a weak language model; it is fine-tuned as the strong one is
    #[arg(long, value_enum, default_value_t = Form::Plain)]
    weak_form: Form,
    /// How rows are written for the strong model
    #[arg(long, value_enum, default_value_t = Form::Plain)]
    strong_form: Form,
    /// Most rows that one model is trained on, drawn by its seed [default: all]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(2..))]
    rows: Option<u32>,
    /// Most rows that one weak teacher is trained on [default: as --rows]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(2..))]
    weak_rows: Option<u32>,
    /// Where finished models' labels and checkpoints are kept; as secret as the vault
    /// [default: DIR with .anchors added]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Where the weights are; by default the Hugging Face cache and installed Python packages
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a language model is fine-tuned; the defaults are the study's.
#[derive(clap::Args)]
struct Tuning {
    /// How often every row is seen
    #[arg(long, default_value_t = FineTune::default().epochs)]
    epochs: usize,
    /// Rows of a step
    #[arg(long, default_value_t = FineTune::default().batch)]
    batch: usize,
    /// Learning rate after the warm-up
    #[arg(long, default_value_t = FineTune::default().rate)]
    rate: f64,
    /// Rank of the LoRA adapters [default: 32]
    #[arg(long, value_name = "R", conflicts_with = "last_layers")]
    lora: Option<usize>,
    /// Train all weights of the last K blocks, without adapters
    #[arg(long, value_name = "K")]
    last_layers: Option<usize>,
    /// Most tokens of a row with its label
    #[arg(long, default_value_t = FineTune::default().max_tokens)]
    max_tokens: usize,
    /// What runs and trains language models
    #[arg(long, value_enum, default_value_t = Engine::Native)]
    engine: Engine,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Engine {
    /// This program, on the CPU
    Native,
    /// PyTorch, by the Python that AAR_TORCH_PYTHON names
    Torch,
}

impl From<Engine> for EngineName {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Native => Self::Native,
            Engine::Torch => Self::Torch,
        }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Form {
    /// As it is, for base models
    Plain,
    /// By the model's chat template
    Chat,
}

impl Tuning {
    fn with(&self, form: Form) -> FineTune {
        let trained = match (self.last_layers, self.lora) {
            (Some(layers), _) => Tuned::LastLayers { layers },
            (None, Some(rank)) => Tuned::Lora { rank },
            (None, None) => FineTune::default().trained,
        };
        FineTune {
            trained,
            form: match form {
                Form::Plain => TextForm::Plain,
                Form::Chat => TextForm::Chat,
            },
            engine: self.engine.into(),
            epochs: self.epochs,
            batch: self.batch,
            rate: self.rate,
            max_tokens: self.max_tokens,
            ..FineTune::default()
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    check(&args.dir).with_context(|| format!("problem {}", args.dir.display()))?;
    let mut problem = Problem::open(&args.dir)?;
    if problem.teacher().is_ok() {
        bail!(
            "{} has weak features: its teachers are probes and its anchors come with each study",
            args.dir.display()
        );
    }
    if args.ceilings.is_some_and(|ceilings| ceilings > args.seeds) {
        bail!("--ceilings: at most as many as --seeds, {}", args.seeds);
    }
    let plan = AnchorPlan {
        weak: args.weak.clone(),
        strong: args.strong.clone(),
        seeds: args.seeds,
        ceilings: args.ceilings.unwrap_or(args.seeds),
        weak_tuning: args.tuning.with(args.weak_form),
        strong_tuning: args.tuning.with(args.strong_form),
        weak_rows: args.weak_rows.or(args.rows).map(|rows| rows as usize),
        strong_rows: args.rows.map(|rows| rows as usize),
        weights: shipped::weights(args.weights.as_deref()),
        work: match &args.work {
            Some(work) => work.clone(),
            None => beside(&args.dir, ".anchors")?,
        },
    };
    plan.weak_tuning.validate()?;
    plan.strong_tuning.validate()?;
    let mut news = News::new();
    let measured = measure(&problem, &plan, &mut |role, seed, step| {
        let (what, of) = match role {
            Role::Weak => ("weak teacher", plan.seeds),
            Role::Ceiling => ("ceiling", plan.ceilings),
        };
        news.hear(&format!("{what}, seed {seed} of {of}"), step);
    })?;
    let (weak, ceilings) = (plan.weak.name(), measured.ceilings.clone());
    problem.set_teachers(weak, ceilings, &measured.labels, measured.anchors.clone())?;
    check(&args.dir).with_context(|| format!("problem {}", args.dir.display()))?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print(&plan, &measured);
    }
    warn(&measured);
    Ok(ExitCode::SUCCESS)
}

/// The place of work that belongs to a problem directory: beside it, with `ending` in its name.
pub(crate) fn beside(dir: &Path, ending: &str) -> Result<PathBuf> {
    let found = dir
        .canonicalize()
        .with_context(|| format!("finding {}", dir.display()))?;
    let mut name = found.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    Ok(found.with_file_name(name))
}

fn print(plan: &AnchorPlan, measured: &Measured) {
    let models = plan.seeds + plan.ceilings;
    say!(
        "weak: {}, {} seeds; strong: {}, {} seeds; engine: {}; {} of {models} models were trained before",
        plan.weak.name(),
        plan.seeds,
        plan.strong.name(),
        plan.ceilings,
        measured.engine.name(),
        measured.found
    );
    say!("  split    rows   weak  ceiling  gap, with its 95 % interval over seeds and items");
    for (split, figures) in &measured.splits {
        let gap = figures.gap.as_ref().map_or_else(String::new, interval);
        say!(
            "  {split:<6} {:>6} {:>6} {:>8}  {gap}",
            figures.rows,
            mean(&figures.weak),
            mean(&figures.ceiling)
        );
        say!("         weak by seed: {}", list(&figures.weak));
        if !figures.ceiling.is_empty() {
            say!("         ceiling by seed: {}", list(&figures.ceiling));
        }
    }
    for (who, lengths) in [
        ("weak teachers", measured.weak_lengths),
        ("ceilings", measured.strong_lengths),
    ] {
        say!(
            "  rows too long for {who}, all seeds and splits: {} cut, {} left out",
            lengths.cut,
            lengths.left_out
        );
    }
}

fn warn(measured: &Measured) {
    for (split, anchors) in &measured.anchors {
        if anchors.ceiling <= anchors.weak {
            tell(&format!(
                "WARNING: on {split} the ceiling, {:.3}, is not above the weak teachers, {:.3}: \
                 there is no gap to recover, and PGR means nothing. The problem is noted as hard. \
                 Train the strong model longer or on more rows, or take a weaker weak model.",
                anchors.ceiling, anchors.weak
            ));
        }
    }
    let first = measured.labels.first();
    if measured.labels.len() > 1 && measured.labels.iter().all(|one| Some(one) == first) {
        tell(
            "WARNING: all weak teachers say the same: a probe that sees every row has no seed. \
             Let each draw its own with --weak-rows.",
        );
    }
}

fn mean(values: &[f64]) -> String {
    match values.len() {
        0 => String::new(),
        count => format!("{:.3}", values.iter().sum::<f64>() / count as f64),
    }
}

fn list(values: &[f64]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
    values.join(" ")
}

pub(crate) fn interval(estimate: &Estimate) -> String {
    format!(
        "{:.3} [{:.3}, {:.3}]",
        estimate.value, estimate.low, estimate.high
    )
}

/// Lines about progress, now and then.
pub(crate) struct News {
    last: Instant,
    asking: Option<Instant>,
}

impl News {
    pub(crate) fn new() -> Self {
        Self {
            last: Instant::now(),
            asking: None,
        }
    }

    /// Tells how far `what` is, unless it told so a moment ago.
    pub(crate) fn hear(&mut self, what: &str, step: Step<'_>) {
        let line = match step {
            Step::Trained(progress) => {
                self.asking = None;
                format!(
                    "step {} of {}, loss {:.3}, {:.0} tokens a second, {} left",
                    progress.step,
                    progress.steps,
                    progress.record.loss,
                    progress.speed,
                    clock(progress.left)
                )
            }
            Step::Asked(done, all) => {
                let began = *self.asking.get_or_insert_with(Instant::now);
                let each = began.elapsed().as_secs_f64() / done.max(1) as f64;
                let left = clock(each * (all - done) as f64);
                if done == all {
                    self.asking = None;
                }
                format!("{done} of {all} rows read, {left} left")
            }
        };
        self.line(what, || line);
    }

    /// Tells `line` of `what`, unless it told something a moment ago.
    pub(crate) fn line(&mut self, what: &str, line: impl FnOnce() -> String) {
        if self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            tell(&format!("{what}: {}", line()));
        }
    }
}

fn clock(seconds: f64) -> String {
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}
