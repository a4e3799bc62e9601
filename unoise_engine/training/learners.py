"""What learns, for Lightning: the utility from masks, the noise model from the frozen utility."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import IterableDataset

from unoise_engine.errors import EngineError
from unoise_engine.models.recipe import Recipe
from unoise_engine.training.augment import augment
from unoise_engine.training.budgets import budget_loss, own_prediction
from unoise_engine.training.cases import Case
from unoise_engine.training.draw import Batch, process
from unoise_engine.training.hidden import partly_hidden
from unoise_engine.training.level import Sample
from unoise_engine.training.recipes import Augment, Draw, Fit, Noise, UtilityFit
from unoise_engine.training.unoise import loss_of, unoise_loss

PIXELS_AT_ONCE = 16 * 256 * 256  # in validation: bounds memory, and more gains nothing
SLACK = 20.0  # pixels
NOISE_SEED = 2101_05791  # of the validation noise: every validation draws the same, so losses compare


class Scans(IterableDataset[dict[str, Any]]):
    """Validation: every slice of every case (or those that `choose` names), whole, a few at a time."""

    def __init__(self, cases: Sequence[Case], choose: Callable[[Case], np.ndarray] | None = None):
        self.cases, self.choose = cases, choose

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for c, case in enumerate(self.cases):
            n, h, w = case.image.shape
            chosen = np.arange(n) if self.choose is None else self.choose(case)
            step = max(1, PIXELS_AT_ONCE // (h * w))
            for at in (chosen[i : i + step] for i in range(0, len(chosen), step)):
                image, organ = (torch.from_numpy(stack[at][:, None]) for stack in (case.image, case.organ))
                yield {"case": c, "source": case.source, "image": image, "organ": organ}


def evenly(most: int) -> Callable[[Case], np.ndarray] | None:
    """Chooses at most so many slices of a case, evenly spread; 0: None, which is all of them."""
    if not most:
        return None
    return lambda case: np.unique(np.linspace(0, len(case.image) - 1, min(most, len(case.image))).round().astype(int))


def soft_dice_loss(logits: Tensor, y: Tensor) -> Tensor:
    """1 - dice of probabilities, pooled over the batch (n, ...). The added 1 lets empty fit empty."""
    p = logits.sigmoid()
    return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def slice_dice_loss(logits: Tensor, y: Tensor) -> Tensor:
    """1 - dice of probabilities of each slice (n, ...), the mean over the slices.

    Pooled over a batch, a small section weighs as little as its pixels are few; here each slice weighs the same. The
    added `SLACK` pixels keep a slice of a few pixels, or of none, from outweighing the rest.
    """
    p, each = logits.sigmoid(), tuple(range(1, logits.ndim))
    return (1 - (2 * (p * y).sum(each) + SLACK) / (p.sum(each) + y.sum(each) + SLACK)).mean()


def others_loss(logits: Tensor, y: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy and dice of the other structures (n, c, h, w), over the slices whose labels tell them (n, c)."""
    told = known[:, :, None, None].to(logits.dtype)
    cross = binary_cross_entropy_with_logits(logits, y, reduction="none") * told
    p = logits.sigmoid() * told
    overlap, total = (p * y).sum((0, 2, 3)), (p + y * told).sum((0, 2, 3))
    return cross.sum() / (told.sum() * y[0, 0].numel()).clamp_min(1) + (1 - (2 * overlap + 1) / (total + 1)).mean()


