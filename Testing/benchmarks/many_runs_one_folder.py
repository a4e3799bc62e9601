"""Eight runs started at once on one output folder: each case is done once, and each run reports them all.

python Testing/benchmarks/many_runs_one_folder.py [RUNS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from small_cohort import left_behind, lines, make, start, without_pictures


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    home = Path(tempfile.mkdtemp())
    cohort, bundle = make(home, 24)
    (cohort / "zero.nii.gz").write_bytes(b"")
    path = without_pictures(home)
    began = time.monotonic()
    started = [start(cohort, home / "out", bundle, PYTHONPATH=path) for _ in range(runs)]
    codes = [run.wait() for run in started]
    count = Counter(line["case"] for line in lines(home / "out"))
    left = left_behind(home / "out")
    print(f"{runs} runs, 25 inputs (1 broken), {time.monotonic() - began:.0f} s: exit codes {codes}")
    print(f"{len(count)} cases in results.jsonl, each {sorted(set(count.values()))} times; left behind: {left}")
    sys.exit(bool(left) or len(count) != 25 or set(count.values()) != {1} or set(codes) != {1})


main()
