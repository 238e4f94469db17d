//! A command-line agent of a study: its sandbox, its two ways out, its sessions.

use super::agents::{TRANSCRIPTS, brief, record};
use super::conduct::{OnDrop, milliseconds};
use super::crew::Door;
use super::open::{Opened, check_place};
use super::progress::Progress;
use super::provider::Provider;
use super::rooms::{Rooms, guide, open_to_all, seed};
use aar_compute::Harness;
use aar_core::id::Name;
use aar_core::study::{CommandSettings, Study};
use aar_core::workspace::{Answer, MODEL_PORT, Request};
use aar_hub::Client;
use aar_researcher::Direction;
use aar_researcher::agent::{
    Allowance, Desk, ForumCopy, Purse, TRANSCRIPT_FORMAT, Task, Transcript, What, hub_tools, rules,
};
use aar_researcher::harness::{HOW, Heard, ModelLine, ToolCall, Ways};
use aar_researcher::llm::Money;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often is looked whether a session has ended.
const TICK: Duration = Duration::from_millis(500);
/// How often findings of others are brought into the sandbox.
const NEWS: Duration = Duration::from_secs(5);
/// The pause after a session that ended soon; it doubles with each in a row.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A session that took this long did not end soon.
const SOON: Duration = Duration::from_secs(60);
/// Sessions in a row without a reply of the model, after which none will come.
const MUTE: u32 = 3;
/// Bytes of a transcript, after which only its end is written: nobody may fill the disk.
const MOST_WRITTEN: u64 = 1 << 30;
/// Bytes of the shell command that starts the agent; the kernel takes no longer one.
const MOST_SCRIPT: usize = 120 << 10;
/// Characters of what a session printed that are kept.
const KEPT: usize = 2_000;
/// Files and bytes of settings that are copied into a sandbox.
const MOST_FILES: usize = 10_000;
const MOST_BYTES: u64 = 256 << 20;

/// What all command-line agents of a study share.
pub(crate) struct Commands<'a> {
    /// The model that they ask, if they do.
    pub(crate) provider: Option<&'a Provider>,
    /// Their settings, with paths made absolute.
    pub(crate) settings: &'a CommandSettings,
    pub(crate) purse: Purse,
    pub(crate) opened: &'a Opened,
    pub(crate) door: &'a Door<'a>,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) progress: &'a Progress,
}

/// Refuses settings whose files are not there, before a study begins; paths are made absolute.
pub(crate) fn check(study: &Study, base: &Path, run_dir: &Path) -> Result<CommandSettings> {
    let mut settings = study.command.clone();
    let key = study.llm.key_file.as_ref().map(|file| base.join(file));
    let secret = [run_dir, key.as_deref().unwrap_or(run_dir)];
    for shown in &settings.show {
        check_place(Path::new(shown), &secret)
            .with_context(|| format!("field command.show: {shown:?}"))?;
    }
    let program = Path::new(settings.run.first().map_or("", String::as_str));
    if program.is_absolute() && !program.is_file() {
        bail!(
            "field command.run: there is no program {}; install the agent, or name where it is",
            program.display()
        );
    }
    if let Some(home) = &mut settings.home {
        let path = base.join(&*home);
        if !path.is_dir() {
            bail!("field command.home: {} is not a directory", path.display());
        }
        *home = path.display().to_string();
    }
    Ok(settings)
}

