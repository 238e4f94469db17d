#!/usr/bin/env bash
# Scripted agents in a whole study, and their transcripts in Inspect's own reader. Installs it; where that fails,
# this fails.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/inspect-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check inspect-ai==0.3.285
cargo build --release --workspace --bins --example fake_provider
"$venv/bin/python" scripts/check_agents.py target/release/aar target/release/examples/fake_provider
