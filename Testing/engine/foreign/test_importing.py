"""From a source to a bundle: exported, compared, tried out; or nothing is left."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from Testing.engine.foreign.results_folder import dataset, write_folder
from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.foreign import export
from unoise_engine.foreign.export import to_onnx
from unoise_engine.foreign.importing import import_model
from unoise_engine.foreign.nnunet import read_nnunet
from unoise_engine.foreign.parity import measure, probe_windows, running
from unoise_engine.foreign.source import Source
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import verify
from unoise_engine.models.onnx_format import parse
from unoise_engine.models.preparation import Preparation, Window


class Net(torch.nn.Module):
    """A convolution with a channel for each of two labels and the background."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv3d(1, 3, 3, padding=1)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * self.scale


def source(net: Any = None, **changes: Any) -> Source:
    made = Source(
        name="small", title="Small", kind="test", preparation=Preparation(window=Window((8, 12, 10))),
        labels={"liver": 1, "pancreas": 2}, outputs="softmax", example=(1, 1, 8, 12, 10), net=net or Net(),
        licence="CC0",
    )  # fmt: skip
    return replace(made, **changes)


@pytest.mark.parametrize("how", ["_by_dynamo", "_by_trace"])
def test_the_exported_net_answers_as_the_source_at_any_size(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"_by_dynamo": "_by_trace", "_by_trace": "_by_dynamo"}[how]
    monkeypatch.setattr(export, other, lambda source: 1 / 0)
    made = source()
    content = to_onnx(made)
    model = parse(content)
    assert [p.name for p in model.graph.input] == ["slices"] and [p.name for p in model.graph.output] == ["logits"]
    assert all(one.version >= 18 for one in model.opset_import)
    for shape in [(1, 1, 8, 12, 10), (3, 1, 5, 6, 7)]:
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        with torch.no_grad():
            wanted = made.net(torch.from_numpy(x)).numpy()
        assert np.abs(running(content)(x) - wanted).max() < 1e-5


def test_nothing_of_this_machine_is_in_the_file() -> None:
    content = to_onnx(source())
    assert str(Path(__file__).parent).encode() not in content and b"stack_trace" not in content


def test_exporters_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    to_onnx(source())
    assert capfd.readouterr() == ("", "")


class Fft(Net):
    """Of what no bundle can hold."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.fft.fftn(x).abs())


def test_a_net_that_cannot_be_exported_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="cannot be exported to ONNX") as refused:
        import_model(source(Fft()), tmp_path / "out")
    assert "\n" not in str(refused.value) and not any(tmp_path.iterdir())


def test_parity_is_measured_and_stored(tmp_path: Path) -> None:
    made = import_model(source(), tmp_path / "out", citation="me")
    assert 0 <= made.parity["largest_difference"] < 1e-5 and made.parity["agreement"] == 1.0
    again = verify(tmp_path / "out")
    assert again.parity == made.parity and again.citation == "me" and again.licence == "CC0"
    assert again.recipe == source().preparation and again.outputs == "softmax"
    assert load_bundle(tmp_path / "out", label="pancreas").manifest.chosen == ("pancreas",)


def test_an_answer_unlike_the_sources_is_refused(tmp_path: Path) -> None:
    def unlike(windows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits: np.ndarray = Net()(torch.from_numpy(windows)).numpy()
        logits[:, 0, 0, 0, 0] += 0.01 * np.ptp(logits)
        return logits

    with pytest.raises(Integrity, match=r"differs, once exported, by 1\.\de-02 of its range"):
        import_model(source(reference=unlike), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_net_that_says_the_same_everywhere_proves_nothing() -> None:
    made = source(Net(scale=0.0))
    with pytest.raises(Integrity, match="answers the same everywhere"):
        measure(made, to_onnx(made))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"liver": 1}}, r"answers \(1, 3, 8, 12, 10\) where its labels"),
        ({"outputs": "sigmoid", "labels": {"a": 1, "b": 2}}, "where its labels"),
        ({"labels": {"=liver": 1, "pancreas": 2}}, "an organ's name is"),
        ({"licence": ""}, "--licence - is missing: small does not say"),
        ({"preparation": Preparation(window=Window((8, 12, 10), margin=(1, 1, 1)))}, "where its labels and its window"),
    ],
)
def test_a_source_that_contradicts_its_net_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Usage, match=words):
        import_model(source(**changes), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_what_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Environment, match="exists already"):
        import_model(source(), tmp_path)
    inputs = tmp_path / "given"
    inputs.mkdir()
    with pytest.raises(Usage, match="nothing is written into what is read"):
        import_model(source(), inputs / "out", inputs=[inputs])
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["given", "mine.txt"]


def test_terms_stand_in_the_licence(tmp_path: Path) -> None:
    made = import_model(source(facts={"terms": "with a key only"}), tmp_path / "out", licence="bought")
    assert made.licence == "bought (with a key only)"


def test_an_onnx_source_is_compared_with_itself(tmp_path: Path) -> None:
    made = source()
    inner = onnx.load_model_from_string(to_onnx(made))
    given = replace(made, net=None, onnx=inner.SerializeToString(deterministic=True))
    assert import_model(given, tmp_path / "out").parity["largest_difference"] == 0


def test_probes_differ_and_are_the_same_each_time() -> None:
    first, again = probe_windows((1, 1, 6, 7, 8)), probe_windows((1, 1, 6, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again)) and all(one.std() > 0.1 for one in first)


@pytest.mark.parametrize("config", ["2d", "3d_fullres"])
def test_an_nnunet_becomes_a_bundle_that_answers(tmp_path: Path, config: str) -> None:
    found = read_nnunet(write_folder(tmp_path / "in", config, about=dataset(licence="CC BY 4.0", reference="Doe 2020")))
    made = import_model(found, tmp_path / "out")
    assert made.licence == "CC BY 4.0" and made.citation.startswith("Doe 2020 ") and "fold_0" in made.source
    assert str(tmp_path) not in (tmp_path / "out" / "bundle.json").read_text()
    assert json.loads((tmp_path / "out" / "bundle.json").read_text())["schema_version"] == 3
    model = load_bundle(tmp_path / "out", label="liver", tried=True)
    x = np.random.default_rng(0).normal(size=(1, *found.example[1:])).astype(np.float32)
    with torch.no_grad():
        logits = found.net(torch.from_numpy(x)).numpy()
    margin = logits[:, 1] - np.maximum(logits[:, 0], logits[:, 2])
    assert np.abs(model.predict(x)[:, 0] - margin).max() < 1e-3 * np.ptp(logits)
