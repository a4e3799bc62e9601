"""Input gradient on a model whose gradient is known, and through the registry alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import ORGAN_ABOVE, image_of
from unoise_engine.errors import Usage
from unoise_engine.explanation.input_gradient import InputGradient
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.methods import METHODS, answerable
from unoise_engine.explanation.target import Target
from unoise_engine.models.bundles import load_bundle


class Weighed:
    """score = weights * x: its gradient is the weights times the target, whatever x is."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def gradient(self, x: Any, target: Any) -> Any:
        return (self.weights * target).astype(np.float32)


def test_the_absolute_gradient_of_what_was_found() -> None:
    weights = np.array([[[[1.0, -2], [3, 0]], [[0.5, 0], [-1, 4]]]])  # (1, 2, 2, 2)
    scores = np.array([[[[1, 1], [-1, 1]]], [[[-1, -1], [-1, -1]]]], np.float32)
    x = np.random.default_rng(0).normal(size=(2, 2, 2, 2)).astype(np.float32)
    told: list[float] = []
    model: Any = Weighed(weights)
    maps = InputGradient(draws=3)(model, x, Target(scores), told.append)
    np.testing.assert_allclose(maps[0], np.array([[1.5, 2], [0, 4]]), rtol=1e-6)
    assert not maps[1].any() and sum(told) == pytest.approx(2)


def test_noise_belongs_to_the_item_and_the_seed() -> None:
    """Alone or beside others, an item gets the same map; another seed, another."""

    class Squares:
        def gradient(self, x: Any, target: Any) -> Any:
            return 2 * x * target

    model: Any = Squares()
    x = np.random.default_rng(1).normal(size=(3, 1, 4, 4)).astype(np.float32)
    target = Target(np.ones((3, 1, 4, 4), np.float32))
    together = InputGradient(draws=4)(model, x, target, silent)
    alone = InputGradient(draws=4)(model, x[1:2], Target(target.scores[1:2]), silent)
    np.testing.assert_array_equal(together[1], alone[0])
    assert not np.allclose(together, InputGradient(draws=4, seed=1)(model, x, target, silent))
    clean = InputGradient(noise=0)(model, x, target, silent)
    np.testing.assert_allclose(clean, 2 * np.abs(x[:, 0]), rtol=1e-6)
    many = InputGradient(draws=400, noise=0.05)(model, x, target, silent)
    assert np.abs(many - clean).max() < 0.25 * np.abs(clean).max()


def test_so_many_copies_so_much_noise() -> None:
    given = []

    class Looks:
        def gradient(self, x: Any, target: Any) -> Any:
            given.append(x)
            return x * 0

    looks: Any = Looks()
    x, told = np.zeros((1, 1, 60, 60), np.float32), list[float]()
    x[0, 0, 0, 0] = 20.0
    InputGradient(draws=3, noise=0.25)(looks, x, Target(x), told.append)
    assert len(given) == 3 and told == [pytest.approx(1 / 3)] * 3
    assert np.std(given[0] - x) == pytest.approx(0.25 * 20, rel=0.05) and not np.array_equal(given[0], given[1])
    InputGradient(draws=3, noise=0.0)(looks, x, Target(x), told.append)
    assert len(given) == 4 and np.array_equal(given[3], x)  # without noise one says all
    InputGradient()(looks, x, Target(x - 99), told.append)
    assert len(given) == 4 and told[-1] == 1  # without the label nothing is asked


@pytest.mark.parametrize("good", [{"draws": 1}, {"draws": 1000}, {"noise": 1.0}, {"seed": 0}])
def test_the_ends_of_the_ranges(good: Any) -> None:
    InputGradient(**good)


@pytest.mark.parametrize("wrong", [{"draws": 1001}, {"draws": 0}, {"noise": -0.1}, {"noise": 2.0}, {"seed": -1}])
def test_wrong_parameters(wrong: Any) -> None:
    with pytest.raises(Usage, match=next(iter(wrong))):
        InputGradient(**wrong)


def test_it_is_there_without_being_asked_for_anywhere() -> None:
    assert "gradient" in METHODS and not METHODS["gradient"].chosen


def test_from_the_command_line_to_report_picture_and_maps(
    ct: Any, tiny_bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the test net the score's gradient is the blur kernel around what was found: 0 farther than 2 pixels off."""
    import SimpleITK as sitk

    from unoise_engine.cli.app import app

    assert "gradient" in answerable(load_bundle(tiny_bundle, "cpu"))
    sitk.WriteImage(image_of(ct), str(tmp_path / "ct.nii.gz"))
    words = ["explain", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out"), "--bundle", str(tiny_bundle)]
    app([*words, "--methods", "gradient", "--keep-names", "--progress", "off"], standalone_mode=False)
    (folder,) = (p.parent for p in (tmp_path / "out").glob("*/report.json"))
    report = json.loads((folder / "report.json").read_text())
    assert report["settings"]["methods"] == ["gradient"] and report["settings"]["gradient"]["draws"] == 8
    assert (folder / "overview.png").stat().st_size > 1000 and report["seconds"]["gradient"] > 0
    found, importance = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / report["files"][name])))
        for name in ("segmentation", "importance-gradient")
    )
    assert importance[found > 0].min() > 0 and importance.shape == ct.voxels.shape
    assert importance.max() == pytest.approx(10, rel=0.01)  # gain 10 times a kernel that sums to 1, all of it inside
    shown = found.any(axis=(1, 2))
    assert shown.any() and not importance[~shown].any() and ORGAN_ABOVE > 0
