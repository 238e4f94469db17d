//! Builds `aar-lab` without generators, facts tables and whatever fetches models, and leaves it where `aar` embeds it.
//!
//! Cargo builds only the binary that was asked for, and binaries as dependencies are not stable, so
//! a nested cargo builds it into a target directory of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../..");
    for room in [
        "aar-core",
        "aar-stats",
        "aar-problem",
        "aar-models",
        "aar-lab",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            root.join("crates").join(room).display()
        );
    }
    println!(
        "cargo::rerun-if-changed={}",
        root.join("Cargo.lock").display()
    );

    // Independent of OUT_DIR, so that the test, run and clippy builds of one target share it.
    let out = PathBuf::from(variable("OUT_DIR")?);
    let target = out.ancestors().nth(4).unwrap_or(&out).join("lab");
    let built = Command::new(variable("CARGO")?)
        .args([
            "build",
            "--release",
            "--package",
            "aar-lab",
            "--bin",
            "aar-lab",
        ])
        .args(["--no-default-features", "--features", "models"])
        .args(["--locked", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        // Flags meant for this build, clippy's wrapper above all, are not meant for that one.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .map_err(|error| format!("cannot start cargo to build aar-lab: {error}"))?;
    if !built.success() {
        return Err(format!("cargo could not build aar-lab: {built}"));
    }
    let lab = target.join("release/aar-lab");
    println!("cargo::rustc-env=AAR_LAB_BINARY={}", lab.display());
    Ok(())
}
