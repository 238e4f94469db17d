"""Fails unless the board of a short run has all three groups with figures in their ranges."""

import json
import sys

board = json.load(open(sys.argv[1]))
for group in ("verified", "baselines", "published"):
    rows = board[group]
    if not rows:
        sys.exit(f"the board's group {group} is empty")
    for row in rows:
        if not row["ci_low"] <= row["pgr"] <= row["ci_high"]:
            sys.exit(f"the interval of {row['method']} does not hold its mean: {row}")
        if row["seeds"] < 16:
            sys.exit(f"{row['method']} was replicated with {row['seeds']} seeds only")
print({group: len(rows) for group, rows in board.items()})
