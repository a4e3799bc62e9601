"""Random kill -9 during a batch, resumed each time: how often is a case done again, and is the result the same?

python Testing/benchmarks/kill_and_resume.py [KILLS]
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from small_cohort import left_behind, lines, make, start, volumes, without_pictures

JOBS = 2
CASES = 6


def records(out: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_ino for p in out.glob("case-*/record.json")}


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    chance = random.Random(0)
    home = Path(tempfile.mkdtemp())
    cohort, bundle = make(home, CASES)
    path = without_pictures(home)
    options = ("--resume", "--jobs", str(JOBS))
    began = time.monotonic()
    assert start(cohort, home / "reference", bundle, *options, PYTHONPATH=path).wait() == 0
    whole = time.monotonic() - began
    reference = volumes(home / "reference")

    done = again = wrong = batches = doubled = 0
    while done < kills:
        out = home / f"out{batches}"
        batches += 1
        seen: dict[str, int] = {}
        while True:
            run, started = start(cohort, out, bundle, *options, PYTHONPATH=path), time.monotonic()
            time.sleep(chance.uniform(0.1, 0.4 * whole))
            finished = run.poll() == 0
            if not finished and done < kills:
                os.killpg(run.pid, signal.SIGKILL)
                done += 1
            finished = run.wait() == 0
            if finished and not seen:  # undisturbed: the machine has become faster
                whole = min(whole, time.monotonic() - started)
            there = records(out) if out.exists() else {}
            again += sum(1 for case, inode in seen.items() if there.get(case) != inode)  # done, and done anew
            seen = there
            if finished:
                break
        wrong += volumes(out) != reference or bool(left_behind(out))
        cases = [line["case"] for line in lines(out)]
        doubled += len(cases) != len(set(cases)) or len(cases) != CASES
        took = time.monotonic() - began
        print(f"{done} kills over {batches} batches of {CASES} cases, {JOBS} at a time, {took:.0f} s; ", end="")
        print(f"finished cases done again: {again}; batches with another result or leftovers: {wrong}, ", end="")
        print(f"with a case twice or missing in results.jsonl: {doubled}", flush=True)
    sys.exit(bool(again or wrong or doubled))


main()
