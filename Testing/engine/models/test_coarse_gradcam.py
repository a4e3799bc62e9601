"""Grad-CAM at the block that is found in a graph: beside the shipped model's own, and beside torch's own."""

import io
from typing import Any

import numpy as np
import onnx
import pytest

from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.coarse_gradcam import coarse_gradcam
from unoise_engine.models.onnx_format import parse
from unoise_engine.models.runtime import onnxruntime

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
nn = torch.nn


def run(content: bytes, **feeds: Any) -> Any:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(["gradcam"], feeds)[0]


def test_the_shipped_models_own() -> None:
    """Its utility answers Grad-CAM by a way back that was written by hand."""
    bundle = load_bundle(device="cpu")
    content = (bundle.folder / "utility.onnx").read_bytes()
    x = np.random.default_rng(3).normal(0, 1, (2, 1, 64, 96)).astype(np.float32)
    target = np.zeros_like(x)
    target[:, :, 20:44, 30:60] = 1
    wanted = run(content, slices=x, target=target)
    assert wanted.max() > 1e-3
    np.testing.assert_allclose(run(coarse_gradcam(content), slices=x, target=target), wanted, atol=1e-3 * wanted.max())


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """Two scales below the image's; the deepest block ends as `end` says, the decoder enlarges as `up` says."""

    def __init__(self, rank: int, end: str, up: str):
        super().__init__()
        conv = (nn.Conv2d, nn.Conv3d)[rank - 2]
        self.rank, self.end, self.how = rank, end, up
        self.a, self.b, self.c = conv(2, 4, 3, padding=1), conv(4, 8, 3, padding=1, stride=2), conv(8, 8, 3, padding=1)
        self.d, self.e = conv(8, 8, 3, padding=1, stride=(2,) * (rank - 1) + (1,)), conv(8, 8, 3, padding=1)
        self.gate, self.thin = conv(8, 8, 1), conv(8, 8, 1)
        grow = (nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 2]
        self.up = grow(8, 8, (2,) * (rank - 1) + (1,), stride=(2,) * (rank - 1) + (1,))
        self.f, self.head = conv(16, 8, 3, padding=1), conv(12, 3, 1)
        self.deep: Any = None

    def forward(self, x: Any) -> Any:
        one = torch.relu(self.a(x))
        two = nn.functional.leaky_relu(self.c(self.b(one)))
        deep = nn.functional.silu(self.d(two))
        if self.end == "residual":
            deep = deep + self.e(deep)
        elif self.end == "gated":  # squeeze and excitation
            deep = deep * torch.sigmoid(self.gate(deep.mean(tuple(range(2, x.ndim)), keepdim=True)))
        self.deep = deep
        mode = ("bilinear", "trilinear")[self.rank - 2]
        if self.how == "transposed":
            wide = self.up(deep)
        elif self.how == "sizes":
            wide = nn.functional.interpolate(self.thin(deep), size=two.shape[2:], mode=mode)
        else:
            wide = nn.functional.interpolate(self.thin(deep), scale_factor=(2.0,) * (self.rank - 1) + (1.0,), mode=mode)
        three = torch.relu(self.f(torch.cat([wide, two], 1)))
        return self.head(torch.cat([nn.functional.interpolate(three, scale_factor=2.0), one], 1))


def exported(net: Any, x: Any) -> bytes:
    """By torch's older exporter, sizes free."""
    axes = {name: {0: "n", **{2 + k: "dhw"[k] for k in range(x.ndim - 2)}} for name in ("slices", "logits")}
    file = io.BytesIO()
    torch.onnx.export(
        net, (x,), file, dynamo=False, input_names=["slices"], output_names=["logits"], opset_version=18,
        dynamic_axes=axes,
    )  # fmt: skip
    return onnx.load_from_string(file.getvalue()).SerializeToString(deterministic=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("up", ["transposed", "sizes", "scales"])
@pytest.mark.parametrize("end", ["", "residual", "gated"])
@pytest.mark.parametrize("rank", [2, 3])
def test_the_deepest_block_is_found_and_its_map_is_torchs(rank: int, end: str, up: str) -> None:
    torch.manual_seed(4)
    net = Net(rank, end, up).eval()
    x = torch.randn(2, 2, *(16, 8, 12)[:rank])
    content = exported(net, x)
    logits = net(x)
    target, deep = torch.randn_like(logits), net.deep
    (grad,) = torch.autograd.grad((logits * target).sum(), deep)
    raw = (grad.mean(tuple(range(2, x.ndim)), keepdim=True) * deep).sum(1, keepdim=True).detach().numpy()
    assert np.abs(raw).max() > 1e-4
    for sign in (1, -1):  # relu keeps one of them
        got = run(coarse_gradcam(content), slices=x.numpy(), target=sign * target.numpy())
        assert got.shape == raw.shape
        np.testing.assert_allclose(got, np.maximum(sign * raw, 0), rtol=0, atol=1e-4 * np.abs(raw).max())
    finer = run(coarse_gradcam(content, layer=1), slices=x.numpy(), target=target.numpy())
    assert finer.shape[2:] == tuple(n // 2 for n in x.shape[2:]) and (finer >= 0).all()
    assert run(coarse_gradcam(content, layer=2), slices=x.numpy(), target=target.numpy()).shape[2:] == x.shape[2:]
    with pytest.raises(ValueError, match="has 3 scales"):
        coarse_gradcam(content, layer=3)


def test_a_finer_layer_is_the_decoders() -> None:
    """Of the shipped model: the last block of the next scale, not the one before the deepest."""
    bundle = load_bundle(device="cpu")
    content = (bundle.folder / "utility.onnx").read_bytes()
    x, target = np.random.default_rng(3).normal(0, 1, (2, 1, 1, 32, 32)).astype(np.float32)
    model = parse(coarse_gradcam(content, layer=1))
    assert {"fuses.0.3.weight"} <= {t.name for t in model.graph.initializer}
    assert run(coarse_gradcam(content, layer=1), slices=x, target=target).shape == (1, 1, 4, 4)
