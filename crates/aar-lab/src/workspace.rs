//! `aar-lab workspace`: serves an agent's workspace from inside its sandbox.
//!
//! It does what frames on standard input ask for, one after the other, and answers on standard output
//! ([`aar_core::workspace`]). It holds no secret and keeps nobody out: the walls are the sandbox's. Its care is
//! that an agent is never stuck: commands end, output is bounded, only regular files are opened.

use aar_core::workspace::{
    Answer, MAX_COLLECTED, MAX_FILE, MAX_FILES, MAX_FRAME, MAX_OUTPUT, MAX_SECONDS, Request,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long output is waited for that a command's children may still hold, after its end.
const LINGER: Duration = Duration::from_millis(200);
/// Where the shell notes the directory that it ended in.
const NOTE: &str = ".directory";

/// Serves frames until the input ends.
///
/// # Errors
/// If a frame cannot be read or written.
pub fn serve(workspace: &mut Workspace, input: impl Read, output: impl Write) -> io::Result<()> {
    let (mut input, mut output) = (input, output);
    loop {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::other("a frame is too long"));
        }
        let mut frame = vec![0; length];
        input.read_exact(&mut frame)?;
        let answer = match serde_json::from_slice(&frame) {
            Ok(request) => workspace.answer(&request),
            Err(error) => refused(format!("a request cannot be read: {error}")),
        };
        let mut frame = serde_json::to_vec(&answer)?;
        if frame.len() > MAX_FRAME {
            frame = serde_json::to_vec(&refused("the answer is too long".into()))?;
        }
        output.write_all(&(frame.len() as u32).to_be_bytes())?;
        output.write_all(&frame)?;
        output.flush()?;
    }
}

/// A directory to work in, and the shell's place in it.
#[derive(Debug)]
pub struct Workspace {
    /// Where it began: `~` in paths, as the shell's `$HOME`.
    home: PathBuf,
    directory: PathBuf,
    /// For logs of background commands and the shell's notes.
    notes: PathBuf,
    shell: &'static str,
    background: Vec<Child>,
    started: u64,
}

impl Workspace {
    /// A workspace in `directory` that keeps its notes in `notes`.
    ///
    /// # Errors
    /// If `notes` cannot be made.
    pub fn new(directory: &Path, notes: &Path) -> io::Result<Self> {
        fs::create_dir_all(notes)?;
        let shells = ["/bin/bash", "/usr/bin/bash"];
        let shell = shells.into_iter().find(|shell| Path::new(shell).exists());
        Ok(Self {
            home: directory.to_owned(),
            directory: directory.to_owned(),
            notes: notes.to_owned(),
            shell: shell.unwrap_or("/bin/sh"),
            background: Vec::new(),
            started: 0,
        })
    }

