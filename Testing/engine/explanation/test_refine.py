"""U-Noise made for one item, on models whose answer is known: the slope, what it finds, and what ends it early."""

import json
from typing import Any

import numpy as np
import pytest

from unoise_engine.cli.app import app
from unoise_engine.errors import Usage
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.methods import METHODS, answerable
from unoise_engine.explanation.objective import Objective
from unoise_engine.explanation.refine import LEVELS, PASSES_A_SLOPE, Grid, RefinedUNoise
from unoise_engine.explanation.target import Target
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.segmenter import GRADIENT, NOISE
from unoise_engine.progress import Enough


class Needs:
    """score = gain * (mean of x over `where` - 0.5) wherever x is asked about: the rest of an item does not matter."""

    answers = frozenset({GRADIENT})

    def __init__(self, where: Any, gain: float = 8.0) -> None:
        self.where, self.gain = where, gain

    def predict(self, x: Any) -> Any:
        said = self.gain * (x[:, :, self.where].mean(axis=(1, 2)) - 0.5)
        return np.broadcast_to(said.reshape(-1, *(1,) * (x.ndim - 1)), (len(x), 1, *x.shape[2:])).astype(np.float32)

    def gradient(self, x: Any, target: Any) -> Any:
        total = target.sum(axis=tuple(range(1, x.ndim)))
        made = np.zeros_like(x)
        made[:, :, self.where] = (total * self.gain / (x.shape[1] * self.where.sum()))[:, None, None]
        return made


class Taught(Needs):
    """It has U-Noise, too, which learnt the wrong place."""

    answers = frozenset({GRADIENT, NOISE})

    def noise_logits(self, x: Any, scores: Any = None) -> Any:
        return np.where(self.where, 3.0, -3.0)[None, None].astype(np.float32)


def world(rank: int, channels: int = 1) -> Any:
    """An item of ones, whose middle is all that counts."""
    where = np.zeros((12, 16, 12)[:rank], bool)
    where[(slice(4, 8),) * rank] = True
    return where, np.ones((1, channels, *where.shape), np.float32)


@pytest.mark.parametrize("rank", [2, 3])
def test_the_slope_is_what_a_small_step_changes(rank: int) -> None:
    where, x = world(rank, channels=2)
    aim = Objective(Needs(where), x[0], where, 0.1, 0.5, 2.0)  # type: ignore[arg-type]
    chance = np.random.default_rng(0)
    noise, z = aim.noise(chance, 3), chance.normal(size=where.shape)
    slope = aim.slope(z, noise)
    for place in ((5,) * rank, (0,) * rank):
        step = np.zeros_like(z)
        step[place] = 0.03
        change = (aim.value(z + step, noise) - aim.value(z - step, noise)) / 0.06
        assert slope[place] == pytest.approx(change, rel=2e-2, abs=1e-6)
    assert np.abs(slope[where]).max() > 1e-4


def test_the_loss_is_the_papers() -> None:
    where, x = world(2)
    aim = Objective(Needs(where), x[0], where, 0.25, 1.0, 5.0)  # type: ignore[arg-type]
    z = np.full(where.shape, 0.4)
    nothing = np.zeros((1, *where.shape), np.float32)  # noise of nothing leaves the scores: 4 everywhere
    entropy = np.log1p(np.exp(-4)) + 4 * (1 - where.mean())
    assert aim.value(z, nothing) == pytest.approx(entropy + 0.25 * np.log1p(np.exp(-0.4)), rel=1e-5)
    pair = aim.noise(np.random.default_rng(1), 4)
    assert np.array_equal(pair[0], -pair[1]) and np.array_equal(pair[2], -pair[3]) and pair.std() > 0.5


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("kind", [Needs, Taught])
def test_what_the_model_needs_stays_quiet(rank: int, kind: Any) -> None:
    """From nothing, and from a map that learnt the opposite: that one is turned round."""
    where, x = world(rank)
    model = kind(where)
    target = Target(model.predict(x))
    method = RefinedUNoise(steps=80, cell=2, strength=0.1, seed=3)
    first, *_, last = method.looks(model, x, target)
    assert last.loss < 0.7 * first.loss and last.step == 80
    made = method(model, x, target, silent)[0]
    assert made.dtype == np.float32 and made.shape == where.shape
    assert made[where].mean() > made[~where].mean() + 1
    order = np.argsort(made, axis=None)[::-1][: where.sum()]
    if kind is Needs:
        assert where.ravel()[order].mean() > 0.8  # nearly all of what is most important is what the model needs
    assert np.array_equal(made, method(model, x, target, silent)[0])  # the seed's


def test_it_starts_from_what_was_learnt_or_from_the_best_even_map() -> None:
    where, x = world(2)
    taught: Any = Taught(where)
    target = Target(taught.predict(x))
    first = next(RefinedUNoise().looks(taught, x, target))
    assert first.step == 0 and np.array_equal(first.z, np.where(where, 3.0, -3.0))
    even = next(RefinedUNoise(learnt=False).looks(taught, x, target))
    assert np.ptp(even.z) == 0 and even.z.flat[0] in LEVELS and even.loss < first.loss


def test_an_item_without_the_label_gets_nothing_and_others_do_not_change() -> None:
    where, x = world(2)
    model: Any = Needs(where)
    both = np.concatenate([x, 0 * x])
    scores = model.predict(both)
    told: list[float] = []
    method = RefinedUNoise(steps=12, cell=3)
    maps = method(model, both, Target(scores), lambda amount, note="": told.append(amount))
    assert not maps[1].any() and maps[0].any() and sum(told) == pytest.approx(2)
    assert np.array_equal(maps[0], method(model, x, Target(scores[:1]), silent)[0])


