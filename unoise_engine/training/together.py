"""Processes that train together on one machine, and what becomes of the others when one of them is lost."""

from __future__ import annotations

import _thread
import threading
from contextlib import suppress
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

POLL_SECONDS = 0.5


class Others(Callback):
    """Watches the processes that this one started. Lightning would kill this one too if one ends, without a word."""

    def __init__(self) -> None:
        self.processes: list[Any] = []
        self.lost, self.over = False, threading.Event()
        self.watch: threading.Thread | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        launcher = getattr(trainer.strategy, "launcher", None)
        if started := getattr(launcher, "procs", []):
            self.processes = list(started)
            launcher.procs = self.processes  # type: ignore[union-attr]
            started.clear()  # Lightning's own watch looks at this list, and finds nothing to watch
            self.watch = threading.Thread(target=self._watch, daemon=True)
            self.watch.start()

    def _watch(self) -> None:
        while not self.over.wait(POLL_SECONDS):
            if any(process.poll() for process in self.processes):
                self.lost = True
                _thread.interrupt_main()
                return

    def are_lost(self, error: BaseException) -> bool:
        """Whether this is how the loss of another process shows here."""
        return self.lost or isinstance(error, torch.distributed.DistError) or "gloo" in str(error)

    def end(self) -> None:
        """Stops watching and ends those that still run."""
        self.over.set()
        with suppress(KeyboardInterrupt):  # the watch's own, that came while another error told of the same loss
            if self.watch:
                self.watch.join()
        for process in self.processes:
            process.terminate()
