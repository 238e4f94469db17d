//! `aar doctor`: which isolation and limits this machine offers, and what each promises.

use super::say;
use aar_sandbox::{Isolation, Launcher, Sandbox};
use anyhow::Result;
use std::process::ExitCode;

pub(crate) fn run() -> Result<ExitCode> {
    let probe = Sandbox::new(Launcher::current_exe(), Isolation::Required).probe();
    for rung in &probe.rungs {
        let mark = match (rung.held, rung.required) {
            (true, _) => "yes",
            (false, true) => "NO",
            (false, false) => "no",
        };
        say!("{mark:<4} {:<24} {}", rung.name, rung.detail);
        say!("     {:<24} {}", "", rung.promise);
    }
    match &probe.problem {
        Some(problem) if !probe.usable => {
            say!("\nmethods cannot be isolated here: {problem}");
            Ok(ExitCode::FAILURE)
        }
        _ => {
            say!("\nmethods can be isolated here");
            Ok(ExitCode::SUCCESS)
        }
    }
}
