"""MONAI bundles read as data: what stands there becomes numbers, and what is code is refused and never run."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from unoise_engine.errors import Usage
from unoise_engine.foreign.monai_bundle import read_monai
from unoise_engine.foreign.monai_config import Config
from unoise_engine.foreign.monai_pipeline import read_preparation
from unoise_engine.models.preparation import Preparation, Resampling, Step, Window

METADATA: dict[str, Any] = {
    "version": "0.1.0", "task": "organs", "data_source": "a phantom", "references": ["Someone 2024"],
    "network_data_format": {
        "inputs": {"image": {
            "type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1, "spatial_shape": [32, 32, 16],
        }},
        "outputs": {"pred": {
            "type": "image", "format": "segmentation", "num_channels": 3,
            "channel_def": {"0": "background", "1": "liver", "2": "pancreas"},
        }},
    },
}  # fmt: skip
INFERENCE: dict[str, Any] = {
    "imports": ["$import glob"],
    "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "side": 32,
    "image_key": "image",
    "network_def": {
        "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 16],
        "strides": [2, 2], "num_res_units": 1, "norm": "batch",
    },
    "network": "$@network_def.to(@device)",
    "preprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "LoadImaged", "keys": "@image_key"},
        {"_target_": "EnsureChannelFirstd", "keys": ["image"]},
        {"_target_": "monai.transforms.Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "Spacingd", "keys": ["image"], "pixdim": [1.5, 1.5, 2.0], "mode": ["bilinear"]},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1,
         "clip": True},
        {"_target_": "EnsureTyped", "keys": "image", "device": "@device", "dtype": "$torch.float32"},
    ]},
    "inferer": {
        "_target_": "SlidingWindowInferer", "roi_size": ["@side", "@side", "$@side // 2"], "sw_batch_size": 4,
        "overlap": 0.25, "mode": "gaussian", "padding_mode": "replicate", "device": "@device",
    },
    "postprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
         "nearest_interp": False},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "KeepLargestConnectedComponentd", "keys": "pred"},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/out'"},
    ]},
}  # fmt: skip
TRANSFORMS = ("preprocessing", "transforms")
ENDING = ("postprocessing", "transforms")


def written(folder: Path, inference: Any = INFERENCE, metadata: Any = METADATA) -> Path:
    """A bundle's folder without weights."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def changed(place: tuple[Any, ...], value: Any, table: dict[str, Any] = INFERENCE) -> Any:
    """The table with another value at the place; an empty key at its end appends."""
    copied: Any = deepcopy(table)
    inner = copied
    for key in place[:-1]:
        inner = inner[key]
    if place[-1] == "":
        inner.append(value)
    else:
        inner[place[-1]] = value
    return copied


def prepared(folder: Path, inference: Any = INFERENCE) -> Preparation:
    return read_preparation(Config.read(written(folder, inference)), "image", "pred", "CT")[0]


def test_a_usual_bundle_becomes_numbers(tmp_path: Path) -> None:
    preparation, ending = read_preparation(Config.read(written(tmp_path)), "image", "pred", "CT")
    assert preparation == Preparation(
        axes="RAS",
        rank=3,
        spacing_mm=(1.5, 1.5, 2.0),
        steps=(Step("resample"), Step("clip", (-57, 164)), Step("scale", (-57, 164, 0, 1))),
        resampling=Resampling("first", 1, back=1, back_as="probabilities"),
        window=Window((32, 32, 16), 0.75, "monai", "gaussian-monai", 0.125, padding="edge"),
        modality="CT",
    )
    assert (ending.outputs, ending.besides) == ("softmax", ("KeepLargestConnectedComponent",))


def test_what_is_brought_back_before_the_activation_are_logits(tmp_path: Path) -> None:
    steps = INFERENCE["postprocessing"]["transforms"]
    turned = [steps[1], steps[0], *steps[2:]]
    assert [step["_target_"] for step in turned[:2]] == ["Invertd", "Activationsd"]
    folder = written(tmp_path, {**INFERENCE, "postprocessing": {**INFERENCE["postprocessing"], "transforms": turned}})
    found = read_preparation(Config.read(folder), "image", "pred", "CT")[0].resampling
    assert (found.back, found.back_as) == (1, "logits")