    /// Does what a request asks for.
    pub fn answer(&mut self, request: &Request) -> Answer {
        // Bury the dead, so that they do not count as processes.
        self.background
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let done = match request {
            Request::Run { command, seconds } => self.run(command, (*seconds).min(MAX_SECONDS)),
            Request::Start { command } => self.start(command),
            Request::View { path } => self.read(path).map(|text| Answer::Text { text }),
            Request::Write { path, text } => self.write(path, text),
            Request::Edit { path, old, new } => self.edit(path, old, new),
            Request::Collect { directory } => self.collect(directory),
        };
        done.unwrap_or_else(refused)
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.shell);
        command
            .arg("-c")
            .arg(script)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    fn run(&mut self, script: &str, seconds: u64) -> Result<Answer, String> {
        let note = self.notes.join(NOTE);
        let _ = fs::remove_file(&note);
        // A shell that cannot read its script runs no trap, and the directory stays.
        let script = format!("trap 'pwd -P > \"$AAR_NOTE\"' EXIT\n{script}");
        let failed = |error: io::Error| format!("the shell cannot be started: {error}");
        let (reader, writer) = io::pipe().map_err(failed)?;
        let mut command = self.command(&script);
        command
            .env("AAR_NOTE", &note)
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer);
        let mut child = command.spawn().map_err(failed)?;
        // Its copies of the writing end must not keep the reader waiting.
        drop(command);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = reader;
            let mut part = vec![0; 1 << 16];
            while let Ok(read @ 1..) = reader.read(&mut part) {
                // Nobody listens any more; still read, or the writer stands still.
                let _ = tell.send(part[..read].to_vec());
            }
        });

        let end = Instant::now() + Duration::from_secs(seconds);
        let mut shown = Shown::default();
        let mut status = None;
        let mut give_up = end;
        loop {
            match told.recv_timeout(Duration::from_millis(5)) {
                Ok(part) => shown.push(&part),
                Err(mpsc::RecvTimeoutError::Disconnected) if status.is_some() => break,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if status.is_none() {
                status = child.try_wait().map_err(failed)?;
                if status.is_some() {
                    give_up = now + LINGER;
                } else if now >= end {
                    break;
                }
            } else if now >= give_up {
                break;
            }
        }
        let timed_out = status.is_none();
        if timed_out {
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
            while let Ok(part) = told.recv_timeout(LINGER) {
                shown.push(&part);
            }
        }
        if let Ok(directory) = fs::read_to_string(&note) {
            let directory = PathBuf::from(directory.trim_end_matches('\n'));
            if directory.is_dir() {
                self.directory = directory;
            }
        }
        let (output, left_out) = shown.text();
        let code = status.and_then(|status| {
            // As a shell tells it.
            status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal))
        });
        Ok(Answer::Ran {
            code,
            timed_out,
            output,
            left_out,
            directory: self.directory.to_string_lossy().into_owned(),
        })
    }

    fn start(&mut self, script: &str) -> Result<Answer, String> {
        let failed = |error: io::Error| format!("the command cannot be started: {error}");
        self.started += 1;
        let log = self.notes.join(format!("{}.log", self.started));
        let file = File::create(&log).map_err(failed)?;
        let mut command = self.command(script);
        command
            .stdout(file.try_clone().map_err(failed)?)
            .stderr(file);
        let child = command.spawn().map_err(failed)?;
        let pid = child.id();
        self.background.push(child);
        Ok(Answer::Started {
            pid,
            log: log.to_string_lossy().into_owned(),
        })
    }

    /// A path as the shell reads it.
    fn place(&self, path: &str) -> PathBuf {
        match path
            .strip_prefix('~')
            .map(|rest| rest.strip_prefix('/').unwrap_or(rest))
        {
            Some(rest) => self.home.join(rest),
            None => self.directory.join(path),
        }
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let bytes = regular(&self.place(path), MAX_FILE).map_err(|why| format!("{path}: {why}"))?;
        String::from_utf8(bytes).map_err(|_| format!("{path}: not a text file (UTF-8)"))
    }

    fn write(&self, path: &str, text: &str) -> Result<Answer, String> {
        let file = self.place(path);
        let refuse = |error: io::Error| format!("{path}: {error}");
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(refuse)?;
        }
        // A pipe would never end.
        if fs::metadata(&file).is_ok_and(|seen| !seen.is_file()) {
            return Err(format!("{path}: not a regular file"));
        }
        fs::write(&file, text).map_err(refuse)?;
        Ok(Answer::Done)
    }

    fn edit(&self, path: &str, old: &str, new: &str) -> Result<Answer, String> {
        let text = self.read(path)?;
        match text.matches(old).count() {
            _ if old.is_empty() => Err("the passage to replace is empty".into()),
            1 => self.write(path, &text.replacen(old, new, 1)),
            0 => Err(format!("{path}: the passage does not occur; view the file")),
            count => Err(format!(
                "{path}: the passage occurs {count} times; give more of what stands around it"
            )),
        }
    }

    fn collect(&self, directory: &str) -> Result<Answer, String> {
        let top = self.place(directory);
        if !top.is_dir() {
            return Err(format!("{directory}: not a directory"));
        }
        let (mut files, mut binary) = (BTreeMap::new(), BTreeMap::new());
        let mut left = MAX_COLLECTED;
        let mut waiting = vec![top.clone()];
        while let Some(next) = waiting.pop() {
            let refuse = |error: io::Error| format!("{}: {error}", next.display());
            for entry in fs::read_dir(&next).map_err(refuse)? {
                let entry = entry.map_err(refuse)?;
                let path = entry.path();
                let name = entry.file_name();
                if name.to_string_lossy().starts_with('.') || name == "__pycache__" {
                    continue;
                }
                let kind = entry.file_type().map_err(refuse)?;
                if kind.is_dir() {
                    waiting.push(path);
                    continue;
                }
                let below = path.strip_prefix(&top).unwrap_or(&path);
                let below = below
                    .to_str()
                    .ok_or_else(|| format!("{}: its name is not UTF-8", below.display()))?;
                if !kind.is_file() {
                    return Err(format!("{below}: a method holds regular files only"));
                }
                let bytes = regular(&path, left).map_err(|why| format!("{below}: {why}"))?;
                left -= bytes.len() as u64;
                if files.len() + binary.len() == MAX_FILES {
                    return Err(format!("{directory}: more than {MAX_FILES} files"));
                }
                match String::from_utf8(bytes) {
                    Ok(text) => files.insert(below.to_owned(), text),
                    Err(odd) => binary.insert(below.to_owned(), hex(odd.as_bytes())),
                };
            }
        }
        Ok(Answer::Files { files, binary })
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        for child in &mut self.background {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A regular file's bytes, if they are not more than `most`.
fn regular(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    // Opening a pipe would wait for ever.
    let seen = fs::metadata(path).map_err(|error| error.to_string())?;
    if !seen.is_file() {
        return Err("not a regular file".into());
    }
    let too_large = || {
        Err(format!(
            "too large: more than {most} bytes (look at parts of it)"
        ))
    };
    if seen.len() > most {
        return too_large();
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return too_large();
    }
    Ok(bytes)
}

fn refused(why: String) -> Answer {
    Answer::Refused { why }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning and the end of an output.
#[derive(Default)]
struct Shown {
    first: Vec<u8>,
    last: VecDeque<u8>,
    all: u64,
}

impl Shown {
    fn push(&mut self, part: &[u8]) {
        self.all += part.len() as u64;
        let room = (MAX_OUTPUT / 2).saturating_sub(self.first.len());
        let (first, rest) = part.split_at(room.min(part.len()));
        self.first.extend_from_slice(first);
        self.last.extend(rest);
        let over = self.last.len().saturating_sub(MAX_OUTPUT / 2);
        self.last.drain(..over);
    }

    /// The text, and how many bytes it lacks.
    fn text(mut self) -> (String, u64) {
        let left_out = self.all - (self.first.len() + self.last.len()) as u64;
        let mut bytes = self.first;
        if left_out > 0 {
            bytes.extend(format!("\n[… {left_out} bytes left out …]\n").bytes());
        }
        bytes.extend(self.last.drain(..));
        let text = String::from_utf8_lossy(&bytes);
        let printable = |c: char| {
            if c.is_control() && !matches!(c, '\n' | '\t') {
                ' '
            } else {
                c
            }
        };
        (text.chars().map(printable).collect(), left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Room {
        dir: tempfile::TempDir,
        workspace: Workspace,
    }

    impl Room {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let work = dir.path().join("work");
            fs::create_dir(&work).unwrap();
            let workspace = Workspace::new(&work, &dir.path().join("notes")).unwrap();
            Self { dir, workspace }
        }

        fn run(&mut self, command: &str, seconds: u64) -> (Option<i32>, bool, String) {
            let command = command.to_owned();
            match self.workspace.answer(&Request::Run { command, seconds }) {
                Answer::Ran {
                    code,
                    timed_out,
                    output,
                    ..
                } => (code, timed_out, output),
                other => panic!("{other:?}"),
            }
        }

        fn refusal(&mut self, request: &Request) -> String {
            match self.workspace.answer(request) {
                Answer::Refused { why } => why,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_shell_keeps_its_directory_and_tells_both_outputs() {
        let mut room = Room::new();
        assert_eq!(
            room.run("mkdir -p a/b && cd a/b; echo one; echo two >&2; false", 10),
            (Some(1), false, "one\ntwo\n".into())
        );
        let (_, _, output) = room.run("pwd -P", 10);
        assert!(output.ends_with("/work/a/b\n"), "{output}");
        // What the shell cannot read changes nothing.
        assert_ne!(room.run("cd / && echo \"", 10).0, Some(0));
        assert_eq!(room.run("pwd -P", 10).2, output);
        assert_eq!(room.run("exit 7", 10).0, Some(7));
        assert_eq!(room.run("kill -9 $$", 10).0, Some(137));
    }

    #[test]
    fn a_command_ends_with_what_it_started_when_its_time_is_over() {
        let mut room = Room::new();
        let (code, timed_out, output) = room.run("echo begun; sleep 600 & sleep 600", 1);
        assert_eq!((code, timed_out, output.as_str()), (None, true, "begun\n"));
        // A child that holds the output does not hold the agent.
        let (code, timed_out, _) = room.run("setsid sleep 600 & echo $! > pid; echo done", 60);
        assert_eq!((code, timed_out), (Some(0), false));
        room.run("kill -9 $(cat pid)", 10);
    }

    #[test]
    fn long_output_loses_its_middle() {
        let mut room = Room::new();
        let Answer::Ran {
            output, left_out, ..
        } = room.workspace.answer(&Request::Run {
            command:
                "echo first; head -c 1000000 /dev/zero | tr '\\0' x; echo; printf 'last\\033[2J'"
                    .into(),
            seconds: 20,
        })
        else {
            panic!()
        };
        assert!(output.starts_with("first\nxxx") && output.ends_with("xx\nlast [2J"));
        assert!(output.len() < MAX_OUTPUT + 100 && left_out > 900_000);
    }

    #[test]
    fn a_background_command_writes_to_its_log() {
        let mut room = Room::new();
        let Answer::Started { pid, log } = room.workspace.answer(&Request::Start {
            command: "echo begun; sleep 600".into(),
        }) else {
            panic!()
        };
        let wait = format!("until grep -q begun {log}; do sleep 0.01; done; kill -- -{pid}");
        assert_eq!(room.run(&wait, 10).0, Some(0));
        let gone = format!("while kill -0 {pid} 2>/dev/null; do sleep 0.01; done");
        assert_eq!(room.run(&gone, 10).0, Some(0));
    }

    #[test]
    fn files_are_written_viewed_and_edited() {
        let mut room = Room::new();
        let path = "methods/one/recipe.toml".to_owned();
        let text = "a = 1\nb = 1\n".to_owned();
        let write = Request::Write {
            path: path.clone(),
            text,
        };
        assert_eq!(room.workspace.answer(&write), Answer::Done);
        let edit = |old: &str, new: &str| Request::Edit {
            path: path.clone(),
            old: old.to_owned(),
            new: new.to_owned(),
        };
        assert_eq!(room.workspace.answer(&edit("b = 1", "b = 2")), Answer::Done);
        assert!(room.refusal(&edit(" = ", "")).contains("occurs 2 times"));
        assert!(room.refusal(&edit("c", "")).contains("does not occur"));
        assert!(room.refusal(&edit("", "")).contains("empty"));
        let view = |path: &str| Request::View {
            path: path.to_owned(),
        };
        room.run("cd methods", 10);
        assert!(room.refusal(&view(&path)).contains("No such file"));
        let from_home = view(&format!("~/{path}"));
        assert!(matches!(
            room.workspace.answer(&from_home),
            Answer::Text { .. }
        ));
        room.run("cd ..", 10);
        assert_eq!(
            room.workspace.answer(&view(&path)),
            Answer::Text {
                text: "a = 1\nb = 2\n".into()
            }
        );
        room.run(
            "mkfifo pipe; printf '\\377' > odd; truncate -s 2M large",
            10,
        );
        assert!(room.refusal(&view("pipe")).contains("regular"));
        assert!(room.refusal(&view("odd")).contains("UTF-8"));
        assert!(room.refusal(&view("large")).contains("too large"));
        assert!(room.refusal(&view("none")).contains("none"));
    }

    #[test]
    fn a_directory_is_collected_without_caches_and_never_past_its_bounds() {
        let mut room = Room::new();
        room.run(
            "mkdir -p m/sub/__pycache__ m/.git && echo x > m/sub/a && printf '\\377' > m/b && \
             echo y > m/.git/c && echo z > m/sub/__pycache__/d",
            10,
        );
        let collect = |directory: &str| Request::Collect {
            directory: directory.to_owned(),
        };
        assert_eq!(
            room.workspace.answer(&collect("m")),
            Answer::Files {
                files: [("sub/a".to_owned(), "x\n".to_owned())].into(),
                binary: [("b".to_owned(), "ff".to_owned())].into(),
            }
        );
        room.run("ln -s /etc/passwd m/link", 10);
        assert!(room.refusal(&collect("m")).contains("regular files"));
        room.run("rm m/link; truncate -s 20M m/large", 10);
        assert!(room.refusal(&collect("m")).contains("too large"));
        assert!(room.refusal(&collect("none")).contains("not a directory"));
        assert!(room.dir.path().exists());
    }

    #[test]
    fn frames_are_served_until_the_input_ends() {
        let mut room = Room::new();
        let frame = |text: &str| {
            let mut bytes = (text.len() as u32).to_be_bytes().to_vec();
            bytes.extend(text.bytes());
            bytes
        };
        let mut input = frame("{\"do\": \"nothing\"}");
        input.extend(frame(
            "{\"do\": \"run\", \"command\": \"echo x\", \"seconds\": 5}",
        ));
        let mut output = Vec::new();
        serve(&mut room.workspace, &*input, &mut output).unwrap();
        let text = String::from_utf8_lossy(&output);
        assert!(text.contains("cannot be read") && text.contains("\"output\":\"x\\n\""));
        let endless = u32::MAX.to_be_bytes();
        assert!(serve(&mut room.workspace, &endless[..], &mut output).is_err());
    }
}
