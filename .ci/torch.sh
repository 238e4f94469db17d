#!/usr/bin/env bash
# The suite of engines on PyTorch. Installs it; where that fails, this fails.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 scripts/torch_env.py target/torch-venv
export AAR_TORCH_PYTHON="$PWD/target/torch-venv/bin/python"
# The models are tiny: more threads would wait for each other.
# The whole workspace, as for the tests: with one package alone dependencies have other features.
OMP_NUM_THREADS=1 cargo test --release --workspace --test torch -- --ignored