@pytest.mark.parametrize(("transform", "steps"), [
    ({"_target_": "NormalizeIntensityd", "nonzero": True, "channel_wise": True}, [Step("normalise-nonzero")]),
    ({"_target_": "NormalizeIntensityD"}, [Step("normalise-image")]),
    ({"_target_": "NormalizeIntensity", "subtrahend": 50, "divisor": "$2 * (3 + 4.5)"}, [Step("normalise", (50, 15))]),
    ({"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0}, [Step("scale-image", (-1, 1))]),
    ({"_target_": "ScaleIntensityDict"}, [Step("scale-image", (0, 1))]),
    ({"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 10}, [Step("scale", (0, 10, 0, 1))]),
    ({"_target_": "ScaleIntensityRangePercentilesd", "lower": 1, "upper": 99, "b_min": -1, "b_max": 1, "clip": True},
     [Step("scale-percentiles", (1, 99, -1, 1)), Step("clip", (-1, 1))]),
    ({"_target_": "CropForegroundd", "source_key": "image"}, [Step("crop-above", (0, 0))]),
    ({"_target_": "CropForegroundd", "source_key": "@image_key", "margin": 4, "allow_smaller": True},
     [Step("crop-above", (0, 4))]),
    ({"_target_": "ThresholdIntensityd", "threshold": -100, "above": True, "cval": -100}, [Step("clip", (-100, 1e6))]),
    ({"_target_": "CastToTyped", "dtype": "$np.float32"}, []),
    ({"_target_": "os.system", "keys": "image", "_disabled_": True}, []),
    ({"_target_": "RandFlipd", "keys": "label"}, []),
])  # fmt: skip
def test_transforms_become_steps(tmp_path: Path, transform: Any, steps: Any) -> None:
    inference = changed((*TRANSFORMS, ""), {"keys": "image", **transform})
    assert list(prepared(tmp_path, inference).steps[3:]) == steps


def test_planes_by_the_slice_inferer(tmp_path: Path) -> None:
    """The axis that is cut along comes first; it must not be resampled."""
    inferer = {"_target_": "SliceInferer", "roi_size": [48, 64], "spatial_dim": 2, "overlap": [0.5, 0.5]}
    inference = changed(("inferer",), inferer)
    inference["preprocessing"]["transforms"][3]["pixdim"] = [1.5, 2.5, -1]
    preparation = prepared(tmp_path, inference)
    assert (preparation.rank, preparation.axes, preparation.spacing_mm) == (2, "SRA", (0, 1.5, 2.5))
    assert (preparation.window.size, preparation.window.step) == ((48, 64), 0.5)


def test_whole_images_by_the_simple_inferer(tmp_path: Path) -> None:
    inference = changed(("inferer",), {"_target_": "monai.inferers.SimpleInferer"})
    inference["preprocessing"]["transforms"].append({"_target_": "DivisiblePadd", "keys": "image", "k": 16})
    assert prepared(tmp_path, inference).window == Window((), 1.0, "monai", multiple_of=16)


def test_a_bundle_without_orientation_sees_the_files_own_axes(tmp_path: Path) -> None:
    inference = deepcopy(INFERENCE)
    del inference["preprocessing"]["transforms"][2]
    assert prepared(tmp_path, inference).axes == "ijk"


@pytest.mark.parametrize(("ending", "outputs"), [
    ([{"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
      {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}], "sigmoid"),
    ([{"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False]}], "softmax"),
    ([{"_target_": "AsDiscreted", "keys": ["label", "pred"], "threshold": [None, 0.0]}], "sigmoid"),
])  # fmt: skip
def test_what_the_channels_are(tmp_path: Path, ending: Any, outputs: str) -> None:
    inference = changed(ENDING, ending)
    assert read_preparation(Config.read(written(tmp_path, inference)), "image", "pred", "CT")[1].outputs == outputs


@pytest.mark.parametrize(("text", "value"), [
    ("$128 // 2", 64), ("$@side + 1", 33), ("$@side * 2 - 1", 63), ("$[1.5, 1.5] if @yes else [3, 3]", [1.5, 1.5]),
    ("$-1", -1), ("@side", 32), ("%side", 32), ("@list::1", 7), ("@list#0", 32),
    ("$'a.pt' if @yes else 'b.pt'", "a.pt"),
    ("a plain text", "a plain text"), (["@side", {"x": "$1/4"}], [32, {"x": 0.25}]), ("$torch.float32", "float32"),
])  # fmt: skip
def test_the_arithmetic_that_is_known(text: Any, value: Any) -> None:
    config = Config(Path("inference.json"), {"side": 32, "yes": True, "list": ["@side", 7]})
    assert config.plain(text, "here") == value


@pytest.mark.parametrize("text", [
    "$__import__('os').system('touch SEEN')", "$open('SEEN', 'w')", "$(lambda: 1)()", "$2 ** 99999999", "$@side.x",
    "$'a' * 10000000000", "$[1] * 9999999999", "$@text * 2", "$1 // 0", "$1e999 * 1", "$1000000000 * 1000000000",
    "$" + "(" * 150 + "1" + ")" * 45, "$" + "1+" * 2000 + "1", "$@missing + 1", "@missing", "@round", "$@around",
    "$[x for x in (1, 2)]", "$f'{1}'", "$@side if", "$", "$1 if @side.real else 2", "@many", "$True + 1", "$print",
    "$\0", "$\ud800", "$@side @side", "$value0_",
])  # fmt: skip
def test_everything_else_is_refused_unrun(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tables: dict[str, Any] = {"side": 32, "text": "x", "round": "@around", "around": "@round", "many": "@m0"}
    tables |= {f"m{n}": [f"@m{n + 1}"] * 9 for n in range(20)}
    with pytest.raises(Usage) as told:
        Config(Path("inference.json"), tables).plain(text, "here")
    one_line(told.value)
    assert not list(tmp_path.iterdir())


def one_line(error: Usage) -> None:
    assert "\n" not in str(error) and len(str(error)) < 900 and "inference.json" in str(error)


HOSTILE = "$__import__('os').system('touch SEEN') or 1"


def places(table: Any, way: tuple[Any, ...] = ()) -> Any:
    """Every place in nested tables and lists."""
    if way:
        yield way
    items = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for key, inner in items:
        yield from places(inner, (*way, key))


@pytest.mark.parametrize("place", list(places(INFERENCE)), ids=lambda way: "-".join(map(str, way)))
@pytest.mark.parametrize("value", [HOSTILE, "@place", {"_target_": "os.system", "command": "touch SEEN"}])
def test_code_in_any_place_is_never_run(
    place: Any, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused where it matters. Where nobody reads, such as `imports`, it lies there as in every bundle."""
    monkeypatch.chdir(tmp_path)
    folder = written(
        tmp_path / "bundle", changed(place, "@" + "::".join(map(str, place)) if value == "@place" else value)
    )
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text("open('SEEN', 'w')", encoding="utf-8")
    with pytest.raises(Usage) as told:  # the weights are missing at the latest
        read_monai(folder)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "SEEN").exists()


@pytest.mark.parametrize("target", [
    "os.system", "$os.system", "builtins.eval", "Compose.Spacingd", "scripts.Spacingd", "my.monai.transforms.Spacingd",
    "monai.transforms.Lambdad", "RandFlipd", "monai.transforms.utils.Spacingdd", "", "a b", "x" * 500, 3, None,
])  # fmt: skip
@pytest.mark.parametrize("place", [(*TRANSFORMS, 3), ("inferer",), ("preprocessing",), (*ENDING, 0)])
def test_a_target_that_is_not_known(target: Any, place: Any, tmp_path: Path) -> None:
    with pytest.raises(Usage) as told:
        prepared(tmp_path, changed((*place, "_target_"), target))
    one_line(told.value)


@pytest.mark.parametrize(("place", "value", "word"), [
    ((*TRANSFORMS, 3, "pixdim"), "a", "pixdim"),
    ((*TRANSFORMS, 3, "pixdim"), [], "pixdim"),
    ((*TRANSFORMS, 3, "mode"), 3, "mode"),
    ((*TRANSFORMS, 3, "diagonal"), True, "diagonal"),
    ((*TRANSFORMS, 3, "padding_mode"), "zeros", "padding_mode"),
    ((*TRANSFORMS, 3, "surprise"), 1, "surprise"),
    ((*TRANSFORMS, 3, "dtype"), "$np.int16", "dtype"),
    ((*TRANSFORMS, 3, "lazy"), True, "lazy"),
    (("preprocessing", "lazy"), True, "lazy"),
    ((*TRANSFORMS, 2, "axcodes"), "RAX", "axes"),
    ((*TRANSFORMS, 2, "labels"), [["a", "b"], ["c", "d"], ["e", "f"]], "labels"),
    ((*TRANSFORMS, 0, "reader"), "$monai.data.NibabelReader()", "code"),
    ((*TRANSFORMS, 0, "reader"), "my.Reader", "reader"),
    ((*TRANSFORMS, 4, "a_max"), -57, "below high"),
    ((*TRANSFORMS, 4, "a_min"), True, "a_min"),
    ((*TRANSFORMS, 4, "a_min"), None, "a_min"),
    ((*TRANSFORMS, ""), {"_target_": "Spacingd", "keys": "image", "pixdim": 1}, "twice"),
    ((*TRANSFORMS, ""), {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"}, "behind"),
    ((*TRANSFORMS, ""), {"_target_": "CropForegroundd", "keys": "image", "source_key": "label"}, "source_key"),
    ((*TRANSFORMS, ""), {"_target_": "CropForegroundd", "keys": "image", "select_fn": "$lambda x: x > -500"}, "code"),
    ((*TRANSFORMS, ""), {"_target_": "CropForegroundd", "keys": "image", "margin": 3}, "margin"),
    ((*TRANSFORMS, ""), {"_target_": "NormalizeIntensityd", "keys": "image", "subtrahend": 3}, "divisor"),
    ((*TRANSFORMS, ""), {"_target_": "DivisiblePadd", "keys": "image", "k": 16}, "SimpleInferer"),
    (("inferer", "roi_size"), [32, 32], "roi_size"),
    (("inferer", "roi_size"), [32, 32, -1], "roi_size"),
    (("inferer", "roi_size"), [1e9, 32, 32], "roi_size"),
    (("inferer", "roi_size"), [100000, 32, 32], "window size"),
    (("inferer", "overlap"), 1, "overlap"),
    (("inferer", "overlap"), [0.5, 0.5, 0.25], "overlap"),
    (("inferer", "mode"), "mean", "mode"),
    (("inferer", "padding_mode"), "circular", "padding_mode"),
    (("inferer", "with_coord"), True, "where"),
    (("inferer", "cval"), "x", "cval"),
    (("inferer", "cval"), {"a": [1]}, "cval"),
    (("inferer", "overlap"), [[0.5]], "overlap"),
    (("inferer", "padding_mode"), ["constant", ["x"]], "padding_mode"),
    ((*TRANSFORMS, ""), {"_target_": "DivisiblePadd", "keys": "image", "k": [[16]]}, "whole number"),
    (("postprocessing",), [], "argmax"),
    ((*ENDING, 2, "argmax"), False, "argmax"),
    ((*ENDING, 2, "threshold"), 0.3, "threshold"),
    ((*ENDING, 0, "other"), "$lambda x: x", "code"),
    (("network_def",), "$monai.networks.nets.UNet()", "table"),
    (("network_def", "_target_"), "scripts.net.UNet", "scripts.net.UNet"),
    (("network_def", "_target_"), "HighResNet", "HighResNet"),
    (("network_def", "channels"), [4, 8, 10**12], "beyond"),
    (("network_def", "channels"), "$list(range(10))", "code"),
    (("network_def", "act"), {"_target_": "os.system", "command": "touch SEEN"}, "code"),
    (("network_def", "in_channels"), 2, "one channel in"),
    (("network_def", "out_channels"), 4, "3 of channel_def"),
    (("inferer",), {"_target_": "SliceInferer", "roi_size": [32, 32], "spatial_dim": 2}, "first axis"),
])  # fmt: skip
def test_what_cannot_be_said_by_numbers_is_refused_by_name(place: Any, value: Any, word: str, tmp_path: Path) -> None:
    with pytest.raises(Usage) as told:
        read_monai(written(tmp_path, changed(place, value)))
    one_line(told.value)
    assert word in str(told.value)


@pytest.mark.parametrize(("place", "value", "word"), [
    (("inputs", "image", "num_channels"), 4, "4 channels"),
    (("inputs", "image"), [], "one of inputs"),
    (("inputs", "second"), {}, "one of inputs"),
    (("outputs",), {}, "one of outputs"),
    (("outputs", "pred", "channel_def"), {"0": "background"}, "no label"),
    (("outputs", "pred", "channel_def"), {"0": "background", "2": "liver"}, "skips"),
    (("outputs", "pred", "channel_def"), {"0": "background", "1": "liver", "2": "liver"}, "twice"),
    (("outputs", "pred", "channel_def"), None, "does not name"),
    (("inputs", "image", "modality"), "pathology", "modality"),
])  # fmt: skip
def test_metadata_that_does_not_fit(place: Any, value: Any, word: str, tmp_path: Path) -> None:
    metadata = changed(("network_data_format", *place), value, METADATA)
    with pytest.raises(Usage, match=word):
        read_monai(written(tmp_path, metadata=metadata))


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"[]", b"{", b"\xff", b"[" * 10_000, b'{"a": ' * 5000, b" " * (2 << 20))):
        folder = written(tmp_path / str(number))
        (folder / "configs" / "inference.json").write_bytes(content)
        with pytest.raises(Usage, match=r"inference.json"):
            read_monai(folder)
    with pytest.raises(Usage, match="no MONAI bundle"):
        read_monai(tmp_path)
    folder = written(tmp_path / "yaml")
    (folder / "configs" / "inference.json").rename(folder / "configs" / "inference.yaml")
    with pytest.raises(Usage, match=r"write it as inference.json"):
        read_monai(folder)
    folder = written(tmp_path / "without")
    (folder / "configs" / "metadata.json").unlink()
    with pytest.raises(Usage, match=r"metadata.json"):
        read_monai(folder)


def test_torchscript_wants_a_word(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "models").mkdir()
    (folder / "models" / "model.ts").write_bytes(b"never opened")
    with pytest.raises(Usage, match=r"model.pt.*model.ts.*--trust"):
        read_monai(folder)
    with pytest.raises(Usage, match="code that would run"):
        read_monai(folder, prefer="ts")
