"""G20: one round with a fixed seed; `make fuzz` does as many as fit into its minutes."""

import sys
from pathlib import Path

import numpy as np
import pytest

from Testing.fuzz import bundles
from Testing.fuzz.headers import fuzz
from Testing.fuzz.watch import Watch


@pytest.mark.skipif(sys.platform == "win32", reason="limits memory with setrlimit")
def test_G20_a_round_of_damaged_headers() -> None:
    tried, wrong, codes = fuzz(seconds=60, seed=20, rounds=1)
    assert wrong == []
    assert tried == 60 and codes["READ"] >= 1 and sum(codes.values()) - codes["READ"] > 20


@pytest.mark.skipif(sys.platform != "linux", reason="watches files with inotify")
def test_a_round_of_mutants_of_a_bundle() -> None:
    tried, wrong, codes = bundles.fuzz(seconds=60, seed=20, most=bundles.MUTANTS_A_ROUND)
    assert wrong == []
    assert tried == bundles.MUTANTS_A_ROUND <= sum(codes.values()) and codes["OK"] > 20 and codes["Integrity"] > 200


@pytest.mark.skipif(sys.platform != "linux", reason="watches files with inotify")
def test_the_watch_sees_onnxruntime_open_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our look through a model, that is: a file in the working directory is read by every version."""
    import onnxruntime
    from onnx import TensorProto, helper

    monkeypatch.chdir(tmp_path)
    np.arange(64, dtype="<f4").tofile(tmp_path / "canary.bin")
    watch = Watch(tmp_path / "canary.bin")
    assert not watch.opened()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[64], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "canary.bin"), ("offset", "0"), ("length", "256")):
        tensor.external_data.add(key=key, value=value)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros(64, np.float32)})[0][5] == 5 and watch.opened()
