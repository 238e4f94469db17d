"""The figures of docs/results.md: whole studies on split seeds that were never looked at before.

    python3 scripts/figures.py run DIRECTORY [--arms ARM,...] [--aar PROGRAM] [--minutes N] [--seeds N]
    python3 scripts/figures.py table DIRECTORY

`run` makes DIRECTORY/ARM-SEED, the arms of one seed in turn, so that a slow change in the machine's
load meets all alike. `table` reads every finished run and prints the figures of each arm
and its differences from the first, paired by seed.
"""

import argparse
import collections
import json
import math
import pathlib
import subprocess
import sys
import time

FIRST_SEED = 20261202
STUDY = """name = "{arm}"
minutes = {minutes}
directions = "{directions}"
feedback = "{feedback}"

[budget]
evaluations = {evaluations}
experiments = 100
"""
# Directions and feedback; everything else is the same in all arms.
ARMS = {
    "directed": ("study", "floored"),
    "ladder": ("study", "ladder"),
    "undirected": ("none", "floored"),
}
# Two-sided 95 % quantiles of Student's t, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def run(arguments):
    directory = pathlib.Path(arguments.directory)
    directory.mkdir(parents=True, exist_ok=True)
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds):
        for arm in arguments.arms:
            out = directory / f"{arm}-{seed}"
            if out.exists():
                continue
            directions, feedback = ARMS[arm]
            study = directory / f"{arm}.toml"
            study.write_text(
                STUDY.format(
                    arm=arm,
                    minutes=arguments.minutes,
                    directions=directions,
                    evaluations=arguments.evaluations,
                    feedback=feedback,
                )
            )
            command = [arguments.aar, "run", str(study), "--out", str(out), "--seed", str(seed)]
            begun = time.monotonic()
            status = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
            seconds = time.monotonic() - begun
            print(f"{out.name}: status {status} after {seconds:.0f} s", file=sys.stderr, flush=True)


def events(run_dir):
    with open(run_dir / "ledger" / "events.jsonl") as lines:
        return [json.loads(line) for line in lines]


def correct_share(run_dir, labels, replication):
    """Right predictions over all seeds and rows: what the board calls accuracy."""
    right = rows = 0
    for digest in replication["outputs"]:
        predictions = (run_dir / "store" / digest[:2] / digest[2:]).read_bytes()
        right += sum(p == l for p, l in zip(predictions, labels, strict=True))
        rows += len(labels)
    return right / rows


def rank_labels(run_dir, problem):
    with open(run_dir / problem["directory"] / "vault" / "rank" / "labels.jsonl") as lines:
        return bytes(ord("0") + json.loads(line)["label"] for line in lines)


def entropy(counts):
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts if n) if total else float("nan")


