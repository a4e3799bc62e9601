"""Breaks the code on purpose, a little at a time, and counts the changes that no test notices.

    python -m Testing.mutants.run --sites 20 --seed 1 models/recipe explanation        (make mutants)

Changes are drawn for each module and tried in a copy of the tree. The tests of a module are the test files that import
it or bear its name, then the rest of its room's folder; quick files first. Tests marked slow, and files that fail or
take over `--seconds` on the unchanged code, are left out. A change is killed when a test fails, or when all take four
times as long as they should.
What changes nothing that anyone gets is listed in equivalent.txt and not tried.

Exits with 1 if fewer than 95 % of the others are killed. It needs fork, so Linux or macOS.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from Testing.mutants.mutator import Mutant, mutants

ROOT = Path(__file__).parents[2]
ROOMS = ("explanation", "models", "volume", "evaluate", "training/unoise", "batch")
WANTED = 0.95
PATIENCE, AT_LEAST = 4, 60  # times the seconds of the unchanged code, and seconds
# What takes long to import, once for all the processes: everything but the engine.
HEAVY = ("numpy", "SimpleITK", "pydicom", "hypothesis", "onnx", "onnxruntime", "torch", "typer", "matplotlib.pyplot")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=20, help="changes a module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120, help="test files that take longer are left out")
    parser.add_argument("modules", nargs="*", default=ROOMS, help="rooms or modules")
    options = parser.parse_args()
    for name in HEAVY:
        importlib.import_module(name)
    known, tried, killed = equivalents(), 0, 0
    with tempfile.TemporaryDirectory() as home:
        tree = copied(Path(home) / "tree")
        for module in chosen(options.modules):
            source = (tree / module).read_text(encoding="utf-8")
            some = [one for one in mutants(source) if key(module, source, one) not in known]
            some = random.Random(f"{options.seed} {module}").sample(some, min(options.sites, len(some)))
            alive = [
                f"{module}:{one.line}  {one.change}  in  {key(module, source, one)[1]}"
                for one in sorted(some, key=lambda one: one.line)
                if not noticed(tree, module, one, options.seconds)
            ]
            tried, killed = tried + len(some), killed + len(some) - len(alive)
            print(f"{module}: {len(some) - len(alive)} of {len(some)} killed", *alive, sep="\n    ", flush=True)
    print(f"all: {killed} of {tried} killed, {killed / max(tried, 1):.1%}, wanted {WANTED:.0%}; seed {options.seed}")
    return int(not tried or killed < WANTED * tried)


def key(module: str, source: str, one: Mutant) -> tuple[str, ...]:
    """What a change is known by: line numbers move."""
    return module, source.splitlines()[one.line - 1].strip(), one.change


def equivalents() -> set[tuple[str, ...]]:
    """The changes that equivalent.txt lists: module, line, change and why, between tabs. Each must still be one."""
    rows = (Path(__file__).parent / "equivalent.txt").read_text(encoding="utf-8").splitlines()
    known = {tuple(row.split("\t")[:3]) for row in rows if row.count("\t") == 3}
    sources = {module: (ROOT / module).read_text(encoding="utf-8") for module, _, _ in known}
    stale = known - {key(module, source, one) for module, source in sources.items() for one in mutants(source)}
    if stale or len(known) < len(rows):
        raise SystemExit(f"equivalent.txt - no such change, not four columns, or twice - mend it: {sorted(stale)}")
    return known


def chosen(modules: Sequence[str]) -> Iterator[str]:
    for name in modules:
        path = ROOT / "unoise_engine" / name
        found = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        if not found or not found[0].is_file():
            raise SystemExit(f"{name} - no room or module of unoise_engine - give one such as models/recipe")
        yield from (one.relative_to(ROOT).as_posix() for one in found)


def tests_of(tree: Path, module: str) -> tuple[list[Path], list[Path]]:
    """Those that import the module or bear its name, and the rest of its room's folder."""
    _, room, name = Path(module).with_suffix("").parts
    imports = re.compile(rf"unoise_engine\.{room}\.{name}\b|unoise_engine\.{room} import .*\b{name}\b")
    engine = tree / "Testing" / "engine"
    own = {*(engine / room).glob("test_*.py")}
    near = {file for file in engine.rglob("test_*.py") if imports.search(file.read_text(encoding="utf-8"))}
    near |= own & {engine / room / f"test_{name}.py"}
    return sorted(near), sorted(own - near)


def noticed(tree: Path, module: str, one: Mutant, seconds: float) -> bool:
    """Tries one change."""
    for files in tests_of(tree, module):
        usual = {file: seconds_of(tree, file, seconds) for file in files}
        quick = sorted((file for file in files if usual[file] < seconds), key=lambda file: usual[file])
        source = (tree / module).read_text(encoding="utf-8")
        rewrite(tree / module, one.source())
        passed = not quick or passes(tree, quick, PATIENCE * sum(usual[file] for file in quick) + AT_LEAST)
        rewrite(tree / module, source)
        if not passed:
            return True
    return False


@cache
def seconds_of(tree: Path, file: Path, limit: float) -> float:
    """What a test file takes on the unchanged code; infinite if it takes longer than the limit, or fails."""
    begun = time.monotonic()
    passed, seconds = passes(tree, [file], limit), time.monotonic() - begun
    if not passed:
        why = "fails on the unchanged code" if seconds < limit else f"takes over {limit:g} s"
        print(f"left out: {file.relative_to(tree)} {why}", flush=True)
    return seconds if passed else math.inf


def copied(tree: Path) -> Path:
    """This tree's tracked and new files, beside the same data."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0"):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    if (data := ROOT.parent / "shared").exists():
        (tree.parent / "shared").symlink_to(data.resolve())
    return tree


def rewrite(path: Path, source: str) -> None:
    """And drops what was compiled of it, which Python takes for fresh if second and size are the same."""
    path.write_text(source, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def passes(tree: Path, files: Sequence[Path], limit: float) -> bool:
    """Whether these test files pass in time, in a process of its own; it and all that it began are ended then."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setsid()
            code = within(tree, files)
        finally:
            os._exit(code)
    end = time.monotonic() + limit
    done, status = 0, 1
    while not done and time.monotonic() < end:
        time.sleep(0.05)
        done, status = os.waitpid(child, os.WNOHANG)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not done:
        os.waitpid(child, 0)
    return bool(done) and status == 0


def within(tree: Path, files: Sequence[Path]) -> int:
    """In the forked process."""
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": ""}
    sys.dont_write_bytecode = False
    sys.path.insert(0, str(tree))
    for name in [name for name in sys.modules if name.split(".")[0] == "Testing"]:
        del sys.modules[name]
    with open(tree.parent / "told", "w") as told:
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
        return int(pytest.main(["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *map(str, files)]))


if __name__ == "__main__":
    sys.exit(main())
