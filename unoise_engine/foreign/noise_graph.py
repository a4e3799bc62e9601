"""`NoiseNet` as an ONNX file: slices and logits in, noise logits out, of any size."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

from unoise_engine.errors import Integrity
from unoise_engine.foreign.noise_net import NoiseNet

TOLERANCE = 1e-3  # of the largest answer


def noise_graph(net: NoiseNet) -> bytes:
    """The file's bytes. Raises Integrity if onnxruntime answers otherwise than torch."""
    sizes = ((24, 20, 28), (19, 33, 16))
    given = _example(net, sizes[0])
    axes = {0: "n", **{2 + k: name for k, name in enumerate("dhw"[3 - net.rank :])}}
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes are traced, as they should be
        path = Path(home, "noise.onnx")
        torch.onnx.export(
            net,
            given,
            str(path),
            dynamo=False,
            opset_version=18,
            input_names=["slices", "logits"],
            output_names=["noise_logits"],
            dynamic_axes=dict.fromkeys(("slices", "logits", "noise_logits"), axes),
        )
        content = path.read_bytes()
    for size in sizes:
        _check(net, content, _example(net, size))
    return content


def _example(net: NoiseNet, size: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    slices, logits = (torch.randn((1, 1, *size[3 - net.rank :]), generator=chance) for _ in range(2))
    return slices, 8 * logits


def _check(net: NoiseNet, content: bytes, given: tuple[torch.Tensor, torch.Tensor]) -> None:
    from unoise_engine.models.runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: one.numpy() for name, one in zip(("slices", "logits"), given)})[0]
    with torch.no_grad():
        wanted = net(*given).numpy()
    if found.shape != wanted.shape or np.abs(found - wanted).max() > TOLERANCE * np.abs(wanted).max():
        raise Integrity("unoise-near.onnx", "answers otherwise than the net it was made from", "report it")
