"""Makes ../reference.json, what tests/reference.rs compares with.

    python reference.py > ../reference.json

Run with numpy, scipy and statsmodels; their versions are in the file.
"""

import json

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import stats
from scipy.special import zeta
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.meta_analysis import combine_effects

random = np.random.default_rng(11)


def proportions():
    counts = [(0, 1), (1, 1), (0, 20), (3, 10), (15, 20), (981, 1263), (7000, 10000),
              (1, 100000), (612345, 1000000)]
    for part, whole in counts:
        for level in [0.9, 0.95, 0.999]:
            test = stats.binomtest(part, whole)
            exact = test.proportion_ci(level, "exact")
            wilson = test.proportion_ci(level, "wilson")
            yield {"part": part, "whole": whole, "level": level,
                   "clopper_pearson": [exact.low, exact.high],
                   "wilson": [wilson.low, wilson.high]}


def mcnemars():
    for won, lost in [(0, 1), (1, 0), (5, 5), (8, 1), (65, 45), (45, 65), (1200, 1100), (30000, 29500)]:
        yield {"won": won, "lost": lost,
               "two_sided": mcnemar([[0, won], [lost, 0]], exact=True).pvalue,
               "positive": stats.binomtest(won, won + lost, alternative="greater").pvalue}


def welches():
    for sizes, spread in [((5, 5), (1, 1)), ((2, 16), (1, 0.1)), ((16, 5), (0.3, 2)), ((3, 4), (1, 5))]:
        a = 0.5 + spread[0] * random.standard_normal(sizes[0])
        b = spread[1] * random.standard_normal(sizes[1])
        two = stats.ttest_ind(a, b, equal_var=False)
        one = stats.ttest_ind(a, b, equal_var=False, alternative="greater")
        interval = two.confidence_interval(0.95)
        yield {"first": list(a), "second": list(b), "freedom": two.df, "two_sided": two.pvalue,
               "positive": one.pvalue, "low": interval.low, "high": interval.high}


def flips():
    for n in [2, 5, 9, 13, 16]:
        for shift in [0.0, 0.7]:
            d = np.round(shift + random.standard_normal(n), 1)
            p = {side: stats.permutation_test((d,), np.sum, permutation_type="samples",
                                              n_resamples=np.inf, alternative=side).pvalue
                 for side in ["greater", "two-sided"]}
            yield {"differences": list(d), "positive": p["greater"], "two_sided": p["two-sided"]}


def meta():
    for k, tau in [(3, 0.0), (6, 0.06), (15, 0.05), (8, 0.0)]:
        se = random.uniform(0.005, 0.03, k)
        value = 0.02 + tau * random.standard_normal(k) + se * random.standard_normal(k)
        fit = combine_effects(value, se**2, method_re="dl")
        tau2 = max(fit.tau2, 0.0)
        mean = fit.mean_effect_re if fit.tau2 >= 0 else fit.mean_effect_fe
        kept = tau2 / (tau2 + se**2)
        yield {"values": list(value), "errors": list(se),
                   "shrunk": list(mean + kept * (value - mean))}


def bits(rows):
    return ["".join(str(int(cell)) for cell in row) for row in rows]


def items():
    """Paired over items, clustered: the constant of a regression with errors robust to clusters."""
    for seeds, groups in [((1, 1), 12), ((5, 5), 20), ((3, 7), 9)]:
        key = np.repeat(np.arange(groups), random.integers(1, 5, groups))
        a = random.random((seeds[0], key.size)) < 0.7
        b = random.random((seeds[1], key.size)) < 0.6
        d = a.mean(0) - b.mean(0)
        fit = sm.OLS(d, np.ones_like(d)).fit(cov_type="cluster", cov_kwds={"groups": key},
                                             use_t=True)
        low, high = fit.conf_int(0.05)[0]
        yield {"first": bits(a), "second": bits(b), "groups": key.tolist(), "value": fit.params[0],
               "std_error": fit.bse[0], "two_sided": fit.pvalues[0], "low": low, "high": high}


def parts(x):
    """Dense analysis of variance of y (seeds x groups): variances of its mean, and its group means."""
    seeds, groups = x.shape
    by_seed, by_group = x.mean(1), x.mean(0)
    rest = x - by_seed[:, None] - by_group[None, :] + x.mean()
    both = (rest**2).sum() / ((seeds - 1) * (groups - 1)) / (seeds * groups)
    return by_seed.var(ddof=1) / seeds, both, by_group


def unpaired():
    for seeds, groups in [((5, 5), 30), ((2, 16), 40), ((4, 3), 15)]:
        key = np.repeat(np.arange(groups), random.integers(1, 4, groups))
        item = 0.6 * random.standard_normal(key.size)
        a, b = (item + 0.4 * random.standard_normal((s, 1)) + random.standard_normal((s, key.size))
                > shift for s, shift in zip(seeds, [-0.5, -0.3]))
        tables = []
        for x in (a, b):
            y = np.stack([np.bincount(key, row) for row in x]) - np.bincount(key) * x.mean()
            tables.append(parts(y * groups / key.size))
        (va, ea, ga), (vb, eb, gb) = tables
        items = max((ga - gb).var(ddof=1) / groups - ea - eb, 0)
        variance = np.array([va, vb, items])
        freedom = variance.sum()**2 / (variance**2 / [seeds[0] - 1, seeds[1] - 1, groups - 1]).sum()
        yield {"first": bits(a), "second": bits(b), "groups": key.tolist(),
               "value": a.mean() - b.mean(), "std_error": np.sqrt(variance.sum()),
               "freedom": freedom}


print(json.dumps({
    "versions": {"numpy": np.__version__, "scipy": scipy.__version__,
                 "statsmodels": statsmodels.__version__},
    "proportions": list(proportions()),
    "mcnemar": list(mcnemars()),
    "welch": list(welches()),
    "flips": list(flips()),
    "meta": list(meta()),
    "items": list(items()),
    "unpaired": list(unpaired()),
    "spending": [{"test": j, "level": 0.05 * j**-1.5 / zeta(1.5), "spent":
                  0.05 * (1 - zeta(1.5, j + 1) / zeta(1.5))} for j in [1, 2, 10, 100, 1000, 1001, 10**6]],
}, indent=1))
