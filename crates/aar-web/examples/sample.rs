//! Writes the report of a made-up study into a directory, to look at: `cargo run --example sample DIR`.

#[path = "../tests/synthetic/mod.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod synthetic;

use aar_core::feedback::FeedbackPolicy;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let to = PathBuf::from(std::env::args().nth(1).ok_or("usage: sample DIR")?);
    std::fs::create_dir_all(&to)?;
    let mut made = synthetic::full();
    made.close(aar_web::digests(&made.report()?.tables));
    let report = made.report()?;
    std::fs::write(to.join("report.html"), report.html)?;
    for (name, bytes) in report.tables {
        std::fs::write(to.join(name), bytes)?;
    }
    let main = synthetic::problem("chat@1");
    println!(
        "{}",
        aar_web::short_board(&made.board, &main, true, FeedbackPolicy::Floored)
    );
    Ok(())
}
