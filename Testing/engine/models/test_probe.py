"""The small slices that a model is tried with."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.models.probe import answer_all, small_slices
from unoise_engine.models.recipe import Recipe


@pytest.mark.parametrize(
    ("multiple", "slice_mm", "size"),
    [
        (16, 0.0, (32, 48)),
        (1, 0.0, (32, 48)),
        (20, 0.0, (40, 60)),
        (64, 0.0, (64, 128)),  # never square, or a model that swaps the sides would pass
        (8, 3.0, (8, 32, 48)),
    ],
)
def test_a_ball_in_noise_and_both_ends_of_the_window(multiple: Any, slice_mm: Any, size: Any) -> None:
    recipe = Recipe(multiple_of=multiple, slice_mm=slice_mm, channels=2, mean=(0.5, 0.0), std=(0.5, 2.0))
    ball, air, top = small_slices(recipe)
    assert ball.shape == (2, *size) and (air[0] == -1).all() and (top[0] == 1).all() and (top[1] == 0.5).all()
    windowed = ball[1] * 2
    near = sum(np.ix_(*((np.arange(n) - n / 2) ** 2 for n in size))) < (size[-2] / 4) ** 2
    assert windowed[near].mean() == pytest.approx(0.8, abs=0.02) and windowed[~near].mean() == pytest.approx(
        0.5, abs=0.01
    )
    assert windowed[~near].std() == pytest.approx(0.1, rel=0.1) and 0 <= windowed.min() < windowed.max() <= 1
    assert np.array_equal(ball, small_slices(recipe)[0])


@pytest.mark.parametrize("answers", [set(), {"gradcam"}, {"noise"}, {"near"}, {"gradcam", "noise", "near"}])
@pytest.mark.parametrize("one_pass", [True, False])
def test_every_answer_is_asked_for_once_alone_and_once_together(answers: Any, one_pass: Any) -> None:
    asked: list[Any] = []

    class Told:
        recipe = Recipe()

        def __init__(self) -> None:
            self.answers, self.one_pass = answers, one_pass

        def open_all(self) -> None:
            asked.append("open")

        def predict(self, some: Any) -> Any:
            asked.append(("predict", len(some)))
            return some

        def predict_and_explain(self, some: Any) -> None:
            asked.append(("both", len(some)))

        def gradcam(self, some: Any, target: Any) -> None:
            assert target.shape == some.shape and (target == 1).all()
            asked.append(("gradcam", len(some)))

        def noise_logits(self, some: Any, scores: Any = None) -> None:
            asked.append(("noise" if scores is None else "near", len(some)))

        def occluded(self, image: Any, places: Any, patch: Any, fill: Any) -> None:
            assert places.tolist() == [[0, 0], [16, 24], [31, 47]] and fill == -1 and image.shape == (1, 32, 48)
            asked.append("occluded")

    told: Any = Told()
    answer_all(told)
    each = ["predict"]
    each += (["both"] if one_pass else []) + ["gradcam"] if "gradcam" in answers else []
    each += [name for name in ("noise", "near") if name in answers]
    assert asked == ["open", *((name, n) for n in (1, 3) for name in each), "occluded"]
