"""What a run keeps after each round: last.ckpt, best.ckpt and a row in metrics.csv."""

from __future__ import annotations

import csv
import math
import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from unoise_engine.errors import Environment
from unoise_engine.files import GROWS, Draft, copy, grow, new_file, note

LAST, BEST, METRICS, LOGS = "last.ckpt", "best.ckpt", "metrics.csv", "logs"


class Keep(Callback):
    """Checkpoints at the start and after every validation, each under a temporary name first.

    A round is short, so an interrupted run falls back to the end of the last round and goes on from there exactly as
    it would have; a checkpoint in the middle of a round could not promise that.
    """

    def __init__(self, run: Path, watched: str, larger_is_better: bool):
        self.run, self.watched, self.sign = run, watched, 1 if larger_is_better else -1
        self.best = -math.inf  # sign * value
        self.seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.seconds = state_dict["best"], state_dict["seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            self.save(trainer, LAST)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds += time.monotonic() - self.started
        value = float(trainer.callback_metrics[self.watched])
        improved = self.sign * value > self.best
        self.best = max(self.best, self.sign * value)
        self.save(trainer, LAST)
        if trainer.is_global_zero:
            if improved:
                copy(self.run / LAST, self.run / BEST, replace=True)
            self.note(trainer)

    def save(self, trainer: Trainer, name: str) -> None:
        """Raises Environment if the disk is full; the checkpoint before stays whole."""
        leads = trainer.is_global_zero  # the others take part, and write nothing
        try:
            if leads and (logs := self.run / LOGS).is_dir():
                note(logs, dict.fromkeys(os.listdir(logs), GROWS))
            with new_file(self.run / name, replace=True) if leads else nullcontext(Draft(self.run)) as draft:
                trainer.save_checkpoint(draft.path)
        except OSError as e:
            cure = "make room, then go on with --resume; the last one is kept"
            raise Environment(self.run / name, f"cannot be written ({e.strerror})", cure) from None

    def note(self, trainer: Trainer) -> None:
        path = self.run / METRICS
        row = {"step": trainer.global_step, "train_loss": float(trainer.callback_metrics["train_loss"])}
        watched = sorted(name for name in trainer.callback_metrics if name.startswith(self.watched))
        row |= {name: float(trainer.callback_metrics[name]) for name in watched}
        row |= {"lr": trainer.optimizers[0].param_groups[0]["lr"], "seconds": round(self.seconds, 1)}
        new = not path.exists()
        with os.fdopen(grow(path), "a", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
