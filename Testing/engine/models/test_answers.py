"""What a model's ports and answers have to be, on models that only say what they have."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unoise_engine.errors import Integrity, ModelFault
from unoise_engine.models.answers import ask, check_ports, checked, finite, out_of_memory, reason_of


class Says:
    """A session by the names of its ports, each with its axes."""

    def __init__(self, takes: Any, answers: Any, without: Any = ()) -> None:
        def ports(table: Any) -> Any:
            return [SimpleNamespace(name=name, shape=shape) for name, shape in table.items()]

        self.get_inputs = lambda: ports(takes)
        self.get_outputs = lambda: ports(answers)
        self.get_overridable_initializers = lambda: ports(dict.fromkeys(without))


FLAT, DEEP = [None] * 4, [None] * 5


@pytest.mark.parametrize(
    ("file", "session", "rank"),
    [
        ("utility", Says({"slices": FLAT}, {"logits": FLAT}), 2),
        ("utility", Says({"slices": DEEP}, {"logits": DEEP}), 3),
        ("utility", Says({"slices": None}, {"logits": None}), 2),  # which tells nothing of its shapes
        ("utility", Says({"slices": FLAT}, {"logits": FLAT, "gradcam": FLAT}, ["target"]), 2),
        ("unoise", Says({"slices": FLAT, "logits": FLAT}, {"noise_logits": FLAT, "more": FLAT}), 2),
        ("unoise", Says({"slices": FLAT}, {"noise_logits": FLAT}), 2),
        ("gradcam", Says({"slices": FLAT, "target": FLAT}, {"importance": FLAT}), 2),
        ("occlusion-patch", Says({"anything": FLAT}, {"any": DEEP}), 2),
    ],
)
def test_good_ports(file: Any, session: Any, rank: Any) -> None:
    check_ports(Path(f"{file}.onnx"), session, rank, True)


@pytest.mark.parametrize(
    ("file", "session", "said"),
    [
        ("utility", Says({"slices": FLAT, "target": FLAT}, {"logits": FLAT}), "takes slices, target, not slices"),
        ("utility", Says({"slices": FLAT, "target": FLAT}, {"logits": FLAT, "gradcam": FLAT}), "takes slices, target"),
        ("utility", Says({"slices": FLAT}, {"logits": FLAT, "gradcam": FLAT}), "takes slices, not slices, target"),
        ("unoise", Says({"logits": FLAT}, {"noise_logits": FLAT}), "takes logits, not logits, slices"),
        ("unoise", Says({}, {"noise_logits": FLAT}), "takes nothing, not logits, slices"),
        ("utility", Says({"slices": FLAT}, {"scores": FLAT}), "has no output logits"),
        ("utility", Says({"slices": DEEP}, {"logits": FLAT}), r"slices has 5 axes instead of 4 \(.* rank 2\)"),
        ("utility", Says({"slices": FLAT}, {"logits": FLAT[:3]}), "logits has 3 axes instead of 4"),
    ],
)
def test_other_ports_are_refused(file: Any, session: Any, said: Any) -> None:
    with pytest.raises(Integrity, match=said):
        check_ports(Path(f"{file}.onnx"), session, 2, True)


def test_a_utility_that_is_not_asked_for_grad_cam_takes_slices_alone() -> None:
    session = Says({"slices": FLAT}, {"logits": FLAT, "gradcam": FLAT}, ["target"])
    check_ports(Path("utility.onnx"), session, 2, False)
    with pytest.raises(Integrity, match="takes slices, target, not slices"):
        check_ports(Path("utility.onnx"), Says({"slices": FLAT, "target": FLAT}, {"logits": FLAT}), 2, False)


def test_names_out_of_a_file_are_cut_short() -> None:
    many = {f"{k:02}" + 50 * "x": FLAT for k in range(9)}
    with pytest.raises(Integrity) as caught:
        check_ports(Path("utility.onnx"), Says(many, {"logits": FLAT}), 2, True)
    assert "07" + 38 * "x" + ", not" in str(caught.value) and "08x" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape", "fits"),
    [
        ("logits", (2, 1, 6, 8), True),
        ("logits", (2, 3, 6, 8), False),
        ("logits", (1, 1, 6, 8), False),
        ("logits", (2, 1, 6, 7), False),
        ("logits", (2, 1, 8), False),
        ("gradient", (2, 3, 6, 8), True),
        ("gradient", (2, 1, 6, 8), False),
        ("gradcam", (2, 1, 3, 1), True),
        ("gradcam", (2, 1, 4, 1), False),
        ("gradcam", (2, 1, 3, 0), False),
        ("gradcam", (2, 3, 3, 1), False),
        ("gradcam", (2, 1, 3), False),
    ],
)
def test_the_form_of_an_answer(name: Any, shape: Any, fits: Any) -> None:
    """For two items of 3 channels, 6 x 8."""
    answer = np.ones(shape, np.float16)
    if fits:
        got = checked(Path("m.onnx"), name, answer, (2, 3, 6, 8))
        assert got.shape == shape and got.dtype == np.float32
        return
    with pytest.raises(ModelFault, match=f"wrong form: {name} is float16"):
        checked(Path("m.onnx"), name, answer, (2, 3, 6, 8))


def test_whole_numbers_are_no_scores() -> None:
    with pytest.raises(ModelFault, match=r"is int64 \(1, 1, 2, 2\) instead of float32 \(1, 1, 2, 2\)"):
        checked(Path("m.onnx"), "logits", np.ones((1, 1, 2, 2), np.int64), (1, 1, 2, 2))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_one_voxel_that_is_not_finite_is_enough(odd: Any) -> None:
    answer = np.ones((2, 3), np.float32)
    assert finite(Path("m.onnx"), "logits", answer) is answer
    answer[1, 2] = odd
    with pytest.raises(ModelFault, match="NaN or infinity: logits"):
        finite(Path("m.onnx"), "logits", answer)


def test_why_a_model_cannot_be_run() -> None:
    class Fails:
        def __init__(self, error: Any) -> None:
            self.error = error

        def run(self, wanted: Any, feeds: Any) -> None:
            raise self.error

    with pytest.raises(ModelFault, match=r"m\.onnx - cannot be run \(no shape\)"):
        ask(Path("m.onnx"), Fails(RuntimeError("no shape\nmore")), None, {})
    for error in (RuntimeError("Failed to allocate memory for 5 bytes"), MemoryError()):
        with pytest.raises(MemoryError, match=r"m\.onnx"):
            ask(Path("m.onnx"), Fails(error), None, {})
    assert not out_of_memory(ValueError("shape")) and reason_of(ValueError()) == "ValueError"
    assert reason_of(ValueError(400 * "x")) == 300 * "x"
