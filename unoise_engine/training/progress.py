"""How a training shows where it is: a bar on a terminal, one line a round elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unoise_engine.errors import Usage

KINDS = ("auto", "bar", "lines", "none")


def choose_progress(wanted: str) -> str:
    """auto -> bar on a terminal, else lines. Raises `Usage` for an unknown kind."""
    if wanted not in KINDS:
        raise Usage(f"progress {wanted} - unknown - use one of {', '.join(KINDS)}")
    return ("bar" if sys.stderr.isatty() else "lines") if wanted == "auto" else wanted


def teller(kind: str) -> Callable[[str], None]:
    """Prints the lines of the work before the first step."""
    if kind == "none":
        return lambda line: None
    end = "\r\x1b[K" if kind == "bar" else "\n"
    return lambda line: print(line, end=end, file=sys.stderr, flush=True)


class Show(Callback):
    def __init__(self, kind: str, steps: int, watched: str, slices_a_step: int):
        self.kind, self.steps, self.watched, self.slices = kind, steps, watched, slices_a_step
        self.best = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.kind != "bar" or not trainer.is_global_zero:
            return
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self.task = self.bar.add_task("", total=self.steps, completed=trainer.global_step, said="")
        self.bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started, self.from_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if hasattr(self, "bar"):
            self.bar.update(self.task, completed=trainer.global_step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = trainer.global_step - self.from_step
        self.speed = done * self.slices / max(time.monotonic() - self.started, 1e-9)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        loss, value = (float(trainer.callback_metrics[name]) for name in ("train_loss", self.watched))
        name = self.watched.replace("val_", "validation ")
        said = f"loss {loss:.4f}, {name} {value:.4f}, {self.speed:.0f} slices/s"
        if hasattr(self, "bar"):
            self.bar.update(self.task, said=said)
        elif self.kind == "lines":
            print(f"step {trainer.global_step}/{self.steps}: {said}", file=sys.stderr, flush=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.stop()
