"""Training batches without end, the same for the same seed and step: so a resumed run sees what it would have seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from unoise_engine.training.cases import Case
from unoise_engine.training.recipes import Draw

MARGIN = 1.25  # a crop is cut this much larger, so that turning and shrinking it bring in image and not air


class Batch(TypedDict):
    """Cuts of slices, wider than the crop, so that turning and shifting them needs nothing from outside."""

    image: Tensor  # (n, 1, m, m) uint8, 0 .. 255 = the window; m = cut_size(crop)
    organ: Tensor  # (n, c, m, m) bool: the organ, then the other structures the net learns
    known: Tensor  # (n, c) bool: which of them the labels of that slice tell
    names: list[str]  # "case slice 17"


def cut_size(crop: int) -> int:
    """Pixels a side of the cut that a crop of `crop` pixels is taken from; even."""
    return 2 * round(crop * MARGIN / 2)


class Epoch:
    """The slices of one pass over the data: all with organ, and ``empty_share`` of the whole without."""

    def __init__(self, cases: Sequence[Case], draw: Draw):
        self.organ = [(c, int(k)) for c, case in enumerate(cases) for k in case.with_organ]
        self.empty = [(c, int(k)) for c, case in enumerate(cases) for k in case.without_organ]
        wanted = round(len(self.organ) * draw.empty_share / (1 - draw.empty_share))
        self.n_empty = min(wanted, len(self.empty))

    def __len__(self) -> int:
        return len(self.organ) + self.n_empty

    def order(self, seed: int, epoch: int) -> list[tuple[int, int]]:
        """(case, slice) in random order, other empty slices in every epoch."""
        random = np.random.default_rng((seed, epoch))
        empty = [self.empty[i] for i in random.choice(len(self.empty), self.n_empty, replace=False)]
        both = self.organ + empty
        return [both[i] for i in random.permutation(len(both))]


class Mixture:
    """The k-th slice of an endless training set: each source in turn by its share, each in passes of its own."""

    PERIOD = 120  # slices after which the order of the sources repeats

    def __init__(self, cases: Sequence[Case], draw: Draw, shares: Sequence[float], seed: int):
        sources = sorted({case.source for case in cases})
        self.numbers = [[c for c, case in enumerate(cases) if case.source == source] for source in sources]
        self.epochs = [Epoch([cases[c] for c in numbers], draw) for numbers in self.numbers]
        weights = np.array([shares[source] for source in sources] if shares else [len(e) for e in self.epochs], float)
        due = np.cumsum(weights / weights.sum())
        places = (np.arange(self.PERIOD) * (np.sqrt(5) - 1) / 2) % 1  # golden steps: every stretch has its shares
        self.pattern = np.searchsorted(due, places, side="right").clip(max=len(sources) - 1)
        self.before = np.stack([np.cumsum(self.pattern == s) - (self.pattern == s) for s in range(len(sources))])
        self.each = np.bincount(self.pattern, minlength=len(sources))
        self.seed, self.orders = seed, [{} for _ in sources]  # type: ignore[var-annotated]

    def __getitem__(self, k: int) -> tuple[int, int]:
        """(case, slice)"""
        round_, place = divmod(k, self.PERIOD)
        source = int(self.pattern[place])
        drawn = round_ * int(self.each[source]) + int(self.before[source, place])
        turn, place = divmod(drawn, len(self.epochs[source]))
        if turn not in self.orders[source]:
            self.orders[source] = {turn: self.epochs[source].order(self.seed, turn)}
        case, number = self.orders[source][turn][place]
        return self.numbers[source][case], number


class Stream(IterableDataset[Batch]):
    """Batches from a step on: `step` is asked when a round starts. Each process of many draws its own share."""

    def __init__(
        self, cases: Sequence[Case], draw: Draw, seed: int, step: Callable[[], int], shares: Sequence[float] = ()
    ):
        self.cases, self.draw, self.seed, self.step = cases, draw, seed, step
        self.mixture = Mixture(cases, draw, shares, seed)

    def __iter__(self) -> Iterator[Batch]:
        rank, world = process()
        step = self.step()
        while True:
            first = (step * world + rank) * self.draw.batch
            batch = [self.mixture[first + i] for i in range(self.draw.batch)]
            yield self.cut(batch, np.random.default_rng((self.seed, step, rank)))
            step += 1

    def cut(self, batch: Sequence[tuple[int, int]], random: np.random.Generator) -> Batch:
        """Crops of equal size; air (0) where a crop reaches beyond its slice."""
        size = cut_size(self.draw.crop)
        image = np.zeros((len(batch), 1, size, size), np.uint8)
        structures = 1 + len(self.cases[0].known)
        organ = np.zeros((len(batch), structures, size, size), bool)
        known = np.ones((len(batch), structures), bool)
        for i, (c, k) in enumerate(batch):
            case = self.cases[c]
            here, there = self.window(case, k, size, random)
            image[i, 0][here] = case.image[k][there]
            organ[i, 0][here] = case.organ[k][there]
            known[i, 1:] = case.known
            if case.others is not None:
                for s in range(1, structures):
                    organ[i, s][here] = case.others[k][there] == s
        names = [f"{self.cases[c].name} slice {k + 1}" for c, k in batch]
        return {
            "image": torch.from_numpy(image),
            "organ": torch.from_numpy(organ),
            "known": torch.from_numpy(known),
            "names": names,
        }

    def window(
        self, case: Case, k: int, size: int, random: np.random.Generator
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where a crop lands: slices into the crop and into the image, (rows, columns) each."""
        aimed = random.random() < self.draw.organ_crops
        here, there = [], []
        for axis, n in enumerate(case.image.shape[1:]):
            reach = self.draw.crop // 2  # a crop's middle stays so near the centre that the centre stays inside
            centre = case.centres[k, axis]
            low, high = (centre - reach * 0.8, centre + reach * 0.8) if aimed else (0, n)
            edge = min(self.draw.crop / 2, n / 2)  # the crop itself does not leave the slice if it fits
            middle = np.clip(random.uniform(low, high), edge, n - edge)
            start = round(middle - size / 2)
            a, b = max(0, start), min(n, start + size)
            here.append(slice(a - start, b - start))
            there.append(slice(a, b))
        return tuple(here), tuple(there)


def process() -> tuple[int, int]:
    """(rank, number) of the processes that train together."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)
