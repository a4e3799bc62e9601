"""A bundle of a model from elsewhere: large images window by window, one of its labels at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from unoise_engine.errors import ModelFault
from unoise_engine.models.answers import finite
from unoise_engine.models.enlarge import enlarged
from unoise_engine.models.kept import Kept
from unoise_engine.models.labels import Channels
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.segmenter import GRADCAM, GRADIENT, LABELS, NEAR, NOISE, Region, occluded_items
from unoise_engine.models.session import Bundle
from unoise_engine.models.windows import Box, Tiling, stitched, touching

KEPT_BYTES = 1 << 30  # of windows' answers, kept while patches of one item are hidden


class Windowed(Bundle):
    """A `segmenter.Segmenter` whose score is the margin of the chosen label over all others, of stitched logits.

    An item, a block (1, d, h, w) or a plane (1, h, w), has any size. Maps are made in the windows that touch what is
    asked about. `advance` hears of the share of an item that a pass has done.
    """

    recipe: Preparation
    _last: Known | None = None

    heard: Callable[[float], None] | None = None

    def advance(self, share: float) -> None:
        """The share of an item that was done, told to whoever set `heard`."""
        if self.heard is not None:
            self.heard(share)

    @property
    def channels(self) -> Channels:
        return Channels.of(self.manifest)

    @property
    def one_pass(self) -> bool:
        return False

    @property
    def answers(self) -> frozenset[str]:
        if self._answers is None:
            asked = {
                GRADCAM: self._can("gradcam"),
                GRADIENT: self._can("reverse"),
                LABELS: len(self.manifest.labels) > len(self.manifest.chosen or "1"),
            }
            noise = (kind for kind, stem in self.manifest.noise_models.items() if self._knows(stem))
            self._answers = frozenset(name for name, there in asked.items() if there).union(noise)
        return self._answers

    def _knows(self, noise_model: str) -> bool:
        """Whether that noise model was taught for the label that is asked about."""
        told = self.manifest.architecture.get(noise_model)
        return isinstance(told, dict) and told.get("for", "") == self.manifest.organ

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(k, 1, *s) -> margins (k, 1, *s); > 0 means the label."""
        return self._stitched(x, self.channels.margin)

    def predict_and_keep(self, x: np.ndarray, kept: Kept, first: int) -> np.ndarray:
        """The same; what all channels say of the items' planes, counted on from `first`, is kept."""
        found = []
        for k, one in enumerate(x):
            lines: list[np.ndarray] = []
            tap = kept.take if one.ndim == 4 else lambda number, logits, lines=lines: lines.append(logits)
            found.append(stitched(self._tiling(one), one, self.logits, self.channels.margin, self.advance, tap))
            if lines:
                kept.take(first + k, np.stack(lines, axis=1))
        return np.stack(found)

    def numbers(self, x: np.ndarray) -> np.ndarray:
        return self._stitched(x, lambda logits: self.channels.numbers(logits)[None].astype(np.float32)).astype(np.uint8)

    def _stitched(self, x: np.ndarray, finish: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        found = [stitched(self._tiling(one), one, self.logits, finish, self.advance) for one in x]
        return np.stack(found) if found else np.zeros(x.shape, np.float32)

    def noise_logits(self, x: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
        """Window by window, told the margin found by the whole; averaged as scores are."""
        given = x if scores is None else np.concatenate([x, scores], axis=1)
        model, channels = self.noise_model(NOISE if scores is None else NEAR), x.shape[1]

        def ask(window: np.ndarray) -> np.ndarray:
            told = {} if scores is None else {"logits": window[:, channels:]}
            return self._run(model, {"slices": window[:, :channels]} | told, ["noise_logits"])[0]

        found = [stitched(self._tiling(one), one, ask, lambda z: z, self.advance) for one in given]
        return np.stack(found) if found else np.zeros((len(x), 1, *x.shape[2:]), np.float32)

    def gradcam(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Of each window that touches the target, for the sum of its margins there; averaged by the windows' weights,
        windows without target counting as zero."""
        maps: list[np.ndarray] = []
        for one, wanted in zip(x, target):
            tiling = self._tiling(one)
            padded, total = tiling.pad(one), np.zeros((1, *tiling.padded), np.float32)
            asked = tiling.embed(wanted, dtype=bool)
            for box in self._asked(tiling, asked):
                window = tiling.given(padded, box)
                coarse = self._run("gradcam", self._feeds(window, asked[(slice(None), *box)]), ["gradcam"])[0]
                whole = enlarged(coarse, window.shape[2:])
                inside = tuple(slice(m, n - m) for m, n in zip(tiling.margin, window.shape[2:]))
                total[(slice(None), *box)] += whole[0][(slice(None), *inside)] * tiling.weights
            tiling.average(total)
            maps.append(tiling.unpad(total))
        return maps[0][None] if len(maps) == 1 else np.array(maps, np.float32).reshape(len(x), 1, *x.shape[2:])

    def gradient(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Of sum(target * the windows' margins, averaged by their weights)."""
        maps = np.zeros(x.shape, np.float32)
        for one, wanted, found in zip(x, target, maps):
            tiling = self._tiling(one)
            padded = tiling.pad(one)
            total = np.zeros_like(padded)
            asked = tiling.embed(wanted)
            tiling.average(asked)
            for box in self._asked(tiling, asked):
                seen = tiling.seen(box)
                feeds = self._feeds(tiling.given(padded, box), asked[(slice(None), *box)] * tiling.weights)
                total[(slice(None), *seen)] += self._run("reverse", feeds, ["gradient"])[0][0]
            found[:] = tiling.unpad(tiling.without_margin(total))
        return maps

    def occluded(
        self, image: np.ndarray, places: np.ndarray, patch: int, fill: float, region: Region | None = None
    ) -> np.ndarray:
        """Only windows that hold some of a patch, and reach into the region, are asked again."""
        hidden = occluded_items(image, places, patch, fill)
        boxes = [tuple(slice(int(k), int(k) + patch) for k in place) for place in places]
        return np.stack([self._again(image, one, box, region) for one, box in zip(hidden, boxes)])

    def reach(self, region: Region, size: tuple[int, ...]) -> Region:
        """The part of an item of that size of which something in the region can depend: all windows that touch it."""
        tiling = Tiling(self.recipe.window, size)
        boxes = [*touching(tiling.boxes(), tiling.padded_box(region))]
        found = []
        for axis, (b, m, n) in enumerate(zip(tiling.before, tiling.margin, size)):
            low = min(box[axis].start for box in boxes) - b - m
            high = max(box[axis].stop for box in boxes) - b + m
            found.append(slice(max(low, 0), min(high, n)))
        return tuple(found)

    def replaced(self, image: np.ndarray, other: np.ndarray, changed: Region, region: Region | None) -> np.ndarray:
        """Scores (1, *s) of an item (c, *s) that differs from `image` within the box `changed` alone."""
        return self._again(image, other, changed, region)

    def _again(self, image: np.ndarray, other: np.ndarray, changed: Region, region: Region | None) -> np.ndarray:
        tiling, known = self._tiling(image), self._known(image, region)
        region = known.region
        seen, padded = tiling.pad(other), known.logits.copy()
        for box in touching(known.boxes, tiling.padded_box(changed, margin=True)):
            inside, part = common(box, region), within(common(box, region), box)
            old = known.parts.get(_name(box))
            if old is None:
                old = self.logits(tiling.given(known.image, box))[0][(slice(None), *part)]
            new = self.logits(tiling.given(seen, box))[0][(slice(None), *part)]
            padded[(slice(None), *within(inside, region))] += (new - old) * tiling.weights[part]
        scores = known.scores.copy()
        margins = self.channels.margin(padded / known.share)
        scores[(slice(None), *region)] = margins
        return tiling.unpad(scores)

    def _known(self, image: np.ndarray, region: Region | None) -> Known:
        """What is known of an item before anything of it is hidden; that of the last item is kept."""
        last = self._last
        if last is not None and last.is_of(image, region):
            return last
        tiling = self._tiling(image)
        box = tiling.padded_box(region) if region else tuple(slice(0, n) for n in tiling.padded)
        known = Known(image.copy(), region, tiling.pad(image), box, [*touching(tiling.boxes(), box)], {})
        share = np.zeros([s.stop - s.start for s in box], np.float32)
        logits = np.zeros((self.channels.count, *share.shape), np.float32)
        kept = 0
        for one in known.boxes:
            inside = common(one, box)
            part = within(inside, one)
            answer = self.logits(tiling.given(known.image, one))[0][(slice(None), *part)]
            logits[(slice(None), *within(inside, box))] += answer * tiling.weights[part]
            share[within(inside, box)] += tiling.weights[part]
            if (kept := kept + answer.nbytes) <= KEPT_BYTES:
                known.parts[_name(one)] = answer.copy()
        known.logits, known.share = logits, share
        whole = np.full((1, *tiling.padded), -1, np.float32)
        if region:
            whole[:] = tiling.embed(self.predict(image[None])[0], -1)
        whole[(slice(None), *box)] = self.channels.margin(logits / share)
        known.scores = whole
        self._last = known
        return known

    def forget(self) -> None:
        super().forget()
        self._last = None

    def _tiling(self, image: np.ndarray) -> Tiling:
        return Tiling(self.recipe.window, image.shape[1:])

    def _asked(self, tiling: Tiling, asked: np.ndarray) -> list[Box]:
        """Windows that hold some of what is asked about."""
        return [box for box in tiling.boxes() if asked[(slice(None), *box)].any()]

    def logits(self, window: np.ndarray) -> np.ndarray:
        """All channels (n, k, *s) for windows (n, 1, *s)."""
        return self._run("utility", {"slices": window}, ["logits"])[0]

    @property
    def coarsest(self) -> tuple[int, ...]:
        """Voxels that one of the deepest block spans along each axis: sides of windows are multiples of it. Those of
        the whole window where the block cannot be told."""
        size = self.recipe.window.size or (64,) * self.recipe.rank
        if GRADCAM not in self.answers:
            return size
        window = np.zeros((1, 1, *size), np.float32)
        coarse = self._run("gradcam", self._feeds(window, np.ones((1, *size), np.float32)), ["gradcam"])[0]
        return tuple(-(-n // few) for n, few in zip(size, coarse.shape[2:]))

    def pulled_back(self, window: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        """d sum(cotangent * logits) / d window, (n, 1, *s)."""
        return self._run("reverse", {"slices": window, "target": cotangent}, ["gradient"])[0]

    def _feeds(self, window: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
        logits = self.logits(window)
        return {"slices": window, "target": self.channels.cotangent(logits, target[None].astype(np.float32))}

    def _can(self, model: str) -> bool:
        try:
            return bool(self._made(model, self._content("utility")))
        except ValueError:
            return False

    def _checked(self, path: Path, name: str, answer: np.ndarray, items: tuple[int, ...]) -> np.ndarray:
        margin = self.recipe.window.margin or (0,) * len(items[2:])
        core = tuple(n - 2 * m for n, m in zip(items[2:], margin))
        wanted: tuple[int, ...] = {
            "logits": (items[0], self.channels.count, *core),
            "gradient": items,
            "noise_logits": (items[0], 1, *items[2:]),
        }.get(name, (items[0], 1, *answer.shape[2:]))
        if answer.shape != wanted or answer.ndim != len(items) or answer.dtype.kind != "f":
            what = f"{name} is {answer.dtype} {answer.shape} instead of float32 {wanted}"
            raise ModelFault(path, f"answers in the wrong form: {what}", "do not use this model")
        return finite(path, name, answer.astype(np.float32, copy=False))


class Known:
    """An item's answers in a region, before anything of it is hidden."""

    def __init__(
        self,
        item: np.ndarray,
        asked: Region | None,
        image: np.ndarray,
        region: Box,
        boxes: list[Box],
        parts: dict[tuple[int, ...], np.ndarray],
    ):
        self.item, self.asked, self.image, self.region = item, asked, image, region
        self.boxes, self.parts = boxes, parts
        self.logits: np.ndarray = np.zeros(0, np.float32)
        self.share: np.ndarray = self.logits
        self.scores: np.ndarray = self.logits

    def is_of(self, image: np.ndarray, region: Region | None) -> bool:
        return self.asked == region and np.array_equal(self.item, image)


def common(one: Box, other: Box) -> Box:
    return tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other))


def within(inner: Box, outer: Box) -> Box:
    """A box counted from another's first voxel."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer))


def _name(box: Box) -> tuple[int, ...]:
    return tuple(s.start for s in box)
