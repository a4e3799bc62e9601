"""Processes that teach together, each on a device of its own: torch.distributed makes each step the mean of theirs.

They are started here, side by side, or from outside: by torchrun, which tells each of them its place.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from unoise_engine.child import debugging, usable_cores
from unoise_engine.errors import EngineError, Environment, Usage

OUTSIDE = "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"  # as torch.distributed names them
WAKE_SECONDS = 0.5  # waking up now and then lets Ctrl-C through on every system
Tell = Callable[[int, int, float], None]


class Lost(EngineError):
    """A process that the others need is gone."""

    def __init__(self) -> None:
        cure = "start it again, with fewer --devices if memory is short"
        super().__init__("train unoise", "one of the processes that teach together was killed or died", cure)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


@dataclass(frozen=True)
class Place:
    """Of one process among `count`; `local` is its number on its machine, and that of its GPU."""

    rank: int = 0
    count: int = 1
    local: int = 0

    def averaged(self, loss: Tensor, net: nn.Module) -> Tensor:
        """The mean of all processes' losses; the net's gradients become their means, too. Raises Lost."""
        if self.count == 1:
            return loss
        gradients = [one.grad for one in net.parameters() if one.grad is not None]
        mean = torch.cat([values.ravel() for values in (loss, *gradients)])
        try:
            distributed.all_reduce(mean)
        except RuntimeError:
            raise Lost from None
        mean /= self.count
        for gradient, values in zip(gradients, mean[1:].split([one.numel() for one in gradients])):
            gradient.copy_(values.view_as(gradient))
        return mean[0]


ALONE = Place()
Work = Callable[[Place, Tell], Any]


def place_from_outside(devices: int, nodes: int) -> Place | None:
    """This process's place, if it was started as one of several; None if it has yet to start the others.

    Raises Usage where that is another number than `devices` on each of so many `nodes`.
    """
    asked = f"--devices {devices} --num-nodes {nodes}"
    told = [os.environ.get(name, "") for name in OUTSIDE]
    if all(told) and all(one.isdecimal() for one in told[:3]):
        rank, local, count = map(int, told[:3])
        if count == devices * nodes:
            return Place(rank, count, local) if count > 1 else None
        raise Usage(asked, f"does not fit the {count} processes of WORLD_SIZE", "say what torchrun was told")
    if nodes > 1:
        raise Usage(asked, f"needs {', '.join(OUTSIDE)}", f"start it by torchrun --nnodes {nodes} on each machine")
    return None


def in_place(work: Work, place: Place, device: str, tell: Tell) -> Any:
    """What the work gives, in a process that was started from outside. Of one failure only one of them speaks."""
    try:
        store = next(rendezvous("env://"))[0]
    except (RuntimeError, ValueError) as error:
        where = ":".join(os.environ[name] for name in OUTSIDE[3:])
        reason = str(error).partition("\n")[0]
        raise Environment(f"MASTER_ADDR:MASTER_PORT {where}", f"cannot be met ({reason})", "start all anew") from None
    try:
        with _joined(place, device, store):
            return work(place, tell)
    except Exception:
        with suppress(RuntimeError):  # who kept the store is gone
            if store.add("failures", 1) > 1:
                raise SystemExit(1) from None
        raise


def side_by_side(work: Work, devices: int, device: str, tell: Tell) -> Any:
    """Starts so many processes and returns what the first one's work gives. None of them outlives the call.

    Raises what is raised in one of them, and Lost if one ends without a word.
    """
    spawn = get_context("spawn")
    processes: list[Any] = []
    pipes: list[Connection] = []
    with tempfile.TemporaryDirectory() as home:
        try:
            with _no_ctrl_c():
                for rank in range(devices):
                    pipe, theirs = spawn.Pipe(duplex=False)
                    place = Place(rank, devices, rank)
                    started = spawn.Process(target=_run, args=(theirs, work, place, device, home), daemon=True)
                    started.start()
                    theirs.close()  # so that its end is seen here
                    processes.append(started)
                    pipes.append(pipe)
            while True:
                ready = wait(pipes, WAKE_SECONDS)
                said = [one for pipe in pipes if pipe in ready for one in _said(pipe)]
                failures = [what for kind, what in said if kind == "failed"]
                if failures:  # others get lost for want of one that failed
                    raise min(failures, key=lambda error: isinstance(error, Lost))
                for kind, what in said:
                    if kind == "gave":
                        return what
                    tell(*what)
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.join()


def _said(pipe: Connection) -> Iterator[tuple[str, Any]]:
    try:
        while pipe.poll():
            yield pipe.recv()
    except (EOFError, OSError):
        yield "failed", Lost()


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Processes started meanwhile do not hear it; whoever started them does, and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def _run(pipe: Connection, work: Work, place: Place, device: str, home: str) -> None:
    """A process's own side. All give the same, so the first one's is enough; the others wait for their end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not debugging():  # libraries may print names
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    torch.set_num_threads(max(1, usable_cores() // place.count))
    leads = place.rank == 0
    try:
        store = distributed.FileStore(str(Path(home, "meeting")), place.count)  # type: ignore[attr-defined]
        with _joined(place, device, store):
            found = work(place, (lambda *told: pipe.send(("told", told))) if leads else lambda *told: None)
            if leads:
                pipe.send(("gave", found))
        threading.Event().wait()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        known = isinstance(error, EngineError | MemoryError)  # others may not come through a pipe
        pipe.send(("failed", error if known else RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # noqa: S101 - for the type checker
    parent.join()
    os._exit(1)


@contextmanager
def _joined(place: Place, device: str, store: Any) -> Iterator[None]:
    if device == "cuda":
        torch.cuda.set_device(place.local)
    backend = "nccl" if device == "cuda" and distributed.is_nccl_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.count)
    yield  # after a failure nobody waits for the others: the process ends
    distributed.destroy_process_group()
