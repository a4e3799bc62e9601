"""Memory that runs out, and GPUs that are not there: answers stay the same, and a sentence says what happened."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.errors import Environment
from unoise_engine.models.answers import out_of_memory
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import verify
from unoise_engine.models.session import Bundle

GPU = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def slices() -> Any:
    return np.random.default_rng(0).normal(size=(8, 1, 16, 16)).astype(np.float32)


class Session:
    """onnxruntime's session, but it takes only so many slices at once on each device."""

    def __init__(self, real: Any, most: Any, gpu: Any) -> None:
        self.real, self.most, self.gpu = real, most, gpu

    def __getattr__(self, name: Any) -> Any:
        return getattr(self.real, name)

    def get_providers(self) -> Any:
        return GPU if self.gpu else GPU[1:]

    def run(self, names: Any, feeds: Any) -> Any:
        if len(feeds["slices"]) > self.most:
            raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 1")
        return self.real.run(names, feeds)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Slices a call that fit on the GPU and the processor; None: the GPU does not start."""
    import onnxruntime

    real, most = onnxruntime.InferenceSession, {"gpu": 8, "cpu": 8}

    def start(content: Any, options: Any, providers: Any, enable_fallback: Any) -> Any:
        gpu = providers[0] == GPU[0]
        if gpu and most["gpu"] is None:
            raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")
        return Session(real(content, options, providers=GPU[1:]), most["gpu" if gpu else "cpu"], gpu)

    monkeypatch.setattr("onnxruntime.InferenceSession", start)
    return most


def test_fewer_slices_then_the_processor(tiny_bundle: Any, slices: Any, limits: Any) -> None:
    wanted = load_bundle(tiny_bundle, "cpu").predict(slices)
    assert np.abs(wanted).max() > 1
    limits.update(gpu=3)
    bundle = Bundle(tiny_bundle, verify(tiny_bundle), GPU)
    assert np.array_equal(bundle.predict(slices), wanted)
    assert bundle.device == "cuda" and bundle.notes == [
        "memory was short: fewer slices went through the model at a time"
    ]
    limits.update(gpu=0)
    bundle = Bundle(tiny_bundle, verify(tiny_bundle), GPU)
    assert np.array_equal(bundle.predict(slices), wanted)
    assert bundle.device == "cpu" and bundle.notes[-1].startswith("the GPU's memory was too small")
    limits.update(cpu=0)
    with pytest.raises(MemoryError):
        Bundle(tiny_bundle, verify(tiny_bundle), GPU).predict(slices)


def test_no_gpu(tiny_bundle: Any, slices: Any, limits: Any) -> None:
    limits.update(gpu=None)
    bundle = Bundle(tiny_bundle, verify(tiny_bundle), GPU)
    assert np.abs(bundle.predict(slices)).max() > 1
    assert bundle.device == "cpu" and bundle.notes == ["the GPU cannot be used: the processor did the work"]
    with pytest.raises(Environment, match="--device cpu"):
        Bundle(tiny_bundle, verify(tiny_bundle), GPU, strict=True).open_all()


def test_other_errors_are_not_taken_for_memory(tiny_bundle: Any, slices: Any) -> None:
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        load_bundle(tiny_bundle, "cpu").predict(slices.astype(np.float64))
    assert out_of_memory(MemoryError()) and not out_of_memory(ValueError("shape"))
