"""How a noise model learns from somebody else's segmenter.

Koker et al. 2021 (arXiv 2101.05791), with the segmenter behind its bundle's own graphs: onnxruntime runs it forward
and, by the reverse pass that is written into the graph, back. Nothing of the source is needed, and nothing of it can
change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.explanation.segment import segment
from unoise_engine.foreign.noise_graph import noise_graph
from unoise_engine.foreign.noise_net import NoiseNet
from unoise_engine.foreign.together import ALONE, Place, Tell
from unoise_engine.models.given import given_of
from unoise_engine.models.windowed import Windowed
from unoise_engine.volume.case import ReadSettings
from unoise_engine.volume.find import find_cases

SIGMAS = 1.0, 5.0  # the published range, in units of the spread of what the model is given
HELD_OUT = 0.2  # of the CTs, to judge; none of a single one
JUDGED = 8  # patches


@dataclass(frozen=True)
class Teaching:
    """`patch`: the longest side of the boxes around the label that are looked at, in the model's voxels."""

    steps: int = 300
    patch: int = 64
    learning_rate: float = 3e-3
    noise_reward: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1_000_000:
            raise Usage(f"--steps {self.steps}", "is no number of steps", "give 1 or more; 300 to 500 are usual")
        if not 16 <= self.patch <= 512:
            raise Usage(f"--patch {self.patch}", "is no length of a box", "give 16 to 512 voxels; 64 is usual")
        if self.seed < 0:
            raise Usage(f"--seed {self.seed}", "is negative", "use 0 or more")


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model is given of a CT (*s), and where it finds the label (k, rank)."""

    image: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class Learnt:
    """The noise model as an ONNX file, the spread of what it saw, and the figures for the manifest."""

    graph: bytes
    spread: float
    told: dict[str, float]


class Ask(torch.autograd.Function):
    """The bundle's margin (1, 1, *s) for a window (1, 1, *s), and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bundle: Windowed) -> Tensor:
        window = x.detach().cpu().numpy()
        logits = bundle.logits(window)
        ctx.asked = bundle, window, logits
        return torch.from_numpy(bundle.channels.margin(logits[0])[None]).to(x.device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        bundle, window, logits = ctx.asked
        wanted = bundle.channels.cotangent(logits, gradients[0].detach().cpu().numpy())
        return torch.from_numpy(bundle.pulled_back(window, wanted)).to(gradients[0].device), None


def asked(x: Tensor, bundle: Windowed) -> Tensor:
    found: Tensor = Ask.apply(x, bundle)  # type: ignore[no-untyped-call]
    return found


def objective(bundle: Windowed, net: NoiseNet, x: Tensor, noise: Tensor, how: Teaching, spread: float) -> Tensor:
    """The paper's: cross-entropy of the noisy prediction with the clean one, less the reward for noise."""
    with torch.no_grad():
        margin = asked(x, bundle)
    z = net(x, margin)
    low, high = (spread * sigma for sigma in SIGMAS)
    noisy = asked(x + (low + z.sigmoid() * (high - low)) * noise, bundle)
    loss = binary_cross_entropy_with_logits(noisy, (margin > 0).float()) - how.noise_reward * logsigmoid(z).mean()
    return loss


def learn(
    bundle: Windowed, paths: Sequence[Path], how: Teaching, device: str, tell: Tell, place: Place = ALONE
) -> Learnt:
    """`tell` hears of steps done, of how many, and the objective.

    Each process draws patches of its own and all take the mean step, so they learn the same. Raises Usage if no CT
    shows the label or the objective is not finite.
    """
    torch.manual_seed(how.seed)
    chance = np.random.default_rng(how.seed)
    seen = [*_look(bundle, paths)]
    if not seen:
        raise Usage(", ".join(map(str, paths)), f"shows no {bundle.manifest.organ}", "give CTs in which it is found")
    held = max(1, round(HELD_OUT * len(seen))) if len(seen) > 1 else 0
    judged, taught = (seen[:held] or seen), seen[held:]
    side = patch_size(bundle, how.patch)
    some = np.concatenate([_patch(one, side, chance).ravel() for one in taught for _ in range(4)])
    spread = float(some.std()) or 1.0
    net = NoiseNet(bundle.recipe.rank).to(device)
    start = copy.deepcopy(net)
    fixed = [_pair(_patch(judged[k % len(judged)], side, chance), chance, device) for k in range(JUDGED)]
    if place.rank:
        chance = np.random.default_rng([how.seed, place.rank])
    adam = torch.optim.Adam(net.parameters(), how.learning_rate)
    for step in range(how.steps):
        x, noise = _pair(_patch(taught[chance.integers(len(taught))], side, chance), chance, device)
        loss = objective(bundle, net, x, noise, how, spread)
        adam.zero_grad()
        loss.backward()
        mean = place.averaged(loss.detach(), net)
        adam.step()
        if not torch.isfinite(mean):
            raise Usage(str(bundle.folder), f"the objective is not finite after {step} steps", "teach it more slowly")
        tell(step + 1, how.steps, float(mean))
    with torch.no_grad():
        before, after = (
            float(np.mean([objective(bundle, n, x, noise, how, spread) for x, noise in fixed])) for n in (start, net)
        )
    told = {
        "steps": how.steps, "seed": how.seed, "cts": len(taught), "cts_held_out": held,
        "objective_of_distance": round(before, 6), "objective": round(after, 6),
    }  # fmt: skip
    if place.count > 1:
        told["processes"] = place.count
    return Learnt(noise_graph(net.cpu().eval()), spread, told)


def patch_size(bundle: Windowed, longest: int) -> tuple[int, ...]:
    """The window's, shortened to what the net can halve as often as it does."""
    usual = bundle.recipe.window.size or (longest,) * bundle.recipe.rank
    return tuple(min(n, max(step, longest // step * step)) for n, step in zip(usual, bundle.coarsest))


def _look(bundle: Windowed, paths: Sequence[Path]) -> Iterator[Seen]:
    for case in find_cases(list(paths), ReadSettings(modality=bundle.recipe.modality)):
        try:
            ct = case.read().ct
        except CaseRefused:
            continue
        given = given_of(ct, bundle.recipe)
        scores = np.asarray(segment(bundle, given, bundle.manifest.clean_up).scores[:])
        places = np.argwhere(scores > 0)
        if len(places):
            planes = [given.items(some).reshape(-1, *given.shape[1:]) for some in given.steps()]
            yield Seen(np.concatenate(planes), places)


def _patch(seen: Seen, side: tuple[int, ...], chance: np.random.Generator) -> np.ndarray:
    """A box around a voxel of the label, filled up with the image's least value, (*side)."""
    middle = seen.label[chance.integers(len(seen.label))]
    wide = (1,) * (3 - len(side)) + side
    found = np.full(wide, seen.image.min(), np.float32)
    first = [int(m + chance.integers(-n // 4, n // 4 + 1) - n // 2) if n > 1 else int(m) for m, n in zip(middle, wide)]
    there = tuple(slice(max(f, 0), min(f + n, s)) for f, n, s in zip(first, wide, seen.image.shape))
    here = tuple(slice(s.start - f, s.stop - f) for s, f in zip(there, first))
    found[here] = seen.image[there]
    return found.reshape(side)


def _pair(patch: np.ndarray, chance: np.random.Generator, device: str) -> tuple[Tensor, Tensor]:
    noise = chance.standard_normal(patch.shape, np.float32)
    x, drawn = (torch.from_numpy(values[None, None]).to(device) for values in (patch, noise))
    return x, drawn
