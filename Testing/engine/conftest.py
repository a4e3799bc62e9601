"""A small world with known answers: a bundle whose nets are one blur each, and CTs made of ellipsoids."""

import json
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from unoise_engine.batch.options import Options
from unoise_engine.batch.run import Request
from unoise_engine.models.manifest import Manifest, write_bundle
from unoise_engine.models.recipe import Recipe
from unoise_engine.typed import to_table
from unoise_engine.volume.volume import Grid, Volume

# Started in the background, as by a shell's `&`, this process ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL_CT = SHARED / "data" / "ct-upper-abdomen-dicom"

needs_real_ct = pytest.mark.skipif(not REAL_CT.is_dir(), reason=f"the real CT is not at {REAL_CT}")

RECIPE = Recipe(spacing_mm=2.0, multiple_of=8)
ORGAN_ABOVE = 1.2  # normalised; with RECIPE that is 60 HU


def asked(inputs: Any, out: Any, **chosen: Any) -> Request:
    """A request by the names of its options alone, wherever in the tree they stand."""
    usual, leaves = Options(), {}
    for f in fields(Options):
        kind = type(getattr(usual, f.name))
        leaves[f.name] = kind(**{one.name: chosen.pop(one.name) for one in fields(kind) if one.name in chosen})
    assert not chosen, chosen
    return Request(tuple(inputs), out, Options(**leaves))


def question(*inputs_and_out: Any, **chosen: Any) -> str:
    """The same as a program sends it to the worker."""
    return json.dumps({"explain": to_table(asked(*inputs_and_out, **chosen))})


def blur_net(path: Path, name: str) -> None:
    """An ONNX file answering with a 5 x 5 mean of the slice; its Grad-CAM is that mean, above the threshold, in the
    target."""
    import onnx
    from onnx import TensorProto, helper

    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [1, 1, 5, 5], np.full(25, 1 / 25, np.float32))
    constants = [kernel]

    def number(label: Any, value: Any, shape: Any = ()) -> None:
        constants.append(helper.make_tensor(label, TensorProto.FLOAT, shape, [value]))

    def port(label: Any) -> Any:
        return helper.make_tensor_value_info(label, TensorProto.FLOAT, ["n", 1, "h", "w"])

    inputs, outputs = [port("slices")], [port("logits" if name == "utility" else "noise_logits")]
    number("threshold", ORGAN_ABOVE)
    number("gain", -5.0 if name == "unoise" else 10.0)
    nodes = [
        helper.make_node("Conv", ["slices", "kernel"], ["blur"], pads=[2, 2, 2, 2]),
        helper.make_node("Sub", ["blur", "threshold"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], [outputs[0].name]),
    ]
    if name == "utility":
        inputs.append(port("target"))
        outputs.append(port("gradcam"))
        number("target", np.nan, [1] * 4)  # what it is if not given: the prediction
        number("zero", 0.0)
        nodes += [
            helper.make_node("Greater", ["logits", "zero"], ["organ"]),
            helper.make_node("Cast", ["organ"], ["found"], to=TensorProto.FLOAT),
            helper.make_node("IsNaN", ["target"], ["own"]),
            helper.make_node("Where", ["own", "found", "target"], ["score"]),
            helper.make_node("Mul", ["above", "score"], ["inside"]),
            helper.make_node("Relu", ["inside"], ["gradcam"]),
        ]
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_tiny_bundle(home: Path) -> Path:
    """A bundle folder in `home`: everything brighter than about 60 HU is 'organ'."""
    home.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in ("utility", "unoise"):
        blur_net(home / f"{name}.onnx", name)
        files[f"{name}.onnx"] = home / f"{name}.onnx"
    manifest = Manifest(
        name="tiny",
        title="Test net",
        synthetic=True,
        intended_use="tests",
        licence="Apache-2.0",
        training_data="none",
        recipe=RECIPE,
        labels={"bright": 3},
    )
    write_bundle(home / "tiny", manifest, files)
    return home / "tiny"


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests of all that is not the model."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


def ellipsoid_ct(shape: Any = (10, 40, 48), spacing_mm: Any = (1.5, 2.5, 4.0), dtype: Any = np.int16) -> Volume:
    """(z, y, x) axial LPS: a body at 20 HU, an organ at 150 HU up, left and behind the middle, a gas bubble."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[x**2 + (y / 0.8) ** 2 < 0.9] = 20
    hu[((x - 0.35) / 0.3) ** 2 + ((y - 0.1) / 0.25) ** 2 + ((z - 0.2) / 0.6) ** 2 < 1] = 150
    hu[((x + 0.4) / 0.1) ** 2 + ((y + 0.2) / 0.1) ** 2 < 1] = -800
    hu += np.random.default_rng(0).normal(0, 8, shape)
    grid = Grid(shape[::-1], spacing_mm, (-30.0, 12.5, 100.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Volume(hu.astype(dtype), grid)


@pytest.fixture
def ct() -> Volume:
    return ellipsoid_ct()


def image_of(volume: Volume) -> sitk.Image:
    """By an own path, so that tests do not lean on the writer they test."""
    image = sitk.GetImageFromArray(volume.voxels)
    image.SetSpacing(volume.grid.spacing_mm)
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image


@pytest.fixture
def ct_file(ct: Any, tmp_path: Path) -> Path:
    path = tmp_path / "ct.nii.gz"
    sitk.WriteImage(image_of(ct), str(path))
    return path
