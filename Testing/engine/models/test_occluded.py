"""What is asked for an occluded patch, and which answers are taken: with a graph whose answers are given here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unoise_engine.errors import ModelFault
from unoise_engine.models.occluded import Clean

FILE = Path("occlusion-patch.onnx")
IMAGE = np.arange(2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8)
REGION = (slice(1, 5), slice(2, 8))


class Session:
    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.fed: list[Any] = []

    def get_outputs(self) -> Any:
        return [SimpleNamespace(name=name) for name in self.answers]

    def run(self, wanted: Any, feeds: Any) -> Any:
        self.fed.append(feeds)
        return [self.answers[name] for name in wanted]


@pytest.fixture
def clean() -> Any:
    return Clean(IMAGE, Session(deep=np.ones((1, 4)), logits=np.full((1, 1, 6, 8), 7, np.float32)), FILE)


def asked(clean: Any, window: Any, part: Any, place: Any = (4, 5)) -> Any:
    session = Session(logits=np.full(part, 9, np.float32), window=np.asarray(window))
    return clean.occluded(session, FILE, np.array(place), 3, -1.5, REGION), session.fed[0]


def test_the_patch_is_cut_at_the_edges(clean: Any) -> None:
    for place, size in (((4, 5), (2, 3)), ((0, 6), (3, 2)), ((3, 5), (3, 3))):
        _, fed = asked(clean, [0, 0, 1, 1], (1, 1, 1, 1), place)
        assert fed["patch"].shape == (1, 2, *size) and (fed["patch"] == -1.5).all()
    assert fed["place"].tolist() == [3, 5] and fed["region"].tolist() == [1, 2, 5, 8]
    assert np.array_equal(fed["deep"], np.ones((1, 4))) and "logits" not in fed


def test_only_the_window_changes(clean: Any) -> None:
    logits, _ = asked(clean, [2, 3, 6, 8], (1, 1, 4, 5))
    assert logits.shape == (1, 6, 8) and (logits[0, 2:, 3:] == 9).all()
    assert (logits == 7).sum() == 48 - 20 and (clean.logits == 7).all()
    whole, _ = asked(clean, [0, 0, 6, 8], (1, 1, 6, 8))
    assert (whole == 9).all()
    assert clean.is_of(IMAGE.copy()) and not clean.is_of(IMAGE + 1)


@pytest.mark.parametrize(
    "window",
    [[-1, 0, 1, 1], [0, -1, 1, 1], [2, 0, 1, 1], [0, 2, 1, 1], [0, 0, 7, 1], [0, 0, 1, 9], [0, 0, 1], [0.0, 0, 1, 1]],
)
def test_a_window_outside_the_slice(clean: Any, window: Any) -> None:
    with pytest.raises(ModelFault, match="a place outside the slice: window"):
        asked(clean, window, (1, 1, 1, 1))


def test_a_part_of_another_size(clean: Any) -> None:
    with pytest.raises(ModelFault, match="wrong form: logits"):
        asked(clean, [0, 0, 2, 2], (1, 1, 2, 3))
