#!/usr/bin/env python3
"""Times one five-seed logistic-probe experiment beside scikit-learn, in one run on one thread.

The same standardised features, five label vectors (a planted direction behind 30 % label noise),
the same objective, C and tolerance. Both sides get five repetitions, of which the fastest counts.
Needs numpy and scikit-learn; builds the Rust side with cargo.

    python3 scripts/bench_logistic.py [rows] [width] [C] [features.npy]
"""
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")
SEEDS = 5
REPETITIONS = 5


def features(rows, width, path):
    """Ill-conditioned like hidden states: a spectrum that falls as 1/k, then standardised."""
    if path:
        x = np.load(path)[:rows].astype(np.float64)
    else:
        rng = np.random.default_rng(0)
        mixing = rng.standard_normal((width, width)) / np.arange(1, width + 1)[:, None]
        x = rng.standard_normal((rows, width)) @ mixing
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def labels(x):
    rng = np.random.default_rng(1)
    truth = x @ rng.standard_normal(x.shape[1]) > 0
    return np.stack([truth ^ (rng.random(len(x)) < 0.3) for _ in range(SEEDS)]).astype(np.float32)


def scikit(x, ys, c):
    best, models = np.inf, []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        models = [LogisticRegression(C=c, tol=1e-4, max_iter=1000).fit(x, y) for y in ys]
        best = min(best, time.perf_counter() - start)
    return best, models


def objective(x, y, model, c):
    z = x.astype(np.float64) @ model.coef_[0].astype(np.float64) + model.intercept_[0]
    ridge = (model.coef_.astype(np.float64) ** 2).sum() / (2 * c * len(y))
    return float(np.mean(np.logaddexp(0, z) - y * z) + ridge)


def main():
    arguments = sys.argv[1:]
    rows = int(arguments[0]) if arguments else 2600
    width = int(arguments[1]) if len(arguments) > 1 else 576
    c = float(arguments[2]) if len(arguments) > 2 else 1.0
    x = features(rows, width, arguments[3] if len(arguments) > 3 else None)
    rows, width = x.shape
    ys = labels(x)
    root = pathlib.Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/x.f32", f"{folder}/y.f32"]
        np.ascontiguousarray(x, "<f4").tofile(files[0])
        np.ascontiguousarray(ys, "<f4").tofile(files[1])
        build = ["cargo", "bench", "-p", "aar-lab", "--no-default-features", "--bench", "logistic"]
        command = [*build, "--", *files, str(rows), str(width), str(SEEDS), str(c)]
        found = subprocess.run(command, cwd=os.environ.get("AAR_ROOT", root), check=True,
                               capture_output=True, text=True)
        ours = json.loads(found.stdout.strip().splitlines()[-1])
    result = {"rows": rows, "width": width, "c": c, "aar": ours}
    for kind, data in (("float32", x), ("float64", x.astype(np.float64))):
        seconds, models = scikit(data, ys, c)
        values = [objective(x, y, model, c) for y, model in zip(ys, models)]
        result[f"sklearn_{kind}"] = {
            "seconds": seconds,
            "iterations": [int(model.n_iter_[0]) for model in models],
            "objective_above_ours": max(v - o for v, o in zip(values, ours["values"])),
            "ratio_shared": seconds / ours["shared_seconds"],
            "ratio_apart": seconds / ours["apart_seconds"],
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
