"""Jobs on a Dask cluster: an existing one, reached by its scheduler's address. Locks and records are the same as here.

Every worker needs this engine and sees input, output and model under the same paths. A worker runs a case in a process
of its own; if the worker is lost, Dask gives the case to another one, and the record and the lock see to it that
nothing is done twice.
"""

from __future__ import annotations

import logging
import pkgutil
import queue
import time
from asyncio import CancelledError
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from unoise_engine import __version__, typed
from unoise_engine.batch.isolate import SILENT_SECONDS, Children, Stopped
from unoise_engine.batch.job import Job, Outcome, find_done, not_done
from unoise_engine.batch.records import Record
from unoise_engine.child import debugging, usable_cores
from unoise_engine.errors import CaseFailed, EngineError, Environment, MissingExtra, error_from
from unoise_engine.lock import Busy, held

CONNECT_SECONDS = 20
POLL_SECONDS = 1.0
LOGGERS = ("distributed", "tornado", "asyncio")


def on_cluster(jobs: Sequence[Job], address: str) -> Generator[Outcome, None, None]:
    """Outcomes in the order they end.

    Raises Environment if the scheduler cannot be reached or is lost, has no workers, or has some of another version.
    """
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
    if not debugging():
        for name in [name for name in logging.root.manager.loggerDict if name.startswith(LOGGERS)]:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what they tell is told here, in a line
    client = _connect(distributed, address)
    ended: queue.Queue[Any] = queue.Queue()
    of: dict[Any, Job] = {}

    def submit(job: Job) -> None:
        future = _submit(client, job)
        of[future] = job
        future.add_done_callback(ended.put)

    try:
        _check_versions(client, address)
        for job in todo:
            submit(job)
        while of:
            future = _next(ended, client, address)
            job = of.pop(future)
            answer = _answer_of(future, job, client, address)
            if "busy" in answer:  # another run has it, or a process that is just ending with its worker
                time.sleep(0.2)
                submit(job)
            elif "abort" in answer:
                raise error_from(answer["abort"])
            else:
                yield Outcome.from_dict(answer["outcome"])
    finally:
        with suppress(Exception):  # it may have lost its scheduler
            client.close(timeout=5)  # what has not begun is forgotten by the scheduler


def _connect(distributed: Any, address: str) -> Any:
    where = f"--cluster {address}"
    client = distributed.Client.__new__(distributed.Client)
    try:
        client.__init__(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # whatever its parts make of an address
        client.status = "closed"  # or it takes its time for a farewell to nobody, and ends in a traceback
        what = f"no Dask scheduler answers there ({type(error).__name__})"
        cure = "start one with `dask scheduler`, and give its address as tcp://host:8786"
        if address.startswith("tls:"):
            cure = (
                "start one with `dask scheduler`, and name the certificates in Dask's settings (distributed.comm.tls)"
            )
        raise Environment(where, what, cure) from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError:
        client.close(timeout=5)
        raise _no_workers(address, "the scheduler has no workers") from None
    return client


def _no_workers(address: str, what: str) -> Environment:
    return Environment(f"--cluster {address}", what, f"start some with `dask worker {address}`")


def _lost(address: str) -> Environment:
    cure = "start it again with `dask scheduler`, and its workers"
    return Environment(f"--cluster {address}", "the scheduler was lost", cure)


def _check_versions(client: Any, address: str) -> None:
    """Asked by Python's own means, so that an engine of any age can answer."""
    found = client.run(pkgutil.resolve_name, "unoise_engine:__version__", on_error="return")
    for worker, version in found.items():
        if version != __version__:
            raise _other_version(worker, version if isinstance(version, str) else "none", __version__)


def _other_version(worker: str, theirs: str, ours: str) -> Environment:
    what = f"has unoise-engine {theirs}, and this run {ours}"
    return Environment(f"the worker {worker}", what, "install the same version on both")


def _next(ended: queue.Queue[Any], client: Any, address: str) -> Any:
    """The next future that ends. Raises Environment if none can any more."""
    seen = time.monotonic()
    while True:
        try:
            return ended.get(timeout=POLL_SECONDS)  # waking up now and then lets Ctrl-C through on every system
        except queue.Empty:
            if client.status != "running":
                raise _lost(address) from None
            if client.scheduler_info()["workers"]:
                seen = time.monotonic()
            if time.monotonic() - seen > SILENT_SECONDS:
                what = f"the scheduler has had no workers for {SILENT_SECONDS / 60:.0f} minutes"
                raise _no_workers(address, what) from None


def _answer_of(future: Any, job: Job, client: Any, address: str) -> dict[str, Any]:
    """What `run_job` answered. Raises Environment for a fault of the cluster."""
    from distributed import KilledWorker

    try:
        answer: dict[str, Any] = future.result()
        return answer
    except KilledWorker:
        return {"outcome": _worker_lost(job).to_dict()}
    except Exception as error:
        if future.status == "error":  # it never came to our code
            what = f"a worker could not take a case ({type(error).__name__})"
            cure = f"install unoise-engine {__version__} on every worker"
            raise Environment(f"--cluster {address}", what, cure) from None
    except CancelledError:  # no Exception, though it is one of Dask's own ways to say so
        pass
    raise _lost(address)


def _submit(client: Any, job: Job) -> Any:
    key = f"unoise-{job.case}-{time.time_ns()}"
    return client.submit(run_job, typed.to_table(job), __version__, pure=False, retries=0, key=key)


def run_job(body: dict[str, Any], version: str) -> dict[str, Any]:
    """What a worker runs: the case in a process of its own, with the worker's share of the cores."""
    if version != __version__:  # a worker that came later than the others
        from distributed import get_worker

        return {"abort": _other_version(get_worker().address, __version__, version).facts}
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


def _worker_lost(job: Job) -> Outcome:
    """After some lost workers Dask gives a case up (distributed.scheduler.allowed-failures); it alone has failed."""
    what = "every worker that had it was lost"
    lost = CaseFailed("WORKER_LOST", job.source, what, "run it again with --resume")
    with held(Path(job.out), job.case, wait_s=60):
        if done := find_done(job)[0]:
            return done
        return not_done(job, Record(job.case, "FAILED", job.model, job.settings), lost)
