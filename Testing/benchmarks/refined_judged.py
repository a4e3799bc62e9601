"""U-Noise refined on each slice, from the learnt map and from nothing, by the judges of `evaluate`; most of an hour.

python Testing/benchmarks/refined_judged.py DATA SPLIT.json OUT [--part val] [--each 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from unoise_engine.evaluate.command import Request, run
from unoise_engine.explanation.refine import RefinedUNoise


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("data", type=Path)
    words.add_argument("split", type=Path)
    words.add_argument("out", type=Path)
    words.add_argument("--part", default="val")
    words.add_argument("--each", type=int, default=2, help="slices a case")
    asked = words.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    request = Request(
        (asked.data,), asked.out, split=asked.split, part=asked.part, slices_per_case=asked.each, empty_per_case=0,
        methods=("unoise-near", "distance"), draws=1, figures=False, panels=0, threads=1,
    )  # fmt: skip
    run(request, None, {"refined": RefinedUNoise(), "refined from nothing": RefinedUNoise(learnt=False)})


if __name__ == "__main__":
    main()
