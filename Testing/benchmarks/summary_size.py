"""The page of a large batch: its size, and the seconds to write it.

    python Testing/benchmarks/summary_size.py [CASES] [-o OUT]

The records are made up, and one real picture stands in for every case's; with `-o` all stays, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

from unoise_engine.batch.ledger import LEDGER, line_of
from unoise_engine.batch.records import Inputs, Record, now
from unoise_engine.batch.summary import write_summary
from unoise_engine.volume.write import write_thumbnail

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "Resources/Screenshots/overview-demo.png"
REFUSALS = {
    "MISSING_SLICE": "the CT - lacks slices: 7.5 mm lie between 012.dcm and 013.dcm - export it again, or --fill-gaps",
    "HU_SUSPECT": "the CT - none of its voxels lies below 0 HU, as if its offset were missing - export it in HU",
    "TRUNCATED": "the CT - is cut off after 1048576 of 52428800 bytes - copy it again",
}
WARNING = "Research model. Not for clinical use."


def record(number: int, draw: random.Random) -> Record:
    """Nine of ten are done, as in a batch of middling quality."""
    case, inputs = f"case-{number:04d}", Inputs(f"{draw.getrandbits(256):064x}", 200, 104857600, "")
    kind = draw.choices(["OK", "CORRECTED", "REFUSED", "FAILED"], [70, 20, 9, 1])[0]
    if kind in ("REFUSED", "FAILED"):
        code = draw.choice([*REFUSALS]) if kind == "REFUSED" else "NO_MEMORY"
        return Record(case, kind, "0" * 64, {}, inputs, code, REFUSALS.get(code, "memory ran out"), finished=now())
    found = draw.random() < 0.97
    report = {
        "organ": {"name": "pancreas", "found": found, "volume_ml": round(draw.gauss(75, 20), 3) if found else 0.0},
        "corrections": ["19321 voxels below -1500 HU (padding) were set to -1024 HU"] if kind == "CORRECTED" else [],
        "notes": [] if found else ["no pancreas found in this CT"],
        "warnings": ["62% of the slices show the chest: little or no abdomen is in view."] * (draw.random() < 0.05),
        "seconds": {name: round(draw.uniform(1, 20), 3) for name in ("read", "segmentation", "unoise", "write")},
    }
    return Record(case, kind, "0" * 64, {}, inputs, report=report, finished=now())


def make(out: Path, cases: int) -> None:
    draw = random.Random(0)
    shutil.copy(PICTURE, out / "overview.png")
    write_thumbnail(PICTURE, out / "thumbnail.jpg")
    with (out / LEDGER).open("w", encoding="utf-8") as f:
        for number in range(1, cases + 1):
            one = record(number, draw)
            f.write(json.dumps(line_of(one)) + "\n")
            (out / one.case).mkdir()
            if one.report:
                for name in ("thumbnail.jpg", "overview.png"):
                    os.link(out / name, out / one.case / name)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("cases", type=int, nargs="?", default=10_000)
    options.add_argument("-o", dest="out", type=Path)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        out = asked.out or Path(home)
        out.mkdir(parents=True, exist_ok=True)
        make(out, asked.cases)
        begun = time.perf_counter()
        write_summary(out, WARNING)
        seconds = time.perf_counter() - begun
        sizes = {name: (out / name).stat().st_size / 1000 for name in ("summary.html", "summary.csv")}
        inside = asked.cases * (out / "thumbnail.jpg").stat().st_size / 1e6
        print(f"{asked.cases} cases: " + ", ".join(f"{name} {kb:.0f} kB" for name, kb in sizes.items()), end="")
        print(f", written in {seconds:.1f} s; thumbnails, beside it, about {inside:.0f} MB")


if __name__ == "__main__":
    main()
