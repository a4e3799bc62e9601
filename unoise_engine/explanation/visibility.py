"""Dice against what is visible, for anyone's importance maps: the paper's Fig. 3a and what follows from it.

For each map, the most important pixels stay and the rest is hidden (or the other way round, for deletion), the model
segments what is left, and the result is compared with the truth and with the model's own clean prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.hiding import FILLS, SIGMA, Hider
from unoise_engine.explanation.ranking import Threshold, count, pooled_thresholds, ranks
from unoise_engine.explanation.slices import LabelledItem, chance
from unoise_engine.models.segmenter import Predicts

SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CUTS = (0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)  # shares hidden, for deletion
AREAS = (1.0, 2.0, 4.0, 8.0)  # times the area of the organ that the model finds
IMAGES_AT_ONCE, VOXELS_AT_ONCE = 16, 1 << 24  # masked images made at a time: memory stays bounded
RANKINGS = ("image", "pooled")


@dataclass(frozen=True)
class Question:
    """`keep`: the most important pixels stay visible; `hide`: they are hidden and the others stay.

    `amount` is a share of the item, or with the ranking "area" a multiple of the area of the organ found.
    """

    order: str  # keep, hide
    ranking: str  # image, pooled, area
    fill: str  # grey, noise
    amount: float


@dataclass(frozen=True)
class How:
    """What is asked of every map. Shares lie between 0 and 1; the ends are always measured too."""

    shares: tuple[float, ...] = SHARES
    fills: tuple[str, ...] = FILLS
    rankings: tuple[str, ...] = RANKINGS
    cuts: tuple[float, ...] = CUTS
    areas: tuple[float, ...] = AREAS
    draws: int = 2  # of noise
    sigma: float = SIGMA
    seed: int = 0

    def __post_init__(self) -> None:
        for shares in (self.shares, self.cuts):
            if not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
                raise Usage(f"shares {shares}", "must rise and lie between 0 and 1", "correct them")
        if self.draws < 1:
            raise Usage(f"--draws {self.draws}", "is no number of draws", "give at least 1")

    def ends(self, order: str = "keep") -> tuple[float, ...]:
        """The shares kept or hidden, with 0 and 1."""
        return (0.0, *(self.shares if order == "keep" else self.cuts), 1.0)

    def questions(self) -> list[Question]:
        asked = [Question("keep", r, f, s) for r in self.rankings for f in self.fills for s in self.shares]
        if "image" in self.rankings:
            asked += [Question("hide", "image", f, s) for f in self.fills for s in self.cuts]
        asked += [Question(o, "area", "grey", a) for o in ("keep", "hide") for a in self.areas]
        return asked

    def passes(self, maps: int) -> int:
        """Images the model must segment a slice."""
        return 1 + sum(1 if q.fill == "grey" else self.draws for q in self.questions()) * maps + 1 + self.draws


@dataclass(frozen=True)
class Visibility:
    """Answers, one row a map, one column a question, one layer an item (`slices`); means over the draws of noise.

    Dice against the model's own prediction is NaN where that is empty.
    """

    slices: Sequence[LabelledItem]
    names: tuple[str, ...]
    how: How
    questions: Sequence[Question]
    truth: np.ndarray  # (maps, questions, slices) dice against the truth
    own: np.ndarray  # dice against the clean prediction
    found: np.ndarray  # pixels of organ found
    shown: np.ndarray  # share of the item that was visible
    clean: np.ndarray  # (slices,) dice of the clean prediction against the truth
    area: np.ndarray  # (slices,) pixels of the clean prediction
    blank: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(repr=False)  # nothing visible: the same three

    def curve(self, name: str, ranking: str, fill: str, order: str = "keep", against: str = "truth") -> np.ndarray:
        """(slices, shares with both ends): `against` truth, own, found (pixels) or shown (share of the item)."""
        m = self.names.index(name)
        at = [self.questions.index(Question(order, ranking, fill, share)) for share in self.how.ends(order)[1:-1]]
        last, first = self._ends(fill, against)
        if order == "hide":
            first, last = last, first
        return np.concatenate([first[None], getattr(self, against)[m, at], last[None]]).T

    def at_area(self, name: str, order: str, times: float, against: str = "own") -> np.ndarray:
        """(slices,)"""
        question = Question(order, "area", "grey", times)
        return getattr(self, against)[self.names.index(name), self.questions.index(question)]

    def _ends(self, fill: str, against: str) -> tuple[np.ndarray, np.ndarray]:
        """With all visible, and with nothing."""
        ones = np.ones(len(self.slices))
        if against == "truth":
            return self.clean, self.blank[fill][0]
        if against == "own":
            return np.where(self.area > 0, 1.0, np.nan), self.blank[fill][1]
        if against == "found":
            return self.area.astype(float), self.blank[fill][2]
        return ones, 0 * ones


def evaluate_maps(
    model: Predicts,
    slices: Sequence[LabelledItem],
    maps: Mapping[str, Sequence[np.ndarray]],
    how: How | None = None,
    advance: Callable[[float], None] = lambda amount: None,
    pool: np.ndarray | None = None,
) -> Visibility:
    """Measures every map (name -> one (*s) an item; larger is more important) on every slice or block.

    Pooled thresholds are taken over the slices that show organ, or over `pool` (slices,) bool. `advance` is called
    with the number of slices done. The same arguments give the same answers.
    """
    how = how or How()
    for name, some in maps.items():
        if len(some) != len(slices) or any(m.shape != s.organ.shape for m, s in zip(some, slices)):
            raise ValueError(f"maps of {name} do not fit the slices")
    names, questions = tuple(maps), how.questions()
    pooled = _pooled(slices, maps, how, pool)
    shape = (len(names), len(questions), len(slices))
    truth, own, found, shown = (np.full(shape, np.nan) for _ in range(4))
    clean, area = np.zeros(len(slices)), np.zeros(len(slices), int)
    blank = {fill: (np.zeros(len(slices)), np.zeros(len(slices)), np.zeros(len(slices))) for fill in how.fills}
    for s, one in enumerate(slices):
        judge = _Judge(model, one, how)
        clean[s], area[s] = judge.clean, judge.own.sum()
        for fill in how.fills:
            for store, value in zip(blank[fill], judge.ask(np.zeros((1, *one.organ.shape), bool), fill)):
                store[s] = value[0]
        tie = chance(how.seed, one, "ties").random(one.organ.shape, np.float32)
        for m, name in enumerate(names):
            placed = ranks(maps[name][s], tie)
            for fill in how.fills:
                at = [q for q, question in enumerate(questions) if question.fill == fill]
                visible = [_visible(questions[q], placed, maps[name][s], tie, judge.own, pooled[name]) for q in at]
                step = judge.at_once
                for start in range(0, len(at), step):
                    masks, here = np.stack(visible[start : start + step]), at[start : start + step]
                    shown[m, here, s] = masks.reshape(len(masks), -1).mean(axis=1)
                    truth[m, here, s], own[m, here, s], found[m, here, s] = judge.ask(masks, fill)
            advance(1 / len(names))
    return Visibility(slices, names, how, questions, truth, own, found, shown, clean, area, blank)


def _pooled(
    slices: Sequence[LabelledItem], maps: Mapping[str, Sequence[np.ndarray]], how: How, pool: np.ndarray | None
) -> dict[str, dict[float, Threshold]]:
    if "pooled" not in how.rankings:
        return {name: {} for name in maps}
    chosen = np.array([one.organ.any() for one in slices]) if pool is None else pool
    if not chosen.any():
        chosen = np.ones(len(slices), bool)
    return {
        name: dict(zip(how.shares, pooled_thresholds([m for m, c in zip(some, chosen) if c], how.shares)))
        for name, some in maps.items()
    }


def _visible(
    question: Question,
    placed: np.ndarray,
    importance: np.ndarray,
    tie: np.ndarray,
    own: np.ndarray,
    pooled: Mapping[float, Threshold],
) -> np.ndarray:
    if question.ranking == "pooled":
        return pooled[question.amount].visible(importance, tie)
    if question.ranking == "area":
        best = placed < count(question.amount, int(own.sum()))
    else:
        best = placed < count(question.amount, placed.size)
    return best if question.order == "keep" else ~best


class _Judge:
    """One item: segments its masked images and compares."""

    def __init__(self, model: Predicts, one: LabelledItem, how: How):
        self.model, self.organ = model, one.organ
        self.hider = Hider(one, how.seed, how.draws, how.sigma)
        self.own = model.predict(one.image[None])[0, 0] > 0
        self.clean = float(_dice(self.own[None], self.organ)[0])
        self.at_once = max(1, min(IMAGES_AT_ONCE, VOXELS_AT_ONCE // one.organ.size))

    def ask(self, visible: np.ndarray, fill: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks (n, *s) -> dice against the truth, against the own prediction, pixels found; each (n,)."""
        n, per = len(visible), self.hider.variants(fill)
        answers = [
            self._compare(self.model.predict(self.hider.hide(visible[some], fill))) for some in self._some(n, per)
        ]
        truth, own, found = (np.concatenate(parts).reshape(n, per).mean(axis=1) for parts in zip(*answers))
        return truth, own, found

    def _compare(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen = logits[:, 0] > 0
        own = _dice(seen, self.own) if self.own.any() else np.full(len(seen), np.nan)
        return _dice(seen, self.organ), own, _inside(seen).astype(float)

    def _some(self, n: int, per: int) -> Iterator[slice]:
        step = max(1, self.at_once // per)
        for start in range(0, n, step):
            yield slice(start, start + step)


def _dice(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n, *s) and (*s) bool -> (n,); 1 where both are empty."""
    shared = _inside(masks & reference)
    total = _inside(masks) + reference.sum()
    return np.where(total == 0, 1.0, 2 * shared / np.maximum(total, 1))


def _inside(masks: np.ndarray) -> np.ndarray:
    """(n, *s) bool -> (n,): how many voxels each has."""
    found: np.ndarray = masks.reshape(len(masks), -1).sum(axis=1)
    return found
