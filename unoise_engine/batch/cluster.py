"""Jobs on a Dask cluster: an existing one, reached by its scheduler's address. Locks and records are the same as here.

Every worker needs this engine and sees input, output and model under the same paths. A worker runs a case in a process
of its own; if the worker is lost, Dask gives the case to another one, and the record and the lock see to it that
nothing is done twice.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unoise_engine import typed
from unoise_engine.batch.isolate import Children, Stopped, usable_cores
from unoise_engine.batch.job import Job, Outcome, find_done, not_done
from unoise_engine.batch.records import Record
from unoise_engine.errors import CaseFailed, EngineError, Environment, MissingExtra, error_from
from unoise_engine.lock import Busy, held

TRIES = 3  # workers that may be lost over one case before the case is taken for the cause
CONNECT_SECONDS = 20


def on_cluster(jobs: Sequence[Job], address: str) -> Generator[Outcome, None, None]:
    """Outcomes in the order they end. Raises Environment if the scheduler cannot be reached or has no workers."""
    try:
        import distributed
    except ImportError:
        raise MissingExtra("distributed", "cluster") from None
    todo = []
    for job in jobs:  # what is done already need not travel
        if done := find_done(job)[0]:
            yield done
        else:
            todo.append(job)
    if not todo:
        return
    client = _connect(distributed, address)
    try:
        of: dict[Any, Job] = {}
        for job in todo:
            of[_submit(client, job)] = job
        ended = distributed.as_completed(list(of), loop=client.loop, raise_errors=False)
        for future in ended:
            job = of.pop(future)
            if future.status != "finished":
                yield _worker_lost(job, future)
                continue
            answer = future.result()
            if "busy" in answer:  # another run has it, or a process that is just ending with its worker
                time.sleep(0.2)
                again = _submit(client, job)
                of[again] = job
                ended.add(again)
            elif "abort" in answer:
                raise error_from(answer["abort"])
            else:
                yield Outcome.from_dict(answer["outcome"])
    finally:
        client.close(timeout=5)  # what has not begun is forgotten by the scheduler


def _connect(distributed: Any, address: str) -> Any:
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        what = f"no Dask scheduler answers there ({type(error).__name__})"
        raise Environment(f"--cluster {address}", what, "start one with `dask scheduler`") from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError:
        client.close(timeout=5)
        what = "the scheduler has no workers"
        raise Environment(f"--cluster {address}", what, f"start some with `dask worker {address}`") from None
    return client


def _submit(client: Any, job: Job) -> Any:
    return client.submit(run_job, typed.to_table(job), pure=False, retries=0, key=f"unoise-{job.case}-{time.time_ns()}")


def run_job(body: dict[str, Any]) -> dict[str, Any]:
    """What a worker runs: the case in a process of its own, with the worker's share of the cores."""
    try:
        job = typed.read(Job, body, "job")
        model = replace(job.options.model, threads=job.options.model.threads or _share_of_cores())
        job = replace(job, options=replace(job.options, model=model))
        return {"outcome": Children().do(job, tell=lambda message: None).to_dict()}
    except (Busy, Stopped):
        return {"busy": True}
    except EngineError as error:
        return {"abort": error.facts}


def _share_of_cores() -> int:
    from distributed import get_worker

    try:
        tasks = get_worker().state.nthreads
    except ValueError:  # not on a worker
        tasks = 1
    return max(1, usable_cores() // tasks)


def _worker_lost(job: Job, future: Any) -> Outcome:
    """After TRIES lost workers Dask gives a case up; that is this case's failure alone."""
    what = f"every worker that had it was lost ({future.status})"
    lost = CaseFailed("WORKER_LOST", job.source, what, "run it again with --resume")
    with held(Path(job.out), job.case, wait_s=60):
        if done := find_done(job)[0]:
            return done
        return not_done(job, Record(job.case, "FAILED", job.model, job.settings), lost)
