"""Seconds a stage of a whole explanation, in this process: python Testing/benchmarks/explain_time.py [CT]

Without a CT, a synthetic one of 512 x 512 x 100. Prints the machine's processor count beside the figures; run it on a
quiet machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from unoise_engine.explanation.settings import Settings
from unoise_engine.lab.phantom.abdomen import synthesise
from unoise_engine.models.bundles import load_bundle
from unoise_engine.progress import Quiet
from unoise_engine.results.case_folder import explain_case
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.write import write_volume


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(home, "ct.nii.gz")
        if len(sys.argv) < 2:
            write_volume(synthesise(1, size=512, slices=100).ct, source)
        (case,) = find_cases([source])
        started = time.perf_counter()
        report = explain_case(case, Path(home), load_bundle(), Settings().for_model(load_bundle()), Quiet())
        total = time.perf_counter() - started
    size = " x ".join(str(n) for n in report["input"]["geometry_lps"]["size"])
    print(f"{size}, U-Noise and Grad-CAM, {os.cpu_count()} processors: {total:.1f} s")
    for stage, seconds in report["seconds"].items():
        print(f"  {stage:14s} {seconds:6.1f} s")


if __name__ == "__main__":
    main()
