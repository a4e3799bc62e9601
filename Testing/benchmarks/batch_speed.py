"""Cases an hour against --jobs, and what locks, records and hashes cost.

    python Testing/benchmarks/batch_speed.py [CASES] [--jobs 1,2,4] [--tiny]        1x1: one job, of one thread

CTs of 256 x 256 x 40, explained by U-Noise with pictures, by the model that ships or, with --tiny, by nets of one blur
each, so that nearly all is overhead. Seconds pass on the clock; processor seconds are those of all processes, and say
the same on a machine that has other work to do.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from small_cohort import make, start

from unoise_engine.batch.options import BatchSettings, Options
from unoise_engine.batch.run import Request, explain_all
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle, shipped_bundles
from unoise_engine.models.settings import ModelSettings
from unoise_engine.progress import Quiet
from unoise_engine.results.case_folder import explain_case
from unoise_engine.volume.find import find_cases


def spent(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


class Watch:
    """Seconds on the clock and of the processor."""

    def __init__(self, who: int) -> None:
        self.who, self.began, self.used = who, time.monotonic(), spent(who)

    def read(self, count: int) -> tuple[float, float]:
        """A case's share of both."""
        return (time.monotonic() - self.began) / count, (spent(self.who) - self.used) / count


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("cases", type=int, nargs="?", default=12)
    options.add_argument("--jobs", default="1,2,4")
    options.add_argument("--tiny", action="store_true")
    asked = options.parse_args()
    count = asked.cases
    home = Path(tempfile.mkdtemp())
    cohort, bundle = make(home, count, (40, 256, 256))
    if not asked.tiny:
        bundle = shipped_bundles()[DEFAULT_BUNDLE]
    print(f"{count} CTs of 256 x 256 x 40, model {bundle.name}, {os.cpu_count()} cores", flush=True)
    for how in asked.jobs.split(","):
        jobs, _, threads = how.partition("x")
        words = ["--jobs", jobs, *(["--threads", threads] if threads else [])]
        watch = Watch(resource.RUSAGE_CHILDREN)
        assert start(cohort, home / f"out{how}", bundle, *words).wait() == 0
        seconds, processor = watch.read(count)
        told = f"{3600 / seconds:6.0f} cases an hour; {processor:.2f} processor seconds a case"
        print(f"{' '.join(words)}: {told}", flush=True)
    watch = Watch(resource.RUSAGE_CHILDREN)
    assert start(cohort, home / f"out{asked.jobs.split(',')[0]}", bundle, "--resume").wait() == 0
    seconds, processor = watch.read(count)
    print(f"--resume with nothing to do: {1000 * processor:.0f} processor ms a case, start included", flush=True)

    opened = load_bundle(bundle, "cpu")
    settings = Settings(("unoise",))
    chosen = Options(model=ModelSettings(str(bundle), "cpu"), explanation=settings, batch=BatchSettings(overwrite=True))
    cases = find_cases([cohort])
    for _ in range(2):  # the first round warms up
        watch = Watch(resource.RUSAGE_SELF)
        for case in cases:
            explain_case(case, home, opened, settings, Quiet(), overwrite=True)
        bare = watch.read(count)
        watch = Watch(resource.RUSAGE_SELF)
        with open(os.devnull, "w") as silent:
            real, sys.stdout = sys.stdout, silent
            out = home / "recorded"
            explain_all(Request((cohort,), out, chosen), "off")
            sys.stdout = real
        recorded = watch.read(count)
    print(f"in one process, bare:         {bare[0]:.2f} s and {bare[1]:.2f} processor seconds a case")
    print(f"in one process, with records: {recorded[0]:.2f} s and {recorded[1]:.2f} processor seconds a case", end="")
    print(f": {recorded[1] / bare[1] - 1:+.1%}, {1000 * (recorded[1] - bare[1]):+.0f} ms")


main()
