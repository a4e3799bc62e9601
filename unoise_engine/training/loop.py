"""Lightning's loop, with our own words, checkpoints and endings. A round is one of Lightning's epochs."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from unoise_engine.errors import EngineError, Interrupted
from unoise_engine.training.cases import Case
from unoise_engine.training.checkpoints import LAST, LOGS, Keep
from unoise_engine.training.device import choose_device, choose_precision
from unoise_engine.training.draw import Epoch, Stream
from unoise_engine.training.learners import Learner, Scans
from unoise_engine.training.progress import Kind, Show
from unoise_engine.training.recipes import Draw, Fit
from unoise_engine.training.together import Others


class Rounds:
    """How many steps in all, and how many between two validations; the total is a whole number of rounds."""

    def __init__(self, fit: Fit, draw: Draw, cases: Sequence[Case], devices: int, shares: Sequence[float] = ()):
        self.cases, self.draw, self.seed, self.shares = cases, draw, fit.seed, shares
        wanted = fit.max_steps or fit.epochs * math.ceil(len(Epoch(cases, draw)) / (draw.batch * devices))
        self.length = min(fit.round_steps, wanted)
        self.number = math.ceil(wanted / self.length)
        self.steps = self.number * self.length


def run_loop(
    learner: Learner,
    rounds: Rounds,
    scans: Scans,
    out: Path,
    checkpoint: Path | None,
    device: str,
    devices: int,
    show: Kind,
    nodes: int = 1,
) -> None:
    """Trains until the last round or the early stop.

    Raises Interrupted after Ctrl-C or a terminate signal, and EngineError for a loss that is not finite or the loss of
    a process that trains with this one.
    """
    chosen, fit = choose_device(device), learner.fit_recipe
    others = Others()
    callbacks: list[Callback] = [
        others,
        Show(show, out.name, rounds.steps, learner.watched, rounds.draw.batch * devices * nodes),
        Keep(out, learner.watched, learner.larger_is_better),
    ]
    if fit.average:
        callbacks.insert(0, EMAWeightAveraging(decay=fit.average))
    if fit.patience:
        mode = "max" if learner.larger_is_better else "min"
        callbacks.insert(0, EarlyStopping(learner.watched, patience=fit.patience, mode=mode))
    with quiet():
        trainer = Trainer(
            accelerator={"cuda": "gpu"}.get(chosen, chosen),
            devices=devices,
            num_nodes=nodes,
            strategy="auto" if devices * nodes == 1 else "ddp",
            precision=choose_precision(fit.precision, chosen),
            max_epochs=rounds.number,
            limit_train_batches=rounds.length,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            logger=TensorBoardLogger(out, name="", version=LOGS),
            callbacks=callbacks,
            benchmark=chosen == "cuda",
            use_distributed_sampler=False,  # the stream knows its share
            enable_checkpointing=False,  # Keep does it
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        stream = Stream(rounds.cases, rounds.draw, rounds.seed, lambda: trainer.global_step, rounds.shares)
        loaders = DataLoader(stream, batch_size=None), DataLoader(scans, batch_size=None)
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Lightning handles only what nobody else does
        try:
            trainer.fit(learner, *loaders, ckpt_path=checkpoint, weights_only=True)
        except (SystemExit, KeyboardInterrupt, SIGTERMException, RuntimeError) as e:
            others.end()
            cure = f"{LAST} holds the last finished round, go on from there with --resume"
            if devices * nodes > 1 and others.are_lost(e):
                if not trainer.is_global_zero:
                    raise SystemExit(1) from None  # one sentence is enough
                raise EngineError(out, "one of the processes that train together was killed or died", cure) from None
            if isinstance(e, RuntimeError):
                raise
            # How Lightning ends after Ctrl-C or a terminate signal.
            what = f"training was interrupted at step {trainer.global_step} of {rounds.steps}"
            raise Interrupted(out, what, cure) from None
        except EngineError as e:
            raise type(e)(out, f"training stopped: {e.source} {e.what}", e.cure) from None
        finally:
            others.over.set()
            for number, handler in before.items():  # Lightning leaves Ctrl-C ignored
                if handler is None:
                    continue
                signal.signal(number, handler)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides Lightning's advice (workers, tips, precision plugins): none of it is for the person who trains."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*|torch\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
