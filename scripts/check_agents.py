"""Scripted language-model researchers in a whole mixed study, against the fake provider, from the outside.

    python check_agents.py AAR FAKE_PROVIDER

Runs a study of models and explorers with AAR, verifies it, and reads a transcript's export with the official
package `inspect-ai`, which must be installed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from inspect_ai.log import read_eval_log

KEY = "fake-key-0123456789"
STUDY = """name = "scripted"
minutes = 1.5
researchers = 3
kind = ["llm", "explorer", "llm"]
transfer = []
replication_seeds = 4

[llm]
prices = "prices.toml"
key_file = "key"
base_url = "{url}"
"""
PRICES = """default_model = "fake-model"

[[model]]
name = "fake-model"
wire = "anthropic"
context_window = 200_000
max_output = 16_000
thinking = "adaptive"
price = { input = 4.0, output = 20.0, cache_write = 5.0, cache_read = 0.2 }
source = "made up for a test"
read = 2026-11-21
"""


def main():
    aar, provider = sys.argv[1:]
    script = pathlib.Path(__file__).with_name("scripted_agent.json")
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        fake = subprocess.Popen(
            [provider, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            url = fake.stdout.readline().strip()
            (home / "study.toml").write_text(STUDY.format(url=url))
            (home / "prices.toml").write_text(PRICES)
            (home / "key").write_text(KEY)
            (home / "key").chmod(0o600)
            run = home / "run"
            subprocess.run([aar, "run", str(home / "study.toml"), "--out", str(run)], check=True)
        finally:
            fake.stdin.close()
            fake.wait()
        check(aar, run, home)
    print("scripted agents: a whole mixed study")


def check(aar, run, home):
    subprocess.run([aar, "verify", str(run)], check=True)
    subprocess.run([aar, "transcript", str(run)], check=True)
    events = [json.loads(line)["event"] for line in open(run / "ledger" / "events.jsonl")]
    calls = [event for event in events if event["event"] == "model_called"]
    scored = {event["researcher"] for event in events if event["event"] == "evaluation_ended"}
    for who in ("r1", "r3"):
        lines = [json.loads(line) for line in open(run / "transcripts" / f"{who}.jsonl")]
        assert lines[-1]["what"] == "ended" and "The script is over" in lines[-1]["why"], lines[-1]
        booked = sum(call["microdollars"] for call in calls if call["researcher"] == who)
        assert booked == lines[-1]["cost"] > 0, (booked, lines[-1])
        shown = home / f"{who}.json"
        subprocess.run([aar, "transcript", str(run), who, "--inspect", str(shown)], check=True)
        log = read_eval_log(str(shown))
        [sample] = log.samples
        tools = [message for message in sample.messages if message.role == "tool"]
        assert log.status == "success" and len(tools) == 11, (log.status, len(tools))
        assert tools[0].function == "bash" and not any(tool.error for tool in tools[:3]), tools[:3]
    # Both hand in the same files, so one evaluation answers both.
    assert "r2" in scored and scored & {"r1", "r3"}, scored
    assert "Language models" in (run / "report" / "report.html").read_text()
    for file in run.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), f"the key is in {file}"


main()