class Learner(LightningModule):
    """The common part: bytes to normalised slices, optimiser and schedule, the check for NaN."""

    watched: str  # the validation value that chooses the best checkpoint
    larger_is_better: bool

    def __init__(self, net: nn.Module, ct: Recipe, draw: Draw, how: Augment, fit: Fit, steps: int):
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ct, self.draw, self.how, self.fit_recipe, self.steps = ct, draw, how, fit, steps

    def normalise(self, windowed: Tensor) -> Tensor:
        """(n, 1, h, w) in [0, 1] -> (n, channels, h, w), as `Recipe.normalise` does."""
        mean, std = (windowed.new_tensor(v)[:, None, None] for v in (self.ct.mean, self.ct.std))
        return ((windowed - mean) / std).contiguous(memory_format=torch.channels_last)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Chance depends on the step alone: a resumed run goes on exactly as the unbroken one would have."""
        rank, world = process()
        torch.manual_seed((self.fit_recipe.seed << 32) + self.global_step * world + rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, organ = self.drawn(batch)
        if self.how.hide:
            x, organ = partly_hidden(x, organ, self.how.hide)
        loss = self.loss(x, organ.float(), batch["known"])
        if not torch.isfinite(loss):
            raise EngineError(
                f"step {self.global_step}",
                f"the loss became {loss.item()} on {', '.join(batch['names'])}",
                "look at these slices, or lower [fit] lr; the last good checkpoint is kept",
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(x), sync_dist=True)
        return loss

    def drawn(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a training batch shows, augmented: normalised slices (n, channels, h, w), masks (n, c, h, w)."""
        image, organ = (batch[key].to(self.device) for key in ("image", "organ"))
        image, organ = augment(image.float() / 255, organ, self.draw.crop, self.how, self.ct.window_hu)
        return self.normalise(image), organ

    def loss(self, x: Tensor, y: Tensor, known: Tensor) -> Tensor:
        """Normalised slices (n, channels, h, w), masks (n, c, h, w) of the organ and the others -> scalar."""
        raise NotImplementedError

    def seen(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the net is given for normalised slices (n, channels, h, w)."""
        return (x,)

    def configure_optimizers(self) -> Any:
        fit = self.fit_recipe
        if fit.weight_decay:
            optimiser: torch.optim.Optimizer = torch.optim.AdamW(
                self.net.parameters(), fit.lr, weight_decay=fit.weight_decay
            )
        else:
            optimiser = torch.optim.Adam(self.net.parameters(), fit.lr)
        if fit.schedule == "constant":
            return optimiser
        total = self.steps + 1
        rise = max(0.2, 2 / total)  # at least one whole step: torch divides by the steps in between
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, fit.lr, total_steps=total, pct_start=rise)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class UtilityLearner(Learner):
    """Validation: the dice of each whole case, the mean over the cases of a source, then the mean over sources."""

    watched, larger_is_better = "val_dice", True

    def __init__(self, net: nn.Module, ct: Recipe, draw: Draw, how: Augment, fit: UtilityFit, steps: int):
        super().__init__(net, ct, draw, how, fit, steps)
        self.with_dice, self.by_slice = fit.loss == "bce+dice", fit.slice_dice
        self.others_weight = fit.others_weight

    def on_validation_epoch_start(self) -> None:
        self.sums: dict[tuple[int, int], np.ndarray] = {}

    def loss(self, x: Tensor, y: Tensor, known: Tensor) -> Tensor:
        logits = self.net(x).float()
        loss = binary_cross_entropy_with_logits(logits[:, :1], y[:, :1])
        if self.with_dice:
            loss = loss + (1 - self.by_slice) * soft_dice_loss(logits[:, :1], y[:, :1])
            if self.by_slice:
                loss = loss + self.by_slice * slice_dice_loss(logits[:, :1], y[:, :1])
        if y.shape[1] > 1:
            loss = loss + self.others_weight * others_loss(logits[:, 1:], y[:, 1:], known[:, 1:])
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        found = self.net(self.normalise(batch["image"].float() / 255))[:, :1] > 0
        organ = batch["organ"]
        counts = np.array([(found & organ).sum().item(), found.sum().item() + organ.sum().item()])
        case = batch["source"], batch["case"]
        self.sums[case] = self.sums.get(case, 0) + counts

    def on_validation_epoch_end(self) -> None:
        means = []
        for source in sorted({source for source, _ in self.sums}):
            sums = [counts for (of, _), counts in self.sums.items() if of == source]
            means.append(float(np.mean([2 * both / total for both, total in sums if total])))
            self.log(f"val_dice_{source}", means[-1], sync_dist=True)
        self.log("val_dice", float(np.mean(means)), sync_dist=True)


class NoiseLearner(Learner):
    """The frozen utility is kept in a tuple: it is no child, so it is neither trained, woken nor saved."""

    watched, larger_is_better = "val_loss", False

    def __init__(self, noise: nn.Module, utility: nn.Module, how: Noise, *args: Any):
        super().__init__(noise, *args)
        self.frozen = (utility,)
        self.noise, self.cfg = how, how.config

    def on_fit_start(self) -> None:
        self.frozen[0].to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, x: Tensor, y: Tensor, known: Tensor) -> Tensor:
        utility = self.frozen[0]
        if not (self.noise.budget_weight or self.noise.near):
            return unoise_loss(utility, self.net, x, self.target(x, y), self.cfg)
        with torch.no_grad():
            logits = utility(x)[:, :1].float()
        z = self.noise_of(x, logits)
        loss = loss_of(utility, z, x, self.target(x, y), self.cfg)
        if self.noise.budget_weight:  # asks what the utility itself needs, right or wrong
            own = (logits > 0).to(x.dtype)
            asked = budget_loss(utility, z, x, own, self.cfg.sigma_max, self.noise.budgets, self.noise.near)
            loss = loss + self.noise.budget_weight * asked
        return loss

    def target(self, x: Tensor, y: Tensor) -> Tensor:
        return own_prediction(self.frozen[0], x) if self.noise.targets == "predictions" else y[:, :1]

    def seen(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x, self.frozen[0](x)[:, :1].float()) if self.noise.near else (x,)

    def noise_of(self, x: Tensor, logits: Tensor) -> Tensor:
        return (self.net(x, logits) if self.noise.near else self.net(x)).float()

    @torch.no_grad()
    def sample(self, batch: Batch) -> Sample:
        """What the net says of a training batch, for its level to be set."""
        x, organ = self.drawn(batch)
        return self.noise_of(x, self.frozen[0](x)[:, :1].float()), x, self.target(x, organ.float())

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        image = self.normalise(batch["image"].float() / 255)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(NOISE_SEED + batch_idx)
            organ = batch["organ"].float()
            loss = self.loss(image, organ, torch.ones(organ.shape[:2], dtype=torch.bool))
        self.log("val_loss", loss, on_step=False, on_epoch=True, batch_size=len(image), sync_dist=True)
