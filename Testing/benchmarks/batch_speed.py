"""Cases an hour against --jobs, and what locks, records and hashes cost.

    python Testing/benchmarks/batch_speed.py [CASES]

Uses the model that ships, if it does, by U-Noise and with pictures; CTs of 256 x 256 x 40.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from small_cohort import make, start

from unoise_engine.bundle.session import DEFAULT_BUNDLE, load_bundle, shipped_bundles
from unoise_engine.ct.find import find_cases
from unoise_engine.pipeline import Settings
from unoise_engine.progress import Quiet
from unoise_engine.results import explain_case
from unoise_engine.run import Request, explain_all


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    home = Path(tempfile.mkdtemp())
    cohort, bundle = make(home, count, (40, 256, 256))
    bundle = shipped_bundles().get(DEFAULT_BUNDLE, bundle)
    print(f"{count} CTs of 256 x 256 x 40, model {bundle.name}, {os.cpu_count()} cores")
    for jobs in (1, 2, 4):
        began = time.monotonic()
        assert start(cohort, home / f"out{jobs}", bundle, "--jobs", str(jobs)).wait() == 0
        seconds = time.monotonic() - began
        print(f"--jobs {jobs}: {seconds:6.1f} s, {3600 * count / seconds:6.0f} cases an hour")
    began = time.monotonic()
    assert start(cohort, home / "out1", bundle, "--resume").wait() == 0
    print(f"--resume with nothing to do: {1000 * (time.monotonic() - began) / count:.0f} ms a case, start included")

    opened = load_bundle(bundle, "cpu")
    settings = Settings(("unoise",))
    cases = find_cases([cohort])
    for _ in range(2):  # the first round warms up
        began = time.monotonic()
        for case in cases:
            explain_case(case, home, opened, settings, Quiet(), overwrite=True)
        bare = time.monotonic() - began
        began = time.monotonic()
        with open(os.devnull, "w") as silent:
            real, sys.stdout = sys.stdout, silent
            out = home / "recorded"
            explain_all(Request((cohort,), out, ("unoise",), str(bundle), "cpu", overwrite=True), "off")
            sys.stdout = real
        recorded = time.monotonic() - began
    cost = 1000 * (recorded - bare) / count
    print(
        f"in one process: {bare / count:.2f} s a case bare, {recorded / count:.2f} s with records ({cost:.0f} ms more)"
    )


main()
