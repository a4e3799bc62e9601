"""Occlusion by structure, on a net that finds its label only where another structure is near."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from unoise_engine.errors import Usage
from unoise_engine.explanation.focus import Focus
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.methods import METHODS, answerable
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.structures import Structures
from unoise_engine.explanation.target import Target
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import Manifest, write_bundle
from unoise_engine.models.preparation import Preparation, Window

ORGAN, NEEDED, DECOY = 1.0, 2.0, 3.0  # intensities; everything else is 0


def write_net(path: Path) -> None:
    """Labels by intensity, but for the organ: it also needs values near 2 within 5 voxels in each direction."""
    numbers = {"half": 0.3, "one": ORGAN, "two": NEEDED, "three": DECOY, "low": 0.01, "gain": 10.0}
    side: list[str | int | None] = ["n", 1, "d", "h", "w"]
    nodes = [helper.make_node("Constant", [], [name], value_float=value) for name, value in numbers.items()]
    for name in ("one", "two", "three"):  # 0.3 - |x - value|, above 0 near it
        nodes += [
            helper.make_node("Sub", ["slices", name], [f"{name}.d"]),
            helper.make_node("Abs", [f"{name}.d"], [f"{name}.a"]),
            helper.make_node("Sub", ["half", f"{name}.a"], [f"{name}.s"]),
        ]
    nodes += [
        helper.make_node("Relu", ["two.s"], ["two.r"]),
        helper.make_node("MaxPool", ["two.r"], ["near"], kernel_shape=[11] * 3, pads=[5] * 6, strides=[1] * 3),
        helper.make_node("Sub", ["near", "low"], ["there"]),
        helper.make_node("Min", ["one.s", "there"], ["organ"]),
        helper.make_node("Sub", ["half", "half"], ["none"]),
        helper.make_node("Mul", ["slices", "none"], ["background"]),
        helper.make_node("Concat", ["background", "organ", "two.s", "three.s"], ["logits"], axis=1),
    ]
    ports = [helper.make_tensor_value_info("slices", TensorProto.FLOAT, side)]
    answers = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4, "d", "h", "w"])]
    graph = helper.make_graph(nodes, "needs", ports, answers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("needs")
    write_net(home / "net.onnx")
    about: dict[str, Any] = dict.fromkeys(("name", "title", "intended_use", "licence", "training_data"), "needs")
    labels = {"organ": 1, "needed": 2, "decoy": 3}
    recipe = Preparation(window=Window((16, 16, 16), 0.5))
    manifest = Manifest(**about, synthetic=True, recipe=recipe, labels=labels, outputs="softmax")
    write_bundle(home / "bundle", manifest, {"utility.onnx": home / "net.onnx"})
    return load_bundle(home / "bundle", "cpu", label="organ")


def item() -> np.ndarray:
    x = np.zeros((1, 1, 20, 24, 28), np.float32)
    x[0, 0, 8:12, 8:12, 8:12] = ORGAN
    x[0, 0, 8:12, 8:12, 13:16] = NEEDED
    x[0, 0, 8:12, 13:16, 8:12] = DECOY
    return x


def test_what_the_label_needs_is_lost_with_it_and_a_decoy_is_not(model: Any) -> None:
    x = item()
    found = model.predict(x)
    assert (found > 0).sum() == 64
    heard: list[float] = []
    (shown,) = Structures()(model, x, Target(found), heard.append)
    assert sum(heard) == pytest.approx(1)
    assert (shown[x[0, 0] == NEEDED] == 1).all(), "without it nothing of the organ is found"
    others = shown[x[0, 0] != NEEDED]
    assert np.abs(others).max() == 0, "the decoy, the organ itself and the rest do not matter"


def test_a_structure_is_filled_from_around_it_but_not_with_the_label(model: Any) -> None:
    x = item()[0]
    x[0, 8:12, 8:12, 16:20] = 0.5  # beside it
    structure, organ = x[0] == NEEDED, x[0] == ORGAN
    box = (slice(8, 12), slice(8, 12), slice(13, 16))
    hidden = Structures(shell=1).hidden(x, structure, organ, box)
    assert (hidden[0][~structure] == x[0][~structure]).all()
    (value,) = set(hidden[0][structure].tolist())
    assert 0 < value < 0.5
    assert x[0][structure].min() == NEEDED, "the item itself stays"


def test_an_item_without_the_label_or_without_others(model: Any) -> None:
    nothing = np.zeros((1, 1, 20, 24, 28), np.float32)
    heard: list[float] = []
    assert not Structures()(model, nothing, Target(model.predict(nothing)), heard.append).any() and heard == [1.0]


def test_it_is_offered_where_there_are_other_labels(model: Any) -> None:
    assert "structures" in answerable(model) and METHODS["structures"].chosen
    every = load_bundle(model.folder, "cpu", label="organ,needed,decoy")
    assert "structures" not in answerable(every)
    with pytest.raises(Usage, match="1 to 20"):
        Structures(shell=0)


def test_occlusion_in_time_takes_the_nearest_places_first(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that ticks with each place: a map of these alone, and the whole one without limit."""
    image = item()[0]
    organ = model.predict(image[None])[0, 0] > 0
    asked: list[np.ndarray] = []
    measure = model.occluded

    def counting(image: Any, places: Any, *how: Any) -> Any:
        asked.extend(places)
        return measure(image, places, *how)

    monkeypatch.setattr(model, "occluded", counting)
    monkeypatch.setattr("time.monotonic", lambda: float(len(asked)))
    whole = Occlusion(patch=5, minutes=1000).one_item(model, image, organ, silent)
    every = len(asked)
    assert whole[image[0] == NEEDED].mean() > 3 * whole[image[0] == 0].mean()
    asked.clear()
    part = Occlusion(patch=5, minutes=40 / 60).one_item(model, image, organ, silent)
    assert 40 <= len(asked) <= 48 < every
    far = np.abs(np.array(asked) + 2 - np.full(3, 9.5)).max(axis=1)
    assert far[:8].max() < far.max() and np.isfinite(part).all()
    with pytest.raises(Usage, match="length of time"):
        Occlusion(minutes=-1)


