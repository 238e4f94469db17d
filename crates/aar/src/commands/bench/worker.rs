//! A process that does one kind of work, seen from the side that asks it for steps.

use super::work::{Lap, Peak, Ready};
use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Most bytes of one line that a worker says.
const MOST_LINE: u64 = 64 << 10;
/// Most bytes of what a worker leaves on standard error, from its end.
const MOST_ERRORS: u64 = 16 << 10;

/// A worker whose first step is done. It ends with this value.
pub(super) struct Worker {
    talk: Talk,
    pub(super) ready: Ready,
    pub(super) laps: Vec<Lap>,
}

impl Worker {
    /// Starts a worker and waits for its first step.
    ///
    /// # Errors
    /// If it does not start, or ends without an answer: with the last line of its standard error.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut talk = Talk::start(command)?;
        Ok(Self {
            ready: talk.hear()?,
            laps: Vec::new(),
            talk,
        })
    }

    /// Asks for one more step and waits for it.
    pub(super) fn step(&mut self) -> Result<()> {
        // Whether it still listens shows in its answer.
        let _ = self.talk.requests.as_mut().map(|to| to.write_all(b"\n"));
        let lap = self.talk.hear()?;
        self.laps.push(lap);
        Ok(())
    }

    /// Asks for no more steps; gives its peak memory in MB.
    pub(super) fn end(&mut self) -> Result<f64> {
        self.talk.requests = None;
        let peak: Peak = self.talk.hear()?;
        Ok(peak.peak_mb)
    }
}

/// A process and what it says. It is ended when this is dropped.
struct Talk {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// A file, not a pipe: nobody reads it until something goes wrong.
    errors: File,
}

impl Talk {
    fn start(command: &mut Command) -> Result<Self> {
        let errors = tempfile::tempfile().context("making a temporary file")?;
        let program = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let requests = child.stdin.take();
        let answers = child.stdout.take().context("a worker without output")?;
        Ok(Self {
            child,
            requests,
            answers: BufReader::new(answers),
            errors,
        })
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.answers).take(MOST_LINE);
        bounded.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Err(self.complaint());
        }
        let text = String::from_utf8_lossy(&line);
        serde_json::from_str(&text).with_context(|| format!("an answer like no other: {text:.100}"))
    }

    /// Why it said nothing: what it last wrote to standard error.
    fn complaint(&mut self) -> anyhow::Error {
        let _ = self.child.kill();
        let ended = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        match last_line(&mut self.errors) {
            Some(line) => anyhow!("{line} ({ended})"),
            None => anyhow!("it ended without an answer ({ended})"),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_line(file: &mut File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    let from = length.saturating_sub(MOST_ERRORS);
    file.seek(std::io::SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.take(MOST_ERRORS).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().map(str::trim).find(|l| !l.is_empty())?;
    Some(line.chars().take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = r#"echo '{"engine":"sh","answer":1.0,"tokens":5}'; "#;

    fn shell(script: &str) -> Result<Worker> {
        Worker::start(Command::new("sh").args(["-c", script]))
    }

    fn error<T>(result: Result<T>) -> String {
        format!("{:#}", result.err().unwrap())
    }

    #[test]
    fn a_worker_steps_when_it_is_asked_to() {
        let mut worker = shell(&format!(
            r#"{READY} n=0; while read -r line; do n=$((n + 1)); echo "{{\"wall_s\":$n,\"cpu_s\":2}}"; done
               echo "{{\"peak_mb\":$n}}""#
        ))
        .unwrap();
        assert_eq!(worker.ready.tokens, 5);
        worker.step().unwrap();
        worker.step().unwrap();
        let walls: Vec<f64> = worker.laps.iter().map(|lap| lap.wall_s).collect();
        assert_eq!(walls, [1.0, 2.0]);
        assert_eq!(worker.end().unwrap(), 2.0);
    }

    #[test]
    fn a_worker_that_dies_is_quoted() {
        let gone = error(shell(
            "echo before >&2; echo 'no such module' >&2; echo >&2; exit 3",
        ));
        assert!(
            gone.starts_with("no such module (") && gone.contains('3'),
            "{gone}"
        );
        let later = error(shell(&format!("{READY} echo killed >&2")).unwrap().step());
        assert!(later.starts_with("killed ("), "{later}");
        let silent = error(shell("exit 0"));
        assert!(silent.starts_with("it ended without an answer"), "{silent}");
    }

    #[test]
    fn nonsense_and_endless_lines_are_no_answers() {
        let nonsense = error(shell("echo hello"));
        assert!(
            nonsense.contains("an answer like no other: hello"),
            "{nonsense}"
        );
        assert!(shell("exec cat /dev/zero").is_err());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let missing = error(Worker::start(&mut Command::new("/no/such/python")));
        assert!(missing.contains("/no/such/python"), "{missing}");
    }
}