def figures(run_dir):
    """The figures of one run, on its main problem and its transfer problems."""
    log = [(entry["at"], entry["event"]) for entry in events(run_dir)]
    opened = log[0][1]
    replications = [e["replication"] for _, e in log if e["event"] == "replicated"]
    result = {"run": run_dir.name, "transfer": {}}
    for index, problem in enumerate(opened["problems"]):
        labels = rank_labels(run_dir, problem)
        anchors = problem["anchors"]["rank"]
        gap = anchors["ceiling"] - anchors["weak"]
        best = collections.defaultdict(lambda: (float("-inf"), ""))
        for replication in replications:
            if replication["problem"] == problem["id"]:
                accuracy = correct_share(run_dir, labels, replication)
                group = replication["group"]
                best[group] = max(best[group], ((accuracy - anchors["weak"]) / gap, replication["method"]))
        if index == 0:
            result["best"] = dict(best)
        else:
            result["transfer"][problem["id"]] = dict(best)
    families = {e["snapshot"]: e["family"] for _, e in log if e["event"] == "snapshot_stored"}
    scored = [
        e
        for _, e in log
        if e["event"] == "evaluation_ended" and e["researcher"].startswith("r") and e["outputs"]
    ]
    counts = collections.Counter(families[e["snapshot"]] for e in scored)
    late = collections.Counter(families[e["snapshot"]] for e in scored[len(scored) // 2 :])
    result["evaluations"] = len(scored)
    result["entropy"] = entropy(counts.values())
    result["late_entropy"] = entropy(late.values())
    ended = [e for _, e in log if e["event"] in ("experiment_ended", "evaluation_ended")]
    seed_runs = sum(1 if e["event"] == "experiment_ended" else len(e["outputs"]) for e in ended)
    joined = [at for at, e in log if e["event"] == "researcher_joined"]
    asked = [at for at, e in log if e["event"] == "evaluation_ended" and e["researcher"] != "baseline"]
    minutes = (max(asked) - min(joined)) / 60_000 if asked else float("nan")
    result["runs_per_minute"] = seed_runs / minutes
    result["first_answer_seconds"] = (min(asked) - log[0][0]) / 1000 if asked else float("nan")
    return result


def mean_interval(values):
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return f"{mean:.3f}"
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    reach = T95.get(n - 1, 1.96) * deviation / math.sqrt(n)
    return f"{mean:.3f} [{mean - reach:.3f}, {mean + reach:.3f}]"


def summary(mine):
    """Prints the figures of one arm."""
    for r in mine:
        groups = "  ".join(f"{g} {r['best'][g][0]:.3f} {r['best'][g][1]}" for g in r["best"])
        print(f"  {r['run']}: {groups}; {r['evaluations']} evaluations")
    for group in ("study", "baseline", "published"):
        print(f"  best of {group:<10} {mean_interval([r['best'][group][0] for r in mine])}")
    for group in ("baseline", "published"):
        gains = [gain(r, group) for r in mine]
        print(f"  gain over best {group:<10} {mean_interval(gains)}  (paired within runs)")
    for problem in mine[0]["transfer"]:
        both = [r["transfer"][problem] for r in mine if "study" in r["transfer"][problem]]
        if both:
            own = mean_interval([t["study"][0] for t in both])
            over = mean_interval([t["study"][0] - t["baseline"][0] for t in both])
            print(f"  {problem:<8} better of two {own}, over best baseline {over}, {len(both)} studies")
    for name, measure in MEASURES.items():
        print(f"  {name:<22} {mean_interval([measure(r) for r in mine])}")


def gain(result, group):
    return result["best"]["study"][0] - result["best"][group][0]


MEASURES = {
    "entropy, bits": lambda r: r["entropy"],
    "its later half, bits": lambda r: r["late_entropy"],
    "evaluations": lambda r: r["evaluations"],
    "seed runs a minute": lambda r: r["runs_per_minute"],
    "first answer, seconds": lambda r: r["first_answer_seconds"],
}


def table(arguments):
    arms = {}
    for out in sorted(path for path in pathlib.Path(arguments.directory).iterdir() if path.is_dir()):
        arm, seed = out.name.rsplit("-", 1)
        if not (out / "report" / "report.html").exists():
            print(f"{out.name}: NOT FINISHED, left out")
            continue
        result = figures(out)
        # A study that replicated nothing ends where it began: with its best baseline.
        result["best"].setdefault("study", (result["best"]["baseline"][0], "nothing replicated"))
        arms.setdefault(arm, {})[seed] = result
    present = [arm for arm in ARMS if arm in arms]
    for arm in present:
        print(f"\n{arm}: {len(arms[arm])} studies")
        summary(list(arms[arm].values()))
    for arm in present[1:]:
        first = arms[present[0]]
        pairs = [(r, first[seed]) for seed, r in arms[arm].items() if seed in first]
        print(f"\n{arm} minus {present[0]}: {len(pairs)} pairs")
        if not pairs:
            continue
        pgr = [a["best"]["study"][0] - b["best"]["study"][0] for a, b in pairs]
        print(f"  best of study          {mean_interval(pgr)}")
        for name, measure in MEASURES.items():
            print(f"  {name:<22} {mean_interval([measure(a) - measure(b) for a, b in pairs])}")


def arms(text):
    names = text.split(",")
    for name in names:
        if name not in ARMS:
            raise argparse.ArgumentTypeError(f"found {name!r}, expected some of {', '.join(ARMS)}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser("run")
    runner.add_argument("directory")
    runner.add_argument("--aar", default="target/release/aar")
    runner.add_argument("--arms", type=arms, default=list(ARMS), metavar="ARM,...", help=", ".join(ARMS))
    runner.add_argument("--minutes", type=float, default=10.0)
    runner.add_argument("--seeds", type=int, default=5)
    runner.add_argument("--evaluations", type=int, default=40)
    runner.set_defaults(call=run)
    reader = commands.add_parser("table")
    reader.add_argument("directory")
    reader.set_defaults(call=table)
    arguments = parser.parse_args()
    arguments.call(arguments)


if __name__ == "__main__":
    main()