def test_places_that_no_window_near_the_label_sees_are_not_tried(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = np.zeros((1, 20, 24, 90), np.float32)
    wide[..., :28] = item()[0]
    wide[..., 60:] = DECOY
    organ = model.predict(wide[None])[0, 0] > 0
    asked: list[np.ndarray] = []
    measure = model.occluded

    def counting(image: Any, places: Any, *how: Any) -> Any:
        asked.extend(places)
        return measure(image, places, *how)

    monkeypatch.setattr(model, "occluded", counting)
    Occlusion(patch=5, minutes=100).one_item(model, wide, organ, silent)
    assert asked and max(place[2] for place in asked) < 60


def test_one_window_on_the_label_stands_for_all(model: Any) -> None:
    wide = np.zeros((1, 1, 40, 40, 40), np.float32)
    wide[..., 14:34, 10:34, 6:34] = item()
    target = Target(model.predict(wide))
    focus = Focus.on(model, wide, target)
    assert focus and focus.told == {"window": [[16, 12, 8], [32, 28, 24]], "dice_with_whole": 1, "share_of_label": 1}
    assert not focus.doubts
    whole, part = Structures()(model, wide, target, silent), focus.map(Structures(), model, wide, target, silent)
    assert np.array_equal(whole, part), "all that matters lies in the window"
    assert Focus.on(model, np.zeros_like(wide), Target(np.full_like(wide, -1))) is None


def test_a_window_that_answers_otherwise_is_doubted(model: Any) -> None:
    """Half of the label lies outside, and what the other half needs, too."""
    wide = np.zeros((1, 1, 20, 24, 60), np.float32)
    wide[0, 0, 8:12, 8:12, 4:50] = ORGAN
    wide[0, 0, 8:12, 13:16, 4:18] = wide[0, 0, 8:12, 13:16, 36:50] = NEEDED
    target = Target(model.predict(wide))
    focus = Focus.on(model, wide, target)
    assert focus and focus.share < 0.5 and focus.dice < 1
    (part,) = Focus(focus.box, 1.0, 0.5).doubts
    (other,) = Focus(focus.box, 0.5, 1.0).doubts
    assert "holds 50% of the label" in part and "(dice 0.50): its maps explain the window's own answer" in other
