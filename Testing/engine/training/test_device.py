import pytest
import torch

from unoise_engine.errors import Environment, Usage
from unoise_engine.training import device
from unoise_engine.training.device import choose_device, choose_precision


def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(device, "cpu_has_bf16", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, there=there: there)
        assert choose_precision("auto", "cpu") == ("bf16-mixed" if there else "32-true")
        assert choose_precision("auto", "cuda") == ("bf16-mixed" if there else "16-mixed")
    assert choose_precision("auto", "mps") == "32-true"
    assert choose_precision("16-mixed", "cpu") == "16-mixed"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == "cpu"
    with pytest.raises(Environment, match="cuda"):
        choose_device("cuda")
    with pytest.raises(Usage, match="tpu"):
        choose_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == "cuda"
