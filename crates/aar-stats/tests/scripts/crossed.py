"""Expected values of `matches_numpy_on_groups_of_unequal_size` in src/crossed.rs.

Run with numpy 2.4.6 and scipy 1.17.1. Uses means and residuals of the dense table, where the
crate takes one pass over sums of squares.
"""

import numpy as np
from scipy.stats import t

METHOD = ["1101110101", "1001110111", "1101010001", "1111110101"]
OTHER = ["1000110100", "1001010011", "0101010001", "1010110001"]
GROUP = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4, 4])


def table(rows):
    return np.array([[int(c) for c in row] for row in rows])


def estimate(name, x):
    seeds, items = x.shape
    groups = GROUP.max() + 1
    size = np.bincount(GROUP)
    mean = x.mean()
    y = np.stack([np.bincount(GROUP, row) for row in x]) - size * mean
    y *= groups / items
    by_seed, by_group = y.mean(1), y.mean(0)
    rest = y - by_seed[:, None] - by_group[None, :] + y.mean()
    ms_seeds = groups * by_seed.var(ddof=1)
    ms_groups = seeds * by_group.var(ddof=1)
    ms_both = (rest**2).sum() / ((seeds - 1) * (groups - 1))
    beyond = max(ms_groups - ms_both, 0)
    se = np.sqrt((ms_seeds + beyond) / (seeds * groups))
    df = (ms_seeds + beyond) ** 2 / (ms_seeds**2 / (seeds - 1) + beyond**2 / (groups - 1))
    low, high = mean + se * t.ppf([0.025, 0.975], df)
    for key, value in [("std_error", se), ("freedom", df), ("low", low), ("high", high)]:
        print(f"        near({name}.{key}, {value:.12f});")
    print(f"        near({name}.p_positive(), {t.sf(mean / se, df):.12f});")


estimate("accuracy", table(METHOD))
estimate("gain", table(METHOD) - table(OTHER))
