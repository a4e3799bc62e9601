"""A folder of synthetic cases: ``case-0000-ct.nii.gz``, ``case-0000-labels.nii.gz``, ... and ``labels.json``."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from unoise_engine.errors import Environment, Usage
from unoise_engine.files import write_json
from unoise_engine.lab.phantom.abdomen import check_size, synthesise
from unoise_engine.lab.phantom.labels import LABELS
from unoise_engine.lab.phantom.planted import LABELS as PLANTED_LABELS
from unoise_engine.lab.phantom.planted import plant

MOST = 1_000_000
Progress = Callable[[int, int], None]  # (cases done, cases in all)


def quiet(done: int, total: int) -> None:
    """Says nothing."""


def case_seed(seed: int, index: int) -> int:
    """The seed of case `index`, the same however many cases are made."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def write_phantoms(
    folder: Path | str,
    count: int,
    seed: int = 0,
    size: int = 256,
    slices: int = 40,
    jobs: int = 1,
    progress: Progress = quiet,
    planted: bool = False,
    replace: bool = False,
) -> list[Path]:
    """Write `count` cases, abdomens or those of planted.py, and return their CT files in order.

    The files do not depend on `jobs`. Files that are there stay, and are refused unless they are the same; with
    `replace` earlier phantoms go. Raises Usage, Environment.
    """
    if not 1 <= count <= MOST:
        raise Usage(f"--count {count}", "is no number of CTs to make", f"ask for 1 to {MOST}")
    if jobs < 1:
        raise Usage(f"--jobs {jobs}", "is no number of processes", "use at least 1")
    check_size(seed, size, slices)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "labels.json", PLANTED_LABELS if planted else LABELS, replace)
    except OSError as error:
        raise Environment(folder, f"cannot be written: {error.strerror}", "choose another folder") from error
    tasks = [(folder, k, seed, size, slices, planted, replace) for k in range(count)]
    if jobs == 1 or count == 1:
        for done, task in enumerate(tasks, 1):
            _write_case(*task)
            progress(done, count)
    else:
        pool = ProcessPoolExecutor(min(jobs, count), mp_context=get_context("spawn"))
        try:
            running = [pool.submit(_write_case, *task) for task in tasks]
            for done, future in enumerate(as_completed(running), 1):
                future.result()
                progress(done, count)
        finally:
            pool.shutdown(cancel_futures=True)
    return [_name(folder, k, "ct") for k in range(count)]


def _name(folder: Path, index: int, what: str) -> Path:
    return folder / f"case-{index:04d}-{what}.nii.gz"


def _write_case(folder: Path, index: int, seed: int, size: int, slices: int, planted: bool, replace: bool) -> None:
    from unoise_engine.volume.write import write_volume

    phantom = (plant if planted else synthesise)(case_seed(seed, index), size=size, slices=slices)
    write_volume(phantom.labels, _name(folder, index, "labels"), replace)
    write_volume(phantom.ct, _name(folder, index, "ct"), replace)  # last: a CT on disk has its labels
