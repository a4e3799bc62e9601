"""TorchScript runs when it is loaded, so it is loaded by the user's word alone."""

import warnings
from pathlib import Path

import pytest
import torch

from unoise_engine.errors import Usage
from unoise_engine.foreign.importing import import_model
from unoise_engine.foreign.template import TEMPLATE
from unoise_engine.foreign.torchscript import read_torchscript


def test_with_a_word_it_is_the_net(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.Dropout(0.9))
    with warnings.catch_warnings(action="ignore"):  # torch.jit is on its way out
        script = torch.jit.script(net)
    script.save(str(tmp_path / "net.ts"))
    (tmp_path / "recipe.toml").write_text(TEMPLATE, encoding="utf-8")
    with pytest.raises(Usage, match=r"net.ts - is TorchScript.*--trust"):
        read_torchscript(tmp_path / "net.ts", tmp_path / "recipe.toml")
    source = read_torchscript(tmp_path / "net.ts", tmp_path / "recipe.toml", trust=True)
    window = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(source.net(window), net.eval()(window))  # in evaluation mode: nothing dropped
    assert (source.kind, source.labels) == ("TorchScript", {"liver": 1, "tumour": 2})


def test_what_is_no_torchscript(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(TEMPLATE, encoding="utf-8")
    torch.save({"w": torch.zeros(3)}, tmp_path / "weights.ts")
    (tmp_path / "text.ts").write_text("no zip")
    for name in ("weights.ts", "text.ts", "none.ts"):
        with pytest.raises(Usage) as told:
            read_torchscript(tmp_path / name, tmp_path / "recipe.toml", trust=True)
        assert name in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) < 600


@pytest.mark.parametrize(
    ("outputs", "last", "said"),
    [
        ("softmax", torch.nn.Softmax(1), "a softmax"),
        ("sigmoid", torch.nn.Sigmoid(), "a sigmoid"),
        ("softmax", torch.nn.Sigmoid(), "a sigmoid"),
        ("softmax", torch.nn.Identity(), ""),
        ("softmax", torch.nn.LogSoftmax(1), ""),
        ("sigmoid", torch.nn.Identity(), ""),
    ],
)
def test_probabilities_are_not_taken_for_scores(outputs: str, last: torch.nn.Module, said: str, tmp_path: Path) -> None:
    """They would be above 0 everywhere, or their gradients vanish where the net is sure."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv3d(1, 3 if outputs == "softmax" else 2, 3, padding=1), last)
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(net).save(str(tmp_path / "net.ts"))
    text = TEMPLATE.replace('outputs = "softmax"', f'outputs = "{outputs}"').replace("[96, 96, 96]", "[16, 16, 16]")
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    source = read_torchscript(tmp_path / "net.ts", tmp_path / "recipe.toml", trust=True)
    if not said:
        assert import_model(source, tmp_path / "bundle", licence="mine").parity["agreement"] == 1
        return
    with pytest.raises(Usage, match=f"answers probabilities, behind {said}, .* - take the net without its last layer"):
        import_model(source, tmp_path / "bundle", licence="mine")
    assert not (tmp_path / "bundle").exists()
