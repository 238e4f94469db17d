"""Runs a command and prints the peak of the memory of all its processes together.

    python3 scripts/peak_memory.py COMMAND [ARGUMENT ...]

Sums the proportional set sizes (each shared page counted once) of the command and all its
descendants, every 100 ms.
"""

import pathlib
import subprocess
import sys
import time


def children(pid):
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += children(int(child))
        except OSError:
            continue
    return found


def memory(pid):
    try:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    process = subprocess.Popen(sys.argv[1:])
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(memory(pid) for pid in children(process.pid)))
        time.sleep(0.1)
    print(f"peak memory of all processes: {peak / 2**20:.0f} MiB", file=sys.stderr)
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
