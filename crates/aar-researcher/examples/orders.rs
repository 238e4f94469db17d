//! How often honest programs look as if they gave orders to a reviewer: reads paths from standard input, one a
//! line, and looks at each file as a snapshot of its own.
//!
//!     find /usr/lib/python3* -name '*.py' | cargo run --release -p aar-researcher --example orders

use aar_researcher::review::{Files, orders};
use std::io::{BufRead, Write};

fn main() -> std::io::Result<()> {
    let (mut all, mut found) = (0_u64, 0_u64);
    let mut out = std::io::stdout();
    for path in std::io::stdin().lock().lines() {
        let path = path?;
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        all += 1;
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let suspected = orders(&Files::from([(name, bytes)]));
        found += u64::from(!suspected.is_empty());
        for one in suspected {
            writeln!(out, "{path}: {one}")?;
        }
    }
    writeln!(out, "{found} of {all} files")
}
