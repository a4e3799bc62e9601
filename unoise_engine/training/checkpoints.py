"""What a run keeps after each round: last.ckpt, best.ckpt and a row in metrics.csv."""

from __future__ import annotations

import csv
import math
import os
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from unoise_engine.errors import Environment, Integrity
from unoise_engine.files import GROWS, altered, copy, grow, new_file, note, write

LAST, BEST, METRICS, LOGS = "last.ckpt", "best.ckpt", "metrics.csv", "logs"


class Keep(Callback):
    """Checkpoints at the start and after every validation, each under a temporary name first.

    A round is short, so an interrupted run falls back to the end of the last round and goes on from there exactly as
    it would have; a checkpoint in the middle of a round could not promise that. last.ckpt gets its name when all else
    of a round is written: a run that is killed before does that round again.
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
        if trainer.is_global_zero:
            forget_rows(self.run / METRICS, trainer.global_step)
        if trainer.global_step == 0:
            self.save(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds += time.monotonic() - self.started
        value = float(trainer.callback_metrics[self.watched])
        improved = self.sign * value > self.best
        self.best = max(self.best, self.sign * value)
        self.save(trainer, improved, self.row(trainer))

    def save(self, trainer: Trainer, improved: bool = False, row: dict[str, Any] | None = None) -> None:
        """Raises Environment if the disk is full; the checkpoint before stays whole."""
        if not trainer.is_global_zero:
            no_draft = self.run  # takes part, and writes nothing
            trainer.save_checkpoint(no_draft)
            return
        try:
            if (logs := self.run / LOGS).is_dir():
                note(logs, dict.fromkeys(os.listdir(logs), GROWS))
            with new_file(self.run / LAST, replace=True) as draft:
                trainer.save_checkpoint(draft.path)
                if improved:
                    copy(draft.path, self.run / BEST, replace=True)
                if row:
                    add_row(self.run / METRICS, row)
        except OSError as e:
            cure = "make room, then go on with --resume; the last one is kept"
            raise Environment(self.run / LAST, f"cannot be written ({e.strerror})", cure) from None

    def row(self, trainer: Trainer) -> dict[str, Any]:
        row = {"step": trainer.global_step, "train_loss": float(trainer.callback_metrics["train_loss"])}
        watched = sorted(name for name in trainer.callback_metrics if name.startswith(self.watched))
        row |= {name: float(trainer.callback_metrics[name]) for name in watched}
        return row | {"lr": trainer.optimizers[0].param_groups[0]["lr"], "seconds": round(self.seconds, 1)}


def add_row(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with os.fdopen(grow(path), "a", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def forget_rows(path: Path, step: int) -> None:
    """Takes the rows of later steps out of a table: those of a round that will be done again."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as f:
        head, *lines = f.read().splitlines(keepends=True) or [""]
    number = [line.partition(",")[0] for line in lines]
    kept = [line for line, n in zip(lines, number) if line.endswith("\n") and n.isdigit() and int(n) <= step]
    if kept != lines:
        write(path, head + "".join(kept), replace=True)


def read_checkpoint(path: Path, cure: str) -> dict[str, Any]:
    """A checkpoint, of which nothing is unpickled but tensors and plain values. Raises Integrity for a damaged one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own word on what is no checkpoint
            if not altered(path):
                read: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                read["state_dict"].items()
                return read
    except Exception:  # noqa: S110 - torch raises a dozen kinds
        pass
    raise Integrity(path, "is damaged: it is not what the training wrote", cure)


def network_weights(path: Path, cure: str = "bring it back as it was, or train the run again") -> dict[str, Tensor]:
    """The net's own weights from a checkpoint. Raises Integrity."""
    state = read_checkpoint(path, cure)["state_dict"]
    return {name.removeprefix("net."): values for name, values in state.items() if name.startswith("net.")}