def test_whoever_watches_hears_the_loss_and_may_stop() -> None:
    """Then the last map stays, and further items get the map to begin with."""
    where, x = world(2)
    model: Any = Taught(where)
    both = np.concatenate([x, x + 0.1])
    notes: list[str] = []

    def advance(amount: float, note: str = "") -> None:
        notes.append(note)
        if "after 20 steps" in note:
            raise Enough

    maps = RefinedUNoise(steps=60, cell=2)(model, both, Target(model.predict(both)), advance)
    assert notes[0].startswith("loss ") and "after 0 steps" in notes[0]
    assert [float(note.split()[1]) for note in notes[:3]] == sorted(
        (float(n.split()[1]) for n in notes[:3]), reverse=True
    )
    wanted = [look.z for look in RefinedUNoise(steps=60, cell=2).looks(model, x, Target(model.predict(x)))][2]
    assert np.array_equal(maps[0], -wanted.astype(np.float32))
    assert np.array_equal(maps[1], np.where(where, -3, 3))


@pytest.mark.parametrize("fault", ["backwards", "nan"])
def test_what_runs_away_is_stopped_and_the_best_kept(fault: str) -> None:
    where, x = world(2)

    class Astray(Taught):
        """Its gradient leads up, or nowhere."""

        def noise_logits(self, x: Any, scores: Any = None) -> Any:
            return np.where(self.where, -5.0, 4.0)[None, None].astype(np.float32)

        def gradient(self, x: Any, target: Any) -> Any:
            return super().gradient(x, target) * (-400 if fault == "backwards" else np.nan)

    model: Any = Astray(where, gain=30.0)
    looks = [*RefinedUNoise(steps=200, cell=2, strength=0.01).looks(model, x, Target(model.predict(x)))]
    assert looks[-1].step < 200
    made = RefinedUNoise(steps=200, cell=2, strength=0.01)(model, x, Target(model.predict(x)), silent)[0]
    best = min(looks, key=lambda look: look.loss)
    assert np.array_equal(made, -best.z.astype(np.float32)) and np.isfinite(made).all()


def test_a_grids_transpose() -> None:
    grid = Grid.over((7, 10), 4)
    few, many = np.random.default_rng(0).normal(size=grid.shape), np.random.default_rng(1).normal(size=(7, 10))
    assert grid.shape == (2, 2)
    assert (grid.spread(few) * many).sum() == pytest.approx((few * grid.summed(many)).sum())
    np.testing.assert_allclose(grid.spread(np.ones((2, 2))), 1)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"draws": 0}, {"cell": 0}, {"strength": -1}, {"seed": -1}, {"floor": 1.0}, {"sigma_max": 101.0}],
)
def test_settings_that_mean_nothing(wrong: Any) -> None:
    with pytest.raises(Usage):
        RefinedUNoise(**wrong)


def test_it_is_one_of_the_methods_and_refines_a_bundles_map(tiny_bundle: Any) -> None:
    """The bundle finds what is bright; its U-Noise is told so. Refined, the loss is lower."""
    assert "unoise-refined" in METHODS and not METHODS["unoise-refined"].chosen
    bundle = load_bundle(tiny_bundle, "cpu")
    assert "unoise-refined" in answerable(bundle)
    x = np.zeros((1, 1, 24, 32), np.float32)
    x[0, 0, 6:18, 8:20] = 3
    target = Target(bundle.predict(x))
    looks = [*RefinedUNoise(steps=30).looks(bundle, x, target)]
    assert looks[-1].loss < looks[0].loss
    np.testing.assert_allclose(looks[0].z, bundle.noise_logits(x)[0, 0])


def test_the_command_lines_option(ct_file: Any, tmp_path: Any, tiny_bundle: Any) -> None:
    out = tmp_path / "out"
    words = ["explain", str(ct_file), "-o", str(out), "--bundle", str(tiny_bundle), "--refine", "11"]
    app([*words, "--slices", "4:6", "--keep-names", "--progress", "off"], standalone_mode=False)
    (path,) = out.glob("*/report.json")
    report = json.loads(path.read_text())
    assert report["settings"]["methods"] == ["unoise-refined"]
    assert report["settings"]["unoise-refined"]["steps"] == 11
    assert (path.parent / report["files"]["importance-unoise-refined"]).stat().st_size > 100


def test_it_says_beforehand_about_how_many_passes_it_takes() -> None:
    """Counted on a model that counts; a gradient holds the prediction that it starts from."""
    where, x = world(2)

    class Counts(Needs):
        passes = 0.0

        def predict(self, items: Any) -> Any:
            self.passes += len(items)
            return super().predict(items)

        def gradient(self, items: Any, target: Any) -> Any:
            self.passes += (PASSES_A_SLOPE - 1) * len(items)
            return super().gradient(items, target)

    for steps, draws in ((10, 2), (25, 4)):
        model: Any = Counts(where)
        method = RefinedUNoise(steps=steps, draws=draws, cell=2)
        target = Target(Needs(where).predict(x))
        looks = [*method.looks(model, x, target)]
        assert looks[-1].step == steps
        assert method.places(*where.shape) == pytest.approx(model.passes, rel=0.02)


def test_a_stop_between_looks_keeps_the_best_so_far_and_each_step_is_told() -> None:
    where, x = world(2)
    model: Any = Needs(where)
    shares: list[float] = []
    method = RefinedUNoise(steps=20, cell=2)
    method(model, x, Target(model.predict(x)), lambda share, note="": shares.append(share))
    assert len([share for share in shares if share > 0]) == 20 and sum(shares) == pytest.approx(1)
