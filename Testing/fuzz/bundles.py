"""Fuzzes model bundles: whatever is in them, no file outside is opened, and what passes answers as it must.

    python -m Testing.fuzz.bundles --seconds 60 --seed 1        (make fuzz)

A mutant is refused in one sentence, or its answers are finite and of the right shape. On Linux only.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from Testing.fuzz.mutants import plant
from unoise_engine.errors import Integrity
from unoise_engine.models.trial import try_out

ROOT = Path(__file__).parents[2]
MUTANTS_A_ROUND = 500
ROUND_SECONDS = 300


def small_bundle(folder: Path) -> Path:
    """The tests' own bundle, of two nets of a few nodes."""
    from Testing.engine.conftest import write_tiny_bundle

    return write_tiny_bundle(folder)


def judge(line: dict[str, Any]) -> str:
    """What is wrong with how a mutant ended, or nothing."""
    if line.get("opened"):
        return "a file outside was opened"
    if line["code"] == "OK" and line["said"]:
        return line["said"]
    if line.get("printed") or not line.get("said", "").isprintable():
        return f"no single printable sentence: {line}"
    if line["code"] not in ("OK", "Integrity", "ModelFault", "Environment", "MemoryError", "VERIFIED"):
        return f"an unusual end: {line}"
    return ""


def one_round(good: Path, home: Path, seed: str, start: int, stop: int, codes: Counter[str]) -> list[str]:
    """Mutants from `start` to `stop`. Those that end the process are given to `try_out`, as users' are."""
    wrong: list[str] = []
    while start < stop:
        command = [
            sys.executable,
            "-m",
            "Testing.fuzz.bundle_reader",
            str(good),
            str(home),
            seed,
            str(start),
            str(stop),
        ]
        try:
            run = subprocess.run(command, capture_output=True, text=True, cwd=home, timeout=ROUND_SECONDS,
                                 env={"PYTHONPATH": str(ROOT), "PATH": ""})  # fmt: skip
            output, noise, code = run.stdout, run.stderr, run.returncode
        except subprocess.TimeoutExpired as late:
            output, noise, code = (late.stdout or b"").decode(), "", -1
        lines = [json.loads(line) for line in output.splitlines()]
        ended = [line for line in lines if line["code"] != "VERIFIED"]
        codes.update(line["code"] for line in ended)
        wrong += [f"{seed}-{line['mutant']}: {fault}" for line in ended if (fault := judge(line))]
        if noise.strip():
            wrong.append(f"{seed}-{start}: noise: {noise.strip()[-300:]}")
        if code == 0:
            break
        start = ended[-1]["mutant"] + 1 if ended else start
        if not lines or lines[-1]["mutant"] != start:
            wrong.append(f"{seed}-{start}: verify ended the process ({code})")
        else:
            wrong += killed(good, home, f"{seed}-{start}", codes)
        start += 1
    return wrong


def killed(good: Path, home: Path, number: str, codes: Counter[str]) -> list[str]:
    """A mutant that ended the process when it was run, tried as `bundle verify` does."""
    folder = home / "again"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    plant(good, folder, number, home)
    try:
        try_out(folder)
    except Integrity:
        codes["ended its process"] += 1
        return []
    return [f"{number}: passed where it had ended the process"]


def fuzz(seconds: float, seed: int, most: int = 1 << 30) -> tuple[int, list[str], Counter[str]]:
    """Returns the number of mutants tried, what went wrong, and how they ended."""
    codes: Counter[str] = Counter()
    wrong: list[str] = []
    tried, end = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        home = Path(scratch, "home")
        home.mkdir()
        good = small_bundle(Path(scratch, "good"))
        for canary in (home / "canary.bin", home.parent / "canary.bin"):
            np.arange(64, dtype="<f4").tofile(canary)
        while time.monotonic() < end and tried < most:
            step = min(MUTANTS_A_ROUND, most - tried)
            wrong += one_round(good, home, str(seed), tried, tried + step, codes)
            tried += step
    return tried, wrong, codes


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    tried, wrong, codes = fuzz(asked.seconds, asked.seed)
    print(f"{tried} mutants of a bundle, {len(wrong)} wrong; they ended: {dict(codes.most_common())}")
    print("\n".join(wrong[:50]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
