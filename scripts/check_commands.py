"""Command-line agents in whole studies, against the fake provider: the very configurations of examples/agents.

    python check_commands.py AAR FAKE_PROVIDER AGENTS [NAME]

AGENTS is a directory into which the agents were installed, as examples/agents/NAME/study.toml says for /opt/agents.
Each agent reads the board, runs a shell command, has a method scored, shares a finding and reads one, all through
its sandbox's two ways out, beside an explorer and a model in the built-in loop; then the study is verified.
"""

import json
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
EXAMPLES = HERE.parent / "examples" / "agents"
KEY = "fake-key-0123456789"
SETTINGS = """minutes = 1.0
transfer = []
replication_seeds = 4
kind = ["command", "explorer", "llm"]
"""
PRICES = """default_model = "{model}"

[[model]]
name = "{model}"
wire = "{wire}"
context_window = 200_000
max_output = 16_000
price = {{ input = 4.0, output = 20.0, cache_write = 5.0, cache_read = 0.2 }}
source = "made up for a test"
read = 2026-11-21
"""
# The format of each agent's model, the name that its configuration gives to it, and the fake's name for it. Codex
# chooses the form of its requests by the name, so it keeps it.
AGENTS = {
    "claude-code": ("anthropic", "claude-opus-5-5", "fake-model"),
    "codex": ("openai", "gpt-5.6-sol", "gpt-5.6-sol"),
    "codex-plain": ("openai", "gpt-5.6-sol", "fake-model"),
    "opencode": ("anthropic", "claude-opus-5-5", "fake-model"),
}


def main():
    aar, provider, installed, *names = sys.argv[1:]
    for name in names or AGENTS:
        home = pathlib.Path(installed, "studies", name)
        shutil.rmtree(home, ignore_errors=True)
        study(name, home, aar, provider, installed)
        print(f"{name}: a whole study")


def study(name, home, aar, provider, installed):
    wire, named, model = AGENTS[name]
    example = EXAMPLES / name.removesuffix("-plain")
    fake = subprocess.Popen(
        [provider, str(HERE / "scripted_command.json")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    try:
        url = fake.stdout.readline().strip() + ("/v1" if wire == "openai" else "")
        for file in example.rglob("*"):
            if file.is_file():
                text = file.read_text().replace("/opt/agents", installed)
                text = text.replace(named, model).replace('kind = "command"\n', SETTINGS)
                text = text.replace("researchers = 2", "researchers = 3")
                llm = f'[llm]\nprices = "prices.toml"\nkey_file = "key"\nbase_url = "{url}"'
                target = home / file.relative_to(example)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text.replace("[llm]", llm))
        (home / "prices.toml").write_text(PRICES.format(wire=wire, model=model))
        (home / "key").write_text(KEY)
        (home / "key").chmod(0o600)
        run = home / "run"
        subprocess.run([aar, "run", str(home / "study.toml"), "--out", str(run)], check=True)
    finally:
        fake.stdin.close()
        fake.wait()
    subprocess.run([aar, "verify", str(run)], check=True)
    check(aar, run, home)


def check(aar, run, home):
    entries = [json.loads(line) for line in open(run / "transcripts" / "r1.jsonl")]
    shown = subprocess.run([aar, "transcript", str(run), "r1"], check=True, capture_output=True, text=True)
    print(shown.stdout[:4000])
    called = [entry for entry in entries if entry["what"] == "called"]
    done = {entry["tool"] for entry in called if not entry["failed"]}
    wanted = {"leaderboard", "evaluate", "share_finding", "read_finding"}
    assert wanted <= done, (done, [entry["text"] for entry in called if entry["failed"]])
    said = [json.dumps(entry.get("said")) for entry in entries if entry["what"] == "asked"]
    assert any("The script is over." in one for one in said), said
    events = [json.loads(line)["event"] for line in open(run / "ledger" / "events.jsonl")]
    calls = [event for event in events if event["event"] == "model_called"]
    booked = sum(call["microdollars"] for call in calls if call["researcher"] == "r1")
    assert booked == sum(entry["cost"] for entry in entries if entry["what"] == "asked") > 0
    assert {call["researcher"] for call in calls} == {"r1", "r3"}, calls
    scored = {event["researcher"] for event in events if event["event"] == "evaluation_ended"}
    assert "r1" in scored, scored
    # The key is in no file that the study leaves.
    for file in run.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file


main()
