#!/usr/bin/env bash
# The fake provider against the official SDKs as its clients. Installs them; where that fails, this fails.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/sdk-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check anthropic==2.12.0 openai==3.54.0
# The whole workspace, as for the tests: with one package alone dependencies have other features.
cargo build --release --workspace --example fake_provider
"$venv/bin/python" scripts/check_fake_provider.py target/release/examples/fake_provider
