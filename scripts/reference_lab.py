#!/usr/bin/env python3
"""Independent reference for the numerics of crates/aar-lab, with numpy, scipy and scikit-learn.

Writes crates/aar-lab/tests/fixtures/reference.json, which tests/parity.rs compares with. Nothing
here is a translation of the Rust code: every value comes from the formula in its source, by a
library where one has it.

    python3 scripts/reference_lab.py
"""
import json
import pathlib

import numpy as np
from scipy.optimize import approx_fprime, minimize
from scipy.special import expit, log_expit, logit, xlogy
from scipy.stats import entropy, zscore
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/aar-lab/tests/fixtures/reference.json"
ROWS, WIDTH, CLIP = 80, 6, 1e-3
rng = np.random.default_rng(20261121)


def tidy(value):
    """Nested lists with seven significant digits: enough for single precision."""
    if isinstance(value, dict):
        return {key: tidy(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return tidy(value.tolist())
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.9g}")
    return value.item() if isinstance(value, np.generic) else value


def logistic(x, targets, weights, c):
    """Soft targets as two weighted copies of each row."""
    model = LogisticRegression(C=c, tol=1e-10, max_iter=10_000)
    both = np.vstack([x, x])
    hard = np.r_[np.ones(len(x)), np.zeros(len(x))]
    model.fit(both, hard, sample_weight=np.r_[weights * targets, weights * (1 - targets)])
    return np.r_[model.coef_[0], model.intercept_]


def losses():
    rows = []
    for z in (-6.0, -1.5, 0.0, 0.3, 4.0):
        for y in (0.0, 0.1, 0.5, 0.85, 1.0):
            clipped = np.clip(y, CLIP, 1 - CLIP)

            def cross(z):
                return -(y * log_expit(z) + (1 - y) * log_expit(-z))

            def reverse(z):
                q = expit(z)
                return entropy([q, 1 - q], [clipped, 1 - clipped])

            slopes = [approx_fprime([z], lambda v: f(v[0]), 1e-7)[0] for f in (cross, reverse)]
            rows.append([z, y, cross(z), slopes[0], reverse(z), slopes[1]])
    return rows


def reverse_kl_optimum(x, targets, weights, c):
    clipped = np.clip(targets, CLIP, 1 - CLIP)

    def objective(p):
        q = expit(x @ p[:-1] + p[-1])
        kl = xlogy(q, q / clipped) + xlogy(1 - q, (1 - q) / (1 - clipped))
        return (weights @ kl + p[:-1] @ p[:-1] / (2 * c)) / weights.sum()

    start = logistic(x, targets, weights, c) * 0
    return minimize(objective, start, method="BFGS", options={"gtol": 1e-9}).x


def contrast(x, swapped, p):
    def loss(p):
        a, b = expit(x @ p[:-1] + p[-1]), expit(swapped @ p[:-1] + p[-1])
        return np.mean((a - (1 - b)) ** 2 + np.minimum(a, b) ** 2)

    return {"value": loss(p), "gradient": approx_fprime(p, loss, 1e-7)}


def information(x, p):
    def loss(p):
        q = expit(x @ p[:-1] + p[-1])
        each = entropy(np.stack([q, 1 - q]), axis=0)
        return each.mean() - entropy([q.mean(), 1 - q.mean()])

    return {"value": loss(p), "gradient": approx_fprime(p, loss, 1e-7)}


def channel_posterior(features, weak, prior, rounds):
    """EM with scipy's optimiser for the M step; constants shrunk towards ±ln 3."""
    sign = np.where(weak, 1.0, -1.0)
    trust = np.log(3.0)
    channels = [np.zeros(features.shape[1]), np.zeros(features.shape[1])]

    def expect():
        hit = log_expit(sign * (features @ channels[0] + trust))
        slip = log_expit(sign * (features @ channels[1] - trust))
        return prior + hit - slip

    for _ in range(rounds):
        belief = expit(expect())
        for side, (weights, centre) in enumerate(((belief, trust), (1 - belief, -trust))):
            def objective(w):
                z = features @ w + centre
                return -(weights @ log_expit(sign * z)) + w @ w / 2

            def slope(w):
                z = features @ w + centre
                return features.T @ (weights * -sign * expit(-sign * z)) + w

            channels[side] = minimize(objective, channels[side], jac=slope, tol=1e-10).x
    return expect()


def main():
    x = rng.standard_normal((ROWS, WIDTH)) @ rng.standard_normal((WIDTH, WIDTH))
    x = (x - x.mean(0)).astype(np.float32).astype(np.float64)
    swapped = (-x + 0.3 * rng.standard_normal(x.shape)).astype(np.float32).astype(np.float64)
    targets = expit(x @ rng.standard_normal(WIDTH) + rng.standard_normal(ROWS))
    targets = targets.astype(np.float32).astype(np.float64)
    weights = rng.integers(0, 4, ROWS).astype(float)
    hard = (targets > 0.5).astype(float)
    p = rng.standard_normal(WIDTH + 1) * 0.3
    ones = np.ones(ROWS)

    pca = PCA(3).fit(x)
    directions = pca.components_
    peaks = directions[np.arange(3), np.abs(directions).argmax(1)]

    basis = np.linalg.qr(PLSRegression(2, scale=False).fit(x, hard).x_weights_)[0]
    inside = logistic(x @ basis, hard, ones, 0.7)

    weak = np.clip(targets * 0.6 + 0.2 + 0.1 * rng.standard_normal(ROWS), 0.02, 0.98)
    weak = weak.astype(np.float32).astype(np.float64)
    margins = np.stack([logit(np.clip(targets, 0.05, 0.95)) + rng.standard_normal(ROWS) for _ in range(3)])
    margins = margins.astype(np.float32).astype(np.float64)
    mean = margins.mean(0)
    agree = np.where((mean > 0) == (weak > 0.5), 1.0, -1.0)
    features = np.stack([np.abs(logit(weak)) / 4, mean, margins.std(0), agree, ones], 1)

    distances, near = NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x)
    distances, near = distances[:, 1:], near[:, 1:]
    share = (weak[near] > 0.5).astype(float)
    share = (share == (weak[:, None] > 0.5)).mean(1)
    learnable = expit(rng.standard_normal(ROWS))
    moderate = -((entropy(np.stack([weak, 1 - weak]), axis=0) - np.log(2) / 2) ** 2) / (2 * 0.2**2)
    terms = [learnable, share, 1 / distances.mean(1), moderate]
    overlap = sum(w * zscore(t) for w, t in zip((1.0, 1.0, 0.5, 0.5), terms))

    scores = rng.standard_normal(ROWS)
    rank = np.empty(ROWS)
    rank[np.argsort(-scores)] = np.arange(ROWS)
    kept = round(0.6 * ROWS)
    relative = np.clip((rank + 1 - kept) / (ROWS - kept), 0, None) ** 2.0
    smoothed = targets + relative * (0.5 - targets)

    fixture = {
        "rows": ROWS, "width": WIDTH, "x": x.ravel(), "swapped": swapped.ravel(),
        "targets": targets, "weights": weights, "parameters": p,
        "losses": losses(),
        "logistic": [{"c": c, "optimum": logistic(x, targets, weights, c)} for c in (0.01, 0.7, 50.0)],
        "reverse_kl": {"c": 0.7, "optimum": reverse_kl_optimum(x, targets, weights, 0.7)},
        "pca": {"values": pca.explained_variance_ * (ROWS - 1),
                "directions": directions * np.sign(peaks)[:, None]},
        "low_rank": {"c": 0.7, "hard": hard,
                     "optimum": np.r_[basis @ inside[:-1], inside[-1]]},
        "ccs": contrast(x, swapped, p), "information": information(x, p),
        "channel": {"weak": weak, "margins": margins, "features": features,
                    "log_odds": channel_posterior(features, weak > 0.5, mean, 20)},
        "neighbours": {"count": 5, "nearest": near, "distance": distances.mean(1), "share": share},
        "overlap": {"learnable": learnable, "scores": overlap},
        "epiplexity": {"scores": scores, "smoothed": smoothed},
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(tidy(fixture)) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