impl Commands<'_> {
    /// Runs the researcher to its end, and says how it was.
    pub(crate) fn run(&self, name: &Name, direction: Direction) -> Result<String> {
        let hub = Client::new(self.door.url(), &self.door.admit(name, direction.text())?);
        // Settings may hold what other users of the machine are not to read: the outer directory is closed.
        let outer = tempfile::tempdir().context("making a directory for a workspace")?;
        let seeded = outer.path().join("work");
        fs::create_dir(&seeded).context("making a directory for a workspace")?;
        let brief = brief(self.opened)?;
        seed(&seeded, &brief, &self.opened.methods)?;
        if let Some(home) = &self.settings.home {
            Copied::default().copy(Path::new(home), &seeded)?;
        }
        let llm = &self.opened.study.llm;
        let dollars = Money::from_dollars(llm.dollars).unwrap_or_default();
        let allowance = self.purse.allowance(dollars, Money::ZERO);
        let line = self.provider.map(|provider| ModelLine {
            endpoint: provider.endpoint.clone(),
            card: provider.card.clone(),
            allowance: allowance.clone(),
            max_tokens: llm.max_tokens,
        });
        let sockets = tempfile::tempdir().context("making a directory for sockets")?;
        let (ways, heard) = Ways::open(sockets.path(), line).context("opening the ways out")?;
        let harness = Harness {
            shown: self.settings.show.iter().map(PathBuf::from).collect(),
            hub: ways.hub().to_owned(),
            model: ways.model().map(Path::to_owned),
        };
        let around = (self.opened, self.door, self.stop);
        let rooms = Rooms::new(around, name, &seeded, Some(&harness));
        let transcripts = self.opened.run_dir.join(TRANSCRIPTS);
        fs::create_dir_all(&transcripts)
            .with_context(|| format!("making {}", transcripts.display()))?;
        let file = transcripts.join(format!("{name}.jsonl"));
        let session = Session {
            commands: self,
            name,
            hub: &hub,
            rooms: &rooms,
            allowance: &allowance,
            transcript: Mutex::new(Transcript::open(&file)?),
            replies: AtomicU64::new(0),
        };
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Whatever goes on inside ends with research, or with this thread.
            let _over = OnDrop(|| over.store(true, Ordering::Relaxed));
            scope.spawn(|| {
                while !self.stop.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(100));
                }
                rooms.end();
            });
            scope.spawn(|| session.listen(heard));
            // The listener hears its end when the ways are closed.
            let _ways = ways;
            session.work(&brief, direction)
        })
    }
}

/// One agent at work.
struct Session<'a> {
    commands: &'a Commands<'a>,
    name: &'a Name,
    hub: &'a Client,
    rooms: &'a Rooms<'a>,
    allowance: &'a Allowance,
    transcript: Mutex<Transcript>,
    /// Replies of its model.
    replies: AtomicU64,
}

