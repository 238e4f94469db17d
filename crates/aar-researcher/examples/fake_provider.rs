//! A fake provider for people and for the SDK check: `cargo run -p aar-researcher --example fake_provider -- [SCRIPT.json]
//! [--port N]`. It prints its address as its first line and serves until its standard input ends.
//!
//! A script is JSON; every field has a default (see `tests/it/fake/script.rs`):
//!
//! ```json
//! {"key": "fake-key-0123456789", "turns": [{"say": [{"thinking": "hm"}, {"text": "Hello"},
//!   {"tool": {"name": "bash", "input": {"command": "ls"}}}]}], "faults": {"0": {"rate_limited": 1}}}
//! ```

#[path = "../tests/it/fake/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests use more of it")]
mod fake;

use fake::{Fake, Script};
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut script = Script::default();
    let mut port = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--port" => port = arguments.next().ok_or("--port needs a number")?.parse()?,
            file => {
                let text =
                    std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                script = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
            }
        }
    }
    let key = script.key.clone();
    let fake = Fake::start(script, port, || ())?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", fake.url())?;
    writeln!(out, "key {key}; both /v1/messages and /v1/chat/completions")?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
