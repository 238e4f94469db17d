//! `aar transcript`: what a language-model researcher saw and did, live and afterwards.

use super::say;
use crate::study::{TRANSCRIPTS, check_format};
use aar_researcher::agent::{Entry, What, inspect_log, new_to_model, read, readable};
use aar_researcher::llm::{Block, Message, Money, ToolInput, Usage};
use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How often a transcript that is still written is looked at.
const TICK: Duration = Duration::from_millis(500);
/// Lines of a result that are shown without `--full`.
const LINES: usize = 12;

/// What `aar transcript` takes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The run directory
    run: PathBuf,
    /// Whose; without a name, who has one is listed
    researcher: Option<String>,
    /// Go on while the researcher is at work
    #[arg(long)]
    follow: bool,
    /// Show everything: instructions, tools, thinking and whole results
    #[arg(long)]
    full: bool,
    /// Write it to this file as a log for the Inspect viewer
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    inspect: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    check_format(&args.run)?;
    let Some(researcher) = &args.researcher else {
        return list(&args.run);
    };
    let file = args
        .run
        .join(TRANSCRIPTS)
        .join(format!("{researcher}.jsonl"));
    if !file.is_file() {
        bail!(
            "{} has no transcript of {researcher}; it has {}",
            args.run.display(),
            names(&args.run)?.join(", ")
        );
    }
    if let Some(out) = &args.inspect {
        let log = inspect_log(&read(&file)?);
        let text = serde_json::to_string_pretty(&log).context("writing the log")?;
        fs::write(out, text).with_context(|| format!("writing {}", out.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = 0;
    let mut step = 0;
    loop {
        let entries = read(&file)?;
        for entry in &entries[shown..] {
            let replied = matches!(entry.what, What::Replied { .. } | What::Asked { .. });
            step += u64::from(replied);
            show(entry, step, args.full);
        }
        shown = entries.len();
        let ended = matches!(entries.last(), Some(last) if matches!(last.what, What::Ended { .. }));
        if !args.follow || ended {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(TICK);
    }
}

fn names(run: &Path) -> Result<Vec<String>> {
    let directory = run.join(TRANSCRIPTS);
    let Ok(files) = fs::read_dir(&directory) else {
        bail!(
            "{} has no transcripts: none of its researchers was a language model",
            run.display()
        );
    };
    let mut names = Vec::new();
    for file in files {
        let file = file.with_context(|| format!("reading {}", directory.display()))?;
        let name = file.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".jsonl").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// A line for each researcher.
fn list(run: &Path) -> Result<ExitCode> {
    say!(
        "{:<12} {:<24} {:>6} {:>12} {:>8}  end",
        "researcher",
        "model",
        "steps",
        "cost",
        "cached"
    );
    for name in names(run)? {
        let entries = read(&run.join(TRANSCRIPTS).join(format!("{name}.jsonl")))?;
        let (mut model, mut end) = ("", "at work");
        let (mut steps, mut cost, mut usage) = (0, Money::ZERO, Usage::default());
        for entry in &entries {
            match &entry.what {
                What::Opened { model: of, .. } => model = of,
                What::Replied {
                    reply, cost: one, ..
                } => {
                    steps += 1;
                    cost += *one;
                    usage += reply.usage.unwrap_or_default();
                }
                What::Asked {
                    usage: of,
                    cost: one,
                    ..
                } => {
                    steps += 1;
                    cost += *one;
                    usage += of.unwrap_or_default();
                }
                What::Failed { cost: one, .. } => cost += *one,
                What::Ended { why, .. } => end = why,
                _ => {}
            }
        }
        say!(
            "{name:<12} {model:<24} {steps:>6} {:>12} {:>6.1} %  {end}",
            cost.to_string(),
            100.0 * usage.cached_share()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn show(entry: &Entry, step: u64, full: bool) {
    match &entry.what {
        What::Opened {
            researcher,
            model,
            system,
            tools,
            ..
        } => {
            say!("{researcher}, {model}");
            if full {
                say!("\n-- instructions\n{system}\n-- tools");
                for tool in tools {
                    say!("{}: {}\n    {}", tool.name, tool.description, tool.schema);
                }
            }
        }
        What::Sent { message } => turn(message, full),
        What::Replied {
            reply,
            cost,
            seconds,
        } => {
            let usage = reply.usage.unwrap_or_default();
            say!(
                "\n== {step}: {seconds:.1} s, {cost}, {} tokens read ({:.0} % cached), {} written",
                usage.prompt(),
                100.0 * usage.cached_share(),
                usage.output
            );
            for attempt in &reply.attempts {
                say!("   (a try failed: {})", attempt.why);
            }
            turn(&reply.message, full);
        }
        What::Failed { why, .. } => say!("\n!! a call failed: {why}"),
        What::Asked {
            request,
            earlier,
            status,
            said,
            usage,
            cost,
            seconds,
        } => {
            let usage = usage.unwrap_or_default();
            say!("{}", indented(&new_to_model(request), full));
            say!(
                "\n== {step}: {seconds:.1} s, {cost}, {} tokens read ({:.0} % cached), {} written, \
                 after {earlier} earlier items",
                usage.prompt(),
                100.0 * usage.cached_share(),
                usage.output
            );
            match said.is_null() {
                true => say!("(no whole reply; status {status})"),
                false => say!("{}", readable(said)),
            }
        }
        What::Withheld { why } => say!("\n!! the proxy gave no reply: {why}"),
        What::Called {
            tool,
            input,
            text,
            failed,
        } => {
            let mark = if *failed { "< failed" } else { "<" };
            call(tool, input, full);
            say!("{mark}\n{}", indented(text, full));
        }
        What::Started { session, command } => {
            say!("\n-- session {session}\n{}", indented(command, full));
        }
        What::Left { session, how } => say!("\n-- session {session} ended: {how}"),
        What::Condensed { why, messages } => {
            say!("\n-- condensed: {why}; it goes on with");
            messages.iter().for_each(|message| turn(message, full));
        }
        What::Ended { why, cost } => say!("\n-- ended after {cost}: {why}"),
    }
}

fn turn(message: &Message, full: bool) {
    for block in &message.content {
        match block {
            Block::Text { text } => say!("{text}"),
            Block::Thinking { .. } => {
                if let Some(text) = block.thinking_text().filter(|_| full) {
                    say!("(thinks) {text}");
                }
            }
            Block::ToolUse { name, input, .. } => call(name, input, full),
            Block::ToolResult {
                content, is_error, ..
            } => {
                let mark = if *is_error { "< failed" } else { "<" };
                say!("{mark}\n{}", indented(content, full));
            }
        }
    }
}

fn call(tool: &str, input: &ToolInput, full: bool) {
    match input {
        ToolInput::Json(input) => {
            say!("> {tool}");
            for (field, value) in input {
                match value.as_str() {
                    Some(text) => say!("{}", indented(&format!("{field}: {text}"), full)),
                    None => say!("    {field}: {value}"),
                }
            }
        }
        ToolInput::Malformed(text) => say!("> {tool}, malformed: {text}"),
    }
}

fn indented(text: &str, full: bool) -> String {
    let all = text.lines().count();
    let most = if full { all } else { LINES };
    let mut lines: Vec<String> = text
        .lines()
        .take(most)
        .map(|line| format!("    {line}"))
        .collect();
    if all > most {
        lines.push(format!(
            "    [… {} more lines; --full shows them …]",
            all - most
        ));
    }
    lines.join("\n")
}