impl Session<'_> {
    fn stopped(&self) -> bool {
        self.commands.stop.load(Ordering::Relaxed)
    }

    fn note(&self, what: What) {
        let mut transcript = self
            .transcript
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ends = matches!(what, What::Ended { .. });
        if transcript.bytes() > MOST_WRITTEN && !ends {
            return;
        }
        if let Err(error) = transcript.add(milliseconds(), what) {
            self.commands
                .progress
                .event(&format!("{}: {error}", self.name));
        }
    }

    /// Carries out what comes out of the sandbox, until its ways are closed.
    fn listen(&self, heard: Receiver<Heard>) {
        std::thread::scope(|scope| {
            for heard in heard {
                match heard {
                    // Waiting for a run must not keep another call waiting; how many there are at one
                    // time is bounded where they come in.
                    Heard::Tool(call) => {
                        scope.spawn(|| self.call(call));
                    }
                    Heard::Model(call) => {
                        let replied = u64::from(call.replied);
                        self.replies.fetch_add(replied, Ordering::Relaxed);
                        record(self.commands.door, self.commands.progress, self.name, &call);
                    }
                    Heard::Note(what) => self.note(what),
                }
            }
        });
    }

    fn call(&self, call: ToolCall) {
        let ask = |request: &Request| self.rooms.ask(request);
        let allowance = self.commands.provider.map(|_| self.allowance);
        let mut desk = Desk::new(self.hub, Some(&ask), allowance, self.commands.stop);
        let outcome = desk.call(&call.name, &call.input);
        self.note(What::Called {
            tool: call.name.clone(),
            input: call.input.clone(),
            text: outcome.text.clone(),
            failed: outcome.failed,
        });
        call.answer(outcome);
    }

    fn work(&self, brief: &str, direction: Direction) -> Result<String> {
        let settings = self.commands.settings;
        let task = self.task(brief, direction)?;
        let model = self.commands.provider.map(|provider| &provider.card.name);
        self.note(What::Opened {
            format: TRANSCRIPT_FORMAT,
            researcher: self.name.clone(),
            model: model.map_or("unknown", String::as_str).to_owned(),
            url: "through the proxy".to_owned(),
            system: task.clone(),
            tools: hub_tools(),
        });
        let command = script(settings, self.name, &task);
        if command.len() > MOST_SCRIPT {
            bail!(
                "its task and settings have {} bytes, at most {MOST_SCRIPT} can be given to a command",
                command.len()
            );
        }
        let (mut soon, mut mute, mut sessions) = (0, 0, 0);
        let mut last = String::new();
        let why = loop {
            if self.stopped() {
                break "the study's time for research is over".to_owned();
            }
            if sessions == settings.sessions {
                break format!("it was started {sessions} times");
            }
            if mute == MUTE {
                break format!(
                    "its model gave no reply in {MUTE} sessions; the last one ended so: {last}"
                );
            }
            sessions += 1;
            let (before, begun) = (self.replies.load(Ordering::Relaxed), Instant::now());
            // Without the environment, which may hold what is nobody's to read.
            self.note(What::Started {
                session: sessions,
                command: settings.run.join(" "),
            });
            let how = self.session(&command).unwrap_or_else(|why| why);
            last.clone_from(&how);
            self.note(What::Left {
                session: sessions,
                how,
            });
            if ["[exit code 126]", "[exit code 127]"]
                .iter()
                .any(|code| last.ends_with(code))
            {
                break format!("it cannot be started: {last}");
            }
            let replied = self.replies.load(Ordering::Relaxed) > before;
            mute = match replied || self.commands.provider.is_none() {
                true => 0,
                false => mute + 1,
            };
            soon = if begun.elapsed() < SOON { soon + 1 } else { 0 };
            self.pause(soon);
        };
        let cost = self.allowance.spent();
        self.note(What::Ended {
            why: why.clone(),
            cost,
        });
        Ok(format!("ended after {sessions} sessions and {cost}: {why}"))
    }

    /// The text that the agent is started with.
    fn task(&self, brief: &str, direction: Direction) -> Result<String> {
        let ask = |request: &Request| self.rooms.ask(request);
        // A sandbox that cannot be had is told before anything is tried in it.
        let nothing = Request::Run {
            command: "true".to_owned(),
            seconds: 60,
        };
        ask(&nothing).map_err(anyhow::Error::msg)?;
        let study = &self.commands.opened.study;
        let money = self.commands.provider.map(|_| study.llm.dollars);
        let task = Task {
            name: self.name,
            direction: direction.text(),
            brief,
            guide: &guide(&ask),
            study: &self.hub.study()?,
            budget: &self.hub.budget()?,
            money: money.and_then(Money::from_dollars),
        };
        Ok(format!(
            "{}\n\n{HOW}\n# Your task\n\n{}",
            rules(),
            task.message()
        ))
    }

    /// One session, to its end; an error is how it ended, too.
    fn session(&self, command: &str) -> Result<String, String> {
        if self.commands.provider.is_some() {
            // The port may still be served from the session before.
            let serve = "aar-lab model 2>/dev/null".to_owned();
            self.rooms.ask(&Request::Start { command: serve })?;
            let listens = format!(
                "for i in 1 2 3 4 5 6 7 8 9; do (exec 3<>/dev/tcp/127.0.0.1/{MODEL_PORT}) 2>/dev/null && break; sleep 0.2; done"
            );
            self.shell(&listens)?;
        }
        let command = command.to_owned();
        let Answer::Started { pid, log } = self.rooms.ask(&Request::Start { command })? else {
            return Err("the workspace answered something else".to_owned());
        };
        let mut forum = ForumCopy::default();
        let mut news: Option<Instant> = None;
        loop {
            if self.stopped() {
                return Err("the study's time for research is over".to_owned());
            }
            if news.is_none_or(|at| at.elapsed() >= NEWS) {
                // If the hub does not answer, the next time it may.
                let _ = forum.bring_up_to_date(self.hub, &|request| self.rooms.ask(request));
                news = Some(Instant::now());
            }
            std::thread::sleep(TICK);
            if self.shell(&format!("kill -0 {pid} 2>/dev/null && echo runs"))? != "runs" {
                return self.shell(&format!("tail -c {KEPT} '{log}'"));
            }
        }
    }

    fn shell(&self, command: &str) -> Result<String, String> {
        let (command, seconds) = (command.to_owned(), 60);
        match self.rooms.ask(&Request::Run { command, seconds })? {
            Answer::Ran { output, .. } => Ok(output.trim().chars().take(KEPT).collect()),
            _ => Err("the workspace answered something else".to_owned()),
        }
    }

    /// Waits before the next session, the longer the more of them ended soon.
    fn pause(&self, soon: u32) {
        let doubled = PAUSE * (1 << soon.saturating_sub(1).min(10));
        let end = Instant::now() + doubled.min(LONGEST_PAUSE);
        while Instant::now() < end && !self.stopped() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The shell command that starts the agent.
fn script(settings: &CommandSettings, name: &Name, task: &str) -> String {
    let mut script = "cd ~\n".to_owned();
    for (variable, value) in &settings.env {
        script.push_str(&format!("export {variable}={}\n", quoted(value)));
    }
    let words = settings.run.iter().map(|word| {
        // The task last: what it says stays as it is.
        let word = word.replace("{name}", name.as_str());
        quoted(&word.replace("{task}", task))
    });
    script.push_str(&words.collect::<Vec<_>>().join(" "));
    script.push_str("\necho \"[exit code $?]\"\n");
    script
}

/// A word as the shell reads it unchanged.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What was copied so far.
#[derive(Default)]
struct Copied {
    files: usize,
    bytes: u64,
}

impl Copied {
    /// Copies a directory's files to where every sandbox's user can read them. Links are refused: what they
    /// point to may not be meant.
    fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let at = || format!("field command.home: {}", from.display());
        for entry in fs::read_dir(from).with_context(at)? {
            let entry = entry.with_context(at)?;
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            let seen = entry.metadata().with_context(at)?;
            if seen.is_dir() {
                fs::create_dir_all(&target).with_context(at)?;
                open_to_all(&target)?;
                self.copy(&path, &target)?;
                continue;
            }
            if !seen.is_file() {
                bail!("field command.home: {} is no regular file", path.display());
            }
            self.files += 1;
            self.bytes += seen.len();
            if self.files > MOST_FILES || self.bytes > MOST_BYTES {
                bail!(
                    "{}: more than {MOST_FILES} files or {} MiB; show programs by command.show",
                    at(),
                    MOST_BYTES >> 20
                );
            }
            fs::copy(&path, &target).with_context(at)?;
            let mode = 0o644 | (seen.permissions().mode() & 0o111);
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).with_context(at)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_reads_every_word_as_it_is() {
        let settings = CommandSettings {
            run: ["printf", "%s|%s", "{task}", "a 'b' $HOME"]
                .map(str::to_owned)
                .to_vec(),
            env: [("KEY".to_owned(), "x'y; exit 1".to_owned())].into(),
            ..CommandSettings::default()
        };
        let task = "line 1\n'; touch evil; echo '$(id) \"\\";
        let script = script(&settings, &"r1".parse().unwrap(), task).replace("cd ~\n", "")
            + "printf '%s' \"$KEY\"";
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            said,
            format!("{task}|a 'b' $HOME[exit code 0]\nx'y; exit 1")
        );
    }

    #[test]
    fn settings_are_copied_and_links_are_not() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join(".agent")).unwrap();
        fs::write(from.path().join(".agent/settings.json"), "{}").unwrap();
        Copied::default().copy(from.path(), to.path()).unwrap();
        let copied = to.path().join(".agent/settings.json");
        assert_eq!(fs::read_to_string(copied).unwrap(), "{}");
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).unwrap();
        let refused = Copied::default().copy(from.path(), to.path()).unwrap_err();
        assert!(
            refused.to_string().contains("link is no regular file"),
            "{refused}"
        );
    }
}
