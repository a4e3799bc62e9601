"""How a training shows where it is: a bar for people, lines for logs, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unoise_engine.errors import Usage
from unoise_engine.training.split import Split

Kind = Literal["bar", "lines", "json", "off"]
KINDS = ("auto", "bar", "lines", "json", "off")
EVERY_SECONDS = 0.5  # between two JSON lines, and two changes of the bar's words
LINE_SECONDS = 30.0  # between two lines within a round


def choose_progress(wanted: str) -> Kind:
    """auto: a bar if a person watches, else a line a round. Raises `Usage` for an unknown kind."""
    if wanted not in KINDS:
        raise Usage(f"progress {wanted}", "unknown", f"use one of {', '.join(KINDS)}")
    if wanted == "auto":
        return "bar" if sys.stderr.isatty() else "lines"
    return cast(Kind, wanted)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def event(kind: str, **facts: Any) -> None:
    """One JSON object on standard output, in the engine's form."""
    print(json.dumps({"event": kind, **facts}), flush=True)


def say_start(kind: Kind, run: str, device: str, precision: str, split: Split, steering: int) -> None:
    """The first that is said: on what it runs, and how many CTs do what."""
    if kind == "json":
        counts = {"learn": len(split.train), "steer": steering, "test": len(split.test)}
        event("training", case=run, device=device, precision=precision, **counts)
    elif kind != "off":
        told = f"{len(split.train)} CTs to learn from, {steering} to steer by, {len(split.test)} kept for the test"
        say(f"{run}: on {device} ({precision}); {told}")


def teller(kind: Kind) -> Callable[[str, int, int], None]:
    """Tells of the work before the first step: a case's name, how many are done, how many there are."""
    if kind == "bar":
        return lambda case, done, total: print(f"\r\x1b[Kreading {case} ({done}/{total})", end="", file=sys.stderr)
    if kind == "json":
        return lambda case, done, total: event("progress", case=case, stage="reading", done=done, total=total)
    last = time.monotonic()

    def line(case: str, done: int, total: int) -> None:
        nonlocal last
        if kind == "lines" and (done == total or time.monotonic() - last >= LINE_SECONDS):
            last = time.monotonic()
            say(f"read {done} of {total}")

    return line


class Show(Callback):
    """Steps, losses and speed of a training as it runs. Speed counts training alone, without validation."""

    def __init__(self, kind: Kind, run: str, steps: int, watched: str, slices_a_step: int):
        self.kind, self.run, self.steps, self.watched, self.slices = kind, run, steps, watched, slices_a_step
        self.told, self.round = 0.0, ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not trainer.is_global_zero:
            self.kind = "off"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began, self.began_at = time.monotonic(), trainer.global_step
        if self.kind == "bar":
            sys.stderr.write("\r\x1b[K")
            columns = (TextColumn(self.run), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
            self.bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self.task = self.bar.add_task("", total=self.steps, completed=trainer.global_step, said="")
            self.bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started, self.from_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        now, loss = time.monotonic(), f"loss {float(outputs['loss']):.4f}"
        if self.kind == "bar":
            self.bar.update(self.task, completed=trainer.global_step)
            if now - self.told >= EVERY_SECONDS:
                self.told = now
                self.bar.update(self.task, said=loss + self.round)
        elif self.kind == "lines" and now - (self.told or self.began) >= LINE_SECONDS:
            self.told = now
            say(f"{self.run}: step {trainer.global_step}/{self.steps}, {loss}{self.round}")
        elif self.kind == "json" and now - self.told >= EVERY_SECONDS:
            self.told = time.monotonic()
            done = trainer.global_step
            left = (self.told - self.began) / (done - self.began_at) * (self.steps - done)
            facts = {"done": done, "total": self.steps, "seconds_left": round(left, 1)}
            event("progress", case=self.run, stage="training", **facts)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = trainer.global_step - self.from_step
        self.speed = done * self.slices / max(time.monotonic() - self.started, 1e-9)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss, value = (float(trainer.callback_metrics[name]) for name in ("train_loss", self.watched))
        speed = f"{self.speed:.{0 if self.speed >= 10 else 1}f}"  # a slow one is not 0
        self.round = f", {self.watched.replace('val_', 'validation ')} {value:.4f}"
        words = f"loss {loss:.4f}{self.round}, {speed} slices/s"
        if self.kind == "bar":
            self.bar.update(self.task, said=words)
        elif self.kind == "lines":
            self.told = time.monotonic()
            say(f"{self.run}: step {trainer.global_step}/{self.steps}, {words}")
        elif self.kind == "json":
            facts = {"step": trainer.global_step, "train_loss": loss, self.watched: value}
            event("round", case=self.run, **facts, slices_per_second=round(self.speed, 1))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.kind == "bar" and hasattr(self, "bar"):
            self.bar.stop()
