"""Fuzzes the headers of every format: no crash, no hang over 10 s, and the good case among them is still read.

    python -m Testing.fuzz.headers --seconds 60 --seed 1        (make fuzz)

Each round plants some damaged files and a good one in a folder and reads it in a process of its own. A round that
fails is kept, and its folder named.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from Testing.engine.volume.planted import enhanced, metaimage, nifti, nrrd, planes, write

ROOT = Path(__file__).parents[2]
CASES_A_ROUND = 60
HANG_SECONDS = 10  # of the processor, a case
ROUND_SECONDS = 900  # on the clock: nothing waits for ever
MEMORY_BYTES = 4 << 30
TEXT_HEADER, BINARY_HEADER, DICOM_HEADER = 600, 352, 2500  # bytes that are hit
NASTY_NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
NASTY_WORDS = [
    b"-1", b"0", b"1e308", b"nan", b"inf", b"99999999999999999999", b"", b"\0", b"%s%n", b"../../etc/passwd", b"LIST",
    b"(1,2", b"none", b"True", b"\xff\xfe", b"raw", b"gzip", b"4294967296",
]  # fmt: skip


def seeds(folder: Path) -> dict[str, tuple[bytes, int]]:
    """name -> (a good file, how many of its first bytes are its header)."""
    made = {
        "ct.nii": (nifti(folder / "ct.nii"), BINARY_HEADER),
        "ct.nii.gz": (nifti(folder / "ct.nii.gz"), 64),
        "ct.nrrd": (nrrd(folder / "ct.nrrd"), TEXT_HEADER),
        "packed.nrrd": (nrrd(folder / "packed.nrrd", packed=True), TEXT_HEADER),
        "ct.mha": (metaimage(folder / "ct.mha"), TEXT_HEADER),
        "packed.mha": (metaimage(folder / "packed.mha", packed=True), TEXT_HEADER),
        "slice.dcm": (write(folder / "series", planes()[:1]) / "slice000.dcm", DICOM_HEADER),
        "enhanced.dcm": (write(folder / "enhanced", [enhanced(planes())]) / "enhanced.dcm", 2 * DICOM_HEADER),
    }
    return {name: (path.read_bytes(), header) for name, (path, header) in made.items()}


def flip(content: bytearray, header: int, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 2, 8, 40])):
        content[chance.randrange(min(header, len(content)))] ^= 1 << chance.randrange(8)


def number(content: bytearray, header: int, chance: random.Random) -> None:
    size, at = chance.choice([1, 2, 4]), chance.randrange(min(header, len(content) - 4))
    value = chance.choice(NASTY_NUMBERS) & ((1 << 8 * size) - 1)
    content[at : at + size] = value.to_bytes(size, chance.choice(["little", "big"]))


def word(content: bytearray, header: int, chance: random.Random) -> None:
    spaces = [k for k in range(min(header, len(content))) if content[k] in b" \n=:\\"]
    if spaces:
        at = chance.choice(spaces) + 1
        content[at : at + chance.randrange(6)] = chance.choice(NASTY_WORDS)


def cut(content: bytearray, header: int, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) if chance.random() < 0.5 else chance.randrange(header) :]


def repeat(content: bytearray, header: int, chance: random.Random) -> None:
    at = chance.randrange(min(header, len(content)))
    content[at:at] = content[at : at + chance.randrange(1, 200)] * chance.choice([1, 3, 1000])


def remove(content: bytearray, header: int, chance: random.Random) -> None:
    at = chance.randrange(min(header, len(content)))
    del content[at : at + chance.randrange(1, 64)]


DAMAGES: list[Callable[[bytearray, int, random.Random], None]] = [flip, number, word, cut, repeat, remove]


def plant(folder: Path, good: dict[str, tuple[bytes, int]], chance: random.Random) -> None:
    """Damaged volumes and multi-frame files, a series with one damaged slice, and one good volume."""
    for k in range(CASES_A_ROUND):
        name = chance.choice(list(good))
        content, header = bytearray(good[name][0]), good[name][1]
        for _ in range(chance.choice([1, 1, 2, 4])):
            if len(content) > 8:
                chance.choice(DAMAGES)(content, min(header, len(content)), chance)
        home = folder / f"{k:03d}"
        home.mkdir()
        (home / name).write_bytes(content)
    write(folder / "series", planes()[:6])
    victim = folder / "series" / "slice003.dcm"
    content = bytearray(victim.read_bytes())
    chance.choice(DAMAGES)(content, DICOM_HEADER, chance)
    victim.write_bytes(content)
    nifti(folder / "good.nii.gz")


def limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError):  # no such limit on this system
        pass


def judge(folder: Path, codes: Counter[str]) -> str:
    """What went wrong with a round, or nothing."""
    try:
        run = subprocess.run(
            [sys.executable, "-m", "Testing.fuzz.reader", str(folder)],
            capture_output=True, text=True, cwd=ROOT, timeout=ROUND_SECONDS, preexec_fn=limit_memory,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "hang"
    if run.returncode:
        return f"exit code {run.returncode}: {run.stderr.strip().splitlines()[-1:]}"
    if run.stderr.strip():
        return f"noise on stderr: {run.stderr.strip()[:300]}"
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    codes.update(line["code"] for line in lines if line["case"])
    for line in lines:
        if line["code"] == "UNREADABLE" and "Error)" in line["said"]:
            codes[line["said"].split("(")[-1]] += 1  # met nowhere but in the last line of defence
    if slow := [line for line in lines if line["seconds"] > HANG_SECONDS]:
        return f"slow: {slow}"
    if broken := [line for line in lines if "\n" in line["said"] or "Canary" in line["said"]]:
        return f"a message on several lines or with patient data: {broken}"
    if not any(line["case"] == "good" and line["code"] == "READ" for line in lines):
        return "the good case was not read"
    return ""


def fuzz(seconds: float, seed: int, rounds: int = 1 << 30) -> tuple[int, list[str], Counter[str]]:
    """Returns the number of damaged files tried, what went wrong, and how the cases ended."""
    codes: Counter[str] = Counter()
    wrong: list[str] = []
    tried, end = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as home:
        good = seeds(Path(home))
    while time.monotonic() < end and tried < rounds * CASES_A_ROUND:
        folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{seed}-{tried // CASES_A_ROUND}-"))
        plant(folder, good, random.Random(f"{seed}-{tried}"))
        if fault := judge(folder, codes):
            wrong.append(f"{folder}: {fault}")
        else:
            shutil.rmtree(folder)
        tried += CASES_A_ROUND
    return tried, wrong, codes


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    tried, wrong, codes = fuzz(asked.seconds, asked.seed)
    print(f"{tried} damaged files, {len(wrong)} rounds wrong; cases ended: {dict(codes.most_common())}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
