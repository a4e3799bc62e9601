from typing import Any

import numpy as np
import pytest

from unoise_engine.lab.benchmark.adaptive import adaptive_apart
from unoise_engine.lab.benchmark.floor import peak_gflops
from unoise_engine.lab.benchmark.subject import Subject, framed
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.profile import counted, profiled


def test_work_is_counted_from_the_shapes_that_ran(tiny_bundle: Any) -> None:
    """A 5 x 5 mean: 25 multiply-adds a pixel, two operations each."""
    bundle = load_bundle(tiny_bundle, "cpu", 1)
    for shape in ((1, 1, 16, 24), (3, 1, 40, 8)):
        assert counted(bundle, "unoise", {"slices": np.ones(shape, np.float32)}) == 2 * 25 * np.prod(shape)


def test_a_profile_names_the_nodes_and_their_seconds(tiny_bundle: Any) -> None:
    nodes = profiled(load_bundle(tiny_bundle, "cpu", 1), "unoise", {"slices": np.ones((1, 1, 64, 64), np.float32)}, 3)
    assert {"Conv", "Sub"} <= {node.op for node in nodes} or {"Conv"} == {node.op for node in nodes}
    assert all(node.seconds >= 0 for node in nodes) and nodes[0].seconds == max(node.seconds for node in nodes) > 0


def test_a_peak_is_more_than_any_interpreter_does() -> None:
    assert peak_gflops(1) > 0.2


@pytest.mark.parametrize(
    ("side", "middle", "rows"), [(4, None, [2, 3, 4, 5]), (4, (0, 0), [0, 1, 2, 3]), (4, (7, 7), [4, 5, 6, 7])]
)
def test_a_part_around_the_middle(side: Any, middle: Any, rows: Any) -> None:
    image = np.arange(8)[:, None] * np.ones((1, 8))
    assert framed(image, side, -1, middle)[:, 0].tolist() == rows


def test_a_small_image_has_air_around_it() -> None:
    assert framed(np.ones((2, 4)), 4, -1).tolist() == [[-1] * 4, [1] * 4, [1] * 4, [-1] * 4]


class Square:
    """Organ is what is brighter than 1. A patch hides it there, or, with `smeared`, in another place."""

    def __init__(self, smeared: Any = 0) -> None:
        self.smeared = smeared

    def occluded(self, image: Any, places: Any, patch: Any, fill: Any, region: Any = None) -> Any:
        hidden = np.repeat(image[None], len(places), axis=0)
        for one, (y, x) in zip(hidden, places):
            x += 0 if region is None else self.smeared
            one[:, y : y + patch, x : x + patch] = fill
        return hidden[:, :1] - 1


def test_the_error_of_the_default_map_is_told() -> None:
    """Only the default map names a region: a model that answers otherwise there has an error, and it is found."""
    y, x = np.mgrid[:96, :96]
    image = (2.5 * np.exp(-((y - 40) ** 2 + (x - 52) ** 2) / 300)).astype(np.float32)[None] + 0.01
    told = []
    for smeared in (0, 6):
        model: Any = Square(smeared)
        subject = Subject("hill", model, image[None], image[None] - 1, image[0] > 1)
        told.append(adaptive_apart("hill", subject, 0, 0, lambda amount: None))
    right, wrong = told
    assert right.places == right.of > 1000 and right.range > 0.1
    assert 0 < right.rms < 0.02 < 0.05 < wrong.rms and right.largest < wrong.largest
